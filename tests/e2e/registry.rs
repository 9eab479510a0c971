// SPDX-License-Identifier: Apache-2.0
//! A registry that is away, shows a wrong certificate, refuses or lies. The source says why, and what was served before
//! is served on.

use serde_json::{Value, json};
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::{forged, layer, random_text};
use wharf_test_support::registry::{Endpoint, FLUX_CONTENT, Fault, Rule, SeededArtifact};
use wharf_test_support::servers::free_port;
use wharf_test_support::tls::{Authority, Identity};

use crate::objects::{ca_secret, condition, docker_secret, revision, source, tls_source};
use crate::world::{World, files, in_both_worlds};

in_both_worlds!(
    a_registry_that_is_not_there_is_named,
    a_certificate_that_is_wrong_is_described,
    a_registry_that_refuses_is_quoted,
    a_secret_that_is_missing_is_named,
    a_registry_that_fails_later_does_not_take_away_what_was_served,
    a_layer_that_is_not_its_digest_is_never_served,
);

async fn a_registry_that_is_not_there_is_named(world: World) {
    let host = format!("127.0.0.1:{}", free_port());
    world
        .apply(source("app", &format!("oci://{host}/app")))
        .await;
    let object = world.failed("app", "OCIArtifactPullFailed", &[&host]).await;
    assert_eq!(condition(&object, "FetchFailed")[0], "True");
    assert_eq!(condition(&object, "Stalled")[0], "");
    assert_eq!(object["status"]["artifact"], Value::Null);
}

async fn a_certificate_that_is_wrong_is_described(world: World) {
    let ours = Authority::new("Harbour Authority");
    let other = Authority::new("Pirate Authority");
    world.apply(ca_secret("ca", ours.pem())).await;
    let cases: [(&str, Identity, &[&str]); 3] = [
        (
            "unknown",
            other.leaf(&["127.0.0.1", "harbour.example"]),
            &["Pirate Authority", "harbour.example"],
        ),
        (
            "expired",
            ours.expired_leaf(&["127.0.0.1", "harbour.example"]),
            &["expired", "Harbour Authority", "harbour.example"],
        ),
        (
            "mismatch",
            ours.leaf(&["elsewhere.example"]),
            &["127.0.0.1", "Harbour Authority", "elsewhere.example"],
        ),
    ];
    let mut registries = Vec::new();
    for (name, identity, _) in &cases {
        let registry = FakeRegistry::builder().tls(identity).start().await.unwrap();
        registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
        world.apply(tls_source(name, &registry.url("app"))).await;
        registries.push(registry);
    }
    for (name, _, words) in &cases {
        world.failed(name, "OCIArtifactPullFailed", words).await;
    }
    // No request came through, so no credentials would have.
    assert!(
        registries
            .iter()
            .all(|registry| registry.requests().is_empty())
    );
}

async fn a_registry_that_refuses_is_quoted(world: World) {
    let registry = FakeRegistry::builder()
        .basic("robot", "right")
        .start()
        .await
        .unwrap();
    for repository in ["app", "forbidden"] {
        registry.push_artifact(repository, "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    }
    registry.script(
        Rule::on(Endpoint::Manifest)
            .repository("forbidden")
            .fault(Fault::status(403)),
    );
    world
        .apply(docker_secret("right", &registry.host(), "robot", "right"))
        .await;
    world
        .apply(docker_secret(
            "wrong",
            &registry.host(),
            "robot",
            "hunter2-secret",
        ))
        .await;
    let cases = [
        ("anonymous", "app", None, "401"),
        ("wrong", "app", Some("wrong"), "401"),
        ("forbidden", "forbidden", Some("right"), "403"),
        ("absent", "nothing", Some("right"), "404"),
    ];
    for (name, repository, secret, _) in cases {
        let mut source = source(name, &registry.url(repository));
        if let Some(secret) = secret {
            source["spec"]["secretRef"] = json!({"name": secret});
        }
        world.apply(source).await;
    }
    for (name, _, _, status) in cases {
        world
            .failed(name, "OCIArtifactPullFailed", &[status, &registry.host()])
            .await;
    }
    let log = world.wharf.log();
    assert!(!log.contains("hunter2-secret"), "a password is in the log");

    // Given what it lacks, each becomes Ready by itself.
    registry.be_honest();
    let forbidden = registry.tag_digest("forbidden", "1.0.0").unwrap();
    world
        .ready_at("forbidden", &format!("1.0.0@{forbidden}"))
        .await;
    let pushed = registry.push_artifact("nothing", "1.0.0", layer(&[("b", "2")]), FLUX_CONTENT);
    world.ready_at("absent", &pushed.revision()).await;
    world
        .apply(docker_secret("wrong", &registry.host(), "robot", "right"))
        .await;
    world.ready("wrong").await;
}

async fn a_secret_that_is_missing_is_named(world: World) {
    let registry = FakeRegistry::start().await;
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    let mut login = source("login", &registry.url("app"));
    login["spec"]["secretRef"] = json!({"name": "nobody"});
    world.apply(login).await;
    world.apply(tls_source("ca", &registry.url("app"))).await;
    world
        .failed(
            "login",
            "AuthenticationFailed",
            &["failed to get credential", "nobody"],
        )
        .await;
    world
        .failed(
            "ca",
            "AuthenticationFailed",
            &["failed to generate transport", "/ca"],
        )
        .await;
    // Neither falls back to asking without what it was told to use.
    assert!(registry.requests().is_empty());

    world
        .apply(docker_secret("nobody", &registry.host(), "a", "b"))
        .await;
    world.ready_at("login", &pushed.revision()).await;
}

async fn a_registry_that_fails_later_does_not_take_away_what_was_served(world: World) {
    let registry = FakeRegistry::start().await;
    let first = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    world.apply(source("app", &registry.url("app"))).await;
    world.ready_at("app", &first.revision()).await;

    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(404)));
    let object = world.failed("app", "OCIArtifactPullFailed", &["404"]).await;
    assert_still_serves(&world, &object, &first).await;

    registry.be_honest();
    registry.script(Rule::on(Endpoint::Blob).get().fault(Fault::status(403)));
    let second = registry.push_artifact("app", "1.0.0", layer(&[("a", "2")]), FLUX_CONTENT);
    let object = world
        .failed("app", "OCIArtifactLayerOperationFailed", &["403"])
        .await;
    assert_still_serves(&world, &object, &first).await;
    assert_eq!(
        condition(&object, "ArtifactOutdated")[..2],
        ["True", "NewRevision"]
    );
    assert!(condition(&object, "ArtifactOutdated")[2].contains(&second.revision()));

    registry.be_honest();
    let object = world.ready_at("app", &second.revision()).await;
    assert_eq!(condition(&object, "FetchFailed")[0], "");
    assert_eq!(condition(&object, "ArtifactOutdated")[0], "");
    assert_eq!(world.artifact(&object).await, second.layer);
}

async fn a_layer_that_is_not_its_digest_is_never_served(world: World) {
    let honest = layer(&[("a", &random_text(64, 1))]);
    let evil = forged(honest.len(), &[("evil", "kind: ClusterRoleBinding")]);
    assert_eq!(evil.len(), honest.len());
    let faults = [
        ("other-byte", Fault::WrongDigest),
        ("ends-early", Fault::OtherBody(evil.into())),
        ("short", Fault::CloseAt(1000)),
        (
            "long",
            Fault::OtherBody([honest.as_slice(), b"more"].concat().into()),
        ),
    ];
    let registry = FakeRegistry::start().await;
    let mut pushed = Vec::new();
    for (name, _) in &faults {
        let first = registry.push_artifact(name, "1.0.0", layer(&[("a", name)]), FLUX_CONTENT);
        world.apply(source(name, &registry.url(name))).await;
        pushed.push(first);
    }
    for (first, (name, fault)) in pushed.iter().zip(&faults) {
        world.ready_at(name, &first.revision()).await;
        registry.script(
            Rule::on(Endpoint::Blob)
                .get()
                .repository(name)
                .fault(fault.clone()),
        );
        registry.push_artifact(name, "1.0.0", honest.clone(), FLUX_CONTENT);
    }
    for (first, (name, _)) in pushed.iter().zip(&faults) {
        let object = world
            .failed(name, "OCIArtifactLayerOperationFailed", &[])
            .await;
        assert_still_serves(&world, &object, first).await;
    }
    world
        .failed("other-byte", "OCIArtifactLayerOperationFailed", &["digest"])
        .await;
    world
        .failed("ends-early", "OCIArtifactLayerOperationFailed", &["digest"])
        .await;
    // Only what was Ready before has a name on disk.
    assert_eq!(files(&world.store().join("blobs")).len(), faults.len());
}

async fn assert_still_serves(world: &World, object: &Value, artifact: &SeededArtifact) {
    assert_eq!(revision(object), artifact.revision());
    assert_eq!(condition(object, "ArtifactInStorage")[0], "True");
    assert_eq!(world.artifact(object).await, artifact.layer);
}
