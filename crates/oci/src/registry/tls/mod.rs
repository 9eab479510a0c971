// SPDX-License-Identifier: Apache-2.0
//! Whom a connection trusts, and what it shows.
//!
//! Enters as PEM from a Secret or a file; leaves as a rustls configuration. A private CA is added to the system's roots,
//! as Flux does. Verification is off only in what [`Tls::unverified`] makes, and what it makes shares no connection with
//! anything else. Source: `certSecretRef` and `insecure` of the `OCIRepository` contract, section 4.4.

mod explain;
mod facts;
mod unverified;
mod verifier;

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::danger::ServerCertVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::{Algorithm, Digest, Hasher};

use unverified::Unverified;
use verifier::Verifier;

pub(crate) use explain::CertificateProblem;

/// The largest PEM text that is read, in bytes: as large as a Secret can be.
const MAX_PEM: usize = 1 << 20;

/// Trust beyond the system's roots, and a client certificate. The default has neither.
#[derive(Clone, Default)]
pub struct Tls {
    verification: Verification,
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Arc<Identity>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Verification {
    #[default]
    On,
    Off,
}

struct Identity {
    certified: Arc<CertifiedKey>,
    /// Of chain and key, so that two identities never share a connection.
    fingerprint: Digest,
}

/// Why TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no certificate in the PEM text, or none that can stand as an authority.
    #[error(
        "failed to parse CA certificate from {source_name}: it holds no usable PEM certificate"
    )]
    NoAuthority {
        /// Where the text came from.
        source_name: String,
    },
    /// The PEM text is larger than 1 MiB, which no Secret can hold.
    #[error("failed to parse certificates from {source_name}: larger than {MAX_PEM} bytes")]
    TooLarge {
        /// Where the text came from.
        source_name: String,
    },
    /// The client certificate or its key is not PEM.
    #[error(
        "failed to parse TLS certificate and key from {source_name}: the {part} is not usable PEM"
    )]
    Pem {
        /// Where the text came from.
        source_name: String,
        /// Which of the two: `certificate` or `key`.
        part: &'static str,
        /// What the PEM reader says; it quotes no key material.
        #[source]
        cause: pem::Error,
    },
    /// The client certificate and its key do not belong together, or the key is of an unknown kind.
    #[error("the TLS certificate and key from {source_name} cannot be used together")]
    Pair {
        /// Where the text came from.
        source_name: String,
        /// What rustls says.
        #[source]
        cause: rustls::Error,
    },
    /// The configuration was refused.
    #[error("TLS could not be configured")]
    Setup(#[source] rustls::Error),
}

impl Tls {
    /// Both at once, as a Secret holds them: `ca.crt`, and `tls.crt` with `tls.key`.
    pub fn from_pem(
        ca: Option<&[u8]>,
        identity: Option<(&[u8], &[u8])>,
        source_name: &str,
    ) -> Result<Self, TlsError> {
        let mut tls = Self::default();
        if let Some(pem) = ca {
            tls = tls.with_ca_pem(pem, source_name)?;
        }
        if let Some((certificate, key)) = identity {
            tls = tls.with_client_certificate(certificate, key, source_name)?;
        }
        Ok(tls)
    }

    /// No certificate is verified: whoever answers is believed to be the registry, and can read the credentials that it is
    /// sent. The handshake's signatures are still checked, so what is encrypted is encrypted to who answered. Each host is
    /// named in the log once.
    pub fn unverified() -> Self {
        Self {
            verification: Verification::Off,
            ..Self::default()
        }
    }

    /// The same client certificate and no verification: [`Tls::unverified`] of one that had authorities or a client
    /// certificate already.
    #[must_use]
    pub fn into_unverified(self) -> Self {
        Self {
            identity: self.identity,
            ..Self::unverified()
        }
    }

    /// Whether certificates are verified.
    pub fn is_verified(&self) -> bool {
        self.verification == Verification::On
    }

    /// Adds every certificate of a PEM text to the trusted authorities. `source_name` says where the text came from,
    /// for instance `secret apps/ca`. Like Go's pool, a certificate that cannot be read is passed over as long as
    /// another one can.
    pub fn with_ca_pem(mut self, pem: &[u8], source_name: &str) -> Result<Self, TlsError> {
        if pem.len() > MAX_PEM {
            let source_name = source_name.to_owned();
            return Err(TlsError::TooLarge { source_name });
        }
        let mut usable = RootCertStore::empty();
        let before = self.authorities.len();
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            if usable.add(certificate.clone()).is_ok() {
                self.authorities.push(certificate);
            }
        }
        if self.authorities.len() == before {
            let source_name = source_name.to_owned();
            return Err(TlsError::NoAuthority { source_name });
        }
        Ok(self)
    }

    /// Sets the certificate (chain) and key to show to the registry, both as PEM.
    pub fn with_client_certificate(
        mut self,
        certificate: &[u8],
        key: &[u8],
        source_name: &str,
    ) -> Result<Self, TlsError> {
        if certificate.len().max(key.len()) > MAX_PEM {
            let source_name = source_name.to_owned();
            return Err(TlsError::TooLarge { source_name });
        }
        let malformed = |part| {
            move |cause| TlsError::Pem {
                source_name: source_name.to_owned(),
                part,
                cause,
            }
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .and_then(|chain: Vec<_>| {
                if chain.is_empty() {
                    return Err(pem::Error::NoItemsFound);
                }
                Ok(chain)
            })
            .map_err(malformed("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(malformed("key"))?;
        let ders = chain.iter().map(AsRef::as_ref).chain([key.secret_der()]);
        let fingerprint = digest_of_parts(ders);
        let certified =
            CertifiedKey::from_der(chain, key, &provider()).map_err(|cause| TlsError::Pair {
                source_name: source_name.to_owned(),
                cause,
            })?;
        self.identity = Some(Arc::new(Identity {
            certified: Arc::new(certified),
            fingerprint,
        }));
        Ok(self)
    }

    /// The same with the authorities of another, and with its client certificate if there is none here. Whether anything is
    /// verified stays as it is: who turned it off said so, and authorities for others do not take that back.
    pub(crate) fn beside(&self, other: &Self) -> Self {
        let identity = self.identity.as_ref().or(other.identity.as_ref());
        let authorities = self.authorities.iter().chain(&other.authorities);
        Self {
            authorities: authorities.cloned().collect(),
            identity: identity.cloned(),
            verification: self.verification,
        }
    }

    /// The same trust without the client certificate, for hosts that it is not meant for.
    pub(crate) fn without_identity(&self) -> Self {
        Self {
            identity: None,
            ..self.clone()
        }
    }

    /// What a proxy is held to: always verified, also where the registry is not, since it is shown a password.
    pub(crate) fn for_proxy(&self) -> Self {
        Self {
            authorities: self.authorities.clone(),
            ..Self::default()
        }
    }

    /// Equal for equal settings, and only for those.
    pub(crate) fn fingerprint(&self) -> Digest {
        let identity = self
            .identity
            .as_ref()
            .map(|identity| identity.fingerprint.hex().as_bytes());
        let authorities = self.authorities.iter().map(AsRef::as_ref);
        let verification: &[u8] = match self.verification {
            Verification::On => b"verified",
            Verification::Off => b"unverified",
        };
        digest_of_parts(
            [verification, identity.unwrap_or_default()]
                .into_iter()
                .chain(authorities),
        )
    }

    /// The configuration for connections with these settings.
    pub(crate) fn client_config(&self, system: &RootCertStore) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = match self.verification {
            Verification::On => Arc::new(Verifier::new(system, &self.authorities, &provider)?),
            Verification::Off => Arc::new(Unverified::new(&provider)),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                identity.certified.clone(),
            ))),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.len())
            .field("client_certificate", &self.identity.is_some())
            .field("verified", &self.is_verified())
            .finish_non_exhaustive()
    }
}

/// The machine's trusted roots. What cannot be read is logged and left out: plain HTTP and private CAs work without.
pub(crate) fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a system root certificate could not be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Each part with its length before it, so that no two lists of parts are hashed as the same bytes.
fn digest_of_parts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finish()
}
