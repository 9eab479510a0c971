// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use wharf_oci::registry::{
    Access, Client, ErrorKind, Options, Proxy, ProxyChoice, ProxyRules, Retry, Session, Timeouts,
    Transport,
};
use wharf_test_support::{
    FakeRegistry,
    proxy::{FakeProxy, Misbehaviour},
    tls::{Authority, Identity},
};

use crate::{support::*, transport::trusting};

const NAME: &str = "registry.example";

/// A registry that only a proxy can find, and what to know of it.
struct Behind {
    registry: FakeRegistry,
    proxy: FakeProxy,
    access: Access,
}

impl Behind {
    async fn tls(proxy: FakeProxy) -> Self {
        let authority = Authority::new("Test CA");
        let registry = FakeRegistry::builder().tls(&authority.leaf(&[NAME]));
        let registry = registry.start().await.unwrap();
        Self::new(registry, proxy, trusting(authority.pem()))
    }

    async fn plain(proxy: FakeProxy) -> Self {
        let access = Access {
            transport: Transport::PlainHttpAllowed,
            ..Access::default()
        };
        Self::new(FakeRegistry::start().await, proxy, access)
    }

    fn new(registry: FakeRegistry, proxy: FakeProxy, access: Access) -> Self {
        seed(&registry, "layer");
        proxy.lead(NAME, registry.addr());
        Self {
            registry,
            proxy,
            access,
        }
    }

    fn host(&self) -> String {
        format!("{NAME}:{}", self.registry.addr().port())
    }

    fn session(&self, address: &str, login: Option<(&str, &str)>) -> Session {
        self.session_with(address, login, options())
    }

    fn session_with(
        &self,
        address: &str,
        login: Option<(&str, &str)>,
        options: Options,
    ) -> Session {
        let (username, password) = login.unzip();
        let proxy = Proxy::parse(address, username, password.map(Into::into)).unwrap();
        let access = Access {
            proxy: ProxyChoice::Through(proxy),
            ..self.access.clone()
        };
        let repository = format!("{}/{REPOSITORY}", self.host()).parse().unwrap();
        let client = Client::new(options).unwrap();
        client.session(repository, &access).unwrap()
    }

    /// What is said when the proxy does this.
    async fn refusal(&self, how: Misbehaviour) -> wharf_oci::registry::Error {
        let quick = Options {
            timeouts: Timeouts {
                tunnel: Duration::from_millis(500),
                response: Duration::from_secs(3),
                ..Timeouts::default()
            },
            ..options()
        };
        self.proxy.misbehave(how);
        let session = self.session_with(&self.proxy.url(), Some(("robot", "canary")), quick);
        let error = pull(&session).await.unwrap_err();
        let text = everything(&error);
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains(&self.proxy.url()), "{text}");
        assert!(self.registry.requests().is_empty());
        error
    }
}

#[tokio::test]
async fn a_registry_is_reached_through_a_tunnel_only() {
    let behind = Behind::tls(FakeProxy::start()).await;
    let session = behind.session(&behind.proxy.url(), None);
    assert_eq!(pull(&session).await.unwrap(), b"layer");
    let asked = behind.proxy.asked();
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!(
            (asked.method.as_str(), asked.target),
            ("CONNECT", behind.host())
        );
        assert!(asked.head.contains("User-Agent: wharf/"), "{}", asked.head);
    }
}

#[tokio::test]
async fn plain_http_goes_as_whole_urls_and_the_password_stays_with_the_proxy() {
    let proxy = FakeProxy::start_with_login("robot", "secret");
    let mut behind = Behind::plain(proxy).await;
    behind.access.credentials = basic("user", "registry-password").credentials;
    let session = behind.session(&behind.proxy.url(), Some(("robot", "secret")));
    assert_eq!(pull(&session).await.unwrap(), b"layer");
    let asked = behind.proxy.asked();
    let manifest = format!("http://{}/v2/{REPOSITORY}/manifests/1.0.0", behind.host());
    assert!(
        asked.iter().any(|asked| asked.target == manifest),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .all(|asked| asked.login.as_deref() == Some("robot:secret"))
    );
    for seen in behind.registry.requests() {
        assert!(!seen.proxy_authorization, "{seen:?}");
    }
}

#[tokio::test]
async fn a_tunnel_shows_its_password_to_the_proxy_and_not_to_the_registry() {
    let behind = Behind::tls(FakeProxy::start_with_login("robot", "secret")).await;
    let address = behind.proxy.url().replace("://", "://robot:secret@");
    assert_eq!(
        pull(&behind.session(&address, None)).await.unwrap(),
        b"layer"
    );
    for asked in behind.proxy.asked() {
        assert_eq!(asked.login.as_deref(), Some("robot:secret"));
    }
    assert!(!behind.registry.requests().is_empty());
    for seen in behind.registry.requests() {
        assert!(!seen.proxy_authorization, "{seen:?}");
    }
}

#[tokio::test]
async fn socks_leads_to_both_kinds_of_registry() {
    for login in [None, Some(("robot", "secret"))] {
        let start = || match login {
            None => FakeProxy::start(),
            Some((name, password)) => FakeProxy::start_with_login(name, password),
        };
        for behind in [Behind::tls(start()).await, Behind::plain(start()).await] {
            let session = behind.session(&behind.proxy.socks_url(), login);
            assert_eq!(pull(&session).await.unwrap(), b"layer");
            for asked in behind.proxy.asked() {
                assert_eq!(
                    (asked.method.as_str(), asked.target),
                    ("SOCKS5", behind.host())
                );
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_may_be_spoken_to_in_tls_and_is_always_verified() {
    let authority = Authority::new("Test CA");
    let mut behind = Behind::tls(FakeProxy::start_tls(&authority.local_leaf())).await;
    // The registry's authority is another one.
    let registry_ca = behind.access.tls.clone();
    let both = registry_ca
        .clone()
        .with_ca_pem(authority.pem().as_bytes(), "test");
    behind.access.tls = both.unwrap();
    let session = behind.session(&behind.proxy.url(), None);
    assert_eq!(pull(&session).await.unwrap(), b"layer");

    for tls in [registry_ca, wharf_oci::registry::Tls::unverified()] {
        behind.registry.clear_requests();
        behind.access.tls = tls;
        let error = pull(&behind.session(&behind.proxy.url(), None))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        let text = everything(&error);
        assert!(
            text.contains(&format!("the proxy {}", behind.proxy.url())),
            "{text}"
        );
        assert!(text.contains("issuer \"CN=Test CA\""), "{text}");
        assert!(!error.is_about_trust());
        assert!(behind.registry.requests().is_empty());
    }
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_told_apart() {
    for (is_tls, scheme) in [(true, "http"), (false, "http"), (true, "socks5")] {
        let proxy = FakeProxy::start_with_login("robot", "right-one");
        let behind = if is_tls {
            Behind::tls(proxy).await
        } else {
            Behind::plain(proxy).await
        };
        let address = format!("{scheme}://{}", behind.proxy.host());
        for (login, words) in [
            (None, "wants a username and password"),
            (
                Some(("robot", "canary")),
                "refused the username and password",
            ),
        ] {
            let error = pull(&behind.session(&address, login)).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.retry(), error.attempts()),
                (ErrorKind::Proxy, Retry::Terminal, 1),
                "{error}"
            );
            let text = everything(&error);
            assert!(text.contains(words) && text.contains(&address), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        assert!(behind.registry.requests().is_empty());
    }
}

#[tokio::test]
async fn each_way_in_which_a_proxy_fails_is_named_and_nothing_goes_past_it() {
    let says = |text: &str| Misbehaviour::Says(text.as_bytes().to_vec());
    let header = b"X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".to_vec();
    let cases = [
        (
            says("HTTP/1.1 403 Forbidden\r\n\r\n"),
            ErrorKind::Proxy,
            "403 Forbidden",
        ),
        (
            says("HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n"),
            ErrorKind::Proxy,
            "302 Found",
        ),
        (
            says("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
            ErrorKind::Unreachable,
            "502 Bad Gateway",
        ),
        (
            says("SSH-2.0-OpenSSH\r\n"),
            ErrorKind::Proxy,
            "not its protocol",
        ),
        (says("<html>"), ErrorKind::Proxy, "not its protocol"),
        (
            says("HTTP/1.1 200 OK\r\nX: "),
            ErrorKind::Proxy,
            "not its protocol",
        ),
        (
            Misbehaviour::Endless(b"a".to_vec()),
            ErrorKind::Proxy,
            "not its protocol",
        ),
        (
            Misbehaviour::Endless(header),
            ErrorKind::Proxy,
            "not its protocol",
        ),
        (
            Misbehaviour::Silent,
            ErrorKind::Timeout,
            "the wait for a connection through it",
        ),
        (
            Misbehaviour::Closes,
            ErrorKind::Unreachable,
            "closed the connection",
        ),
    ];
    for (how, kind, words) in cases {
        let behind = Behind::tls(FakeProxy::start()).await;
        let error = behind.refusal(how.clone()).await;
        let text = everything(&error);
        assert_eq!(error.kind(), kind, "{how:?}: {text}");
        assert!(text.contains(words), "{how:?}: {text}");
    }
}

#[tokio::test]
async fn a_proxy_that_dies_in_the_middle_breaks_the_connection_and_no_more() {
    let behind = Behind::tls(FakeProxy::start()).await;
    for bytes in [0, 100, 600] {
        behind.proxy.misbehave(Misbehaviour::DiesAfter(bytes));
        let session = behind.session(&behind.proxy.url(), None);
        let error = pull(&session).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Tls | ErrorKind::Unreachable),
            "{bytes}: {error}"
        );
    }
    behind.proxy.misbehave(None);
    let session = behind.session(&behind.proxy.url(), None);
    assert_eq!(pull(&session).await.unwrap(), b"layer");
}

#[tokio::test]
async fn a_proxy_that_is_away_is_named() {
    let behind = Behind::tls(FakeProxy::start()).await;
    for address in [
        "http://127.0.0.1:1",
        "https://127.0.0.1:1",
        "socks5://127.0.0.1:1",
    ] {
        let error = pull(&behind.session(address, None)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unreachable, Retry::Backoff)
        );
        let text = everything(&error);
        assert!(text.contains(&format!("the proxy {address}")), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
    assert!(behind.registry.requests().is_empty());
}

#[tokio::test]
async fn a_target_that_a_proxy_cannot_reach_is_told_as_such() {
    let behind = Behind::tls(FakeProxy::start()).await;
    behind.proxy.lead(NAME, "127.0.0.1:1".parse().unwrap());
    for address in [behind.proxy.url(), behind.proxy.socks_url()] {
        let error = pull(&behind.session(&address, None)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let text = error.to_string();
        assert!(text.contains("could not make the connection"), "{text}");
        assert!(text.contains(NAME) && text.contains(&address), "{text}");
    }
}

#[tokio::test]
async fn the_wrong_scheme_is_told_through_a_proxy_as_well() {
    let mut plain = Behind::plain(FakeProxy::start()).await;
    plain.access.transport = Transport::Https;
    let error = pull(&plain.session(&plain.proxy.url(), None))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`insecure: true`"), "{error}");
    assert!(plain.registry.requests().is_empty());

    // Allowed plain HTTP, a registry that speaks TLS is still found to.
    let mut secure = Behind::tls(FakeProxy::start()).await;
    secure.access.transport = Transport::PlainHttpAllowed;
    let session = secure.session(&secure.proxy.url(), None);
    assert_eq!(pull(&session).await.unwrap(), b"layer");
}

#[tokio::test]
async fn a_proxy_that_refuses_tunnels_still_forwards_plain_http() {
    let behind = Behind::plain(FakeProxy::start()).await;
    behind.proxy.misbehave(Misbehaviour::RefusesTunnels);
    let session = behind.session(&behind.proxy.url(), None);
    assert_eq!(pull(&session).await.unwrap(), b"layer");
    let asked = behind.proxy.asked();
    assert_eq!(asked[0].method, "CONNECT");
    assert!(asked[1..].iter().all(|asked| asked.method != "CONNECT"));
}

#[tokio::test]
async fn forbidden_addresses_are_not_asked_of_a_proxy() {
    let proxy = FakeProxy::start();
    for address in [proxy.url(), proxy.socks_url()] {
        for host in [
            "169.254.169.254",
            "2852039166:80",
            "0xa9fea9fe:80",
            "[fe80::1]:5000",
        ] {
            let access = Access {
                proxy: ProxyChoice::Through(Proxy::parse(&address, None, None).unwrap()),
                ..Access::default()
            };
            let error = pull(&session_at(host, &access)).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::EgressDenied, Retry::Terminal),
                "{error}"
            );
        }
    }
    assert_eq!(proxy.asked(), []);
}

#[tokio::test]
async fn the_environment_says_who_goes_through_which_proxy() {
    let behind = Behind::tls(FakeProxy::start()).await;
    let host = behind.host();
    let pulled = async |no_proxy: &str, choice: ProxyChoice| {
        let url = behind.proxy.url();
        let rules = ProxyRules::from_variables(|name| match name {
            "https_proxy" => Some(url.clone()),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        });
        let options = Options {
            proxy: rules.unwrap(),
            ..options()
        };
        let access = Access {
            proxy: choice,
            ..behind.access.clone()
        };
        let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
        let client = Client::new(options).unwrap();
        pull(&client.session(repository, &access).unwrap()).await
    };
    assert_eq!(pulled("", ProxyChoice::Default).await.unwrap(), b"layer");
    let asked = behind.proxy.asked().len();
    assert!(asked > 0);
    // The name leads nowhere without the proxy.
    for (no_proxy, choice) in [
        (".example", ProxyChoice::Default),
        ("*", ProxyChoice::Default),
        ("", ProxyChoice::Direct),
    ] {
        let error = pulled(no_proxy, choice).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
    assert_eq!(behind.proxy.asked().len(), asked);
    let own = Proxy::parse(&behind.proxy.url(), None, None).unwrap();
    assert!(pulled("*", ProxyChoice::Through(own)).await.is_ok());
}

#[tokio::test]
async fn connections_are_not_shared_by_who_shows_another_password() {
    let behind = Behind::tls(FakeProxy::start_with_login("robot", "right")).await;
    let client = client();
    let session = |password: &str| {
        let proxy = Proxy::parse(&behind.proxy.url(), Some("robot"), Some(password.into()));
        let access = Access {
            proxy: ProxyChoice::Through(proxy.unwrap()),
            ..behind.access.clone()
        };
        let repository = format!("{}/{REPOSITORY}", behind.host()).parse().unwrap();
        client.session(repository, &access).unwrap()
    };
    for _ in 0..2 {
        assert!(pull(&session("right")).await.is_ok());
        assert!(pull(&session("wrong")).await.is_err());
    }
}

#[tokio::test]
async fn a_blob_is_pushed_through_a_proxy() {
    for behind in [
        Behind::tls(FakeProxy::start()).await,
        Behind::plain(FakeProxy::start()).await,
    ] {
        let session = behind.session(&behind.proxy.url(), None);
        let content = b"pushed through".to_vec();
        let descriptor = descriptor(&content);
        session
            .push_blob(
                &descriptor,
                &wharf_oci::registry::Content::Bytes(content.clone().into()),
            )
            .await
            .unwrap();
        assert_eq!(download(&session, &descriptor).await.unwrap(), content);
    }
}

#[test]
fn the_identity_of_a_server_is_not_needed_to_name_a_proxy() {
    let identity = Identity::self_signed(&["localhost"]);
    let error = Proxy::parse(identity.key_pem(), None, None).unwrap_err();
    assert!(!error.to_string().contains("PRIVATE"), "{error}");
}
