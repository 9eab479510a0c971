// SPDX-License-Identifier: Apache-2.0

use std::net::TcpListener;

use http::Method;
use serde_json::{Value, json};
use wharf_oci::{
    Algorithm, Digest,
    registry::{Error, ErrorKind, Image, Session},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_INDEX, OCI_MANIFEST, Rule, SeededArtifact},
};

use crate::support::*;

const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

async fn image(session: &Session, tag_name: &str) -> Result<Image, Error> {
    let resolved = session.resolve(&tag(tag_name)).await?;
    session.image(&resolved).await
}

/// The error for a document that stands under the tag `1.0.0`.
async fn refusal(kind: &str, text: impl Into<bytes::Bytes>) -> Error {
    let registry = FakeRegistry::start().await;
    registry.put_manifest(REPOSITORY, "1.0.0", kind, text);
    image(&anonymous(&registry), "1.0.0").await.unwrap_err()
}

fn document(artifact: &SeededArtifact) -> Value {
    serde_json::from_slice(&artifact.manifest).unwrap()
}

#[tokio::test]
async fn documents_that_could_be_read_in_two_ways_are_refused() {
    let registry = FakeRegistry::start().await;
    let text = document(&seed(&registry, "layer")).to_string();
    let twice = text.replacen('{', r#"{"layers":[],"#, 1);
    let both = text.replacen('{', r#"{"manifests":[],"#, 1);
    let look_alike = text.replacen('{', r#"{"Layers":[],"#, 1);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (kind, bytes, words) in [
        (OCI_MANIFEST, twice.into_bytes(), "JSON"),
        (OCI_MANIFEST, both.into_bytes(), "ambiguous"),
        (OCI_MANIFEST, look_alike.into_bytes(), "\"Layers\""),
        (OCI_INDEX, text.clone().into_bytes(), "was sent as"),
        (OCI_MANIFEST, utf16, "JSON"),
        (OCI_MANIFEST, format!("\u{feff}{text}").into_bytes(), "JSON"),
        (OCI_MANIFEST, format!("{text}{text}").into_bytes(), "JSON"),
        (
            "application/x",
            text.replace(OCI_MANIFEST, "application/x").into_bytes(),
            "the media type is \"application/x\", expected",
        ),
        (
            DOCKER_SCHEMA1,
            br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec(),
            "schema 1",
        ),
        (
            "application/json",
            br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec(),
            "schema 1",
        ),
    ] {
        let error = refusal(kind, bytes).await;
        assert_eq!(error.kind(), ErrorKind::ManifestInvalid, "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn addresses_in_descriptors_are_never_contacted_and_inline_content_is_never_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let registry = FakeRegistry::start().await;
    let mut manifest = document(&seed(&registry, "layer"));
    let urls = json!([
        format!("http://{address}/layer"),
        format!("http://{address}/again")
    ]);
    for descriptor in ["/config", "/layers/0"] {
        let descriptor = manifest.pointer_mut(descriptor).unwrap();
        descriptor["urls"] = urls.clone();
        descriptor["data"] = json!("b3RoZXI=");
    }
    let bytes = manifest.to_string();
    registry.put_manifest(REPOSITORY, "child", OCI_MANIFEST, bytes.clone());
    let child = json!({"mediaType": OCI_MANIFEST, "digest": Digest::sha256_of(bytes.as_bytes()),
        "size": bytes.len(), "urls": urls, "data": "e30="});
    let index = json!({"schemaVersion": 2, "manifests": [child]});
    registry.put_manifest(REPOSITORY, "1.0.0", OCI_INDEX, index.to_string());
    let session = anonymous(&registry);
    assert_eq!(pull(&session).await.unwrap(), b"layer");
    let layer = image(&session, "1.0.0").await.unwrap().manifest.layers[0].clone();
    registry.delete_blob(REPOSITORY, &layer.digest.to_string());
    assert_eq!(
        download(&session, &layer).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let connection = listener.accept();
    assert!(
        connection.is_err(),
        "{connection:?} was made because of a manifest"
    );
}

#[tokio::test]
async fn a_child_without_a_platform_counts_and_others_do_not() {
    let registry = FakeRegistry::start().await;
    let one = seed(&registry, "one");
    let two = seed(&registry, "two");
    let entry = |artifact: &SeededArtifact, platform: Value| {
        let mut entry = json!({"mediaType": OCI_MANIFEST, "digest": artifact.manifest_digest, "size": artifact.manifest.len()});
        entry["platform"] = platform;
        entry
    };
    for (platform, is_taken) in [
        (Value::Null, true),
        (json!({"os": "linux", "architecture": "amd64"}), true),
        (
            json!({"os": "linux", "architecture": "amd64", "variant": "v2"}),
            true,
        ),
        (json!({"architecture": "amd64"}), false),
        (json!({}), false),
        (json!({"os": "Linux", "architecture": "AMD64"}), false),
        (json!({"os": "unknown", "architecture": "unknown"}), false),
    ] {
        let entries = [
            entry(&one, platform.clone()),
            entry(&two, json!({"os": "linux", "architecture": "amd64"})),
        ];
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        registry.put_manifest(REPOSITORY, "index", OCI_INDEX, index.to_string());
        let got = image(&anonymous(&registry), "index").await.unwrap();
        let expected = if is_taken { &one } else { &two };
        assert_eq!(
            got.document.digest.to_string(),
            expected.manifest_digest,
            "{platform}"
        );
    }
}

#[tokio::test]
async fn a_child_that_is_not_there_or_is_another_is_an_error() {
    let registry = FakeRegistry::start().await;
    let artifact = seed(&registry, "layer");
    registry.push_index(REPOSITORY, "index", &[("linux/amd64", &artifact)]);
    let session = anonymous(&registry);
    registry.script(
        Rule::on(Endpoint::Manifest)
            .get()
            .reference(&artifact.manifest_digest)
            .fault(Fault::WrongDigest),
    );
    assert_eq!(
        image(&session, "index").await.unwrap_err().kind(),
        ErrorKind::DigestMismatch
    );
    registry.be_honest();
    registry.delete_manifest(REPOSITORY, &artifact.manifest_digest);
    let error = image(&session, "index").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.to_string().contains(&artifact.manifest_digest),
        "{error}"
    );
}

#[tokio::test]
async fn a_head_that_tells_no_digest_is_asked_again_by_get() {
    for (fault, gets) in [
        (Fault::status(404), true),
        (Fault::status(405), true),
        (Fault::status(400), true),
        (Fault::status(501), true),
        (Fault::Html, true),
        (Fault::status(200), true),
        (Fault::status(204), true),
        (
            Fault::status_with(200, &[("docker-content-digest", "sha256:00")], ""),
            true,
        ),
        (
            Fault::status_with(200, &[("docker-content-digest", "md5:00")], ""),
            true,
        ),
        (
            Fault::status_with(200, &[("docker-content-digest", "")], ""),
            true,
        ),
        (Fault::Honest, false),
    ] {
        let registry = FakeRegistry::start().await;
        let artifact = seed(&registry, "layer");
        registry.script(
            Rule::on(Endpoint::Manifest)
                .method(Method::HEAD)
                .fault(fault.clone()),
        );
        let resolved = anonymous(&registry).resolve(&tag("1.0.0")).await.unwrap();
        assert_eq!(
            resolved.digest.to_string(),
            artifact.manifest_digest,
            "{fault:?}"
        );
        let seen = registry.requests_to(Endpoint::Manifest);
        assert_eq!(seen.len(), if gets { 2 } else { 1 }, "{fault:?}");
    }
}

#[tokio::test]
async fn two_digests_that_differ_and_the_digest_of_a_page_are_none() {
    let other = Digest::sha256_of(b"other").to_string();
    for headers in [
        &[
            ("docker-content-digest", other.as_str()),
            ("docker-content-digest", "sha256:00"),
        ][..],
        &[
            ("docker-content-digest", other.as_str()),
            ("content-type", "text/html; charset=utf-8"),
        ],
    ] {
        let registry = FakeRegistry::start().await;
        let artifact = seed(&registry, "layer");
        let fault = Fault::status_with(200, headers, "");
        registry.script(
            Rule::on(Endpoint::Manifest)
                .method(Method::HEAD)
                .fault(fault),
        );
        let resolved = anonymous(&registry).resolve(&tag("1.0.0")).await.unwrap();
        assert_eq!(resolved.digest.to_string(), artifact.manifest_digest);
    }
}

#[tokio::test]
async fn a_digest_that_get_disproves_is_never_used() {
    let registry = FakeRegistry::start().await;
    let artifact = seed(&registry, "layer");
    registry.script(
        Rule::on(Endpoint::Manifest)
            .method(Method::HEAD)
            .fault(Fault::WrongDigestHeader),
    );
    let session = anonymous(&registry);
    let error = image(&session, "1.0.0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let wrong = Digest::sha256_of(b"something else").to_string();
    registry.put_manifest(REPOSITORY, &wrong, OCI_MANIFEST, artifact.manifest.clone());
    let error = image(&session, "1.0.0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error}");
}

#[tokio::test]
async fn a_digest_of_another_algorithm_is_proved_by_it() {
    let registry = FakeRegistry::start().await;
    let artifact = seed(&registry, "layer");
    let long = Digest::of(Algorithm::Sha512, &artifact.manifest).to_string();
    let fault = Fault::status_with(200, &[("docker-content-digest", &long)], "");
    registry.script(
        Rule::on(Endpoint::Manifest)
            .method(Method::HEAD)
            .fault(fault),
    );
    let session = anonymous(&registry);
    assert_eq!(
        image(&session, "1.0.0").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    registry.put_manifest(REPOSITORY, &long, OCI_MANIFEST, artifact.manifest.clone());
    assert_eq!(
        image(&session, "1.0.0")
            .await
            .unwrap()
            .document
            .digest
            .to_string(),
        long
    );
    registry.put_manifest(REPOSITORY, &long, OCI_MANIFEST, "{}");
    assert_eq!(
        image(&session, "1.0.0").await.unwrap_err().kind(),
        ErrorKind::DigestMismatch
    );
}

#[tokio::test]
async fn what_a_get_by_tag_finds_must_be_a_manifest_before_it_has_a_digest() {
    for fault in [
        Fault::Html,
        Fault::OtherBody("{}".into()),
        Fault::OtherBody("".into()),
    ] {
        let registry = FakeRegistry::start().await;
        seed(&registry, "layer");
        registry.script(
            Rule::on(Endpoint::Manifest)
                .method(Method::HEAD)
                .fault(Fault::status(405)),
        );
        registry.script(Rule::on(Endpoint::Manifest).get().fault(fault.clone()));
        let error = anonymous(&registry)
            .resolve(&tag("1.0.0"))
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::ManifestInvalid,
            "{fault:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_claims_or_has_a_gigabyte_is_cut_off() {
    let claimed = Fault::WrongLength(1 << 30);
    let start = r#"{"schemaVersion":2,"x":""#;
    let endless = Fault::EndlessAfter(start.into(), "x".repeat(8192).into());
    for fault in [claimed, endless] {
        let registry = FakeRegistry::start().await;
        seed(&registry, "layer");
        registry.script(Rule::on(Endpoint::Manifest).get().fault(fault));
        let error = image(&anonymous(&registry), "1.0.0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("4194304"), "{error}");
    }
}

#[tokio::test]
async fn a_tag_that_moves_between_the_requests_gives_one_manifest_or_the_other() {
    let registry = FakeRegistry::start().await;
    let first = seed(&registry, "first");
    let session = anonymous(&registry);
    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    let second = seed(&registry, "second");
    let image = session.image(&resolved).await.unwrap();
    assert_eq!(image.document.digest.to_string(), first.manifest_digest);
    assert_eq!(
        download(&session, &image.manifest.layers[0]).await.unwrap(),
        b"first"
    );
    assert_ne!(first.manifest_digest, second.manifest_digest);
}
