// SPDX-License-Identifier: Apache-2.0
//! What was sent and is secret comes back in every place of an answer that an error quotes.

use wharf_oci::{
    media_type::{OCI_INDEX, OCI_MANIFEST},
    registry::{Credentials, Error, Session},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
};

use crate::support::*;

const PASSWORD: &str = "Hunter2-Password";
const TOKEN: &str = "Canary-Token.0123456789";

/// No part of the secrets is told, and something stands in their place.
fn assert_scrubbed(what: &str, error: &Error) {
    let text = everything(error);
    let lower = text.to_lowercase();
    for part in ["hunter2", "canary", "0123456789"] {
        assert!(!lower.contains(part), "{what}: {text}");
    }
    assert!(text.contains("(secret)"), "{what}: {text}");
}

fn answer(code: u16, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Fault {
    Fault::status_with(code, headers, body)
}

async fn open_registry() -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    registry
}

async fn refused(fault: Fault, at: Endpoint, ask: impl AsyncFn(&Session) -> Result<(), Error>) {
    let what = format!("{fault:?}");
    let registry = open_registry().await;
    registry.script(Rule::on(at).fault(fault).times(10));
    let session = session_of(&registry, &basic("robot", PASSWORD));
    let error = ask(&session).await.unwrap_err();
    assert_scrubbed(&what, &error);
    assert!(!error.to_string().contains("(secret)/app"), "{error}");
}

#[tokio::test]
async fn a_password_that_comes_back_in_a_manifest_or_its_headers_is_not_told() {
    let manifest = |code, headers: &[(&str, &str)], body: String| answer(code, headers, body);
    let typed = ("content-type", OCI_MANIFEST);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"sha256:{}","size":1,"platform":{{"os":"{PASSWORD}","architecture":"{PASSWORD}"}}}}]}}"#,
        "0".repeat(64)
    );
    let long = format!("x-coding-{PASSWORD}-that-is-cut-after-forty-characters");
    for fault in [
        manifest(200, &[typed, ("content-encoding", PASSWORD)], "{}".into()),
        manifest(200, &[typed, ("content-encoding", &long)], "{}".into()),
        manifest(
            200,
            &[("content-type", PASSWORD)],
            r#"{"schemaVersion":2}"#.into(),
        ),
        manifest(
            200,
            &[("content-type", PASSWORD)],
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}"}}"#),
        ),
        manifest(
            200,
            &[],
            format!(r#"{{"schemaVersion":2,"mediaType":"{PASSWORD}"}}"#),
        ),
        manifest(
            200,
            &[typed],
            format!(r#"{{"schemaVersion":2,"config":"{PASSWORD}"}}"#),
        ),
        manifest(200, &[("content-type", OCI_INDEX)], index),
        manifest(
            401,
            &[(
                "www-authenticate",
                &format!(r#"Bearer realm="ftp://{PASSWORD}/""#),
            )],
            String::new(),
        ),
        manifest(
            401,
            &[("www-authenticate", &format!("{PASSWORD} realm=x"))],
            String::new(),
        ),
        manifest(403, &[("content-type", PASSWORD)], "x".into()),
    ] {
        refused(fault, Endpoint::Manifest, async |session| {
            let resolved = session.resolve(&tag("1.0.0")).await?;
            session.image(&resolved).await.map(drop)
        })
        .await;
    }
}

#[tokio::test]
async fn a_password_that_comes_back_with_tags_and_pushes_is_not_told() {
    for fault in [
        answer(200, &[("content-type", PASSWORD)], "no list"),
        answer(200, &[("content-encoding", PASSWORD)], "{}"),
        answer(
            200,
            &[("content-type", "application/json")],
            format!(r#"{{"tags":"{PASSWORD}"}}"#),
        ),
    ] {
        refused(fault, Endpoint::Tags, async |session| {
            session.tags().next_page().await.map(drop)
        })
        .await;
    }
    let stored = answer(201, &[("docker-content-digest", PASSWORD)], "");
    refused(stored, Endpoint::Manifest, async |session| {
        let document = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        let to = tag("2.0.0");
        let pushed = session.push_manifest(&to, document.into(), OCI_INDEX).await;
        pushed.map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_token_that_comes_back_is_not_told() {
    let registry = open_registry().await;
    let realm = format!(r#"Bearer realm="{}/token""#, registry.base_url());
    let given = format!(r#"{{"token":"{TOKEN}"}}"#);
    registry.script(
        Rule::on(Endpoint::Token)
            .fault(answer(200, &[], given))
            .times(10),
    );
    let challenge = answer(401, &[("www-authenticate", &realm)], "");
    let echo = answer(200, &[("content-encoding", TOKEN)], "{}");
    let cut = format!("{}...", &TOKEN[..14]);
    let cut = answer(200, &[("content-encoding", &cut)], "{}");
    registry.script(Rule::on(Endpoint::Tags).faults([challenge, echo.clone(), cut]));
    let access = basic("robot", PASSWORD);
    let session = session_of(&registry, &access);
    for what in ["a token", "the beginning of a token"] {
        let error = session.tags().next_page().await.unwrap_err();
        assert_scrubbed(what, &error);
    }
    registry.be_honest();
    let access = wharf_oci::registry::Access {
        credentials: Credentials::registry_token(TOKEN, "secret apps/regcred"),
        ..access
    };
    let challenge = answer(401, &[("www-authenticate", &realm)], "");
    registry.script(Rule::on(Endpoint::Tags).faults([challenge, echo]));
    let error = session_of(&registry, &access).tags().next_page().await;
    assert_scrubbed("a registry token", &error.unwrap_err());
}

#[tokio::test]
async fn what_only_looks_like_a_secret_is_left_in_our_own_words() {
    let registry = FakeRegistry::builder().basic("team", "other");
    let registry = registry.start().await.unwrap();
    seed(&registry, "layer");
    let session = session_of(&registry, &basic("team", "credentials"));
    let text = session
        .resolve(&tag("1.0.0"))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("team/app"), "{text}");
    assert!(
        text.contains("the credentials from secret apps/regcred were refused"),
        "{text}"
    );
}
