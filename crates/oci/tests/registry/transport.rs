// SPDX-License-Identifier: Apache-2.0

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

async fn with_certificate(identity: &Identity) -> FakeRegistry {
    let registry = FakeRegistry::builder().tls(identity).start().await.unwrap();
    seed(&registry, "layer");
    registry
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
    let registry = with_certificate(&authority.local_leaf()).await;
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
    let registry = with_certificate(&Authority::new("Strange CA").local_leaf()).await;
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
    let registry = with_certificate(&authority.expired_leaf(LOCAL)).await;
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
    let registry = with_certificate(&authority.leaf(&["elsewhere.example"])).await;
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
    let registry = with_certificate(&identity).await;
    let access = trusting(identity.certificate_pem());
    assert_eq!(
        pull(&session_of(&registry, &access)).await.unwrap(),
        b"layer"
    );
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_refused_otherwise() {
    let identity = Identity::self_signed(LOCAL);
    let registry = with_certificate(&identity).await;
    let twin = Identity::self_signed(LOCAL);
    for access in [Access::default(), trusting(twin.certificate_pem())] {
        assert_says(&refusal(&registry, &access).await, &["unknown issuer"]);
    }
    let elsewhere = Identity::self_signed(&["elsewhere.example"]);
    let registry = with_certificate(&elsewhere).await;
    let text = refusal(&registry, &trusting(elsewhere.certificate_pem())).await;
    assert_says(&text, &["not valid for that name", "elsewhere.example"]);
}

#[tokio::test]
async fn insecure_does_not_turn_verification_off() {
    let registry = with_certificate(&Authority::new("Strange CA").local_leaf()).await;
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

/// A server of this authority that lets nobody in without a certificate of that one, and knows one tag.
async fn with_client_authentication(
    authority: &Authority,
    clients: CertificateDer<'static>,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(clients).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let leaf = authority.local_leaf();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(leaf.certificate_pem().as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(leaf.key_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else {
                continue;
            };
            let digest = wharf_oci::Digest::sha256_of(b"x");
            let head = format!(
                "HTTP/1.1 200 OK\r\ndocker-content-digest: {digest}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    addr
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_it_is_configured() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let clients = params.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();

    let authority = Authority::new("Test CA");
    let addr = with_client_authentication(&authority, clients)
        .await
        .to_string();
    let without = trusting(authority.pem());
    let error = session_at(&addr, &without)
        .resolve(&tag("1.0.0"))
        .await
        .unwrap_err();
    assert_says(
        &error.to_string(),
        &["wants a client certificate", "`tls.crt`"],
    );
    assert_eq!(error.kind(), ErrorKind::Tls);

    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let tls = without.tls.clone();
    let tls =
        tls.with_client_certificate(certificate.as_bytes(), key.as_bytes(), "secret apps/tls");
    let with = Access {
        tls: tls.unwrap(),
        ..Access::default()
    };
    assert!(
        session_at(&addr, &with)
            .resolve(&tag("1.0.0"))
            .await
            .is_ok()
    );

    // It belongs to the registry: where that redirects to, it is not shown.
    let registry = with_certificate(&authority.local_leaf()).await;
    let url = format!("https://{addr}/v2/team/app/manifests/1.0.0");
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::Redirect(url, 307)));
    let error = session_of(&registry, &with).resolve(&tag("1.0.0")).await;
    assert_says(&everything(&error.unwrap_err()), &["wants a client certificate and got none"]);
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
