// SPDX-License-Identifier: Apache-2.0
//! What a certificate says, as far as the rules and the explanations need it.
//!
//! DER goes in, a [`Facts`] comes out. Nothing is verified here; what is shown to people was sent by the other side and is
//! cut and cleaned.

use std::net::IpAddr;

use rustls_pki_types::UnixTime;
use x509_cert::{
    Certificate, Version,
    der::{
        Decode, Encode,
        asn1::{ObjectIdentifier, UintRef},
    },
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName, name::GeneralName},
    time::Time,
};

use crate::registry::problem::clean;

use super::explain::Reason;

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// The smallest RSA key that a handshake can be signed with: rustls' rule.
const MIN_RSA_BITS: usize = 2048;

/// A certificate that could be read.
pub(super) struct Facts(Certificate);

impl Facts {
    /// Reads a certificate of any version.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        Certificate::from_der(der).ok().map(Self)
    }

    pub(super) fn subject(&self) -> String {
        clean(&self.0.tbs_certificate.subject.to_string(), 200)
    }

    pub(super) fn issuer(&self) -> String {
        clean(&self.0.tbs_certificate.issuer.to_string(), 200)
    }

    pub(super) fn not_before(&self) -> String {
        let time = self.0.tbs_certificate.validity.not_before;
        time.to_date_time().to_string()
    }

    pub(super) fn not_after(&self) -> String {
        let time = self.0.tbs_certificate.validity.not_after;
        time.to_date_time().to_string()
    }

    /// The names and addresses that it is for.
    pub(super) fn names(&self) -> Vec<String> {
        let Ok(Some((_, SubjectAltName(names)))) = self.0.tbs_certificate.get() else {
            return Vec::new();
        };
        names.iter().filter_map(shown).collect()
    }

    pub(super) fn names_itself_as_issuer(&self) -> bool {
        self.names_as_issuer(self)
    }

    /// Whether its issuer has the other one's name.
    pub(super) fn names_as_issuer(&self, other: &Self) -> bool {
        self.0.tbs_certificate.issuer == other.0.tbs_certificate.subject
    }

    pub(super) fn has_subject_of(&self, other: &Self) -> bool {
        self.0.tbs_certificate.subject == other.0.tbs_certificate.subject
    }

    pub(super) fn has_key_of(&self, other: &Self) -> bool {
        let key = |facts: &Self| {
            facts
                .0
                .tbs_certificate
                .subject_public_key_info
                .to_der()
                .ok()
        };
        key(self).is_some() && key(self) == key(other)
    }

    /// Whether it may stand behind others, by the rule of Go: it says so, or is of a version that cannot say.
    pub(super) fn is_authority(&self) -> bool {
        let body = &self.0.tbs_certificate;
        match body.get::<BasicConstraints>() {
            Ok(Some((_, constraints))) => constraints.ca,
            Ok(None) => body.version != Version::V3,
            Err(_) => false,
        }
    }

    /// Whether now is within its time.
    pub(super) fn check_time(&self, now: UnixTime) -> Result<(), Reason> {
        let seconds = |time: Time| time.to_unix_duration().as_secs();
        let validity = self.0.tbs_certificate.validity;
        if now.as_secs() < seconds(validity.not_before) {
            return Err(Reason::NotYetValid);
        }
        if now.as_secs() > seconds(validity.not_after) {
            return Err(Reason::Expired);
        }
        Ok(())
    }

    /// Whether it may be a server's: it says so, or it does not say what it is for.
    pub(super) fn check_purpose(&self) -> Result<(), Reason> {
        match self.0.tbs_certificate.get::<ExtendedKeyUsage>() {
            Ok(None) => Ok(()),
            Ok(Some((_, usage)))
                if usage.0.contains(&SERVER_AUTH) || usage.0.contains(&ANY_PURPOSE) =>
            {
                Ok(())
            }
            _ => Err(Reason::NotForServers),
        }
    }

    /// Whether its key is one that a handshake can be signed with. The handshake would say it less clearly.
    pub(super) fn check_key(&self) -> Result<(), Reason> {
        match self.rsa_bits() {
            Some(bits) if bits < MIN_RSA_BITS => Err(Reason::WeakKey { bits }),
            _ => Ok(()),
        }
    }

    fn rsa_bits(&self) -> Option<usize> {
        let info = &self.0.tbs_certificate.subject_public_key_info;
        if info.algorithm.oid != RSA {
            return None;
        }
        let key = x509_cert::der::AnyRef::from_der(info.subject_public_key.as_bytes()?).ok()?;
        let modulus = key.sequence(|reader| {
            let modulus = UintRef::decode(reader)?;
            let _exponent = UintRef::decode(reader)?;
            Ok(modulus)
        });
        let bytes = modulus.ok()?;
        let first = bytes.as_bytes().first()?;
        let unused = usize::try_from(first.leading_zeros()).ok()?;
        Some(bytes.as_bytes().len() * 8 - unused)
    }
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
