// SPDX-License-Identifier: Apache-2.0
//! A real kustomize-controller applies what is served, and follows it.

use serde_json::{Value, json};
use wharf_test_support::artifacts::{layer, plain_layer};
use wharf_test_support::servers::{KustomizeController, Wharf, eventually, scratch};

use crate::env;
use crate::objects::{condition, is_ready, revision, source};
use crate::publish::publish;

const NAMESPACE: &str = "kustomized";

fn manifests(color: &str) -> [(&'static str, String); 2] {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "paint"}, "data": {"color": color}});
    [
        (
            "kustomization.yaml",
            "resources: [deep/paint.yaml]\n".to_owned(),
        ),
        ("deep/paint.yaml", map.to_string()),
    ]
}

fn kustomization() -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "app", "namespace": NAMESPACE},
        "spec": {
            "interval": "1h", "retryInterval": "1s", "path": "./", "prune": true, "targetNamespace": NAMESPACE,
            "sourceRef": {"kind": "OCIRepository", "name": "app"},
        },
    })
}

/// All namespaces, a label selector: the way to run beside Flux's own controller.
#[tokio::test]
async fn it_applies_a_config_map_and_follows_a_new_revision() {
    let api = env::api_with_flux_kinds().await;
    let registry = env::plain().await;
    api.namespace(NAMESPACE).await;
    let kustomize = KustomizeController::start(api).await;
    let store = scratch("store");
    let wharf = Wharf::start(
        env::wharf()
            .args([
                "controller",
                "--watch-label-selector=sharding.fluxcd.io/key=wharf",
            ])
            .arg("--kubeconfig")
            .arg(api.kubeconfig())
            .arg("--storage-path")
            .arg(store.path()),
    )
    .await;
    let push = async |layer| {
        publish(
            &registry.http(),
            &registry.base_url(),
            "kustomized/app",
            "1.0.0",
            layer,
        )
        .await
    };
    let first = manifests("red");
    let first = push(layer(&[
        (first[0].0, &first[0].1),
        (first[1].0, &first[1].1),
    ]))
    .await;

    let mut ours = source("app", &registry.url("kustomized/app"));
    ours["metadata"] = json!({"name": "app", "namespace": NAMESPACE, "labels": {"sharding.fluxcd.io/key": "wharf"}});
    let mut not_ours = source("other", &registry.url("kustomized/app"));
    not_ours["metadata"] = json!({"name": "other", "namespace": NAMESPACE});
    for object in [ours, not_ours, kustomization()] {
        api.apply(&object.to_string()).await;
    }
    let applied = async |color: &str, revision: &str| {
        eventually(&format!("{color} is applied"), async || {
            let path = format!(
                "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/kustomizations/app"
            );
            let kustomization = api.get(&path).await.unwrap();
            let map = api
                .get(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/paint"))
                .await
                .unwrap_or_default();
            let is_applied = map["data"]["color"] == color
                && kustomization["status"]["lastAppliedRevision"] == revision
                && is_ready(&kustomization);
            let told = condition(&kustomization, "Ready");
            is_applied
                .then_some(())
                .ok_or_else(|| format!("{told:?}; {}; {}", wharf.log(), kustomize.log()))
        })
        .await;
    };
    applied("red", &first.revision).await;

    // This time as `tar czf` packs it.
    let second = manifests("blue");
    let second = push(plain_layer(&[
        (second[0].0, &second[0].1),
        (second[1].0, &second[1].1),
    ]))
    .await;
    applied("blue", &second.revision).await;
    let path = format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/ocirepositories");
    let object = api.get(&format!("{path}/app")).await.unwrap();
    assert_eq!(revision(&object), second.revision);

    // What the selector does not choose is nobody's here.
    let other = api.get(&format!("{path}/other")).await.unwrap();
    assert_eq!(other["status"], json!({"observedGeneration": -1}));
}
