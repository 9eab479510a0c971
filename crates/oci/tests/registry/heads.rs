// SPDX-License-Identifier: Apache-2.0
//! HEAD for a tag, and when GET is asked after it.

use std::{net::SocketAddr, time::Duration};

use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use wharf_oci::registry::{Access, ErrorKind, Options, Timeouts};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
};

use crate::support::*;

#[tokio::test]
async fn where_head_does_not_help_get_is_asked() {
    for fault in [
        Fault::status(405),
        Fault::status(500),
        Fault::status(404),
        Fault::status(401),
        Fault::status_with(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        Fault::status_with(401, &[("www-authenticate", "Negotiate")], ""),
        Fault::ResetAt(0),
        Fault::Redirect(String::new(), 307),
        Fault::Redirect("ftp://x/".to_owned(), 307),
        Fault::Redirect("http://169.254.169.254/".to_owned(), 307),
    ] {
        let registry = FakeRegistry::start().await;
        let seeded = seed(&registry, "layer");
        registry.script(
            Rule::on(Endpoint::Manifest)
                .method(Method::HEAD)
                .fault(fault.clone()),
        );
        let resolved = anonymous(&registry).resolve(&tag("1.0.0")).await.unwrap();
        assert_eq!(resolved.revision(), seeded.revision(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_never_answered_leads_to_one_get() {
    let registry = FakeRegistry::start().await;
    let seeded = seed(&registry, "layer");
    registry.script(
        Rule::on(Endpoint::Manifest)
            .method(Method::HEAD)
            .fault(Fault::Silence),
    );
    let options = Options {
        timeouts: Timeouts {
            response: Duration::from_secs(1),
            ..Timeouts::default()
        },
        ..options()
    };
    let session = session_with(&registry, &Access::default(), options);
    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    assert_eq!(resolved.revision(), seeded.revision());
    assert_eq!(registry.requests_to(Endpoint::Manifest).len(), 2);
}

/// A way to a registry on which every HEAD ends with the connection.
async fn without_head(registry: &FakeRegistry) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (host, behind) = (listener.local_addr().unwrap(), registry.addr());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(pass_on(socket, behind));
        }
    });
    host.to_string()
}

async fn pass_on(mut near: TcpStream, behind: SocketAddr) {
    let mut far = TcpStream::connect(behind).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        let passed = tokio::select! {
            read = near.read(&mut asked) => match read.unwrap_or(0) {
                0 => return,
                _ if asked.starts_with(b"HEAD ") => return,
                len => far.write_all(&asked[..len]).await,
            },
            read = far.read(&mut answered) => match read.unwrap_or(0) {
                0 => return,
                len => near.write_all(&answered[..len]).await,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_with_each_head_leads_to_get() {
    let registry = FakeRegistry::start().await;
    let seeded = seed(&registry, "layer");
    let session = session_at(&without_head(&registry).await, &Access::default());
    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    assert_eq!(resolved.revision(), seeded.revision());
    assert_eq!(registry.requests_to(Endpoint::Manifest).len(), 1);
}

#[tokio::test]
async fn where_get_fails_like_head_its_error_is_the_one_that_is_told() {
    let registry = FakeRegistry::start().await;
    let refused = Fault::status_with(403, &[], "no");
    registry.script(Rule::on(Endpoint::Manifest).get().fault(refused));
    let session = session_at(&without_head(&registry).await, &Access::default());
    let error = session.resolve(&tag("1.0.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    assert_eq!(registry.requests_to(Endpoint::Manifest).len(), 1);
}

#[tokio::test]
async fn a_head_that_comes_too_often_is_not_followed_by_a_get() {
    let registry = FakeRegistry::start().await;
    seed(&registry, "layer");
    let rule = Rule::on(Endpoint::Manifest).method(Method::HEAD);
    registry.script(rule.fault(Fault::retry_after(429, "3600")));
    let error = anonymous(&registry).resolve(&tag("1.0.0")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::RateLimited);
    assert_eq!(registry.requests_to(Endpoint::Manifest).len(), 1);
}

/// Login is counted somewhere: what is refused as a HEAD with credentials is shown once more, as a GET, and then no more.
#[tokio::test]
async fn a_registry_that_refuses_only_head_to_whom_it_knows_is_read() {
    let registry = FakeRegistry::builder()
        .basic("user", "password")
        .start()
        .await
        .unwrap();
    let seeded = seed(&registry, "layer");
    let refused = Fault::status_with(401, &[("www-authenticate", "Basic realm=\"x\"")], "");
    let rule = Rule::on(Endpoint::Manifest).method(Method::HEAD);
    registry.script(rule.fault(refused));
    let session = session_of(&registry, &basic("user", "password"));
    let resolved = session.resolve(&tag("1.0.0")).await.unwrap();
    assert_eq!(resolved.revision(), seeded.revision());
    let session = session_of(&registry, &basic("user", "wrong"));
    registry.clear_requests();
    let error = session.resolve(&tag("1.0.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let mut seen = registry.requests_to(Endpoint::Manifest);
    seen.retain(|seen| seen.authorization.is_some());
    let methods: Vec<_> = seen.into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, [Method::HEAD, Method::GET]);
}

#[tokio::test]
async fn a_head_without_a_usable_digest_is_no_answer() {
    for value in ["", "sha256:short", "md5:abc"] {
        let registry = FakeRegistry::start().await;
        let seeded = seed(&registry, "layer");
        let answer = Fault::status_with(200, &[("docker-content-digest", value)], "");
        registry.script(
            Rule::on(Endpoint::Manifest)
                .method(Method::HEAD)
                .fault(answer),
        );
        let resolved = anonymous(&registry).resolve(&tag("1.0.0")).await.unwrap();
        assert_eq!(resolved.revision(), seeded.revision(), "{value}");
    }
}
