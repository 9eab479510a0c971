// SPDX-License-Identifier: Apache-2.0

use wharf_oci::registry::{Access, ErrorKind, Retry, Tls, TlsError, Transport};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
    tls::{Authority, Identity, LOCAL},
};

use crate::support::*;

pub(crate) fn trusting(pem: &str) -> Access {
    Access {
        tls: Tls::default()
            .with_ca_pem(pem.as_bytes(), "secret apps/ca")
            .unwrap_or_default(),
        ..Access::default()
    }
}

/// The message for a certificate that is not accepted, which is told once and of the right kind.
async fn refusal(registry: &FakeRegistry, access: &Access) -> String {
    let error = pull(&session_of(registry, access)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Tls, Retry::Terminal),
        "{error}"
    );
    assert_eq!(error.attempts(), 1);
    assert!(registry.requests().is_empty());
    error.to_string()
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_configured() {
    let authority = Authority::new("Test CA");
    let registry = showing(&authority.local_leaf()).await;
    for access in [
        trusting(authority.pem()),
        Access {
            transport: Transport::PlainHttpAllowed,
            ..trusting(authority.pem())
        },
    ] {
        assert_eq!(
            pull(&session_of(&registry, &access)).await.unwrap(),
            b"layer"
        );
    }
    let port = registry.addr().port();
    let by_name = session_at(&format!("localhost:{port}"), &trusting(authority.pem()));
    assert_eq!(pull(&by_name).await.unwrap(), b"layer");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_issuer_is_described() {
    let registry = showing(&Authority::new("Strange CA").local_leaf()).await;
    for access in [
        Access::default(),
        trusting(Authority::new("Other CA").pem()),
    ] {
        let text = refusal(&registry, &access).await;
        assert_says(
            &text,
            &[
                "resolve tag 1.0.0",
                "unknown issuer",
                "issuer \"CN=Strange CA\"",
                "subject \"CN=localhost\"",
                "127.0.0.1",
                "`ca.crt`",
                "sha256:",
            ],
        );
    }
}

#[tokio::test]
async fn an_expired_certificate_is_described() {
    let authority = Authority::new("Test CA");
    let registry = showing(&authority.expired_leaf(LOCAL)).await;
    let text = refusal(&registry, &trusting(authority.pem())).await;
    assert_says(
        &text,
        &[
            "has expired",
            "2021-01-01",
            "issuer \"CN=Test CA\"",
            "names localhost, 127.0.0.1, ::1",
        ],
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_described() {
    let authority = Authority::new("Test CA");
    let registry = showing(&authority.leaf(&["elsewhere.example"])).await;
    let text = refusal(&registry, &trusting(authority.pem())).await;
    assert_says(
        &text,
        &[
            "not valid for that name",
            "presented for 127.0.0.1",
            "names elsewhere.example",
            "issuer \"CN=Test CA\"",
        ],
    );
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_accepted_when_it_is_configured() {
    let identity = Identity::self_signed(LOCAL);
    let registry = showing(&identity).await;
    let access = trusting(identity.certificate_pem());
    assert_eq!(
        pull(&session_of(&registry, &access)).await.unwrap(),
        b"layer"
    );
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_refused_otherwise() {
    let identity = Identity::self_signed(LOCAL);
    let registry = showing(&identity).await;
    let twin = Identity::self_signed(LOCAL);
    for access in [Access::default(), trusting(twin.certificate_pem())] {
        assert_says(&refusal(&registry, &access).await, &["unknown issuer"]);
    }
    let elsewhere = Identity::self_signed(&["elsewhere.example"]);
    let registry = showing(&elsewhere).await;
    let text = refusal(&registry, &trusting(elsewhere.certificate_pem())).await;
    assert_says(&text, &["not valid for that name", "elsewhere.example"]);
}

#[tokio::test]
async fn insecure_does_not_turn_verification_off() {
    let registry = showing(&Authority::new("Strange CA").local_leaf()).await;
    let access = Access {
        transport: Transport::PlainHttpAllowed,
        ..Access::default()
    };
    let text = refusal(&registry, &access).await;
    assert_says(&text, &["unknown issuer", "does not turn verification off"]);
}

#[tokio::test]
async fn plain_http_is_spoken_at_home_without_being_allowed() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    assert_eq!(pull(&anonymous(&registry)).await.unwrap(), b"layer");
    let by_name = session_at(
        &format!("localhost:{}", registry.addr().port()),
        &Access::default(),
    );
    assert_eq!(pull(&by_name).await.unwrap(), b"layer");
}

/// This machine, in a spelling that is not among the exempt ones.
#[tokio::test]
async fn plain_http_elsewhere_must_be_allowed() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let host = format!("0x7f000001:{}", registry.addr().port());
    let error = pull(&session_at(&host, &Access::default()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert_says(&error.to_string(), &["plain HTTP", "`insecure: true`"]);
    assert!(registry.requests_to(Endpoint::Manifest).is_empty());
    let access = Access {
        transport: Transport::PlainHttpAllowed,
        ..Access::default()
    };
    assert_eq!(pull(&session_at(&host, &access)).await.unwrap(), b"layer");
}

#[tokio::test]
async fn a_closed_port_is_told_with_its_address() {
    let registry = FakeRegistry::start().await;
    let (host, session) = (registry.host(), anonymous(&registry));
    registry.shutdown();
    let error = pull(&session).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unreachable, Retry::Backoff)
    );
    let text = everything(&error);
    assert_says(
        &text,
        &[
            "resolve tag 1.0.0 in ",
            &format!("no connection to 127.0.0.1 at {host}"),
            "refused",
        ],
    );
    assert_eq!(error.attempts(), 3);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told() {
    let error = pull(&session_at("registry.invalid", &Access::default()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_says(
        &error.to_string(),
        &["host name registry.invalid could not be resolved"],
    );
}

#[tokio::test]
async fn metadata_addresses_are_not_registries() {
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]:5000",
        "169.254.1.1:5000",
    ] {
        let error = pull(&session_at(host, &Access::default()))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::EgressDenied, Retry::Terminal),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_it_is_configured() {
    let (authority, clients) = (Authority::new("Test CA"), Authority::new("Clients"));
    let asking = FakeRegistry::builder().mutual_tls(&authority.local_leaf(), &clients);
    let asking = asking.start().await.unwrap();
    seed(&asking, "layer");
    let without = trusting(authority.pem());
    let error = session_of(&asking, &without)
        .resolve(&tag("1.0.0"))
        .await
        .unwrap_err();
    assert_says(
        &error.to_string(),
        &["wants a client certificate", "`tls.crt`"],
    );
    assert_eq!(error.kind(), ErrorKind::Tls);

    let client = clients.client();
    let tls = without.tls.clone().with_client_certificate(
        client.certificate_pem().as_bytes(),
        client.key_pem().as_bytes(),
        "secret apps/tls",
    );
    let with = Access {
        tls: tls.unwrap(),
        ..Access::default()
    };
    assert!(
        session_of(&asking, &with)
            .resolve(&tag("1.0.0"))
            .await
            .is_ok()
    );

    // It belongs to the registry: where that redirects to, it is not shown.
    let registry = showing(&authority.local_leaf()).await;
    let url = format!("{}/v2/{REPOSITORY}/manifests/1.0.0", asking.base_url());
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::Redirect(url, 307)));
    let asked = asking.requests().len();
    let error = session_of(&registry, &with).resolve(&tag("1.0.0")).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert_says(&error.to_string(), &["wants a client certificate"]);
    assert_eq!(asking.requests().len(), asked);
}

#[test]
fn settings_that_cannot_work_name_their_source() {
    let authority = Authority::new("Test CA");
    let (one, two) = (authority.local_leaf(), authority.local_leaf());
    let ca = |pem: &str| {
        Tls::default()
            .with_ca_pem(pem.as_bytes(), "secret apps/ca")
            .map(drop)
    };
    let pair = |certificate: &str, key: &str| {
        let tls = Tls::default();
        tls.with_client_certificate(certificate.as_bytes(), key.as_bytes(), "secret apps/ca")
            .map(drop)
    };
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for result in [
        ca(""),
        ca("canary"),
        ca(garbage),
        ca(one.key_pem()),
        pair("", one.key_pem()),
        pair(one.certificate_pem(), ""),
        pair(one.certificate_pem(), "canary"),
        pair(one.certificate_pem(), two.key_pem()),
    ] {
        let error: TlsError = result.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("secret apps/ca") && !text.contains("canary"),
            "{text}"
        );
    }
    assert!(pair(one.certificate_pem(), one.key_pem()).is_ok());
    assert!(ca(&format!("{garbage}{}", authority.pem())).is_ok());
}

#[test]
fn the_key_of_a_client_certificate_is_not_shown() {
    let leaf = Authority::new("Test CA").local_leaf();
    let tls = Tls::from_pem(
        None,
        Some((leaf.certificate_pem().as_bytes(), leaf.key_pem().as_bytes())),
        "x",
    )
    .unwrap();
    assert_eq!(
        format!("{tls:?}"),
        "Tls { authorities: 0, client_certificate: true, verified: true, .. }"
    );
}
