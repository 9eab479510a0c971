// SPDX-License-Identifier: Apache-2.0
//! The faults, and what each may lead to at a step.

use std::time::Duration;

use bytes::Bytes;
use wharf_oci::registry::ErrorKind;
use wharf_test_support::{
    FakeRegistry,
    registry::{Fault, Rule},
};

use super::{links, spellings, steps::Step};

/// One wrong.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: String,
    wrong: Wrong,
}

#[derive(Clone)]
pub(super) enum Wrong {
    /// A status instead of an answer.
    Status(u16, Vec<(&'static str, String)>),
    /// An error that repeats the password.
    Echo(u16),
    /// A redirect to this URL, `{base}` being the registry's own.
    Redirect(u16, &'static str),
    /// The right status with another body.
    Body(Bytes),
    /// Bytes that break off, never end or do not come.
    Transfer(Fault),
    /// Right bytes, wrong words about them.
    Header(Fault),
    /// The honest answer, written as HTTP does not have it, or hardly.
    Spelled(Fault),
    /// No HTTP.
    NoHttp(Fault),
    /// One page after the other, for steps that read pages.
    Pages(links::Pages),
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
    for code in [400, 403, 500] {
        add(
            format!("{code} that repeats the password"),
            Wrong::Echo(code),
        );
    }
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
        (302, "not a url"),
        (307, "{base}/token"),
        (303, "http://localhost:1/?sig=canary-signature"),
        (308, ""),
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
    for (name, fault) in spellings::spellings() {
        add(name.to_owned(), Wrong::Spelled(fault));
    }
    for (name, fault) in spellings::no_http() {
        add(name.to_owned(), Wrong::NoHttp(fault));
    }
    for pages in links::ALL {
        add(format!("pages {pages:?}"), Wrong::Pages(pages));
    }
    all
}

/// An error document with the password in it, plain and as it is sent.
fn echoing(code: u16) -> Fault {
    let words = r#"{"errors":[{"code":"DENIED","message":"got canary-password, Basic cm9ib3Q6Y2FuYXJ5LXBhc3N3b3Jk"}]}"#;
    Fault::status_with(code, &[("content-type", "application/json")], words)
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
        every: Duration::from_millis(400),
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
        ("1 GiB said", Fault::WrongLength(1 << 30)),
        (
            "endless JSON",
            Fault::EndlessAfter(
                r#"{"schemaVersion":2,"name":"team/app","tags":["1.0.0"],"token":""#.into(),
                vec![b'a'; 8192].into(),
            ),
        ),
        (
            "endless list",
            Fault::EndlessAfter(
                r#"{"schemaVersion":2,"name":"team/app","manifests":[{}],"tags":["1.0.0""#.into(),
                r#","1.0.0""#.repeat(1000).into(),
            ),
        ),
        ("a page of HTML", Fault::Html),
    ]
}

impl Case {
    /// Whether this can be played at a step.
    pub(super) fn applies(&self, step: Step) -> bool {
        match self.wrong {
            Wrong::Pages(_) => step.is_list(),
            _ => !self.is_an_answer(step),
        }
    }

    /// Whether it takes its time: to be begun first.
    pub(super) fn is_slow(&self) -> bool {
        matches!(
            &self.wrong,
            Wrong::Transfer(Fault::Silence | Fault::Drip { .. })
        ) || matches!(&self.wrong, Wrong::NoHttp(Fault::Raw(_, again)) if !again.is_empty())
    }

    /// The rule by which this happens at a step.
    pub(super) fn rule(&self, step: Step, registry: &FakeRegistry) -> Rule {
        match self.wrong {
            Wrong::Pages(pages) => step.rule().faults(pages.faults(step)),
            _ => step.rule().fault(self.fault(registry)),
        }
    }

    fn fault(&self, registry: &FakeRegistry) -> Fault {
        match &self.wrong {
            Wrong::Pages(_) => Fault::Honest,
            Wrong::Echo(code) => echoing(*code),
            Wrong::Status(code, headers) => {
                let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
                Fault::status_with(*code, &headers, ERROR)
            }
            Wrong::Redirect(code, url) => {
                Fault::Redirect(url.replace("{base}", registry.base_url()), *code)
            }
            Wrong::Body(body) => Fault::OtherBody(body.clone()),
            Wrong::Transfer(fault)
            | Wrong::Header(fault)
            | Wrong::Spelled(fault)
            | Wrong::NoHttp(fault) => fault.clone(),
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self.wrong {
            Wrong::Status(code, _) | Wrong::Echo(code) => Some(code),
            _ => None,
        }
    }

    /// Whether this is no fault at this step but an answer that means something else.
    fn is_an_answer(&self, step: Step) -> bool {
        match (step, &self.wrong, self.status()) {
            // The page for people that registries without the API show: then the tag is asked, and its answer counts.
            (Step::Referrers, Wrong::Transfer(Fault::Html) | Wrong::Redirect(303, _), _)
            // "There is no such interface", "there is no such blob", "nothing refers to it".
            | (Step::Referrers, _, Some(400 | 404 | 405 | 410 | 501))
            | (Step::BlobHead | Step::ReferrersTag, _, Some(404)) => true,
            _ => false,
        }
    }

    /// Whether the operation cannot have succeeded.
    pub(super) fn must_fail(&self, step: Step) -> bool {
        let is_read = step.is_read() && !matches!(step, Step::Referrers | Step::UploadStatus);
        match &self.wrong {
            // Met once: then the blob is sent.
            _ if step == Step::Mount => false,
            Wrong::Status(code, _) | Wrong::Echo(code) => must_fail_by_status(*code, step),
            Wrong::Redirect(_, url) => {
                // What comes of a status query that fails for good is that the upload is begun anew, and HEAD of a tag is
                // looked at again with GET.
                !matches!(step, Step::UploadStatus | Step::TagHead) && !url.starts_with("{base}")
            }
            Wrong::Transfer(Fault::Silence) | Wrong::NoHttp(_) => step != Step::TagHead,
            Wrong::Pages(_) => true,
            // HEAD of a tag is looked at again with GET, and any page says that somebody is there.
            Wrong::Transfer(Fault::Html) => {
                !matches!(step, Step::Ping | Step::TagHead | Step::UploadStatus)
            }
            Wrong::Body(_) | Wrong::Transfer(_) => is_read,
            Wrong::Header(_) | Wrong::Spelled(_) => false,
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
        let broken = [K::TooLarge, K::Timeout, K::Unreachable, K::Unauthorized];
        match &self.wrong {
            Wrong::Status(code, _) | Wrong::Echo(code) => kinds_by_status(*code, step),
            // Whoever only redirects over plain HTTP is not who answers there.
            Wrong::Redirect(..) if step == Step::Ping => vec![K::Protocol],
            Wrong::Redirect(..) => {
                let more = [
                    K::EgressDenied,
                    K::Unauthorized,
                    K::NotFound,
                    K::Forbidden,
                    K::Unreachable,
                ];
                [&content[..], &more].concat()
            }
            Wrong::Body(_) if !step.is_read() => Vec::new(),
            Wrong::Body(_) => [&content[..], &[K::TooLarge, K::Unauthorized]].concat(),
            Wrong::Transfer(_) => [&content[..], &broken].concat(),
            Wrong::Header(Fault::WrongDigestHeader) => match step {
                Step::TagHead => vec![K::NotFound, K::DigestMismatch, K::Protocol],
                Step::ManifestPut | Step::UploadEnd | Step::BlobHead | Step::PushHead => {
                    vec![K::Protocol, K::DigestMismatch]
                }
                _ => Vec::new(),
            },
            Wrong::Header(_) => Vec::new(),
            Wrong::Spelled(_) | Wrong::NoHttp(_) => {
                [&content[..], &broken, &[K::EgressDenied]].concat()
            }
            Wrong::Pages(_) => vec![K::Protocol, K::TooLarge],
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
        Step::TagHead => code == 429,
        Step::BlobHead => code >= 300,
        // A success without the words of a registry is not looked at further: there the blob is sent.
        Step::PushHead => code >= 300 && code != 404,
        // An upload that the registry does not tell of, for whatever reason that lasts, is begun anew.
        Step::UploadStatus => matches!(code, 408 | 425 | 429 | 500..=599),
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
        Step::Ping if !matches!(code, 304 | 400 | 429 | 503) => kinds.clear(),
        // The next request is not sent before the time that was asked for is over.
        Step::Ping => kinds.extend([K::Protocol, K::RateLimited]),
        // A chunk or a mount that failed may be followed by a request that the registry honestly refuses.
        Step::ChunkPatch | Step::Mount => kinds.push(K::Protocol),
        // A token service that has none of its interfaces is no token service.
        Step::Token => kinds.extend([K::Unauthorized, K::Protocol]),
        _ => {}
    }
    kinds
}
