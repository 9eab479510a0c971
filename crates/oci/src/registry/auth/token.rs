// SPDX-License-Identifier: Apache-2.0
//! The token service: a realm and credentials go in, a bearer token comes out.
//!
//! Source: distribution's token authentication specification and its variant by OAuth 2. GET with `service`, `scope` and
//! `account` is asked first, and the password sent in a form (`grant_type=password`) only to a service that knows no GET
//! (404, 405). An identity token, or a refresh token that the service gave with an earlier token, is sent in a form
//! (`grant_type=refresh_token`); a service that knows no such form is asked by GET, as Flux does. So one token costs one
//! request, or two where the first was of a form that the service does not know or does not take any more.
//!
//! Redirects are followed for GET, a few times, and within the origin of the realm: credentials are for that origin. Of
//! an answer no more than a cap is read, and what it says is never quoted.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use crate::registry::{
    body,
    client::Limits,
    flow::Way,
    origin::{Link, percent_encode},
    problem::Problem,
    redirect,
    wire::{self, Body, Incoming, Wire},
};

use super::{
    Credentials, Secret,
    demand::Service,
    grants::{Grant, Refresh},
    token_answer,
};

const MAX_HOPS: u32 = 3;
/// Names the program, as the form demands; it is registered nowhere.
const CLIENT_ID: &str = "wharf";

/// A token that is asked for.
pub(crate) struct TokenRequest<'a> {
    pub(crate) wire: &'a Wire,
    /// The registry that named the service, if that is another host.
    pub(crate) led_by: Option<&'a Way>,
    pub(crate) limits: &'a Limits,
    pub(crate) service: &'a Service,
    pub(crate) scopes: &'a [String],
    pub(crate) credentials: &'a Credentials,
}

impl TokenRequest<'_> {
    /// Asks the token service that a registry named. `refresh` is what it gave with the last token.
    pub(crate) async fn fetch(&self, refresh: Option<&Refresh>) -> Result<Grant, Problem> {
        let realm = &self.service.realm;
        if !realm.with_credentials {
            return self.get(&Credentials::Anonymous).await;
        }
        if let Some(refresh) = refresh.filter(|refresh| refresh.realm == realm.link) {
            match self.refresh(&refresh.token).await {
                Err(problem) if is_refused(&problem) => {}
                other => return other,
            }
        }
        match self.credentials {
            Credentials::IdentityToken { token, .. } => match self.refresh(token).await {
                Err(problem) if is_unknown(&problem) => self.get(self.credentials).await,
                other => other,
            },
            Credentials::Basic {
                username, password, ..
            } => match self.get(self.credentials).await {
                Err(problem) if is_unknown(&problem) => {
                    let fields = [
                        ("grant_type", "password"),
                        ("username", username),
                        ("password", password.expose()),
                    ];
                    self.post(self.credentials, &fields).await
                }
                other => other,
            },
            Credentials::Anonymous | Credentials::RegistryToken { .. } => {
                self.get(self.credentials).await
            }
        }
    }

    async fn get(&self, credentials: &Credentials) -> Result<Grant, Problem> {
        let sent = credentials.basic_header()?;
        let mut headers = HeaderMap::new();
        if let Some(value) = &sent {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        let mut link = self.link(credentials)?;
        for _ in 0..MAX_HOPS {
            let response = self
                .send(Method::GET, &link, headers.clone(), wire::empty())
                .await?;
            match self.next(&link, &response) {
                Some(next) => link = next,
                None => return self.read(response, credentials, sent.as_ref()).await,
            }
        }
        Err(Problem::Redirects {
            host: link.origin,
            limit: MAX_HOPS,
        })
    }

    async fn refresh(&self, token: &Secret) -> Result<Grant, Problem> {
        let source = self.credentials.source().unwrap_or_default();
        let sent = Credentials::identity_token(token.clone(), source);
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
        ];
        self.post(&sent, &fields).await
    }

    async fn post(
        &self,
        credentials: &Credentials,
        secret: &[(&str, &str)],
    ) -> Result<Grant, Problem> {
        let scope = self.scopes.join(" ");
        let service = self.service.name.as_deref();
        let form = secret
            .iter()
            .copied()
            .chain([("client_id", CLIENT_ID), ("scope", &scope)])
            .chain(service.map(|service| ("service", service)));
        let pairs: Vec<_> = form
            .map(|(name, value)| format!("{name}={}", percent_encode(value)))
            .collect();
        let body = Full::new(Bytes::from(pairs.join("&")));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form)]);
        let body = body.map_err(|never| match never {}).boxed_unsync();
        let link = &self.service.realm.link;
        let response = self.send(Method::POST, link, headers, body).await?;
        self.read(response, credentials, None).await
    }

    async fn send(
        &self,
        method: Method,
        link: &Link,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, Problem> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = link.uri.clone();
        *request.headers_mut() = headers;
        let limit = self.wire.timeouts.response;
        self.wire
            .send(&link.origin, self.led_by, request, limit)
            .await
    }

    /// Where a redirect within the origin leads.
    fn next(&self, link: &Link, response: &Response<Incoming>) -> Option<Link> {
        if !redirect::is_redirect(response.status()) {
            return None;
        }
        let next = redirect::location(link, response.headers()).ok()?;
        (next.origin == self.service.realm.link.origin).then_some(next)
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        credentials: &Credentials,
        sent: Option<&HeaderValue>,
    ) -> Result<Grant, Problem> {
        let link = &self.service.realm.link;
        let host = link.origin.clone();
        if redirect::is_redirect(response.status()) {
            let status = response.status();
            return Err(Problem::TokenRedirect { host, status });
        }
        if !response.status().is_success() {
            let answer = body::answer(response, &host, credentials, sent, true, self.wire).await;
            return Err(Problem::Token { host, answer });
        }
        let limit = self.limits.token;
        let bytes = body::collect(response, &host, "the token", limit, self.wire).await?;
        let (grant, refresh) = token_answer::parse(&bytes).ok_or(Problem::NoToken { host })?;
        let refresh = refresh.map(|token| Refresh {
            token,
            realm: link.clone(),
        });
        // Of nobody in particular nothing is kept beyond the token.
        let is_known = *self.credentials != Credentials::Anonymous;
        Ok(Grant {
            refresh: refresh.filter(|_| is_known),
            ..grant
        })
    }

    /// The realm with its parameters.
    fn link(&self, credentials: &Credentials) -> Result<Link, Problem> {
        // A name without a password may be a token itself, which has no place in a URL.
        let account = credentials
            .pair()
            .filter(|(_, password)| !password.expose().is_empty())
            .map(|(username, _)| ("account", username));
        let service = self.service.name.as_deref();
        service
            .map(|service| ("service", service))
            .into_iter()
            .chain(self.scopes.iter().map(|scope| ("scope", scope.as_str())))
            .chain(account)
            .try_fold(self.service.realm.link.clone(), |link, (name, value)| {
                link.with_query(name, value)
            })
            .ok_or(Problem::Header("the token request cannot be built"))
    }
}

/// The service has no such form of request.
fn is_unknown(problem: &Problem) -> bool {
    matches!(
        problem.status(),
        Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
    )
}

/// The service has no such form of request, or does not take the token any more.
fn is_refused(problem: &Problem) -> bool {
    matches!(
        problem.status(),
        Some(StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    ) || is_unknown(problem)
}
