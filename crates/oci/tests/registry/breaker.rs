// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use wharf_oci::registry::{Access, ErrorKind, Retry, Stats};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
};

use crate::{
    flow::{client_with, count, once, resolve, session, status_of, until},
    support::*,
};

#[tokio::test]
async fn a_host_that_fails_is_left_alone_until_a_probe_succeeds() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client_with(once());
    let session = session(&client, &registry, &Access::default());
    resolve(&session).await.unwrap();
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(502)));
    let mut last = resolve(&session).await.unwrap_err();
    for _ in 0..20 {
        if last.kind() == ErrorKind::Unavailable {
            break;
        }
        assert_eq!(last.kind(), ErrorKind::Server, "{last}");
        last = resolve(&session).await.unwrap_err();
    }
    assert_eq!(last.kind(), ErrorKind::Unavailable, "{last}");
    assert!(last.is_held_back());
    assert!(
        matches!(last.retry(), Retry::After(left) if left < Duration::from_secs(20)),
        "{last:?}"
    );
    let text = last.to_string();
    let expected = format!("{} is left alone for a while", registry.base_url());
    assert!(text.contains(&expected), "{text}");
    assert!(
        text.contains("its last requests failed") && text.ends_with("with status 502"),
        "{text}"
    );
    // On a busy machine a probe or two may have come between.
    let stats = client.stats();
    assert!((1..=3).contains(&stats.breaker_opens), "{stats:?}");
    assert_eq!(stats.hosts_broken, 1);
    let asked = registry.requests_to(Endpoint::Manifest).len();
    assert!((11..=13).contains(&asked), "{asked}");

    registry.be_honest();
    until("the host is asked again", async || {
        resolve(&session).await.is_ok()
    })
    .await;
    assert_eq!(client.stats().hosts_broken, 0);
    assert!(count(&client.stats().refused, "broken") > 0);
}

#[tokio::test]
async fn who_finds_out_that_a_host_is_to_be_left_alone_comes_back_with_the_others() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client_with(once());
    let session = session(&client, &registry, &Access::default());
    resolve(&session).await.unwrap();
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(503)));
    // A HEAD and a GET each.
    for n in 1..=5 {
        let error = resolve(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        assert_eq!(error.is_held_back(), n == 5, "{n}: {error:?}");
        assert_eq!(matches!(error.retry(), Retry::After(_)), n == 5);
    }
    // What has nothing to do with the host working is as it was.
    registry.be_honest();
    until("the host is asked again", async || {
        resolve(&session).await.is_ok()
    })
    .await;
    let error = session.resolve(&tag("none")).await.unwrap_err();
    assert_eq!(
        (error.retry(), error.is_held_back()),
        (Retry::Terminal, false)
    );
}

#[tokio::test]
async fn a_host_that_asked_for_no_requests_holds_back_all_but_the_one_it_told() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client_with(once());
    let session = session(&client, &registry, &Access::default());
    resolve(&session).await.unwrap();
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::retry_after(429, "30")));
    let told = resolve(&session).await.unwrap_err();
    assert_eq!(told.retry(), Retry::After(Duration::from_secs(30)));
    assert!(!told.is_held_back(), "{told}");
    let other = resolve(&session).await.unwrap_err();
    assert!(other.is_held_back(), "{other}");
    assert!(matches!(other.retry(), Retry::After(left) if left > Duration::from_secs(20)));
    assert_eq!(registry.requests_to(Endpoint::Manifest).len(), 2);
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_left_alone() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let client = client_with(once());
    let repository = format!("{address}/{REPOSITORY}").parse().unwrap();
    let session = client.session(repository, &Access::default()).unwrap();
    for _ in 0..40 {
        resolve(&session).await.unwrap_err();
    }
    let error = resolve(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(
        error.to_string().contains("the last with no connection"),
        "{error}"
    );
    let Stats {
        requests,
        breaker_opens,
        ..
    } = client.stats();
    assert!(breaker_opens >= 2, "HTTPS and plain HTTP are two");
    assert!(count(&requests, "none") < 40, "{requests:?}");
}

#[tokio::test]
async fn nobody_s_own_fault_keeps_others_from_a_host() {
    let registry = FakeRegistry::builder()
        .basic("user", "password")
        .start()
        .await
        .unwrap();
    seed(&registry, "layer");
    let client = client_with(once());
    let wrong = session(&client, &registry, &basic("user", "wrong"));
    for _ in 0..30 {
        let error = resolve(&wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    }
    let missing = session(&client, &registry, &basic("user", "password"));
    for _ in 0..30 {
        let error = missing.resolve(&tag("none")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    registry.script(Rule::on(Endpoint::Blob).fault(Fault::status(501)));
    for _ in 0..30 {
        let error = download(&missing, &descriptor(b"layer")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    }
    assert_eq!(client.stats().breaker_opens, 0);
    resolve(&missing).await.unwrap();
}

#[tokio::test]
async fn retries_end_when_their_budget_is_spent() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client();
    let session = session(&client, &registry, &Access::default());
    registry.script(Rule::on(Endpoint::Blob).fault(Fault::status(503)));
    let mut wanted = 0;
    let mut fewest = u32::MAX;
    while client.stats().retries_refused == 0 {
        // Keeps the breaker out of it: the host answers others well.
        resolve(&session).await.unwrap();
        let error = download(&session, &descriptor(b"layer")).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Server, Retry::Backoff)
        );
        fewest = fewest.min(error.attempts());
        wanted += 2;
        assert!(wanted < 500, "{:?}", client.stats());
    }
    assert!(fewest < 3, "{fewest}");
    let stats = client.stats();
    assert!(stats.retries < wanted, "{stats:?}");
    assert!(stats.retries >= 20, "{stats:?}");
}

#[tokio::test]
async fn a_redirect_target_is_a_host_of_its_own() {
    let (registry, storage) = (FakeRegistry::start().await, FakeRegistry::start().await);
    seed(&registry, "layer");
    let target = format!(
        "{}/v2/{REPOSITORY}/blobs/{}",
        storage.base_url(),
        descriptor(b"layer").digest
    );
    registry.script(Rule::on(Endpoint::Blob).fault(Fault::Redirect(target, 307)));
    storage.script(Rule::on(Endpoint::Blob).fault(Fault::retry_after(503, "3600")));
    let client = client();
    let session = session(&client, &registry, &Access::default());
    let error = download(&session, &descriptor(b"layer")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    let error = download(&session, &descriptor(b"layer")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
    assert!(error.to_string().contains(storage.base_url()), "{error}");
    assert_eq!(storage.requests().len(), 1);
    resolve(&session).await.unwrap();
    assert!(status_of(&client, &registry).closed_for.is_none());
    let closed = client.hosts().into_iter();
    let closed: Vec<_> = closed.filter(|host| host.closed_for.is_some()).collect();
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!(closed[0].host, storage.base_url());
    assert_eq!(closed[0].led_by.as_deref(), Some(registry.base_url()));
    assert!(status_of(&client, &storage).closed_for.is_none());
}
