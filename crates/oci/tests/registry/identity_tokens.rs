// SPDX-License-Identifier: Apache-2.0

use http::Method;
use wharf_oci::registry::{Credentials, ErrorKind};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule, sha256},
};

use crate::{
    support::*,
    tokens::{
        bearer, challenging, identity_token, known, session, started, token_of, tokens, with,
    },
};

#[tokio::test]
async fn an_identity_token_is_exchanged_by_a_form() {
    let registry = started(bearer().identity_token("canary+identity/token")).await;
    let session = session_of(&registry, &identity_token("canary+identity/token"));
    assert_eq!(pull(&session).await.unwrap(), b"layer");
    let seen = tokens(&registry);
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&seen[0].method, seen[0].authorization.as_deref()),
        (&Method::POST, None)
    );
    assert_eq!(seen[0].query, "");
}

#[tokio::test]
async fn a_service_without_forms_is_asked_by_get_with_the_name_and_password_beside_the_token() {
    let registry = started(bearer()).await;
    let access = with(Credentials::IdentityToken {
        token: "canary".into(),
        basic: Some(("user".into(), "canary-password".into())),
        source: "secret apps/regcred".into(),
    });
    pull(&session_of(&registry, &access)).await.unwrap();
    let methods: Vec<_> = tokens(&registry)
        .into_iter()
        .map(|seen| seen.method)
        .collect();
    assert_eq!(methods, [Method::POST, Method::GET]);
}

#[tokio::test]
async fn a_service_that_knows_only_forms_gets_the_password_in_one() {
    let registry = started(bearer().only_forms()).await;
    pull(&session_of(&registry, &known())).await.unwrap();
    let methods: Vec<_> = tokens(&registry)
        .into_iter()
        .map(|seen| seen.method)
        .collect();
    assert_eq!(methods, [Method::GET, Method::POST]);
}

#[tokio::test]
async fn an_identity_token_that_is_refused_is_named_by_its_source() {
    let registry = started(bearer().identity_token("another")).await;
    let body = r#"{"errors":[{"code":"DENIED","message":"refresh_token=canary%2Bone, that is canary+one"}]}"#;
    registry.script(Rule::on(Endpoint::Token).fault(Fault::status_with(401, &[], body)));
    let error = pull(&session_of(&registry, &identity_token("canary+one")))
        .await
        .unwrap_err();
    let text = everything(&error);
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        text.contains("the credentials from secret apps/regcred were refused"),
        "{text}"
    );
    assert!(
        text.contains("refresh_token=(secret), that is (secret)"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(tokens(&registry).len(), 1);
}

#[tokio::test]
async fn an_identity_token_is_no_password() {
    let registry = started(FakeRegistry::builder().basic("user", "canary")).await;
    let error = pull(&session_of(&registry, &identity_token("canary")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let text = everything(&error);
    assert!(
        text.contains("secret apps/regcred are an identity token"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn a_registry_token_is_shown_as_it_is() {
    for challenge in ["Basic", r#"Bearer realm="https://auth.invalid/t""#] {
        let registry = challenging(&[challenge]).await;
        let access = with(Credentials::registry_token(
            "canary-token",
            "secret apps/regcred",
        ));
        pull(&session_of(&registry, &access)).await.unwrap();
        assert!(tokens(&registry).is_empty());
        let shown = registry.requests_to(Endpoint::Blob).remove(0);
        assert_eq!(
            shown.authorization_digest,
            Some(sha256(b"Bearer canary-token"))
        );
    }
    let registry = started(bearer()).await;
    let access = with(Credentials::registry_token(
        "canary-wrong",
        "secret apps/regcred",
    ));
    let error = pull(&session_of(&registry, &access)).await.unwrap_err();
    let text = everything(&error);
    assert!(
        text.contains("the credentials from secret apps/regcred were refused"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    let access = with(Credentials::registry_token("canary\nwrong", "x"));
    let error = pull(&session_of(&registry, &access)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!everything(&error).contains("canary"), "{error:?}");
}

#[tokio::test]
async fn what_a_service_gives_to_get_the_next_token_with_is_used_once_it_is_needed() {
    let registry = started(bearer()).await;
    let gives = |token: &str| {
        token_of(&format!(
            r#"{{"token":"{token}","refresh_token":"canary-refresh"}}"#
        ))
    };
    registry.script(Rule::on(Endpoint::Token).faults([
        gives("one"),
        gives("two"),
        Fault::status(400),
    ]));
    registry.script(Rule::on(Endpoint::Token).fault(gives("three")));
    let challenge = format!(r#"Bearer realm="{}/token""#, registry.base_url());
    // The registry itself knows none of these tokens: each is refused, and what matters is how the next is asked for.
    let client = client();
    for _ in 0..2 {
        let error = pull(&session(&client, &registry, &known()))
            .await
            .unwrap_err();
        assert!(
            !everything(&error).contains("canary"),
            "{error:?} {challenge}"
        );
    }
    let methods: Vec<_> = tokens(&registry)
        .into_iter()
        .map(|seen| seen.method)
        .collect();
    assert_eq!(
        methods,
        [
            Method::GET,
            Method::POST,
            Method::POST,
            Method::GET,
            Method::POST
        ]
    );
}
