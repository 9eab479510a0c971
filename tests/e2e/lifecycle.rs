// SPDX-License-Identifier: Apache-2.0
//! The life of a source, on a registry over TLS with a private authority (`certSecretRef`) and a password (`secretRef`).

use http::header;
use serde_json::{Value, json};
use wharf_test_support::artifacts::{layer, random_text};
use wharf_test_support::servers::{Distribution, eventually};

use crate::objects::{artifact_url, condition, is_ready, revision, tls_source};
use crate::publish::{Published, publish};
use crate::world::{World, files, get, in_both_worlds, secured_in};

in_both_worlds!(
    a_source_of_either_version_becomes_ready_and_serves_what_its_status_says,
    a_tag_that_is_pushed_again_is_picked_up_at_the_interval,
    a_request_reconciles_at_once_and_is_recorded,
    suspending_stops_and_resuming_follows,
    deleting_removes_what_was_served,
    what_is_deleted_while_wharf_is_away_is_removed_when_it_is_back,
    what_was_served_is_served_again_after_a_restart_without_being_fetched,
    a_changed_reference_is_followed,
);

/// A repository of the shared registry that is the scenario's own, with a first revision under the tag `1.0.0`.
struct Fixture {
    registry: &'static Distribution,
    repository: String,
}

impl Fixture {
    async fn new(world: &World) -> Self {
        let (registry, place) = secured_in(world).await;
        Self {
            registry,
            repository: format!("{place}/{}", random_name()),
        }
    }

    async fn push(&self, tag: &str, content: &str) -> Published {
        let layer = layer(&[("app/config.yaml", content), ("README.md", "app")]);
        publish(
            &self.registry.http(),
            &self.registry.base_url(),
            &self.repository,
            tag,
            layer,
        )
        .await
    }

    fn source(&self, name: &str) -> Value {
        let mut source = tls_source(name, &self.registry.url(&self.repository));
        source["spec"]["secretRef"] = json!({"name": "login"});
        source
    }

    /// The same, looked at once an hour: what happens to it is not the interval's doing.
    fn rare_source(&self, name: &str) -> Value {
        let mut source = self.source(name);
        source["spec"]["interval"] = json!("1h");
        source
    }
}

fn random_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static MADE: AtomicU64 = AtomicU64::new(0);
    format!("app-{}", MADE.fetch_add(1, Ordering::Relaxed))
}

async fn a_source_of_either_version_becomes_ready_and_serves_what_its_status_says(world: World) {
    let fixture = Fixture::new(&world).await;
    let pushed = fixture.push("1.0.0", "a: 1").await;
    for version in ["v1", "v1beta2"] {
        let mut source = fixture.source(version);
        source["apiVersion"] = json!(format!("source.toolkit.fluxcd.io/{version}"));
        world.apply(source).await;
    }
    for version in ["v1", "v1beta2"] {
        let object = world.ready_at(version, &pushed.revision).await;
        assert_eq!(world.artifact(&object).await, pushed.layer);
        let told = format!("stored artifact for digest '{}'", pushed.revision);
        for kind in ["Ready", "ArtifactInStorage"] {
            assert_eq!(condition(&object, kind), ["True", "Succeeded", &told]);
        }
        for kind in ["Reconciling", "Stalled", "FetchFailed"] {
            assert_eq!(condition(&object, kind), ["", "", ""], "{kind}");
        }
        let metadata = &object["status"]["artifact"]["metadata"];
        assert_eq!(
            metadata["org.opencontainers.image.revision"],
            "main@sha1:abc"
        );
    }
    // Two names, one blob.
    assert_eq!(files(&world.store().join("blobs")).len(), 1);
}

async fn a_tag_that_is_pushed_again_is_picked_up_at_the_interval(world: World) {
    let fixture = Fixture::new(&world).await;
    let first = fixture.push("1.0.0", "a: 1").await;
    world.apply(fixture.source("app")).await;
    let object = world.ready_at("app", &first.revision).await;
    let old_url = artifact_url(&object);

    let second = fixture.push("1.0.0", "a: 2").await;
    assert_ne!(first.revision, second.revision);
    let object = world.ready_at("app", &second.revision).await;
    assert_eq!(world.artifact(&object).await, second.layer);
    // A consumer that has just read the old status still finds what it names.
    assert_eq!(get(&old_url).await.body, first.layer);
    let latest = get(object["status"]["url"].as_str().unwrap()).await;
    assert_eq!(latest.body, second.layer);
    assert_eq!(
        latest.header(header::ETAG.as_str()),
        format!("\"{}\"", second.layer_digest)
    );
}

async fn a_request_reconciles_at_once_and_is_recorded(world: World) {
    let fixture = Fixture::new(&world).await;
    let first = fixture.push("1.0.0", "a: 1").await;
    world.apply(fixture.rare_source("app")).await;
    let object = world.ready_at("app", &first.revision).await;
    assert_eq!(object["status"]["lastHandledReconcileAt"], Value::Null);

    let second = fixture.push("1.0.0", "a: 2").await;
    let when = "2026-01-02T03:04:05.678Z";
    world.request("app", when).await;
    let object = world.answered("app", when).await;
    assert_eq!(revision(&object), second.revision);
    assert!(is_ready(&object));
}

async fn suspending_stops_and_resuming_follows(world: World) {
    let fixture = Fixture::new(&world).await;
    let first = fixture.push("1.0.0", "a: 1").await;
    world.apply(fixture.source("app")).await;
    world.ready_at("app", &first.revision).await;

    world.set("app", "suspend", json!(true)).await;
    world
        .until("app", "is suspended", |object| {
            object["spec"]["suspend"] == true
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
    let second = fixture.push("1.0.0", "a: 2").await;
    // A request that is answered without following the tag proves that nothing follows it: no need to wait and hope.
    world.request("app", "now").await;
    let object = world.answered("app", "now").await;
    assert_eq!(revision(&object), first.revision);
    assert_eq!(condition(&object, "Ready")[0], "True");
    assert_eq!(world.artifact(&object).await, first.layer);

    world.set("app", "suspend", json!(false)).await;
    let object = world.ready_at("app", &second.revision).await;
    assert_eq!(world.artifact(&object).await, second.layer);
}

async fn deleting_removes_what_was_served(world: World) {
    let fixture = Fixture::new(&world).await;
    let pushed = fixture.push("1.0.0", &random_text(1, 1)).await;
    world.apply(fixture.source("app")).await;
    world.apply(fixture.source("other")).await;
    let object = world.ready_at("app", &pushed.revision).await;
    let other = world.ready_at("other", &pushed.revision).await;
    let url = artifact_url(&object);
    let latest = object["status"]["url"].as_str().unwrap().to_owned();

    world.delete("app").await;
    eventually("the artifact is gone", async || {
        let statuses = (get(&url).await.status, get(&latest).await.status);
        (statuses == (404, 404))
            .then_some(())
            .ok_or_else(|| format!("{statuses:?}"))
    })
    .await;
    // The same blob under another name is not the deleted source's to take away.
    assert_eq!(world.artifact(&other).await, pushed.layer);
    eventually("its name is gone", async || {
        let names = files(&world.store().join("names"));
        (names.len() == 1)
            .then_some(())
            .ok_or_else(|| format!("{names:?}"))
    })
    .await;
    eventually("its status is gone", async || {
        match world.read("app").await {
            None => Ok(()),
            Some(object) => Err(object.to_string()),
        }
    })
    .await;

    world.delete("other").await;
    eventually("no name is left", async || {
        let names = files(&world.store().join("names"));
        names
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{names:?}"))
    })
    .await;
}

async fn what_is_deleted_while_wharf_is_away_is_removed_when_it_is_back(mut world: World) {
    let fixture = Fixture::new(&world).await;
    let pushed = fixture.push("1.0.0", "a: 1").await;
    for name in ["app", "kept"] {
        world.apply(fixture.rare_source(name)).await;
    }
    let object = world.ready_at("app", &pushed.revision).await;
    let kept = world.ready_at("kept", &pushed.revision).await;
    let url = artifact_url(&object);
    world.wharf.kill_9();
    world.delete("app").await;
    world.wharf.restart().await;
    eventually("what was served is gone", async || {
        let names = files(&world.store().join("names"));
        let is_gone = names.len() == 1 && get(&url).await.status == 404;
        is_gone.then_some(()).ok_or_else(|| format!("{names:?}"))
    })
    .await;
    assert_eq!(world.artifact(&kept).await, pushed.layer);
}

async fn what_was_served_is_served_again_after_a_restart_without_being_fetched(mut world: World) {
    let fixture = Fixture::new(&world).await;
    let pushed = fixture.push("1.0.0", "a: 1").await;
    world.apply(fixture.rare_source("app")).await;
    let before = world.ready_at("app", &pushed.revision).await;
    let ended = world.wharf.terminate().await;
    assert_eq!(
        ended.and_then(|status| status.code()),
        Some(0),
        "{}",
        world.wharf.log()
    );

    world.wharf.restart().await;
    let url = artifact_url(&before);
    assert_eq!(get(&url).await.body, pushed.layer);
    world.request("app", "now").await;
    let after = world.answered("app", "now").await;
    // Made again, it would have been stored at another time.
    assert_eq!(before["status"]["artifact"], after["status"]["artifact"]);
    assert_eq!(
        before["status"]["conditions"],
        after["status"]["conditions"]
    );
}

async fn a_changed_reference_is_followed(world: World) {
    let fixture = Fixture::new(&world).await;
    let first = fixture.push("1.0.0", "a: 1").await;
    let second = fixture.push("2.0.0", "a: 2").await;
    let latest = fixture.push("latest", "a: 3").await;
    world.apply(fixture.rare_source("app")).await;
    world.ready_at("app", &first.revision).await;

    world.set("app", "ref", json!({"tag": "2.0.0"})).await;
    world.ready_at("app", &second.revision).await;

    let (_, digest) = first.revision.split_once('@').unwrap();
    world
        .set("app", "ref", json!({"digest": digest, "tag": "2.0.0"}))
        .await;
    let object = world.ready_at("app", digest).await;
    assert_eq!(world.artifact(&object).await, first.layer);

    world.set("app", "ref", Value::Null).await;
    let object = world.ready_at("app", &latest.revision).await;
    assert_eq!(world.artifact(&object).await, latest.layer);
}
