// SPDX-License-Identifier: Apache-2.0

use std::net::SocketAddr;

use tokio::net::TcpListener;
use wharf_oci::registry::{Access, Client, ErrorKind, Session, Tls, Transport};
use wharf_test_support::{
    FakeRegistry,
    registry::Endpoint,
    tls::{Identity, LOCAL},
};

use crate::{support::*, transport::trusting};

fn open() -> Access {
    Access {
        transport: Transport::PlainHttpAllowed,
        ..Access::default()
    }
}

fn session(client: &Client, host: &str, access: &Access) -> Session {
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    client.session(repository, access).unwrap()
}

async fn at(addr: SocketAddr, identity: Option<&Identity>) -> FakeRegistry {
    let builder = FakeRegistry::builder().bind(addr);
    let builder = match identity {
        Some(identity) => builder.tls(identity),
        None => builder,
    };
    let registry = builder.start().await.unwrap();
    seed(&registry, "layer");
    registry
}

fn pings(registry: &FakeRegistry) -> usize {
    registry.requests_to(Endpoint::Ping).len()
}

#[tokio::test]
async fn sessions_of_a_process_find_the_scheme_once() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let client = client();
    let sessions: Vec<_> = (0..20)
        .map(|_| session(&client, &registry.host(), &Access::default()))
        .collect();
    let pulls = sessions.iter().map(pull);
    for pulled in futures::future::join_all(pulls).await {
        assert_eq!(pulled.unwrap(), b"layer");
    }
    assert_eq!(pings(&registry), 1);
    // Other trust is another question.
    let other = trusting(Identity::self_signed(LOCAL).certificate_pem());
    let pulled = pull(&session(&client, &registry.host(), &other)).await;
    assert_eq!(pulled.unwrap(), b"layer");
    assert_eq!(pings(&registry), 2);
}

#[tokio::test]
async fn a_registry_that_learns_tls_is_found_again() {
    let identity = Identity::self_signed(LOCAL);
    let access = trusting(identity.certificate_pem());
    let client = client();
    let plain = at("127.0.0.1:0".parse().unwrap(), None).await;
    let (host, addr) = (plain.host(), plain.addr());
    let kept = session(&client, &host, &access);
    assert_eq!(pull(&kept).await.unwrap(), b"layer");
    plain.shutdown();

    let secure = at(addr, Some(&identity)).await;
    assert_eq!(pull(&kept).await.unwrap(), b"layer");
    assert_eq!(
        pull(&session(&client, &host, &access)).await.unwrap(),
        b"layer"
    );
    secure.shutdown();

    let _plain = at(addr, None).await;
    assert_eq!(pull(&kept).await.unwrap(), b"layer");
}

/// This machine, in a spelling that is not among the exempt ones.
fn elsewhere(addr: SocketAddr) -> String {
    format!("0x7f000001:{}", addr.port())
}

#[tokio::test]
async fn who_is_not_allowed_plain_http_never_speaks_it_whatever_others_found() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let (client, host) = (client(), elsewhere(registry.addr()));
    assert!(pull(&session(&client, &host, &open())).await.is_ok());
    registry.clear_requests();
    for _ in 0..2 {
        let error = pull(&session(&client, &host, &Access::default()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    }
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn a_registry_that_forgets_tls_is_not_followed_to_plain_http() {
    let identity = Identity::self_signed(LOCAL);
    let access = Access {
        tls: Tls::unverified(),
        ..Access::default()
    };
    let client = client();
    let secure = at("127.0.0.1:0".parse().unwrap(), Some(&identity)).await;
    let (addr, host) = (secure.addr(), elsewhere(secure.addr()));
    let kept = session(&client, &host, &access);
    assert_eq!(pull(&kept).await.unwrap(), b"layer");
    secure.shutdown();

    let plain = at(addr, None).await;
    for session in [kept, session(&client, &host, &access)] {
        let error = pull(&session).await.unwrap_err();
        assert!(error.to_string().contains("`insecure: true`"), "{error}");
    }
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_from_the_plain_port_is_no_answer_of_a_registry() {
    use wharf_test_support::registry::{Fault, Rule};
    let registry = FakeRegistry::start().await;
    registry.script(Rule::on(Endpoint::Ping).fault(Fault::status(301)));
    let error = pull(&session_at(&registry.host(), &open()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("only redirects"), "{error}");
    assert!(registry.requests_to(Endpoint::Manifest).is_empty());
}

#[tokio::test]
async fn what_speaks_neither_is_told() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let error = pull(&session_at(&host, &open())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("it is no registry"), "{error}");
}
