// SPDX-License-Identifier: Apache-2.0
//! Who asks for a token in which way, and whether they get one. Nothing here does I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::registry::Query;

const LIFETIME: Duration = Duration::from_mins(5);

/// How somebody says who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// GET without credentials.
    Anonymous,
    /// GET with Basic credentials.
    Basic,
    /// POST with `grant_type=password`.
    Password,
    /// POST with `grant_type=refresh_token`.
    RefreshToken,
    /// POST with another `grant_type`, or none.
    Unknown,
}

/// One request for a token. Secrets are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// How they said who they are.
    pub grant: Grant,
    /// Who they said they are, or whose refresh token it is; empty when that is not known.
    pub account: String,
    /// The registry they want to talk to, as they named it.
    pub service: String,
    /// What they asked for, one for each resource.
    pub scopes: Vec<String>,
    /// Whether they asked for a refresh token (`offline_token=true`, `access_type=offline`).
    pub offline: bool,
    /// The program that asked (`client_id`), where it says so.
    pub client_id: String,
    /// The status of the answer.
    pub status: u16,
}

/// A request, read.
pub(super) struct Ask {
    grant: Grant,
    account: String,
    /// The password or the refresh token.
    secret: String,
    service: String,
    pub(super) scopes: Vec<String>,
    offline: bool,
    client_id: String,
}

/// What becomes of a request.
pub(super) enum Verdict {
    Granted {
        account: String,
        refresh: Option<String>,
    },
    Refused(StatusCode),
}

/// The accounts, the refresh tokens they hold, and who asked.
pub(super) struct Grants {
    passwords: BTreeMap<String, String>,
    /// The token, and whose it is.
    refresh: BTreeMap<String, String>,
    issued: u64,
    lifetime: Duration,
    requests: Vec<TokenRequest>,
}

impl Ask {
    /// `None` when there is nothing at this path.
    pub(super) fn read(head: &Parts, body: &[u8]) -> Option<Self> {
        if head.uri.path() != "/token" {
            return None;
        }
        match head.method {
            Method::GET => Some(Self::get(head)),
            Method::POST => Some(Self::post(body)),
            _ => None,
        }
    }

    fn get(head: &Parts) -> Self {
        let query = Query::parse(head.uri.query());
        let given = head.headers.get(header::AUTHORIZATION).is_some();
        let (account, secret) = basic(head).unwrap_or_default();
        Self {
            grant: if given {
                Grant::Basic
            } else {
                Grant::Anonymous
            },
            account,
            secret,
            offline: query.first("offline_token") == Some("true"),
            ..Self::named(&query)
        }
    }

    fn post(body: &[u8]) -> Self {
        let form = Query::parse(std::str::from_utf8(body).ok());
        let field = |name| form.first(name).unwrap_or_default().to_owned();
        let grant = match form.first("grant_type") {
            Some("password") => Grant::Password,
            Some("refresh_token") => Grant::RefreshToken,
            _ => Grant::Unknown,
        };
        let secret = if grant == Grant::RefreshToken {
            "refresh_token"
        } else {
            "password"
        };
        Self {
            grant,
            account: field("username"),
            secret: field(secret),
            offline: form.first("access_type") == Some("offline"),
            ..Self::named(&form)
        }
    }

    /// What both ways have in common.
    fn named(fields: &Query) -> Self {
        let field = |name| fields.first(name).unwrap_or_default().to_owned();
        let scopes = fields.all("scope").flat_map(|list| list.split(' '));
        Self {
            grant: Grant::Unknown,
            account: String::new(),
            secret: String::new(),
            service: field("service"),
            scopes: scopes
                .filter(|scope| !scope.is_empty())
                .map(ToOwned::to_owned)
                .collect(),
            offline: false,
            client_id: field("client_id"),
        }
    }

    /// The answer to a request that is granted. By POST there is no `token`, and `scope` says what was granted.
    pub(super) fn grant(&self, token: &str, lifetime: Duration, refresh: Option<String>) -> Value {
        let mut body = json!({"access_token": token, "expires_in": lifetime.as_secs()});
        if self.is_oauth() {
            body["scope"] = self.scopes.join(" ").into();
        } else {
            body["token"] = token.into();
        }
        if let Some(refresh) = refresh {
            body["refresh_token"] = refresh.into();
        }
        body
    }

    /// The body of a refusal: RFC 6749 (5.2) by POST, the registry's own form by GET.
    pub(super) fn refusal(&self) -> Value {
        let error = match self.grant {
            Grant::Unknown => "unsupported_grant_type",
            _ => "invalid_grant",
        };
        if self.is_oauth() {
            json!({"error": error})
        } else {
            json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
        }
    }

    fn is_oauth(&self) -> bool {
        !matches!(self.grant, Grant::Anonymous | Grant::Basic)
    }

    fn seen(&self, account: &str, status: StatusCode) -> TokenRequest {
        TokenRequest {
            grant: self.grant,
            account: account.to_owned(),
            service: self.service.clone(),
            scopes: self.scopes.clone(),
            offline: self.offline,
            client_id: self.client_id.clone(),
            status: status.as_u16(),
        }
    }
}

impl Grants {
    pub(super) fn new(accounts: &[(&str, &str)]) -> Self {
        let owned = |(name, password): &(&str, &str)| ((*name).to_owned(), (*password).to_owned());
        Self {
            passwords: accounts.iter().map(owned).collect(),
            refresh: BTreeMap::new(),
            issued: 0,
            lifetime: LIFETIME,
            requests: Vec::new(),
        }
    }

    /// Decides, and notes who asked.
    pub(super) fn decide(&mut self, ask: &Ask) -> Verdict {
        let known = self.known(ask);
        let account = known.clone().unwrap_or_else(|| ask.account.clone());
        let verdict = match known {
            Some(account) => Verdict::Granted {
                refresh: self.refresh_token(ask, &account),
                account,
            },
            None if ask.is_oauth() => Verdict::Refused(StatusCode::BAD_REQUEST),
            None => Verdict::Refused(StatusCode::UNAUTHORIZED),
        };
        let status = match verdict {
            Verdict::Granted { .. } => StatusCode::OK,
            Verdict::Refused(status) => status,
        };
        self.requests.push(ask.seen(&account, status));
        verdict
    }

    pub(super) fn requests(&self) -> Vec<TokenRequest> {
        self.requests.clone()
    }

    pub(super) fn clear_requests(&mut self) {
        self.requests.clear();
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    pub(super) fn revoke(&mut self) {
        self.refresh.clear();
    }

    /// A new refresh token for an account.
    pub(super) fn issue(&mut self, account: &str) -> String {
        self.issued += 1;
        let token = format!("refresh-{}-{}", self.issued, fresh());
        self.refresh.insert(token.clone(), account.to_owned());
        token
    }

    /// The account that the secret proves.
    fn known(&self, ask: &Ask) -> Option<String> {
        match ask.grant {
            Grant::RefreshToken => self.refresh.get(&ask.secret).cloned(),
            Grant::Basic | Grant::Password => {
                let password = self.passwords.get(&ask.account)?;
                (*password == ask.secret).then(|| ask.account.clone())
            }
            Grant::Anonymous | Grant::Unknown => None,
        }
    }

    /// A new one for who asked for one; a refresh token is answered with itself.
    fn refresh_token(&mut self, ask: &Ask, account: &str) -> Option<String> {
        if ask.grant == Grant::RefreshToken {
            return Some(ask.secret.clone());
        }
        ask.offline.then(|| self.issue(account))
    }
}

/// A number that nobody guesses.
fn fresh() -> u64 {
    use std::hash::BuildHasher as _;
    std::collections::hash_map::RandomState::new().hash_one(0)
}

/// `type:name:actions` as the claim `access` says it; the name may have colons.
pub(super) fn access(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: BTreeSet<_> = actions.split(',').filter(|one| !one.is_empty()).collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}

fn basic(head: &Parts) -> Option<(String, String)> {
    let value = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (account, password) = decoded.split_once(':')?;
    scheme
        .eq_ignore_ascii_case("basic")
        .then(|| (account.to_owned(), password.to_owned()))
}
