// SPDX-License-Identifier: Apache-2.0

use std::{collections::HashSet, io::Write as _};

use bytes::Bytes;
use http::Method;
use wharf_oci::{
    Manifest, media_type,
    registry::{Content, ErrorKind, Target},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, OCI_INDEX, OCI_MANIFEST},
};

use crate::support::*;

#[tokio::test]
async fn a_tag_is_resolved_read_and_downloaded() {
    let registry = FakeRegistry::start().await;
    let layer: Vec<u8> = (0..3_000_000_u32)
        .flat_map(u32::to_le_bytes)
        .take(3_000_001)
        .collect();
    let seeded = seed(&registry, layer.clone());
    let session = anonymous(&registry);

    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    assert_eq!(resolved.revision(), seeded.revision());
    let image = session.image(&resolved).await.unwrap();
    assert_eq!(image.document.bytes, seeded.manifest);
    assert_eq!(image.document.media_type, media_type::OCI_MANIFEST);
    assert_eq!(
        download(&session, &image.manifest.layers[0]).await.unwrap(),
        layer
    );

    let manifests = registry.requests_to(Endpoint::Manifest);
    let methods: Vec<_> = manifests.iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(methods, [Method::HEAD, Method::GET]);
    assert!(
        manifests
            .iter()
            .all(|seen| seen.accept.as_deref() == Some(media_type::MANIFEST_ACCEPT))
    );
    let agents: HashSet<_> = registry
        .requests()
        .into_iter()
        .map(|seen| seen.user_agent)
        .collect();
    assert_eq!(
        agents,
        HashSet::from([Some(
            concat!("wharf/", env!("CARGO_PKG_VERSION")).to_owned()
        )])
    );
}

#[tokio::test]
async fn a_digest_is_resolved_without_asking() {
    let registry = FakeRegistry::start().await;
    let seeded = seed(&registry, "layer");
    let session = anonymous(&registry);
    let target = Target::Digest(seeded.manifest_digest.parse().unwrap());
    let resolved = session.resolve(&target).await.unwrap();
    assert_eq!(resolved.revision(), seeded.manifest_digest);
    assert!(registry.requests().is_empty());
    assert!(session.image(&resolved).await.is_ok());
}

#[tokio::test]
async fn the_linux_amd64_child_of_an_index_is_taken_and_the_revision_is_the_index() {
    let registry = FakeRegistry::start().await;
    let arm = seed(&registry, "arm");
    let amd = seed(&registry, "amd");
    let index = registry.push_index(
        REPOSITORY,
        "1.0.0",
        &[("linux/arm64", &arm), ("linux/amd64", &amd)],
    );
    let session = anonymous(&registry);
    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    assert_eq!(resolved.digest.to_string(), index);
    let image = session.image(&resolved).await.unwrap();
    assert_eq!(image.document.digest.to_string(), amd.manifest_digest);
    assert!(matches!(
        session.manifest(&resolved.digest).await.unwrap().manifest,
        Manifest::Index(_)
    ));
}

#[tokio::test]
async fn indexes_may_be_nested_once_and_not_twice() {
    let registry = FakeRegistry::start().await;
    let image = seed(&registry, "layer");
    let mut inner = (
        image.manifest_digest.clone(),
        image.manifest.len(),
        OCI_MANIFEST,
    );
    for (tag_name, readable) in [("one", true), ("two", true), ("three", false)] {
        let (digest, size, kind) = inner;
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}]}}"#
        );
        inner = (
            registry.put_manifest(REPOSITORY, tag_name, OCI_INDEX, text.clone()),
            text.len(),
            OCI_INDEX,
        );
        let session = anonymous(&registry);
        let resolved = session.resolve(&tag(tag_name)).await.unwrap();
        let got = session.image(&resolved).await;
        assert_eq!(got.is_ok(), readable, "{tag_name}");
        if let Err(error) = got {
            assert_eq!(error.kind(), ErrorKind::ManifestInvalid);
            assert!(error.to_string().contains("nested"), "{error}");
        }
    }
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled() {
    for registry in [
        FakeRegistry::start().await,
        FakeRegistry::builder()
            .basic("user", "password")
            .start()
            .await
            .unwrap(),
        FakeRegistry::builder()
            .bearer("user", "password")
            .start()
            .await
            .unwrap(),
    ] {
        let session = session_of(&registry, &basic("user", "password"));
        let layer = vec![7_u8; 700_001];
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&layer).unwrap();
        let blob = descriptor(&layer);
        let config = descriptor(b"{}");

        assert!(!session.has_blob(&blob.digest).await.unwrap());
        session
            .push_blob(&blob, &Content::File(file.path().to_owned()))
            .await
            .unwrap();
        session
            .push_blob(&config, &Content::Bytes(Bytes::from_static(b"{}")))
            .await
            .unwrap();
        assert!(session.has_blob(&blob.digest).await.unwrap());
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [blob],
        });
        let bytes = Bytes::from(manifest.to_string());
        let digest = session
            .push_manifest(&tag("1.0.0"), bytes.clone(), media_type::OCI_MANIFEST)
            .await
            .unwrap();
        let again = session
            .push_manifest(
                &Target::Digest(digest.clone()),
                bytes,
                media_type::OCI_MANIFEST,
            )
            .await;
        assert_eq!(again.unwrap(), digest);

        assert_eq!(session.resolve(&tag("1.0.0")).await.unwrap().digest, digest);
        assert_eq!(pull(&session).await.unwrap(), layer);
    }
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_sent_again() {
    let registry = FakeRegistry::start().await;
    let session = anonymous(&registry);
    let content = Content::Bytes(Bytes::from_static(b"blob"));
    session
        .push_blob(&descriptor(b"blob"), &content)
        .await
        .unwrap();
    registry.clear_requests();
    session
        .push_blob(&descriptor(b"blob"), &content)
        .await
        .unwrap();
    assert!(registry.requests_to(Endpoint::Upload).is_empty());
}

#[tokio::test]
async fn a_push_of_something_else_than_was_said_fails() {
    let registry = FakeRegistry::start().await;
    let session = anonymous(&registry);
    let other = Content::Bytes(Bytes::from_static(b"evil"));
    assert!(
        session
            .push_blob(&descriptor(b"blob"), &other)
            .await
            .is_err()
    );
    let longer = Content::Bytes(Bytes::from_static(b"blobs"));
    let error = session
        .push_blob(&descriptor(b"blob"), &longer)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SizeMismatch);
    let missing = Content::File("/nonexistent/file".into());
    assert_eq!(
        session
            .push_blob(&descriptor(b"blob"), &missing)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Io
    );
    let target = Target::Digest(descriptor(b"x").digest);
    let error = session
        .push_manifest(&target, Bytes::from_static(b"{}"), media_type::OCI_MANIFEST)
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::DigestMismatch);
    assert!(!session.has_blob(&descriptor(b"blob").digest).await.unwrap());
}
