// SPDX-License-Identifier: Apache-2.0

use std::{num::NonZeroU64, time::Duration};

use bytes::Bytes;
use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use wharf_oci::{
    media_type,
    registry::{
        Access, BlobPushed, Content, Error, ErrorKind, PushOptions, RetryPolicy, Session, Timeouts,
    },
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule, sha256},
    tls::Authority,
};

use crate::support::*;

const CHUNK: u64 = 300_000;
const OTHER: &str = "team/base";

fn blob() -> Vec<u8> {
    (0..250_001_u32).flat_map(u32::to_le_bytes).collect()
}

fn in_chunks() -> PushOptions {
    PushOptions {
        chunk: NonZeroU64::new(CHUNK),
        ..PushOptions::default()
    }
}

fn mounting(registry: &FakeRegistry) -> PushOptions {
    PushOptions {
        mount_from: Some(format!("{}/{OTHER}", registry.host()).parse().unwrap()),
        ..PushOptions::default()
    }
}

async fn push(session: &Session, options: &PushOptions) -> Result<BlobPushed, Error> {
    let content = Content::Bytes(blob().into());
    session
        .push_blob_with(&descriptor(&blob()), &content, options)
        .await
}

async fn is_whole(session: &Session) -> bool {
    download(session, &descriptor(&blob())).await.unwrap() == blob()
}

fn count(registry: &FakeRegistry, method: &Method) -> usize {
    let mut uploads = registry.requests_to(Endpoint::Upload);
    uploads.retain(|seen| seen.method == *method);
    uploads.len()
}

fn on_patch() -> Rule {
    Rule::on(Endpoint::Upload).method(Method::PATCH)
}

#[tokio::test]
async fn a_blob_goes_in_chunks_when_that_is_asked_for() {
    let registry = FakeRegistry::start().await;
    let session = anonymous(&registry);
    let pushed = push(&session, &in_chunks()).await.unwrap();
    assert_eq!(pushed, BlobPushed::Uploaded { chunks: 4 });
    assert_eq!(count(&registry, &Method::PATCH), 4);
    assert!(is_whole(&session).await);
    let again = push(&session, &in_chunks()).await.unwrap();
    assert_eq!(again, BlobPushed::Existed);
}

#[tokio::test]
async fn a_blob_of_one_chunk_or_of_nothing_goes_whole() {
    let registry = FakeRegistry::start().await;
    let session = anonymous(&registry);
    for bytes in [&b""[..], b"x"] {
        let options = PushOptions {
            chunk: NonZeroU64::new(1),
            ..PushOptions::default()
        };
        let content = Content::Bytes(Bytes::from_static(bytes));
        let pushed = session
            .push_blob_with(&descriptor(bytes), &content, &options)
            .await;
        assert_eq!(pushed.unwrap(), BlobPushed::Uploaded { chunks: 1 });
        assert!(session.has_blob(&descriptor(bytes).digest).await.unwrap());
    }
    assert_eq!(count(&registry, &Method::PATCH), 0);
}

#[tokio::test]
async fn a_registry_that_wants_larger_chunks_gets_them() {
    let registry = FakeRegistry::builder()
        .least_chunk(600_000)
        .start()
        .await
        .unwrap();
    let session = anonymous(&registry);
    let pushed = push(&session, &in_chunks()).await.unwrap();
    assert_eq!(pushed, BlobPushed::Uploaded { chunks: 2 });
    assert!(is_whole(&session).await);
}

#[tokio::test]
async fn an_upload_that_broke_off_goes_on_where_the_registry_says() {
    // A chunk that did not arrive, and one that did before the connection broke: then the answer may still be seen.
    for (fault, asked) in [(Fault::status(503), 1..=1), (Fault::ResetAt(0), 0..=1)] {
        let registry = FakeRegistry::start().await;
        registry.script(on_patch().skip(1).times(1).fault(fault.clone()));
        let session = anonymous(&registry);
        push(&session, &in_chunks()).await.unwrap();
        assert!(is_whole(&session).await, "{fault:?}");
        assert_eq!(count(&registry, &Method::POST), 1, "{fault:?}");
        let gets = count(&registry, &Method::GET);
        assert!(asked.contains(&gets), "{fault:?}: {gets}");
    }
}

#[tokio::test]
async fn attempts_are_counted_anew_when_the_upload_gets_on() {
    let registry = FakeRegistry::start().await;
    let breaks = [0, 1, 0, 1, 0, 1].map(|n| [Fault::Honest, Fault::status(500)][n].clone());
    registry.script(on_patch().faults(breaks));
    let session = session_with(&registry, &Access::default(), hurried());
    push(&session, &in_chunks()).await.unwrap();
    assert!(is_whole(&session).await);

    let stuck = FakeRegistry::start().await;
    stuck.script(on_patch().skip(1).fault(Fault::status(500)));
    let session = session_with(&stuck, &Access::default(), hurried());
    let error = push(&session, &in_chunks()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(count(&stuck, &Method::DELETE), 1);
}

/// Two attempts: one may fail.
fn hurried() -> wharf_oci::registry::Options {
    wharf_oci::registry::Options {
        retry: RetryPolicy {
            attempts: 2,
            ..options().retry
        },
        ..options()
    }
}

#[tokio::test]
async fn a_lost_upload_is_begun_again_once() {
    for code in [404, 416] {
        let registry = FakeRegistry::start().await;
        registry.script(on_patch().skip(1).times(1).fault(Fault::status(code)));
        let session = anonymous(&registry);
        push(&session, &in_chunks()).await.unwrap();
        assert!(is_whole(&session).await, "{code}");
        assert_eq!(count(&registry, &Method::POST), 2, "{code}");

        let hopeless = FakeRegistry::start().await;
        hopeless.script(on_patch().fault(Fault::status(code)));
        let error = push(&anonymous(&hopeless), &in_chunks()).await.unwrap_err();
        assert_eq!(error.status(), Some(code), "{error}");
        assert_eq!(count(&hopeless, &Method::POST), 2, "{code}");
    }
}

#[tokio::test]
async fn a_registry_that_counts_wrongly_is_told_of() {
    for range in ["0-99999999", "0-0", "0-18446744073709551614"] {
        let registry = FakeRegistry::start().await;
        let lie = Fault::status_with(202, &[("range", range)], "");
        registry.script(on_patch().fault(lie));
        let error = push(&anonymous(&registry), &in_chunks()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{range}: {error}");
        assert!(error.to_string().contains("bytes of the upload"), "{error}");
        assert_eq!(count(&registry, &Method::PATCH), 2, "{range}");
    }
}

#[tokio::test]
async fn a_registry_that_takes_no_large_body_gets_smaller_ones() {
    let registry = FakeRegistry::builder()
        .largest_body(600_000)
        .start()
        .await
        .unwrap();
    let session = anonymous(&registry);
    let pushed = push(&session, &PushOptions::default()).await.unwrap();
    assert_eq!(pushed, BlobPushed::Uploaded { chunks: 3 });
    assert!(is_whole(&session).await);
    assert_eq!(count(&registry, &Method::DELETE), 1);
}

#[tokio::test]
async fn a_registry_that_takes_no_body_at_all_is_told_of() {
    let registry = FakeRegistry::builder()
        .largest_body(1)
        .start()
        .await
        .unwrap();
    let error = push(&anonymous(&registry), &PushOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(413), "{error}");
    assert!(registry.requests().len() < 20);
}

#[tokio::test]
async fn a_refused_upload_is_cancelled() {
    let registry = FakeRegistry::start().await;
    registry.script(
        Rule::on(Endpoint::Upload)
            .method(Method::PUT)
            .fault(Fault::status(403)),
    );
    let error = push(&anonymous(&registry), &PushOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(count(&registry, &Method::DELETE), 1);
}

#[tokio::test]
async fn a_registry_that_stored_another_blob_is_told_of() {
    let registry = FakeRegistry::start().await;
    registry.script(
        Rule::on(Endpoint::Upload)
            .method(Method::PUT)
            .fault(Fault::WrongDigestHeader),
    );
    let error = push(&anonymous(&registry), &PushOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error}");
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    for registry in [
        FakeRegistry::start().await,
        FakeRegistry::builder()
            .bearer("user", "password")
            .start()
            .await
            .unwrap(),
    ] {
        registry.put_blob(OTHER, blob());
        let session = session_of(&registry, &basic("user", "password"));
        let pushed = push(&session, &mounting(&registry)).await.unwrap();
        assert_eq!(pushed, BlobPushed::Mounted);
        assert_eq!(count(&registry, &Method::PUT), 0);
        assert!(is_whole(&session).await);
    }
}

#[tokio::test]
async fn where_a_mount_is_declined_the_blob_is_sent() {
    // Not there: the registry begins an upload instead. Refused: an upload is asked for without it.
    for refusal in [None, Some(401), Some(403), Some(404), Some(405)] {
        let registry = FakeRegistry::start().await;
        if let Some(code) = refusal {
            let rule = Rule::on(Endpoint::Upload).method(Method::POST).times(1);
            registry.script(rule.fault(Fault::status(code)));
        }
        let session = anonymous(&registry);
        let pushed = push(&session, &mounting(&registry)).await.unwrap();
        assert_eq!(pushed, BlobPushed::Uploaded { chunks: 1 }, "{refusal:?}");
        let expected = if refusal.is_some() { 2 } else { 1 };
        assert_eq!(count(&registry, &Method::POST), expected);
    }
}

#[tokio::test]
async fn nothing_is_mounted_from_another_registry() {
    let registry = FakeRegistry::start().await;
    let options = PushOptions {
        mount_from: Some("ghcr.io/team/base".parse().unwrap()),
        ..PushOptions::default()
    };
    let error = push(&anonymous(&registry), &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn a_new_challenge_in_the_middle_is_met_once() {
    let registry = FakeRegistry::builder()
        .bearer("user", "password")
        .start()
        .await
        .unwrap();
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"x\"",
        registry.base_url()
    );
    let expired = Fault::status_with(401, &[("www-authenticate", &challenge)], "");
    registry.script(on_patch().skip(1).times(1).fault(expired));
    let session = session_of(&registry, &basic("user", "password"));
    push(&session, &in_chunks()).await.unwrap();
    assert!(is_whole(&session).await);
    assert_eq!(count(&registry, &Method::POST), 1);
}

/// A registry with credentials whose uploads go to a storage that must not see them.
async fn uploading_elsewhere() -> (FakeRegistry, FakeRegistry) {
    let registry = FakeRegistry::builder()
        .basic("user", "password")
        .start()
        .await
        .unwrap();
    let storage = FakeRegistry::start().await;
    let place = format!(
        "{}/v2/{REPOSITORY}/blobs/uploads/1?_state=1",
        storage.base_url()
    );
    let start = Fault::status_with(202, &[("location", &place)], "");
    registry.script(Rule::on(Endpoint::Upload).method(Method::POST).fault(start));
    (registry, storage)
}

#[tokio::test]
async fn another_host_gets_all_chunks_without_credentials() {
    let (registry, storage) = uploading_elsewhere().await;
    let taken = Fault::status(202);
    storage.script(on_patch().fault(taken));
    storage.script(
        Rule::on(Endpoint::Upload)
            .method(Method::PUT)
            .fault(Fault::status(201)),
    );
    let session = session_of(&registry, &basic("user", "password"));
    push(&session, &in_chunks()).await.unwrap();
    let seen = storage.requests();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|seen| seen.authorization.is_none()));
    assert!(seen.iter().all(|seen| seen.query.starts_with("_state=1")));
}

#[tokio::test]
async fn credentials_are_not_restored_when_another_host_leads_an_upload_back() {
    let (registry, storage) = uploading_elsewhere().await;
    let back = format!(
        "{}/v2/{REPOSITORY}/blobs/uploads/2?_state=2",
        registry.base_url()
    );
    storage.script(on_patch().fault(Fault::status_with(202, &[("location", &back)], "")));
    let session = session_of(&registry, &basic("user", "password"));
    let error = push(&session, &in_chunks()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(!everything(&error).contains("regcred"), "{error}");
    let mut seen = registry.requests_to(Endpoint::Upload);
    seen.retain(|seen| seen.path.ends_with("/2"));
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn an_upload_place_in_plain_http_is_not_used_by_a_registry_with_https() {
    let authority = Authority::new("Test CA");
    let registry = showing(&authority.local_leaf()).await;
    let storage = FakeRegistry::start().await;
    let place = format!("{}/upload", storage.base_url());
    let start = Fault::status_with(202, &[("location", &place)], "");
    registry.script(Rule::on(Endpoint::Upload).fault(start));
    let session = session_of(&registry, &crate::transport::trusting(authority.pem()));
    let error = push(&session, &PushOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(storage.requests().is_empty());
}

/// A registry that takes an upload's head and then does as it is told.
async fn after_the_head(answer: &'static str, stays: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            // A TLS handshake has no end of a head: it is not answered.
            while !head.windows(4).any(|end| end == b"\r\n\r\n") && !head.starts_with(&[0x16]) {
                if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let said = match head.split(|byte| *byte == b' ').next().unwrap_or_default() {
                b"HEAD" => "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n",
                b"POST" => {
                    "HTTP/1.1 202 Accepted\r\nlocation: /upload\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                }
                b"PUT" => answer,
                [0x16, ..] => continue,
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            };
            let _ = socket.write_all(said.as_bytes()).await;
            if stays {
                kept.push(socket);
            }
        }
    });
    host
}

fn impatient() -> wharf_oci::registry::Options {
    wharf_oci::registry::Options {
        timeouts: Timeouts {
            slow_window: Duration::from_millis(100),
            ..Timeouts::default()
        },
        ..hurried()
    }
}

async fn push_large(host: &str) -> Error {
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    let client = wharf_oci::registry::Client::new(impatient()).unwrap();
    let session = client.session(repository, &Access::default()).unwrap();
    let large = vec![0; 64 << 20];
    let blob = descriptor(&large);
    let content = Content::Bytes(large.into());
    session.push_blob(&blob, &content).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_taken_is_told() {
    let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nfull";
    for stays in [true, false] {
        let host = after_the_head(answer, stays).await;
        let error = push_large(&host).await;
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
        assert!(error.to_string().contains("full"), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_takes_nothing_is_noticed() {
    let host = after_the_head("", true).await;
    let error = push_large(&host).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("took less than"), "{error}");
    assert_eq!(error.attempts(), 2);
}

#[tokio::test]
async fn an_index_is_pushed_after_its_children() {
    let registry = FakeRegistry::start().await;
    let seeded = seed(&registry, "layer");
    let session = anonymous(&registry);
    let index = |digest: &str| {
        let child = serde_json::json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": seeded.manifest.len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        });
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [child],
        });
        Bytes::from(index.to_string())
    };
    let push = |bytes: Bytes| {
        let session = session.clone();
        async move {
            session
                .push_manifest(&tag("all"), bytes, media_type::OCI_INDEX)
                .await
        }
    };
    push(index(&seeded.manifest_digest)).await.unwrap();
    let resolved = session.resolve(&tag("all")).await.unwrap();
    let image = session.image(&resolved).await.unwrap();
    assert_eq!(image.document.digest.to_string(), seeded.manifest_digest);

    let error = push(index(&sha256(b"nowhere"))).await.unwrap_err();
    assert!(
        error.to_string().contains("MANIFEST_BLOB_UNKNOWN"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_manifest_of_its_kind_is_not_sent() {
    let registry = FakeRegistry::start().await;
    let session = anonymous(&registry);
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let typed = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        media_type::OCI_INDEX
    );
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(5 << 20));
    for (text, media_type, kind) in [
        ("", media_type::OCI_INDEX, ErrorKind::ManifestInvalid),
        ("<html>", media_type::OCI_INDEX, ErrorKind::ManifestInvalid),
        (index, "text/plain", ErrorKind::ManifestInvalid),
        (index, "", ErrorKind::ManifestInvalid),
        (&typed, media_type::OCI_MANIFEST, ErrorKind::ManifestInvalid),
        (&large, media_type::OCI_INDEX, ErrorKind::TooLarge),
    ] {
        let bytes = Bytes::from(text.to_owned());
        let error = session.push_manifest(&tag("x"), bytes, media_type).await;
        assert_eq!(
            error.unwrap_err().kind(),
            kind,
            "{text:.40} as {media_type}"
        );
    }
    assert!(registry.requests().is_empty());
}

/// What answers with success and a page has nothing: not a blob, not a manifest.
#[tokio::test]
async fn a_page_with_success_is_nothing_that_was_pushed_or_is_there() {
    let registry = FakeRegistry::start().await;
    let seeded = seed(&registry, "layer");
    let session = anonymous(&registry);
    for (endpoint, method) in [
        (Endpoint::Blob, Method::HEAD),
        (Endpoint::Upload, Method::POST),
        (Endpoint::Upload, Method::PUT),
    ] {
        registry.be_honest();
        registry.script(Rule::on(endpoint).method(method).fault(Fault::Html));
        let error = push(&session, &PushOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::Html));
    let manifest = seeded.manifest.clone();
    let target = tag("2.0.0");
    let pushed = session.push_manifest(&target, manifest, media_type::OCI_MANIFEST);
    let error = pushed.await.unwrap_err();
    assert!(
        error.to_string().contains("not that it stored it"),
        "{error}"
    );
    let error = session.resolve(&target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ManifestInvalid, "{error}");
}
