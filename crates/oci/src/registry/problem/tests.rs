// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::registry::origin::Link;

fn origin(url: &str) -> Origin {
    Link::parse(url).unwrap().origin
}

#[test]
fn a_shared_problem_is_about_what_it_holds() {
    let realm = origin("https://auth.example/");
    let shared = |problem| {
        Problem::Shared(Arc::new(Shared {
            problem,
            host: Some(realm.clone()),
        }))
    };
    let cause = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
    let refused = Problem::Connect(ConnectError::Dial {
        host: "auth.example".into(),
        address: "192.0.2.1:443".parse().unwrap(),
        cause,
    });
    let words = refused.to_string();
    let refused = shared(refused);
    assert_eq!(refused.host(), Some(&realm));
    assert_eq!(refused.to_string(), words);
    assert!(std::error::Error::source(&refused).is_some() && refused.is_transient());
    let other = origin("https://other.example/");
    let redirected = Problem::Broken {
        host: other.clone(),
        cause: "reset".into(),
    };
    assert_eq!(shared(redirected).host(), Some(&other));
}

#[test]
fn who_waited_for_a_failure_reads_of_no_source_but_his_own() {
    let host = || origin("https://r.example/");
    let answer = || Answer {
        status: StatusCode::UNAUTHORIZED,
        words: "no".into(),
        retry_after: None,
        asked_by: AskedBy::Credentials("secret theirs/regcred".into()),
    };
    let credentials = || "secret theirs/regcred".to_owned();
    for problem in [
        Problem::Answer {
            host: host(),
            answer: answer(),
        },
        Problem::Token {
            host: host(),
            answer: answer(),
        },
        Problem::CredentialForm {
            host: host(),
            what: "an identity token",
            credentials: credentials(),
        },
        Problem::ExposedCredentials {
            host: host(),
            credentials: credentials(),
            exposure: Exposure::PlainHttp,
        },
    ] {
        let inner = Arc::new(Shared {
            problem,
            host: None,
        });
        let nested = Arc::new(Shared {
            problem: Problem::Shared(inner.clone()),
            host: None,
        });
        for shared in [inner, nested] {
            let told = Problem::shared(&shared, Some("secret mine/regcred"));
            let told = format!("{told} {told:?}");
            assert!(told.contains("secret mine/regcred"), "{told}");
            assert!(!told.contains("theirs"), "{told}");
        }
    }
}

#[test]
fn text_from_outside_is_cut_and_cannot_move_the_cursor() {
    assert_eq!(clean(" a\x1b[2Jb\nc\u{202e}d ", 100), "a [2Jb c d");
    assert_eq!(clean(&"x".repeat(1 << 20), 10), "xxxxxxxxxx...");
    assert_eq!(clean("", 10), "");
}

#[test]
fn a_refusal_names_the_source_of_the_credentials() {
    let answer = |status, asked_by| {
        let words = "DENIED: no".into();
        Answer {
            status,
            words,
            retry_after: None,
            asked_by,
        }
        .to_string()
    };
    assert_eq!(
        answer(
            StatusCode::UNAUTHORIZED,
            AskedBy::Credentials("secret apps/regcred".into())
        ),
        "401 Unauthorized (DENIED: no); the credentials from secret apps/regcred were refused"
    );
    assert_eq!(
        answer(StatusCode::FORBIDDEN, AskedBy::Nobody),
        "403 Forbidden (DENIED: no); no credentials were given"
    );
}
