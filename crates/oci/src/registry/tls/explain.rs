// SPDX-License-Identifier: Apache-2.0
//! Why a certificate was not accepted, in words that let a person act.
//!
//! rustls says `UnknownIssuer`; whoever must fix it needs to know which certificate was presented. The problem travels
//! through rustls as an error of its own and is taken out again by the connector. Everything quoted was sent by the
//! other side and is cut and cleaned.

use std::{fmt, net::IpAddr, sync::Arc};

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::{
    Certificate,
    der::{Decode, asn1::ObjectIdentifier},
    ext::pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
    time::Time,
};

use crate::{Digest, registry::problem::clean};

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
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
    UnknownIssuer,
    NotForServers,
    /// What rustls says of a rarer case.
    Other(String),
}

impl Reason {
    pub(super) fn of(error: &Error) -> Self {
        let Error::InvalidCertificate(error) = error else {
            return Self::Other(error.to_string());
        };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::NotForServers
            }
            // webpki's word for a self-signed CA that is not configured: to the user, nobody vouches for it.
            CertificateError::UnknownIssuer | CertificateError::Other(_) => Self::UnknownIssuer,
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("has expired"),
            Self::NotYetValid => f.write_str("is not valid yet"),
            Self::WrongName => f.write_str("is not valid for that name"),
            Self::UnknownIssuer => f.write_str(
                "is signed by an unknown issuer, add the issuer's certificate to the trusted ones (`ca.crt`)",
            ),
            Self::NotForServers => f.write_str("is not meant for servers"),
            Self::Other(words) => f.write_str(words),
        }
    }
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
        let Ok(certificate) = Certificate::from_der(der) else {
            return Self::Unreadable { fingerprint };
        };
        let body = &certificate.tbs_certificate;
        let mut names = alternative_names(&certificate);
        let more_names = names.len().saturating_sub(SHOWN_NAMES);
        names.truncate(SHOWN_NAMES);
        Self::Readable {
            subject: clean(&body.subject.to_string(), 200),
            issuer: clean(&body.issuer.to_string(), 200),
            names,
            more_names,
            not_before: body.validity.not_before.to_date_time().to_string(),
            not_after: body.validity.not_after.to_date_time().to_string(),
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
        host: server_name.to_str().into_owned(),
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
}

/// Whether now is within the certificate's time.
pub(super) fn validity(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), Reason> {
    let certificate = parse(der)?;
    let seconds = |time: Time| time.to_unix_duration().as_secs();
    let validity = certificate.tbs_certificate.validity;
    if now.as_secs() < seconds(validity.not_before) {
        return Err(Reason::NotYetValid);
    }
    if now.as_secs() > seconds(validity.not_after) {
        return Err(Reason::Expired);
    }
    Ok(())
}

/// Whether the certificate may be a server's: it says so, or it does not say what it is for.
pub(super) fn is_for_servers(der: &CertificateDer<'_>) -> Result<(), Reason> {
    let certificate = parse(der)?;
    match certificate.tbs_certificate.get::<ExtendedKeyUsage>() {
        Ok(None) => Ok(()),
        Ok(Some((_, usage)))
            if usage.0.contains(&SERVER_AUTH) || usage.0.contains(&ANY_PURPOSE) =>
        {
            Ok(())
        }
        _ => Err(Reason::NotForServers),
    }
}

fn parse(der: &CertificateDer<'_>) -> Result<Certificate, Reason> {
    Certificate::from_der(der).map_err(|_| Reason::Other("cannot be read".into()))
}

fn alternative_names(certificate: &Certificate) -> Vec<String> {
    let Ok(Some((_, SubjectAltName(names)))) = certificate.tbs_certificate.get() else {
        return Vec::new();
    };
    names.iter().filter_map(shown).collect()
}

fn shown(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(clean(name.as_str(), 100)),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
