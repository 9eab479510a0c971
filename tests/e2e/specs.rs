// SPDX-License-Identifier: Apache-2.0
//! What cannot be acted on as it is written: the source is stalled, the message names the cause, nothing is fetched.

use serde_json::{Value, json};
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::layer;
use wharf_test_support::registry::FLUX_CONTENT;

use crate::objects::{condition, revision, source};
use crate::world::{World, files, in_both_worlds};

in_both_worlds!(
    a_field_that_is_not_built_stalls_and_is_named,
    a_field_that_is_not_built_keeps_what_was_served,
    a_malformed_reference_stalls,
);

/// Every field that this version does not act on, with the name that the message must give.
fn unsupported() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "verify",
            "spec.verify",
            json!({"verify": {"provider": "cosign"}}),
        ),
        ("ignore", "spec.ignore", json!({"ignore": "*.md"})),
        ("ignore-nothing", "spec.ignore", json!({"ignore": ""})),
        (
            "layer-selector",
            "spec.layerSelector",
            json!({"layerSelector": {"operation": "copy"}}),
        ),
        (
            "service-account",
            "spec.serviceAccountName",
            json!({"serviceAccountName": "robot"}),
        ),
        ("provider", "spec.provider", json!({"provider": "aws"})),
    ]
}

async fn a_field_that_is_not_built_stalls_and_is_named(world: World) {
    let registry = FakeRegistry::start().await;
    registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    for (name, _, fields) in unsupported() {
        let mut source = source(name, &registry.url("app"));
        merge(&mut source["spec"], &fields);
        world.apply(source).await;
    }
    for (name, field, _) in unsupported() {
        let named = format!("{field} is not supported");
        let object = world.stalled(name, "UnsupportedField", &[&named]).await;
        assert_eq!(object["status"]["artifact"], Value::Null, "{name}");
    }
    assert!(registry.requests().is_empty(), "{:?}", registry.requests());
    assert_eq!(
        files(&world.store().join("blobs")),
        Vec::<std::path::PathBuf>::new()
    );
}

async fn a_field_that_is_not_built_keeps_what_was_served(world: World) {
    let registry = FakeRegistry::start().await;
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    world.apply(source("app", &registry.url("app"))).await;
    world.ready_at("app", &pushed.revision()).await;

    world
        .set("app", "verify", json!({"provider": "cosign"}))
        .await;
    let object = world
        .stalled("app", "UnsupportedField", &["spec.verify"])
        .await;
    assert_eq!(revision(&object), pushed.revision());
    assert_eq!(world.artifact(&object).await, pushed.layer);

    world.set("app", "verify", Value::Null).await;
    let object = world.ready_at("app", &pushed.revision()).await;
    assert_eq!(condition(&object, "Stalled")[0], "");
}

async fn a_malformed_reference_stalls(world: World) {
    let cases = [
        (
            "url-case",
            "oci://registry.example/UPPER",
            json!({}),
            "URLInvalid",
            "UPPER",
        ),
        (
            "url-tagged",
            "oci://registry.example/app:1.0.0",
            json!({}),
            "URLInvalid",
            "registry.example/app:1.0.0",
        ),
        ("url-empty", "oci://", json!({}), "URLInvalid", "oci://"),
        (
            "tag",
            "oci://registry.example/app",
            json!({"tag": "not a tag"}),
            "OCIArtifactPullFailed",
            "spec.ref.tag",
        ),
        (
            "digest",
            "oci://registry.example/app",
            json!({"digest": "sha256:abc"}),
            "OCIArtifactPullFailed",
            "spec.ref.digest",
        ),
        (
            "algorithm",
            "oci://registry.example/app",
            json!({"digest": "md5:900150983cd24fb0d6963f7d28e17f72"}),
            "OCIArtifactPullFailed",
            "spec.ref.digest",
        ),
    ];
    for (name, url, reference, _, _) in &cases {
        let mut source = source(name, url);
        source["spec"]["ref"] = reference.clone();
        world.apply(source).await;
    }
    for (name, _, _, reason, word) in &cases {
        world.stalled(name, reason, &[word]).await;
    }
}

fn merge(into: &mut Value, fields: &Value) {
    for (key, value) in fields.as_object().unwrap() {
        into[key] = value.clone();
    }
}
