// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in one attempt, before it is known how often and for which operation.
//!
//! Made where it is noticed, by code that knows no operation; leaves inside an [`super::Error`]. What the other side said
//! is cut and cleaned here, so that no later code has to.

use std::{io, sync::Arc, time::Duration};

use http::StatusCode;

use crate::{Digest, ManifestError};

use super::{connector::ConnectError, error::ErrorKind, origin::Origin, tls::TlsError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The registry, or a host it redirected to, answered with a status that is not a success.
    #[error("{host} answered {answer}")]
    Answer { host: Origin, answer: Answer },
    /// The token service did.
    #[error("the token service {host} answered {answer}")]
    Token { host: Origin, answer: Answer },
    /// The token service answered with success and no token.
    #[error("the token service {host} answered without a usable token")]
    NoToken { host: Origin },
    /// Credentials would go over plain HTTP although the registry speaks HTTPS, or the realm is no URL.
    #[error("the registry names {realm:?} as its token service, which is not an https URL")]
    Realm { realm: String },
    /// The registry wants something that we cannot give.
    #[error(
        "the registry asks for authentication by {schemes}, which cannot be met: only Basic and Bearer are supported, and a Bearer challenge that names no realm is of no use"
    )]
    Challenge { schemes: String },
    /// Basic authentication is asked for.
    #[error(
        "{host} answered 401 Unauthorized and asks for a name and password; no credentials were given"
    )]
    NoCredentials { host: Origin },
    /// Basic authentication is asked for, and the credentials are a token.
    #[error(
        "{host} answered 401 Unauthorized and asks for a name and password; the credentials from {credentials} are {what}"
    )]
    CredentialForm {
        host: Origin,
        what: &'static str,
        credentials: String,
    },
    /// The token service redirects where its answer is not to be looked for.
    #[error(
        "the token service {host} answered {} and leads elsewhere, which is not followed", status.as_u16()
    )]
    TokenRedirect { host: Origin, status: StatusCode },
    /// What went wrong for another request, for whose outcome this one waited.
    #[error(transparent)]
    Shared(Arc<Self>),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A certificate was not accepted by who expected that nothing is verified, as Flux does then.
    #[error("{0}; allowing plain HTTP (`insecure`) does not turn verification off")]
    Verified(ConnectError),
    /// The connection broke in the middle.
    #[error("the connection to {host} broke")]
    Broken {
        host: Origin,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What came over plain HTTP was not HTTP.
    #[error(
        "{host} does not answer in HTTP, it may speak TLS: do not ask for plain HTTP (`insecure`)"
    )]
    NotHttp { host: Origin },
    #[error("no answer within {} s while waiting for {what} from {host}", after.as_secs_f32())]
    Timeout {
        host: Origin,
        what: &'static str,
        after: Duration,
    },
    #[error("{host} sent less than {bytes} bytes in {} s", window.as_secs_f32())]
    TooSlow {
        host: Origin,
        bytes: u64,
        window: Duration,
    },
    #[error("the content has the digest {got}, not {expected}")]
    Digest { expected: Digest, got: Digest },
    #[error("the content has {got} bytes, not the {expected} that its descriptor says")]
    Size { expected: u64, got: u64 },
    #[error("the content has more than the {expected} bytes that its descriptor says")]
    Longer { expected: u64 },
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("{host} redirects more than {limit} times")]
    Redirects { host: Origin, limit: u32 },
    #[error("{host} redirects from https to plain http, which is not followed")]
    Downgrade { host: Origin },
    #[error("{host} redirects to the internal address {target}, which is not followed")]
    InternalRedirect { host: Origin, target: String },
    #[error("{host} answered with a Location header that is missing or not an http(s) URL")]
    Location { host: Origin },
    #[error("{host} sent the content with encoding {encoding:?}, which changes its bytes")]
    Encoding { host: Origin, encoding: String },
    #[error("the registry stored the content as {got}, not {expected}")]
    StoredAs { expected: Digest, got: String },
    #[error("the manifest cannot be used")]
    Manifest(#[source] ManifestError),
    #[error("the index has nothing for linux/amd64, only {platforms}")]
    NoPlatform { platforms: String },
    #[error("indexes are nested more than {limit} deep")]
    Nested { limit: u32 },
    #[error("the TLS settings cannot be used")]
    Tls(#[source] TlsError),
    #[error("{registry:?} is not a host that a request can be sent to")]
    Registry { registry: String },
    #[error("{0}")]
    Header(&'static str),
    #[error("{what} failed")]
    Io {
        what: &'static str,
        #[source]
        cause: io::Error,
    },
}

impl Problem {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Answer { answer, .. } | Self::Token { answer, .. } => answer.kind(),
            Self::NoCredentials { .. } | Self::CredentialForm { .. } => ErrorKind::Unauthorized,
            Self::Shared(problem) => problem.kind(),
            Self::Connect(error) | Self::Verified(error) => error.kind(),
            Self::Broken { .. } => ErrorKind::Unreachable,
            Self::Timeout { .. } | Self::TooSlow { .. } => ErrorKind::Timeout,
            Self::Digest { .. } | Self::StoredAs { .. } => ErrorKind::DigestMismatch,
            Self::Size { .. } | Self::Longer { .. } => ErrorKind::SizeMismatch,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Manifest(_) | Self::NoPlatform { .. } | Self::Nested { .. } => {
                ErrorKind::ManifestInvalid
            }
            Self::InternalRedirect { .. } => ErrorKind::EgressDenied,
            Self::Tls(_) | Self::Registry { .. } | Self::Header(_) => ErrorKind::Config,
            Self::Io { .. } => ErrorKind::Io,
            Self::NoToken { .. }
            | Self::Realm { .. }
            | Self::Challenge { .. }
            | Self::TokenRedirect { .. }
            | Self::NotHttp { .. }
            | Self::Redirects { .. }
            | Self::Downgrade { .. }
            | Self::Location { .. }
            | Self::Encoding { .. } => ErrorKind::Protocol,
        }
    }

    /// The status, if it was an answer.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer { answer, .. } | Self::Token { answer, .. } => Some(answer.status),
            Self::TokenRedirect { status, .. } => Some(*status),
            Self::Shared(problem) => problem.status(),
            _ => None,
        }
    }

    /// How long the other side asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { answer, .. } | Self::Token { answer, .. } => answer.retry_after,
            Self::Shared(problem) => problem.retry_after(),
            _ => None,
        }
    }

    /// Whether the same request may well succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Answer { answer, .. } | Self::Token { answer, .. } => answer.is_transient(),
            Self::Connect(error) => error.is_transient(),
            Self::Broken { .. } => true,
            Self::Shared(problem) => problem.is_transient(),
            _ => false,
        }
    }
}

/// A status that is not a success, with the other side's own words.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Cleaned and cut; empty when there was nothing to show.
    pub(crate) words: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) asked_by: AskedBy,
}

/// Whose request was answered.
#[derive(Debug)]
pub(crate) enum AskedBy {
    /// The credentials from this source were sent.
    Credentials(String),
    /// There were none to send.
    Nobody,
    /// The host is not the registry, so that none were sent.
    Stranger,
}

impl Answer {
    fn kind(&self) -> ErrorKind {
        match self.status {
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
            StatusCode::FORBIDDEN => ErrorKind::Forbidden,
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
            StatusCode::REQUEST_TIMEOUT => ErrorKind::Timeout,
            status if status.is_server_error() => ErrorKind::Server,
            _ => ErrorKind::Protocol,
        }
    }

    /// The statuses that Flux tries again on.
    fn is_transient(&self) -> bool {
        matches!(
            self.status.as_u16(),
            408 | 429 | 499 | 500 | 502 | 503 | 504 | 522
        )
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(f, " {reason}")?;
        }
        if !self.words.is_empty() {
            write!(f, " ({})", self.words)?;
        }
        match (&self.asked_by, self.status) {
            (AskedBy::Credentials(source), StatusCode::UNAUTHORIZED) => {
                write!(f, "; the credentials from {source} were refused")
            }
            (AskedBy::Credentials(source), StatusCode::FORBIDDEN) => {
                write!(f, "; the credentials from {source} do not allow it")
            }
            (AskedBy::Nobody, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                write!(f, "; no credentials were given")
            }
            _ => Ok(()),
        }
    }
}

/// Text from outside, fit to be shown: control characters become spaces, and at most `limit` characters stay.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let printable = |c: char| {
        if c.is_control() || is_format(c) {
            ' '
        } else {
            c
        }
    };
    let mut cleaned: String = text.trim().chars().take(limit).map(printable).collect();
    if text.trim().chars().nth(limit).is_some() {
        cleaned.push_str("...");
    }
    cleaned
}

/// Characters that reorder or break a line without being control characters.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
