// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use wharf_oci::registry::{Access, Credentials, DockerConfig, ErrorKind, Retry};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
    tls::Authority,
};

use crate::support::*;

async fn with_basic() -> FakeRegistry {
    FakeRegistry::builder()
        .basic("user", "canary-password")
        .start()
        .await
        .unwrap()
}

async fn with_bearer() -> FakeRegistry {
    FakeRegistry::builder()
        .bearer("user", "canary-password")
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn basic_authentication_is_given_when_asked_for_and_from_then_on() {
    let registry = with_basic().await;
    seed(&registry, "layer");
    assert_eq!(
        pull(&session_of(&registry, &basic("user", "canary-password")))
            .await
            .unwrap(),
        b"layer"
    );
    let refused = registry
        .requests_to(Endpoint::Manifest)
        .iter()
        .filter(|seen| seen.status == Some(401))
        .count();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_bearer_token_is_fetched_once_and_used_for_all() {
    let registry = with_bearer().await;
    seed(&registry, "layer");
    let client = client();
    let repository: wharf_oci::Repository =
        format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    for _ in 0..3 {
        let session = client
            .session(repository.clone(), &basic("user", "canary-password"))
            .unwrap();
        assert_eq!(pull(&session).await.unwrap(), b"layer");
    }
    let tokens = registry.requests_to(Endpoint::Token);
    assert_eq!(tokens.len(), 1);
    assert!(
        tokens[0]
            .query
            .contains("scope=repository%3Ateam%2Fapp%3Apull"),
        "{}",
        tokens[0].query
    );
    assert!(tokens[0].query.contains("service="), "{}", tokens[0].query);
}

#[tokio::test]
async fn a_public_repository_gives_a_token_to_anybody() {
    let registry = FakeRegistry::builder()
        .bearer("user", "x")
        .anonymous_pull()
        .start()
        .await
        .unwrap();
    seed(&registry, "layer");
    assert_eq!(pull(&anonymous(&registry)).await.unwrap(), b"layer");
    assert_eq!(registry.requests_to(Endpoint::Token)[0].authorization, None);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let registry = with_bearer().await;
    seed(&registry, "layer");
    let session = session_of(&registry, &basic("user", "canary-password"));
    pull(&session).await.unwrap();
    registry.revoke_tokens();
    assert_eq!(pull(&session).await.unwrap(), b"layer");
    assert_eq!(registry.requests_to(Endpoint::Token).len(), 2);
}

#[tokio::test]
async fn one_tenants_token_is_not_used_for_another() {
    let registry = with_bearer().await;
    seed(&registry, "layer");
    let client = client();
    let repository: wharf_oci::Repository =
        format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    let session = |access: &Access| client.session(repository.clone(), access).unwrap();
    pull(&session(&basic("user", "canary-password")))
        .await
        .unwrap();
    for access in [
        basic("user", "wrong-password"),
        basic("other", "canary-password"),
        Access::default(),
    ] {
        let error = pull(&session(&access)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_named_by_their_source_and_never_shown() {
    for registry in [with_basic().await, with_bearer().await] {
        seed(&registry, "layer");
        let error = pull(&session_of(
            &registry,
            &basic("canary-user", "canary-wrong"),
        ))
        .await
        .unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unauthorized, Retry::Terminal)
        );
        let text = everything(&error);
        assert!(
            text.contains("the credentials from secret apps/regcred were refused"),
            "{text}"
        );
        assert!(text.contains("resolve tag 1.0.0 in "), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn missing_credentials_are_said_to_be_missing() {
    for registry in [with_basic().await, with_bearer().await] {
        seed(&registry, "layer");
        let error = pull(&anonymous(&registry)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains("401 Unauthorized"), "{error}");
        assert!(
            error.to_string().contains("no credentials were given"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_docker_configuration_gives_the_credentials() {
    let registry = with_basic().await;
    seed(&registry, "layer");
    let json = format!(
        r#"{{"auths":{{"https://{}/v1/":{{"username":"user","password":"canary-password"}}}}}}"#,
        registry.host()
    );
    let config = DockerConfig::parse(json.as_bytes(), "secret apps/regcred").unwrap();
    let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    let access = Access {
        credentials: config.credentials_for(&repository),
        ..Access::default()
    };
    assert_eq!(
        pull(&session_of(&registry, &access)).await.unwrap(),
        b"layer"
    );
}

#[tokio::test]
async fn a_challenge_that_nobody_can_meet_is_named() {
    let registry = FakeRegistry::start().await;
    let fault = Fault::status_with(
        401,
        &[("www-authenticate", "Negotiate, Digest realm=\"x\"")],
        "",
    );
    registry.script(Rule::on(Endpoint::Manifest).fault(fault));
    let error = pull(&anonymous(&registry)).await.unwrap_err();
    assert!(error.to_string().contains("Negotiate, Digest"), "{error}");
}

#[tokio::test]
async fn a_token_service_that_misbehaves_is_told_of() {
    let huge = format!(r#"{{"token":"{}"}}"#, "x".repeat(70_000));
    for (fault, kind, words) in [
        (Fault::Html, ErrorKind::Protocol, "without a usable token"),
        (
            Fault::status_with(200, &[], "{}"),
            ErrorKind::Protocol,
            "without a usable token",
        ),
        (
            Fault::status_with(200, &[], huge),
            ErrorKind::TooLarge,
            "the token is larger than",
        ),
        (
            Fault::EndlessChunked,
            ErrorKind::TooLarge,
            "the token is larger than",
        ),
        (Fault::status(403), ErrorKind::Forbidden, "403"),
        (Fault::status(503), ErrorKind::Server, "503"),
        (
            Fault::Redirect("http://127.0.0.1:1/token".into(), 307),
            ErrorKind::Protocol,
            "answered 307 and leads elsewhere",
        ),
    ] {
        let registry = with_bearer().await;
        seed(&registry, "layer");
        registry.script(Rule::on(Endpoint::Token).fault(fault.clone()));
        let error = pull(&session_of(&registry, &basic("user", "canary-password")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert!(error.to_string().contains(words), "{fault:?}: {error}");
        assert!(!everything(&error).contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_realm_that_is_no_url_is_named_without_its_query() {
    let registry = FakeRegistry::start().await;
    let challenge = r#"Bearer realm="ftp://auth.example/t?key=canary",service="s""#;
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status_with(
        401,
        &[("www-authenticate", challenge)],
        "",
    )));
    let error = pull(&session_of(&registry, &basic("user", "canary-password")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.to_string().contains("ftp://auth.example/t"),
        "{error}"
    );
    assert!(!everything(&error).contains("canary"), "{error:?}");
}

#[tokio::test]
async fn what_a_registry_repeats_of_the_credentials_is_not_shown() {
    let registry = with_basic().await;
    seed(&registry, "layer");
    let encoded = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        "user:canary-password",
    );
    let body = format!(
        r#"{{"errors":[{{"code":"DENIED","message":"you sent Basic {encoded}, canary-password"}}]}}"#
    );
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status_with(403, &[], body)));
    let error = pull(&session_of(&registry, &basic("user", "canary-password")))
        .await
        .unwrap_err();
    let text = everything(&error);
    assert!(
        text.contains("DENIED: you sent Basic (secret), (secret)"),
        "{text}"
    );
    assert!(
        text.contains("the credentials from secret apps/regcred do not allow it"),
        "{text}"
    );
    assert!(
        !text.contains("canary") && !text.contains(&encoded),
        "{text}"
    );
}

#[tokio::test]
async fn nothing_that_is_shown_of_access_or_session_is_secret() {
    let registry = with_basic().await;
    let access = basic("canary-user", "canary-password");
    let session = session_of(&registry, &access);
    let text = format!(
        "{access:?} {session:?} {:?} {:?}",
        client(),
        Credentials::Anonymous
    );
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn a_short_lived_token_is_not_fetched_for_every_request() {
    let registry = FakeRegistry::builder()
        .bearer("user", "password")
        .token_lifetime(Duration::from_secs(60))
        .start()
        .await
        .unwrap();
    seed(&registry, "layer");
    pull(&session_of(&registry, &basic("user", "password")))
        .await
        .unwrap();
    assert_eq!(registry.requests_to(Endpoint::Token).len(), 1);
}

#[tokio::test]
async fn a_token_service_that_is_not_trusted_is_a_matter_of_trust() {
    let leaf = Authority::new("Nobody's CA").local_leaf();
    let service = FakeRegistry::builder().tls(&leaf).start().await.unwrap();
    let registry = FakeRegistry::start().await;
    let realm = format!(r#"Bearer realm="{}/token""#, service.base_url());
    let challenge = Fault::status_with(401, &[("www-authenticate", &realm)], "");
    registry.script(Rule::on(Endpoint::Manifest).fault(challenge));
    let error = pull(&anonymous(&registry)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.is_about_trust(), "{error}");
}
