// SPDX-License-Identifier: Apache-2.0
//! Hops after which the client does not even ask where they lead, and those that it can do without.

use wharf_oci::{
    Digest,
    registry::{
        Access, Client, Egress, Error, ErrorKind, Host, Hosts, Mirror, Options, Proxy, Refusal,
        Session, StrictEgress,
    },
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_INDEX, Rule},
};

use super::{ALWAYS, AT_HOME, LAYER, client_with, refused_for, session, strict};
use crate::support::*;

/// A first page that is honest but for where it says that the next one is.
fn page(endpoint: Endpoint, next: &str) -> Fault {
    let link = format!("<{next}>; rel=\"next\"");
    let (kind, body) = match endpoint {
        Endpoint::Tags => (
            "application/json",
            serde_json::json!({"name": REPOSITORY, "tags": ["1.0.0"]}),
        ),
        _ => (
            OCI_INDEX,
            serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
        ),
    };
    let headers = [("content-type", kind), ("link", link.as_str())];
    Fault::status_with(200, &headers, body.to_string())
}

async fn list(session: &Session, endpoint: Endpoint) -> Result<(), Error> {
    if endpoint == Endpoint::Referrers {
        let subject = Digest::sha256_of(LAYER);
        return session.referrers(&subject, None).await.map(drop);
    }
    let mut tags = session.tags();
    while tags.next_page().await?.is_some() {}
    Ok(())
}

/// Also where the address would be allowed: the pages of a list are those of one registry.
#[tokio::test]
async fn no_list_goes_on_at_another_host() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    let mut cases = 0;
    for rules in [Egress::default(), strict()] {
        let client = client_with(rules);
        let session = session(&client, &registry.host(), &Access::default());
        session.resolve(&tag("1.0.0")).await.unwrap();
        let before = client.dials();
        for (target, _) in ALWAYS.iter().chain(&AT_HOME) {
            for endpoint in [Endpoint::Tags, Endpoint::Referrers] {
                for scheme in ["http:", "https:", ""] {
                    let next = format!("{scheme}//{target}:1/v2/{REPOSITORY}/tags/list?last=a");
                    registry.be_honest();
                    registry.script(Rule::on(endpoint).fault(page(endpoint, &next)));
                    let error = list(&session, endpoint).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Protocol, "{next}: {error}");
                    assert!(error.to_string().contains(target), "{next}: {error}");
                    cases += 1;
                }
            }
        }
        assert_eq!(client.dials(), before);
    }
    assert_eq!(cases, 2 * 35 * 2 * 3);
}

fn client_of(rules: Egress, hosts: impl IntoIterator<Item = (String, Host)>) -> Client {
    Client::new(Options {
        egress: rules,
        hosts: Hosts::new(hosts),
        ..options()
    })
    .unwrap()
}

/// The settings are the operator's, and a mistake in them opens nothing; the registry itself answers.
#[tokio::test]
async fn mirrors_at_forbidden_addresses_are_passed_over() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    let mut cases = 0;
    for rules in [Egress::default(), strict()] {
        let at_home: &[_] = if rules.is_strict() { &AT_HOME } else { &[] };
        let targets = ALWAYS.iter().chain(at_home);
        let mirrors = targets.clone().flat_map(|(target, _)| {
            ["", "http://", "https://"]
                .map(|scheme| format!("{scheme}{target}:1/c{}", scheme.len()))
        });
        let host = Host {
            mirrors: mirrors
                .map(|place| Mirror::parse(&place, true).unwrap())
                .collect(),
            ..Host::default()
        };
        let client = client_of(rules, [(registry.host(), host)]);
        let session = session(&client, &registry.host(), &Access::default());
        assert_eq!(pull(&session).await.unwrap(), LAYER);
        let dials = client.dials();
        assert_eq!(dials.made, 2);
        for mirror in client.mirrors() {
            assert!(mirror.served == 0 && mirror.failed > 0, "{mirror:?}");
            cases += 1;
        }
        for (target, reason) in targets {
            let same = |(_, it): &&(&str, Refusal)| it == reason;
            let expected = 3 * ALWAYS.iter().chain(at_home).filter(same).count();
            let refused = usize::try_from(refused_for(&dials, *reason)).unwrap();
            assert!(refused >= expected, "{target}: {dials:?}");
        }
    }
    assert_eq!(cases, (24 + 35) * 3);
}

/// One host of the settings per address.
#[tokio::test]
async fn a_proxy_of_the_settings_at_a_forbidden_address_is_not_dialled() {
    for rules in [Egress::default(), strict()] {
        let name = |number: usize| format!("r{number}.example.org");
        let targets = ALWAYS.iter().enumerate();
        let hosts = targets.clone().map(|(number, (target, _))| {
            let proxy = Proxy::parse(&format!("http://{target}:1"), None, None);
            let host = Host {
                proxy: proxy.ok(),
                ..Host::default()
            };
            (name(number), host)
        });
        let listed = StrictEgress {
            proxied: vec!["*.example.org".parse().unwrap()],
            ..StrictEgress::default()
        };
        let rules = if rules.is_strict() {
            Egress::strict(listed)
        } else {
            rules
        };
        let client = client_of(rules, hosts);
        for (number, (target, reason)) in targets {
            let before = client.dials();
            let session = session(&client, &name(number), &Access::default());
            let error = pull(&session).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EgressDenied, "{target}: {error}");
            let after = client.dials();
            assert!(refused_for(&after, *reason) > refused_for(&before, *reason));
        }
        assert_eq!(client.dials().made, 0);
    }
}
