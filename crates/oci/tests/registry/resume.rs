// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use wharf_oci::{
    Algorithm, Descriptor, Digest,
    registry::{Access, Error, ErrorKind, Options, RetryPolicy, Timeouts},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule, Seen},
};

use crate::support::*;

/// Content in which no two parts are alike.
fn content(length: usize) -> Vec<u8> {
    let words = (0_u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
    words.take(length).collect()
}

async fn registry_with(layer: &[u8], faults: impl IntoIterator<Item = Fault>) -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    seed(&registry, layer.to_vec());
    registry.script(Rule::on(Endpoint::Blob).get().faults(faults));
    registry
}

async fn fetch(registry: &FakeRegistry, layer: &[u8]) -> Result<Vec<u8>, Error> {
    download(&anonymous(registry), &descriptor(layer)).await
}

fn ranges(registry: &FakeRegistry) -> Vec<Option<String>> {
    let seen = registry.requests_to(Endpoint::Blob);
    seen.into_iter().map(|seen: Seen| seen.range).collect()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "stands beside requests without a range"
)]
fn rest(from: usize, size: usize) -> Option<String> {
    Some(format!("bytes={from}-{}", size - 1))
}

/// The rest of a layer of 1000 bytes from byte 400, with this body and these headers beside what they must be.
fn part(range: &str, body: &[u8], headers: &[(&str, &str)]) -> Fault {
    let headers = [&[("content-range", range)], headers].concat();
    Fault::status_with(206, &headers, body.to_vec())
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let layer = content(100_000);
    let registry = registry_with(&layer, [Fault::CloseAt(70_000), Fault::CloseAt(20_000)]).await;
    assert_eq!(fetch(&registry, &layer).await.unwrap(), layer);
    assert_eq!(
        ranges(&registry),
        [None, rest(70_000, 100_000), rest(90_000, 100_000)]
    );
    let etag = format!("\"{}\"", descriptor(&layer).digest);
    let seen = registry.requests_to(Endpoint::Blob);
    assert_eq!(seen[0].if_range, None);
    assert!(
        seen[1..]
            .iter()
            .all(|seen| seen.if_range.as_ref() == Some(&etag))
    );
}

#[tokio::test]
async fn a_download_that_breaks_off_at_any_byte_is_whole_in_the_end() {
    let layer = content(24);
    for byte in 0..24 {
        for fault in [Fault::CloseAt(byte), Fault::ResetAt(byte)] {
            let registry = registry_with(&layer, [fault]).await;
            assert_eq!(fetch(&registry, &layer).await.unwrap(), layer, "{byte}");
            assert_eq!(registry.requests_to(Endpoint::Blob).len(), 2);
        }
    }
}

#[tokio::test]
async fn a_large_layer_arrives_over_a_connection_that_breaks_again_and_again() {
    let layer = content(8 << 20);
    let registry = registry_with(&layer, []).await;
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .fault(Fault::CloseAt(3 << 19)),
    );
    assert_eq!(fetch(&registry, &layer).await.unwrap(), layer);
    assert_eq!(ranges(&registry).len(), 6);
}

#[tokio::test]
async fn who_gets_on_by_little_gives_up_as_ever() {
    let layer = content(1 << 20);
    let registry = registry_with(&layer, []).await;
    registry.script(Rule::on(Endpoint::Blob).get().fault(Fault::CloseAt(50_000)));
    let error = fetch(&registry, &layer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let size = 1 << 20;
    assert_eq!(
        ranges(&registry),
        [None, rest(50_000, size), rest(100_000, size)]
    );
}

#[tokio::test]
async fn a_registry_that_gives_everything_but_the_rest_is_asked_for_the_whole() {
    let layer = content(1000);
    let (tail, html) = (
        &layer[400..],
        Fault::status_with(206, &[("content-type", "text/html")], "<html>"),
    );
    let fits = "bytes 400-999/1000";
    for odd in [
        Fault::status(416),
        Fault::status(400),
        Fault::status(204),
        html,
        part("bytes 400-998/1000", &layer[400..999], &[]),
        part("bytes 399-999/1000", &layer[399..], &[]),
        part("bytes 401-999/1000", &layer[401..], &[]),
        part("bytes 400-999/*", tail, &[]),
        part("bytes 400-999/1001", tail, &[]),
        part("bytes */1000", tail, &[]),
        part("", tail, &[]),
        part(
            fits,
            tail,
            &[("content-type", "multipart/byteranges; boundary=x")],
        ),
        part(fits, tail, &[("content-range", "bytes 0-999/1000")]),
        part(fits, &layer[401..], &[]),
        part(fits, &layer, &[]),
        part(fits, &content(600), &[]),
    ] {
        let registry = registry_with(&layer, [Fault::CloseAt(400), odd.clone()]).await;
        assert_eq!(fetch(&registry, &layer).await.unwrap(), layer, "{odd:?}");
        assert_eq!(ranges(&registry), [None, rest(400, 1000), None], "{odd:?}");
    }
}

#[tokio::test]
async fn a_whole_layer_in_place_of_the_rest_is_taken_as_such() {
    let layer = content(100_000);
    let registry = FakeRegistry::builder()
        .without_ranges()
        .start()
        .await
        .unwrap();
    seed(&registry, layer.clone());
    registry.script(
        Rule::on(Endpoint::Blob)
            .get()
            .faults([Fault::CloseAt(70_000), Fault::CloseAt(80_000)]),
    );
    assert_eq!(fetch(&registry, &layer).await.unwrap(), layer);
    assert_eq!(
        ranges(&registry),
        [None, rest(70_000, 100_000), rest(80_000, 100_000)]
    );
}

#[tokio::test]
async fn a_layer_that_is_not_its_digest_after_all_is_refused_after_one_whole_download() {
    let layer = content(1000);
    let registry = registry_with(
        &layer,
        [Fault::CloseAt(400), Fault::WrongDigest, Fault::WrongDigest],
    )
    .await;
    let error = fetch(&registry, &layer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    assert_eq!(ranges(&registry), [None, rest(400, 1000), None]);
}

#[tokio::test]
async fn a_refusal_of_the_rest_is_a_refusal() {
    let layer = content(1000);
    for (status, kind, requests) in [
        (401, ErrorKind::Unauthorized, 2),
        (403, ErrorKind::Forbidden, 2),
        (404, ErrorKind::NotFound, 2),
        (429, ErrorKind::RateLimited, 3),
        (503, ErrorKind::Server, 3),
    ] {
        let registry = registry_with(&layer, [Fault::CloseAt(400)]).await;
        registry.script(Rule::on(Endpoint::Blob).get().fault(Fault::status(status)));
        let error = fetch(&registry, &layer).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(ranges(&registry).len(), requests, "{status}");
    }
}

#[tokio::test]
async fn a_rest_with_a_content_encoding_is_refused() {
    let layer = content(1000);
    for headers in [
        &[("content-encoding", "gzip")][..],
        &[
            ("content-encoding", "identity"),
            ("content-encoding", "gzip"),
        ],
        &[("content-encoding", "identity, gzip")],
    ] {
        let odd = part("bytes 400-999/1000", &layer[400..], headers);
        let registry = registry_with(&layer, [Fault::CloseAt(400), odd]).await;
        let error = fetch(&registry, &layer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[tokio::test]
async fn only_a_strong_tag_is_sent_back() {
    let layer = content(1000);
    for (etag, is_sent) in [("\"x\"", true), ("W/\"x\"", false), ("x", false)] {
        let first = Fault::status_with(200, &[("etag", etag)], layer.clone()).cut_short(400);
        let registry = registry_with(&layer, [first]).await;
        assert_eq!(fetch(&registry, &layer).await.unwrap(), layer);
        let sent = registry.requests_to(Endpoint::Blob)[1].if_range.clone();
        assert_eq!(sent, is_sent.then(|| etag.to_owned()));
    }
}

#[tokio::test]
async fn a_redirect_is_asked_for_anew_because_its_signature_ends() {
    let layer = content(100_000);
    let storage = registry_with(&layer, [Fault::CloseAt(70_000)]).await;
    let place = format!(
        "{}/v2/{REPOSITORY}/blobs/{}",
        storage.base_url(),
        descriptor(&layer).digest
    );
    let signed = |n: u32| Fault::Redirect(format!("{place}?signature={n}"), 307);
    let registry = registry_with(&layer, [signed(1), signed(2)]).await;
    assert_eq!(fetch(&registry, &layer).await.unwrap(), layer);
    let seen = storage.requests_to(Endpoint::Blob);
    assert_eq!(
        seen.iter()
            .map(|seen| seen.query.as_str())
            .collect::<Vec<_>>(),
        ["signature=1", "signature=2"]
    );
    assert_eq!(seen[1].range, rest(70_000, 100_000));
}

#[tokio::test]
async fn the_deadline_is_that_of_all_attempts_together() {
    let layer = content(1000);
    let registry = registry_with(&layer, [Fault::CloseAt(400)]).await;
    let retry = RetryPolicy {
        base: Duration::from_millis(900),
        ..RetryPolicy::default()
    };
    let timeouts = Timeouts {
        transfer: Duration::from_millis(500),
        ..Timeouts::default()
    };
    let session = session_with(
        &registry,
        &Access::default(),
        Options {
            retry,
            timeouts,
            ..options()
        },
    );
    let error = download(&session, &descriptor(&layer)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("within 0.5 s"), "{error}");
    // The rest would come at once; the pause before it has used the time up.
    assert_eq!(ranges(&registry), [None]);
}

#[tokio::test]
async fn a_stalled_connection_is_given_up_for_a_new_one_after_progress() {
    let layer = content(4 << 20);
    let registry = registry_with(
        &layer,
        [Fault::Drip {
            bytes: 3 << 20,
            every: Duration::from_mins(10),
        }],
    )
    .await;
    let timeouts = Timeouts {
        slow_window: Duration::from_secs(2),
        slow_bytes: 1000,
        ..Timeouts::default()
    };
    let session = session_with(
        &registry,
        &Access::default(),
        Options {
            timeouts,
            ..options()
        },
    );
    assert_eq!(
        download(&session, &descriptor(&layer)).await.unwrap(),
        layer
    );
    assert_eq!(ranges(&registry), [None, rest(3 << 20, 4 << 20)]);
}

#[tokio::test]
async fn a_long_digest_is_proved_over_all_parts() {
    let layer = content(1000);
    let registry = FakeRegistry::start().await;
    let digest = Digest::of(Algorithm::Sha512, &layer);
    let long = Descriptor::new("a/b", digest, 1000);
    let wrong = content(600);
    for tail in [&layer[400..], &wrong[..]] {
        registry.clear_requests();
        let whole = Fault::status_with(200, &[], layer.clone());
        registry.script(Rule::on(Endpoint::Blob).faults([
            whole.clone().cut_short(400),
            part("bytes 400-999/1000", tail, &[]),
            whole,
        ]));
        let got = download(&anonymous(&registry), &long).await;
        assert_eq!(got.unwrap(), layer);
        registry.be_honest();
    }
}
