// SPDX-License-Identifier: Apache-2.0
//! The registries of the matrix, and what a client has to know to reach each.

use std::any::Any;
use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use wharf_test_support::servers::{
    Distribution, Grant, PASSWORD, ReferrersRegistry, TokenService, USERNAME, scratch,
};
use wharf_test_support::tls::Authority;

const CERTIFICATES: &str = "certificates";

/// A registry with a name for the table.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    /// `127.0.0.1:port`
    pub(crate) host: String,
    /// User and password, where they are asked for.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// The certificate (PEM) of its authority, when it speaks TLS.
    authority: Option<String>,
    tokens: Option<TokenService>,
    folder: TempDir,
    /// Held, so that it runs.
    _server: Box<dyn Any + Send + Sync>,
}

/// Starts them all.
pub(crate) async fn start() -> Vec<Place> {
    let authority = Authority::new("Wharf's test authority");
    let tokens = TokenService::start(&[(USERNAME, PASSWORD)], Some(&authority.local_leaf()));
    let with_tokens = Distribution::start_with_tokens(authority, &tokens).await;
    let plain = Distribution::start().await;
    let secured = Distribution::start_secured().await;
    let debian = Distribution::start_debian().await;
    let referrers = ReferrersRegistry::start().await;
    vec![
        Place::of("distribution v3, plain HTTP", plain),
        Place::of("distribution v3, TLS, password", secured).with_login(),
        Place {
            tokens: Some(tokens),
            ..Place::of("distribution v3, TLS, tokens", with_tokens).with_login()
        },
        Place::of("docker-registry 2.8, TLS, password", debian).with_login(),
        Place::new(
            "referrers registry, plain HTTP",
            referrers.host().to_owned(),
            None,
            referrers,
        ),
    ]
}

impl Place {
    fn of(name: &'static str, registry: Distribution) -> Self {
        let (host, authority) = (registry.host().to_owned(), registry.authority());
        let authority = authority.map(ToOwned::to_owned);
        Self::new(name, host, authority, registry)
    }

    fn new(
        name: &'static str,
        host: String,
        authority: Option<String>,
        server: impl Any + Send + Sync,
    ) -> Self {
        let folder = scratch("place");
        let certificates = folder.path().join(CERTIFICATES);
        std::fs::create_dir(&certificates).unwrap();
        if let Some(pem) = &authority {
            std::fs::write(certificates.join("ca.crt"), pem).unwrap();
        }
        Self {
            name,
            host,
            login: None,
            authority,
            tokens: None,
            folder,
            _server: Box::new(server),
        }
    }

    fn with_login(self) -> Self {
        let login = Some((USERNAME, PASSWORD));
        Self { login, ..self }
    }

    /// The certificate (PEM) of its authority, when it speaks TLS.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The same as a file.
    pub(crate) fn authority_file(&self) -> Option<PathBuf> {
        self.certificates().map(|folder| folder.join("ca.crt"))
    }

    /// A folder that holds nothing else than that file.
    pub(crate) fn certificates(&self) -> Option<PathBuf> {
        let folder = self.folder.path().join(CERTIFICATES);
        self.authority.as_ref().map(|_| folder)
    }

    /// Whether it sends people to a token service.
    pub(crate) fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// What Docker's configuration file says of this registry; `None` where nobody is asked who they are.
    pub(crate) fn login_entry(&self) -> Option<Value> {
        let (user, password) = self.login?;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Some(json!({"auth": pair}))
    }

    /// The same after a login at a token service that gives out refresh tokens.
    pub(crate) fn identity_entry(&self) -> Option<Value> {
        let (user, _) = self.login?;
        let token = self.tokens.as_ref()?.refresh_token(user);
        Some(json!({"identitytoken": token}))
    }

    /// How those who got a token since this was asked last said who they are; `None` where there are no tokens.
    pub(crate) fn grants(&self) -> Option<Vec<Grant>> {
        let tokens = self.tokens.as_ref()?;
        let requests = tokens.requests();
        tokens.clear_requests();
        let given = requests.iter().filter(|seen| seen.status == 200);
        Some(given.map(|seen| seen.grant).collect())
    }

    /// An empty folder for one cell; it goes with the place.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }
}
