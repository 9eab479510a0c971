// SPDX-License-Identifier: Apache-2.0
//! The token service: a realm and credentials go in, a bearer token comes out.
//!
//! Source: distribution's token authentication specification (GET flow). Redirects are not followed, the answer is read
//! under a cap, and what it says is never quoted.

use http::{HeaderValue, Method, Request, header};
use serde::Deserialize;

use crate::registry::{
    body,
    client::Limits,
    origin::{Link, Scheme},
    problem::Problem,
    wire::{self, Wire},
};

use super::{Credentials, challenge::Bearer, grants::Grant, sensitive};

/// Asks the token service that a registry named for a token.
pub(crate) async fn fetch(
    wire: &Wire,
    limits: &Limits,
    registry: &Link,
    bearer: &Bearer,
    scopes: &[String],
    credentials: &Credentials,
) -> Result<Grant, Problem> {
    let link = service_link(registry, bearer, scopes)?;
    let sent = credentials.basic_header()?;
    let mut request = Request::builder().method(Method::GET).uri(link.uri.clone());
    if let Some(value) = &sent {
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request
        .body(wire::empty())
        .map_err(|_| Problem::Header("the token request cannot be built"))?;
    let response = wire
        .send(&link.origin, request, wire.timeouts.response)
        .await?;
    if !response.status().is_success() {
        let answer = body::answer(
            response,
            &link.origin,
            credentials,
            sent.as_ref(),
            true,
            wire,
        )
        .await;
        return Err(Problem::Token {
            host: link.origin,
            answer,
        });
    }
    let bytes = body::collect(response, &link.origin, "the token", limits.token, wire).await?;
    parse(&bytes).ok_or(Problem::NoToken { host: link.origin })
}

/// The realm with its parameters. A registry that is reached by HTTPS may not send credentials over plain HTTP.
fn service_link(registry: &Link, bearer: &Bearer, scopes: &[String]) -> Result<Link, Problem> {
    let unusable = || Problem::Realm {
        realm: without_query(&bearer.realm),
    };
    let realm = registry.join(&bearer.realm).ok_or_else(unusable)?;
    if registry.origin.scheme == Scheme::Https && realm.origin.scheme != Scheme::Https {
        return Err(unusable());
    }
    let with_service = match &bearer.service {
        Some(service) => realm.with_query("service", service),
        None => Some(realm),
    };
    let with_scope =
        |link: Option<Link>, scope: &String| link.and_then(|link| link.with_query("scope", scope));
    scopes
        .iter()
        .fold(with_service, with_scope)
        .ok_or_else(unusable)
}

fn without_query(realm: &str) -> String {
    let end = realm.find(['?', '#', '@']).unwrap_or(realm.len());
    super::super::problem::clean(&realm[..end], 200)
}

/// Numbers may be out of range and of any type: only a sensible `expires_in` counts.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

fn parse(bytes: &[u8]) -> Option<Grant> {
    let answer: TokenAnswer = serde_json::from_slice(bytes).ok()?;
    let filled = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token = filled(answer.token).or_else(|| filled(answer.access_token))?;
    let header: HeaderValue = sensitive(&format!("Bearer {token}")).ok()?;
    let expires_in = answer.expires_in.and_then(|value| value.as_u64());
    Some(Grant::token(header, expires_in))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn link(registry: &str, realm: &str, service: Option<&str>) -> Option<String> {
        let registry = Link::parse(registry).unwrap();
        let bearer = Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
        };
        service_link(&registry, &bearer, &["repository:a/b:pull".to_owned()])
            .ok()
            .map(|link| link.uri.to_string())
    }

    #[test]
    fn parameters_are_added_to_the_realm_and_encoded() {
        assert_eq!(
            link("https://r/v2/", "https://auth.r/token?x=1", Some("a&b=c")).unwrap(),
            "https://auth.r/token?x=1&service=a%26b%3Dc&scope=repository%3Aa%2Fb%3Apull"
        );
        assert_eq!(
            link("https://r/v2/", "https://auth.r/token", None).unwrap(),
            "https://auth.r/token?scope=repository%3Aa%2Fb%3Apull"
        );
    }

    #[test]
    fn credentials_do_not_go_from_https_to_http() {
        assert_eq!(link("https://r/v2/", "http://auth.r/token", None), None);
        assert!(link("http://r/v2/", "http://auth.r/token", None).is_some());
        assert!(link("http://r/v2/", "https://auth.r/token", None).is_some());
        for bad in [
            "https://user:canary@auth.r/token",
            "ftp://auth.r/",
            "https://",
        ] {
            assert_eq!(link("https://r/v2/", bad, None), None, "{bad}");
        }
    }

    #[test]
    fn an_unusable_realm_is_named_without_what_may_be_secret() {
        let registry = Link::parse("https://r/").unwrap();
        let bearer = Bearer {
            realm: "http://a.r/t?key=canary".into(),
            service: None,
        };
        let error = service_link(&registry, &bearer, &["s".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("http://a.r/t") && !error.contains("canary"),
            "{error}"
        );
    }

    #[test]
    fn both_names_of_the_token_are_read() {
        for text in [
            r#"{"token":"t"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"token":"","access_token":"t"}"#,
            r#"{"token":null,"access_token":"t","expires_in":300,"issued_at":7}"#,
        ] {
            let grant = parse(text.as_bytes()).unwrap();
            assert_eq!(grant.header.to_str().unwrap(), "Bearer t", "{text}");
            assert!(grant.header.is_sensitive());
        }
    }

    #[test]
    fn odd_lives_count_as_unsaid() {
        for odd in ["-1", "1e99", "\"300\"", "null", "{}", "0.5"] {
            let text = format!(r#"{{"token":"t","expires_in":{odd}}}"#);
            assert_eq!(
                parse(text.as_bytes()).unwrap().lives,
                Duration::from_secs(60),
                "{odd}"
            );
        }
        let huge = r#"{"token":"t","expires_in":99999999999999999999}"#;
        assert_eq!(
            parse(huge.as_bytes()).unwrap().lives,
            Duration::from_secs(60)
        );
    }

    #[test]
    fn what_holds_no_token_gives_none() {
        for bad in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":7}"#,
            "{\"token\":\"a\\nb\"}",
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
