// SPDX-License-Identifier: Apache-2.0
//! The faults, and what each may lead to at a step.

use std::time::Duration;

use bytes::Bytes;
use wharf_oci::registry::ErrorKind;
use wharf_test_support::{FakeRegistry, registry::Fault};

use super::steps::Step;

/// One wrong.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: String,
    wrong: Wrong,
}

#[derive(Clone)]
enum Wrong {
    /// A status instead of an answer.
    Status(u16, Vec<(&'static str, String)>),
    /// A redirect to this URL, `{base}` being the registry's own.
    Redirect(u16, &'static str),
    /// The right status with another body.
    Body(Bytes),
    /// Bytes that break off, never end or do not come.
    Transfer(Fault),
    /// Right bytes, wrong words about them.
    Header(Fault),
}

/// All faults, each for every step.
pub(super) fn faults() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |name: String, wrong| all.push(Case { name, wrong });
    for code in [
        204, 206, 304, 400, 401, 403, 404, 405, 408, 410, 416, 418, 425, 429, 500, 501, 502, 503,
        504, 522, 599,
    ] {
        add(format!("status {code}"), Wrong::Status(code, Vec::new()));
    }
    for wish in [
        "0",
        "1",
        "3600",
        "1000000000000",
        "-1",
        "soon",
        "Fri, 31 Dec 1999 23:59:59 GMT",
    ] {
        let header = vec![("retry-after", wish.to_owned())];
        add(
            format!("429 with Retry-After {wish}"),
            Wrong::Status(429, header),
        );
    }
    let words = r#"{"errors":[{"code":"DENIED","message":"canary-password \u001b[2J no"}]}"#;
    let echo = vec![("x-words", words.to_owned())];
    add("403 with headers".into(), Wrong::Status(403, echo));
    for (code, url) in [
        (302, "{base}/v2/"),
        (
            307,
            "{base}/v2/team/app/manifests/1.0.0?sig=canary-signature",
        ),
        (302, "http://169.254.169.254/latest?sig=canary-signature"),
        (307, "http://[fd00:ec2::254]/latest?sig=canary-signature"),
        (301, "ftp://127.0.0.1/a?sig=canary-signature"),
        (308, "http://user:canary-password@127.0.0.1:1/a"),
        (302, "not a url \u{7f}"),
    ] {
        let url_name = url.split('?').next().unwrap_or(url).escape_default();
        add(format!("{code} to {url_name}"), Wrong::Redirect(code, url));
    }
    for (name, body) in bodies() {
        add(format!("body {name}"), Wrong::Body(body));
    }
    for (name, fault) in transfers() {
        add(name.to_owned(), Wrong::Transfer(fault));
    }
    add(
        "wrong digest header".into(),
        Wrong::Header(Fault::WrongDigestHeader),
    );
    add(
        "delay".into(),
        Wrong::Header(Fault::Delay(Duration::from_millis(50))),
    );
    all
}

fn bodies() -> Vec<(&'static str, Bytes)> {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        ("empty", Bytes::new()),
        ("null", "null".into()),
        ("of another kind", "{}".into()),
        ("not JSON", "<html>canary</html>".into()),
        ("cut JSON", r#"{"schemaVersion":2,"#.into()),
        ("not UTF-8", Bytes::from_static(b"\xff\xfe{\x00}\x00")),
        ("deep", deep.into()),
        ("twice the same key", r#"{"name":"a","name":"b","tags":["9.9.9"],"tags":["0.0.1"],"token":"a","token":"b","manifests":[],"manifests":[]}"#.into()),
        ("numbers out of range", r#"{"schemaVersion":99999999999999999999,"expires_in":1e999,"token":7,"tags":[1],"manifests":[{"size":-1}]}"#.into()),
        ("large", vec![b' '; 400 << 10].into()),
    ]
}

fn transfers() -> Vec<(&'static str, Fault)> {
    let drip = Fault::Drip {
        bytes: 1,
        every: Duration::from_millis(30),
    };
    vec![
        ("another last byte", Fault::WrongDigest),
        ("one byte less than said", Fault::WrongLength(1)),
        ("one byte more than said", Fault::WrongLength(-1)),
        ("1 TiB said", Fault::WrongLength(1 << 40)),
        ("reset at once", Fault::ResetAt(0)),
        ("reset at 10", Fault::ResetAt(10)),
        ("closed at once", Fault::CloseAt(0)),
        ("closed at 10", Fault::CloseAt(10)),
        ("endless", Fault::Endless),
        ("endless chunks", Fault::EndlessChunked),
        ("one byte at a time", drip),
        ("silence", Fault::Silence),
        ("a page of HTML", Fault::Html),
    ]
}

impl Case {
    /// The fault, for this registry.
    pub(super) fn fault(&self, registry: &FakeRegistry) -> Fault {
        match &self.wrong {
            Wrong::Status(code, headers) => {
                let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
                Fault::status_with(*code, &headers, ERROR)
            }
            Wrong::Redirect(code, url) => {
                Fault::Redirect(url.replace("{base}", registry.base_url()), *code)
            }
            Wrong::Body(body) => Fault::OtherBody(body.clone()),
            Wrong::Transfer(fault) | Wrong::Header(fault) => fault.clone(),
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self.wrong {
            Wrong::Status(code, _) => Some(code),
            _ => None,
        }
    }

    /// Whether this is no fault at this step but an answer that means something else.
    pub(super) fn is_an_answer(&self, step: Step) -> bool {
        match (step, self.status()) {
            // "There is no such blob", "nothing refers to it", "there is no such interface".
            (Step::BlobHead | Step::ReferrersTag, Some(404)) => true,
            (Step::Referrers, Some(400 | 404 | 405 | 410 | 501)) => true,
            _ => false,
        }
    }

    /// Whether the operation cannot have succeeded.
    pub(super) fn must_fail(&self, step: Step) -> bool {
        match &self.wrong {
            Wrong::Status(code, _) => must_fail_by_status(*code, step),
            Wrong::Redirect(_, url) => step != Step::Ping && !url.starts_with("{base}"),
            Wrong::Body(_) => step.is_read() && step != Step::Referrers,
            Wrong::Transfer(fault) => match fault {
                Fault::Silence => true,
                Fault::Html => step.is_push() || (step.is_read() && step != Step::Referrers),
                _ => step.is_read() && step != Step::Referrers,
            },
            Wrong::Header(_) => false,
        }
    }

    /// The kinds that an error may have; none when there must be no error.
    pub(super) fn kinds(&self, step: Step) -> Vec<ErrorKind> {
        use ErrorKind as K;
        let content = [
            K::Protocol,
            K::ManifestInvalid,
            K::DigestMismatch,
            K::SizeMismatch,
        ];
        match &self.wrong {
            Wrong::Status(code, _) => kinds_by_status(*code, step),
            Wrong::Redirect(..) if step == Step::Ping => Vec::new(),
            Wrong::Redirect(..) => {
                let more = [K::EgressDenied, K::Unauthorized, K::NotFound, K::Forbidden];
                [&content[..], &more].concat()
            }
            Wrong::Body(_) if !step.is_read() => Vec::new(),
            Wrong::Body(_) => [&content[..], &[K::TooLarge, K::Unauthorized]].concat(),
            Wrong::Transfer(_) => {
                let more = [K::TooLarge, K::Timeout, K::Unreachable, K::Unauthorized];
                [&content[..], &more].concat()
            }
            Wrong::Header(Fault::WrongDigestHeader) => match step {
                Step::TagHead => vec![K::NotFound, K::DigestMismatch, K::Protocol],
                Step::ManifestPut => vec![K::Protocol, K::DigestMismatch],
                _ => Vec::new(),
            },
            Wrong::Header(_) => Vec::new(),
        }
    }
}

/// What a registry says of itself, with a terminal's escape in it.
const ERROR: &str = r#"{"errors":[{"code":"SOME_CODE","message":"some \u001b[2J words"}]}"#;

fn must_fail_by_status(code: u16, step: Step) -> bool {
    match step {
        // Any answer says that the registry is there, but 400 is also what a TLS port says to plain HTTP.
        Step::Ping => false,
        // GET is asked when HEAD was not answered well, but not of one who wants to be left alone.
        Step::TagHead => matches!(code, 401 | 429),
        Step::BlobHead | Step::UploadEnd | Step::ManifestPut => code >= 300,
        _ => true,
    }
}

fn kinds_by_status(code: u16, step: Step) -> Vec<ErrorKind> {
    use ErrorKind as K;
    let mut kinds = match code {
        401 => vec![K::Unauthorized],
        403 => vec![K::Forbidden],
        404 => vec![K::NotFound],
        408 => vec![K::Timeout, K::Server],
        429 => vec![K::RateLimited],
        500..=599 => vec![K::Server],
        200..=299 => vec![
            K::Protocol,
            K::ManifestInvalid,
            K::DigestMismatch,
            K::SizeMismatch,
        ],
        _ => vec![K::Protocol],
    };
    match step {
        Step::Ping if !matches!(code, 400 | 429 | 503) => kinds.clear(),
        // A token service that has none of its interfaces is no token service.
        Step::Token => kinds.extend([K::Unauthorized, K::Protocol]),
        _ => {}
    }
    kinds
}
