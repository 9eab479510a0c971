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
use super::route::{Endpoint, Query};

/// How the registry authenticates.
#[derive(Clone, Debug, Default)]
pub(crate) enum Auth {
    #[default]
    Open,
    Basic(Vec<Account>),
    Bearer {
        accounts: Vec<Account>,
        lifetime: Duration,
        anonymous_pull: bool,
        forms: Forms,
    },
}

/// Whether the token endpoint takes a form (POST), and whether a plain GET.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Forms {
    /// GET only, as distribution's own example.
    #[default]
    Get,
    /// Both.
    Both,
    /// POST only.
    Post,
}

/// Who may do something, and what the log calls that one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) label: String,
    pub(crate) username: String,
    pub(crate) password: String,
    /// What stands for the password in a form with `grant_type=refresh_token`.
    pub(crate) identity_token: Option<String>,
}

impl Account {
    pub(crate) fn new(label: &str, username: &str, password: &str) -> Self {
        Self {
            label: label.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            identity_token: None,
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.label)
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
    owner: Option<String>,
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
            Auth::Basic(accounts) if owner(accounts, &call.headers).is_some() => None,
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
            accounts,
            lifetime,
            anonymous_pull,
            forms,
        } = &self.auth
        else {
            return Refusal::not_found("UNSUPPORTED", "no token endpoint here").into();
        };
        let form = Query::parse(std::str::from_utf8(&call.body).ok());
        let (fields, owner) = match (&call.method, forms) {
            (&Method::GET, Forms::Get | Forms::Both) => {
                (&call.query, owner(accounts, &call.headers))
            }
            (&Method::POST, Forms::Both | Forms::Post) => (&form, owner_of_form(accounts, &form)),
            _ => return Refusal::method_not_allowed().into(),
        };
        let is_anonymous = call.method == Method::GET && basic(&call.headers).is_none();
        let scopes = fields
            .all("scope")
            .flat_map(|list| list.split(' '))
            .filter_map(Scope::parse);
        let scopes: Vec<Scope> = match &owner {
            Some(_) => scopes.collect(),
            None if *anonymous_pull && is_anonymous => scopes.map(Scope::pull_only).collect(),
            _ => return challenge("Basic realm=\"fake registry\"".to_owned()),
        };
        let owner = owner.or_else(|| call.certificate.clone());
        let token = self.issue(owner, scopes, *lifetime);
        let body = json!({"token": token, "access_token": token, "expires_in": lifetime.as_secs()});
        reply::json(StatusCode::OK, "application/json", &body)
    }

    /// Makes every token given out so far worthless.
    pub(crate) fn revoke(&self) {
        // They stay known, so that the log can say whose they were.
        let now = Instant::now();
        for grant in self.grants().by_token.values_mut() {
            grant.ends = now;
        }
    }

    /// Whose authorization a request shows, as the log calls that one.
    pub(crate) fn who(&self, headers: &HeaderMap) -> Option<String> {
        if let Some(token) = bearer(headers) {
            let grants = self.grants();
            return grants.by_token.get(&token)?.owner.clone();
        }
        match &self.auth {
            Auth::Open => None,
            Auth::Basic(accounts) | Auth::Bearer { accounts, .. } => owner(accounts, headers),
        }
    }

    fn issue(&self, owner: Option<String>, scopes: Vec<Scope>, lifetime: Duration) -> String {
        let mut grants = self.grants();
        grants.issued += 1;
        let token = digest::sha256(format!("{} {}", self.base, grants.issued).as_bytes());
        let token = token.replace("sha256:", "token-");
        let ends = Instant::now() + lifetime;
        grants.by_token.insert(
            token.clone(),
            Grant {
                owner,
                scopes,
                ends,
            },
        );
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

/// The account that a header's name and password are those of.
fn owner(accounts: &[Account], headers: &HeaderMap) -> Option<String> {
    let (username, password) = basic(headers)?;
    accounts
        .iter()
        .find(|account| account.username == username && account.password == password)
        .map(|account| account.label.clone())
}

/// The account that a form's password or refresh token is that of.
fn owner_of_form(accounts: &[Account], form: &Query) -> Option<String> {
    let named = |account: &&Account| match form.first("grant_type") {
        Some("password") => {
            form.first("username") == Some(&account.username)
                && form.first("password") == Some(&account.password)
        }
        Some("refresh_token") => {
            account.identity_token.is_some()
                && form.first("refresh_token") == account.identity_token.as_deref()
        }
        _ => false,
    };
    let account = accounts.iter().find(named)?;
    Some(account.label.clone())
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = credentials(headers, "basic")?;
    let decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::registry::call::Features;
    use crate::registry::route::Route;

    const BASE: &str = "http://127.0.0.1:5000";
    /// `user:pass`
    const RIGHT: &str = "Basic dXNlcjpwYXNz";
    /// `user:wrong`
    const WRONG: &str = "Basic dXNlcjp3cm9uZw==";

    fn call(method: Method, path: &str, authorization: &str) -> Call {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            let value = HeaderValue::try_from(authorization).unwrap();
            headers.insert(header::AUTHORIZATION, value);
        }
        Call {
            method,
            route: Route::parse(path).unwrap(),
            query: Query::parse(Some(query)),
            headers,
            body: bytes::Bytes::new(),
            certificate: None,
            features: Features::default(),
        }
    }

    fn bearer_gate(lifetime: Duration, anonymous_pull: bool) -> Gatekeeper {
        let auth = Auth::Bearer {
            accounts: vec![Account::new("user", "user", "pass")],
            lifetime,
            anonymous_pull,
            forms: Forms::default(),
        };
        Gatekeeper::new(auth, BASE.to_owned())
    }

    /// `Bearer <token>` for this scope, or the status of the refusal.
    fn token(gate: &Gatekeeper, scope: &str, authorization: &str) -> Result<String, u16> {
        let path = format!("/token?service=x&scope={scope}");
        let reply = gate.token(&call(Method::GET, &path, authorization));
        if reply.status() != StatusCode::OK {
            return Err(reply.status().as_u16());
        }
        let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
        assert_eq!(body["token"], body["access_token"]);
        Ok(format!("Bearer {}", body["token"].as_str().unwrap()))
    }

    /// The challenge to a GET of a manifest of `team/app`; `None` if it may pass.
    fn challenged(gate: &Gatekeeper, authorization: &str) -> Option<String> {
        let call = call(Method::GET, "/v2/team/app/manifests/1", authorization);
        let reply = gate.refuse(&call)?;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        let challenge = reply.headers()[header::WWW_AUTHENTICATE].to_str();
        Some(challenge.unwrap().to_owned())
    }

    #[test]
    fn a_challenge_names_realm_service_and_scope() {
        let gate = bearer_gate(Duration::from_mins(5), false);
        let expected = format!(
            "Bearer realm=\"{BASE}/token\",service=\"127.0.0.1:5000\",scope=\"repository:team/app:pull\""
        );
        assert_eq!(challenged(&gate, ""), Some(expected.clone()));
        let invalid = format!("{expected},error=\"invalid_token\"");
        assert_eq!(challenged(&gate, "Bearer made-up"), Some(invalid));

        let ping = gate.refuse(&call(Method::GET, "/v2/", "")).unwrap();
        let challenge = ping.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(!challenge.contains("scope"), "{challenge}");

        let mount = "/v2/team/app/blobs/uploads/?mount=sha256:0&from=base";
        let mount = gate.refuse(&call(Method::POST, mount, "")).unwrap();
        let challenge = mount.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        let scopes = "scope=\"repository:team/app:pull,push repository:base:pull\"";
        assert!(challenge.contains(scopes), "{challenge}");
    }

    #[test]
    fn a_token_holds_for_its_scope_until_it_is_revoked() {
        let gate = bearer_gate(Duration::from_mins(5), false);
        let pull = token(&gate, "repository:team/app:pull", RIGHT).unwrap();
        assert_eq!(challenged(&gate, &pull), None);

        let push = call(Method::PUT, "/v2/team/app/manifests/1", &pull);
        let refused = gate.refuse(&push).unwrap();
        let challenge = refused.headers()[header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap();
        assert!(
            challenge.ends_with("error=\"insufficient_scope\""),
            "{challenge}"
        );

        let elsewhere = token(&gate, "repository:other:pull", RIGHT).unwrap();
        assert!(
            challenged(&gate, &elsewhere)
                .unwrap()
                .contains("insufficient_scope")
        );

        gate.revoke();
        assert!(challenged(&gate, &pull).unwrap().contains("invalid_token"));
    }

    #[test]
    fn a_token_ends_with_its_lifetime() {
        let gate = bearer_gate(Duration::ZERO, false);
        let pull = token(&gate, "repository:team/app:pull", RIGHT).unwrap();
        assert!(challenged(&gate, &pull).unwrap().contains("invalid_token"));
    }

    #[test]
    fn tokens_are_given_to_those_with_the_password() {
        let gate = bearer_gate(Duration::from_mins(5), false);
        assert_eq!(token(&gate, "repository:team/app:pull", WRONG), Err(401));
        assert_eq!(token(&gate, "repository:team/app:pull", ""), Err(401));
    }

    #[test]
    fn anybody_may_pull_where_that_is_allowed_and_nobody_pushes_unknown() {
        let gate = bearer_gate(Duration::from_mins(5), true);
        let anyone = token(&gate, "repository:team/app:pull,push", "").unwrap();
        assert_eq!(challenged(&gate, &anyone), None);
        let push = call(Method::PUT, "/v2/team/app/manifests/1", &anyone);
        assert!(gate.refuse(&push).is_some());
        assert_eq!(token(&gate, "repository:team/app:pull", WRONG), Err(401));
    }
}
