// SPDX-License-Identifier: Apache-2.0
//! What only a cluster has: columns, pruning, the schema's refusals, namespaces that are deleted.

use serde_json::{Value, json};
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::layer;
use wharf_test_support::registry::FLUX_CONTENT;
use wharf_test_support::servers::{ControllerManager, eventually};

use crate::env;
use crate::objects::source;
use crate::world::{World, files, get};

#[tokio::test]
async fn kubectl_shows_the_columns_of_the_contract() {
    let world = World::cluster(&[]).await;
    let registry = FakeRegistry::start().await;
    let url = registry.url("app");
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    world.apply(source("app", &url)).await;
    world.ready_at("app", &pushed.revision()).await;
    let api = env::api().await;
    for name in [
        "ocirepository",
        "ocirepo",
        "ocirepositories.v1beta2.source.toolkit.fluxcd.io",
    ] {
        let table = api.kubectl(&["get", name, "-n", &world.namespace]).await;
        let (header, rows) = table.split_once('\n').unwrap();
        let columns: Vec<_> = header.split_whitespace().collect();
        assert_eq!(
            columns,
            ["NAME", "URL", "READY", "STATUS", "AGE"],
            "{table}"
        );
        let row: Vec<_> = rows.split_whitespace().collect();
        assert_eq!(row[..3], ["app", url.as_str(), "True"], "{table}");
        assert!(
            rows.contains(&format!(
                "stored artifact for digest '{}'",
                pushed.revision()
            )),
            "{table}"
        );
    }
}

#[tokio::test]
async fn the_api_server_refuses_a_url_without_its_scheme() {
    let world = World::cluster(&[]).await;
    let refused = world
        .try_apply(source("app", "docker.io/org/app"))
        .await
        .unwrap_err();
    assert!(
        refused.contains("spec.url") && refused.contains("oci://"),
        "{refused}"
    );
    let refused = world.try_apply(json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": "app"},
        "spec": {"url": "oci://a/b", "interval": "soon"},
    }));
    assert!(refused.await.unwrap_err().contains("spec.interval"));
}

#[tokio::test]
async fn an_unknown_field_is_pruned_and_tolerated() {
    let world = World::cluster(&[]).await;
    let registry = FakeRegistry::start().await;
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    let mut source = source("app", &registry.url("app"));
    source["metadata"]["namespace"] = json!(world.namespace);
    source["spec"]["novelty"] = json!({"from": "the future"});
    let api = env::api().await;
    let applied = api
        .try_kubectl(
            &["apply", "--validate=ignore", "-f", "-"],
            &source.to_string(),
        )
        .await;
    applied.unwrap();
    let object = world.ready_at("app", &pushed.revision()).await;
    assert_eq!(object["spec"]["novelty"], Value::Null);
}

#[tokio::test]
async fn defaults_and_the_first_status_are_those_of_the_contract() {
    let world = World::cluster(&[]).await;
    let other = World::cluster(&[]).await;
    // Nobody watches this namespace any more, so what the API server made of the object stays to be seen.
    let (namespace, api) = (world.namespace.clone(), env::api().await);
    drop(world);
    let object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
        "metadata": {"name": "app", "namespace": namespace}, "spec": {"url": "oci://a/b", "interval": "1m"},
    });
    api.apply(&object.to_string()).await;
    let path =
        format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/ocirepositories/app");
    let object = api.get(&path).await.unwrap();
    assert_eq!(object["spec"]["provider"], "generic");
    assert_eq!(object["spec"]["timeout"], "60s");
    assert_eq!(object["status"], json!({"observedGeneration": -1}));
    assert!(other.read("app").await.is_none());
}

#[tokio::test]
async fn events_tell_what_was_stored_and_what_failed_once_each() {
    let world = World::cluster(&[]).await;
    let registry = FakeRegistry::start().await;
    world.apply(source("app", &registry.url("app"))).await;
    world.failed("app", "OCIArtifactPullFailed", &["404"]).await;
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    world.ready_at("app", &pushed.revision()).await;
    let events = eventually("both events", async || {
        let events = world.events("app").await;
        let has = |reason: &str| events.iter().any(|(is, _)| is == reason);
        (has("NewArtifact") && has("OCIArtifactPullFailed"))
            .then(|| events.clone())
            .ok_or_else(|| format!("{events:?}"))
    })
    .await;
    let stored = events
        .iter()
        .find(|(reason, _)| reason == "NewArtifact")
        .unwrap();
    assert!(stored.1.contains(&pushed.revision()), "{events:?}");
    assert_eq!(events.len(), 2, "{events:?}");
}

#[tokio::test]
async fn a_deleted_namespace_goes_and_takes_its_artifacts_along() {
    let world = World::cluster(&[]).await;
    let api = env::api().await;
    let _manager = ControllerManager::start(api).await;
    let registry = FakeRegistry::start().await;
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    world.apply(source("app", &registry.url("app"))).await;
    let object = world.ready_at("app", &pushed.revision()).await;
    let url = object["status"]["artifact"]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(get(&url).await.status, 200);

    let path = format!("/api/v1/namespaces/{}", world.namespace);
    api.kubectl(&["delete", "namespace", &world.namespace, "--wait=false"])
        .await;
    eventually("the namespace is gone", async || {
        match api.get(&path).await {
            None => Ok(()),
            Some(namespace) => Err(namespace["status"].to_string()),
        }
    })
    .await;
    eventually("its artifacts are gone", async || {
        let names = files(&world.store().join("names"));
        (names.is_empty() && get(&url).await.status == 404)
            .then_some(())
            .ok_or_else(|| format!("{names:?}"))
    })
    .await;
}
