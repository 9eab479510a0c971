// SPDX-License-Identifier: Apache-2.0
//! Sources that name a range of versions instead of a tag, on a registry over TLS with a password.

use serde_json::{Value, json};
use wharf_test_support::artifacts::layer;
use wharf_test_support::servers::Distribution;

use crate::objects::{condition, revision, tls_source};
use crate::publish::{Published, publish};
use crate::world::{World, in_both_worlds, secured_in};

in_both_worlds!(
    a_range_follows_newly_pushed_tags,
    a_filter_decides_before_the_range,
    a_range_that_nothing_matches_says_what_it_saw_and_recovers,
    a_range_or_filter_that_cannot_be_read_stalls_and_is_named,
);

/// A repository of the shared registry that is the scenario's own.
struct Repository {
    registry: &'static Distribution,
    name: String,
}

impl Repository {
    async fn new(world: &World, name: &str) -> Self {
        let (registry, place) = secured_in(world).await;
        Self {
            registry,
            name: format!("{place}/semver/{name}"),
        }
    }

    async fn push(&self, tag: &str) -> Published {
        let layer = layer(&[("version", tag)]);
        let (http, base) = (self.registry.http(), self.registry.base_url());
        publish(&http, &base, &self.name, tag, layer).await
    }

    fn source(&self, reference: &Value) -> Value {
        let mut source = tls_source("app", &self.registry.url(&self.name));
        source["spec"]["secretRef"] = json!({"name": "login"});
        source["spec"]["ref"] = reference.clone();
        source
    }
}

async fn a_range_follows_newly_pushed_tags(world: World) {
    let repository = Repository::new(&world, "range").await;
    for tag in ["latest", "0.9.0", "1.1", "1.2.0-rc.1", "2.0.0"] {
        repository.push(tag).await;
    }
    let first = repository.push("1.0.0").await;
    world
        .apply(repository.source(&json!({"semver": "1.x", "tag": "2.0.0"})))
        .await;
    world.ready_at("app", &first.revision).await;

    let newer = repository.push("v1.10.0").await;
    let object = world.ready_at("app", &newer.revision).await;
    assert_eq!(world.artifact(&object).await, newer.layer);

    // Neither a lower version nor one outside of the range is followed, however new.
    repository.push("1.9.9").await;
    repository.push("3.0.0").await;
    world.request("app", "2026-01-02T03:04:05Z").await;
    let object = world.answered("app", "2026-01-02T03:04:05Z").await;
    assert_eq!(revision(&object), newer.revision);

    let newest = repository.push("1.11.0").await;
    world.ready_at("app", &newest.revision).await;
}

async fn a_filter_decides_before_the_range(world: World) {
    let repository = Repository::new(&world, "filter").await;
    repository.push("1.5.0").await;
    let first = repository.push("1.0.0-rc.1").await;
    let reference = json!({"semver": ">=0.0.0-0", "semverFilter": "-rc\\.\\d+$"});
    world.apply(repository.source(&reference)).await;
    world.ready_at("app", &first.revision).await;

    repository.push("1.6.0").await;
    let second = repository.push("1.4.0-rc.2").await;
    world.ready_at("app", &second.revision).await;
}

async fn a_range_that_nothing_matches_says_what_it_saw_and_recovers(world: World) {
    let repository = Repository::new(&world, "none").await;
    repository.push("1.0.0").await;
    world
        .apply(repository.source(&json!({"semver": "^2.0.0"})))
        .await;
    let told = ["no match found for semver: ^2.0.0", "tags seen: 1"];
    let object = world.failed("app", "ReadOperationFailed", &told).await;
    assert_eq!(object["status"]["artifact"], Value::Null);

    let pushed = repository.push("2.3.4").await;
    let object = world.ready_at("app", &pushed.revision).await;
    assert_eq!(condition(&object, "FetchFailed"), ["", "", ""]);
}

async fn a_range_or_filter_that_cannot_be_read_stalls_and_is_named(world: World) {
    let repository = Repository::new(&world, "bad").await;
    for (reference, told) in [
        (json!({"semver": "not a range"}), "spec.ref.semver"),
        (
            json!({"semver": "1.x", "semverFilter": "(?<!a)b"}),
            "spec.ref.semverFilter",
        ),
    ] {
        world.apply(repository.source(&reference)).await;
        world
            .stalled(
                "app",
                "ReadOperationFailed",
                &["failed to determine the artifact tag", told],
            )
            .await;
    }
}
