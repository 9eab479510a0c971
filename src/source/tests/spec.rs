// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::json;

use super::source;
use crate::source::spec::{SourceSpec, SpecError, Target, host_of, id_of};

fn parse(spec: &serde_json::Value) -> Result<SourceSpec, SpecError> {
    SourceSpec::try_from(&source(spec))
}

#[test]
fn a_plain_source_follows_latest() {
    let spec = parse(&json!({})).unwrap();
    assert_eq!(
        spec.target.reference(&spec.repository),
        "registry.example/org/app:latest"
    );
    assert_eq!(
        (spec.interval, spec.timeout),
        (Duration::from_secs(600), Duration::from_secs(60))
    );
}

#[test]
fn a_digest_decides_over_a_tag() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let spec = parse(&json!({"ref": {"tag": "1.0.0", "digest": digest}})).unwrap();
    assert_eq!(spec.target, Target::Digest(digest.parse().unwrap()));
}

#[test]
fn empty_reference_fields_count_as_absent() {
    let spec =
        parse(&json!({"ref": {"tag": "", "digest": "", "semver": ""}, "serviceAccountName": ""}))
            .unwrap();
    assert_eq!(spec.target, Target::Tag(wharf_oci::Tag::latest()));
}

#[test]
fn a_url_without_scheme_is_told_what_to_write() {
    let error = parse(&json!({"url": "docker.io/org/app"})).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("write 'oci://docker.io/org/app'"),
        "{error}"
    );
    assert_eq!(error.reason(), "URLInvalid");
}

#[test]
fn malformed_urls_are_url_invalid() {
    let huge = format!("oci://registry.example/{}", "a".repeat(1 << 20));
    for url in [
        "https://registry.example/app",
        "oci://",
        "oci://registry.example/App",
        "oci://registry.example/app:1.0",
        "oci://registry.example/app@sha256:00",
        "oci://registry.example/../etc",
        "",
        &huge,
    ] {
        let error = parse(&json!({"url": url})).unwrap_err();
        assert_eq!(error.reason(), "URLInvalid", "{error}");
        assert!(error.to_string().len() < 1500);
    }
}

#[test]
fn malformed_tags_and_digests_name_the_field() {
    let tag = parse(&json!({"ref": {"tag": "not a tag"}})).unwrap_err();
    assert!(
        tag.to_string().contains("spec.ref.tag") && tag.to_string().contains("not a tag"),
        "{tag}"
    );
    let digest = parse(&json!({"ref": {"digest": "sha256:short"}})).unwrap_err();
    assert!(digest.to_string().contains("spec.ref.digest"), "{digest}");
}

#[test]
fn malformed_durations_name_the_field() {
    for (field, value) in [("interval", "5"), ("interval", ""), ("timeout", "soon")] {
        let error = parse(&json!({field: value})).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("spec.{field}: ")),
            "{error}"
        );
    }
}

#[test]
fn no_field_is_silently_ignored() {
    let unsupported = [
        ("verify", json!({"verify": {"provider": "cosign"}})),
        ("ignore", json!({"ignore": ""})),
        ("layerSelector", json!({"layerSelector": {}})),
        (
            "serviceAccountName",
            json!({"serviceAccountName": "puller"}),
        ),
        ("provider", json!({"provider": "aws"})),
    ];
    for (field, spec) in unsupported {
        assert_eq!(parse(&spec).unwrap_err(), SpecError::Unsupported { field });
    }
}

#[test]
fn the_id_and_the_host_are_known_without_a_valid_spec() {
    let object = source(&json!({"verify": {"provider": "cosign"}}));
    assert_eq!(id_of(&object).to_string(), "apps/app");
    assert_eq!(host_of(&object), "registry.example");
    assert_eq!(host_of(&source(&json!({"url": "nonsense"}))), "");
}
