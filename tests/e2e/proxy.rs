// SPDX-License-Identifier: Apache-2.0
//! A registry that only a proxy can find: its name leads nowhere on this machine.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::layer;
use wharf_test_support::proxy::FakeProxy;
use wharf_test_support::registry::{FLUX_CONTENT, SeededArtifact};
use wharf_test_support::servers::{Launch, scratch};
use wharf_test_support::tls::Authority;

use crate::env;
use crate::objects::{ca_secret, tls_source};
use crate::world::{World, in_both_worlds};

in_both_worlds!(
    a_source_reaches_its_registry_through_the_proxy_of_its_secret_only,
    a_proxy_secret_that_cannot_be_used_is_told,
);

const NAME: &str = "registry.example";

struct Behind {
    authority: Authority,
    registry: FakeRegistry,
    pushed: SeededArtifact,
}

impl Behind {
    async fn new() -> Self {
        let authority = Authority::new("Test CA");
        let registry = FakeRegistry::builder().tls(&authority.leaf(&[NAME]));
        let registry = registry.start().await.unwrap();
        let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
        Self {
            authority,
            registry,
            pushed,
        }
    }

    fn host(&self) -> String {
        format!("{NAME}:{}", self.registry.addr().port())
    }

    fn source(&self, name: &str) -> Value {
        tls_source(name, &format!("oci://{}/app", self.host()))
    }

    fn source_through(&self, name: &str, secret: &str) -> Value {
        let mut source = self.source(name);
        source["spec"]["proxySecretRef"] = json!({"name": secret});
        source
    }

    /// Nothing but this registry was asked for.
    fn assert_asked(&self, proxy: &FakeProxy) {
        let asked = proxy.asked();
        assert!(!asked.is_empty());
        for asked in asked {
            assert_eq!(asked.target, self.host(), "{asked:?}");
        }
    }
}

type Entries<'a> = &'a [(&'a str, &'a str)];

fn proxy_secret(name: &str, entries: Entries<'_>) -> Value {
    let mut secret = ca_secret(name, "");
    secret["data"] = json!({});
    for (key, value) in entries {
        secret["data"][key] = json!(STANDARD.encode(value));
    }
    secret
}

async fn a_source_reaches_its_registry_through_the_proxy_of_its_secret_only(world: World) {
    let behind = Behind::new().await;
    let proxy = FakeProxy::start_with_login("robot", "right-one");
    proxy.lead(NAME, behind.registry.addr());
    world.apply(ca_secret("ca", behind.authority.pem())).await;
    let entries = |address: &str, password: &str| {
        proxy_secret(
            "proxy",
            &[
                ("address", address),
                ("username", "robot"),
                ("password", password),
            ],
        )
    };
    world.apply(entries(&proxy.url(), "hunter2-wrong")).await;
    world.apply(behind.source_through("app", "proxy")).await;
    let words = ["refused the username and password", &proxy.url()];
    let object = world.failed("app", "OCIArtifactPullFailed", &words).await;
    assert!(!object.to_string().contains("hunter2-wrong"));
    assert!(behind.registry.requests().is_empty());

    for address in [proxy.url(), proxy.socks_url()] {
        world.apply(entries(&address, "right-one")).await;
        let pushed =
            behind
                .registry
                .push_artifact("app", "1.0.0", layer(&[("a", &address)]), FLUX_CONTENT);
        world.ready_at("app", &pushed.revision()).await;
    }
    behind.assert_asked(&proxy);
    for method in ["CONNECT", "SOCKS5"] {
        assert!(proxy.asked().iter().any(|asked| asked.method == method));
    }

    // A proxy that is gone is not gone around.
    let address = proxy.socks_url();
    drop(proxy);
    behind
        .registry
        .push_artifact("app", "1.0.0", layer(&[("a", "3")]), FLUX_CONTENT);
    world
        .failed("app", "OCIArtifactPullFailed", &[&address])
        .await;
    let log = world.wharf.log();
    assert!(!log.contains("hunter2-wrong") && !log.contains("right-one"));
}

async fn a_proxy_secret_that_cannot_be_used_is_told(world: World) {
    let behind = Behind::new().await;
    let cases: [(&str, Entries<'_>, &str); 3] = [
        (
            "wrong-key",
            &[("url", "http://p")],
            "has the keys [url], it wants 'address'",
        ),
        (
            "wrong-scheme",
            &[("address", "ftp://hunter2")],
            "expected http, https or socks5",
        ),
        (
            "wrong-text",
            &[("address", "hunter2")],
            "not a URL of the form",
        ),
    ];
    world.apply(ca_secret("ca", behind.authority.pem())).await;
    for (name, entries, _) in cases {
        world.apply(proxy_secret(name, entries)).await;
        world.apply(behind.source_through(name, name)).await;
    }
    world
        .apply(behind.source_through("missing", "nobody"))
        .await;
    for (name, _, words) in cases {
        let place = format!("secret {}/{name}", world.namespace);
        let words = ["failed to get proxy address: ", words, &place];
        let object = world.failed(name, "AuthenticationFailed", &words).await;
        assert!(
            !object["status"].to_string().contains("hunter2"),
            "{object}"
        );
    }
    let words = ["failed to get proxy address: ", "nobody"];
    world
        .failed("missing", "AuthenticationFailed", &words)
        .await;
    assert!(behind.registry.requests().is_empty());
}

fn with_environment(run: Launch, proxy: &FakeProxy, no_proxy: &str) -> Launch {
    run.env("HTTPS_PROXY", proxy.url())
        .env("https_proxy", "")
        .env("NO_PROXY", no_proxy)
        .env("no_proxy", "")
}

#[tokio::test]
async fn the_environment_names_a_proxy_for_all_sources_and_a_secret_replaces_it() {
    let behind = Behind::new().await;
    let (common, own) = (FakeProxy::start(), FakeProxy::start());
    for proxy in [&common, &own] {
        proxy.lead(NAME, behind.registry.addr());
    }
    let run = env::wharf().arg("run");
    let world = World::standalone_with(with_environment(run.clone(), &common, "")).await;
    world.apply(ca_secret("ca", behind.authority.pem())).await;
    world.apply(behind.source("app")).await;
    world.ready_at("app", &behind.pushed.revision()).await;
    behind.assert_asked(&common);
    world.delete("app").await;
    drop(world);
    let so_far = common.asked().len();

    // What the environment exempts goes past its proxy, and not past that of a secret.
    let world = World::standalone_with(with_environment(run, &common, ".example")).await;
    world.apply(ca_secret("ca", behind.authority.pem())).await;
    let entries = [("address", own.url())];
    let entries = entries
        .each_ref()
        .map(|(key, value)| (*key, value.as_str()));
    world.apply(proxy_secret("proxy", &entries)).await;
    world.apply(behind.source("direct")).await;
    world.apply(behind.source_through("through", "proxy")).await;
    world.ready_at("through", &behind.pushed.revision()).await;
    world
        .failed(
            "direct",
            "OCIArtifactPullFailed",
            &["could not be resolved"],
        )
        .await;
    behind.assert_asked(&own);
    assert_eq!(common.asked().len(), so_far);
}

#[tokio::test]
async fn the_command_line_goes_through_the_proxy_of_the_environment() {
    let behind = Behind::new().await;
    let proxy = FakeProxy::start();
    proxy.lead(NAME, behind.registry.addr());
    let folder = scratch("proxy");
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, behind.authority.pem()).unwrap();
    let pull = |name: &str| {
        env::wharf()
            .args(["pull", &format!("{}/app:1.0.0", behind.host())])
            .arg(folder.path().join(name))
    };
    let verified = pull("verified").arg("--ca-file").arg(&ca);
    let done = with_environment(verified.clone(), &proxy, "")
        .output("")
        .await;
    assert!(done.status.success(), "{done:?}");
    behind.assert_asked(&proxy);
    let unverified = pull("unverified").arg("--insecure-skip-tls-verify");
    let done = with_environment(unverified, &proxy, "").output("").await;
    assert!(done.status.success(), "{done:?}");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        told.contains("warning: --insecure-skip-tls-verify"),
        "{told}"
    );

    let broken = verified.env("HTTPS_PROXY", "ftp://hunter2:1");
    let done = broken.output("").await;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(
        told.contains("HTTPS_PROXY") && !told.contains("hunter2"),
        "{told}"
    );
}
