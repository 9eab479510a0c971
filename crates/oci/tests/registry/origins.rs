// SPDX-License-Identifier: Apache-2.0

use std::{net::SocketAddr, num::NonZeroU64};

use http::Method;
use tokio::net::{TcpListener, TcpStream};
use wharf_oci::registry::{
    Access, BlobPushed, Client, Content, Credentials, Egress, Error, ErrorKind, Options,
    PushOptions, Session, StrictEgress,
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule, Seen, sha256},
    tls::Authority,
};

use crate::{support::*, transport::trusting};

const LAYER: &[u8] = b"the layer";

/// A registry that wants to know who asks, at a chosen address, with the layer.
async fn guarded(address: &str, authority: Option<&Authority>) -> FakeRegistry {
    let builder = FakeRegistry::builder().basic("user", "password");
    let builder = builder.bind(address.parse().unwrap());
    let builder = match authority {
        Some(authority) => builder.tls(&authority.leaf(&["localhost", "127.0.0.1", "127.0.0.2"])),
        None => builder,
    };
    let registry = builder.start().await.unwrap();
    seed(&registry, LAYER);
    registry
}

fn blob(base: &str) -> String {
    format!("{base}/v2/{REPOSITORY}/blobs/{}", sha256(LAYER))
}

/// Answers each request for a blob with a redirect to the next of these, then honestly.
fn lead(registry: &FakeRegistry, bases: &[&str]) {
    let away = bases.iter().map(|base| Fault::Redirect(blob(base), 307));
    registry.script(Rule::on(Endpoint::Blob).get().faults(away));
}

/// All of loopback is listed, so that only origins decide.
fn session(host: &str, access: &Access) -> Session {
    with_rules(host, access, Egress::default())
}

fn with_rules(host: &str, access: &Access, rules: Egress) -> Session {
    let networks = ["127.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
    let options = Options {
        egress: rules.allowing(networks),
        ..options()
    };
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    Client::new(options)
        .unwrap()
        .session(repository, access)
        .unwrap()
}

fn known(authority: &Authority) -> Access {
    Access {
        credentials: Credentials::basic("user", "password", "secret apps/regcred"),
        ..trusting(authority.pem())
    }
}

/// What was shown with each GET of a blob.
fn shown(registry: &FakeRegistry) -> Vec<Option<String>> {
    let blobs = registry.requests_to(Endpoint::Blob);
    let shown = |seen: &Seen| seen.authorization.clone();
    blobs.iter().map(shown).collect()
}

/// Passes bytes on to the TLS server if they begin as TLS does, else to the plain one: two origins that differ in their
/// scheme alone. The first connection meets the plain one in any case, so that the registry is found to speak plain HTTP.
async fn both_schemes(plain: SocketAddr, tls: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut is_first = true;
        while let Ok((mut socket, _)) = listener.accept().await {
            let speaks_tls = !std::mem::take(&mut is_first);
            tokio::spawn(async move {
                let mut first = [0];
                let _ = socket.peek(&mut first).await;
                let to = if speaks_tls && first == [0x16] {
                    tls
                } else {
                    plain
                };
                let mut onward = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut socket, &mut onward).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn another_host_on_the_same_port_gets_no_credentials() {
    let authority = Authority::new("Test CA");
    for authority in [None, Some(&authority)] {
        let registry = guarded("127.0.0.1:0", authority).await;
        let other = format!("127.0.0.2:{}", registry.addr().port());
        let other = guarded(&other, authority).await;
        lead(&registry, &[other.base_url()]);
        let access = authority.map_or_else(|| basic("user", "password"), known);
        let error = pull(&session(&registry.host(), &access)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert_eq!(shown(&other), [None]);
    }
}

#[tokio::test]
async fn the_same_machine_by_another_name_gets_no_credentials() {
    let authority = Authority::new("Test CA");
    let registry = guarded("127.0.0.1:0", Some(&authority)).await;
    let name = format!("https://localhost:{}", registry.addr().port());
    lead(&registry, &[&name]);
    let error = pull(&session(&registry.host(), &known(&authority))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(shown(&registry), [Some("Basic".into()), None]);
}

#[tokio::test]
async fn another_port_of_the_same_host_gets_no_credentials() {
    let authority = Authority::new("Test CA");
    let registry = guarded("127.0.0.1:0", Some(&authority)).await;
    let other = guarded("127.0.0.1:0", Some(&authority)).await;
    lead(&registry, &[other.base_url()]);
    let error = pull(&session(&registry.host(), &known(&authority))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(shown(&other), [None]);
}

#[tokio::test]
async fn another_scheme_of_the_same_host_and_port_gets_no_credentials() {
    let authority = Authority::new("Test CA");
    let plain = guarded("127.0.0.1:0", None).await;
    let tls = guarded("127.0.0.1:0", Some(&authority)).await;
    let both = both_schemes(plain.addr(), tls.addr()).await;
    lead(&plain, &[&format!("https://{both}")]);
    let error = pull(&session(&both.to_string(), &known(&authority))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(shown(&plain), [Some("Basic".into())]);
    assert_eq!(shown(&tls), [None]);
}

#[tokio::test]
async fn credentials_that_were_dropped_do_not_come_back_on_longer_ways() {
    let registry = guarded("127.0.0.1:0", None).await;
    let third = guarded("127.0.0.2:0", None).await;
    // A challenge comes before the script, so what leads on has to be open.
    let (first_stop, second_stop) = (FakeRegistry::start().await, FakeRegistry::start().await);
    lead(&first_stop, &[second_stop.base_url(); 2]);
    lead(&second_stop, &[registry.base_url(), third.base_url()]);
    lead(&registry, &[first_stop.base_url(); 2]);

    // registry, first, second, registry again
    let error = pull(&session(&registry.host(), &basic("user", "password"))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(shown(&registry), [Some("Basic".into()), None]);
    // registry, first, second, third
    let error = pull(&session(&registry.host(), &basic("user", "password"))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(shown(&third), [None]);
    for stop in [&first_stop, &second_stop] {
        assert_eq!(shown(stop), [None, None]);
    }
}

/// Answers to the beginning of an upload, or to its first chunk, that it goes on there.
fn goes_on_at(rule: Rule, base: &str) -> Rule {
    let place = format!("{base}/v2/{REPOSITORY}/blobs/uploads/there");
    let headers = [("location", place.as_str()), ("range", "0-3")];
    rule.fault(Fault::status_with(202, &headers, ""))
}

async fn push(session: &Session) -> Result<BlobPushed, Error> {
    let content = b"pushed in chunks";
    let options = PushOptions {
        chunk: NonZeroU64::new(4),
        ..PushOptions::default()
    };
    let blob = Content::Bytes(content.as_slice().into());
    let descriptor = descriptor(content);
    session.push_blob_with(&descriptor, &blob, &options).await
}

#[tokio::test]
async fn an_upload_that_was_elsewhere_gets_no_credentials_when_it_comes_back() {
    let registry = guarded("127.0.0.1:0", None).await;
    let storage = FakeRegistry::start().await;
    let upload = |method| Rule::on(Endpoint::Upload).method(method);
    registry.script(goes_on_at(upload(Method::POST), storage.base_url()));
    storage.script(goes_on_at(upload(Method::PATCH), registry.base_url()));
    let error = push(&session(&registry.host(), &basic("user", "password"))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthorized);
    let seen = registry.requests_to(Endpoint::Upload);
    let (begun, gone_on): (Vec<_>, Vec<_>) =
        seen.iter().partition(|seen| seen.method == Method::POST);
    assert!(begun.iter().any(|seen| seen.authorization.is_some()));
    assert!(!gone_on.is_empty() && gone_on.iter().all(|seen| seen.authorization.is_none()));
    assert_eq!(storage.requests_to(Endpoint::Upload)[0].authorization, None);
}

#[tokio::test]
async fn an_upload_goes_from_https_to_plain_http_at_no_step() {
    let authority = Authority::new("Test CA");
    let registry = FakeRegistry::start().await;
    let storage = FakeRegistry::builder().tls(&authority.local_leaf());
    let storage = storage.start().await.unwrap();
    let plain = FakeRegistry::start().await;
    let upload = |method| Rule::on(Endpoint::Upload).method(method);
    registry.script(goes_on_at(upload(Method::POST), storage.base_url()));
    storage.script(goes_on_at(upload(Method::PATCH), plain.base_url()));
    let error = push(&session(&registry.host(), &trusting(authority.pem()))).await;
    let error = error.unwrap_err();
    assert!(
        error.to_string().contains("from https to plain http"),
        "{error}"
    );
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn a_token_service_that_redirects_hands_no_credentials_on() {
    let registry = FakeRegistry::builder()
        .bearer("user", "password")
        .start()
        .await
        .unwrap();
    seed(&registry, LAYER);
    let other = FakeRegistry::start().await;
    for status in [301, 302, 303, 307, 308] {
        let url = format!("{}/token", other.base_url());
        let away = Rule::on(Endpoint::Token).fault(Fault::Redirect(url, status));
        registry.script(away);
        let error = pull(&session(&registry.host(), &basic("user", "password"))).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Protocol, "{status}");
        registry.be_honest();
    }
    assert!(other.requests().is_empty());
}

/// A registry that names another token service, which gives a token that the registry takes.
async fn with_token_service(authority: &Authority) -> (FakeRegistry, FakeRegistry) {
    let leaf = authority.local_leaf();
    let service = FakeRegistry::builder()
        .tls(&leaf)
        .bearer("user", "password");
    let service = service.start().await.unwrap();
    let registry = FakeRegistry::builder().tls(&leaf).start().await.unwrap();
    seed(&registry, LAYER);
    let realm = format!("https://localhost:{}/token", service.addr().port());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"{}\"", service.host());
    let challenge = [("www-authenticate", challenge.as_str())];
    let refusal = Fault::status_with(401, &challenge, "");
    registry.script(Rule::on(Endpoint::Manifest).times(1).fault(refusal));
    (registry, service)
}

#[tokio::test]
async fn a_token_service_elsewhere_gets_credentials_only_if_it_is_listed() {
    let authority = Authority::new("Test CA");
    let pair = |registry: &FakeRegistry, service: &FakeRegistry| {
        let (port, realm) = (registry.addr().port(), service.addr().port());
        format!("127.0.0.1:{port}=localhost:{realm}")
    };
    for is_listed in [false, true] {
        let (registry, service) = with_token_service(&authority).await;
        let pair = pair(&registry, &service).parse().unwrap();
        let listed = StrictEgress {
            realms: if is_listed { vec![pair] } else { Vec::new() },
            ..StrictEgress::default()
        };
        let access = known(&authority);
        let outcome = pull(&with_rules(
            &registry.host(),
            &access,
            Egress::strict(listed),
        ))
        .await;
        let asked = service.requests_to(Endpoint::Token);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].authorization.is_some(), is_listed);
        match outcome {
            Ok(layer) => assert!(is_listed && layer == LAYER),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
                let told = "the credentials were kept from its token service https://localhost";
                assert!(!is_listed && error.to_string().contains(told), "{error}");
            }
        }
    }
    let (registry, service) = with_token_service(&authority).await;
    let by_default = session(&registry.host(), &known(&authority));
    assert_eq!(pull(&by_default).await.unwrap(), LAYER);
    assert!(
        service.requests_to(Endpoint::Token)[0]
            .authorization
            .is_some()
    );
}

#[tokio::test]
async fn that_credentials_were_kept_back_is_told_by_sessions_that_saw_no_challenge() {
    let authority = Authority::new("Test CA");
    let (registry, service) = with_token_service(&authority).await;
    let nobody = Fault::status_with(200, &[], r#"{"token":"of-nobody"}"#);
    service.script(Rule::on(Endpoint::Token).fault(nobody));
    let networks = ["127.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
    let client = Client::new(Options {
        egress: Egress::strict(StrictEgress::default()).allowing(networks),
        ..options()
    });
    let client = client.unwrap();
    let session = || {
        let repository = format!("{}/{REPOSITORY}", registry.host());
        let access = known(&authority);
        client.session(repository.parse().unwrap(), &access)
    };
    assert_eq!(pull(&session().unwrap()).await.unwrap(), LAYER);
    registry.be_honest();
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(403)));
    let error = session().unwrap().resolve(&tag("1.0.0")).await;
    let text = error.unwrap_err().to_string();
    let told = "the credentials were kept from its token service https://localhost";
    assert!(text.contains(told) && text.contains("403"), "{text}");
    assert_eq!(service.requests_to(Endpoint::Token).len(), 1);
}

#[tokio::test]
async fn the_registry_s_own_token_service_needs_no_list() {
    let authority = Authority::new("Test CA");
    let registry = FakeRegistry::builder()
        .tls(&authority.local_leaf())
        .bearer("user", "password");
    let registry = registry.start().await.unwrap();
    seed(&registry, LAYER);
    let rules = Egress::strict(StrictEgress::default());
    let session = with_rules(&registry.host(), &known(&authority), rules);
    assert_eq!(pull(&session).await.unwrap(), LAYER);
}
