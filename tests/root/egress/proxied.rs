// SPDX-License-Identifier: Apache-2.0
//! The same machine with a proxy on it that dials whatever it is asked for: what it should not be asked for, it would reach.

use wharf_oci::registry::{
    Access, Client, Egress, Hosts, Proxy, ProxyChoice, Session, StrictEgress,
};
use wharf_test_support::proxy::FakeProxy;

use super::{
    canary::{Canary, PORTS},
    cases::{Kind, PLACES, REGISTRY, Written, client, machine, registry_at, runtime, written},
    hops::{HOPS, Hop, REPOSITORY},
    namespace,
};

fn through(proxy: &str, access: Access) -> Access {
    Access {
        proxy: ProxyChoice::Through(Proxy::parse(proxy, None, None).unwrap()),
        ..access
    }
}

fn session(client: &Client, host: &str, access: &Access) -> Session {
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    client.session(repository, access).unwrap()
}

/// What the test's own proxy and registry need to be used.
fn rules(is_strict: bool) -> Egress {
    let registry = ["127.0.0.1", "93.184.215.10"].map(|address| address.parse().unwrap());
    let rules = if is_strict {
        Egress::strict(StrictEgress::default())
    } else {
        Egress::default()
    };
    rules.allowing(registry)
}

/// Names are the proxy's to resolve, by default; what is written as an address is held to the rules for addresses.
fn may_be_asked_for(is_strict: bool, kind: Kind, hop: Hop, written: Written) -> bool {
    match (kind, written) {
        _ if is_strict || hop.stays() => false,
        (Kind::Never, Written::Out) => false,
        (Kind::Internal, Written::Out) => !hop.is_redirect(),
        (Kind::Special, Written::Out) | (_, Written::AsName) => true,
    }
}

#[test]
fn a_proxy_leads_to_no_forbidden_address_and_nothing_goes_past_it() {
    if namespace::enter(
        "egress::proxied::a_proxy_leads_to_no_forbidden_address_and_nothing_goes_past_it",
    ) {
        runtime().block_on(targets());
    }
}

async fn targets() {
    let (mut canaries, _hosts) = machine().await;
    let registry = registry_at(REGISTRY).await;
    let proxy = FakeProxy::start();
    let (mut cases, mut allowed) = (0, 0);
    for is_strict in [true, false] {
        for address in [proxy.url(), proxy.socks_url()] {
            let client = client(rules(is_strict), Hosts::default());
            for place in 0..PLACES.len() {
                // Mirrors have routes of their own.
                for hop in HOPS.into_iter().filter(|hop| *hop != Hop::Mirror) {
                    for how in [Written::Out, Written::AsName] {
                        let target = written(place, how, PORTS[cases % PORTS.len()]);
                        hop.lead(&registry, &target);
                        let host = match hop {
                            Hop::Registry => &target,
                            _ => REGISTRY,
                        };
                        let (before, made) = (canaries[place].hits().await, client.dials().made);
                        let asked = proxy.asked().len();
                        let access = through(&address, hop.access());
                        let outcome = hop.go(&session(&client, host, &access)).await;
                        let case = format!("strict {is_strict}, {address}: {hop:?} to {target}");
                        let error = outcome.expect_err(&case);
                        let asked = &proxy.asked()[asked..];
                        let is_asked = asked
                            .iter()
                            .any(|asked| asked.target.contains(host_of(&target)));
                        let may = may_be_asked_for(is_strict, PLACES[place].1, hop, how);
                        assert_eq!(is_asked, may, "{case}: {error} {asked:?}");
                        // The proxy is all that was dialled.
                        let made = usize::try_from(client.dials().made - made).unwrap();
                        assert_eq!(made, asked.len(), "{case}: {error}");
                        let hits = canaries[place].hits().await - before;
                        assert!(hits == 0 || may, "{case}: {hits} hits");
                        allowed += hits;
                        cases += 1;
                    }
                }
            }
        }
        if is_strict {
            assert_eq!(allowed, 0);
        }
    }
    assert_eq!(total(&mut canaries).await, allowed);
    assert_eq!(cases, 2 * 2 * 24 * 10 * 2);
    assert!(allowed > 0);
}

#[test]
fn a_proxy_at_a_forbidden_address_is_not_dialled() {
    if namespace::enter("egress::proxied::a_proxy_at_a_forbidden_address_is_not_dialled") {
        runtime().block_on(proxies());
    }
}

async fn proxies() {
    let (mut canaries, _hosts) = machine().await;
    let registry = registry_at(REGISTRY).await;
    let (mut cases, mut allowed) = (0, 0);
    for is_strict in [true, false] {
        let client = client(rules(is_strict), Hosts::default());
        for place in 0..PLACES.len() {
            for scheme in ["http", "https", "socks5"] {
                for how in [Written::Out, Written::AsName] {
                    let place_of = written(place, how, PORTS[cases % PORTS.len()]);
                    let address = format!("{scheme}://{place_of}");
                    let access = through(&address, Hop::Registry.access());
                    let before = canaries[place].hits().await;
                    let outcome = Hop::Registry.go(&session(&client, REGISTRY, &access)).await;
                    let hits = canaries[place].hits().await - before;
                    let may = !is_strict && PLACES[place].1 != Kind::Never;
                    let case = format!("strict {is_strict}: {address}");
                    assert_eq!(hits > 0, may, "{case}: {hits} hits, {outcome:?}");
                    outcome.expect_err(&case);
                    allowed += hits;
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(total(&mut canaries).await, allowed);
    assert!(registry.requests().is_empty());
    assert_eq!(cases, 2 * 24 * 3 * 2);
}

/// As every form of request to a proxy has it.
fn host_of(target: &str) -> &str {
    let (host, _) = target.rsplit_once(':').unwrap();
    host.trim_start_matches('[').trim_end_matches(']')
}

async fn total(canaries: &mut [Canary]) -> u64 {
    let mut total = 0;
    for canary in canaries {
        total += canary.hits().await;
    }
    total
}
