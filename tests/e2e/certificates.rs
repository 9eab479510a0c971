// SPDX-License-Identifier: Apache-2.0
//! Certificates that people make by hand, through the whole pipeline: Ready, or the message that lets them act.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::layer;
use wharf_test_support::openssl;
use wharf_test_support::registry::{FLUX_CONTENT, SeededArtifact};
use wharf_test_support::tls::{Authority, Identity, LOCAL};

use crate::objects::{ca_secret, condition, source};
use crate::world::{World, in_both_worlds};

in_both_worlds!(
    a_secret_that_is_changed_is_used_at_the_next_attempt,
    a_secret_with_the_wrong_keys_is_told_with_them,
);

/// A source that trusts what is in this secret.
fn trusting(name: &str, url: &str, secret: &str) -> Value {
    let mut source = source(name, url);
    source["spec"]["insecure"] = json!(false);
    source["spec"]["certSecretRef"] = json!({"name": secret});
    source
}

type Entries<'a> = &'a [(&'a str, &'a str)];

fn secret(name: &str, entries: Entries<'_>) -> Value {
    let mut secret = ca_secret(name, "");
    secret["data"] = json!({});
    for (key, value) in entries {
        secret["data"][key] = json!(STANDARD.encode(value));
    }
    secret
}

fn push(registry: &FakeRegistry) -> SeededArtifact {
    registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT)
}

async fn showing(identity: &Identity) -> FakeRegistry {
    let registry = FakeRegistry::builder().tls(identity).start().await.unwrap();
    push(&registry);
    registry
}

#[tokio::test]
async fn each_certificate_that_openssl_makes_leads_to_ready_or_says_what_to_do() {
    let world = World::standalone().await;
    let cases = openssl::table();
    let mut registries = Vec::new();
    for case in &cases {
        let registry = showing(&case.identity).await;
        world.apply(ca_secret(case.name, &case.ca)).await;
        world
            .apply(trusting(case.name, &registry.url("app"), case.name))
            .await;
        registries.push(registry);
    }
    for (case, registry) in cases.iter().zip(&registries) {
        let Some(words) = case.refused else {
            world.ready(case.name).await;
            continue;
        };
        let object = world
            .failed(case.name, "OCIArtifactPullFailed", words)
            .await;
        let message = condition(&object, "Ready")[2];
        let place = format!("key 'ca.crt' of secret {}/{}", world.namespace, case.name);
        let is_about_trust = message.contains("unknown issuer");
        assert_eq!(message.contains(&place), is_about_trust, "{message}");
        if message.contains("the certificate presented") {
            for word in ["subject \"CN=", "issuer \"CN=", "sha256:", "127.0.0.1"] {
                assert!(message.contains(word), "{}: {message}", case.name);
            }
        }
        assert!(registry.requests().is_empty(), "{}", case.name);
    }
}

async fn a_secret_that_is_changed_is_used_at_the_next_attempt(world: World) {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let registry = showing(&old.local_leaf()).await;
    let pushed = push(&registry);
    world.apply(ca_secret("ca", new.pem())).await;
    world
        .apply(trusting("app", &registry.url("app"), "ca"))
        .await;
    let words = ["unknown issuer, \"CN=Old\"", "/ca (spec.certSecretRef)"];
    world.failed("app", "OCIArtifactPullFailed", &words).await;

    world.apply(ca_secret("ca", old.pem())).await;
    world.ready_at("app", &pushed.revision()).await;

    let addr = registry.addr();
    registry.shutdown();
    let registry = FakeRegistry::builder()
        .bind(addr)
        .tls(&new.local_leaf())
        .start()
        .await
        .unwrap();
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "2")]), FLUX_CONTENT);
    world
        .failed("app", "OCIArtifactPullFailed", &["\"CN=New\""])
        .await;
    world.apply(ca_secret("ca", new.pem())).await;
    world.ready_at("app", &pushed.revision()).await;
}

async fn a_secret_with_the_wrong_keys_is_told_with_them(world: World) {
    let authority = Authority::new("Test CA");
    let client = authority.client();
    let (certificate, key) = (client.certificate_pem(), client.key_pem());
    let registry = showing(&authority.local_leaf()).await;
    let cases: [(&str, Entries<'_>, &str); 5] = [
        (
            "other-key",
            &[("registry.crt", authority.pem())],
            "has the keys [registry.crt], it wants 'ca.crt'",
        ),
        ("no-key", &[("tls.crt", certificate)], "it wants 'tls.key'"),
        ("no-certificate", &[("tls.key", key)], "it wants 'tls.crt'"),
        (
            "garbage",
            &[("ca.crt", "hunter2")],
            "failed to parse CA certificate",
        ),
        (
            "other-pair",
            &[("tls.crt", certificate), ("tls.key", "hunter2")],
            "failed to parse TLS certificate and key",
        ),
    ];
    for (name, entries, _) in cases {
        world.apply(secret(name, entries)).await;
        world
            .apply(trusting(name, &registry.url("app"), name))
            .await;
    }
    for (name, _, words) in cases {
        let place = format!("secret {}/{name}", world.namespace);
        let words = ["failed to generate transport", words, &place];
        world.failed(name, "AuthenticationFailed", &words).await;
    }
    assert!(registry.requests().is_empty());
    assert!(!world.wharf.log().contains("hunter2"));
    world
        .apply(secret("other-key", &[("caFile", authority.pem())]))
        .await;
    world.ready("other-key").await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_refusal_is_told() {
    let world = World::standalone().await;
    let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
    let leaf = servers.local_leaf();
    let registry = FakeRegistry::builder().tls_for_clients_of(&leaf, &clients);
    let registry = registry.start().await.unwrap();
    let pushed = push(&registry);
    let cases = [
        ("absent", None, "wants a client certificate and got none"),
        (
            "stranger",
            Some(servers.client()),
            "refuses the client certificate: it does not know who signed it",
        ),
        (
            "expired",
            Some(clients.expired_client()),
            "refuses the client certificate: it has expired",
        ),
    ];
    let with = |name: &str, identity: Option<&Identity>| {
        let mut entries = vec![("ca.crt", servers.pem())];
        if let Some(identity) = identity {
            entries.extend([
                ("tls.crt", identity.certificate_pem()),
                ("tls.key", identity.key_pem()),
            ]);
        }
        secret(name, &entries)
    };
    for (name, identity, _) in &cases {
        world.apply(with(name, identity.as_ref())).await;
        world
            .apply(trusting(name, &registry.url("app"), name))
            .await;
    }
    for (name, _, words) in &cases {
        world.failed(name, "OCIArtifactPullFailed", &[words]).await;
    }
    assert!(registry.requests().is_empty());
    for (name, _, _) in &cases {
        world.apply(with(name, Some(&clients.client()))).await;
        world.ready_at(name, &pushed.revision()).await;
    }
}

#[tokio::test]
async fn insecure_verifies_nothing_unless_it_is_said_what_to_trust() {
    let world = World::standalone().await;
    let registry = showing(&Identity::self_signed(LOCAL)).await;
    let pushed = push(&registry);
    let mut plain = source("verified", &registry.url("app"));
    plain["spec"]["insecure"] = json!(false);
    world.apply(plain).await;
    let words = ["is signed by itself", "spec.certSecretRef is not set"];
    world
        .failed("verified", "OCIArtifactPullFailed", &words)
        .await;

    world
        .apply(ca_secret("ca", Authority::new("Other").pem()))
        .await;
    let mut trusting = source("trusting", &registry.url("app"));
    trusting["spec"]["certSecretRef"] = json!({"name": "ca"});
    world.apply(trusting).await;
    world
        .failed("trusting", "OCIArtifactPullFailed", &["unknown issuer"])
        .await;
    assert!(registry.requests().is_empty());

    world.apply(source("insecure", &registry.url("app"))).await;
    world.ready_at("insecure", &pushed.revision()).await;
    assert!(
        world
            .wharf
            .log()
            .contains("the certificate is not verified")
    );
}
