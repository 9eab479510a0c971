// SPDX-License-Identifier: Apache-2.0

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::Method;
use wharf_oci::{
    Digest,
    registry::{
        Access, Client, Content, Error, ErrorKind, Host, HostLimits, HostStatus, Hosts, Options,
        Rate, Retry, RetryPolicy, Session, Timeouts,
    },
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Gate, Rule, Seen},
};

use crate::support::*;

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(30);

fn with_limits(registry: &FakeRegistry, limits: HostLimits) -> Options {
    let host = Host {
        limits,
        ..Host::default()
    };
    Options {
        hosts: Hosts::new([(registry.host(), host)]),
        ..options()
    }
}

fn at_once(requests: u32) -> HostLimits {
    HostLimits {
        concurrency: NonZeroU32::new(requests),
        rate: None,
    }
}

pub(crate) fn client_with(options: Options) -> Client {
    Client::new(options).unwrap()
}

pub(crate) fn session(client: &Client, registry: &FakeRegistry, access: &Access) -> Session {
    let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    client.session(repository, access).unwrap()
}

/// One attempt per operation.
pub(crate) fn once() -> Options {
    Options {
        retry: RetryPolicy {
            attempts: 1,
            ..options().retry
        },
        ..options()
    }
}

pub(crate) async fn resolve(session: &Session) -> Result<Digest, Error> {
    session
        .resolve(&tag("1.0.0"))
        .await
        .map(|resolved| resolved.digest)
}

pub(crate) fn status_of(client: &Client, registry: &FakeRegistry) -> HostStatus {
    let hosts = client.hosts();
    let mut hosts = hosts
        .into_iter()
        .filter(|host| host.host == registry.base_url());
    hosts.next().unwrap()
}

pub(crate) fn count(counts: &[(&'static str, u64)], name: &str) -> u64 {
    counts.iter().find(|(label, _)| *label == name).unwrap().1
}

/// Asks until it is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Requests that came while the registry, by its own clock, had asked for none.
fn in_closed_windows(requests: &[Seen]) -> Vec<&Seen> {
    let windows: Vec<_> = requests
        .iter()
        .filter(|seen| seen.status == Some(429))
        .map(|seen| {
            let start = seen.answered.unwrap();
            (start, start + seen.retry_after.unwrap())
        })
        .collect();
    let is_inside = |seen: &&Seen| {
        let at = seen.arrived;
        windows.iter().any(|(start, end)| at > *start && at < *end)
    };
    requests.iter().filter(is_inside).collect()
}

/// The most requests that were there and not answered at the same time.
fn most_at_once(requests: &[Seen]) -> usize {
    let at_start_of = |one: &Seen| {
        let is_there = |other: &&Seen| {
            other.arrived <= one.arrived && other.answered.is_none_or(|at| at > one.arrived)
        };
        requests.iter().filter(is_there).count()
    };
    requests.iter().map(at_start_of).max().unwrap_or(0)
}

/// Fifty operations at once. The gate makes sure that all requests which are under way when the first window closes came
/// before it, so that not one may be excused with having been sent too early.
async fn fifty_against_429(first: Fault, second: Fault) {
    let registry = FakeRegistry::builder()
        .bearer("user", "password")
        .anonymous_pull()
        .start()
        .await
        .unwrap();
    let seeded = seed(&registry, "layer");
    let client = client();
    let accesses = [Access::default(), basic("user", "password")];
    let sessions: Vec<_> = (0..10)
        .map(|n| session(&client, &registry, &accesses[n % 2]))
        .collect();
    for session in &sessions {
        resolve(session).await.unwrap();
    }
    registry.clear_requests();

    let gate = Gate::new();
    let limited = vec![first; 32].into_iter().chain([second]);
    registry.script(Rule::on(Endpoint::Manifest).hold(&gate).faults(limited));
    let operations = (0..50).map(|n| {
        let session = sessions[n % sessions.len()].clone();
        tokio::spawn(async move { resolve(&session).await })
    });
    let operations: Vec<_> = operations.collect();
    gate.arrived(32).await;
    gate.open();
    for got in join_all(operations).await {
        assert_eq!(got.unwrap().unwrap().to_string(), seeded.manifest_digest);
    }

    let requests = registry.requests_to(Endpoint::Manifest);
    let limited = requests
        .iter()
        .filter(|seen| seen.status == Some(429))
        .count();
    assert_eq!((limited, requests.len()), (33, 83));
    assert_eq!(in_closed_windows(&registry.requests()).len(), 0);
    assert_eq!(most_at_once(&requests), 32);
    let stats = client.stats();
    assert_eq!((count(&stats.requests, "429"), stats.closings), (33, 2));
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
}

#[tokio::test]
async fn fifty_operations_against_429_end_well_and_none_asks_while_the_window_is_closed() {
    // Long enough that all 32 are answered within the first, also on a busy machine.
    let seconds = Fault::retry_after(429, "3");
    let date = Fault::RetryAt(429, Duration::from_secs(4));
    let (one, other) = (seconds.clone(), date.clone());
    tokio::join!(
        fifty_against_429(one, other),
        fifty_against_429(date, seconds)
    );
}

#[tokio::test]
async fn a_window_beyond_patience_is_an_error_at_once_for_everybody_and_for_that_host_only() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client();
    let mine = session(&client, &registry, &Access::default());
    resolve(&mine).await.unwrap();
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::retry_after(429, "3600")));
    let told = resolve(&mine).await.unwrap_err();
    assert_eq!(told.retry(), Retry::After(Duration::from_secs(3600)));
    registry.clear_requests();

    let another = session(&client, &registry, &basic("other", "tenant"));
    let error = resolve(&another).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    let Retry::After(left) = error.retry() else {
        panic!("{error:?}");
    };
    assert!(left <= Duration::from_secs(301), "{left:?}");
    let text = error.to_string();
    let expected = format!(
        "{} asked for no more requests for another ",
        registry.base_url()
    );
    assert!(
        text.contains(&expected) && text.contains("(429 at "),
        "{text}"
    );
    assert!(registry.requests().is_empty());
    assert!(count(&client.stats().refused, "closed") > 0);
    assert_eq!(client.stats().hosts_closed, 1);

    let elsewhere = FakeRegistry::start().await;
    seed(&elsewhere, "layer");
    let session = session(&client, &elsewhere, &Access::default());
    resolve(&session).await.unwrap();
}

#[tokio::test]
async fn whatever_retry_after_says_the_host_is_not_closed_for_longer_than_five_minutes() {
    for (value, asked) in [
        ("0", Some(1)),
        ("3600", Some(3600)),
        ("1000000000000", Some(86_400)),
        ("99999999999999999999999999", Some(86_400)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(1)),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("", None),
    ] {
        for status in [429, 503] {
            let registry = FakeRegistry::start().await;
            registry.script(Rule::on(Endpoint::Blob).fault(Fault::retry_after(status, value)));
            let client = client_with(once());
            let session = session(&client, &registry, &Access::default());
            let error = download(&session, &descriptor(b"layer")).await.unwrap_err();
            let expected = asked.map_or(Retry::Backoff, |seconds| {
                Retry::After(Duration::from_secs(seconds))
            });
            assert_eq!(error.retry(), expected, "{status} {value}: {error}");
            let closed = status_of(&client, &registry).closed_for;
            assert_eq!(closed.is_some(), asked.is_some(), "{status} {value}");
            assert!(closed.unwrap_or_default() <= Duration::from_secs(301));
        }
    }
}

#[tokio::test]
async fn limits_that_a_registry_tells_are_seen_and_hostile_ones_do_no_harm() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client();
    let session = session(&client, &registry, &Access::default());
    let told = |remaining: &str, reset: &str| {
        let headers = [
            ("ratelimit-remaining", remaining),
            ("ratelimit-reset", reset),
        ];
        Fault::status_with(405, &headers, "")
    };
    for odd in [
        "-1",
        "",
        "\u{e9}",
        "99999999999999999999999999",
        ";;w=,",
        "1e9",
    ] {
        registry.script(
            Rule::on(Endpoint::Manifest)
                .method(Method::HEAD)
                .faults([told(odd, odd)]),
        );
        resolve(&session).await.unwrap();
    }
    registry.script(
        Rule::on(Endpoint::Manifest)
            .method(Method::HEAD)
            .faults([told("7;w=60", "60")]),
    );
    resolve(&session).await.unwrap();
    assert_eq!(client.stats().lowest_remaining, Some(7));

    registry.script(
        Rule::on(Endpoint::Manifest)
            .method(Method::HEAD)
            .faults([told("0", "999999999")]),
    );
    let error = resolve(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
    let closed = status_of(&client, &registry).closed_for.unwrap();
    assert!(closed <= Duration::from_secs(301), "{closed:?}");
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client_with(with_limits(&registry, at_once(4)));
    let session = session(&client, &registry, &Access::default());
    resolve(&session).await.unwrap();
    registry.clear_requests();
    let gate = Gate::new();
    registry.script(Rule::on(Endpoint::Manifest).hold(&gate));
    let operations: Vec<_> = (0..40)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { resolve(&session).await })
        })
        .collect();
    gate.arrived(4).await;
    until("the others wait", async || client.stats().waiting == 36).await;
    for _ in 0..20 {
        gate.release_one();
    }
    gate.arrived(24).await;
    gate.open();
    for operation in operations {
        operation.await.unwrap().unwrap();
    }
    assert_eq!(most_at_once(&registry.requests()), 4);
    let stats = client.stats();
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
    assert!(stats.waits >= 36, "{stats:?}");
}

#[tokio::test]
async fn a_request_is_under_way_as_long_as_its_body_is_read() {
    let registry = FakeRegistry::start().await;
    let layer = vec![7; 100_000];
    seed(&registry, layer.clone());
    let hardly = Fault::Drip {
        bytes: 1,
        every: SOON,
    };
    registry.script(Rule::on(Endpoint::Blob).fault(hardly));
    let client = client_with(with_limits(&registry, at_once(1)));
    let session = session(&client, &registry, &Access::default());
    let downloading = {
        let session = session.clone();
        tokio::spawn(async move { download(&session, &descriptor(&layer)).await })
    };
    let is_answered = async || count(&client.stats().requests, "2xx") == 2;
    until("the download is answered", is_answered).await;
    let resolving = tokio::spawn(async move { resolve(&session).await });
    until("the next one waits", async || client.stats().waiting == 1).await;
    assert_eq!(status_of(&client, &registry).in_flight, 1);
    assert!(registry.requests_to(Endpoint::Manifest).is_empty());
    downloading.abort();
    resolving.await.unwrap().unwrap();
    assert_eq!(status_of(&client, &registry).in_flight, 0);
}

#[tokio::test]
async fn one_request_at_a_time_is_enough_for_every_operation() {
    let builders = [
        FakeRegistry::builder(),
        FakeRegistry::builder().basic("user", "password"),
        FakeRegistry::builder().bearer("user", "password"),
    ];
    for builder in builders {
        let registry = builder.start().await.unwrap();
        let impatient = Options {
            timeouts: Timeouts {
                turn: Duration::from_secs(20),
                ..Timeouts::default()
            },
            ..with_limits(&registry, at_once(1))
        };
        let client = client_with(impatient);
        let access = basic("user", "password");
        let layer = vec![9; 300_000];
        let seeded = seed(&registry, layer.clone());
        let blob = format!(
            "{}/v2/{REPOSITORY}/blobs/{}",
            registry.base_url(),
            descriptor(&layer).digest
        );
        let there = [("location", blob.as_str())];
        let redirect = Fault::status_with(307, &there, vec![b'x'; 10_000]);
        registry.script(
            Rule::on(Endpoint::Blob)
                .get()
                .faults([redirect.clone(), redirect]),
        );
        registry.script(
            Rule::on(Endpoint::Manifest)
                .method(Method::HEAD)
                .fault(Fault::status(405)),
        );
        // Not HEAD: here the challenge has a body, and it lies unread while the token is asked for.
        let digest = seeded.manifest_digest.parse().unwrap();
        let first = session(&client, &registry, &access);
        first.manifest(&digest).await.unwrap();

        let operations = (0..4).map(|n| {
            let session = session(&client, &registry, &access);
            let expected = layer.clone();
            tokio::spawn(async move {
                assert_eq!(pull(&session).await.unwrap(), expected);
                let blob = vec![n; 10_000];
                let content = Content::Bytes(blob.clone().into());
                session
                    .push_blob(&descriptor(&blob), &content)
                    .await
                    .unwrap();
                assert!(session.has_blob(&descriptor(&blob).digest).await.unwrap());
            })
        });
        for operation in join_all(operations).await {
            operation.unwrap();
        }
        assert_eq!(most_at_once(&registry.requests()), 1);
        assert_eq!(count(&client.stats().refused, "busy"), 0);
    }
}

#[tokio::test]
async fn what_is_given_up_frees_its_place() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client_with(with_limits(&registry, at_once(2)));
    let session = session(&client, &registry, &Access::default());
    resolve(&session).await.unwrap();
    registry.script(Rule::on(Endpoint::Blob).fault(Fault::Silence));
    for _ in 0..10 {
        registry.clear_requests();
        let silent: Vec<_> = (0..3)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { download(&session, &descriptor(b"layer")).await })
            })
            .collect();
        until("two are asked for", async || {
            registry.requests_to(Endpoint::Blob).len() == 2
        })
        .await;
        until("one waits", async || client.stats().waiting == 1).await;
        for operation in &silent {
            operation.abort();
        }
        for operation in silent {
            assert!(operation.await.is_err());
        }
    }
    let stats = client.stats();
    assert_eq!(
        (stats.in_flight, stats.waiting, stats.breaker_opens),
        (0, 0, 0)
    );
    assert!(count(&stats.requests, "cancelled") >= 20, "{stats:?}");
    resolve(&session).await.unwrap();
}

#[tokio::test]
async fn errors_free_their_places() {
    let faults = [
        Fault::status(500),
        Fault::status(404),
        Fault::ResetAt(0),
        Fault::ResetAt(3),
        Fault::Endless,
        Fault::WrongDigest,
        Fault::Html,
        Fault::status_with(200, &[("content-encoding", "gzip")], "layer"),
    ];
    let registry = FakeRegistry::start().await;
    let limits = with_limits(&registry, at_once(1));
    let client = client_with(Options {
        retry: once().retry,
        ..limits
    });
    registry.script(Rule::on(Endpoint::Blob).faults(faults.clone()));
    let session = session(&client, &registry, &Access::default());
    for fault in faults {
        let got = download(&session, &descriptor(b"layer")).await;
        assert!(got.is_err(), "{fault:?}");
        assert_eq!(status_of(&client, &registry).in_flight, 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_rate_that_is_set_is_not_exceeded() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let rate = Rate {
        requests: NonZeroU32::new(5).unwrap(),
        per: Duration::from_secs(3600),
    };
    let limits = HostLimits {
        concurrency: None,
        rate: Some(rate),
    };
    let client = client_with(with_limits(&registry, limits));
    let session = session(&client, &registry, &Access::default());
    let mut refused = 0;
    for _ in 0..10 {
        if let Err(error) = resolve(&session).await {
            assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
            assert!(matches!(error.retry(), Retry::After(left) if left > Duration::from_secs(60)));
            assert!(
                error.to_string().contains("the rate that is set for"),
                "{error}"
            );
            refused += 1;
        }
    }
    // One of the five found out that the registry speaks plain HTTP.
    assert_eq!((registry.requests().len(), refused), (5, 6));
}
