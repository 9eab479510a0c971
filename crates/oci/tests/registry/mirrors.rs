// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use bytes::Bytes;
use wharf_oci::{
    Digest, media_type,
    registry::{
        Access, Client, Content, Credentials, ErrorKind, Host, Hosts, Mirror, Options, Session,
        Target, Timeouts, Tls,
    },
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, FLUX_CONTENT, Fault, Rule, SeededArtifact},
    tls::Authority,
};

use crate::support::*;

const LAYER: &[u8] = b"the layer";

/// A registry and another one with the same content.
async fn registry_and_mirror() -> (FakeRegistry, FakeRegistry, SeededArtifact) {
    let (registry, mirror) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let seeded = seed(&registry, LAYER);
    seed(&mirror, LAYER);
    (registry, mirror, seeded)
}

fn with_mirrors(mirrors: &[Mirror]) -> Host {
    Host {
        mirrors: mirrors.to_vec(),
        ..Host::default()
    }
}

fn client_with(hosts: impl IntoIterator<Item = (String, Host)>) -> Client {
    let options = Options {
        hosts: Hosts::new(hosts),
        ..options()
    };
    Client::new(options).unwrap()
}

/// For digests only.
fn at(mirror: &FakeRegistry) -> Mirror {
    Mirror::parse(&mirror.host(), false).unwrap()
}

fn trusted(mirror: &FakeRegistry) -> Mirror {
    Mirror::parse(&mirror.host(), true).unwrap()
}

fn session(registry: &FakeRegistry, mirrors: &[Mirror]) -> Session {
    session_as(registry, mirrors, &Access::default())
}

fn session_as(registry: &FakeRegistry, mirrors: &[Mirror], access: &Access) -> Session {
    let client = client_with([(registry.host(), with_mirrors(mirrors))]);
    let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    client.session(repository, access).unwrap()
}

fn asked(registry: &FakeRegistry) -> usize {
    let mut seen = registry.requests();
    seen.retain(|seen| seen.endpoint != Some(Endpoint::Ping));
    seen.len()
}

fn digest(seeded: &SeededArtifact) -> Digest {
    seeded.manifest_digest.parse().unwrap()
}

#[tokio::test]
async fn what_a_digest_proves_comes_from_the_mirror() {
    let (registry, mirror, _) = registry_and_mirror().await;
    let session = session(&registry, &[at(&mirror)]);
    assert_eq!(pull(&session).await.unwrap(), LAYER);
    // The registry itself was asked for the tag and for nothing else.
    assert_eq!(asked(&registry), 1);
    assert!(mirror.requests_to(Endpoint::Manifest).len() == 1);
    assert!(mirror.requests_to(Endpoint::Blob).len() == 1);
}

#[tokio::test]
async fn a_mirror_that_may_resolve_tags_is_asked_for_them() {
    let (registry, mirror, seeded) = registry_and_mirror().await;
    let session = session(&registry, &[trusted(&mirror)]);
    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    assert_eq!(resolved.revision(), seeded.revision());
    assert_eq!(resolved.repository, *session.repository());
    assert_eq!(pull(&session).await.unwrap(), LAYER);
    assert_eq!(asked(&registry), 0);
}

#[tokio::test]
async fn the_next_list_of_tags_is_another_s_when_a_mirror_broke_one_off() {
    let paged = || FakeRegistry::builder().tag_page(1).start();
    let (registry, mirror) = (paged().await.unwrap(), paged().await.unwrap());
    for (place, tags) in [(&registry, ["1", "2", "3"]), (&mirror, ["1", "7", "9"])] {
        for tag in tags {
            place.push_artifact(REPOSITORY, tag, LAYER, FLUX_CONTENT);
        }
    }
    mirror.script(Rule::on(Endpoint::Tags).skip(1).fault(Fault::status(403)));
    let session = session(&registry, &[trusted(&mirror)]);
    let mut broken = session.tags();
    assert!(broken.next_page().await.unwrap().is_some());
    let error = broken.next_page().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let named = format!(
        "list tags, page 2 in {}/{REPOSITORY}: mirror",
        registry.host()
    );
    assert!(error.to_string().starts_with(&named), "{error}");
    assert!(broken.is_from_mirror());
    assert_eq!(registry.requests_to(Endpoint::Tags).len(), 0);

    let (mut tags, mut whole) = (Vec::new(), session.tags());
    while let Some(page) = whole.next_page().await.unwrap() {
        tags.extend(page.tags.iter().map(ToString::to_string));
    }
    assert!(!whole.is_from_mirror());
    assert_eq!(tags, ["1", "2", "3"]);
    assert_eq!(mirror.requests_to(Endpoint::Tags).len(), 2);
}

#[tokio::test]
async fn a_prefix_stands_before_the_repository() {
    let (registry, mirror, _) = registry_and_mirror().await;
    let below = format!("cache/hub/{REPOSITORY}");
    mirror.push_artifact(&below, "1.0.0", LAYER, FLUX_CONTENT);
    let place = Mirror::parse(&format!("http://{}/cache/hub", mirror.host()), false).unwrap();
    let session = session(&registry, &[place]);
    assert_eq!(pull(&session).await.unwrap(), LAYER);
    let seen = mirror.requests_to(Endpoint::Manifest);
    assert!(
        seen.iter().all(|seen| seen.path.contains(&below)),
        "{seen:?}"
    );
    assert_eq!(asked(&registry), 1);
}

#[tokio::test]
async fn a_mirror_that_fails_in_any_way_is_passed_over_after_one_attempt() {
    let large = Fault::OtherBody(Bytes::from(vec![b' '; 5 << 20]));
    for fault in [
        Fault::status(400),
        Fault::status(401),
        Fault::status(403),
        Fault::status(404),
        Fault::status(418),
        Fault::status(500),
        Fault::status(503),
        Fault::retry_after(429, "1"),
        Fault::Html,
        Fault::WrongDigest,
        Fault::ResetAt(3),
        Fault::CloseAt(0),
        Fault::WrongLength(7),
        Fault::Redirect("http://169.254.169.254/canary".into(), 307),
        Fault::Redirect("ftp://nowhere".into(), 307),
        large,
    ] {
        for endpoint in [Endpoint::Manifest, Endpoint::Blob] {
            let (registry, mirror, _) = registry_and_mirror().await;
            mirror.script(Rule::on(endpoint).fault(fault.clone()));
            let session = session(&registry, &[at(&mirror)]);
            let got = pull(&session).await;
            assert_eq!(got.unwrap(), LAYER, "{endpoint:?} {fault:?}");
            assert_eq!(mirror.requests_to(endpoint).len(), 1, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn mirrors_are_asked_in_their_order_until_one_answers() {
    let (registry, good, _) = registry_and_mirror().await;
    let empty = FakeRegistry::start().await;
    let last = FakeRegistry::start().await;
    let session = session(&registry, &[at(&empty), at(&good), at(&last)]);
    assert_eq!(pull(&session).await.unwrap(), LAYER);
    assert_eq!((asked(&empty), asked(&good), asked(&last)), (2, 2, 0));
    assert_eq!(asked(&registry), 1);
}

#[tokio::test]
async fn a_mirror_that_is_out_of_order_is_left_alone_and_one_that_lacks_something_is_not() {
    for (code, expected) in [(503, 1), (404, 3)] {
        let (registry, mirror, seeded) = registry_and_mirror().await;
        mirror.script(Rule::on(Endpoint::Manifest).fault(Fault::status(code)));
        let client = client_with([(registry.host(), with_mirrors(&[at(&mirror)]))]);
        for _ in 0..3 {
            // Remembered by the process, not by a session.
            let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
            let session = client.session(repository, &Access::default()).unwrap();
            session.manifest(&digest(&seeded)).await.unwrap();
        }
        assert_eq!(asked(&mirror), expected, "{code}");
        let [status] = client.mirrors().try_into().unwrap();
        assert_eq!(status.mirror, mirror.host());
        assert_eq!(status.failed, expected as u64);
        assert_eq!(status.is_resting, code == 503);
    }
}

#[tokio::test]
async fn the_error_is_the_registrys_and_names_the_mirrors() {
    let (registry, mirror, seeded) = registry_and_mirror().await;
    let said = Fault::status_with(418, &[], r#"{"errors":[{"code":"CANARY"}]}"#);
    mirror.script(Rule::on(Endpoint::Manifest).fault(said));
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(403)));
    let error = session(&registry, &[at(&mirror)])
        .manifest(&digest(&seeded))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    let text = error.to_string();
    assert!(text.contains("mirrors were tried first"), "{text}");
    let named = format!("mirror {}: protocol", mirror.host());
    assert!(text.contains(&named), "{text}");
}

#[tokio::test]
async fn a_mirror_serves_while_the_registry_is_away() {
    let (registry, mirror, seeded) = registry_and_mirror().await;
    let session = session(&registry, &[at(&mirror)]);
    registry.shutdown();
    let target = Target::Digest(digest(&seeded));
    let resolved = session.resolve(&target).await.unwrap();
    let image = session.image(&resolved).await.unwrap();
    let layer = download(&session, &image.manifest.layers[0]).await;
    assert_eq!(layer.unwrap(), LAYER);
}

#[tokio::test]
async fn an_unreachable_mirror_and_a_forbidden_one_cost_nothing_but_the_try() {
    let (registry, gone, _) = registry_and_mirror().await;
    let closed = at(&gone);
    gone.shutdown();
    let metadata = Mirror::parse("http://169.254.169.254", true).unwrap();
    let session = session(&registry, &[closed, metadata]);
    assert_eq!(pull(&session).await.unwrap(), LAYER);
}

#[tokio::test]
async fn a_mirror_that_says_nothing_or_too_little_is_given_up() {
    let drip = Fault::Drip {
        bytes: 1,
        every: Duration::from_millis(100),
    };
    for fault in [Fault::Silence, drip, Fault::Endless] {
        let (registry, mirror, seeded) = registry_and_mirror().await;
        mirror.script(Rule::on(Endpoint::Manifest).fault(fault.clone()));
        let options = Options {
            timeouts: Timeouts {
                response: Duration::from_secs(2),
                document: Duration::from_secs(2),
                ..Timeouts::default()
            },
            hosts: Hosts::new([(registry.host(), with_mirrors(&[at(&mirror)]))]),
            ..options()
        };
        let session = session_with(&registry, &Access::default(), options);
        let document = session.manifest(&digest(&seeded)).await.unwrap();
        assert_eq!(document.bytes, seeded.manifest, "{fault:?}");
        assert_eq!(mirror.requests_to(Endpoint::Manifest).len(), 1);
    }
}

#[tokio::test]
async fn pushes_never_go_to_a_mirror() {
    let (registry, mirror, _) = registry_and_mirror().await;
    let session = session(&registry, &[trusted(&mirror)]);
    let blob = descriptor(b"new");
    let content = Content::Bytes(Bytes::from_static(b"new"));
    assert!(!session.has_blob(&blob.digest).await.unwrap());
    session.push_blob(&blob, &content).await.unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": blob, "layers": [],
    });
    let bytes = Bytes::from(manifest.to_string());
    session
        .push_manifest(&tag("2.0.0"), bytes, media_type::OCI_MANIFEST)
        .await
        .unwrap();
    assert!(mirror.requests().is_empty());
}

#[tokio::test]
async fn a_sources_credentials_never_go_to_a_mirror() {
    let registry = FakeRegistry::builder()
        .basic("user", "password")
        .start()
        .await
        .unwrap();
    seed(&registry, LAYER);
    for builder in [
        FakeRegistry::builder().basic("user", "password"),
        FakeRegistry::builder().bearer("user", "password"),
    ] {
        let mirror = builder.start().await.unwrap();
        seed(&mirror, LAYER);
        let access = basic("user", "password");
        let session = session_as(&registry, &[trusted(&mirror)], &access);
        assert_eq!(pull(&session).await.unwrap(), LAYER);
        let seen = mirror.requests();
        assert!(!seen.is_empty());
        assert!(seen.iter().all(|seen| seen.authorization.is_none()));
    }
}

#[tokio::test]
async fn a_mirror_has_credentials_of_its_own_and_nobody_else_has_them() {
    let registry = FakeRegistry::start().await;
    seed(&registry, LAYER);
    let mirror = FakeRegistry::builder()
        .bearer("mirror", "secret")
        .start()
        .await
        .unwrap();
    seed(&mirror, LAYER);
    let of_mirror = Host {
        mirror_credentials: Credentials::basic("mirror", "secret", "the settings"),
        ..Host::default()
    };
    let hosts = [
        (registry.host(), with_mirrors(&[at(&mirror)])),
        (mirror.host(), of_mirror),
    ];
    let client = client_with(hosts);
    let session = |host: String| {
        let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
        client.session(repository, &Access::default()).unwrap()
    };
    assert_eq!(pull(&session(registry.host())).await.unwrap(), LAYER);
    assert_eq!(asked(&registry), 1);
    assert!(registry.requests()[0].authorization.is_none());
    // Who names the mirror's host as its registry comes with what it has itself.
    let error = pull(&session(mirror.host())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn trust_of_a_host_is_added_to_that_of_the_source() {
    let (of_host, of_source) = (Authority::new("Host CA"), Authority::new("Source CA"));
    for authority in [&of_host, &of_source] {
        let registry = showing(&authority.local_leaf()).await;
        seed(&registry, LAYER);
        let tls = |authority: &Authority| {
            Tls::from_pem(Some(authority.pem().as_ref()), None, "a test").unwrap()
        };
        let host = Host {
            tls: Some(tls(&of_host)),
            ..Host::default()
        };
        let client = client_with([(registry.host(), host)]);
        let access = Access {
            tls: tls(&of_source),
            ..Access::default()
        };
        let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
        let session = client.session(repository, &access).unwrap();
        assert_eq!(pull(&session).await.unwrap(), LAYER);
    }
}
