// SPDX-License-Identifier: Apache-2.0
//! How long and how often an upload is tried, and where its state is asked for.

use std::{num::NonZeroU64, time::Duration};

use http::Method;
use wharf_oci::registry::{
    Access, BlobPushed, Content, Egress, Error, ErrorKind, Options, PushOptions, RetryPolicy,
    Session, StrictEgress, Timeouts,
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
};

use crate::support::*;

const CHUNK: u64 = 300_000;

fn blob() -> Vec<u8> {
    (0..250_001_u32).flat_map(u32::to_le_bytes).collect()
}

async fn push(session: &Session) -> Result<BlobPushed, Error> {
    let options = PushOptions {
        chunk: NonZeroU64::new(CHUNK),
        ..PushOptions::default()
    };
    let content = Content::Bytes(blob().into());
    session
        .push_blob_with(&descriptor(&blob()), &content, &options)
        .await
}

fn on(method: Method) -> Rule {
    Rule::on(Endpoint::Upload).method(method)
}

fn count(registry: &FakeRegistry, method: &Method) -> usize {
    let mut uploads = registry.requests_to(Endpoint::Upload);
    uploads.retain(|seen| seen.method == *method);
    uploads.len()
}

fn has(bytes: u64) -> Fault {
    Fault::status_with(204, &[("range", &format!("0-{}", bytes - 1))], "")
}

#[tokio::test]
async fn a_registry_that_takes_a_byte_at_a_time_and_fails_is_given_up() {
    let registry = FakeRegistry::start().await;
    registry.script(on(Method::PATCH).fault(Fault::status(503)));
    registry.script(on(Method::GET).faults((2..40).map(has)));
    let error = push(&anonymous(&registry)).await.unwrap_err();
    assert_eq!(error.status(), Some(503), "{error}");
    assert_eq!((error.attempts(), count(&registry, &Method::PATCH)), (3, 3));
}

#[tokio::test]
async fn who_gets_on_by_a_chunk_may_go_on_and_the_error_tells_of_all_attempts() {
    let registry = FakeRegistry::start().await;
    let now_and_then = [Fault::status(503), Fault::status(503), Fault::Honest];
    let faults = now_and_then.iter().cycle().take(9).cloned();
    let faults = faults.chain(vec![Fault::status(503); 3]);
    registry.script(on(Method::PATCH).faults(faults));
    let error = push(&anonymous(&registry)).await.unwrap_err();
    assert_eq!(error.status(), Some(503), "{error}");
    assert_eq!(
        (error.attempts(), count(&registry, &Method::PATCH)),
        (9, 12)
    );
}

#[tokio::test]
async fn the_deadline_of_an_upload_is_that_of_all_attempts_together() {
    let registry = FakeRegistry::start().await;
    registry.script(on(Method::PATCH).skip(1).times(1).fault(Fault::status(503)));
    let options = Options {
        retry: RetryPolicy {
            base: Duration::from_millis(1400),
            ..RetryPolicy::default()
        },
        timeouts: Timeouts {
            transfer: Duration::from_secs(1),
            ..Timeouts::default()
        },
        ..options()
    };
    let session = session_with(&registry, &Access::default(), options);
    let error = push(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("within 1 s"), "{error}");
    // The rest would be taken at once; the pause before it has used the time up.
    assert_eq!(count(&registry, &Method::GET), 0);
    assert_eq!(count(&registry, &Method::PUT), 0);
}

/// Of documents no other host is asked under these rules, but this is none.
#[tokio::test]
async fn under_the_strict_rules_an_upload_on_another_host_goes_on_where_it_broke_off() {
    let (registry, storage) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let place = format!("{}/v2/storage/blobs/uploads/1?_state=1", storage.base_url());
    let start = Fault::status_with(202, &[("location", &place)], "");
    registry.script(on(Method::POST).fault(start));
    let patches = [202, 503, 202, 202, 202].map(Fault::status);
    storage.script(on(Method::PATCH).faults(patches));
    storage.script(on(Method::GET).fault(has(CHUNK)));
    storage.script(on(Method::PUT).fault(Fault::status(201)));
    let rules = Egress::strict(StrictEgress::default());
    let options = Options {
        egress: rules.allowing(["127.0.0.1".parse().unwrap()]),
        ..options()
    };
    let session = session_with(&registry, &Access::default(), options);
    let pushed = push(&session).await.unwrap();
    assert_eq!(pushed, BlobPushed::Uploaded { chunks: 5 });
    assert_eq!(count(&registry, &Method::POST), 1);
}
