// SPDX-License-Identifier: Apache-2.0
//! What the fate of one request says about the host that it was sent to.
//!
//! Pure: the head of the answer or the problem goes in, a [`Verdict`] comes out. A host is only blamed for what anybody
//! would have met: not for refused credentials, not for a certificate that this asker does not trust or a handshake that
//! its client certificate spoiled, not for an address that we refuse to dial, not for a proxy on the way, not for a 500,
//! which one broken repository answers on a host that serves all others: only 502, 503, 504 and 520 to 524 say that
//! something behind the host is not reached.

use std::{
    error::Error,
    io,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode};

use super::{
    breaker::Failure,
    wishes::{self, RateLimit},
};
use crate::registry::{
    connector::ConnectError,
    origin::Origin,
    problem::{self, Problem},
};

/// What one request says about its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// How long the host wants to be left alone, and the status that said so.
    pub(super) wish: Option<(Duration, u16)>,
    pub(super) rate_limit: Option<RateLimit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It works.
    Answered,
    /// It works and wants less.
    Limited,
    Failed(Failure),
    /// Nothing can be said.
    Unknown,
}

impl Verdict {
    /// From the head of an answer. A wish counts with 429 and 503, where it is a wish of the host about all requests;
    /// with a redirect or a success it is about this one.
    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, wall: SystemTime) -> Self {
        let rate_limit = RateLimit::read(headers, wall);
        let code = status.as_u16();
        let asked = matches!(code, 429 | 503)
            .then(|| wishes::retry_after(headers, wall))
            .flatten();
        let exhausted = rate_limit.and_then(|limit| limit.exhausted());
        let outcome = match code {
            429 => Outcome::Limited,
            // It is there and says itself when to come back: no breaker is needed for that.
            503 if asked.is_some() => Outcome::Limited,
            // What one repository alone may have caused, and what a host that fails for all may say as well.
            500 => Outcome::Unknown,
            501.. if problem::is_transient(status) => Outcome::Failed(Failure::Status(code)),
            _ => Outcome::Answered,
        };
        Self {
            outcome,
            wish: asked.max(exhausted).map(|wait| (wait, code)),
            rate_limit,
        }
    }

    /// What remains of it for all others, where the request was one that another host asked for: that the host is there.
    pub(super) fn of_who_was_led(self) -> Self {
        Self {
            outcome: match self.outcome {
                Outcome::Answered => Outcome::Answered,
                Outcome::Limited | Outcome::Failed(_) | Outcome::Unknown => Outcome::Unknown,
            },
            wish: None,
            rate_limit: None,
        }
    }

    /// From the lack of an answer.
    pub(super) fn of_problem(host: &Origin, problem: &Problem) -> Self {
        let outcome = match problem {
            Problem::Timeout { .. } => Outcome::Failed(Failure::Timeout),
            Problem::Broken { cause, .. } if !is_tls(cause.as_ref()) => {
                Outcome::Failed(Failure::Broken)
            }
            Problem::Connect(error) => of_connect(host, error),
            _ => Outcome::Unknown,
        };
        Self {
            outcome,
            wish: None,
            rate_limit: None,
        }
    }
}

/// An error that names another host is one of something on the way to this one.
fn of_connect(host: &Origin, error: &ConnectError) -> Outcome {
    let bare = host.host.trim_start_matches('[').trim_end_matches(']');
    match error {
        ConnectError::Resolve { host, .. }
        | ConnectError::NoAddress { host }
        | ConnectError::Dial { host, .. }
            if host.eq_ignore_ascii_case(bare) =>
        {
            Outcome::Failed(Failure::Connect)
        }
        ConnectError::Timeout { host, .. } if host.eq_ignore_ascii_case(bare) => {
            Outcome::Failed(Failure::Timeout)
        }
        _ => Outcome::Unknown,
    }
}

/// Whether TLS ended the connection: with TLS 1.3 a client certificate is refused after the handshake is over.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(cause) = error {
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if cause.is::<rustls::Error>() || inner.is_some_and(is_tls_error) {
            return true;
        }
        error = cause.source();
    }
    false
}

fn is_tls_error(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<rustls::Error>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::header;

    use super::*;
    use crate::registry::origin::Link;

    fn host() -> Origin {
        Link::parse("https://[::1]:5000/").unwrap().origin
    }

    fn answered(code: u16, retry_after: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(code).unwrap();
        Verdict::of_answer(status, &headers, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn only_server_errors_that_may_pass_are_failures() {
        for code in [502, 503, 504, 520, 522, 524] {
            let expected = Outcome::Failed(Failure::Status(code));
            assert_eq!(answered(code, None).outcome, expected);
        }
        for code in [
            200, 206, 304, 307, 400, 401, 403, 404, 408, 416, 499, 501, 505, 999,
        ] {
            assert_eq!(answered(code, None).outcome, Outcome::Answered, "{code}");
        }
        assert_eq!(answered(500, None).outcome, Outcome::Unknown);
        assert_eq!(answered(429, None).outcome, Outcome::Limited);
        assert_eq!(answered(503, Some("5")).outcome, Outcome::Limited);
    }

    #[test]
    fn a_wish_closes_with_429_and_503_only() {
        for code in [429, 503] {
            let wish = Some((Duration::from_secs(5), code));
            assert_eq!(answered(code, Some("5")).wish, wish);
            assert_eq!(answered(code, Some("soon")).wish, None);
        }
        for code in [200, 301, 307, 404, 500] {
            assert_eq!(answered(code, Some("5")).wish, None, "{code}");
        }
    }

    #[test]
    fn nobody_is_blamed_for_what_the_asker_may_have_caused() {
        let dial = |host: &str| {
            let cause = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
            Problem::Connect(ConnectError::Dial {
                host: host.into(),
                address: "[::1]:5000".parse().unwrap(),
                cause,
            })
        };
        let broken = |cause: io::Error| Problem::Broken {
            host: host(),
            cause: Box::new(cause),
        };
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let of = |problem: &Problem| Verdict::of_problem(&host(), problem).outcome;
        assert_eq!(of(&dial("::1")), Outcome::Failed(Failure::Connect));
        assert_eq!(of(&dial("proxy.example")), Outcome::Unknown);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(of(&broken(reset)), Outcome::Failed(Failure::Broken));
        assert_eq!(of(&broken(io::Error::other(alert))), Outcome::Unknown);
        let not_tls = ConnectError::NotTls { host: "::1".into() };
        assert_eq!(of(&Problem::Connect(not_tls)), Outcome::Unknown);
        let other = Problem::Header("the credentials cannot be sent in an HTTP header");
        assert_eq!(of(&other), Outcome::Unknown);
    }
}
