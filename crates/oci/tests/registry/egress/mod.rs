// SPDX-License-Identifier: Apache-2.0

mod credentials;
mod elsewhere;
mod hops;
mod proxies;

use std::collections::BTreeSet;

use wharf_oci::registry::{
    Access, Client, Dials, Egress, ErrorKind, Network, Options, Refusal, Session, StrictEgress,
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule, sha256},
};

use self::hops::{HOPS, Hop, challenge};
use crate::support::*;

const LAYER: &[u8] = b"the layer";

/// Refused by both sets of rules: link-local, metadata, no host; as a literal in all its spellings.
const ALWAYS: [(&str, Refusal); 24] = [
    ("169.254.169.254", Refusal::CloudMetadata),
    ("169.16689662", Refusal::CloudMetadata),
    ("2852039166", Refusal::CloudMetadata),
    ("0xa9fea9fe", Refusal::CloudMetadata),
    ("0251.0376.0251.0376", Refusal::CloudMetadata),
    ("169.254.43518", Refusal::CloudMetadata),
    ("[::ffff:169.254.169.254]", Refusal::CloudMetadata),
    ("[::169.254.169.254]", Refusal::CloudMetadata),
    ("[64:ff9b::a9fe:a9fe]", Refusal::CloudMetadata),
    ("[64:ff9b:1::a9fe:a9fe]", Refusal::CloudMetadata),
    ("[2002:a9fe:a9fe::1]", Refusal::CloudMetadata),
    ("[2001:0:808:808:0:0:5601:5601]", Refusal::CloudMetadata),
    ("169.254.170.2", Refusal::CloudMetadata),
    ("169.254.170.23", Refusal::CloudMetadata),
    ("100.100.100.200", Refusal::CloudMetadata),
    ("168.63.129.16", Refusal::CloudMetadata),
    ("[fd00:ec2::254]", Refusal::CloudMetadata),
    ("[fd20:ce::254]", Refusal::CloudMetadata),
    ("169.254.1.1", Refusal::LinkLocal),
    ("[fe80::1]", Refusal::LinkLocal),
    ("[fe80::a9fe:a9fe]", Refusal::LinkLocal),
    ("0.0.0.0", Refusal::NoHost),
    ("[::]", Refusal::NoHost),
    ("224.0.0.1", Refusal::NoHost),
];

/// Refused by the strict rules only.
const AT_HOME: [(&str, Refusal); 11] = [
    ("127.0.0.2", Refusal::Loopback),
    ("127.2", Refusal::Loopback),
    ("0x7f000002", Refusal::Loopback),
    ("[::1]", Refusal::Loopback),
    ("10.0.0.1", Refusal::Private),
    ("192.168.0.1", Refusal::Private),
    ("[::ffff:172.16.0.1]", Refusal::Private),
    ("[fd12::1]", Refusal::Private),
    ("100.64.0.1", Refusal::Shared),
    ("203.0.113.1", Refusal::Reserved),
    ("[2001:db8::1]", Refusal::Reserved),
];

fn listed(network: &str) -> Network {
    network.parse().unwrap()
}

/// Strict, with the test's own registry as what the operator lists.
fn strict() -> Egress {
    Egress::strict(StrictEgress::default()).allowing([listed("127.0.0.1")])
}

fn client_with(egress: Egress) -> Client {
    Client::new(Options {
        egress,
        ..options()
    })
    .unwrap()
}

fn session(client: &Client, host: &str, access: &Access) -> Session {
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    client.session(repository, access).unwrap()
}

/// Somewhere at a host.
fn url_at(target: &str) -> String {
    format!("http://{target}:1/v2/{REPOSITORY}/x")
}

fn refused_for(dials: &Dials, reason: Refusal) -> u64 {
    let mut reasons = dials.refused_by_reason();
    reasons.find(|(it, _)| *it == reason).unwrap().1
}

/// One case: the verdict is the refusal, told as one, counted, and nothing but the registry was dialled.
async fn assert_refused(client: &Client, hop: Hop, target: &str, reason: Refusal, case: &str) {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    hop.lead(&registry, &url_at(target));
    let host = match hop {
        Hop::Registry => format!("{target}:1"),
        _ => registry.host(),
    };
    let before = client.dials();
    let outcome = hop.go(&session(client, &host, &hop.access())).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EgressDenied, "{case}: {error}");
    assert_eq!(error.attempts(), 1, "{case}: {error}");
    let after = client.dials();
    assert!(
        refused_for(&after, reason) > refused_for(&before, reason),
        "{case}: {after:?}"
    );
    // HTTPS is tried, then plain HTTP spoken: two dials to the registry, and none elsewhere.
    let own = if hop == Hop::Registry { 0 } else { 2 };
    assert_eq!(after.made - before.made, own, "{case}: {error}");
}

/// Both sets of rules, every hop, every spelling. `127.0.0.1` is where the registry is.
#[tokio::test]
async fn no_hop_leads_to_a_forbidden_address_however_it_is_written() {
    let mut cases = BTreeSet::new();
    for (rules, egress) in [("default", Egress::default()), ("strict", strict())] {
        let client = client_with(egress);
        let at_home: &[_] = if rules == "strict" { &AT_HOME } else { &[] };
        for (target, reason) in ALWAYS.iter().chain(at_home) {
            for hop in HOPS {
                if rules == "strict" && hop == Hop::TokenPost {
                    // Over plain HTTP nothing is sent that could be posted: see `credentials`.
                    continue;
                }
                let case = format!("{rules}: {hop:?} to {target}");
                assert_refused(&client, hop, target, *reason, &case).await;
                cases.insert(case);
            }
        }
    }
    assert_eq!(cases.len(), 24 * 7 + (24 + 11) * 6);
}

/// The default is Flux's: another host is not followed to an internal address that is written as such.
#[tokio::test]
async fn by_default_a_redirect_to_an_internal_literal_is_refused_and_a_registry_there_is_not() {
    let client = client_with(Egress::default());
    for target in [
        "127.0.0.2",
        "127.2",
        "0x7f000002",
        "localhost",
        "any.localhost",
        "10.0.0.1",
        "192.168.0.1",
        "[::1]",
        "[fd12::1]",
    ] {
        let hops = [
            Hop::ManifestRedirect,
            Hop::BlobRedirect,
            Hop::UploadPlace,
            Hop::ChunkPlace,
        ];
        for hop in hops {
            let reason = match target {
                "10.0.0.1" | "192.168.0.1" | "[fd12::1]" => Refusal::Private,
                _ => Refusal::Loopback,
            };
            let case = format!("{hop:?} to {target}");
            assert_refused(&client, hop, target, reason, &case).await;
        }
    }
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    let pulled = pull(&session(&client, &registry.host(), &Access::default())).await;
    assert_eq!(pulled.unwrap(), LAYER);
}

#[tokio::test]
async fn a_token_service_that_redirects_is_not_followed() {
    for egress in [Egress::default(), strict()] {
        let client = client_with(egress);
        for (target, _) in ALWAYS {
            let registry = FakeRegistry::start().await;
            let realm = format!("{}/token", registry.base_url());
            registry.script(Rule::on(Endpoint::Manifest).fault(challenge(&realm)));
            let away = Fault::Redirect(format!("http://{target}:1/token"), 307);
            registry.script(Rule::on(Endpoint::Token).fault(away));
            let before = client.dials();
            let error = pull(&session(&client, &registry.host(), &Access::default())).await;
            let error = error.unwrap_err();
            assert!(error.to_string().contains("307"), "{target}: {error}");
            let after = client.dials();
            assert_eq!(
                (after.made - before.made, after.refused()),
                (2, before.refused())
            );
        }
    }
}

#[tokio::test]
async fn what_the_operator_lists_is_dialled_and_followed() {
    let storage = FakeRegistry::builder()
        .bind("127.0.0.2:0".parse().unwrap())
        .start()
        .await
        .unwrap();
    seed(&storage, LAYER);
    let url = format!(
        "{}/v2/{REPOSITORY}/blobs/{}",
        storage.base_url(),
        sha256(LAYER)
    );
    for rules in [Egress::default(), strict()] {
        let client = client_with(rules.allowing([listed("127.0.0.2/32")]));
        let registry = FakeRegistry::start().await;
        seed(&registry, LAYER);
        let away = Fault::Redirect(url.clone(), 307);
        registry.script(Rule::on(Endpoint::Blob).fault(away));
        let pulled = pull(&session(&client, &registry.host(), &Access::default())).await;
        assert_eq!(pulled.unwrap(), LAYER);
        assert_eq!(client.dials().refused(), 0);
    }
    assert_eq!(storage.requests_to(Endpoint::Blob).len(), 2);
}

#[tokio::test]
async fn under_the_strict_rules_only_blobs_come_from_elsewhere() {
    let (registry, other) = (FakeRegistry::start().await, FakeRegistry::start().await);
    seed(&registry, LAYER);
    seed(&other, LAYER);
    let url = format!("{}/v2/{REPOSITORY}/manifests/1.0.0", other.base_url());
    let away = Fault::Redirect(url, 307);
    registry.script(Rule::on(Endpoint::Manifest).fault(away));
    let by_default = client_with(Egress::default());
    let session_by_default = session(&by_default, &registry.host(), &Access::default());
    session_by_default.resolve(&tag("1.0.0")).await.unwrap();
    other.clear_requests();

    let client = client_with(strict());
    let session = session(&client, &registry.host(), &Access::default());
    let error = session.resolve(&tag("1.0.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EgressDenied, "{error}");
    assert!(error.to_string().contains(&other.host()), "{error}");
    assert!(other.requests().is_empty());

    registry.be_honest();
    let itself = Fault::Redirect(
        format!("/v2/{REPOSITORY}/manifests/{}", sha256_of(&registry)),
        307,
    );
    registry.script(Rule::on(Endpoint::Manifest).times(1).fault(itself));
    session.resolve(&tag("1.0.0")).await.unwrap();
}

fn sha256_of(registry: &FakeRegistry) -> String {
    registry.tag_digest(REPOSITORY, "1.0.0").unwrap()
}
