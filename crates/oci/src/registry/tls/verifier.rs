// SPDX-License-Identifier: Apache-2.0
//! Verification of the registry's certificate: webpki's, with one addition and better words.
//!
//! The addition: `openssl req -x509` makes a certificate that is its own CA. Configured as `ca.crt` and served as is, it
//! works in Go, but webpki refuses a CA as an end entity. Exactly that certificate, byte for byte, is accepted here if
//! its name, validity and purpose are right; the handshake's signature proves the key, as always. A certificate that
//! merely has the same key, or is signed by it, gains nothing.

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
    explain::{Reason, explain, is_for_servers, validity},
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
        roots.add_parsable_certificates(configured.iter().cloned());
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
        let named = ParsedCertificate::try_from(end_entity)
            .and_then(|parsed| verify_server_name(&parsed, server_name));
        Some(match named {
            Err(_) => Err(Reason::WrongName),
            Ok(()) => validity(end_entity, now).and_then(|()| is_for_servers(end_entity)),
        })
    }
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
                Ok(verified) => return Ok(verified),
                Err(error) => error,
            },
        };
        match self.check_configured(end_entity, server_name, now) {
            Some(Ok(())) => Ok(ServerCertVerified::assertion()),
            Some(Err(reason)) => Err(explain(reason, end_entity, server_name)),
            None => Err(explain(Reason::of(&refused), end_entity, server_name)),
        }
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
