// SPDX-License-Identifier: Apache-2.0

use bytes::Bytes;
use wharf_oci::registry::{Content, ErrorKind};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule, sha256},
    tls::Authority,
};

use crate::support::*;

const LAYER: &[u8] = b"the layer";

/// A registry that wants a name and password, and a storage that shall never see them.
async fn registry_and_storage() -> (FakeRegistry, FakeRegistry) {
    let registry = FakeRegistry::builder()
        .basic("user", "password")
        .start()
        .await
        .unwrap();
    let storage = FakeRegistry::start().await;
    seed(&registry, LAYER);
    seed(&storage, LAYER);
    (registry, storage)
}

fn blob_url(registry: &FakeRegistry) -> String {
    format!(
        "{}/v2/{REPOSITORY}/blobs/{}",
        registry.base_url(),
        sha256(LAYER)
    )
}

#[tokio::test]
async fn a_redirect_to_another_port_is_followed_without_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let (registry, storage) = registry_and_storage().await;
        let url = format!("{}?X-Signature=canary", blob_url(&storage));
        registry.script(
            Rule::on(Endpoint::Blob)
                .get()
                .fault(Fault::Redirect(url, status)),
        );
        assert_eq!(
            pull(&session_of(&registry, &basic("user", "password")))
                .await
                .unwrap(),
            LAYER
        );
        let seen = storage.requests_to(Endpoint::Blob);
        assert_eq!(seen.len(), 1, "{status}");
        assert_eq!(seen[0].authorization, None, "{status}");
        assert_eq!(seen[0].query, "X-Signature=canary");
    }
}

#[tokio::test]
async fn credentials_are_not_restored_when_a_redirect_comes_back() {
    let (registry, storage) = registry_and_storage().await;
    let session = session_of(&registry, &basic("user", "password"));
    session.resolve(&tag("1.0.0")).await.unwrap();
    registry.clear_requests();
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .times(1)
            .fault(Fault::Redirect(blob_url(&storage), 307)),
    );
    storage.script(
        Rule::on(Endpoint::Blob)
            .get()
            .fault(Fault::Redirect(blob_url(&registry), 307)),
    );
    let error = download(&session, &descriptor(LAYER)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    let seen = registry.requests_to(Endpoint::Blob);
    let sent: Vec<_> = seen
        .iter()
        .map(|seen| seen.authorization.as_deref())
        .collect();
    assert_eq!(sent, [Some("Basic"), None]);
}

#[tokio::test]
async fn a_redirect_on_the_registry_itself_keeps_credentials() {
    let (registry, _storage) = registry_and_storage().await;
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .times(2)
            .fault(Fault::Redirect(blob_url(&registry), 307)),
    );
    assert_eq!(
        pull(&session_of(&registry, &basic("user", "password")))
            .await
            .unwrap(),
        LAYER
    );
    assert!(
        registry
            .requests_to(Endpoint::Blob)
            .iter()
            .all(|seen| seen.authorization.is_some())
    );
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let (registry, _storage) = registry_and_storage().await;
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .fault(Fault::Redirect(blob_url(&registry), 302)),
    );
    let error = pull(&session_of(&registry, &basic("user", "password")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("more than 5 times"), "{error}");
    assert_eq!(registry.requests_to(Endpoint::Blob).len(), 6);
}

#[tokio::test]
async fn a_redirect_is_checked_at_the_connector_like_any_host() {
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "2852039166",
        "[fd00:ec2::254]",
    ] {
        let (registry, _storage) = registry_and_storage().await;
        let url = format!("http://{host}/latest/meta-data?key=canary");
        registry.script(
            Rule::on(Endpoint::Blob)
                .get()
                .fault(Fault::Redirect(url, 307)),
        );
        let error = pull(&session_of(&registry, &basic("user", "password")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EgressDenied, "{host}: {error}");
        assert!(!everything(&error).contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_not_followed() {
    let authority = Authority::new("Test CA");
    let registry = showing(&authority.local_leaf()).await;
    let storage = FakeRegistry::start().await;
    seed(&registry, LAYER);
    seed(&storage, LAYER);
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .fault(Fault::Redirect(blob_url(&storage), 307)),
    );
    let session = session_of(&registry, &crate::transport::trusting(authority.pem()));
    let error = pull(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.to_string().contains("from https to plain http"),
        "{error}"
    );
    assert!(storage.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_told_of() {
    for location in ["ftp://host/x", "https://user:canary@host/x", "http://"] {
        let (registry, _storage) = registry_and_storage().await;
        registry.script(
            Rule::on(Endpoint::Blob)
                .get()
                .fault(Fault::Redirect(location.into(), 307)),
        );
        let error = pull(&session_of(&registry, &basic("user", "password")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{location}");
        assert!(
            error.to_string().contains("Location") && !everything(&error).contains("canary"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_refusal_of_the_storage_shows_no_signature_and_blames_no_credentials() {
    let (registry, storage) = registry_and_storage().await;
    let url = format!("{}?X-Signature=canary", blob_url(&storage));
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .fault(Fault::Redirect(url, 307)),
    );
    storage.script(Rule::on(Endpoint::Blob).get().fault(Fault::status(403)));
    let error = pull(&session_of(&registry, &basic("user", "password")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    let text = everything(&error);
    assert!(text.contains(&storage.host()), "{text}");
    assert!(
        !text.contains("canary") && !text.contains("credentials"),
        "{error}"
    );
}

#[tokio::test]
async fn an_upload_place_on_another_host_gets_the_bytes_without_credentials() {
    let (registry, storage) = registry_and_storage().await;
    let place = format!("{}/v2/{REPOSITORY}/blobs/uploads/", storage.base_url());
    let start = Fault::status_with(202, &[("location", &place)], "");
    registry.script(Rule::on(Endpoint::Upload).fault(start));
    let session = session_of(&registry, &basic("user", "password"));
    let content = Content::Bytes(Bytes::from_static(b"new"));
    // What the storage makes of it does not matter here: it is asked, and by nobody it knows.
    let _ = session.push_blob(&descriptor(b"new"), &content).await;
    let seen = storage.requests();
    assert!(!seen.is_empty());
    assert!(
        seen.iter().all(|seen| seen.authorization.is_none()),
        "{seen:?}"
    );
}

#[tokio::test]
async fn an_upload_without_a_place_is_told_of() {
    let registry = FakeRegistry::start().await;
    registry.script(Rule::on(Endpoint::Upload).fault(Fault::status(202)));
    let content = Content::Bytes(Bytes::from_static(b"new"));
    let error = anonymous(&registry)
        .push_blob(&descriptor(b"new"), &content)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("Location"), "{error}");
}
