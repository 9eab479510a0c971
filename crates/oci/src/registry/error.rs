// SPDX-License-Identifier: Apache-2.0
//! The one error that the registry client returns.
//!
//! It says what was tried, where, how often and what came back, in words for the person who must act; [`Error::kind`]
//! says it again as a bounded value for metrics and conditions. It holds no secret, no header and no query string.

use std::{error, fmt, time::Duration};

use super::problem::Problem;

/// A failed operation on a registry.
///
/// The message is whole without its source: operation, repository, number of attempts if more than one, HTTP status and
/// the registry's own words. [`error::Error::source`] is the lower-level cause (I/O, TLS, JSON) when there is one.
pub struct Error(Box<Context>);

struct Context {
    operation: String,
    place: String,
    attempts: u32,
    problem: Problem,
    /// What is told of the problem: nothing else of it is.
    text: String,
    /// The causes, where something had to be taken out of their words.
    scrubbed: Option<Cause>,
    /// For how long the host was left alone when this was given up.
    broken_for: Option<Duration>,
    /// The mirrors that were tried before, and how each failed.
    mirrors: Vec<String>,
}

/// What went wrong, as one of a few values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 401, from the registry or its token service, or credentials of a form that cannot be used.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 429, or not asked at all: the host asked for no requests for now, or a rate that is set is used up.
    RateLimited,
    /// No address, no connection, or a connection that broke.
    Unreachable,
    /// A certificate that is not accepted, or a handshake that failed.
    Tls,
    /// A deadline passed, also that of waiting for a turn, or a body came too slowly.
    Timeout,
    /// Content that is not what its digest says.
    DigestMismatch,
    /// Content that is longer or shorter than its descriptor says.
    SizeMismatch,
    /// Content above one of our limits.
    TooLarge,
    /// An answer that the distribution-spec does not allow.
    Protocol,
    /// A manifest or index that cannot be read, or has nothing for this platform.
    ManifestInvalid,
    /// 5xx.
    Server,
    /// A host that is left alone for a while because it did not work.
    Unavailable,
    /// An address that must not be dialled, or another of the egress rules.
    EgressDenied,
    /// A proxy that refuses, wants other credentials, or is none.
    Proxy,
    /// Settings that cannot work.
    Config,
    /// A local file that could not be read or written.
    Io,
}

impl ErrorKind {
    /// The name, for a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::DigestMismatch => "digest_mismatch",
            Self::SizeMismatch => "size_mismatch",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::ManifestInvalid => "manifest_invalid",
            Self::Server => "server",
            Self::Unavailable => "unavailable",
            Self::EgressDenied => "egress_denied",
            Self::Proxy => "proxy",
            Self::Config => "config",
            Self::Io => "io",
        }
    }
}

/// When asking again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before somebody changed something: the settings, the credentials or what the registry holds.
    Terminal,
    /// Soon, with growing pauses.
    Backoff,
    /// Not before this time has passed: the registry said so, or it is left alone until then.
    After(Duration),
}

impl Error {
    pub(crate) fn new(
        operation: impl Into<String>,
        place: impl Into<String>,
        attempts: u32,
        problem: Problem,
    ) -> Self {
        Self(Box::new(Context {
            operation: operation.into(),
            place: place.into(),
            attempts,
            text: problem.to_string(),
            scrubbed: None,
            problem,
            broken_for: None,
            mirrors: Vec::new(),
        }))
    }

    /// The same error with this done to every text that comes from the problem or one of its causes: to take out what the
    /// other side may have repeated of what is secret.
    pub(crate) fn scrubbed(mut self, scrub: &dyn Fn(&str) -> String) -> Self {
        let context = &mut *self.0;
        context.text = scrub(&context.text);
        let cause = error::Error::source(&context.problem);
        context.scrubbed = cause.and_then(|cause| Cause::scrubbed(cause, scrub));
        self
    }

    /// The same error, of a host that is left alone for so long.
    pub(crate) fn with_outage(mut self, broken_for: Option<Duration>) -> Self {
        self.0.broken_for = broken_for;
        self
    }

    /// The same error, with the mirrors that were tried first.
    pub(crate) fn after_mirrors(mut self, passed: Vec<String>) -> Self {
        self.0.mirrors = passed;
        self
    }

    /// What went wrong, as one of a few values.
    pub fn kind(&self) -> ErrorKind {
        self.0.problem.kind()
    }

    /// When asking again makes sense. Retries within the operation are already spent.
    pub fn retry(&self) -> Retry {
        let outage = self.outage();
        if let Some(pause) = self.0.problem.retry_after().max(outage) {
            return Retry::After(pause);
        }
        match self.kind() {
            ErrorKind::RateLimited
            | ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Server
            | ErrorKind::Unavailable
            | ErrorKind::Io => Retry::Backoff,
            _ => Retry::Terminal,
        }
    }

    /// Whether requests to the host are held back by this client for as long as [`Self::retry`] says: it asked for none, it
    /// does not work and its circuit breaker is open, or a rate that is set is used up. Asking again sooner costs the host
    /// nothing and brings nothing; asking again after that time needs no growing pauses, since the client sees to it that
    /// a host in trouble gets few requests from all who ask.
    pub fn is_held_back(&self) -> bool {
        self.0.problem.is_not_asked() || self.outage().is_some()
    }

    /// Whether nothing was sent, because the gate of the host did not let it pass.
    pub(crate) fn is_not_asked(&self) -> bool {
        self.0.problem.is_not_asked()
    }

    /// For how long the host is left alone, where this error is one of those for which it is.
    fn outage(&self) -> Option<Duration> {
        let is_of_host = matches!(
            self.kind(),
            ErrorKind::Unreachable
                | ErrorKind::Timeout
                | ErrorKind::Server
                | ErrorKind::Unavailable
        );
        self.0.broken_for.filter(|_| is_of_host)
    }

    /// Whether the registry's certificate was refused because nobody vouches for it: another trusted certificate would
    /// help. (That of a proxy does not count.)
    pub fn is_about_trust(&self) -> bool {
        self.0.problem.is_about_trust()
    }

    /// Whether the registry was asked in HTTPS and answered in something else: allowing plain HTTP would help.
    pub fn is_about_plain_http(&self) -> bool {
        self.0.problem.is_about_plain_http()
    }

    /// How often the operation was tried.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The HTTP status that the other side answered with, if it was a status that went wrong.
    pub fn status(&self) -> Option<u16> {
        self.0.problem.status().map(|status| status.as_u16())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context {
            operation,
            place,
            attempts,
            text,
            mirrors,
            ..
        } = &*self.0;
        write!(f, "{operation} in {place}: {text}")?;
        match attempts {
            0 | 1 => {}
            more => write!(f, " (after {more} attempts)")?,
        }
        match mirrors.as_slice() {
            [] => Ok(()),
            mirrors => write!(f, " (mirrors were tried first: {})", mirrors.join("; ")),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context {
            operation,
            place,
            attempts,
            text,
            broken_for,
            mirrors,
            ..
        } = &*self.0;
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("operation", operation)
            .field("place", place)
            .field("attempts", attempts)
            .field("problem", text)
            .field("broken_for", broken_for)
            .field("mirrors", mirrors)
            .finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0.scrubbed {
            Some(cause) => Some(cause),
            None => error::Error::source(&self.0.problem),
        }
    }
}

/// What stands in the place of a cause whose words may not be told as they are.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<Self>>,
}

impl Cause {
    /// Nothing if there is nothing to be taken out, of this cause and those behind it.
    fn scrubbed(
        cause: &(dyn error::Error + 'static),
        scrub: &dyn Fn(&str) -> String,
    ) -> Option<Self> {
        let chain = std::iter::successors(Some(cause), |cause| cause.source());
        let told: Vec<_> = chain
            .map(|cause| (cause.to_string(), format!("{cause:?}")))
            .collect();
        let is_clean =
            |(text, debug): &(String, String)| scrub(text) == *text && scrub(debug) == *debug;
        if told.iter().all(is_clean) {
            return None;
        }
        let behind = |source: Option<Self>, (text, _): &(String, String)| {
            Some(Self {
                text: scrub(text),
                source: source.map(Box::new),
            })
        };
        told.iter().rev().fold(None, behind)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl error::Error for Cause {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let source = self.source.as_deref();
        source.map(|source| source as _)
    }
}
