// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in one attempt, before it is known how often and for which operation.
//!
//! Made where it is noticed, by code that knows no operation; leaves inside an [`super::Error`]. What the other side said
//! is cut and cleaned here, so that no later code has to.

use std::{io, sync::Arc, time::Duration};

use http::StatusCode;

use crate::{Digest, ManifestError, Tag};

use super::{
    connector::ConnectError,
    error::ErrorKind,
    flow::{self, Refusal},
    origin::Origin,
    tls::TlsError,
};

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
    Shared(Arc<Shared>),
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
    /// Neither TLS nor HTTP came back.
    #[error(
        "{host} answers neither the TLS handshake in TLS nor plain HTTP in HTTP: it is no registry"
    )]
    NeitherScheme { host: Origin },
    /// What was known of the registry is no longer so; the next attempt asks anew.
    #[error(transparent)]
    OtherScheme(Box<Self>),
    /// Whoever redirects at once from plain HTTP is not who answers there.
    #[error("{host} only redirects: do not ask for plain HTTP (`insecure`)")]
    PlainRedirect { host: Origin },
    /// Nothing was sent: the gate of the host did not let it pass.
    #[error("{}", flow::refused(host, refusal))]
    NotAsked { host: Origin, refusal: Refusal },
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
    /// The other side does not take what we send.
    #[error("{host} took less than {bytes} bytes in {} s", window.as_secs_f32())]
    Stalled {
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
    /// Under the strict egress rules.
    #[error(
        "{host} sends us to {target} for something that is not a blob, which is not followed under the strict egress rules"
    )]
    Elsewhere { host: Origin, target: Origin },
    /// Under the strict egress rules.
    #[error(
        "{host} asks for credentials {exposure}, and those from {credentials} are not sent so under the strict egress rules: {}",
        exposure.remedy()
    )]
    ExposedCredentials {
        host: Origin,
        credentials: String,
        exposure: Exposure,
    },
    #[error("{host} answered with a Location header that is missing or not an http(s) URL")]
    Location { host: Origin },
    #[error("{host} sent the content with encoding {encoding:?}, which changes its bytes")]
    Encoding { host: Origin, encoding: String },
    #[error("the registry stored the content as {got}, not {expected}")]
    StoredAs { expected: Digest, got: String },
    /// Success, but not the one that a registry tells of what it stored: a page of somebody on the way, for instance.
    #[error("{host} answered {} to what was pushed, not that it stored it (201 Created)", status.as_u16())]
    NotStored { host: Origin, status: StatusCode },
    /// The same of the question whether a blob is there.
    #[error("{host} answered with success and not with the blob {digest}")]
    NotBlob { host: Origin, digest: Digest },
    #[error("{host} says that it has {has} bytes of the upload, of which {sent} were sent")]
    UploadRange { host: Origin, sent: u64, has: u64 },
    #[error("the manifest names no subject with a usable digest")]
    NoSubject,
    /// Under the tag where clients keep the list of referrers stands something else.
    #[error("the tag {tag} of the subject's referrers holds something that is not an index")]
    ReferrersTag { tag: Tag },
    #[error(
        "other writers keep taking {digest} out of the referrers under the tag {tag}, it was pushed but is not listed"
    )]
    ReferrersLost { digest: Digest, tag: Tag },
    #[error(transparent)]
    Manifest(ManifestError),
    #[error("the index has nothing for linux/amd64, only {platforms}")]
    NoPlatform { platforms: String },
    #[error("indexes are nested more than {limit} deep")]
    Nested { limit: u32 },
    /// Where the next page of a list is cannot be read, and a list that ends here would be a shorter one.
    #[error("{host} sent a Link header that cannot be followed: {why}")]
    LinkHeader { host: Origin, why: &'static str },
    #[error("{host} links to the next page on {target}, another origin, which is not asked")]
    ForeignLink { host: Origin, target: Origin },
    #[error("the list of {what} does not end: {why}")]
    Repeats {
        what: &'static str,
        why: &'static str,
    },
    /// A mirror gave the first pages of a list and failed a later one. What it said is in the log alone.
    #[error("mirror {mirror} broke the list off: {}", kind.as_str())]
    BrokenOff { mirror: String, kind: ErrorKind },
    #[error("the list of {what} has more than the limit of {limit} pages")]
    TooManyPages { what: &'static str, limit: u32 },
    #[error("the list of {what} has more than the limit of {limit} entries")]
    TooMany { what: &'static str, limit: u64 },
    /// A page that is not the JSON it should be.
    #[error("the answer, sent as {media_type:?}, is no list of {what}")]
    Page {
        what: &'static str,
        media_type: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the referrers API answered with an image manifest, not with an index")]
    NoReferrers,
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
            Self::Shared(shared) => shared.problem.kind(),
            Self::Connect(error) | Self::Verified(error) => error.kind(),
            Self::OtherScheme(problem) => problem.kind(),
            Self::Broken { .. } => ErrorKind::Unreachable,
            Self::NotAsked { refusal, .. } => refusal.kind(),
            Self::Timeout { .. } | Self::TooSlow { .. } | Self::Stalled { .. } => {
                ErrorKind::Timeout
            }
            Self::Digest { .. } | Self::StoredAs { .. } => ErrorKind::DigestMismatch,
            Self::Size { .. } | Self::Longer { .. } => ErrorKind::SizeMismatch,
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::TooManyPages { .. } => {
                ErrorKind::TooLarge
            }
            Self::Manifest(_)
            | Self::NoPlatform { .. }
            | Self::Nested { .. }
            | Self::NoSubject
            | Self::ReferrersTag { .. } => ErrorKind::ManifestInvalid,
            Self::InternalRedirect { .. }
            | Self::Elsewhere { .. }
            | Self::ExposedCredentials { .. } => ErrorKind::EgressDenied,
            Self::Tls(_) | Self::Registry { .. } | Self::Header(_) => ErrorKind::Config,
            Self::Io { .. } => ErrorKind::Io,
            // That something is not there, or not for us, is the mirror's word only.
            Self::BrokenOff { kind, .. } => match kind {
                ErrorKind::NotFound | ErrorKind::Unauthorized | ErrorKind::Forbidden => {
                    ErrorKind::Protocol
                }
                other => *other,
            },
            Self::NoToken { .. }
            | Self::Realm { .. }
            | Self::Challenge { .. }
            | Self::TokenRedirect { .. }
            | Self::NotHttp { .. }
            | Self::NeitherScheme { .. }
            | Self::PlainRedirect { .. }
            | Self::Redirects { .. }
            | Self::Downgrade { .. }
            | Self::Location { .. }
            | Self::LinkHeader { .. }
            | Self::ForeignLink { .. }
            | Self::Repeats { .. }
            | Self::Page { .. }
            | Self::NoReferrers
            | Self::UploadRange { .. }
            | Self::NotStored { .. }
            | Self::NotBlob { .. }
            | Self::ReferrersLost { .. }
            | Self::Encoding { .. } => ErrorKind::Protocol,
        }
    }

    /// Says that credentials were kept from this token service, if it was its answer.
    pub(crate) fn asked_without(self, realm: &Origin) -> Self {
        match self {
            Self::Token { host, answer } if host == *realm => Self::Token {
                answer: answer.asked_without(Some(realm.clone())),
                host,
            },
            other => other,
        }
    }

    /// What went wrong for another request, told to who waited for it and has the same credentials from elsewhere: where
    /// the other one has them from is not his business.
    pub(crate) fn shared(shared: &Arc<Shared>, source: Option<&str>) -> Self {
        let source = || source.unwrap_or_default().to_owned();
        match &shared.problem {
            Self::Answer { host, answer } => Self::Answer {
                host: host.clone(),
                answer: answer.asked_by_holder_of(source()),
            },
            Self::Token { host, answer } => Self::Token {
                host: host.clone(),
                answer: answer.asked_by_holder_of(source()),
            },
            Self::CredentialForm { host, what, .. } => Self::CredentialForm {
                host: host.clone(),
                what,
                credentials: source(),
            },
            Self::ExposedCredentials { host, exposure, .. } => Self::ExposedCredentials {
                host: host.clone(),
                credentials: source(),
                exposure: *exposure,
            },
            Self::Shared(inner) => Self::shared(inner, Some(&source())),
            _ => Self::Shared(shared.clone()),
        }
    }

    /// The status, if it was an answer.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer { answer, .. } | Self::Token { answer, .. } => Some(answer.status),
            Self::TokenRedirect { status, .. } | Self::NotStored { status, .. } => Some(*status),
            Self::Shared(shared) => shared.problem.status(),
            _ => None,
        }
    }

    /// How long the other side asked us to wait, or is left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { answer, .. } | Self::Token { answer, .. } => answer.retry_after,
            Self::NotAsked { refusal, .. } => refusal.left(),
            Self::Shared(shared) => shared.problem.retry_after(),
            _ => None,
        }
    }

    /// Whether nothing was sent because the host is not to be asked for now, whoever wants to.
    pub(crate) fn is_not_asked(&self) -> bool {
        match self {
            Self::NotAsked { refusal, .. } => refusal.spares_the_host(),
            Self::Shared(shared) => shared.problem.is_not_asked(),
            _ => false,
        }
    }

    /// The host that it is about, where that is known with scheme and port.
    pub(crate) fn host(&self) -> Option<&Origin> {
        match self {
            Self::Answer { host, .. }
            | Self::Token { host, .. }
            | Self::Broken { host, .. }
            | Self::NotAsked { host, .. }
            | Self::Timeout { host, .. }
            | Self::TooSlow { host, .. }
            | Self::Stalled { host, .. } => Some(host),
            Self::Shared(shared) => shared.problem.host().or(shared.host.as_ref()),
            Self::OtherScheme(problem) => problem.host(),
            _ => None,
        }
    }

    /// Whether a certificate was refused because nobody vouches for it.
    pub(crate) fn is_about_trust(&self) -> bool {
        match self {
            Self::Connect(ConnectError::Certificate(problem))
            | Self::Verified(ConnectError::Certificate(problem)) => problem.is_about_trust(),
            Self::Shared(shared) => shared.problem.is_about_trust(),
            Self::OtherScheme(problem) => problem.is_about_trust(),
            _ => false,
        }
    }

    pub(crate) fn is_about_plain_http(&self) -> bool {
        match self {
            Self::Connect(ConnectError::NotTls { .. }) => true,
            Self::Shared(shared) => shared.problem.is_about_plain_http(),
            Self::OtherScheme(problem) => problem.is_about_plain_http(),
            _ => false,
        }
    }

    /// Whether the same request may well succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Answer { answer, .. } | Self::Token { answer, .. } => answer.is_transient(),
            Self::Connect(error) => error.is_transient(),
            Self::Broken { .. } | Self::Stalled { .. } | Self::OtherScheme(_) => true,
            Self::Shared(shared) => shared.problem.is_transient(),
            _ => false,
        }
    }
}

/// What went wrong in getting a grant, for all who wait for it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) problem: Problem,
    /// Who was asked for the grant: a failed connection does not say.
    pub(crate) host: Option<Origin>,
}

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

/// By whom credentials could be read that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// By everybody on the way.
    PlainHttp,
    /// By whoever answers in the registry's place.
    Unverified,
}

impl Exposure {
    fn remedy(self) -> &'static str {
        match self {
            Self::PlainHttp => {
                "let the registry speak HTTPS, or leave the credentials out if it can be read without"
            }
            Self::Unverified => {
                "trust the registry's own CA instead (`certSecretRef`, or --ca-file)"
            }
        }
    }
}

impl std::fmt::Display for Exposure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PlainHttp => "over plain HTTP",
            Self::Unverified => "over TLS whose certificate is not verified",
        })
    }
}

/// A status that is not a success, with the other side's own words.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Cleaned and cut; empty when there was nothing to show.
    pub(crate) words: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) asked_by: AskedBy,
}

/// Whose request was answered.
#[derive(Clone, Debug)]
pub(crate) enum AskedBy {
    /// The credentials from this source were sent.
    Credentials(String),
    /// There were none to send.
    Nobody,
    /// The host is not the registry, so that none were sent.
    Stranger,
    /// There were some, but the registry's token service is one that may not have them.
    Without(Origin),
}

impl Answer {
    /// Says that credentials were kept from a token service.
    pub(crate) fn asked_without(mut self, realm: Option<Origin>) -> Self {
        if let Some(realm) = realm {
            self.asked_by = AskedBy::Without(realm);
        }
        self
    }

    /// The same answer to who has the same credentials from another source.
    fn asked_by_holder_of(&self, source: String) -> Self {
        let asked_by = match &self.asked_by {
            AskedBy::Credentials(_) => AskedBy::Credentials(source),
            other => other.clone(),
        };
        Self {
            asked_by,
            ..self.clone()
        }
    }

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

    fn is_transient(&self) -> bool {
        is_transient(self.status)
    }
}

/// Whether the same request may well be answered otherwise a moment later: what Flux tries again on, 425 (RFC 8470) and
/// the other statuses by which a proxy before the registry tells that it does not reach it (520 to 524). Not 501, 505
/// and the rest of the 5xx, which say that the request itself is not understood or not wanted.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524
    )
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
            (AskedBy::Without(realm), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => write!(
                f,
                "; the credentials were kept from its token service {realm}, which the strict egress rules do not list"
            ),
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
mod tests;
