// SPDX-License-Identifier: Apache-2.0
//! What one tenant meets or does is not felt by another: hosts that stay open, and words that name nobody else's secret.

use std::{num::NonZeroU32, time::Duration};

use futures::future::join_all;
use wharf_oci::registry::{
    Access, Client, Credentials, ErrorKind, Host, HostLimits, Hosts, Options, Proxy, ProxyChoice,
    Rate, Retry, RetryPolicy, Session, Timeouts,
};
use wharf_test_support::{
    FakeRegistry,
    proxy::FakeProxy,
    registry::{Endpoint, Fault, Gate, Rule},
};

use crate::support::*;

/// More than it takes to open a circuit breaker.
const MANY: usize = 15;

fn session_in(client: &Client, host: &str, repository: &str, access: &Access) -> Session {
    let repository = format!("{host}/{repository}").parse().unwrap();
    client.session(repository, access).unwrap()
}

fn session(client: &Client, host: &str, access: &Access) -> Session {
    session_in(client, host, REPOSITORY, access)
}

/// One attempt per operation, and one request at a time at each host of these.
fn one_by_one(registry: &FakeRegistry) -> Client {
    let limits = HostLimits {
        concurrency: NonZeroU32::new(1),
        rate: None,
    };
    let host = Host {
        limits,
        ..Host::default()
    };
    let retry = RetryPolicy {
        attempts: 1,
        ..options().retry
    };
    let hosts = Hosts::new([(registry.host(), host)]);
    Client::new(Options {
        hosts,
        retry,
        ..options()
    })
    .unwrap()
}

#[tokio::test]
async fn a_tenant_s_own_proxy_shuts_a_host_off_for_that_tenant_only() {
    let (honest, fake) = (FakeRegistry::start().await, FakeRegistry::start().await);
    seed(&honest, "layer");
    let proxy = FakeProxy::start();
    proxy.lead("127.0.0.1", fake.addr());
    let hostile = Access {
        proxy: ProxyChoice::Through(Proxy::parse(&proxy.url(), None, None).unwrap()),
        ..Access::default()
    };
    for fault in [Fault::retry_after(429, "300"), Fault::status(503)] {
        let client = one_by_one(&honest);
        fake.be_honest();
        fake.script(Rule::on(Endpoint::Manifest).fault(fault).times(1000));
        let theirs = session(&client, &honest.host(), &hostile);
        for _ in 0..MANY {
            assert!(theirs.resolve(&tag("1.0.0")).await.is_err());
        }
        let held = theirs.resolve(&tag("1.0.0")).await.unwrap_err();
        assert!(held.is_held_back(), "{held}");
        let ours = session(&client, &honest.host(), &Access::default());
        assert_eq!(pull(&ours).await.unwrap(), b"layer");
    }
    let client = one_by_one(&honest);
    fake.be_honest();
    let gate = Gate::new();
    fake.script(Rule::on(Endpoint::Manifest).hold(&gate));
    let theirs = session(&client, &honest.host(), &hostile);
    let holding = tokio::spawn(async move { theirs.resolve(&tag("1.0.0")).await.is_err() });
    gate.arrived(1).await;
    let ours = session(&client, &honest.host(), &Access::default());
    assert_eq!(pull(&ours).await.unwrap(), b"layer");
    holding.abort();
}

#[tokio::test]
async fn a_repository_that_answers_500_does_not_take_its_host_away_from_others() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let broken = Rule::on(Endpoint::Manifest)
        .repository("evil/app")
        .fault(Fault::status(500));
    registry.script(broken.times(1000));
    let client = one_by_one(&registry);
    let theirs = session_in(&client, &registry.host(), "evil/app", &Access::default());
    for _ in 0..MANY {
        let error = theirs.resolve(&tag("1.0.0")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        assert!(!error.is_held_back(), "{error}");
    }
    let ours = session(&client, &registry.host(), &Access::default());
    assert_eq!(pull(&ours).await.unwrap(), b"layer");
    assert_eq!(client.stats().breaker_opens, 0);
}

#[tokio::test]
async fn a_registry_cannot_close_a_host_that_it_names_as_its_token_service() {
    for fault in [Fault::retry_after(429, "300"), Fault::status(503)] {
        let (hostile, shared) = (FakeRegistry::start().await, FakeRegistry::start().await);
        seed(&shared, "layer");
        let realm = format!(r#"Bearer realm="{}/token",service="x""#, shared.base_url());
        let challenge = Fault::status_with(401, &[("www-authenticate", &realm)], "");
        hostile.script(Rule::on(Endpoint::Manifest).fault(challenge).times(1000));
        shared.script(Rule::on(Endpoint::Token).fault(fault.clone()).times(1000));
        let client = one_by_one(&shared);
        let theirs = session(&client, &hostile.host(), &Access::default());
        for _ in 0..MANY {
            assert!(theirs.resolve(&tag("1.0.0")).await.is_err());
        }
        let asked = shared.requests_to(Endpoint::Token).len();
        assert!((1..MANY).contains(&asked), "{fault:?}: {asked}");
        let held = theirs.resolve(&tag("1.0.0")).await.unwrap_err();
        assert!(held.is_held_back(), "{held}");
        assert!(held.to_string().contains(shared.base_url()), "{held}");
        let ours = session(&client, &shared.host(), &Access::default());
        assert_eq!(pull(&ours).await.unwrap(), b"layer", "{fault:?}");
    }
}

#[tokio::test]
async fn a_failure_that_is_shared_names_to_each_the_secret_of_its_own() {
    let registry = FakeRegistry::builder().bearer("user", "password");
    let registry = registry.start().await.unwrap();
    seed(&registry, "layer");
    let gate = Gate::new();
    let echo = Fault::status_with(
        401,
        &[("content-type", "text/plain")],
        "wrong: canary-of-all",
    );
    registry.script(Rule::on(Endpoint::Token).hold(&gate).fault(echo));
    let client = client();
    let teams = ["team-a", "team-b", "team-c"];
    let tasks: Vec<_> = teams
        .iter()
        .map(|team| {
            let credentials =
                Credentials::basic("user", "canary-of-all", format!("secret {team}/regcred"));
            let access = Access {
                credentials,
                ..Access::default()
            };
            let session = session(&client, &registry.host(), &access);
            tokio::spawn(async move { session.resolve(&tag("1.0.0")).await.unwrap_err() })
        })
        .collect();
    gate.arrived(1).await;
    // On one thread a task that was told 401 goes on until it stands in the queue for the token.
    let refused = || {
        let requests = client.stats().requests.into_iter();
        requests
            .filter(|(code, _)| *code == "401")
            .map(|(_, n)| n)
            .sum::<u64>()
    };
    let all_refused = async {
        while refused() < teams.len() as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), all_refused).await;
    waited.unwrap();
    gate.open();
    for (team, error) in teams.iter().zip(join_all(tasks).await) {
        let error = error.unwrap();
        let text = everything(&error);
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{text}");
        assert!(text.contains(&format!("secret {team}/regcred")), "{text}");
        for other in teams.iter().filter(|other| *other != team) {
            assert!(!text.contains(other), "{team}: {text}");
        }
        assert!(!text.contains("canary-of-all"), "{text}");
        assert!(text.contains("wrong: (secret)"), "{text}");
    }
    assert_eq!(registry.requests_to(Endpoint::Token).len(), 1);
}

#[tokio::test]
async fn no_time_that_is_set_is_too_long() {
    let endless = Options {
        timeouts: Timeouts {
            connect: Duration::MAX,
            handshake: Duration::MAX,
            tunnel: Duration::MAX,
            response: Duration::MAX,
            document: Duration::MAX,
            transfer: Duration::MAX,
            turn: Duration::MAX,
            mirror: Duration::MAX,
            slow_window: Duration::MAX,
            slow_bytes: u64::MAX,
        },
        retry: RetryPolicy {
            attempts: u32::MAX,
            base: Duration::MAX,
            longest: Duration::MAX,
        },
        ..Options::default()
    };
    let rate = |requests| HostLimits {
        concurrency: Some(NonZeroU32::MAX),
        rate: Some(Rate {
            requests: NonZeroU32::new(requests).unwrap(),
            per: Duration::MAX,
        }),
    };
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let with = |limits| {
        let host = Host {
            limits,
            ..Host::default()
        };
        let hosts = Hosts::new([(registry.host(), host)]);
        let options = Options {
            hosts,
            ..endless.clone()
        };
        let client = Client::new(options).unwrap();
        session(&client, &registry.host(), &Access::default())
    };
    assert_eq!(pull(&with(rate(1000))).await.unwrap(), b"layer");
    // What finds out the scheme is the one request.
    let error = pull(&with(rate(1))).await.unwrap_err();
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(error.retry(), Retry::After(day), "{error}");
    // Nothing is to be seen of a pause of a day but that it is kept.
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(503)));
    let session = with(rate(1000));
    let pulling = async { pull(&session).await.map(drop) };
    let waits = tokio::time::timeout(Duration::from_secs(1), pulling).await;
    assert!(waits.is_err(), "{waits:?}");
}
