// SPDX-License-Identifier: Apache-2.0
//! The settings file of registries: mirrors, trust, proxies and bounds that hold for every source of a host.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::layer;
use wharf_test_support::proxy::FakeProxy;
use wharf_test_support::registry::{
    Endpoint, FLUX_CONTENT, Fault, Gate, Rule, SeededArtifact, Seen,
};
use wharf_test_support::servers::{Launch, eventually, scratch};
use wharf_test_support::tls::Authority;

use crate::env;
use crate::objects::{condition, docker_secret, is_ready, source};
use crate::world::World;

/// A settings file and what it names, in a folder of its own.
struct Settings(TempDir);

impl Settings {
    fn new(hosts: &Value) -> Self {
        let settings = Self(scratch("settings"));
        let document = serde_saphyr::to_string(&json!({"hosts": hosts})).unwrap();
        settings.put("registries.yaml", &document);
        settings
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, command: &str) -> Launch {
        let file = self.0.path().join("registries.yaml");
        env::wharf()
            .args([command, "--log-level=debug"])
            .arg("--registries-config")
            .arg(file)
    }

    async fn world(&self) -> World {
        World::standalone_with(self.run("run")).await
    }
}

/// The registry that sources name, with a password.
async fn upstream() -> FakeRegistry {
    let registry = FakeRegistry::builder().basic("robot", "source-secret");
    registry.tag_page(2).start().await.unwrap()
}

async fn login(world: &World, registry: &FakeRegistry) {
    let secret = docker_secret("login", &registry.host(), "robot", "source-secret");
    world.apply(secret).await;
}

fn source_of(registry: &FakeRegistry) -> Value {
    let mut source = source("app", &registry.url("app"));
    source["spec"]["secretRef"] = json!({"name": "login"});
    source
}

/// The same artifact in all of them.
fn push(registries: &[&FakeRegistry], tag: &str) -> SeededArtifact {
    let layer = layer(&[("version", tag)]);
    let push =
        |registry: &&FakeRegistry| registry.push_artifact("app", tag, layer.clone(), FLUX_CONTENT);
    let mut pushed: Vec<_> = registries.iter().map(push).collect();
    pushed.remove(0)
}

/// What was shown as authorization.
fn shown(requests: &[Seen]) -> BTreeSet<String> {
    let digests = requests.iter();
    digests
        .filter_map(|seen| seen.authorization_digest.clone())
        .collect()
}

async fn has_series(world: &World, series: &str) {
    eventually(&format!("the metrics say {series}"), async || {
        let metrics = world.wharf.metrics().await;
        let is_there = metrics.lines().any(|line| line == series);
        is_there.then_some(()).ok_or(metrics)
    })
    .await;
}

#[tokio::test]
async fn a_mirror_serves_what_a_digest_proves_and_when_it_is_gone_the_registry_does() {
    let (registry, mirror) = (upstream().await, FakeRegistry::start().await);
    let first = push(&[&registry, &mirror], "1.0.0");
    let settings = Settings::new(&json!({registry.host(): {"mirrors": [{"url": mirror.host()}]}}));
    let world = settings.world().await;
    login(&world, &registry).await;
    world.apply(source_of(&registry)).await;
    let object = world.ready_at("app", &first.revision()).await;
    assert_eq!(world.artifact(&object).await, first.layer);
    assert!(registry.requests_to(Endpoint::Blob).is_empty());
    assert!(!registry.requests_to(Endpoint::Manifest).is_empty());
    assert!(!mirror.requests_to(Endpoint::Blob).is_empty());
    assert_eq!(shown(&mirror.requests()), BTreeSet::new());
    // A manifest and a layer.
    has_series(
        &world,
        "wharf_registry_mirror_reads_total{result=\"served\"} 2",
    )
    .await;
    has_series(&world, "wharf_registry_mirrors_resting 0").await;

    mirror.shutdown();
    let second = registry.push_artifact("app", "1.0.0", layer(&[("a", "2")]), FLUX_CONTENT);
    let object = world.ready_at("app", &second.revision()).await;
    assert_eq!(world.artifact(&object).await, second.layer);
    assert_eq!(registry.requests_to(Endpoint::Blob).len(), 1);
    has_series(&world, "wharf_registry_mirrors_resting 1").await;
    has_series(
        &world,
        "wharf_registry_mirror_reads_total{result=\"failed\"} 1",
    )
    .await;
}

#[tokio::test]
async fn a_mirror_has_its_own_authority_and_credentials_and_never_sees_those_of_a_source() {
    let authority = Authority::new("Mirror CA");
    let mirror = FakeRegistry::builder()
        .tls(&authority.leaf(&["127.0.0.1"]))
        .bearer("reader", "mirror-secret");
    let (registry, mirror) = (upstream().await, mirror.start().await.unwrap());
    let first = push(&[&registry, &mirror], "1.0.0");
    let settings = Settings::new(&json!({
        registry.host(): {"mirrors": [{"url": format!("https://{}", mirror.host()), "resolveTags": true}]},
        mirror.host(): {
            "caFile": "ca.crt",
            "credentials": {"username": "reader", "passwordFile": "password"},
        },
    }));
    settings.put("ca.crt", authority.pem());
    settings.put("password", "mirror-secret\n");
    let world = settings.world().await;
    login(&world, &registry).await;
    world.apply(source_of(&registry)).await;
    world.ready_at("app", &first.revision()).await;
    assert!(
        registry.requests().is_empty(),
        "the mirror may resolve tags"
    );
    let asked = mirror.requests();
    assert!(
        asked
            .iter()
            .any(|seen| seen.who.as_deref() == Some("reader"))
    );
    assert!(
        asked
            .iter()
            .all(|seen| seen.authorization.is_none() || seen.who.is_some())
    );

    mirror.shutdown();
    let second = registry.push_artifact("app", "1.0.0", layer(&[("a", "2")]), FLUX_CONTENT);
    world.ready_at("app", &second.revision()).await;
    let of_source = shown(&registry.requests());
    assert_eq!(of_source.len(), 1);
    assert!(of_source.is_disjoint(&shown(&asked)));
    let log = world.wharf.log();
    for secret in ["source-secret", "mirror-secret"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn the_tags_of_a_range_come_all_from_one_place() {
    let mirror = FakeRegistry::builder().tag_page(2).start();
    let (registry, mirror) = (upstream().await, mirror.await.unwrap());
    for tag in ["1.0.0", "1.1.0", "1.2.0"] {
        push(&[&registry, &mirror], tag);
    }
    let behind = push(&[&registry, &mirror], "1.3.0");
    let newest = push(&[&registry], "1.9.0");
    let mirrors = json!([{"url": mirror.host(), "resolveTags": true}]);
    let settings = Settings::new(&json!({registry.host(): {"mirrors": mirrors}}));
    let world = settings.world().await;
    login(&world, &registry).await;
    let mut source = source_of(&registry);
    source["spec"]["ref"] = json!({"semver": "1.x"});
    world.apply(source).await;
    // Who lets a mirror resolve tags gets what the mirror knows.
    world.ready_at("app", &behind.revision()).await;
    assert!(registry.requests_to(Endpoint::Tags).is_empty());
    assert!(mirror.requests_to(Endpoint::Tags).len() >= 2);

    // Its first page has a greater version than the registry; its second page does not come.
    mirror.push_artifact("app", "1.1.1", layer(&[("a", "1")]), FLUX_CONTENT);
    mirror.push_artifact("app", "1.0.1", layer(&[("a", "1")]), FLUX_CONTENT);
    mirror.push_artifact("app", "1.0.99", layer(&[("a", "1")]), FLUX_CONTENT);
    mirror.script(Rule::on(Endpoint::Tags).skip(1).fault(Fault::status(403)));
    world.ready_at("app", &newest.revision()).await;
    assert!(registry.requests_to(Endpoint::Tags).len() >= 3);
}

/// Starts a source for each of these repositories.
async fn sources(world: &World, registry: &FakeRegistry, prefix: &str, count: usize) {
    for index in 0..count {
        let name = format!("{prefix}{index}");
        registry.push_artifact(&name, "1.0.0", layer(&[("a", &name)]), FLUX_CONTENT);
        let mut source = source(&name, &registry.url(&name));
        source["spec"]["interval"] = json!("1h");
        world.apply(source).await;
    }
}

#[tokio::test]
async fn one_request_at_a_time_where_that_is_set_and_only_there() {
    let (limited, free) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let settings = Settings::new(&json!({limited.host(): {"concurrency": 1}}));
    let world = settings.world().await;
    let (at_limited, at_free) = (Gate::new(), Gate::new());
    limited.script(Rule::on(Endpoint::Manifest).hold(&at_limited));
    free.script(Rule::on(Endpoint::Manifest).hold(&at_free));
    sources(&world, &limited, "limited", 4).await;
    sources(&world, &free, "free", 4).await;
    at_free.arrived(4).await;
    at_limited.arrived(1).await;
    has_series(&world, "wharf_registry_requests_waiting 3").await;
    assert_eq!(limited.requests_to(Endpoint::Manifest).len(), 1);
    at_free.open();
    at_limited.open();
    for index in 0..4 {
        world.ready(&format!("limited{index}")).await;
        world.ready(&format!("free{index}")).await;
    }
    let requests = limited.requests();
    for (before, after) in requests.iter().zip(&requests[1..]) {
        assert!(
            before.answered.unwrap() <= after.arrived,
            "{before:?}\n{after:?}"
        );
    }
}

#[tokio::test]
async fn a_rate_that_is_set_is_kept() {
    const AT_ONCE: u32 = 6;
    let registry = FakeRegistry::start().await;
    let settings = Settings::new(&json!({registry.host(): {"rate": "6/3s"}}));
    let world = settings.world().await;
    sources(&world, &registry, "app", 4).await;
    for index in 0..4 {
        world.ready(&format!("app{index}")).await;
    }
    let requests = registry.requests();
    assert!(requests.len() > 2 * AT_ONCE as usize, "{}", requests.len());
    let start = requests[0].arrived;
    for (count, seen) in (1..).zip(&requests) {
        // One per half second comes back; what was sent in time may arrive late, not early.
        let since = seen.arrived.duration_since(start) + Duration::from_millis(250);
        let allowed = f64::from(AT_ONCE) + since.as_secs_f64() * f64::from(AT_ONCE) / 3.0;
        assert!(
            f64::from(count) <= allowed,
            "{count} requests within {since:?}"
        );
    }
}

#[tokio::test]
async fn a_host_has_its_own_proxy_and_authority_or_plain_http() {
    let authority = Authority::new("Site CA");
    let identity = authority.leaf(&["secured.example"]);
    let secured = FakeRegistry::builder()
        .tls(&identity)
        .start()
        .await
        .unwrap();
    let (plain, other) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let proxy = FakeProxy::start_with_login("robot", "proxy-secret");
    proxy.lead("secured.example", secured.addr());
    proxy.lead("plain.example", plain.addr());
    let through = |more: Value| {
        let mut section = json!({
            "proxy": proxy.url(), "proxyUsername": "robot", "proxyPasswordFile": "password",
        });
        section
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        section
    };
    let settings = Settings::new(&json!({
        "secured.example": through(json!({"caData": authority.pem()})),
        "plain.example:5000": through(json!({"plainHTTP": true})),
    }));
    settings.put("password", "proxy-secret");
    let world = settings.world().await;
    let cases = [
        ("secured", &secured, "oci://secured.example/app".to_owned()),
        ("plain", &plain, "oci://plain.example:5000/app".to_owned()),
        ("other", &other, other.url("app")),
    ];
    for (name, registry, url) in &cases {
        let pushed = push(&[registry], "1.0.0");
        let mut source = source(name, url);
        source["spec"]["insecure"] = json!(false);
        world.apply(source).await;
        world.ready_at(name, &pushed.revision()).await;
    }
    let asked = proxy.asked();
    for name in ["secured.example", "plain.example"] {
        assert!(
            asked.iter().any(|asked| asked.target.contains(name)),
            "{asked:?}"
        );
    }
    assert!(
        asked.iter().all(|asked| asked.target.contains(".example")),
        "{asked:?}"
    );
    for (_, registry, _) in &cases {
        assert!(
            registry
                .requests()
                .iter()
                .all(|seen| !seen.proxy_authorization)
        );
    }
    assert!(!world.wharf.log().contains("proxy-secret"));

    // A proxy that is gone is not gone around.
    let address = proxy.host();
    drop(proxy);
    push(&[&secured], "1.0.0");
    world.request("secured", "2026-01-02T03:04:05Z").await;
    world
        .failed("secured", "OCIArtifactPullFailed", &[&address])
        .await;
}

#[tokio::test]
async fn a_settings_file_that_cannot_be_used_ends_it_with_1_and_names_file_and_key() {
    let cases = [
        (json!({"a.example": {"mirorrs": []}}), "mirorrs"),
        (
            json!({"a.example": {"rate": "often"}}),
            "hosts.a.example.rate",
        ),
        (
            json!({"a.example": {"caFile": "nowhere.crt"}}),
            "hosts.a.example.caFile",
        ),
        (
            json!({"a.example": {"mirrors": [{"url": "https://me:canary@b.example"}]}}),
            "hosts.a.example.mirrors[0].url",
        ),
        (json!(["canary"]), "line"),
    ];
    let sources = scratch("sources");
    for (hosts, key) in cases {
        let settings = Settings::new(&hosts);
        for launch in [
            settings.run("run").arg(sources.path()).arg("--once"),
            settings
                .run("controller")
                .arg("--kubeconfig")
                .arg(env::api().await.kubeconfig())
                .arg("--storage-path")
                .arg(sources.path()),
        ] {
            refused(&launch.arg("--storage-addr=127.0.0.1:0"), key).await;
        }
    }
    let settings = Settings::new(&json!({}));
    std::fs::remove_file(settings.0.path().join("registries.yaml")).unwrap();
    refused(&settings.run("run").arg(sources.path()), "could not read").await;
}

async fn refused(launch: &Launch, key: &str) {
    let output = launch.output("").await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("registries.yaml") && told.contains(key),
        "{key}: {told}"
    );
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test]
async fn a_source_that_its_mirror_cannot_help_is_told_of_both() {
    let (registry, mirror) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let mirrors = json!([{"url": mirror.host(), "resolveTags": true}]);
    let settings = Settings::new(&json!({registry.host(): {"mirrors": mirrors}}));
    let world = settings.world().await;
    world.apply(source("app", &registry.url("app"))).await;
    let words = [
        "404",
        &registry.host(),
        "mirrors were tried first",
        &mirror.host(),
    ];
    let object = world.failed("app", "OCIArtifactPullFailed", &words).await;
    assert!(!is_ready(&object));
    assert_eq!(condition(&object, "FetchFailed")[0], "True");
}
