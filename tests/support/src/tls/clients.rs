// SPDX-License-Identifier: Apache-2.0
//! Certificates that clients show, and servers that ask for them.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{Authority, Identity, params, provider};

impl Authority {
    /// A client certificate, valid now.
    pub fn client(&self) -> Identity {
        self.client_named("a client")
    }

    /// A certificate for a client of this name, valid now.
    pub fn client_named(&self, name: &str) -> Identity {
        self.sign(&client_params(name))
    }

    /// A client certificate that ended in 2021.
    pub fn expired_client(&self) -> Identity {
        let mut params = client_params("a client");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }
}

impl Identity {
    /// The certificate as a server sees it (DER).
    pub fn der(&self) -> Vec<u8> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        der.expect("read back the certificate").to_vec()
    }

    /// [`Self::server_config`], but lets nobody in without a certificate that this authority signed.
    pub fn server_config_for_clients_of(&self, authority: &Authority) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        roots
            .add(root.expect("read back the authority"))
            .expect("use the authority");
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        self.configured(verifier.expect("verify clients"))
    }
}

fn client_params(name: &str) -> CertificateParams {
    let mut params = params(name, &[]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}
