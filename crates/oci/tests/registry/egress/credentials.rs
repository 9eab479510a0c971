// SPDX-License-Identifier: Apache-2.0
//! What goes with a request under the two sets of rules: credentials, client certificates, and what nobody ever sends.

use wharf_oci::registry::{Access, Credentials, Egress, ErrorKind, StrictEgress, Tls};
use wharf_test_support::{
    FakeRegistry,
    proxy::FakeProxy,
    registry::{Endpoint, Fault, Rule},
    tls::Authority,
};

use super::{ALWAYS, AT_HOME, LAYER, challenge, client_with, listed, refused_for, session, strict};
use crate::{support::*, transport::trusting};

#[tokio::test]
async fn credentials_do_not_go_over_plain_http_under_the_strict_rules() {
    let builders = [
        FakeRegistry::builder().basic("user", "password"),
        FakeRegistry::builder().bearer("user", "password"),
    ];
    for builder in builders {
        let registry = builder.start().await.unwrap();
        seed(&registry, LAYER);
        let access = basic("user", "password");
        let by_default = session(&client_with(Egress::default()), &registry.host(), &access);
        assert_eq!(pull(&by_default).await.unwrap(), LAYER);
        registry.clear_requests();
        let session = session(&client_with(strict()), &registry.host(), &access);
        let error = pull(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EgressDenied, "{error}");
        assert!(error.to_string().contains("secret apps/regcred"), "{error}");
        let seen = registry.requests();
        assert!(
            !seen.is_empty() && seen.iter().all(|seen| seen.authorization.is_none()),
            "{seen:?}"
        );
        assert!(registry.requests_to(Endpoint::Token).is_empty());
    }
}

#[tokio::test]
async fn credentials_do_not_go_to_whoever_answers_under_the_strict_rules() {
    let leaf = Authority::new("Nobody's CA").local_leaf();
    for builder in [
        FakeRegistry::builder().basic("user", "password"),
        FakeRegistry::builder().bearer("user", "password"),
    ] {
        let registry = builder.tls(&leaf).start().await.unwrap();
        seed(&registry, LAYER);
        let access = Access {
            tls: Tls::unverified(),
            ..basic("user", "password")
        };
        let by_default = session(&client_with(Egress::default()), &registry.host(), &access);
        assert_eq!(pull(&by_default).await.unwrap(), LAYER);
        registry.clear_requests();
        let session = session(&client_with(strict()), &registry.host(), &access);
        let error = pull(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EgressDenied, "{error}");
        let told = error.to_string();
        for words in [
            "not verified",
            "secret apps/regcred",
            "`certSecretRef`",
            "--ca-file",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("plain HTTP"), "{told}");
        let seen = registry.requests();
        assert!(!seen.is_empty() && seen.iter().all(|seen| seen.authorization.is_none()));
        assert!(registry.requests_to(Endpoint::Token).is_empty());
    }
}

/// Who has nothing to lose is served by whoever answers, and who verifies sends what there is.
#[tokio::test]
async fn the_strict_rules_still_serve_who_is_nobody_and_who_verifies() {
    let authority = Authority::new("Test CA");
    let open = FakeRegistry::builder().tls(&authority.local_leaf());
    let open = open.start().await.unwrap();
    seed(&open, LAYER);
    let unverified = Access {
        tls: Tls::unverified(),
        ..Access::default()
    };
    let client = client_with(strict());
    let session_to = |host: &str, access: &Access| session(&client, host, access);
    let pulled = pull(&session_to(&open.host(), &unverified)).await;
    assert_eq!(pulled.unwrap(), LAYER);
    let guarded = FakeRegistry::builder().bearer("user", "password");
    let guarded = guarded.tls(&authority.local_leaf()).start().await.unwrap();
    seed(&guarded, LAYER);
    let verified = Access {
        credentials: basic("user", "password").credentials,
        ..trusting(authority.pem())
    };
    let pulled = pull(&session_to(&guarded.host(), &verified)).await;
    assert_eq!(pulled.unwrap(), LAYER);
}

/// The token service is listed, so that it would be sent the identity token; only its address is in the way.
#[tokio::test]
async fn a_listed_token_service_at_a_forbidden_address_is_not_sent_a_form() {
    let authority = Authority::new("Test CA");
    let registry = FakeRegistry::builder().tls(&authority.local_leaf());
    let registry = registry.start().await.unwrap();
    seed(&registry, LAYER);
    let access = Access {
        credentials: Credentials::identity_token("identity", "secret apps/regcred"),
        ..trusting(authority.pem())
    };
    let targets = ALWAYS.iter().chain(&AT_HOME);
    let pair = |target: &str| {
        let pair = format!("127.0.0.1:{}={target}:1", registry.addr().port());
        pair.parse().unwrap()
    };
    let rules = StrictEgress {
        realms: targets.clone().map(|(target, _)| pair(target)).collect(),
        ..StrictEgress::default()
    };
    let client = client_with(Egress::strict(rules).allowing([listed("127.0.0.1")]));
    for (target, reason) in targets {
        registry.be_honest();
        let realm = format!("https://{target}:1/token");
        registry.script(Rule::on(Endpoint::Manifest).fault(challenge(&realm)));
        let before = client.dials();
        let error = pull(&session(&client, &registry.host(), &access)).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EgressDenied, "{target}: {error}");
        let after = client.dials();
        assert!(refused_for(&after, *reason) > refused_for(&before, *reason));
    }
    assert_eq!(client.dials().made, 1);
}

/// A registry that asks for the client certificate, and a token service on another host that does.
#[tokio::test]
async fn a_client_certificate_goes_to_a_token_service_elsewhere_unless_the_rules_are_strict() {
    let (servers, clients) = (Authority::new("Test CA"), Authority::new("Clients"));
    let leaf = servers.local_leaf();
    let identity = clients.client();
    let tls = trusting(servers.pem()).tls.with_client_certificate(
        identity.certificate_pem().as_bytes(),
        identity.key_pem().as_bytes(),
        "secret apps/tls",
    );
    let access = Access {
        tls: tls.unwrap(),
        ..basic("user", "password")
    };
    for how in ["default", "strict", "listed"] {
        let service = FakeRegistry::builder().bearer("user", "password");
        let service = service.tls_for_clients_of(&leaf, &clients);
        let service = service.start().await.unwrap();
        let registry = FakeRegistry::builder().tls_for_clients_of(&leaf, &clients);
        let registry = registry.start().await.unwrap();
        seed(&registry, LAYER);
        let (port, other) = (registry.addr().port(), service.addr().port());
        let realm = format!("https://localhost:{other}/token");
        registry.script(
            Rule::on(Endpoint::Manifest)
                .times(1)
                .fault(challenge(&realm)),
        );
        let pair = format!("127.0.0.1:{port}=localhost:{other}").parse();
        let realms = Vec::from_iter(pair.ok().filter(|_| how == "listed"));
        let rules = match how {
            "default" => Egress::default(),
            _ => Egress::strict(StrictEgress {
                realms,
                ..StrictEgress::default()
            }),
        };
        let client = client_with(rules.allowing([listed("127.0.0.0/8"), listed("::1")]));
        let pulled = pull(&session(&client, &registry.host(), &access)).await;
        let asked = service.requests_to(Endpoint::Token);
        assert!(
            registry
                .requests()
                .iter()
                .all(|seen| seen.certificate.is_some())
        );
        if how == "strict" {
            // It lets nobody in without one, and is shown none.
            assert_eq!(pulled.unwrap_err().kind(), ErrorKind::Tls);
            assert_eq!(asked.len(), 0);
        } else {
            assert_eq!(pulled.unwrap(), LAYER, "{how}");
            let shown = &registry.requests()[0].certificate;
            assert!(shown.is_some() && asked[0].certificate == *shown, "{how}");
        }
    }
}

/// Every answer sets a cookie: the challenge, the token, a failure, a redirect, and what is there.
#[tokio::test]
async fn cookies_are_not_kept_and_the_password_of_a_proxy_stays_with_it() {
    const COOKIE: (&str, &str) = ("set-cookie", "session=canary; Path=/");
    let proxy = FakeProxy::start_with_login("robot", "secret");
    for is_proxied in [false, true] {
        let (registry, storage) = (
            FakeRegistry::builder().bearer("user", "password"),
            FakeRegistry::start().await,
        );
        let registry = registry.start().await.unwrap();
        seed(&registry, LAYER);
        seed(&storage, LAYER);
        let path = format!(
            "/v2/{REPOSITORY}/blobs/{}",
            wharf_test_support::registry::sha256(LAYER)
        );
        let there = format!("{}{path}", storage.base_url());
        let busy = Fault::status_with(503, &[COOKIE], "");
        let away = Fault::status_with(307, &[COOKIE, ("location", &there)], "");
        let layer = Fault::status_with(200, &[COOKIE], LAYER);
        for endpoint in [Endpoint::Manifest, Endpoint::Token] {
            registry.script(Rule::on(endpoint).times(1).fault(busy.clone()));
        }
        registry.script(Rule::on(Endpoint::Blob).fault(away));
        storage.script(Rule::on(Endpoint::Blob).faults([busy, layer]));
        let mut access = basic("user", "password");
        if is_proxied {
            let url = proxy.url().replace("://", "://robot:secret@");
            let proxy = wharf_oci::registry::Proxy::parse(&url, None, None).unwrap();
            access.proxy = wharf_oci::registry::ProxyChoice::Through(proxy);
        }
        let rules = Egress::default().allowing([listed("127.0.0.1")]);
        let session = session(&client_with(rules), &registry.host(), &access);
        assert_eq!(pull(&session).await.unwrap(), LAYER);
        assert_eq!(storage.requests_to(Endpoint::Blob).len(), 2);
        for seen in [registry.requests(), storage.requests()].concat() {
            assert!(!seen.cookie && !seen.proxy_authorization, "{seen:?}");
        }
    }
    let asked = proxy.asked();
    let to_storage = |head: &str| head.to_ascii_lowercase().contains("\r\nauthorization:");
    assert!(asked.iter().any(|asked| to_storage(&asked.head)));
    for asked in asked {
        assert_eq!(asked.login.as_deref(), Some("robot:secret"));
        assert!(
            !asked.head.to_ascii_lowercase().contains("\r\ncookie:"),
            "{asked:?}"
        );
    }
}
