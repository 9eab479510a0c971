// SPDX-License-Identifier: Apache-2.0
//! The client: what all sessions of a process share.
//!
//! Settings enter once; [`Session`]s leave, one per repository and [`Access`]. Shared are the connections (per TLS
//! settings, so that no client certificate is shown for another tenant) and the grants of registries.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use rustls::RootCertStore;

use crate::{Digest, Repository};

use super::{
    access::Access,
    auth::{Identity, grants::Grants},
    connector::Connector,
    egress::Egress,
    error::Error,
    hosts::Hosts,
    problem::Problem,
    request::Channel,
    retry::RetryPolicy,
    session::Session,
    tls::{Tls, system_roots},
    wire::Wire,
};

/// Sets of TLS settings whose connections are kept; beyond it the one that was not used for longest is closed.
const MAX_WIRES: usize = 128;

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The value of `User-Agent`. Default `wharf/<version>`.
    pub user_agent: String,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Caps.
    pub limits: Limits,
    /// How failed operations are tried again.
    pub retry: RetryPolicy,
    /// Which addresses may be dialled.
    pub egress: Egress,
    /// What is set per host.
    pub hosts: Hosts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            egress: Egress::default(),
            hosts: Hosts::default(),
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Resolving a name and connecting to one of its addresses. Default 30 s.
    pub connect: Duration,
    /// A TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// From a request to the head of its answer. Default 30 s.
    pub response: Duration,
    /// The body of a small answer: manifest, token, error. Default 30 s.
    pub document: Duration,
    /// A whole blob, down or up. Default 30 min.
    pub transfer: Duration,
    /// How long a body may be slower than [`Self::slow_bytes`] says. Default 30 s.
    pub slow_window: Duration,
    /// The fewest bytes that must arrive in each such time spent waiting. Default 30 KiB, that is 1 KiB/s.
    pub slow_bytes: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            response: Duration::from_secs(30),
            document: Duration::from_secs(30),
            transfer: Duration::from_mins(30),
            slow_window: Duration::from_secs(30),
            slow_bytes: 30 * 1024,
        }
    }
}

/// How much is read, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A manifest or index. Default 4 MiB, what registries must at least accept (distribution-spec).
    pub manifest: u64,
    /// The answer of a token service. Default 64 KiB.
    pub token: u64,
    /// A blob. Default 4 GiB.
    pub max_blob: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            token: 64 << 10,
            max_blob: 4 << 30,
        }
    }
}

/// A registry client. One per process; cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use wharf_oci::registry::{Access, Client, Options, Target};
///
/// let client = Client::new(Options::default())?;
/// let session = client.session("ghcr.io/org/app".parse()?, &Access::default())?;
/// let resolved = session.resolve(&Target::Tag("1.0.0".parse()?)).await?;
/// let image = session.image(&resolved).await?;
/// let mut file = tokio::fs::File::create_new("layer").await?;
/// session.download(&image.manifest.layers[0], &mut file).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    options: Options,
    user_agent: HeaderValue,
    egress: Arc<Egress>,
    system_roots: RootCertStore,
    wires: Mutex<Wires>,
    grants: Arc<Grants>,
}

impl Client {
    /// Reads the system's trusted roots (blocking, a few milliseconds) and makes a client.
    ///
    /// Fails with [`super::ErrorKind::Config`] if the user agent cannot stand in a header.
    pub fn new(options: Options) -> Result<Self, Error> {
        let user_agent = HeaderValue::from_str(&options.user_agent).map_err(|_| {
            let problem = Problem::Header("the user agent cannot be sent in an HTTP header");
            Error::new("set up the client", "this process", 1, problem)
        })?;
        Ok(Self(Arc::new(Shared {
            user_agent,
            egress: Arc::new(options.egress.clone()),
            system_roots: system_roots(),
            wires: Mutex::default(),
            grants: Arc::default(),
            options,
        })))
    }

    /// A session with a repository. Nothing is sent yet.
    ///
    /// Fails with [`super::ErrorKind::Config`] if the TLS settings cannot be used.
    pub fn session(&self, repository: Repository, access: &Access) -> Result<Session, Error> {
        let wire = |tls: &Tls| {
            self.0
                .wire(tls)
                .map_err(|problem| Error::new("set up TLS", repository.to_string(), 1, problem))
        };
        let (home, foreign) = (wire(&access.tls)?, wire(&access.tls.without_identity())?);
        let Options { limits, retry, .. } = &self.0.options;
        Ok(Session::new(Channel {
            place: repository.to_string(),
            repository,
            credentials: access.credentials.clone(),
            identity: Identity::new(&access.credentials, &access.tls.fingerprint()),
            transport: access.transport,
            scheme: tokio::sync::OnceCell::new(),
            home,
            foreign,
            grants: self.0.grants.clone(),
            limits: *limits,
            retry: retry.clone(),
        }))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn wire(&self, tls: &Tls) -> Result<Wire, Problem> {
        let fingerprint = tls.fingerprint();
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wire) = wires.used(&fingerprint) {
            return Ok(wire);
        }
        let config = tls
            .client_config(&self.system_roots)
            .map_err(Problem::Tls)?;
        let connector = Connector {
            egress: self.egress.clone(),
            tls: Arc::new(config),
            timeouts: self.options.timeouts,
        };
        let wire = Wire::new(connector, self.user_agent.clone());
        wires.add(fingerprint, wire.clone());
        Ok(wire)
    }
}

/// The connections per TLS settings, with when they were last asked for.
#[derive(Default)]
struct Wires {
    clock: u64,
    by_settings: HashMap<Digest, (u64, Wire)>,
}

impl Wires {
    fn used(&mut self, fingerprint: &Digest) -> Option<Wire> {
        self.clock += 1;
        let (used, wire) = self.by_settings.get_mut(fingerprint)?;
        *used = self.clock;
        Some(wire.clone())
    }

    fn add(&mut self, fingerprint: Digest, wire: Wire) {
        if self.by_settings.len() >= MAX_WIRES {
            let oldest = self.by_settings.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(fingerprint, _)| fingerprint.clone());
            oldest.map(|fingerprint| self.by_settings.remove(&fingerprint));
        }
        self.by_settings.insert(fingerprint, (self.clock, wire));
    }
}
