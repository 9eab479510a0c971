// SPDX-License-Identifier: Apache-2.0
//! Objects as users write them and API servers send them, read into the types and written back.

#![cfg(test)]

use serde_json::{Value, json};
use wharf_api::{v1, v1beta2};

#[test]
fn an_object_without_timeout_and_provider_has_the_defaults_an_api_server_writes() {
    let object = read(&json!({ "url": "oci://ghcr.io/org/app", "interval": "5m", "verify": {} }));
    assert_eq!(object.spec.timeout, "60s");
    assert_eq!(object.spec.provider, "generic");
    assert_eq!(object.spec.verify.unwrap().provider, "cosign");
    assert!(!object.spec.insecure);
    assert!(!object.spec.suspend);
}

#[test]
fn a_status_starts_with_generation_minus_one_observed() {
    assert_eq!(v1::OCIRepositoryStatus::default().observed_generation, -1);
    let read: v1::OCIRepositoryStatus = serde_json::from_value(json!({})).unwrap();
    assert_eq!(read, v1::OCIRepositoryStatus::default());
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        json!({ "observedGeneration": -1 })
    );
}

#[test]
fn every_field_survives_the_way_in_and_out() {
    let object = full("source.toolkit.fluxcd.io/v1");
    let typed: v1::OCIRepository = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), object);
}

#[test]
fn every_field_of_v1beta2_survives_the_way_in_and_out() {
    let mut object = full("source.toolkit.fluxcd.io/v1beta2");
    object["status"]["contentConfigChecksum"] = json!("sha256:0a");
    let typed: v1beta2::OCIRepository = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), object);
}

#[test]
fn v1beta2_becomes_v1_with_nothing_lost_but_the_checksum() {
    let mut old = full("source.toolkit.fluxcd.io/v1beta2");
    old["status"]["contentConfigChecksum"] = json!("sha256:0a");
    let old: v1beta2::OCIRepository = serde_json::from_value(old).unwrap();
    let new = serde_json::to_value(v1::OCIRepository::from(old)).unwrap();
    assert_eq!(new, full("source.toolkit.fluxcd.io/v1"));
}

#[test]
fn what_is_absent_is_left_out_again_and_never_written_as_null() {
    let written =
        serde_json::to_value(read(&json!({ "url": "oci://a/b", "interval": "1m" }))).unwrap();
    assert_eq!(
        written["spec"],
        json!({ "url": "oci://a/b", "interval": "1m", "timeout": "60s", "provider": "generic" })
    );
    assert!(written.get("status").is_none());
}

#[test]
fn absent_ignore_rules_differ_from_empty_ones() {
    let spec = |ignore: Value| {
        read(&json!({ "url": "oci://a/b", "interval": "1m", "ignore": ignore })).spec
    };
    assert_eq!(spec(json!("")).ignore.as_deref(), Some(""));
    assert_eq!(spec(Value::Null).ignore, None);
}

#[test]
fn an_empty_layer_selector_differs_from_an_absent_one() {
    let selected = read(&json!({ "url": "oci://a/b", "interval": "1m", "layerSelector": {} }));
    assert_eq!(
        selected.spec.layer_selector,
        Some(v1::LayerSelector::default())
    );
    let absent = read(&json!({ "url": "oci://a/b", "interval": "1m" }));
    assert_eq!(absent.spec.layer_selector, None);
}

#[test]
fn unknown_fields_are_ignored_at_every_depth() {
    let object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": { "name": "app", "later": 1 },
        "spec": {
            "url": "oci://a/b", "interval": "1m", "later": { "deep": true },
            "ref": { "tag": "1", "later": [] }, "verify": { "provider": "cosign", "later": null },
        },
        "status": { "observedGeneration": 1, "later": "x" },
        "later": {},
    });
    let typed: v1::OCIRepository = serde_json::from_value(object).unwrap();
    assert_eq!(typed.spec.reference.unwrap().tag.as_deref(), Some("1"));
}

#[test]
fn words_the_schema_does_not_know_are_read_as_they_are() {
    let object = read(&json!({
        "url": "https://a/b", "interval": "soon", "timeout": "1h", "provider": "vault",
        "layerSelector": { "operation": "squash" }, "verify": { "provider": "pgp" },
    }));
    assert_eq!(object.spec.provider, "vault");
    assert_eq!(
        object.spec.layer_selector.unwrap().operation.as_deref(),
        Some("squash")
    );
    assert_eq!(object.spec.verify.unwrap().provider, "pgp");
}

#[test]
fn url_and_interval_are_required() {
    for spec in [json!({ "interval": "1m" }), json!({ "url": "oci://a/b" })] {
        let error = try_read(&spec).unwrap_err().to_string();
        assert!(error.contains("missing field"), "{error}");
    }
}

#[test]
fn a_field_of_another_type_is_refused_by_name_of_the_type() {
    let error = try_read(&json!({ "url": "oci://a/b", "interval": 60 }))
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected a string"), "{error}");
}

fn full(api_version: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": "OCIRepository",
        "metadata": { "name": "app", "namespace": "apps", "generation": 3 },
        "spec": {
            "url": "oci://registry.example/org/app",
            "ref": { "digest": "sha256:aa", "semver": ">=1.0.0", "semverFilter": ".*-rc.*", "tag": "1.0.0" },
            "layerSelector": { "mediaType": "application/x", "operation": "copy" },
            "provider": "aws",
            "secretRef": { "name": "login" },
            "verify": {
                "provider": "notation",
                "secretRef": { "name": "keys" },
                "matchOIDCIdentity": [{ "issuer": "^https://issuer$", "subject": "^me$" }],
                "trustedRootSecretRef": { "name": "root" },
            },
            "serviceAccountName": "puller",
            "certSecretRef": { "name": "tls" },
            "proxySecretRef": { "name": "proxy" },
            "interval": "1h30m",
            "timeout": "90s",
            "ignore": "*.md\n",
            "insecure": true,
            "suspend": true,
        },
        "status": {
            "observedGeneration": 3,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored",
                "observedGeneration": 3, "lastTransitionTime": "2026-01-02T03:04:05Z",
            }],
            "url": "http://wharf/ocirepository/apps/app/latest.tar.gz",
            "artifact": {
                "digest": "sha256:bb",
                "lastUpdateTime": "2026-01-02T03:04:05Z",
                "metadata": { "org.opencontainers.image.revision": "main@sha1:cc" },
                "path": "ocirepository/apps/app/sha256:aa.tar.gz",
                "revision": "1.0.0@sha256:aa",
                "size": 1234,
                "url": "http://wharf/ocirepository/apps/app/sha256:aa.tar.gz",
            },
            "observedIgnore": "*.md\n",
            "observedLayerSelector": { "mediaType": "application/x", "operation": "copy" },
            "lastHandledReconcileAt": "2026-01-02T03:00:00Z",
        },
    })
}

fn read(spec: &Value) -> v1::OCIRepository {
    try_read(spec).unwrap()
}

fn try_read(spec: &Value) -> Result<v1::OCIRepository, serde_json::Error> {
    serde_json::from_value(json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": { "name": "app" },
        "spec": spec,
    }))
}
