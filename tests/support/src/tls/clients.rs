// SPDX-License-Identifier: Apache-2.0
//! Certificates that clients show, and servers that ask for them.

use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{Authority, Identity, params, provider};

impl Authority {
    /// A certificate for a client of this name.
    pub fn client_named(&self, name: &str) -> Identity {
        let mut params = params(name, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }
}

impl Identity {
    /// The certificate as a server sees it (DER).
    pub fn der(&self) -> Vec<u8> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        der.expect("read back the certificate").to_vec()
    }

    /// A server configuration that shows this certificate and demands one of `clients`. HTTP/1.1 only.
    pub(crate) fn config_asking(&self, clients: &Authority) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(clients.pem.as_bytes());
        roots
            .add(authority.expect("read back the authority"))
            .expect("trust the authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .expect("verify clients");
        let certificate = CertificateDer::from(self.der());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("choose TLS versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key.expect("read back the private key"))
            .expect("use the certificate");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}
