// SPDX-License-Identifier: Apache-2.0
//! What is set for a host holds for a source that says nothing of it: proxy, plain HTTP, client certificate.
//!
//! The registry has a name that no plain HTTP is spoken to by itself, and that only the proxy can find.

use wharf_oci::registry::{
    Access, Client, ErrorKind, Host, Hosts, Options, Proxy, ProxyChoice, Session, Tls,
};
use wharf_test_support::{FakeRegistry, proxy::FakeProxy, tls::Authority};

use crate::{support::*, transport::trusting};

const NAME: &str = "registry.example";

fn proxy(at: &FakeProxy) -> Proxy {
    Proxy::parse(&at.url(), None, None).unwrap()
}

fn at(registry: &FakeRegistry) -> String {
    format!("{NAME}:{}", registry.addr().port())
}

fn session(registry: &FakeRegistry, host: Host, access: &Access) -> Session {
    let options = Options {
        hosts: Hosts::new([(at(registry), host)]),
        ..options()
    };
    let repository = format!("{}/{REPOSITORY}", at(registry)).parse().unwrap();
    let client = Client::new(options).unwrap();
    client.session(repository, access).unwrap()
}

#[tokio::test]
async fn the_proxy_of_a_host_is_used_unless_the_source_has_its_own() {
    let authority = Authority::new("Test CA");
    let registry = showing(&authority.leaf(&[NAME])).await;
    let (of_host, of_source) = (FakeProxy::start(), FakeProxy::start());
    for proxy in [&of_host, &of_source] {
        proxy.lead(NAME, registry.addr());
    }
    let host = || Host {
        proxy: Some(proxy(&of_host)),
        ..Host::default()
    };
    let access = trusting(authority.pem());
    let pulled = pull(&session(&registry, host(), &access)).await;
    assert_eq!(pulled.unwrap(), b"layer");
    let asked = of_host.asked();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|asked| asked.target == at(&registry)));

    let own = Access {
        proxy: ProxyChoice::Through(proxy(&of_source)),
        ..access.clone()
    };
    let pulled = pull(&session(&registry, host(), &own)).await;
    assert_eq!(pulled.unwrap(), b"layer");
    assert_eq!(of_host.asked().len(), asked.len());
    assert!(!of_source.asked().is_empty());
    // The name leads nowhere by itself.
    let error = pull(&session(&registry, Host::default(), &access)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn plain_http_is_spoken_to_a_host_for_which_it_is_set() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let through = FakeProxy::start();
    through.lead(NAME, registry.addr());
    let host = |plain_http| Host {
        plain_http,
        proxy: Some(proxy(&through)),
        ..Host::default()
    };
    let pulled = pull(&session(&registry, host(true), &Access::default())).await;
    assert_eq!(pulled.unwrap(), b"layer");
    let seen = registry.requests().len();
    let error = pull(&session(&registry, host(false), &Access::default())).await;
    assert!(error.unwrap_err().is_about_plain_http());
    assert_eq!(registry.requests().len(), seen);
}

#[tokio::test]
async fn the_client_certificate_of_a_host_is_shown_to_it() {
    let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
    let registry = FakeRegistry::builder().tls_for_clients_of(&servers.leaf(&[NAME]), &clients);
    let registry = registry.start().await.unwrap();
    seed(&registry, "layer");
    let through = FakeProxy::start();
    through.lead(NAME, registry.addr());
    let leaf = clients.client();
    let pair = (leaf.certificate_pem().as_bytes(), leaf.key_pem().as_bytes());
    let host = |pair| Host {
        tls: Some(Tls::from_pem(Some(servers.pem().as_ref()), pair, "a test").unwrap()),
        proxy: Some(proxy(&through)),
        ..Host::default()
    };
    let pulled = pull(&session(&registry, host(Some(pair)), &Access::default())).await;
    assert_eq!(pulled.unwrap(), b"layer");
    let error = pull(&session(&registry, host(None), &Access::default())).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Tls);
}
