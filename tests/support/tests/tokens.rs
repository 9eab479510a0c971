// SPDX-License-Identifier: Apache-2.0
//! The token service, believed by a real registry.

#![cfg(test)]

use std::time::Duration;

use http::Method;
use serde_json::Value;
use wharf_test_support::servers::http::{Answer, Http};
use wharf_test_support::servers::{Distribution, Grant, TokenService};
use wharf_test_support::tls::Authority;

const PUSH: &str = "repository:team/app:pull,push";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

struct Guarded {
    tokens: TokenService,
    registry: Distribution,
    http: Http,
}

async fn guarded() -> Guarded {
    let authority = Authority::new("Test CA");
    let tokens = TokenService::start(&[("me", "se:cret")], Some(&authority.local_leaf()));
    let http = Http::trusting(authority.pem());
    let registry = Distribution::start_with_tokens(authority, &tokens).await;
    Guarded {
        tokens,
        registry,
        http,
    }
}

impl Guarded {
    async fn get(&self, http: &Http, query: &str) -> Answer {
        let url = format!("{}?{query}", self.tokens.realm());
        http.get(&url).await.unwrap()
    }

    async fn post(&self, form: &str) -> Answer {
        let url = self.tokens.realm();
        let answer = self
            .http
            .send(Method::POST, &url, &[FORM], form.to_owned())
            .await;
        answer.unwrap()
    }

    /// What the registry says to the beginning of an upload with this token.
    async fn upload(&self, token: &Value) -> Answer {
        let url = format!("{}/v2/team/app/blobs/uploads/", self.registry.base_url());
        let http = self.http.clone().bearer(token.as_str().unwrap());
        http.send(Method::POST, &url, &[], "").await.unwrap()
    }
}

#[tokio::test]
async fn the_registry_believes_a_token_as_far_as_its_scope() {
    let guarded = guarded().await;
    let url = format!("{}/v2/team/app/manifests/1", guarded.registry.base_url());
    let challenged = guarded.http.get(&url).await.unwrap();
    let challenge = challenged.header("www-authenticate").to_owned();
    for part in [guarded.tokens.realm().as_str(), guarded.tokens.service()] {
        assert!(challenge.contains(part), "{challenge}");
    }

    let me = guarded.http.clone().basic("me", "se:cret");
    let query = format!("service={}&scope={PUSH}", guarded.tokens.service());
    let granted = guarded.get(&me, &query).await.json();
    assert_eq!(granted["token"], granted["access_token"]);
    assert_eq!(granted["expires_in"], 300);
    assert_eq!(guarded.upload(&granted["token"]).await.status, 202);

    let pull = guarded.get(&me, "scope=repository:team/app:pull").await;
    let refused = guarded.upload(&pull.json()["token"]).await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("insufficient_scope"), "{challenge}");

    let token = guarded.tokens.token("me", &[PUSH]);
    assert_eq!(guarded.upload(&token.into()).await.status, 202);
}

#[tokio::test]
async fn a_token_that_was_changed_or_whose_time_is_over_is_refused() {
    let guarded = guarded().await;
    let token = guarded.tokens.token("me", &[PUSH]);
    assert_eq!(guarded.upload(&token.as_str().into()).await.status, 202);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = guarded.tokens.token("you", &[PUSH]);
    let (forged, _) = other.rsplit_once('.').unwrap();
    assert_ne!(signed, forged);
    let forged = format!("{forged}.{signature}");
    assert_eq!(guarded.upload(&forged.into()).await.status, 401);

    guarded.tokens.set_lifetime(Duration::ZERO);
    let late = guarded.tokens.token("me", &[PUSH]);
    assert_eq!(guarded.upload(&late.into()).await.status, 401);
}

#[tokio::test]
async fn refresh_tokens_are_taken_until_they_are_revoked() {
    let guarded = guarded().await;
    let form = format!("grant_type=password&username=me&password=se%3Acret&scope={PUSH}");
    let without = guarded.post(&form).await.json();
    assert_eq!(
        (&without["refresh_token"], &without["token"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(without["scope"], PUSH);
    assert_eq!(guarded.upload(&without["access_token"]).await.status, 202);

    let offline = guarded
        .post(&format!("{form}&access_type=offline&client_id=test"))
        .await;
    let refresh = offline.json()["refresh_token"].as_str().unwrap().to_owned();
    let me = guarded.http.clone().basic("me", "se:cret");
    let other = guarded.get(&me, "offline_token=true").await.json();
    assert_ne!(other["refresh_token"], refresh);

    let form = format!("grant_type=refresh_token&refresh_token={refresh}&scope={PUSH}");
    let granted = guarded.post(&form).await.json();
    assert_eq!(guarded.upload(&granted["access_token"]).await.status, 202);

    let own = guarded.tokens.refresh_token("me");
    let form = form.replace(&refresh, &own);
    assert_eq!(guarded.post(&form).await.json()["refresh_token"], own);

    guarded.tokens.clear_requests();
    guarded.tokens.revoke_refresh_tokens();
    let refused = guarded.post(&form).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]),
        (400, &"invalid_grant".into())
    );
    let asked = &guarded.tokens.requests()[0];
    assert_eq!((asked.grant, asked.status), (Grant::RefreshToken, 400));
}

#[tokio::test]
async fn strangers_get_no_token_and_every_request_is_seen() {
    let guarded = guarded().await;
    let stranger = guarded.http.clone().basic("me", "wrong");
    let query = format!("offline_token=true&service=s&scope={PUSH}&scope=registry:catalog:*");
    assert_eq!(guarded.get(&stranger, &query).await.status, 401);
    assert_eq!(guarded.get(&guarded.http, "").await.status, 401);
    let wrong = "grant_type=password&username=me&password=wrong&access_type=offline";
    assert_eq!(guarded.post(wrong).await.status, 400);
    let unknown = guarded.post("grant_type=magic").await.json();
    assert_eq!(unknown["error"], "unsupported_grant_type");

    let requests = guarded.tokens.requests();
    let grants: Vec<_> = requests.iter().map(|seen| seen.grant).collect();
    let expected = [
        Grant::Basic,
        Grant::Anonymous,
        Grant::Password,
        Grant::Unknown,
    ];
    assert_eq!(grants, expected);
    assert_eq!(requests[0].scopes, [PUSH, "registry:catalog:*"]);
    assert!(requests[0].offline && requests[0].account == "me");
    assert!(!format!("{requests:?}").contains("wrong"));
}

#[tokio::test]
async fn it_speaks_plain_http_without_a_certificate() {
    let tokens = TokenService::start(&[("me", "secret")], None);
    assert!(tokens.realm().starts_with("http://"));
    let http = Http::plain().basic("me", "secret");
    assert_eq!(http.get(&tokens.realm()).await.unwrap().status, 200);
    let elsewhere = tokens.realm().replace("/token", "/");
    assert_eq!(http.get(&elsewhere).await.unwrap().status, 404);
}
