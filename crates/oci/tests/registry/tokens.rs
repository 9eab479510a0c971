// SPDX-License-Identifier: Apache-2.0

use wharf_oci::registry::{Access, Client, Credentials, ErrorKind, Options, RetryPolicy, Session};
use wharf_test_support::{
    FakeRegistry,
    registry::{Builder, Endpoint, Fault, Gate, Rule, Seen},
};

use crate::support::*;

const PULL: &str = "scope=repository%3Ateam%2Fapp%3Apull";

pub(crate) async fn started(builder: Builder) -> FakeRegistry {
    let registry = builder.start().await.unwrap();
    seed(&registry, "layer");
    registry
}

pub(crate) fn bearer() -> Builder {
    FakeRegistry::builder().bearer("user", "canary-password")
}

pub(crate) fn known() -> Access {
    basic("user", "canary-password")
}

pub(crate) fn with(credentials: Credentials) -> Access {
    Access {
        credentials,
        ..Access::default()
    }
}

pub(crate) fn identity_token(token: &str) -> Access {
    with(Credentials::identity_token(token, "secret apps/regcred"))
}

pub(crate) fn session(client: &Client, registry: &FakeRegistry, access: &Access) -> Session {
    let repository = format!("{}/{REPOSITORY}", registry.host());
    client.session(repository.parse().unwrap(), access).unwrap()
}

pub(crate) fn tokens(registry: &FakeRegistry) -> Vec<Seen> {
    registry.requests_to(Endpoint::Token)
}

pub(crate) fn token_of(text: &str) -> Fault {
    Fault::status_with(200, &[], text.to_owned())
}

/// Challenges the first request for a manifest, and answers all for a token.
pub(crate) async fn challenging(challenges: &[&str]) -> FakeRegistry {
    let registry = started(FakeRegistry::builder()).await;
    let filled: Vec<_> = challenges
        .iter()
        .map(|value| value.replace("HERE", registry.base_url()))
        .collect();
    let headers: Vec<_> = filled
        .iter()
        .map(|value| ("www-authenticate", value.as_str()))
        .collect();
    let fault = Fault::status_with(401, &headers, "");
    registry.script(Rule::on(Endpoint::Manifest).times(1).fault(fault));
    registry.script(Rule::on(Endpoint::Token).fault(token_of(r#"{"token":"t"}"#)));
    registry
}

#[tokio::test]
async fn challenges_are_met_in_every_form() {
    for (challenges, query) in [
        (
            vec![r#"Bearer realm="HERE/token",service="s",scope="repository:team/app:pull""#],
            format!("service=s&{PULL}&account=user"),
        ),
        (
            vec![r#"Basic realm="a, b", Negotiate, Bearer realm="HERE/token",service="a, b""#],
            format!("service=a%2C%20b&{PULL}&account=user"),
        ),
        (
            vec![
                "Negotiate",
                r#"Basic realm="x""#,
                r#"bearer Realm="HERE/token""#,
            ],
            format!("{PULL}&account=user"),
        ),
        (
            vec![r#"Bearer realm="/token""#],
            format!("{PULL}&account=user"),
        ),
        (
            vec![r#"Bearer realm="HERE/token?tenant=7""#],
            format!("tenant=7&{PULL}&account=user"),
        ),
        (
            vec![
                r#"Bearer realm="/token",error="insufficient_scope",scope="repository:other:pull registry:catalog:*""#,
            ],
            format!("{PULL}&account=user"),
        ),
        (
            vec![
                r#"Bearer realm="/token",scope="repository:team/app:delete,metadata_read,content_read,*""#,
            ],
            format!("{PULL}%2Ccontent_read%2Cmetadata_read&account=user"),
        ),
    ] {
        let registry = challenging(&challenges).await;
        let got = pull(&session_of(&registry, &known())).await;
        assert_eq!(got.unwrap(), b"layer", "{challenges:?}");
        let seen = tokens(&registry);
        assert_eq!((seen.len(), &seen[0].query), (1, &query), "{challenges:?}");
        assert_eq!(seen[0].authorization.as_deref(), Some("Basic"));
    }
}

#[tokio::test]
async fn a_realm_on_another_host_is_asked_and_gets_no_password_over_plain_http() {
    let elsewhere = started(FakeRegistry::builder()).await;
    elsewhere.script(Rule::on(Endpoint::Token).fault(token_of(r#"{"token":"t"}"#)));
    let by_port = format!(r#"Bearer realm="{}/token""#, elsewhere.base_url());
    let registry = challenging(&[&by_port]).await;
    pull(&session_of(&registry, &known())).await.unwrap();
    assert_eq!(tokens(&elsewhere).len(), 1);

    let by_name = by_port.replace("127.0.0.1", "localhost");
    let registry = challenging(&[&by_name]).await;
    let error = pull(&session_of(&registry, &known())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("http://localhost"), "{error}");
    assert_eq!(tokens(&elsewhere).len(), 1);
    let registry = challenging(&[&by_name]).await;
    pull(&anonymous(&registry)).await.unwrap();
    assert_eq!(tokens(&elsewhere)[1].authorization, None);
}

#[tokio::test]
async fn fifty_at_once_cost_one_token_when_there_is_none_and_when_it_is_refused() {
    let registry = started(bearer()).await;
    let client = client();
    for expected in 1..=3 {
        let sessions = (0..50).map(|_| session(&client, &registry, &known()));
        let all = sessions.map(|session| async move { session.resolve(&tag("1.0.0")).await });
        for result in futures::future::join_all(all).await {
            result.unwrap();
        }
        assert_eq!(tokens(&registry).len(), expected);
        registry.revoke_tokens();
    }
}

#[tokio::test]
async fn who_waits_for_a_token_that_is_given_up_gets_it() {
    let registry = started(bearer()).await;
    let (client, gate) = (client(), Gate::new());
    registry.script(Rule::on(Endpoint::Token).hold(&gate));
    let first = session(&client, &registry, &known());
    let first = tokio::spawn(async move { first.resolve(&tag("1.0.0")).await });
    gate.arrived(1).await;
    let second = session(&client, &registry, &known());
    let second = tokio::spawn(async move { second.resolve(&tag("1.0.0")).await });
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.arrived(2).await;
    gate.open();
    second.await.unwrap().unwrap();
    assert_eq!(tokens(&registry).len(), 2);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_and_not_kept() {
    let registry = started(bearer()).await;
    let once = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let client = Client::new(Options {
        retry: once,
        ..Options::default()
    })
    .unwrap();
    let (gate, gate_of_rest) = (Gate::new(), Gate::new());
    registry.script(
        Rule::on(Endpoint::Token)
            .times(1)
            .hold(&gate)
            .fault(Fault::status(503)),
    );
    registry.script(Rule::on(Endpoint::Token).skip(1).hold(&gate_of_rest));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let session = session(&client, &registry, &known());
            tokio::spawn(async move { session.resolve(&tag("1.0.0")).await })
        })
        .collect();
    gate.arrived(1).await;
    // All have been refused once and wait for the token, or will ask for the next one and stop at the other gate.
    while registry
        .requests_to(Endpoint::Manifest)
        .iter()
        .filter(|seen| seen.status.is_some())
        .count()
        < 20
    {
        tokio::task::yield_now().await;
    }
    gate.open();
    gate_of_rest.open();
    let mut failed = 0;
    for task in tasks {
        if let Err(error) = task.await.unwrap() {
            assert_eq!(
                (error.kind(), error.status()),
                (ErrorKind::Server, Some(503))
            );
            assert!(error.to_string().contains("the token service"), "{error}");
            failed += 1;
        }
    }
    // Whoever came too late to wait asked for a token of their own, once for all.
    assert!(failed >= 1 && tokens(&registry).len() <= 2, "{failed}");
    let later = session(&client, &registry, &known());
    later.resolve(&tag("1.0.0")).await.unwrap();
    assert_eq!(tokens(&registry).len(), 2);
}

#[tokio::test]
async fn who_is_refused_for_ever_asks_for_one_token_per_request() {
    let registry = started(bearer()).await;
    let (base, host) = (registry.base_url(), registry.host());
    let challenge =
        format!(r#"Bearer realm="{base}/token",service="{host}",error="invalid_token""#);
    let fault = Fault::status_with(401, &[("www-authenticate", challenge.as_str())], "");
    registry.script(Rule::on(Endpoint::Manifest).fault(fault));
    let client = client();
    for attempt in 1..=3 {
        let error = pull(&session(&client, &registry, &known()))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts()),
            (ErrorKind::Unauthorized, 1)
        );
        let text = everything(&error);
        assert!(
            text.contains("the credentials from secret apps/regcred were refused"),
            "{text}"
        );
        assert!(!text.contains("canary"), "{text}");
        // For HEAD, and for the GET that looks whether only HEAD is refused.
        assert_eq!(tokens(&registry).len(), 2 * attempt);
    }
}

/// A token service is asked once. The registry itself sees them with HEAD, and with the GET that looks whether only HEAD is
/// refused.
#[tokio::test]
async fn wrong_credentials_are_sent_once_per_request() {
    for (builder, requests_of_attempt) in [
        (bearer(), 1),
        (FakeRegistry::builder().basic("user", "canary-password"), 2),
    ] {
        let registry = started(builder).await;
        let client = client();
        for attempt in 1..=2 {
            let session = session(&client, &registry, &basic("user", "canary-wrong"));
            pull(&session).await.unwrap_err();
            let requests = registry.requests();
            let shown = requests.iter().filter(|seen| seen.authorization.is_some());
            assert_eq!(shown.count(), requests_of_attempt * attempt);
        }
    }
}

#[tokio::test]
async fn a_token_service_may_redirect_within_its_origin_a_few_times() {
    let registry = challenging(&[r#"Bearer realm="/token""#]).await;
    registry.be_honest();
    let challenge = r#"Bearer realm="/token""#;
    let fault = Fault::status_with(401, &[("www-authenticate", challenge)], "");
    registry.script(Rule::on(Endpoint::Manifest).times(1).fault(fault));
    registry.script(Rule::on(Endpoint::Token).faults([
        Fault::Redirect("/token?second".into(), 302),
        Fault::Redirect(format!("{}/token?third", registry.base_url()), 307),
        token_of(r#"{"access_token":"t"}"#),
    ]));
    pull(&session_of(&registry, &known())).await.unwrap();
    let seen = tokens(&registry);
    let queries: Vec<_> = seen.iter().map(|seen| seen.query.as_str()).collect();
    assert_eq!(queries[1..], ["second", "third"]);
}

#[tokio::test]
async fn a_token_service_that_redirects_elsewhere_or_for_ever_is_told_of() {
    let canary = FakeRegistry::start().await;
    let elsewhere = format!("{}/token", canary.base_url());
    let (loops, port) = ("redirects more than 3 times", "leads elsewhere");
    for (to, words, requests) in [
        ("/token", loops, 3),
        (elsewhere.as_str(), port, 1),
        ("//localhost/token", port, 1),
        ("https://127.0.0.1/token", port, 1),
        ("http://user:canary@127.0.0.1/token", port, 1),
        ("", port, 1),
    ] {
        let registry = started(bearer()).await;
        registry.script(Rule::on(Endpoint::Token).fault(Fault::Redirect(to.into(), 307)));
        let error = pull(&session_of(&registry, &known())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{to}: {error}");
        assert!(error.to_string().contains(words), "{to}: {error}");
        assert!(!everything(&error).contains("canary"), "{error:?}");
        assert_eq!(tokens(&registry).len(), requests, "{to}");
    }
    // A form with a secret in it is not sent on at all.
    let registry = started(bearer()).await;
    registry.script(Rule::on(Endpoint::Token).fault(Fault::Redirect("/token?x".into(), 307)));
    let error = pull(&session_of(&registry, &identity_token("canary")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains(port), "{error}");
    assert_eq!(tokens(&registry).len(), 1);
    assert!(canary.requests().is_empty());
}

#[tokio::test]
async fn hostile_tokens_are_no_tokens() {
    for answer in [
        "<html>",
        "",
        "null",
        r#"{"token":""}"#,
        r#"{"token":"canary\nx: y"}"#,
        r#"{"token":"canary\u0000"}"#,
        r#"{"token":"canary","token":"other"}"#,
        r#"{"token":{"canary":1}}"#,
    ] {
        let registry = started(bearer()).await;
        registry.script(Rule::on(Endpoint::Token).fault(token_of(answer)));
        let error = pull(&session_of(&registry, &known())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{answer}");
        let text = everything(&error);
        assert!(text.contains("without a usable token"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn a_long_token_that_is_repeated_in_an_error_is_cut_out_before_the_text_is_cut() {
    let token = "canary-".repeat(100);
    let registry = challenging(&[r#"Bearer realm="/token""#]).await;
    registry.be_honest();
    let challenge =
        Fault::status_with(401, &[("www-authenticate", r#"Bearer realm="/token""#)], "");
    let body = format!("we do not know {token}");
    let refused = Fault::status_with(403, &[("content-type", "text/plain")], body);
    registry.script(
        Rule::on(Endpoint::Manifest)
            .get()
            .faults([challenge, refused]),
    );
    let answer = format!(r#"{{"token":"{token}"}}"#);
    registry.script(Rule::on(Endpoint::Token).fault(token_of(&answer)));
    let session = session_of(&registry, &known());
    let digest = wharf_oci::Digest::sha256_of(b"x");
    let error = session.manifest(&digest).await.unwrap_err();
    let text = everything(&error);
    assert!(
        text.contains("we do not know (secret)") && !text.contains("canary"),
        "{text}"
    );
}
