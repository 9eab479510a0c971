// SPDX-License-Identifier: Apache-2.0
//! The same rules where a proxy dials: what it is never asked for, that nothing goes past it, and where it may be itself.

use wharf_oci::registry::{
    Access, Client, Egress, ErrorKind, Options, Proxy, ProxyChoice, ProxyRules, Refusal, Session,
    StrictEgress, Transport,
};
use wharf_test_support::{
    FakeRegistry,
    proxy::FakeProxy,
    registry::{Endpoint, Fault, Rule, sha256},
};

use super::{
    ALWAYS, AT_HOME, LAYER, client_with,
    hops::{HOPS, Hop},
    listed, refused_for,
};
use crate::support::*;

/// Where the registry is, for the proxy alone.
const NAME: &str = "registry.example";

/// What some clouds call their metadata service, and what no resolver takes but a proxy might.
const NAMES: [(&str, Refusal); 8] = [
    ("metadata.google.internal", Refusal::CloudMetadata),
    ("Metadata.Google.Internal", Refusal::CloudMetadata),
    ("metadata.google.internal.", Refusal::CloudMetadata),
    ("metadata.goog", Refusal::CloudMetadata),
    ("instance-data", Refusal::CloudMetadata),
    ("instance-data.ec2.internal", Refusal::CloudMetadata),
    ("169.254.169.254.", Refusal::CloudMetadata),
    ("0xa9.0376.43518", Refusal::CloudMetadata),
];

/// How a proxy is asked for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tunnel,
    WholeUrl,
    Socks,
}

const FORMS: [Form; 3] = [Form::Tunnel, Form::WholeUrl, Form::Socks];

impl Form {
    fn scheme(self) -> &'static str {
        match self {
            Self::Tunnel => "https",
            Self::WholeUrl | Self::Socks => "http",
        }
    }

    fn url_of(self, proxy: &FakeProxy) -> String {
        match self {
            Self::Socks => proxy.socks_url(),
            Self::Tunnel | Self::WholeUrl => proxy.url(),
        }
    }
}

/// A registry in plain HTTP that is known to the proxy only.
struct Behind {
    registry: FakeRegistry,
    proxy: FakeProxy,
}

impl Behind {
    async fn start() -> Self {
        let (registry, proxy) = (FakeRegistry::start().await, FakeProxy::start());
        seed(&registry, LAYER);
        proxy.lead(NAME, registry.addr());
        Self { registry, proxy }
    }

    fn host(&self) -> String {
        format!("{NAME}:{}", self.registry.addr().port())
    }

    fn session(&self, client: &Client, host: &str, form: Form, access: Access) -> Session {
        let proxy = Proxy::parse(&form.url_of(&self.proxy), None, None).unwrap();
        let is_home = host == self.host();
        let access = Access {
            proxy: ProxyChoice::Through(proxy),
            transport: match form {
                Form::Tunnel if !is_home => Transport::Https,
                _ => Transport::PlainHttpAllowed,
            },
            ..access
        };
        let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
        client.session(repository, &access).unwrap()
    }

    /// One case: the proxy is asked for the registry at most, each dial is to the proxy, the refusal is told and counted
    /// (unless no other host was to be asked at all).
    async fn assert_not_asked(&self, client: &Client, form: Form, hop: Hop, bad: (&str, Refusal)) {
        let (target, reason) = bad;
        let place = format!("{target}:1");
        hop.lead(&self.registry, &format!("{}://{place}/x", form.scheme()));
        let own = self.host();
        let host = if hop == Hop::Registry { &place } else { &own };
        let session = self.session(client, host, form, hop.access());
        let (before, asked) = (client.dials(), self.proxy.asked().len());
        let outcome = hop.go(&session).await;
        let case = format!("{form:?}: {hop:?} to {target}");
        // Whatever is served is told of by its case.
        let error = outcome.map(|()| case.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EgressDenied, "{case}: {error}");
        let (after, all) = (client.dials(), self.proxy.asked());
        let refused = refused_for(&after, reason) - refused_for(&before, reason);
        let is_elsewhere = error.to_string().contains("not a blob");
        assert!(refused > 0 || is_elsewhere, "{case}: {after:?}");
        for asked in &all[asked..] {
            let rest = asked.target.trim_start_matches("http://");
            assert!(rest.starts_with(&own), "{case}: {asked:?}");
        }
        let dialled = usize::try_from(after.made - before.made).unwrap();
        assert_eq!(dialled, all.len() - asked, "{case}");
    }
}

/// Strict, with the test's proxy and the registry behind it as what the operator lists.
fn strict() -> Egress {
    let proxied = vec![NAME.parse().unwrap(), "*.listed.example".parse().unwrap()];
    let rules = StrictEgress {
        proxied,
        ..StrictEgress::default()
    };
    Egress::strict(rules).allowing([listed("127.0.0.1")])
}

#[tokio::test]
async fn a_proxy_is_not_asked_for_a_forbidden_address_however_it_is_written() {
    let mut cases = 0;
    for egress in [Egress::default(), strict()] {
        let behind = Behind::start().await;
        let is_strict = egress.is_strict();
        let client = client_with(egress);
        let at_home: &[_] = if is_strict { &AT_HOME } else { &[] };
        for bad in ALWAYS.iter().chain(&NAMES).chain(at_home) {
            for hop in HOPS {
                // Over plain HTTP nothing is posted under the strict rules.
                if is_strict && hop == Hop::TokenPost {
                    continue;
                }
                for form in FORMS {
                    // A repository has no name with a dot at its end.
                    if hop == Hop::Registry && bad.0.ends_with('.') {
                        continue;
                    }
                    behind.assert_not_asked(&client, form, hop, *bad).await;
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, ((32 * 7 - 2) + (43 * 6 - 2)) * 3);
}

#[tokio::test]
async fn under_the_strict_rules_a_proxy_is_asked_for_listed_hosts_only() {
    let behind = Behind::start().await;
    let client = client_with(strict());
    let mut cases = 0;
    for target in [
        "other.example",
        "8.8.8.8",
        "0x08080808",
        "[2606:4700::1]",
        "[::ffff:8.8.8.8]",
        "listed.example",
        "registry.example.evil.example",
        "evil-registry.example",
        "metadata.listed.example.evil",
    ] {
        for hop in HOPS.into_iter().filter(|hop| *hop != Hop::TokenPost) {
            for form in FORMS {
                let bad = (target, Refusal::NotListed);
                behind.assert_not_asked(&client, form, hop, bad).await;
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 9 * 6 * 3);
    behind.registry.be_honest();
    for form in FORMS {
        let session = behind.session(&client, &behind.host(), form, Access::default());
        assert_eq!(pull(&session).await.unwrap(), LAYER);
    }
}

/// As in Flux: names, and addresses that would be dialled directly, are the proxy's to judge.
#[tokio::test]
async fn by_default_a_proxy_is_asked_for_any_other_host() {
    for form in FORMS {
        let behind = Behind::start().await;
        let storage = FakeRegistry::start().await;
        seed(&storage, LAYER);
        behind.proxy.lead("storage.example", storage.addr());
        behind.proxy.lead("10.0.0.1", behind.registry.addr());
        let client = client_with(Egress::default());
        let url = format!(
            "http://storage.example:1/v2/{REPOSITORY}/blobs/{}",
            sha256(LAYER)
        );
        let away = Fault::Redirect(url, 307);
        behind.registry.script(Rule::on(Endpoint::Blob).fault(away));
        let session = behind.session(&client, "10.0.0.1:5000", Form::WholeUrl, Access::default());
        assert_eq!(pull(&session).await.unwrap(), LAYER, "{form:?}");
        assert_eq!(storage.requests_to(Endpoint::Blob).len(), 1);
        assert_eq!(client.dials().refused(), 0);
    }
}

/// The source's own proxy.
#[tokio::test]
async fn a_proxy_at_a_forbidden_address_is_not_dialled() {
    let mut cases = 0;
    for rules in [Egress::default(), strict()] {
        let at_home: &[_] = if rules.is_strict() { &AT_HOME } else { &[] };
        let client = client_with(rules);
        for (target, reason) in ALWAYS.iter().chain(at_home) {
            for scheme in ["http", "https", "socks5"] {
                let address = format!("{scheme}://robot:secret@{target}:1");
                let (choice, _) = told(&address, false);
                assert_not_dialled(&client, choice, (&address, *reason)).await;
                cases += 1;
            }
        }
    }
    assert_eq!(cases, (24 + 35) * 3);
}

#[tokio::test]
async fn a_proxy_of_the_environment_at_a_forbidden_address_is_not_dialled() {
    for rules in [Egress::default(), strict()] {
        for (target, reason) in ALWAYS.into_iter().step_by(6) {
            for scheme in ["http", "https", "socks5"] {
                let address = format!("{scheme}://robot:secret@{target}:1");
                let (choice, proxy) = told(&address, true);
                let client = Client::new(Options {
                    egress: rules.clone(),
                    proxy,
                    ..options()
                });
                assert_not_dialled(&client.unwrap(), choice, (&address, reason)).await;
            }
        }
    }
}

async fn assert_not_dialled(client: &Client, choice: ProxyChoice, bad: (&str, Refusal)) {
    let (address, reason) = bad;
    let access = Access {
        proxy: choice,
        transport: Transport::PlainHttpAllowed,
        ..Access::default()
    };
    let repository = format!("{NAME}/{REPOSITORY}").parse().unwrap();
    let session = client.session(repository, &access).unwrap();
    let before = client.dials();
    let error = pull(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EgressDenied, "{address}: {error}");
    let text = everything(&error);
    assert!(
        text.contains("the proxy") && !text.contains("secret"),
        "{text}"
    );
    let after = client.dials();
    assert!(
        refused_for(&after, reason) > refused_for(&before, reason),
        "{address}: {after:?}"
    );
    assert_eq!(after.made, 0, "{address}");
}

fn told(address: &str, is_environment: bool) -> (ProxyChoice, ProxyRules) {
    if !is_environment {
        let proxy = Proxy::parse(address, None, None).unwrap();
        return (ProxyChoice::Through(proxy), ProxyRules::default());
    }
    let value = |name: &str| {
        let is_ours = name == "HTTP_PROXY" || name == "HTTPS_PROXY";
        is_ours.then(|| address.to_owned())
    };
    (
        ProxyChoice::Default,
        ProxyRules::from_variables(value).unwrap(),
    )
}

/// The registry is behind a proxy with a password, the storage is reached directly: loopback never is behind one.
#[tokio::test]
async fn the_password_of_a_proxy_does_not_go_where_a_redirect_leads_without_it() {
    let proxy = FakeProxy::start_with_login("robot", "secret");
    let (registry, storage) = (FakeRegistry::start().await, FakeRegistry::start().await);
    seed(&registry, LAYER);
    seed(&storage, LAYER);
    proxy.lead(NAME, registry.addr());
    let url = format!(
        "{}/v2/{REPOSITORY}/blobs/{}",
        storage.base_url(),
        sha256(LAYER)
    );
    let away = Fault::Redirect(url, 307);
    registry.script(Rule::on(Endpoint::Blob).fault(away));
    let (choice, rules) = told(&proxy.url().replace("://", "://robot:secret@"), true);
    let client = Client::new(Options {
        egress: Egress::default().allowing([listed("127.0.0.1")]),
        proxy: rules,
        ..options()
    });
    let access = Access {
        proxy: choice,
        transport: Transport::PlainHttpAllowed,
        ..Access::default()
    };
    let host = format!("{NAME}:{}", registry.addr().port());
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    let session = client.unwrap().session(repository, &access).unwrap();
    assert_eq!(pull(&session).await.unwrap(), LAYER);
    assert_eq!(storage.requests_to(Endpoint::Blob).len(), 1);
    for seen in [registry.requests(), storage.requests()].concat() {
        assert!(!seen.proxy_authorization, "{seen:?}");
    }
    for asked in proxy.asked() {
        assert!(asked.target.contains(NAME), "{asked:?}");
        assert_eq!(asked.login.as_deref(), Some("robot:secret"));
    }
}
