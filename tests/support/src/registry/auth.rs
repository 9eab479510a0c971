// SPDX-License-Identifier: Apache-2.0
//! Who may do what: nobody is asked, basic authentication, or bearer tokens from an endpoint of the same server.
//!
//! Tokens are opaque, scoped (`repository:<name>:pull,push,delete`) and end after a while. Source: the Docker registry
//! token specification, as distribution implements it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::json;

use super::call::Call;
use super::digest;
use super::reply::{self, Refusal, Reply, With as _};
use super::route::Endpoint;

/// How the registry authenticates.
#[derive(Clone, Debug, Default)]
pub(crate) enum Auth {
    #[default]
    Open,
    Basic(Account),
    Bearer {
        account: Account,
        lifetime: Duration,
        anonymous_pull: bool,
    },
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.username)
    }
}

/// Decides about requests and gives out tokens.
pub(crate) struct Gatekeeper {
    auth: Auth,
    /// `http://host:port`, where the token endpoint is.
    base: String,
    grants: Mutex<Grants>,
}

#[derive(Default)]
struct Grants {
    issued: u64,
    by_token: BTreeMap<String, Grant>,
}

struct Grant {
    scopes: Vec<Scope>,
    ends: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    repository: String,
    actions: Vec<String>,
}

impl Gatekeeper {
    pub(crate) fn new(auth: Auth, base: String) -> Self {
        Self {
            auth,
            base,
            grants: Mutex::default(),
        }
    }

    /// The answer to a request that may not pass; `None` lets it pass.
    pub(crate) fn refuse(&self, call: &Call) -> Option<Reply> {
        if call.route.endpoint == Endpoint::Token {
            return None;
        }
        match &self.auth {
            Auth::Open => None,
            Auth::Basic(account) if basic(&call.headers).as_ref() == Some(account) => None,
            Auth::Basic(_) => Some(challenge("Basic realm=\"fake registry\"".to_owned())),
            Auth::Bearer { .. } => self.refuse_bearer(call),
        }
    }

    fn refuse_bearer(&self, call: &Call) -> Option<Reply> {
        let needed = needed(call);
        let problem = match bearer(&call.headers) {
            None => "",
            Some(token) => match self.grants().by_token.get(&token) {
                Some(grant) if grant.ends <= Instant::now() => ",error=\"invalid_token\"",
                None => ",error=\"invalid_token\"",
                Some(grant) if needed.iter().all(|scope| scope.within(&grant.scopes)) => {
                    return None;
                }
                Some(_) => ",error=\"insufficient_scope\"",
            },
        };
        let scopes: Vec<String> = needed.iter().map(Scope::to_string).collect();
        let scope = match scopes.as_slice() {
            [] => String::new(),
            some => format!(",scope=\"{}\"", some.join(" ")),
        };
        let (base, service) = (&self.base, self.service());
        Some(challenge(format!(
            "Bearer realm=\"{base}/token\",service=\"{service}\"{scope}{problem}"
        )))
    }

    /// Answers a request to the token endpoint.
    pub(crate) fn token(&self, call: &Call) -> Reply {
        let Auth::Bearer {
            account,
            lifetime,
            anonymous_pull,
        } = &self.auth
        else {
            return Refusal::not_found("UNSUPPORTED", "no token endpoint here").into();
        };
        if call.method != Method::GET {
            return Refusal::method_not_allowed().into();
        }
        let scopes = call
            .query
            .all("scope")
            .flat_map(|list| list.split(' '))
            .filter_map(Scope::parse);
        let scopes: Vec<Scope> = match basic(&call.headers) {
            Some(given) if given == *account => scopes.collect(),
            None if *anonymous_pull => scopes.map(Scope::pull_only).collect(),
            _ => return challenge("Basic realm=\"fake registry\"".to_owned()),
        };
        let token = self.issue(scopes, *lifetime);
        let body = json!({"token": token, "access_token": token, "expires_in": lifetime.as_secs()});
        reply::json(StatusCode::OK, "application/json", &body)
    }

    /// Makes every token given out so far worthless.
    pub(crate) fn revoke(&self) {
        self.grants().by_token.clear();
    }

    fn issue(&self, scopes: Vec<Scope>, lifetime: Duration) -> String {
        let mut grants = self.grants();
        grants.issued += 1;
        let token = digest::sha256(format!("{} {}", self.base, grants.issued).as_bytes());
        let token = token.replace("sha256:", "token-");
        let ends = Instant::now() + lifetime;
        grants
            .by_token
            .insert(token.clone(), Grant { scopes, ends });
        token
    }

    fn service(&self) -> &str {
        self.base.split_once("//").map_or("", |(_, host)| host)
    }

    fn grants(&self) -> std::sync::MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scope {
    fn new(repository: &str, actions: &[&str]) -> Self {
        Self {
            repository: repository.to_owned(),
            actions: actions.iter().map(ToString::to_string).collect(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (repository, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        Some(Self::new(
            repository,
            &actions.split(',').collect::<Vec<_>>(),
        ))
    }

    fn pull_only(mut self) -> Self {
        self.actions.retain(|action| action == "pull");
        self
    }

    fn within(&self, granted: &[Self]) -> bool {
        self.actions.iter().all(|action| {
            granted
                .iter()
                .any(|scope| scope.repository == self.repository && scope.actions.contains(action))
        })
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "repository:{}:{}",
            self.repository,
            self.actions.join(",")
        )
    }
}

/// What a request must be allowed to do.
fn needed(call: &Call) -> Vec<Scope> {
    let repository = call.route.repository.as_str();
    if repository.is_empty() {
        return Vec::new();
    }
    let mut scopes = vec![match call.method {
        Method::GET | Method::HEAD => Scope::new(repository, &["pull"]),
        Method::DELETE => Scope::new(repository, &["delete"]),
        _ => Scope::new(repository, &["pull", "push"]),
    }];
    if call.route.endpoint == Endpoint::Upload
        && let Some(from) = call.query.first("from")
    {
        scopes.push(Scope::new(from, &["pull"]));
    }
    scopes
}

fn challenge(value: String) -> Reply {
    let status = StatusCode::UNAUTHORIZED;
    let reply = Reply::from(Refusal::new(
        status,
        "UNAUTHORIZED",
        "authentication required",
    ));
    reply.with(header::WWW_AUTHENTICATE, value)
}

fn basic(headers: &HeaderMap) -> Option<Account> {
    let encoded = credentials(headers, "basic")?;
    let decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(Account {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    credentials(headers, "bearer")
}

fn credentials(headers: &HeaderMap, scheme: &str) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (given, credentials) = value.split_once(' ')?;
    given
        .eq_ignore_ascii_case(scheme)
        .then(|| credentials.trim().to_owned())
}
