// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};
use wharf_oci::{
    Algorithm, Digest,
    registry::{Error, ErrorKind, Limits, Referrers, ReferrersApi, ReferrersOrigin, Session},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Artifact, Endpoint, Fault, OCI_INDEX, OCI_MANIFEST, Rule, SeededArtifact},
};

use crate::support::*;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SBOM: &str = "application/spdx+json";

fn digest_of(artifact: &SeededArtifact) -> Digest {
    artifact.manifest_digest.parse().unwrap()
}

/// A signature and an SBOM of an artifact; their digests.
fn refer(registry: &FakeRegistry, subject: &SeededArtifact) -> [Digest; 2] {
    [BUNDLE, SBOM].map(|kind| {
        let referrer = Artifact::new().subject(subject).artifact_type(kind);
        digest_of(&registry.push(REPOSITORY, &format!("about-{}", kind.len()), &referrer))
    })
}

fn digests(referrers: &Referrers) -> Vec<Digest> {
    let mut digests: Vec<_> = referrers
        .manifests
        .iter()
        .map(|entry| entry.digest.clone())
        .collect();
    digests.sort();
    digests
}

fn sorted<const N: usize>(mut digests: [Digest; N]) -> Vec<Digest> {
    digests.sort();
    digests.into()
}

fn entry(n: usize) -> Value {
    json!({"mediaType": OCI_MANIFEST, "digest": Digest::sha256_of(&n.to_le_bytes()), "size": n})
}

fn index(entries: &[Value]) -> String {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).to_string()
}

fn page(entries: &[Value], headers: &[(&str, &str)]) -> Fault {
    let headers = [&[("content-type", OCI_INDEX)], headers].concat();
    Fault::status_with(200, &headers, index(entries))
}

async fn scripted(pages: impl IntoIterator<Item = Fault>) -> (FakeRegistry, SeededArtifact) {
    let registry = FakeRegistry::start().await;
    let subject = seed(&registry, "layer");
    registry.script(Rule::on(Endpoint::Referrers).faults(pages));
    (registry, subject)
}

async fn ask(session: &Session, subject: &SeededArtifact) -> Result<Referrers, Error> {
    session.referrers(&digest_of(subject), None).await
}

#[tokio::test]
async fn the_api_is_asked_and_believed() {
    let registry = FakeRegistry::start().await;
    let subject = seed(&registry, "layer");
    let expected = refer(&registry, &subject);
    let got = ask(&anonymous(&registry), &subject).await.unwrap();
    assert_eq!(digests(&got), sorted(expected));
    assert_eq!(
        (got.origin, got.api, got.left_out),
        (ReferrersOrigin::Api, ReferrersApi::Listed, 0)
    );
    let types: Vec<_> = got
        .manifests
        .iter()
        .map(|entry| entry.artifact_type.clone().unwrap())
        .collect();
    assert!(
        types.contains(&BUNDLE.to_owned()) && types.contains(&SBOM.to_owned()),
        "{types:?}"
    );
}

#[tokio::test]
async fn what_nothing_refers_to_has_no_referrers() {
    let registry = FakeRegistry::start().await;
    let subject = seed(&registry, "layer");
    let got = ask(&anonymous(&registry), &subject).await.unwrap();
    assert_eq!((got.manifests.len(), got.origin), (0, ReferrersOrigin::Api));
    assert_eq!(
        registry
            .requests()
            .iter()
            .filter(|seen| seen.endpoint == Some(Endpoint::Manifest))
            .count(),
        0
    );
}

#[tokio::test]
async fn a_type_is_asked_for_and_seen_to() {
    let registry = FakeRegistry::start().await;
    let subject = seed(&registry, "layer");
    let [bundle, _] = refer(&registry, &subject);
    let session = anonymous(&registry);
    let got = session
        .referrers(&digest_of(&subject), Some(BUNDLE))
        .await
        .unwrap();
    assert_eq!((digests(&got), got.left_out), (vec![bundle.clone()], 0));
    let asked = registry.requests_to(Endpoint::Referrers)[0].query.clone();
    assert_eq!(
        asked,
        "artifactType=application%2Fvnd.dev.sigstore.bundle.v0.3%2Bjson"
    );
    let with_type = |n: usize, kind: &str| {
        let mut entry = entry(n);
        entry["artifactType"] = json!(kind);
        entry
    };
    let all = [with_type(1, BUNDLE), with_type(2, SBOM), entry(3)];
    for (headers, kept) in [
        (&[][..], 1),
        (&[("oci-filters-applied", "artifactType")][..], 2),
        (&[("OCI-Filters-Applied", "other, artifactType")][..], 2),
        (&[("oci-filters-applied", "annotation")][..], 1),
    ] {
        let (registry, subject) = scripted([page(&all, headers)]).await;
        let got = anonymous(&registry)
            .referrers(&digest_of(&subject), Some(BUNDLE))
            .await
            .unwrap();
        assert_eq!(
            (got.manifests.len(), got.left_out),
            (kept, 3 - kept),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn pages_are_followed_within_the_origin_only() {
    let more = [("link", "<?p=2>; rel=next")];
    let (registry, subject) = scripted([
        page(&[entry(1), entry(2)], &more),
        page(&[entry(2), entry(3)], &[]),
    ])
    .await;
    let got = ask(&anonymous(&registry), &subject).await.unwrap();
    assert_eq!(
        got.manifests
            .iter()
            .map(|entry| entry.size)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let other = FakeRegistry::start().await;
    let foreign = format!("<{}/x>; rel=next", other.base_url());
    let (registry, subject) = scripted([page(&[entry(1)], &[("link", &foreign)])]).await;
    let error = ask(&anonymous(&registry), &subject).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains(&other.host()), "{error}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_later_page_that_fails_fails_the_list() {
    for (status, kind) in [
        (404, ErrorKind::NotFound),
        (303, ErrorKind::Protocol),
        (405, ErrorKind::Protocol),
        (403, ErrorKind::Forbidden),
        (500, ErrorKind::Server),
    ] {
        let more = [("link", "<?p=2>; rel=next")];
        let (registry, subject) = scripted([page(&[entry(1)], &more)]).await;
        registry.script(Rule::on(Endpoint::Referrers).fault(Fault::status(status)));
        let error = ask(&anonymous(&registry), &subject).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("page 2"), "{error}");
    }
}

#[tokio::test]
async fn each_way_of_having_no_api_is_told_apart_and_the_tag_is_read() {
    let text = |status| {
        Fault::status_with(
            status,
            &[("content-type", "text/plain; charset=utf-8")],
            "404 page not found\n",
        )
    };
    let html =
        |status| Fault::status_with(status, &[("content-type", "text/html")], "<html></html>");
    for (answer, api) in [
        (text(404), ReferrersApi::NotFound),
        (html(404), ReferrersApi::NotFound),
        (
            Fault::Redirect("https://github.invalid/-/v2/packages/x".into(), 303),
            ReferrersApi::SeeOther,
        ),
        (text(405), ReferrersApi::MethodNotAllowed),
        (html(400), ReferrersApi::Rejected),
        (Fault::Html, ReferrersApi::Page),
    ] {
        let (registry, subject) = scripted([answer.clone(), answer.clone()]).await;
        let digest = digest_of(&subject);
        let session = anonymous(&registry);
        let none = ask(&session, &subject).await.unwrap();
        assert_eq!(
            (none.manifests.len(), none.origin, none.api),
            (0, ReferrersOrigin::TagSchema, api),
            "{answer:?}"
        );
        registry.put_manifest(
            REPOSITORY,
            &format!("sha256-{}", digest.hex()),
            OCI_INDEX,
            index(&[entry(7)]),
        );
        let one = ask(&session, &subject).await.unwrap();
        assert_eq!(
            (one.manifests[0].size, one.origin, one.api),
            (7, ReferrersOrigin::TagSchema, api)
        );
    }
}

#[tokio::test]
async fn being_denied_limited_or_not_served_is_never_none() {
    for (status, kind) in [
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Forbidden),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Server),
        (501, ErrorKind::Server),
        (503, ErrorKind::Server),
        (418, ErrorKind::Protocol),
    ] {
        for at_the_tag in [false, true] {
            let registry = FakeRegistry::builder()
                .without_referrers()
                .start()
                .await
                .unwrap();
            let subject = seed(&registry, "layer");
            let endpoint = if at_the_tag {
                Endpoint::Manifest
            } else {
                Endpoint::Referrers
            };
            registry.script(Rule::on(endpoint).fault(Fault::status(status)));
            let error = ask(&anonymous(&registry), &subject).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.status()),
                (kind, Some(status)),
                "{at_the_tag}"
            );
            assert!(
                error.to_string().contains(&subject.manifest_digest),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_list_that_breaks_off_is_never_none() {
    for fault in [Fault::ResetAt(3), Fault::CloseAt(3)] {
        let with_api = FakeRegistry::start().await;
        let subject = seed(&with_api, "layer");
        with_api.script(Rule::on(Endpoint::Referrers).fault(fault.clone()));
        let error = ask(&anonymous(&with_api), &subject).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let without = FakeRegistry::builder()
            .without_referrers()
            .start()
            .await
            .unwrap();
        let subject = seed(&without, "layer");
        let tag = format!("sha256-{}", digest_of(&subject).hex());
        without.put_manifest(REPOSITORY, &tag, OCI_INDEX, index(&[]));
        without.script(Rule::on(Endpoint::Manifest).fault(fault));
        let error = ask(&anonymous(&without), &subject).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn what_stands_under_the_tag_must_be_an_index() {
    for (kind, text, message) in [
        (OCI_MANIFEST, None, "is not an index"),
        (OCI_INDEX, Some("{}"), "schema version"),
        (OCI_INDEX, Some("<html>"), "JSON"),
        ("text/html", Some("<html>"), "JSON"),
        (
            "application/x",
            Some(r#"{"schemaVersion":2,"manifests":[]}"#),
            "\"application/x\"",
        ),
        (
            OCI_MANIFEST,
            Some(r#"{"schemaVersion":2,"manifests":[]}"#),
            "ambiguous",
        ),
    ] {
        let registry = FakeRegistry::builder()
            .without_referrers()
            .start()
            .await
            .unwrap();
        let subject = seed(&registry, "layer");
        let tag = format!("sha256-{}", digest_of(&subject).hex());
        let bytes = text.map_or_else(|| subject.manifest.clone(), |text| text.to_owned().into());
        registry.put_manifest(REPOSITORY, &tag, kind, bytes);
        let error = ask(&anonymous(&registry), &subject).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ManifestInvalid, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn the_tag_of_a_long_digest_is_cut() {
    let registry = FakeRegistry::builder()
        .without_referrers()
        .start()
        .await
        .unwrap();
    seed(&registry, "layer");
    let digest = Digest::of(Algorithm::Sha512, b"x");
    let tag = format!("sha512-{}", &digest.hex()[..64]);
    registry.put_manifest(REPOSITORY, &tag, OCI_INDEX, index(&[entry(1)]));
    let got = anonymous(&registry).referrers(&digest, None).await.unwrap();
    assert_eq!(
        (got.manifests.len(), got.origin),
        (1, ReferrersOrigin::TagSchema)
    );
}

#[tokio::test]
async fn a_list_from_the_api_that_is_none_is_an_error() {
    let with = |field: &str, value: Value| {
        let mut entry = entry(1);
        entry[field] = value;
        index(&[entry])
    };
    for body in [
        String::new(),
        "{}".into(),
        "[]".into(),
        "<html></html>".into(),
        r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.into(),
        r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#.into(),
        with("digest", json!("sha256:00")),
        with("size", json!(-1)),
        with("size", json!(1.5)),
        with("size", json!("1")),
        with("mediaType", Value::Null),
    ] {
        let fault = Fault::status_with(200, &[("content-type", OCI_INDEX)], body.clone());
        let (registry, subject) = scripted([fault]).await;
        let error = ask(&anonymous(&registry), &subject).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ManifestInvalid, "{body}: {error}");
        assert_eq!(registry.requests_to(Endpoint::Manifest).len(), 0);
    }
}

#[tokio::test]
async fn a_list_without_its_type_is_read_as_what_it_must_be() {
    for (kind, body) in [
        (
            "application/json",
            r#"{"schemaVersion":2,"manifests":null}"#,
        ),
        ("", r#"{"schemaVersion":2,"manifests":[]}"#),
    ] {
        let fault = Fault::status_with(200, &[("content-type", kind)], body);
        let (registry, subject) = scripted([fault]).await;
        let got = ask(&anonymous(&registry), &subject).await.unwrap();
        assert_eq!((got.manifests.len(), got.origin), (0, ReferrersOrigin::Api));
    }
}

#[tokio::test]
async fn lists_end_at_caps_that_are_named() {
    for (limits, words) in [
        (
            Limits {
                referrers: 5,
                ..Limits::default()
            },
            "limit of 5 entries",
        ),
        (
            Limits {
                referrer_pages: 5,
                ..Limits::default()
            },
            "limit of 5 pages",
        ),
        (
            Limits {
                referrer_bytes: 999,
                ..Limits::default()
            },
            "limit of 999 bytes",
        ),
        (
            Limits {
                manifest: 99,
                ..Limits::default()
            },
            "limit of 99 bytes",
        ),
    ] {
        let links: Vec<_> = (0..50).map(|n| format!("<?p={n}>; rel=next")).collect();
        let pages = links
            .iter()
            .enumerate()
            .map(|(n, link)| page(&[entry(n)], &[("link", link)]));
        let (registry, subject) = scripted(pages).await;
        let session = session_within(&registry, limits);
        let error = ask(&session, &subject).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let links: Vec<_> = (0..50).map(|n| format!("<?p={n}>; rel=next")).collect();
    let (registry, subject) = scripted(
        links
            .iter()
            .map(|link| page(&[entry(1)], &[("link", link)])),
    )
    .await;
    let error = ask(&anonymous(&registry), &subject).await.unwrap_err();
    assert!(error.to_string().contains("does not end"), "{error}");
}

#[tokio::test]
async fn an_endless_list_is_cut_off() {
    for endpoint in [Endpoint::Referrers, Endpoint::Manifest] {
        let registry = FakeRegistry::builder()
            .without_referrers()
            .start()
            .await
            .unwrap();
        let subject = seed(&registry, "layer");
        let tag = format!("sha256-{}", digest_of(&subject).hex());
        registry.put_manifest(REPOSITORY, &tag, OCI_INDEX, index(&[]));
        if endpoint == Endpoint::Referrers {
            registry.script(Rule::on(endpoint).fault(Fault::status_with(
                200,
                &[("content-type", OCI_INDEX)],
                vec![b' '; (4 << 20) + 1],
            )));
        } else {
            registry.script(Rule::on(endpoint).fault(Fault::EndlessChunked));
        }
        let error = ask(&anonymous(&registry), &subject).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
}
