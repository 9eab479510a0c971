// SPDX-License-Identifier: Apache-2.0
//! Verification of the registry's certificate: webpki's, with one addition and better words.
//!
//! The addition: `openssl req -x509` makes a certificate that is its own CA. Configured as `ca.crt` and served as is, it
//! works in Go, but webpki refuses a CA as an end entity. Exactly that certificate, byte for byte, is accepted here if
//! its name, validity, purpose and key are right; the handshake's signature proves the key, as always. Its own signature
//! proves nothing and is not looked at. A certificate that merely has the same key, or is signed by one that is not an
//! authority, gains nothing: only authorities stand behind others, as in Go, where webpki takes any anchor for one.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{
    TlsError,
    explain::{Reason, explain},
    facts::Facts,
};

#[derive(Debug)]
pub(super) struct Verifier {
    /// Absent when there is no root at all, which webpki refuses to work with.
    inner: Option<Arc<WebPkiServerVerifier>>,
    configured: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        system: &RootCertStore,
        configured: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let mut roots = system.clone();
        let is_authority = |der: &&CertificateDer<'static>| {
            Facts::of(der).is_some_and(|facts| facts.is_authority())
        };
        roots.add_parsable_certificates(configured.iter().filter(is_authority).cloned());
        let inner = if roots.is_empty() {
            None
        } else {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            let built = builder.build();
            Some(built.map_err(|error| TlsError::Setup(Error::General(error.to_string())))?)
        };
        Ok(Self {
            inner,
            configured: configured.to_vec(),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// The rule for a certificate that is configured itself.
    fn check_configured(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Result<(), Reason>> {
        if !self
            .configured
            .iter()
            .any(|own| own.as_ref() == end_entity.as_ref())
        {
            return None;
        }
        Some(check_alone(end_entity, server_name, now))
    }
}

/// All that can be said of a certificate without anybody who vouches for it.
fn check_alone(
    end_entity: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Reason> {
    let facts = Facts::of(end_entity).ok_or_else(|| Reason::Other("cannot be read".into()))?;
    facts.check_time(now)?;
    facts.check_purpose()?;
    facts.check_key()?;
    ParsedCertificate::try_from(end_entity)
        .and_then(|parsed| verify_server_name(&parsed, server_name))
        .map_err(|_| Reason::of_name(end_entity, server_name))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match &self.inner {
            None => Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Some(inner) => match inner.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ) {
                Ok(verified) => {
                    return Facts::of(end_entity)
                        .map_or(Ok(()), |facts| facts.check_key())
                        .map(|()| verified)
                        .map_err(|reason| explain(reason, end_entity, server_name));
                }
                Err(error) => error,
            },
        };
        let reason = match self.check_configured(end_entity, server_name, now) {
            Some(Ok(())) => return Ok(ServerCertVerified::assertion()),
            Some(Err(reason)) => reason,
            None => Reason::of(
                &refused,
                end_entity,
                intermediates,
                &self.configured,
                server_name,
            ),
        };
        Err(explain(reason, end_entity, server_name))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
    };

    use super::*;

    /// A moment in 2026.
    const NOW: Duration = Duration::from_secs(1_780_000_000);

    fn params() -> CertificateParams {
        let mut params = CertificateParams::new(["r.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn signed(params: &CertificateParams, key: &KeyPair) -> CertificateDer<'static> {
        params.self_signed(key).unwrap().der().clone()
    }

    fn verdict(
        configured: &CertificateDer<'static>,
        presented: &CertificateDer<'static>,
        name: &str,
    ) -> Result<(), String> {
        let (roots, provider) = (RootCertStore::empty(), super::super::provider());
        let configured = std::slice::from_ref(configured);
        let verifier = Verifier::new(&roots, configured, &provider).unwrap();
        let name = ServerName::try_from(name).unwrap();
        verifier
            .verify_server_cert(presented, &[], &name, &[], UnixTime::since_unix_epoch(NOW))
            .map(drop)
            .map_err(|error| {
                super::super::CertificateProblem::within(&error)
                    .unwrap()
                    .to_string()
            })
    }

    #[test]
    fn a_configured_certificate_that_is_its_own_authority_is_held_to_all_else() {
        let key = KeyPair::generate().unwrap();
        let good = signed(&params(), &key);
        assert_eq!(verdict(&good, &good, "r.example"), Ok(()));

        let refused = |certificate: &CertificateDer<'static>, name, words: &str| {
            let text = verdict(certificate, certificate, name).unwrap_err();
            assert!(text.contains(words), "{words}: {text}");
        };
        refused(&good, "other.example", "not valid for that name");
        let mut expired = params();
        expired.not_after = date_time_ymd(2026, 1, 1);
        refused(&signed(&expired, &key), "r.example", "has expired");
        let mut early = params();
        early.not_before = date_time_ymd(2027, 1, 1);
        refused(&signed(&early, &key), "r.example", "is not valid yet");
        let mut client = params();
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        refused(&signed(&client, &key), "r.example", "not meant for servers");
        let mut nameless = params();
        nameless.subject_alt_names.clear();
        refused(
            &signed(&nameless, &key),
            "r.example",
            "no subject alternative names",
        );
    }

    #[test]
    fn a_twin_with_the_same_key_is_not_the_configured_certificate() {
        let key = KeyPair::generate().unwrap();
        let good = signed(&params(), &key);
        let mut twin = params();
        twin.serial_number = Some(7_u64.into());
        let text = verdict(&good, &signed(&twin, &key), "r.example").unwrap_err();
        assert!(text.contains("unknown issuer"), "{text}");
    }

    #[test]
    fn what_is_no_certificate_is_told_of() {
        let good = signed(&params(), &KeyPair::generate().unwrap());
        for bad in [&b""[..], b"\x30", &[0xff; 100]] {
            let text =
                verdict(&good, &CertificateDer::from(bad.to_vec()), "r.example").unwrap_err();
            assert!(text.contains("it cannot be read"), "{text}");
        }
    }
}
