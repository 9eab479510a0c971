// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use wharf_oci::{
    Descriptor,
    registry::{Access, Error, ErrorKind, Limits, Options, Retry, RetryPolicy, Session, Timeouts},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_MANIFEST, Rule},
};

use crate::support::*;

const LAYER: &[u8] = &[42; 100_000];

/// A download of a layer that is there, with a fault for its request.
async fn broken_download(fault: Fault, options: Options) -> (FakeRegistry, Result<Vec<u8>, Error>) {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    registry.script(Rule::on(Endpoint::Blob).get().fault(fault));
    let session = session_with(&registry, &Access::default(), options);
    let got = download(&session, &descriptor(LAYER)).await;
    (registry, got)
}

fn impatient() -> Options {
    let timeouts = Timeouts {
        response: Duration::from_millis(300),
        slow_window: Duration::from_millis(300),
        slow_bytes: 50_000,
        ..Timeouts::default()
    };
    Options {
        timeouts,
        ..options()
    }
}

async fn image_error(session: &Session) -> Error {
    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    session.image(&resolved).await.unwrap_err()
}

#[tokio::test]
async fn a_layer_that_is_not_its_digest_is_refused_and_not_asked_for_again() {
    let (registry, got) = broken_download(Fault::WrongDigest, options()).await;
    let error = got.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::DigestMismatch, Retry::Terminal)
    );
    let expected = descriptor(LAYER).digest.to_string();
    assert!(
        error
            .to_string()
            .contains(&format!("download layer {expected}")),
        "{error}"
    );
    assert_eq!(registry.requests_to(Endpoint::Blob).len(), 1);
}

#[tokio::test]
async fn a_layer_of_another_length_is_refused() {
    for length in [99_999, 100_001, 0] {
        let body = vec![42; length];
        let (_, got) = broken_download(Fault::OtherBody(body.into()), options()).await;
        let error = got.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SizeMismatch, "{length}: {error}");
        assert!(error.to_string().contains("100000"), "{error}");
    }
}

#[tokio::test]
async fn a_length_that_is_told_wrongly_is_refused() {
    for delta in [-1, 1, -100_000, 1 << 40] {
        let (_, got) = broken_download(Fault::WrongLength(delta), options()).await;
        assert_eq!(got.unwrap_err().kind(), ErrorKind::SizeMismatch, "{delta}");
    }
}

#[tokio::test]
async fn an_endless_layer_ends_at_its_size() {
    for fault in [Fault::Endless, Fault::EndlessChunked] {
        let (_, got) = broken_download(fault, options()).await;
        let error = got.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SizeMismatch, "{error}");
        assert!(
            error.to_string().contains("more than the 100000 bytes"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_three_times_and_then_told_of() {
    for byte in [0, 1, 50_000, 99_999] {
        for fault in [Fault::ResetAt(byte), Fault::CloseAt(byte)] {
            let registry = FakeRegistry::builder().without_ranges();
            let registry = registry.start().await.unwrap();
            seed(&registry, LAYER);
            registry.script(Rule::on(Endpoint::Blob).get().fault(fault.clone()));
            let got = download(&anonymous(&registry), &descriptor(LAYER)).await;
            let error = got.unwrap_err();
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Unreachable, Retry::Backoff),
                "{fault:?}: {error}"
            );
            assert!(error.to_string().contains("(after 3 attempts)"), "{error}");
            assert_eq!(registry.requests_to(Endpoint::Blob).len(), 3, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_download_that_broke_starts_anew_and_is_whole() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .faults([Fault::ResetAt(70_000), Fault::status(503)]),
    );
    assert_eq!(pull(&anonymous(&registry)).await.unwrap(), LAYER);
}

#[tokio::test]
async fn a_layer_above_the_limit_is_not_asked_for() {
    let limits = Limits {
        max_blob: 99_999,
        ..Limits::default()
    };
    let (registry, got) = broken_download(
        Fault::Honest,
        Options {
            limits,
            ..options()
        },
    )
    .await;
    let error = got.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(
        error.to_string().contains("limit of 99999 bytes"),
        "{error}"
    );
    assert!(registry.requests_to(Endpoint::Blob).is_empty());
}

#[tokio::test]
async fn a_layer_with_a_content_encoding_is_refused() {
    let fault = Fault::status_with(200, &[("content-encoding", "gzip")], LAYER);
    let (_, got) = broken_download(fault, options()).await;
    let error = got.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("gzip"), "{error}");
}

#[tokio::test]
async fn a_page_of_html_is_no_layer() {
    let (_, got) = broken_download(Fault::Html, options()).await;
    assert_eq!(got.unwrap_err().kind(), ErrorKind::SizeMismatch);
}

#[tokio::test]
async fn a_layer_that_comes_too_slowly_is_given_up() {
    let drip = Fault::Drip {
        bytes: 10,
        every: Duration::from_millis(20),
    };
    let (_, got) = broken_download(drip, impatient()).await;
    let error = got.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        error.to_string().contains("less than 50000 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn a_transfer_has_a_deadline_at_any_rate() {
    let timeouts = Timeouts {
        transfer: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let drip = Fault::Drip {
        bytes: 1_000,
        every: Duration::from_millis(10),
    };
    let (_, got) = broken_download(
        drip,
        Options {
            timeouts,
            ..options()
        },
    )
    .await;
    let error = got.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        error.to_string().contains("the rest of the content"),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let (registry, got) = broken_download(Fault::Silence, impatient()).await;
    let error = got.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains(&registry.host()), "{error}");
}

#[tokio::test]
async fn statuses_are_told_with_the_registrys_words_and_host() {
    let body = r#"{"errors":[{"code":"SOME_CODE","message":"some \u001b[2J words"}]}"#;
    for (status, kind, requests) in [
        (401, ErrorKind::Unauthorized, 1),
        (403, ErrorKind::Forbidden, 1),
        (404, ErrorKind::NotFound, 1),
        (429, ErrorKind::RateLimited, 3),
        (500, ErrorKind::Server, 3),
        (503, ErrorKind::Server, 3),
        (418, ErrorKind::Protocol, 1),
        (304, ErrorKind::Protocol, 1),
    ] {
        let (registry, got) =
            broken_download(Fault::status_with(status, &[], body), options()).await;
        let error = got.unwrap_err();
        assert_eq!(
            (error.kind(), error.status()),
            (kind, Some(status)),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&status.to_string()) && text.contains(&registry.host()),
            "{text}"
        );
        assert!(
            status == 304 || text.contains("SOME_CODE: some  [2J words"),
            "{text}"
        );
        assert_eq!(
            registry.requests_to(Endpoint::Blob).len(),
            requests,
            "{status}"
        );
    }
}

#[tokio::test]
async fn an_absent_tag_is_told_with_the_registrys_words() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    let error = anonymous(&registry)
        .resolve(&tag("2.0.0"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::NotFound, Retry::Terminal)
    );
    let text = error.to_string();
    let expected = format!(
        "resolve tag 2.0.0 in {}/{REPOSITORY}: http://{} answered 404 Not Found (MANIFEST_UNKNOWN",
        registry.host(),
        registry.host()
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test]
async fn a_wish_to_wait_is_honoured_or_handed_on() {
    let (registry, got) = broken_download(Fault::retry_after(429, "3600"), options()).await;
    let error = got.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(3600)));
    assert_eq!(registry.requests_to(Endpoint::Blob).len(), 1);
    let (registry, got) = broken_download(Fault::retry_after(429, "0"), options()).await;
    assert_eq!(got.unwrap_err().kind(), ErrorKind::RateLimited);
    assert_eq!(registry.requests_to(Endpoint::Blob).len(), 3);
}

#[tokio::test]
async fn a_limited_registry_is_not_asked_again_by_get() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(429)));
    let once = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let session = session_with(
        &registry,
        &Access::default(),
        Options {
            retry: once,
            ..options()
        },
    );
    assert_eq!(
        session.resolve(&tag("1.0.0")).await.unwrap_err().kind(),
        ErrorKind::RateLimited
    );
    assert_eq!(registry.requests_to(Endpoint::Manifest).len(), 1);
}

#[tokio::test]
async fn a_manifest_that_is_not_its_digest_is_refused() {
    for fault in [
        Fault::WrongDigest,
        Fault::OtherBody("{}".into()),
        Fault::Html,
    ] {
        let registry = FakeRegistry::start().await;
        seed(&registry, LAYER);
        registry.script(Rule::on(Endpoint::Manifest).get().fault(fault.clone()));
        let error = image_error(&anonymous(&registry)).await;
        assert_eq!(
            error.kind(),
            ErrorKind::DigestMismatch,
            "{fault:?}: {error}"
        );
    }
}

#[tokio::test]
async fn the_digest_header_of_a_manifest_is_only_a_hint() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    registry.script(
        Rule::on(Endpoint::Manifest)
            .get()
            .fault(Fault::WrongDigestHeader),
    );
    assert_eq!(pull(&anonymous(&registry)).await.unwrap(), LAYER);
}

#[tokio::test]
async fn a_manifest_without_an_end_is_cut_off() {
    for fault in [
        Fault::Endless,
        Fault::EndlessChunked,
        Fault::OtherBody(vec![b' '; (4 << 20) + 1].into()),
    ] {
        let registry = FakeRegistry::start().await;
        seed(&registry, LAYER);
        registry.script(Rule::on(Endpoint::Manifest).get().fault(fault));
        let error = image_error(&anonymous(&registry)).await;
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("4194304"), "{error}");
    }
}

#[tokio::test]
async fn what_is_stored_as_a_manifest_and_is_none_is_refused() {
    for text in [
        "<html></html>",
        "{}",
        "null",
        "[]",
        "",
        r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
    ] {
        let registry = FakeRegistry::start().await;
        registry.put_manifest(REPOSITORY, "1.0.0", OCI_MANIFEST, text.to_owned());
        let error = image_error(&anonymous(&registry)).await;
        assert_eq!(error.kind(), ErrorKind::ManifestInvalid, "{text}: {error}");
    }
}

#[tokio::test]
async fn a_child_of_another_size_than_the_index_says_is_refused() {
    let registry = FakeRegistry::start().await;
    let image = seed(&registry, LAYER);
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":1}}]}}"#,
        image.manifest_digest
    );
    registry.put_manifest(
        REPOSITORY,
        "1.0.0",
        wharf_test_support::registry::OCI_INDEX,
        index,
    );
    assert_eq!(
        image_error(&anonymous(&registry)).await.kind(),
        ErrorKind::SizeMismatch
    );
}

#[tokio::test]
async fn a_digest_of_another_algorithm_is_proved_as_well() {
    let registry = FakeRegistry::start().await;
    let image = seed(&registry, LAYER);
    let digest = wharf_oci::Digest::of(wharf_oci::Algorithm::Sha512, &image.manifest);
    registry.put_manifest(
        REPOSITORY,
        &digest.to_string(),
        OCI_MANIFEST,
        image.manifest.clone(),
    );
    let session = anonymous(&registry);
    assert_eq!(session.manifest(&digest).await.unwrap().digest, digest);
    registry.script(Rule::on(Endpoint::Manifest).get().fault(Fault::WrongDigest));
    assert_eq!(
        session.manifest(&digest).await.unwrap_err().kind(),
        ErrorKind::DigestMismatch
    );
}

#[tokio::test]
async fn an_empty_layer_is_a_layer() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "");
    assert_eq!(pull(&anonymous(&registry)).await.unwrap(), b"");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_error_of_its_own() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    let read_only = tempfile::NamedTempFile::new().unwrap();
    let mut file = tokio::fs::File::open(read_only.path()).await.unwrap();
    let layer: Descriptor = descriptor(LAYER);
    let error = anonymous(&registry)
        .download(&layer, &mut file)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
