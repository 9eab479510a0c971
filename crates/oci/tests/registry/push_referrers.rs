// SPDX-License-Identifier: Apache-2.0

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use wharf_oci::{
    media_type,
    registry::{Content, Error, ErrorKind, Listed, PushedReferrer, Session},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_INDEX, Rule, SeededArtifact},
};

use crate::support::*;

async fn without_api() -> FakeRegistry {
    let builder = FakeRegistry::builder().without_referrers();
    builder.start().await.unwrap()
}

fn referrer(subject: &SeededArtifact, name: &str) -> Bytes {
    let config = descriptor(b"{}");
    let document = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "application/x-note",
        "config": config, "layers": [], "annotations": {"name": name},
        "subject": {
            "mediaType": media_type::OCI_MANIFEST, "digest": subject.manifest_digest,
            "size": subject.manifest.len(),
        },
    });
    Bytes::from(document.to_string())
}

async fn push(session: &Session, bytes: Bytes) -> Result<PushedReferrer, Error> {
    let config = Content::Bytes(Bytes::from_static(b"{}"));
    session.push_blob(&descriptor(b"{}"), &config).await?;
    session.push_referrer(bytes, media_type::OCI_MANIFEST).await
}

fn tag_of(subject: &SeededArtifact) -> String {
    subject.manifest_digest.replace(':', "-")
}

/// The index under the subject's tag, as it stands in the registry.
async fn listed(session: &Session, subject: &SeededArtifact) -> Vec<Value> {
    let resolved = session.resolve(&tag(&tag_of(subject))).await.unwrap();
    let index = session.manifest(&resolved.digest).await.unwrap();
    let index: Value = serde_json::from_slice(&index.bytes).unwrap();
    assert_eq!(index["mediaType"], OCI_INDEX);
    index["manifests"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_registry_with_the_api_lists_a_referrer_itself() {
    let registry = FakeRegistry::start().await;
    let subject = seed(&registry, "layer");
    let session = anonymous(&registry);
    let pushed = push(&session, referrer(&subject, "a")).await.unwrap();
    assert_eq!(pushed.listed, Listed::Registry);
    assert_eq!(pushed.subject.to_string(), subject.manifest_digest);
    assert!(session.resolve(&tag(&tag_of(&subject))).await.is_err());
}

#[tokio::test]
async fn without_the_api_the_index_under_the_tag_is_added_to() {
    let registry = without_api().await;
    let subject = seed(&registry, "layer");
    let session = anonymous(&registry);
    let first = push(&session, referrer(&subject, "a")).await.unwrap();
    assert_eq!(first.listed, Listed::Tag(tag_of(&subject).parse().unwrap()));
    let second = push(&session, referrer(&subject, "b")).await.unwrap();
    push(&session, referrer(&subject, "a")).await.unwrap();
    let entries = listed(&session, &subject).await;
    let digests: Vec<_> = entries.iter().map(|entry| &entry["digest"]).collect();
    assert_eq!(digests, [&json!(first.digest), &json!(second.digest)]);
    assert_eq!(entries[0]["artifactType"], "application/x-note");
    assert_eq!(entries[0]["annotations"], json!({"name": "a"}));
}

#[tokio::test]
async fn entries_of_others_are_kept_as_they_are() {
    let registry = without_api().await;
    let subject = seed(&registry, "layer");
    let session = anonymous(&registry);
    let other = json!({
        "mediaType": media_type::OCI_MANIFEST, "digest": subject.manifest_digest, "size": subject.manifest.len(),
        "artifactType": "x/y", "data": "aGk=", "unknown": {"deep": [1, 2]},
    });
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other]});
    registry.put_manifest(REPOSITORY, &tag_of(&subject), OCI_INDEX, index.to_string());
    push(&session, referrer(&subject, "a")).await.unwrap();
    let entries = listed(&session, &subject).await;
    assert_eq!((entries.len(), &entries[0]), (2, &other));
}

#[tokio::test]
async fn an_entry_that_another_writer_took_away_is_written_again() {
    let registry = without_api().await;
    let subject = seed(&registry, "layer");
    let session = anonymous(&registry);
    let on_tag = || {
        let rule = Rule::on(Endpoint::Manifest).method(Method::PUT);
        rule.reference(&tag_of(&subject)).fault(Fault::status(201))
    };
    registry.script(on_tag().times(1));
    push(&session, referrer(&subject, "a")).await.unwrap();
    assert_eq!(listed(&session, &subject).await.len(), 1);

    registry.script(on_tag());
    let error = push(&session, referrer(&subject, "b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("is not listed"), "{error}");
    assert!(registry.requests().len() < 50);
}

#[tokio::test]
async fn what_is_not_an_index_under_the_tag_is_left_alone() {
    let registry = without_api().await;
    let subject = seed(&registry, "layer");
    let session = anonymous(&registry);
    let manifest = subject.manifest.clone();
    registry.put_manifest(
        REPOSITORY,
        &tag_of(&subject),
        media_type::OCI_MANIFEST,
        manifest,
    );
    let error = push(&session, referrer(&subject, "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ManifestInvalid);
    assert!(error.to_string().contains(&tag_of(&subject)), "{error}");
    let resolved = session.resolve(&tag(&tag_of(&subject))).await.unwrap();
    assert_eq!(resolved.digest.to_string(), subject.manifest_digest);
}

#[tokio::test]
async fn a_denied_read_of_the_index_is_not_an_empty_one() {
    let registry = without_api().await;
    let subject = seed(&registry, "layer");
    let session = anonymous(&registry);
    registry.script(
        Rule::on(Endpoint::Manifest)
            .get()
            .reference(&tag_of(&subject))
            .fault(Fault::status(403)),
    );
    let error = push(&session, referrer(&subject, "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_manifest_without_a_subject_is_no_referrer() {
    let registry = FakeRegistry::start().await;
    let session = anonymous(&registry);
    let bare = json!({"schemaVersion": 2, "config": descriptor(b"{}"), "layers": []});
    let odd = json!({"schemaVersion": 2, "config": descriptor(b"{}"), "layers": [], "subject": {"digest": "sha256:x"}});
    for (text, kind) in [
        (bare.to_string(), ErrorKind::ManifestInvalid),
        (odd.to_string(), ErrorKind::ManifestInvalid),
        ("<html>".into(), ErrorKind::ManifestInvalid),
    ] {
        let error = session
            .push_referrer(text.into(), media_type::OCI_MANIFEST)
            .await;
        assert_eq!(error.unwrap_err().kind(), kind);
    }
    assert!(registry.requests().is_empty());
}
