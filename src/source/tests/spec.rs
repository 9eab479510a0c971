// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::json;

use wharf_oci::select::{SemverPolicy, TagEncoding};

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

fn policy(reference: &serde_json::Value) -> SemverPolicy {
    match parse(&json!({"ref": reference})).unwrap().target {
        Target::Semver(policy) => *policy,
        other => panic!("{reference} is not read as a range: {other:?}"),
    }
}

#[test]
fn a_range_decides_over_a_tag_and_a_digest_over_a_range() {
    let range = policy(&json!({"semver": ">=1.0.0 <2", "semverFilter": "^v", "tag": "3.0.0"}));
    assert_eq!(range.constraint, ">=1.0.0 <2".parse().unwrap());
    assert_eq!(range.filter, Some("^v".parse().unwrap()));
    assert_eq!(range.encoding, TagEncoding::Verbatim);
    let digest = format!("sha256:{}", "a".repeat(64));
    let spec = parse(&json!({"ref": {"semver": "1.x", "digest": digest}})).unwrap();
    assert_eq!(spec.target, Target::Digest(digest.parse().unwrap()));
    // What is not used is not read either, as in Flux.
    let unread = json!({"ref": {"semver": "no range", "tag": "not a tag", "digest": digest}});
    assert!(parse(&unread).is_ok());
}

#[test]
fn an_empty_range_or_filter_is_none() {
    let tag = json!({"ref": {"semver": "", "semverFilter": "(", "tag": "1.0.0"}});
    let tag = parse(&tag).unwrap().target;
    assert_eq!(tag, Target::Tag("1.0.0".parse().unwrap()));
    let alone = parse(&json!({"ref": {"semverFilter": "^v"}}))
        .unwrap()
        .target;
    assert_eq!(alone, Target::Tag(wharf_oci::Tag::latest()));
    let filter = json!({"semver": "1.x", "semverFilter": ""});
    assert_eq!(policy(&filter).filter, None);
}

#[test]
fn a_range_stands_for_itself_in_messages() {
    let spec = parse(&json!({"ref": {"semver": "1.x"}})).unwrap();
    assert_eq!(
        spec.target.reference(&spec.repository),
        "registry.example/org/app:1.x"
    );
}

#[test]
fn a_range_that_cannot_be_read_names_its_field_and_is_not_repeated_at_length() {
    let huge = ">=1.0.0 ".repeat(100_000);
    let groups = "1.x || ".repeat(60) + "2.x";
    for range in [
        "no range",
        " ",
        "1.x ||",
        "><1",
        "99999999999999999999.0.0",
        "1.0.0\u{0}",
        "１.x",
        &groups,
        &huge,
    ] {
        let error = parse(&json!({"ref": {"semver": range}}));
        let Err(error) = error else {
            panic!("{range:?} is read")
        };
        assert_eq!(error.reason(), "ReadOperationFailed");
        let told = error.to_string();
        let head = "failed to determine the artifact tag for 'oci://registry.example/org/app': \
                    spec.ref.semver: ";
        assert!(told.starts_with(head), "{told}");
        assert!(told.len() < 1500 && !told.contains('\0'), "{told}");
    }
}

#[test]
fn a_filter_that_cannot_be_read_names_its_field_and_is_not_repeated_at_length() {
    let deep = "(".repeat(100_000);
    let long = "a".repeat(1 << 20);
    for filter in [
        "(",
        "[z-a]",
        "a{1001}",
        "(?<!a)b",
        "(a)\\1",
        "(((a{1000}){1000}){1000}",
        &deep,
        &long,
    ] {
        let error = parse(&json!({"ref": {"semver": "1.x", "semverFilter": filter}})).unwrap_err();
        assert_eq!(error.reason(), "ReadOperationFailed");
        let told = error.to_string();
        assert!(told.contains(": spec.ref.semverFilter: "), "{told}");
        assert!(told.len() < 1500, "{told}");
    }
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
