// SPDX-License-Identifier: Apache-2.0

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use bytes::Bytes;
use wharf_oci::{
    Descriptor, Digest,
    registry::{
        Access, Client, Content, Egress, Error, Options, RetryPolicy, Session, StrictEgress,
        Target, Transport,
    },
};
use wharf_test_support::{
    FakeRegistry,
    artifacts::layer,
    registry::{Endpoint, FLUX_CONTENT, Fault, Rule},
};

use super::{
    canary::{Canary, PORTS},
    namespace,
};

const REGISTRY: &str = "93.184.215.10:5000";
const STORAGE: &str = "93.184.215.20:5000";
const REPOSITORY: &str = "team/app";

/// What an address is by the design: whom it may be reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// By nobody.
    Never,
    /// Without the strict rules; not by a redirect that writes it out.
    Internal,
    /// Without the strict rules.
    Special,
}

const PLACES: [(&str, Kind); 24] = [
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Registry,
    ManifestRedirect,
    BlobRedirect,
    Realm,
    RealmRedirect,
    UploadPlace,
}

const HOPS: [Hop; 6] = [
    Hop::Registry,
    Hop::ManifestRedirect,
    Hop::BlobRedirect,
    Hop::Realm,
    Hop::RealmRedirect,
    Hop::UploadPlace,
];

/// Whether the address is written out, or a name stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Out,
    AsName,
}

/// What `design.md` and the strict rules say of a case.
fn may_be_reached(is_strict: bool, kind: Kind, hop: Hop, written: Written) -> bool {
    let is_redirect = matches!(
        hop,
        Hop::ManifestRedirect | Hop::BlobRedirect | Hop::UploadPlace
    );
    match (hop, kind) {
        _ if is_strict => false,
        (_, Kind::Never) | (Hop::RealmRedirect, _) => false,
        (_, Kind::Internal) => !(is_redirect && written == Written::Out),
        (_, Kind::Special) => true,
    }
}

fn name(place: usize) -> String {
    format!("place-{place}.example")
}

fn written(place: usize, written: Written, port: u16) -> String {
    match (written, PLACES[place].0) {
        (Written::AsName, _) => format!("{}:{port}", name(place)),
        (Written::Out, v6) if v6.contains(':') => format!("[{v6}]:{port}"),
        (Written::Out, v4) => format!("{v4}:{port}"),
    }
}

/// The machine: all places are addresses of its own, have names, and somebody who counts.
async fn machine() -> (Vec<Canary>, tempfile::NamedTempFile) {
    let addresses: Vec<IpAddr> = PLACES.map(|(text, _)| text.parse().unwrap()).into();
    let own = [REGISTRY, STORAGE].map(|text| text.parse::<SocketAddr>().unwrap().ip());
    namespace::add_addresses(addresses.iter().copied().chain(own));
    let mut hosts = String::new();
    for (place, address) in addresses.iter().enumerate() {
        hosts += &format!("{address} {}\n", name(place));
    }
    hosts += "169.254.169.254 mixed.example\n93.184.215.20 mixed.example\n";
    let hosts = namespace::replace("/etc/hosts", &hosts);
    let mut canaries = Vec::new();
    for address in addresses {
        canaries.push(Canary::sit(address).await);
    }
    (canaries, hosts)
}

async fn registry_at(address: &str) -> FakeRegistry {
    let builder = FakeRegistry::builder().bind(address.parse().unwrap());
    let registry = builder.start().await.unwrap();
    let content = layer(&[("a.yaml", "kind: A\n")]);
    registry.push_artifact(REPOSITORY, "1.0.0", content, FLUX_CONTENT);
    registry
}

fn lead(registry: &FakeRegistry, hop: Hop, target: &str) {
    registry.be_honest();
    let scheme = if target.ends_with(":443") {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{target}/v2/{REPOSITORY}/x");
    let away = Fault::Redirect(url.clone(), 307);
    let challenge = |realm: &str| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let refusal = Fault::status_with(401, &[("www-authenticate", &challenge)], "");
        registry.script(Rule::on(Endpoint::Manifest).fault(refusal));
    };
    match hop {
        Hop::Registry => {}
        Hop::ManifestRedirect => registry.script(Rule::on(Endpoint::Manifest).fault(away)),
        Hop::BlobRedirect => registry.script(Rule::on(Endpoint::Blob).get().fault(away)),
        Hop::Realm => challenge(&url),
        Hop::RealmRedirect => {
            challenge(&format!("{}/token", registry.base_url()));
            registry.script(Rule::on(Endpoint::Token).fault(away));
        }
        Hop::UploadPlace => {
            let place = Fault::status_with(202, &[("location", &url)], "");
            registry.script(Rule::on(Endpoint::Upload).fault(place));
        }
    }
}

async fn go(session: &Session, hop: Hop) -> Result<(), Error> {
    if hop == Hop::UploadPlace {
        let content = Bytes::from_static(b"new");
        let descriptor = Descriptor::new(
            "application/octet-stream",
            Digest::sha256_of(&content),
            content.len() as u64,
        );
        return session
            .push_blob(&descriptor, &Content::Bytes(content))
            .await
            .map(drop);
    }
    let resolved = session
        .resolve(&Target::Tag("1.0.0".parse().unwrap()))
        .await?;
    let image = session.image(&resolved).await?;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().unwrap());
    session.download(&image.manifest.layers[0], &mut file).await
}

fn client(egress: Egress) -> Client {
    Client::new(Options {
        egress,
        retry: RetryPolicy {
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..Options::default()
    })
    .unwrap()
}

fn session(client: &Client, host: &str) -> Session {
    let access = Access {
        transport: Transport::PlainHttpAllowed,
        ..Access::default()
    };
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    client.session(repository, &access).unwrap()
}

#[test]
fn forbidden_addresses_are_never_reached_and_others_as_the_design_allows() {
    if namespace::enter(
        "egress::cases::forbidden_addresses_are_never_reached_and_others_as_the_design_allows",
    ) {
        runtime().block_on(all_cases());
    }
}

fn runtime() -> tokio::runtime::Runtime {
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
        let client = client(egress);
        go(&session(&client, REGISTRY), Hop::Registry)
            .await
            .unwrap();
        for place in 0..PLACES.len() {
            for hop in HOPS {
                for how in [Written::Out, Written::AsName] {
                    let target = written(place, how, PORTS[cases % PORTS.len()]);
                    lead(&registry, hop, &target);
                    let host = if hop == Hop::Registry {
                        &target
                    } else {
                        REGISTRY
                    };
                    let canary = &mut canaries[place];
                    let before = canary.hits().await;
                    let outcome = go(&session(&client, host), hop).await;
                    let hits = canary.hits().await - before;
                    let may = may_be_reached(is_strict, PLACES[place].1, hop, how);
                    let case = format!("strict {is_strict}: {hop:?} to {target}");
                    assert_eq!(hits > 0, may, "{case}: {hits} hits, {outcome:?}");
                    outcome.expect_err(&case);
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
        assert!(client.dials().refused() > 0);
    }
    assert_eq!(cases, 24 * 6 * 2 * 2);
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
        let client = client(egress);
        go(&session(&client, "mixed.example:5000"), Hop::Registry)
            .await
            .unwrap();
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
        lead(
            &registry,
            Hop::BlobRedirect,
            &written(place, Written::AsName, 80),
        );
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
