// SPDX-License-Identifier: Apache-2.0
//! An OCI registry in this process, on a port of its own.
//!
//! What enters: HTTP requests (distribution-spec 1.1), content that a test places directly, and the faults it scripts.
//! What leaves: answers, and a log of the requests for assertions. Everything is held in memory. By default the registry
//! is honest, speaks plain HTTP on a free port of 127.0.0.1 and asks nobody who they are; [`Builder`] changes that.
//!
//! ```text
//! connection (server) -> Call (route, query, body) -> auth -> script
//!     -> pull | push | discovery over the store -> Reply -> fault -> HTTP, or bytes as they stand (wire)
//! ```

mod auth;
mod call;
mod digest;
mod discovery;
mod fault;
mod gate;
mod log;
mod pull;
mod push;
mod reply;
mod route;
mod script;
mod seed;
mod server;
mod spelling;
mod store;
mod stream;
mod tenants;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::tls::{Authority, Identity};
use auth::{Account, Auth, Forms, Gatekeeper};
use call::Features;
use server::{Server, Shared};

pub use crate::artifacts::layer;
pub use digest::{sha256, sha512};
pub use fault::Fault;
pub use gate::Gate;
pub use log::Seen;
pub use route::Endpoint;
pub(crate) use route::Query;
pub use script::Rule;
pub use seed::{Artifact, FLUX_CONFIG, FLUX_CONTENT, OCI_INDEX, OCI_MANIFEST, SeededArtifact};
pub use spelling::Spelling;

/// A running registry. It stops when this is dropped, also in a test that panics.
pub struct FakeRegistry {
    addr: SocketAddr,
    base: String,
    shared: Arc<Shared>,
    server: Server,
}

impl FakeRegistry {
    /// Starts an honest registry with plain HTTP and without authentication on a free port.
    pub async fn start() -> Self {
        let started = Self::builder().start().await;
        started.expect("start a registry on a free port")
    }

    /// Says first what the registry shall be like.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `127.0.0.1:port`, as in an image's name.
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// `http://127.0.0.1:port`, or `https`.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// `oci://127.0.0.1:port/repository`, as in the `url` of a source.
    pub fn url(&self, repository: &str) -> String {
        format!("oci://{}/{repository}", self.addr)
    }

    /// All requests since the start or [`clear_requests`](Self::clear_requests), in order of arrival.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.log.all()
    }

    /// The requests to one kind of endpoint.
    pub fn requests_to(&self, endpoint: Endpoint) -> Vec<Seen> {
        let mut requests = self.requests();
        requests.retain(|seen| seen.endpoint == Some(endpoint));
        requests
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Adds a rule to the script. Rules given earlier come first.
    pub fn script(&self, rule: Rule) {
        self.shared.script().add(rule);
    }

    /// How many requests met a fault of each rule, in the order in which the rules were given.
    pub fn played(&self) -> Vec<usize> {
        self.shared.script().played()
    }

    /// Takes all rules back: from now on the registry is honest. Requests that are held stay so.
    pub fn be_honest(&self) {
        self.shared.script().clear();
    }

    /// Makes every bearer token given out so far worthless, as if it had expired.
    pub fn revoke_tokens(&self) {
        self.shared.gatekeeper.revoke();
    }

    /// Stops the registry; afterwards its port refuses connections. Dropping it does the same.
    pub fn shutdown(self) {
        drop(self.server);
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// What a registry shall be like.
#[derive(Default)]
pub struct Builder {
    bind: Option<SocketAddr>,
    tls: Option<Arc<ServerConfig>>,
    auth: Auth,
    features: Features,
}

impl Builder {
    /// Listens here instead of on a free port of 127.0.0.1.
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.bind = Some(addr);
        self
    }

    /// Speaks TLS and shows this certificate.
    pub fn tls(mut self, identity: &Identity) -> Self {
        self.tls = Some(identity.server_config());
        self
    }

    /// Speaks TLS, shows this certificate, and lets nobody in without one that the authority signed.
    pub fn tls_for_clients_of(mut self, identity: &Identity, authority: &Authority) -> Self {
        self.tls = Some(identity.server_config_for_clients_of(authority));
        self
    }

    /// Demands this user and password on every request (basic authentication).
    pub fn basic(mut self, username: &str, password: &str) -> Self {
        self.auth = Auth::Basic(vec![Account::new(username, username, password)]);
        self
    }

    /// Demands a bearer token, which its own token endpoint gives to this user and password.
    ///
    /// A token holds for five minutes and for the repository and actions it was asked for.
    pub fn bearer(mut self, username: &str, password: &str) -> Self {
        self.auth = Auth::Bearer {
            accounts: vec![Account::new(username, username, password)],
            lifetime: Duration::from_mins(5),
            anonymous_pull: false,
            forms: Forms::default(),
        };
        self
    }

    /// How long a bearer token holds (whole seconds are told to the client). Only after [`bearer`](Self::bearer).
    pub fn token_lifetime(mut self, duration: Duration) -> Self {
        if let Auth::Bearer { lifetime, .. } = &mut self.auth {
            *lifetime = duration;
        }
        self
    }

    /// Gives tokens for pulling to anybody, as public registries do. Only after [`bearer`](Self::bearer).
    pub fn anonymous_pull(mut self) -> Self {
        if let Auth::Bearer { anonymous_pull, .. } = &mut self.auth {
            *anonymous_pull = true;
        }
        self
    }

    /// Serves blobs only whole, whatever range is asked for.
    pub fn without_ranges(mut self) -> Self {
        self.features.ranges = false;
        self
    }

    /// Has no referrers API, as distribution and GHCR.
    pub fn without_referrers(mut self) -> Self {
        self.features.referrers = false;
        self
    }

    /// Wants at least so many bytes in a chunk of an upload, and says so (`OCI-Chunk-Min-Length`).
    pub fn least_chunk(mut self, bytes: usize) -> Self {
        self.features.least_chunk = bytes;
        self
    }

    /// Refuses larger bodies with 413, as what stands before many registries.
    pub fn largest_body(mut self, bytes: usize) -> Self {
        self.features.largest_body = bytes;
        self
    }

    /// Lists at most so many tags at a time, whatever the client asks for.
    pub fn tag_page(mut self, tags: usize) -> Self {
        self.features.tag_page = tags;
        self
    }

    /// Starts it; it accepts connections when this returns. The error is that of binding the port.
    #[expect(
        clippy::unused_async,
        reason = "starting is a wait for callers, whatever it takes here"
    )]
    pub async fn start(self) -> io::Result<FakeRegistry> {
        let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(self.bind.unwrap_or(free_port))?;
        let addr = listener.local_addr()?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{addr}");
        let gatekeeper = Gatekeeper::new(self.auth, base.clone());
        let shared = Arc::new(Shared::new(gatekeeper, self.features));
        let server = Server::start(listener, self.tls, Arc::clone(&shared))?;
        Ok(FakeRegistry {
            addr,
            base,
            shared,
            server,
        })
    }
}
