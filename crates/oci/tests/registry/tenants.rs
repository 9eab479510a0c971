// SPDX-License-Identifier: Apache-2.0
//! All sessions are those of one client, as in the controller. What is asserted is what the registry saw.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use wharf_oci::registry::{Access, Client, Tls};
use wharf_test_support::{
    FakeRegistry,
    registry::{Builder, Endpoint, FLUX_CONTENT, Seen, sha256},
    tls::{Authority, Identity, LOCAL},
};

use crate::support::*;

const PULLS: usize = 1000;
const AT_ONCE: usize = 100;

/// One who pulls, and how the registry calls that one.
struct Tenant {
    label: String,
    access: Access,
}

/// A registry on which each tenant has a repository, and a tag in one that all share. By path it is known whose
/// business a request was.
struct Shop {
    registry: FakeRegistry,
    owners: BTreeMap<String, String>,
    layers: BTreeMap<String, String>,
}

impl Shop {
    async fn open(builder: Builder, labels: &[&str]) -> Self {
        let registry = builder.start().await.unwrap();
        let (mut owners, mut layers) = (BTreeMap::new(), BTreeMap::new());
        for label in labels {
            let own = format!("own/t{}", &sha256(label.as_bytes())[7..20]);
            for repository in [own.as_str(), "shared/app"] {
                let tag = format!("t{}", &sha256(label.as_bytes())[7..20]);
                let layer = format!("{label} {repository}");
                let seeded = registry.push_artifact(repository, &tag, layer.clone(), FLUX_CONTENT);
                let place = format!("/v2/{repository}");
                for path in [
                    format!("{place}/manifests/{tag}"),
                    format!("{place}/manifests/{}", seeded.manifest_digest),
                    format!("{place}/blobs/{}", sha256(layer.as_bytes())),
                ] {
                    owners.insert(path, (*label).to_owned());
                }
                layers.insert(format!("{repository}:{tag}"), layer);
            }
        }
        Self {
            registry,
            owners,
            layers,
        }
    }

    async fn pull(&self, client: &Client, label: &str, is_shared: bool, access: &Access) {
        let tag_of = format!("t{}", &sha256(label.as_bytes())[7..20]);
        let repository = if is_shared {
            "shared/app".to_owned()
        } else {
            format!("own/{tag_of}")
        };
        let place = format!("{}/{repository}", self.registry.host());
        let session = client.session(place.parse().unwrap(), access).unwrap();
        let resolved = session.resolve(&tag(&tag_of)).await.unwrap();
        let image = session.image(&resolved).await.unwrap();
        let bytes = download(&session, &image.manifest.layers[0]).await.unwrap();
        let expected = &self.layers[&format!("{repository}:{tag_of}")];
        assert_eq!(bytes, expected.as_bytes());
    }

    /// Many pulls at once, those of the tenants in turn, of the shared repository and of their own. In the middle all
    /// tokens end.
    async fn crowd(&self, client: &Client, tenants: &[Tenant]) {
        for half in [0..PULLS / 2, PULLS / 2..PULLS] {
            stream::iter(half)
                .for_each_concurrent(AT_ONCE, |n| async move {
                    let tenant = &tenants[n % tenants.len()];
                    let is_shared = (n / tenants.len()).is_multiple_of(2);
                    self.pull(client, &tenant.label, is_shared, &tenant.access)
                        .await;
                })
                .await;
            self.registry.revoke_tokens();
        }
    }

    /// Requests that showed what was not that tenant's.
    fn crossings(&self, shown: impl Fn(&Seen) -> Option<&String>) -> Vec<String> {
        let requests = self.registry.requests();
        let crossed = requests.iter().filter(|seen| {
            let owner = self.owners.get(&seen.path);
            let is_shown = seen.authorization.is_some() || seen.certificate.is_some();
            owner.is_some() && is_shown && shown(seen) != owner
        });
        crossed
            .map(|seen| format!("{} by {:?}", seen.path, shown(seen)))
            .collect()
    }

    /// That the test could fail: each tenant was served often, by what only that tenant showed.
    fn assert_busy(&self, tenants: &[Tenant], shown: impl Fn(&Seen) -> Option<&String>) {
        let requests = self.registry.requests();
        let mut all = BTreeSet::new();
        for tenant in tenants {
            let served: Vec<_> = requests
                .iter()
                .filter(|seen| seen.status == Some(200) && shown(seen) == Some(&tenant.label))
                .filter(|seen| seen.endpoint != Some(Endpoint::Token))
                .collect();
            assert!(
                served.len() >= 2 * PULLS / tenants.len(),
                "{}",
                served.len()
            );
            for digest in served
                .iter()
                .map(|seen| &seen.authorization_digest)
                .collect::<BTreeSet<_>>()
            {
                assert!(digest.is_some(), "{:?}", served[0]);
                assert!(all.insert(digest.clone()), "shown by two: {digest:?}");
            }
        }
    }
}

/// Three with passwords of their own, two of them under the same name.
fn three() -> Vec<Tenant> {
    [
        ("one", "robot", "canary-1"),
        ("two", "robot", "canary-2"),
        ("three", "other", "canary-1"),
    ]
    .into_iter()
    .map(|(label, username, password)| Tenant {
        label: label.to_owned(),
        access: basic(username, password),
    })
    .collect()
}

fn with_three(builder: Builder) -> Builder {
    builder
        .tenant("two", "robot", "canary-2")
        .tenant("three", "other", "canary-1")
}

fn who(seen: &Seen) -> Option<&String> {
    seen.who.as_ref()
}

fn certificate(seen: &Seen) -> Option<&String> {
    seen.certificate.as_ref()
}

/// The first account has its user name as label.
fn renamed(mut tenants: Vec<Tenant>) -> Vec<Tenant> {
    tenants[0].label = "robot".into();
    tenants
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_ever_crosses() {
    let builder = with_three(FakeRegistry::builder().basic("robot", "canary-1"));
    let shop = Shop::open(builder, &["robot", "two", "three"]).await;
    let (client, tenants) = (client(), renamed(three()));
    shop.crowd(&client, &tenants).await;
    assert_eq!(shop.crossings(who), Vec::<String>::new());
    shop.assert_busy(&tenants, who);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_ever_crosses() {
    let builder = with_three(FakeRegistry::builder().bearer("robot", "canary-1"));
    let shop = Shop::open(builder, &["robot", "two", "three"]).await;
    let (client, tenants) = (client(), renamed(three()));
    shop.crowd(&client, &tenants).await;
    assert_eq!(shop.crossings(who), Vec::<String>::new());
    shop.assert_busy(&tenants, who);
    // Per tenant one for the shared repository and one for their own, and all once more after they ended.
    let given = shop.registry.requests_to(Endpoint::Token);
    assert_eq!(given.len(), 2 * 2 * tenants.len());
    let tokens = shop
        .registry
        .requests()
        .into_iter()
        .filter(|seen| seen.authorization.as_deref() == Some("Bearer"));
    let distinct: BTreeSet<_> = tokens.map(|seen| seen.authorization_digest).collect();
    assert_eq!(distinct.len(), given.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_given_for_a_certificate_ever_crosses() {
    let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
    let identities = [clients.client_named("one"), clients.client_named("two")];
    let tenants: Vec<_> = identities
        .iter()
        .map(|identity| Tenant {
            label: sha256(&identity.der()),
            access: showing(identity, &servers),
        })
        .collect();
    let labels: Vec<_> = tenants.iter().map(|tenant| tenant.label.as_str()).collect();
    // Nobody says a name: the token depends on the certificate alone.
    let builder = FakeRegistry::builder()
        .bearer("nobody", "canary")
        .anonymous_pull()
        .mutual_tls(&servers.leaf(LOCAL), &clients);
    let shop = Shop::open(builder, &labels).await;
    let client = client();
    shop.crowd(&client, &tenants).await;
    assert_eq!(shop.crossings(certificate), Vec::<String>::new());
    let without_token = |seen: &Seen| seen.authorization.is_none();
    let requests = shop.registry.requests();
    for seen in requests.iter().filter(|seen| !without_token(seen)) {
        assert_eq!(seen.who, seen.certificate, "{seen:?}");
    }
    shop.assert_busy(&tenants, who);
}

fn showing(identity: &Identity, servers: &Authority) -> Access {
    let pair = (
        identity.certificate_pem().as_bytes(),
        identity.key_pem().as_bytes(),
    );
    let tls = Tls::from_pem(
        Some(servers.pem().as_bytes()),
        Some(pair),
        "secret apps/tls",
    );
    Access {
        tls: tls.unwrap(),
        ..Access::default()
    }
}

#[tokio::test]
async fn a_crossing_would_be_seen() {
    let builder = with_three(FakeRegistry::builder().bearer("robot", "canary-1"));
    let shop = Shop::open(builder, &["robot", "two", "three"]).await;
    let tenants = three();
    shop.pull(&client(), "two", true, &tenants[1].access).await;
    assert!(shop.crossings(who).is_empty());
    // As if the client had taken the token of another tenant.
    shop.pull(&client(), "two", true, &tenants[2].access).await;
    let crossed = shop.crossings(who);
    assert_eq!(crossed.len(), 3, "{crossed:?}");
    assert!(
        crossed
            .iter()
            .all(|text| text.ends_with(r#"by Some("three")"#))
    );
}
