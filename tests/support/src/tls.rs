// SPDX-License-Identifier: Apache-2.0
//! Certificates for tests: an authority, and what it signs, right and wrong.
//!
//! What enters is the names a certificate is for; what leaves is PEM text, as a Secret holds it, and a rustls server
//! configuration. Nothing touches the disk. Every key is new, so no two runs share a secret.

mod clients;

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The names under which a server on this machine is reached.
pub const LOCAL: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new authority whose subject has this common name.
    pub fn new(common_name: &str) -> Self {
        let mut params = params(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key();
        let certificate = params.self_signed(&key).expect("sign the authority");
        Self {
            issuer: Issuer::new(params, key),
            pem: certificate.pem(),
        }
    }

    /// The authority's own certificate: what a client is given as `ca.crt`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for these names (DNS names or IP addresses), valid now.
    ///
    /// A certificate that does not match is one for other names: `leaf(&["elsewhere.example"])`.
    pub fn leaf(&self, names: &[&str]) -> Identity {
        self.sign(&leaf_params(names))
    }

    /// A server certificate for [`LOCAL`].
    pub fn local_leaf(&self) -> Identity {
        self.leaf(LOCAL)
    }

    /// A server certificate for these names that ended in 2021.
    pub fn expired_leaf(&self, names: &[&str]) -> Identity {
        let mut params = leaf_params(names);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("sign the certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate with its private key.
pub struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    /// A certificate that signs itself and says it is an authority, as `openssl req -x509` makes by default.
    ///
    /// The client's `ca.crt` and the certificate the server shows are then the same bytes.
    pub fn self_signed(names: &[&str]) -> Self {
        let mut params = leaf_params(names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = new_key();
        let certificate = params.self_signed(&key).expect("sign the certificate");
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate, with those that are to be sent behind it, and its key, made elsewhere. Nothing about them is checked.
    pub fn from_pem(certificate: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
        }
    }

    /// The certificate, as in `tls.crt`.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The private key (PKCS #8), as in `tls.key`.
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// A server configuration that shows this certificate and asks the client for none. HTTP/1.1 only.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.configured(WebPkiClientVerifier::no_client_auth())
    }

    fn configured(&self, clients: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("read back the certificate");
        let key =
            PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("read back the private key");
        let provider = provider();
        let key = provider.key_provider.load_private_key(key);
        // Not compared with one another: a server with the wrong key is something that a client must notice.
        let shown = CertifiedKey::new(chain, key.expect("use the private key"));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("choose TLS versions")
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// The cryptography every TLS end in this crate uses; named, so that no process-wide default is needed.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("generate a key")
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let mut params = params(names.first().copied().unwrap_or("nobody"), names);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names are valid");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::pki_types::ServerName;
    use rustls::{CertificateError, ClientConfig, Error};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// What a client that trusts `ca` and asks for `name` says to this identity.
    async fn handshake(ca: &str, name: &str, identity: &Identity) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(16 * 1024);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let acceptor = TlsAcceptor::from(identity.server_config());
        let (near, _) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
        near.map(drop)
            .map_err(|error| error.downcast::<Error>().unwrap())
    }

    #[tokio::test]
    async fn a_leaf_is_accepted_for_each_of_its_names() {
        let authority = Authority::new("Test CA");
        let leaf = authority.local_leaf();
        for name in LOCAL {
            assert_eq!(handshake(authority.pem(), name, &leaf).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn each_bad_certificate_is_refused_for_its_own_reason() {
        let authority = Authority::new("Test CA");
        let refusal = async |ca: &str, identity: &Identity| match handshake(
            ca,
            "localhost",
            identity,
        )
        .await
        {
            Err(Error::InvalidCertificate(refusal)) => refusal,
            other => panic!("{other:?}"),
        };

        let expired = refusal(authority.pem(), &authority.expired_leaf(LOCAL)).await;
        assert!(
            matches!(expired, CertificateError::ExpiredContext { .. }),
            "{expired:?}"
        );

        let elsewhere = refusal(authority.pem(), &authority.leaf(&["elsewhere.example"])).await;
        assert!(
            matches!(elsewhere, CertificateError::NotValidForNameContext { .. }),
            "{elsewhere:?}"
        );

        let other = Authority::new("Another CA");
        let unknown = refusal(other.pem(), &authority.local_leaf()).await;
        assert_eq!(unknown, CertificateError::UnknownIssuer);

        let own = Identity::self_signed(LOCAL);
        let refused = format!("{:?}", refusal(own.certificate_pem(), &own).await);
        assert!(refused.contains("CaUsedAsEndEntity"), "{refused}");
    }
}
