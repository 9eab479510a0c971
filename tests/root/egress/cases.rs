// SPDX-License-Identifier: Apache-2.0

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use wharf_oci::registry::{
    Client, Egress, Host, Hosts, Mirror, Options, RetryPolicy, Session, StrictEgress,
};
use wharf_test_support::{FakeRegistry, artifacts::layer, registry::FLUX_CONTENT};

use super::{
    canary::{Canary, PORTS},
    hops::{HOPS, Hop, REPOSITORY},
    namespace,
};

pub(crate) const REGISTRY: &str = "93.184.215.10:5000";
const STORAGE: &str = "93.184.215.20:5000";

/// What an address is by the design: whom it may be reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By nobody.
    Never,
    /// Without the strict rules; not by a redirect that writes it out.
    Internal,
    /// Without the strict rules.
    Special,
}

pub(crate) const PLACES: [(&str, Kind); 24] = [
    ("169.254.169.254", Kind::Never),
    ("169.254.170.2", Kind::Never),
    ("169.254.170.23", Kind::Never),
    ("169.254.1.1", Kind::Never),
    ("100.100.100.200", Kind::Never),
    ("168.63.129.16", Kind::Never),
    ("192.0.0.192", Kind::Never),
    ("fd00:ec2::254", Kind::Never),
    ("fd00:ec2::23", Kind::Never),
    ("fd20:ce::254", Kind::Never),
    ("fe80::a9fe:a9fe", Kind::Never),
    ("64:ff9b::a9fe:a9fe", Kind::Never),
    ("64:ff9b:1::a9fe:a9fe", Kind::Never),
    ("2002:a9fe:a9fe::1", Kind::Never),
    ("127.0.0.2", Kind::Internal),
    ("::1", Kind::Internal),
    ("10.0.0.1", Kind::Internal),
    ("172.16.0.1", Kind::Internal),
    ("192.168.0.1", Kind::Internal),
    ("fd12::1", Kind::Internal),
    ("100.64.0.1", Kind::Special),
    ("203.0.113.9", Kind::Special),
    ("198.18.0.1", Kind::Special),
    ("2001:db8::1", Kind::Special),
];

/// Whether the address is written out, or a name stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Out,
    AsName,
}

/// What `design.md` and the strict rules say of a case.
fn may_be_reached(is_strict: bool, kind: Kind, hop: Hop, written: Written) -> bool {
    match kind {
        _ if is_strict || hop.stays() => false,
        Kind::Never => false,
        Kind::Internal => !(hop.is_redirect() && written == Written::Out),
        Kind::Special => true,
    }
}

fn name(place: usize) -> String {
    format!("place-{place}.example")
}

pub(crate) fn written(place: usize, written: Written, port: u16) -> String {
    match (written, PLACES[place].0) {
        (Written::AsName, _) => format!("{}:{port}", name(place)),
        (Written::Out, v6) if v6.contains(':') => format!("[{v6}]:{port}"),
        (Written::Out, v4) => format!("{v4}:{port}"),
    }
}

/// The machine: all places are addresses of its own, have names, and somebody who counts.
pub(crate) async fn machine() -> (Vec<Canary>, tempfile::NamedTempFile) {
    let addresses: Vec<IpAddr> = PLACES.map(|(text, _)| text.parse().unwrap()).into();
    let own = [REGISTRY, STORAGE].map(|text| text.parse::<SocketAddr>().unwrap().ip());
    namespace::add_addresses(addresses.iter().copied().chain(own));
    let mut hosts = String::new();
    for (place, address) in addresses.iter().enumerate() {
        writeln!(hosts, "{address} {}", name(place)).unwrap();
    }
    hosts += "169.254.169.254 mixed.example\n93.184.215.20 mixed.example\n";
    let hosts = namespace::replace("/etc/hosts", &hosts);
    let mut canaries = Vec::new();
    for address in addresses {
        canaries.push(Canary::sit(address).await);
    }
    (canaries, hosts)
}

pub(crate) async fn registry_at(address: &str) -> FakeRegistry {
    let builder = FakeRegistry::builder().bind(address.parse().unwrap());
    let registry = builder.start().await.unwrap();
    let content = layer(&[("a.yaml", "kind: A\n")]);
    registry.push_artifact(REPOSITORY, "1.0.0", content, FLUX_CONTENT);
    registry
}

pub(crate) fn client(egress: Egress, hosts: Hosts) -> Client {
    Client::new(Options {
        egress,
        hosts,
        retry: RetryPolicy {
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..Options::default()
    })
    .unwrap()
}

fn session(client: &Client, host: &str, hop: Hop) -> Session {
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    client.session(repository, &hop.access()).unwrap()
}

/// The settings with a mirror of the registry.
fn mirrored(place: &str) -> Hosts {
    let host = Host {
        mirrors: vec![Mirror::parse(&format!("http://{place}"), true).unwrap()],
        ..Host::default()
    };
    Hosts::new([(REGISTRY.to_owned(), host)])
}

#[test]
fn forbidden_addresses_are_never_reached_and_others_as_the_design_allows() {
    if namespace::enter(
        "egress::cases::forbidden_addresses_are_never_reached_and_others_as_the_design_allows",
    ) {
        runtime().block_on(all_cases());
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

async fn all_cases() {
    let (mut canaries, _hosts) = machine().await;
    let registry = registry_at(REGISTRY).await;
    let (mut cases, mut expected) = (0, 0);
    for is_strict in [true, false] {
        let egress = if is_strict {
            Egress::strict(StrictEgress::default())
        } else {
            Egress::default()
        };
        let shared = client(egress.clone(), Hosts::default());
        let good = session(&shared, REGISTRY, Hop::Registry);
        Hop::Registry.go(&good).await.unwrap();
        for place in 0..PLACES.len() {
            for hop in HOPS {
                for how in [Written::Out, Written::AsName] {
                    let target = written(place, how, PORTS[cases % PORTS.len()]);
                    hop.lead(&registry, &target);
                    let host = match hop {
                        Hop::Registry => &target,
                        _ => REGISTRY,
                    };
                    let client = match hop {
                        Hop::Mirror => &client(egress.clone(), mirrored(&target)),
                        _ => &shared,
                    };
                    let canary = &mut canaries[place];
                    let before = canary.hits().await;
                    let outcome = hop.go(&session(client, host, hop)).await;
                    let hits = canary.hits().await - before;
                    let may = may_be_reached(is_strict, PLACES[place].1, hop, how);
                    let case = format!("strict {is_strict}: {hop:?} to {target}");
                    assert_eq!(hits > 0, may, "{case}: {hits} hits, {outcome:?}");
                    // Without its mirror the registry answers itself.
                    assert_eq!(outcome.is_ok(), hop == Hop::Mirror, "{case}: {outcome:?}");
                    registry.be_honest();
                    expected += hits;
                    cases += 1;
                }
            }
        }
        // Nothing came to an address that its own case did not look at.
        let mut total = 0;
        for canary in &mut canaries {
            total += canary.hits().await;
        }
        assert_eq!(total, expected);
        assert!(shared.dials().refused() > 0);
    }
    assert_eq!(cases, 24 * 11 * 2 * 2);
}

#[test]
fn a_name_with_a_forbidden_address_beside_a_good_one_leads_to_the_good_one_only() {
    if namespace::enter(
        "egress::cases::a_name_with_a_forbidden_address_beside_a_good_one_leads_to_the_good_one_only",
    ) {
        runtime().block_on(mixed());
    }
}

async fn mixed() {
    let (mut canaries, _hosts) = machine().await;
    let _storage = registry_at(STORAGE).await;
    for egress in [Egress::default(), Egress::strict(StrictEgress::default())] {
        let client = client(egress, Hosts::default());
        let mixed = session(&client, "mixed.example:5000", Hop::Registry);
        Hop::Registry.go(&mixed).await.unwrap();
        assert!(client.dials().refused() > 0);
    }
    assert_eq!(canaries[0].address, IpAddr::from([169, 254, 169, 254]));
    assert_eq!(canaries[0].hits().await, 0);
}

#[test]
fn the_program_reaches_no_forbidden_address_either() {
    if namespace::enter("egress::cases::the_program_reaches_no_forbidden_address_either") {
        runtime().block_on(program());
    }
}

/// Strict, and one that the strict rules alone refuse; then the same by default, where it is reached.
async fn program() {
    let (mut canaries, _hosts) = machine().await;
    let registry = registry_at(REGISTRY).await;
    let metadata = 0;
    let private = PLACES
        .iter()
        .position(|(text, _)| *text == "10.0.0.1")
        .unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for (number, (place, flags, is_reached)) in [
        (metadata, &["--strict-egress"][..], false),
        (metadata, &[], false),
        (metadata, &["--egress-allow=0.0.0.0/0"], false),
        (metadata, &["--egress-allow=169.254.169.254"], true),
        (private, &["--strict-egress"], false),
        (
            private,
            &["--strict-egress", "--egress-allow=10.0.0.0/24"],
            true,
        ),
        (private, &[], true),
    ]
    .into_iter()
    .enumerate()
    {
        let target = written(place, Written::AsName, 80);
        Hop::BlobRedirect.lead(&registry, &target);
        let before = canaries[place].hits().await;
        let target = scratch.path().join(number.to_string());
        let told = pull(flags, &target);
        let hits = canaries[place].hits().await - before;
        assert_eq!(hits > 0, is_reached, "{flags:?}: {hits} hits, {told}");
    }
    registry.be_honest();
    pull(&["--strict-egress"], &scratch.path().join("good"));
    assert!(scratch.path().join("good/a.yaml").exists());
}

fn pull(flags: &[&str], target: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["pull", "--insecure"])
        .args(flags)
        .arg(format!("{REGISTRY}/{REPOSITORY}:1.0.0"))
        .arg(target)
        .env_remove("HOME")
        .env_remove("DOCKER_CONFIG")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}
