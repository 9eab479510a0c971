// SPDX-License-Identifier: Apache-2.0
//! Mirrors that say nothing, and what is never asked of one.

use std::{net::TcpListener, time::Duration};

use tokio::time::timeout;
use wharf_oci::registry::{
    Access, Client, Host, Hosts, Mirror, Options, Session, Target, Timeouts,
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Artifact, Endpoint, FLUX_CONTENT, Fault, Gate, Rule},
};

use crate::support::*;

/// Long enough for whatever is not a wait for a mirror.
const PLENTY: Duration = Duration::from_secs(40);

fn client(registry: &FakeRegistry, mirror: &str, patience: Duration) -> Client {
    let host = Host {
        mirrors: vec![Mirror::parse(mirror, true).unwrap()],
        ..Host::default()
    };
    let long = PLENTY * 10;
    let options = Options {
        timeouts: Timeouts {
            connect: long,
            handshake: long,
            response: long,
            document: long,
            mirror: patience,
            ..Timeouts::default()
        },
        hosts: Hosts::new([(registry.host(), host)]),
        ..options()
    };
    Client::new(options).unwrap()
}

fn session(registry: &FakeRegistry, mirror: &str, patience: Duration) -> Session {
    session_from(&client(registry, mirror, patience), registry, REPOSITORY)
}

fn session_from(client: &Client, registry: &FakeRegistry, repository: &str) -> Session {
    let repository = format!("{}/{repository}", registry.host()).parse().unwrap();
    client.session(repository, &Access::default()).unwrap()
}

#[tokio::test]
async fn a_mirror_that_takes_connections_and_says_nothing_is_passed_over() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    // Nobody accepts: the system does, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = silent.local_addr().unwrap().to_string();
    let session = session(&registry, &mirror, Duration::from_millis(300));
    let pulled = timeout(PLENTY, pull(&session)).await;
    assert_eq!(pulled.unwrap().unwrap(), b"layer");
}

#[tokio::test]
async fn what_a_mirror_takes_for_a_whole_operation_is_bounded() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let mirror = FakeRegistry::start().await;
    seed(&mirror, "layer");
    mirror.push_artifact(REPOSITORY, "other", "layer", FLUX_CONTENT);
    let gate = Gate::new();
    mirror.script(Rule::on(Endpoint::Manifest).hold(&gate));
    mirror.script(Rule::on(Endpoint::Tags).hold(&gate));
    // Each from a client of its own, or the mirror would rest.
    let session = || session(&registry, &mirror.host(), Duration::from_millis(300));
    let (resolving, target) = (session(), tag("1.0.0"));
    let resolved = timeout(PLENTY, resolving.resolve(&target)).await;
    resolved.unwrap().unwrap();
    let mut tags = session().tags();
    let page = timeout(PLENTY, tags.next_page()).await.unwrap();
    assert_eq!(page.unwrap().unwrap().tags.len(), 1);
    assert!(!tags.is_from_mirror());
    gate.open();
}

/// Waits as somebody does who has less time than the mirror is given.
async fn give_up<T>(mirror: &FakeRegistry, endpoint: Endpoint, work: impl Future<Output = T>) {
    let asked = async {
        while mirror.requests_to(endpoint).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // A tenth of the mirror's time, and more.
        tokio::time::sleep(Duration::from_millis(600)).await;
    };
    tokio::select! {
        () = asked => {}
        _ = work => panic!("a mirror that says nothing answered"),
    }
}

#[tokio::test]
async fn who_gives_up_waiting_for_a_mirror_asks_another_next_time() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let mirror = FakeRegistry::start().await;
    for endpoint in [Endpoint::Manifest, Endpoint::Blob] {
        mirror.be_honest();
        mirror.clear_requests();
        seed(&mirror, "layer");
        mirror.push_artifact("team/other", "1.0.0", "layer", FLUX_CONTENT);
        mirror.script(
            Rule::on(endpoint)
                .repository(REPOSITORY)
                .fault(Fault::Silence),
        );
        let client = client(&registry, &mirror.host(), Duration::from_secs(5));
        let session = session_from(&client, &registry, REPOSITORY);
        give_up(&mirror, endpoint, Box::pin(pull(&session))).await;
        // The same source once more; it need not be the same session.
        let session = session_from(&client, &registry, REPOSITORY);
        let pulled = timeout(PLENTY, pull(&session)).await.unwrap();
        assert_eq!(pulled.unwrap(), b"layer");
        assert_eq!(mirror.requests_to(endpoint).len(), 1, "{endpoint:?}");
        // Nobody else is kept from it.
        let other = session_from(&client, &registry, "team/other");
        assert_eq!(pull(&other).await.unwrap(), b"layer");
        assert!(!client.mirrors()[0].is_resting);
        assert_eq!(client.mirrors()[0].failed, 1);
    }
}

#[tokio::test]
async fn who_gives_up_on_the_first_page_of_tags_begins_with_another() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let mirror = FakeRegistry::start().await;
    seed(&mirror, "layer");
    mirror.script(Rule::on(Endpoint::Tags).fault(Fault::Silence));
    let session = session(&registry, &mirror.host(), Duration::from_secs(5));
    let mut tags = session.tags();
    give_up(&mirror, Endpoint::Tags, tags.next_page()).await;
    let page = timeout(PLENTY, tags.next_page()).await.unwrap();
    assert_eq!(page.unwrap().unwrap().tags.len(), 1);
    assert!(!tags.is_from_mirror());
    assert_eq!(mirror.requests_to(Endpoint::Tags).len(), 1);
}

#[tokio::test]
async fn a_mirror_without_referrers_does_not_hide_those_of_the_registry() {
    let registry = FakeRegistry::start().await;
    let subject = seed(&registry, "layer");
    let signature = Artifact::new()
        .layer("application/octet-stream", "signature")
        .artifact_type("application/vnd.example.signature")
        .subject(&subject);
    registry.push(REPOSITORY, "signature", &signature);
    let mirror = FakeRegistry::start().await;
    seed(&mirror, "layer");
    for missing in [Fault::Honest, Fault::status(404), Fault::status(405)] {
        mirror.script(Rule::on(Endpoint::Referrers).fault(missing.clone()));
        let session = session(&registry, &mirror.host(), Duration::from_secs(5));
        let digest = subject.manifest_digest.parse().unwrap();
        let referrers = session.referrers(&digest, None).await.unwrap();
        assert_eq!(referrers.manifests.len(), 1, "{missing:?}");
        // What they are is proved by digest and may come from anywhere.
        let target = Target::Digest(referrers.manifests[0].digest.clone());
        let resolved = session.resolve(&target).await.unwrap();
        session.manifest(&resolved.digest).await.unwrap();
    }
    assert_eq!(mirror.requests_to(Endpoint::Referrers).len(), 0);
}

#[tokio::test]
async fn a_mirror_with_no_place_for_the_repository_is_passed_over() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    // With the path of the repository it is longer than names may be.
    let mirror = format!("127.0.0.1:1/{}", "p".repeat(250));
    let client = client(&registry, &mirror, Duration::from_secs(5));
    let session = session_from(&client, &registry, REPOSITORY);
    assert_eq!(pull(&session).await.unwrap(), b"layer");
    let [status] = client.mirrors().try_into().unwrap();
    assert_eq!((status.served, status.failed), (0, 0));
}
