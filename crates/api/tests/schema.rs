// SPDX-License-Identifier: Apache-2.0
//! What a cluster is told about `OCIRepository`: each fact of Flux's definition, one by one.

#![cfg(test)]

use serde_json::{Value, json};

const VERSIONS: [&str; 2] = ["v1", "v1beta2"];

#[test]
fn one_definition_carries_the_names_of_flux() {
    let crds = wharf_api::crds();
    assert_eq!(crds.len(), 1);
    let crd = definition();
    assert_eq!(
        crd["metadata"]["name"],
        "ocirepositories.source.toolkit.fluxcd.io"
    );
    assert_eq!(crd["spec"]["group"], "source.toolkit.fluxcd.io");
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    assert_eq!(
        crd["spec"]["names"],
        json!({
            "kind": "OCIRepository",
            "listKind": "OCIRepositoryList",
            "plural": "ocirepositories",
            "singular": "ocirepository",
            "shortNames": ["ocirepo"],
            "categories": ["all", "fluxcd", "fluxcd-sources"],
        })
    );
}

#[test]
fn kustomize_controller_is_told_to_leave_dollars_alone() {
    assert_eq!(
        definition()["metadata"]["annotations"],
        json!({ "kustomize.toolkit.fluxcd.io/substitute": "disabled" })
    );
}

#[test]
fn v1_is_served_and_stored() {
    let v1 = version("v1");
    assert_eq!(v1["served"], true);
    assert_eq!(v1["storage"], true);
    assert!(v1.get("deprecated").is_none());
}

#[test]
fn v1beta2_is_served_never_stored_and_deprecated_with_a_warning_the_api_accepts() {
    let old = version("v1beta2");
    assert_eq!(old["served"], true);
    assert_eq!(old["storage"], false);
    assert_eq!(old["deprecated"], true);
    let warning = old["deprecationWarning"].as_str().unwrap();
    assert!(
        warning.contains("source.toolkit.fluxcd.io/v1,"),
        "{warning}"
    );
    assert!((1..=256).contains(&warning.len()), "{}", warning.len());
}

#[test]
fn there_are_no_other_versions_and_no_conversion() {
    let crd = definition();
    let names: Vec<_> = crd["spec"]["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].clone())
        .collect();
    assert_eq!(names, VERSIONS);
    assert!(crd["spec"].get("conversion").is_none());
}

#[test]
fn status_is_a_subresource() {
    for name in VERSIONS {
        assert_eq!(
            version(name)["subresources"],
            json!({ "status": {} }),
            "{name}"
        );
    }
}

#[test]
fn the_printer_columns_are_url_ready_status_age_in_this_order() {
    for name in VERSIONS {
        assert_eq!(
            version(name)["additionalPrinterColumns"],
            json!([
                { "name": "URL", "type": "string", "jsonPath": ".spec.url" },
                {
                    "name": "Ready", "type": "string",
                    "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
                },
                {
                    "name": "Status", "type": "string",
                    "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message",
                },
                { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
            ]),
            "{name}"
        );
    }
}

#[test]
fn the_spec_has_the_fields_of_the_contract_and_no_others() {
    for name in VERSIONS {
        let spec = bare(&spec(name));
        let reference = json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } });
        let text = json!({ "type": "string" });
        let expected = json!({
            "type": "object",
            "required": ["interval", "url"],
            "properties": {
                "url": { "type": "string", "pattern": "^oci://.*$" },
                "interval": { "type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$" },
                "timeout": { "type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$", "default": "60s" },
                "provider": { "type": "string", "enum": ["generic", "aws", "azure", "gcp"], "default": "generic" },
                "ref": {
                    "type": "object",
                    "properties": { "digest": text, "semver": text, "semverFilter": text, "tag": text },
                },
                "layerSelector": layer_selector(),
                "secretRef": reference,
                "serviceAccountName": text,
                "certSecretRef": reference,
                "proxySecretRef": reference,
                "verify": {
                    "type": "object",
                    "required": ["provider"],
                    "properties": {
                        "provider": { "type": "string", "enum": ["cosign", "notation"], "default": "cosign" },
                        "secretRef": reference,
                        "matchOIDCIdentity": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["issuer", "subject"],
                                "properties": { "issuer": text, "subject": text },
                            },
                        },
                        "trustedRootSecretRef": reference,
                    },
                },
                "ignore": text,
                "insecure": { "type": "boolean" },
                "suspend": { "type": "boolean" },
            },
        });
        assert_eq!(spec, expected, "{name}");
    }
}

#[test]
fn the_status_has_the_fields_of_the_contract_and_no_others() {
    let status = bare(&schema("v1")["properties"]["status"]);
    assert_eq!(status["properties"], status_fields());
    assert_eq!(status["type"], "object");
    assert!(status.get("required").is_none());
}

#[test]
fn v1beta2_adds_one_status_field() {
    let status = bare(&schema("v1beta2")["properties"]["status"]);
    let mut expected = status_fields();
    expected["contentConfigChecksum"] = json!({ "type": "string" });
    assert_eq!(status["properties"], expected);
    assert_eq!(status["type"], "object");
    assert!(status.get("required").is_none());
}

#[test]
fn a_new_object_starts_with_generation_minus_one_observed() {
    for name in VERSIONS {
        let status = &schema(name)["properties"]["status"];
        assert_eq!(
            status["default"],
            json!({ "observedGeneration": -1 }),
            "{name}"
        );
    }
}

#[test]
fn an_object_without_a_spec_is_accepted() {
    for name in VERSIONS {
        assert!(schema(name).get("required").is_none(), "{name}");
    }
}

#[test]
fn conditions_are_a_plain_list_of_the_standard_items() {
    for name in VERSIONS {
        let conditions = bare(&schema(name)["properties"]["status"]["properties"]["conditions"]);
        assert_eq!(conditions, conditions_field(), "{name}");
    }
}

#[test]
fn the_schema_is_structural() {
    for name in VERSIONS {
        walk(&schema(name), &mut |keyword, _| {
            let refused = [
                "$ref",
                "$schema",
                "definitions",
                "$defs",
                "nullable",
                "oneOf",
                "anyOf",
                "allOf",
                "not",
                "title",
                "x-kubernetes-list-type",
                "x-kubernetes-preserve-unknown-fields",
            ];
            assert!(!refused.contains(&keyword), "{name} uses {keyword}");
        });
    }
}

#[test]
fn integers_are_int64() {
    for name in VERSIONS {
        let root = schema(name);
        let status = &root["properties"]["status"]["properties"];
        for field in [
            &status["observedGeneration"],
            &status["artifact"]["properties"]["size"],
        ] {
            assert_eq!(field["type"], "integer", "{name}");
            assert_eq!(field["format"], "int64", "{name}");
        }
    }
}

#[test]
fn every_field_is_explained() {
    for name in VERSIONS {
        walk(&schema(name), &mut |keyword, value| {
            if keyword == "properties" {
                let fields = value.as_object().unwrap();
                for (field, schema) in fields.iter().filter(|(field, _)| *field != "metadata") {
                    assert!(
                        schema["description"].is_string(),
                        "{name}: {field} has no description"
                    );
                }
            }
        });
    }
}

fn status_fields() -> Value {
    json!({
        "observedGeneration": { "type": "integer", "format": "int64" },
        "conditions": conditions_field(),
        "url": { "type": "string" },
        "artifact": {
            "type": "object",
            "required": ["digest", "lastUpdateTime", "path", "revision", "url"],
            "properties": {
                "digest": { "type": "string", "pattern": "^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$" },
                "path": { "type": "string" },
                "url": { "type": "string" },
                "revision": { "type": "string" },
                "lastUpdateTime": { "type": "string", "format": "date-time" },
                "size": { "type": "integer", "format": "int64" },
                "metadata": { "type": "object", "additionalProperties": { "type": "string" } },
            },
        },
        "observedIgnore": { "type": "string" },
        "observedLayerSelector": layer_selector(),
        "lastHandledReconcileAt": { "type": "string" },
    })
}

fn layer_selector() -> Value {
    json!({
        "type": "object",
        "properties": {
            "mediaType": { "type": "string" },
            "operation": { "type": "string", "enum": ["extract", "copy"] },
        },
    })
}

fn conditions_field() -> Value {
    let qualified_name = concat!(
        r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
        r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
    );
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "message": { "type": "string", "maxLength": 32768 },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0.0 },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "type": { "type": "string", "maxLength": 316, "pattern": qualified_name },
            },
        },
    })
}

fn definition() -> Value {
    serde_json::to_value(&wharf_api::crds()[0]).unwrap()
}

fn version(name: &str) -> Value {
    let crd = definition();
    let versions = crd["spec"]["versions"].as_array().unwrap();
    versions
        .iter()
        .find(|version| version["name"] == name)
        .unwrap()
        .clone()
}

fn schema(name: &str) -> Value {
    version(name)["schema"]["openAPIV3Schema"].clone()
}

fn spec(name: &str) -> Value {
    schema(name)["properties"]["spec"].clone()
}

/// The schema without its prose, in all depths.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, value)| !(*key == "description" && value.is_string()))
            .map(|(key, value)| (key.clone(), bare(value)))
            .collect(),
        other => other.clone(),
    }
}

/// Visits every keyword of the schema, in all depths; the names of fields are not keywords.
fn walk(schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    for (keyword, value) in schema.as_object().unwrap() {
        visit(keyword, value);
        match keyword.as_str() {
            "properties" => value
                .as_object()
                .unwrap()
                .values()
                .for_each(|field| walk(field, visit)),
            "items" | "additionalProperties" => walk(value, visit),
            _ => {}
        }
    }
}
