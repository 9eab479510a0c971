// SPDX-License-Identifier: Apache-2.0

use std::process::{Child, Command, Stdio};

use wharf_oci::registry::{Access, ErrorKind, Host, Hosts, Options, Retry, Tls, Transport};
use wharf_test_support::{
    openssl::{self, OpenSsl},
    servers::{eventually, free_port},
    tls::{Authority, Identity, LOCAL},
};

use crate::{support::*, transport::trusting};

fn unverified() -> Access {
    Access {
        tls: Tls::unverified(),
        ..Access::default()
    }
}

#[tokio::test]
async fn each_certificate_that_openssl_makes_is_accepted_or_its_refusal_says_why() {
    let cases = openssl::table();
    assert!(cases.len() >= 30, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let registry = showing(&case.identity).await;
        let pulled = pull(&session_of(&registry, &trusting(&case.ca))).await;
        match (pulled, case.refused) {
            (Ok(layer), None) if layer == b"layer" => {}
            (Err(error), Some(words)) => {
                let text = everything(&error);
                let is_told = words.iter().all(|word| text.contains(word));
                let is_final = (error.kind(), error.retry()) == (ErrorKind::Tls, Retry::Terminal);
                if !is_told || !is_final || !registry.requests().is_empty() {
                    wrong.push(format!("{}: {words:?} {text}", case.name));
                }
            }
            (pulled, expected) => {
                wrong.push(format!("{}: {expected:?}, not {pulled:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `openssl s_server`, which loads what our own server would not.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_short_rsa_key_is_refused_by_its_length() {
    let identity = OpenSsl::new().short_rsa();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), identity.certificate_pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), identity.key_pem()).unwrap();
    let port = free_port();
    let server = Command::new("openssl")
        .args(["s_server", "-cert", "cert.pem", "-key", "key.pem", "-quiet"])
        .args(["-cipher", "DEFAULT@SECLEVEL=0", "-www", "-accept"])
        .arg(port.to_string())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Server(server);
    eventually("the server listens", async || {
        let reached = std::net::TcpStream::connect(("127.0.0.1", port));
        reached.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let access = trusting(identity.certificate_pem());
    let session = session_at(&format!("127.0.0.1:{port}"), &access);
    let text = everything(&pull(&session).await.unwrap_err());
    assert!(text.contains("RSA key of 1024 bits"), "{text}");
}

#[tokio::test]
async fn without_verification_every_certificate_will_do() {
    for case in openssl::table() {
        // Version 1 is not even read by rustls when it checks the handshake; with another key the handshake is wrong.
        if ["version-1", "anchor-with-another-key"].contains(&case.name) {
            continue;
        }
        let registry = showing(&case.identity).await;
        let pulled = pull(&session_of(&registry, &unverified())).await;
        assert_eq!(pulled.unwrap(), b"layer", "{}", case.name);
    }
}

#[tokio::test]
async fn without_verification_the_handshake_still_has_to_be_signed() {
    let (own, other) = (Identity::self_signed(LOCAL), Identity::self_signed(LOCAL));
    let stolen = Identity::from_pem(own.certificate_pem(), other.key_pem());
    let registry = showing(&stolen).await;
    let error = pull(&session_of(&registry, &unverified()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn without_verification_nothing_is_shared_with_who_verifies() {
    let registry = showing(&Identity::self_signed(LOCAL)).await;
    let client = client();
    let repository = format!("{}/{REPOSITORY}", registry.host());
    let session = |access: &Access| client.session(repository.parse().unwrap(), access).unwrap();
    for _ in 0..2 {
        assert!(pull(&session(&unverified())).await.is_ok());
        let seen = registry.requests().len();
        let error = pull(&session(&Access::default())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert_eq!(registry.requests().len(), seen);
    }
}

#[tokio::test]
async fn insecure_with_an_authority_still_verifies() {
    let registry = showing(&Identity::self_signed(LOCAL)).await;
    let access = Access {
        transport: Transport::PlainHttpAllowed,
        ..trusting(Authority::new("Other").pem())
    };
    let error = pull(&session_of(&registry, &access)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("does not turn verification off"), "{text}");
    assert!(error.is_about_trust());
}

#[test]
fn texts_that_are_too_large_are_refused_unread() {
    let huge = "-----BEGIN CERTIFICATE-----\n".repeat(50_000);
    let ca = Tls::default().with_ca_pem(huge.as_bytes(), "secret apps/ca");
    let text = ca.unwrap_err().to_string();
    assert!(
        text.contains("secret apps/ca") && text.contains("larger"),
        "{text}"
    );
    for (certificate, key) in [(huge.as_bytes(), &b""[..]), (b"", huge.as_bytes())] {
        let pair = Tls::default().with_client_certificate(certificate, key, "secret apps/tls");
        let text = pair.unwrap_err().to_string();
        assert!(
            text.contains("secret apps/tls") && text.len() < 200,
            "{text}"
        );
    }
}

/// What the settings trust beside adds to who verifies. Who said that nothing is to be verified is not overruled by it.
#[tokio::test]
async fn an_authority_of_the_settings_does_not_turn_verification_on_again() {
    let registry = showing(&Identity::self_signed(LOCAL)).await;
    let other = Authority::new("Somebody else");
    let host = Host {
        tls: Some(Tls::from_pem(Some(other.pem().as_bytes()), None, "settings").unwrap()),
        ..Host::default()
    };
    let options = || Options {
        hosts: Hosts::new([(registry.host(), host.clone())]),
        ..options()
    };
    let pulled = pull(&session_with(&registry, &unverified(), options())).await;
    assert_eq!(pulled.unwrap(), b"layer");
    let error = pull(&session_with(&registry, &Access::default(), options())).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Tls);
}
