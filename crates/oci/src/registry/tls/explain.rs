// SPDX-License-Identifier: Apache-2.0
//! Why a certificate was not accepted, in words that let a person act.
//!
//! rustls says `UnknownIssuer`; whoever must fix it needs to know which certificate was presented, what is missing, and
//! what to put where. The problem travels through rustls as an error of its own and is taken out again by the connector.
//! Everything quoted was sent by the other side and is cut and cleaned.

use std::{fmt, net::IpAddr, sync::Arc};

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::{Digest, registry::problem::clean};

use super::facts::Facts;

const SHOWN_NAMES: usize = 10;

/// A certificate that was presented and not accepted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate presented for {host} {reason} ({presented})")]
pub(crate) struct CertificateProblem {
    host: String,
    reason: Reason,
    presented: Presented,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Expired,
    NotYetValid,
    WrongName,
    /// It has no name that counts; `advice` is what to write into it.
    NoNames {
        advice: String,
    },
    Untrusted(Untrusted),
    NotForServers,
    /// An authority's certificate that is not itself configured.
    Authority,
    Constrained,
    WeakSignature,
    WeakKey {
        bits: usize,
    },
    /// What rustls says of a rarer case.
    Other(String),
}

/// Why nobody vouches for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Untrusted {
    /// It is signed by itself, and is not configured.
    Itself,
    /// A configured certificate has its name and key, but is another one: it was made anew.
    Twin,
    /// A configured certificate has its name and another key.
    OtherKey,
    /// A configured certificate has the issuer's name, but did not sign it.
    NotSigned { issuer: String },
    /// A configured certificate is the issuer, but is not an authority.
    NotAuthority { issuer: String },
    /// Whoever has this name is neither configured nor sent along.
    Missing { issuer: String, sent: usize },
}

impl Reason {
    pub(super) fn of(
        error: &Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        configured: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
    ) -> Self {
        let Error::InvalidCertificate(error) = error else {
            return Self::Other(error.to_string());
        };
        let untrusted = || Self::Untrusted(diagnose(end_entity, intermediates, configured));
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::of_name(end_entity, server_name)
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::NotForServers
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Self::WeakSignature
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => untrusted(),
            CertificateError::Other(other) => match other.to_string().as_str() {
                "NameConstraintViolation" => Self::Constrained,
                "CaUsedAsEndEntity" if !names_itself(end_entity) => Self::Authority,
                _ => untrusted(),
            },
            other => Self::Other(other.to_string()),
        }
    }

    /// A name that does not match, or none that could.
    pub(super) fn of_name(end_entity: &CertificateDer<'_>, server_name: &ServerName<'_>) -> Self {
        let is_nameless = Facts::of(end_entity).is_some_and(|facts| facts.names().is_empty());
        if !is_nameless {
            return Self::WrongName;
        }
        let host = server_name.to_str();
        let kind = if host.parse::<IpAddr>().is_ok() {
            "IP"
        } else {
            "DNS"
        };
        Self::NoNames {
            advice: format!("subjectAltName={kind}:{host}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("has expired"),
            Self::NotYetValid => f.write_str("is not valid yet"),
            Self::WrongName => {
                f.write_str("is not valid for that name: reach it under one that it is for")
            },
            Self::NoNames { advice } => write!(
                f,
                "has no subject alternative names, and a common name does not count: make it again with one \
                 (`openssl req -x509 -addext \"{advice}\"`)"
            ),
            Self::Untrusted(untrusted) => untrusted.fmt(f),
            Self::NotForServers => f.write_str("is not meant for servers"),
            Self::Authority => f.write_str(
                "is that of an authority, which is no server: give the registry one that the authority signed",
            ),
            Self::Constrained => f.write_str(
                "is for a name that its authority's name constraints do not permit it to sign for",
            ),
            Self::WeakSignature => f.write_str(
                "is signed with an algorithm that is not accepted, such as SHA-1: sign it again with SHA-256",
            ),
            Self::WeakKey { bits } => write!(
                f,
                "has an RSA key of {bits} bits, and less than 2048 are not accepted: make it again with a larger one"
            ),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str(
                "is signed by itself, an unknown issuer: if it is the registry's, add it to the trusted ones (`ca.crt`)",
            ),
            Self::Twin => f.write_str(
                "is signed by itself, an unknown issuer: the trusted certificate of that name has the same key, but it \
                 is another certificate; put the presented one into the trusted ones (`ca.crt`)",
            ),
            Self::OtherKey => f.write_str(
                "is signed by itself, an unknown issuer: the trusted certificate of that name has another key; if the \
                 registry's was made anew, put the presented one into the trusted ones (`ca.crt`)",
            ),
            Self::NotSigned { issuer } => write!(
                f,
                "is not signed by the trusted \"{issuer}\", but by an unknown issuer of that name: if the authority was \
                 made anew, put its new certificate into the trusted ones (`ca.crt`)"
            ),
            Self::NotAuthority { issuer } => write!(
                f,
                "is signed by \"{issuer}\", an unknown issuer: the trusted certificate of that name does not say that it \
                 is an authority (CA:TRUE)"
            ),
            Self::Missing { issuer, sent: 0 } => write!(
                f,
                "is signed by an unknown issuer, \"{issuer}\": add the issuer's certificate to the trusted ones \
                 (`ca.crt`); if it is an intermediate one, let the registry send it behind its own certificate"
            ),
            Self::Missing { issuer, sent } => write!(
                f,
                "is signed by an unknown issuer: with it the registry sent {sent} more, and of these the last is signed \
                 by \"{issuer}\"; add that one's certificate to the trusted ones (`ca.crt`)"
            ),
        }
    }
}

/// Finds out why nobody vouches for a certificate. Names are compared, signatures are not: webpki has done that.
fn diagnose(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    configured: &[CertificateDer<'_>],
) -> Untrusted {
    let read = |ders: &[CertificateDer<'_>]| -> Vec<Facts> {
        ders.iter().filter_map(|der| Facts::of(der)).collect()
    };
    let (sent, configured) = (read(intermediates), read(configured));
    let Some(own) = Facts::of(end_entity) else {
        return Untrusted::Itself;
    };
    if own.names_itself_as_issuer() {
        let same = || configured.iter().filter(|other| other.has_subject_of(&own));
        return match (same().any(|other| other.has_key_of(&own)), same().count()) {
            (true, _) => Untrusted::Twin,
            (false, 0) => Untrusted::Itself,
            (false, _) => Untrusted::OtherKey,
        };
    }
    let last = last_of_chain(&own, &sent);
    let issuer = last.issuer();
    let known = configured.iter().find(|other| last.names_as_issuer(other));
    match known {
        Some(known) if known.is_authority() => Untrusted::NotSigned { issuer },
        Some(_) => Untrusted::NotAuthority { issuer },
        None => Untrusted::Missing {
            issuer,
            sent: sent.len(),
        },
    }
}

/// The certificate at which the way from the server's to an authority ends.
fn last_of_chain<'a>(own: &'a Facts, sent: &'a [Facts]) -> &'a Facts {
    let mut last = own;
    // Each step uses one of those sent, so a circle ends as well.
    for _ in sent {
        let next = sent.iter().find(|other| last.names_as_issuer(other));
        match next {
            Some(next) if !next.names_itself_as_issuer() => last = next,
            _ => break,
        }
    }
    last
}

fn names_itself(der: &CertificateDer<'_>) -> bool {
    Facts::of(der).is_some_and(|facts| facts.names_itself_as_issuer())
}

/// What the certificate says of itself.
#[derive(Clone, Debug)]
enum Presented {
    Readable {
        subject: String,
        issuer: String,
        names: Vec<String>,
        more_names: usize,
        not_before: String,
        not_after: String,
        fingerprint: Digest,
    },
    Unreadable {
        fingerprint: Digest,
    },
}

impl Presented {
    fn of(der: &CertificateDer<'_>) -> Self {
        let fingerprint = Digest::sha256_of(der);
        let Some(facts) = Facts::of(der) else {
            return Self::Unreadable { fingerprint };
        };
        let mut names = facts.names();
        let more_names = names.len().saturating_sub(SHOWN_NAMES);
        names.truncate(SHOWN_NAMES);
        Self::Readable {
            subject: facts.subject(),
            issuer: facts.issuer(),
            names,
            more_names,
            not_before: facts.not_before(),
            not_after: facts.not_after(),
            fingerprint,
        }
    }
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Readable {
            subject,
            issuer,
            names,
            more_names,
            not_before,
            not_after,
            fingerprint,
        } = self
        else {
            let (Self::Unreadable { fingerprint } | Self::Readable { fingerprint, .. }) = self;
            return write!(f, "it cannot be read, {fingerprint}");
        };
        write!(f, "subject \"{subject}\", issuer \"{issuer}\", ")?;
        match (names.as_slice(), more_names) {
            ([], _) => {
                f.write_str("no subject alternative names, without which no name is valid")?;
            }
            (names, 0) => write!(f, "names {}", names.join(", "))?,
            (names, more) => write!(f, "names {} and {more} more", names.join(", "))?,
        }
        write!(f, ", valid from {not_before} to {not_after}, {fingerprint}")
    }
}

/// Wraps the explanation for its way through rustls.
pub(super) fn explain(
    reason: Reason,
    end_entity: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
) -> Error {
    let problem = CertificateProblem {
        host: clean(&server_name.to_str(), 300),
        reason,
        presented: Presented::of(end_entity),
    };
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(problem))))
}

impl CertificateProblem {
    /// Takes the explanation out again.
    pub(crate) fn within(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
                other.downcast_ref()
            }
            _ => None,
        }
    }

    /// Whether another trusted certificate would help.
    pub(crate) fn is_about_trust(&self) -> bool {
        matches!(self.reason, Reason::Untrusted(_))
    }
}
