// SPDX-License-Identifier: Apache-2.0
//! The client: what all sessions of a process share.
//!
//! Settings enter once; [`Session`]s leave, one per repository and [`Access`]. Shared are the connections (per TLS
//! settings and proxy, so that no client certificate or password is shown for another tenant), the grants of registries,
//! which of them speak plain HTTP, and the gates before hosts (`flow`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use rustls::RootCertStore;
use tokio::time::Instant;

use crate::Repository;

use super::{
    access::Access,
    auth::{Identity, grants::Grants, scrub::Shown},
    connector::Connector,
    egress::{Checks, Dials, Egress},
    error::Error,
    flow::{Flow, HostStatus, Patience, Stats},
    hosts::{Hosts, Mirror},
    mirrors::{self, Healths, MirrorStatus, Reader},
    problem::Problem,
    proxy::{ProxyRules, route::Route},
    request::Channel,
    retry::RetryPolicy,
    scheme::{Home, Schemes},
    session::Session,
    tls::{Tls, system_roots},
    wire::{Wire, WireId},
};

/// Sets of TLS settings and routes whose connections are kept; beyond it the one that was not used for longest is closed.
const MAX_WIRES: usize = 128;

/// As good as for ever.
const LONGEST_TIME: Duration = Duration::from_secs(24 * 3600);

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
    /// What may be reached, and what may go with a request.
    pub egress: Egress,
    /// What is set per host.
    pub hosts: Hosts,
    /// The proxies of the process. Default none; [`ProxyRules::from_env`] reads the environment.
    pub proxy: ProxyRules,
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
            proxy: ProxyRules::default(),
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
    /// From asking a proxy for a connection to its answer. Default 20 s.
    pub tunnel: Duration,
    /// From a request to the head of its answer. Default 30 s.
    pub response: Duration,
    /// The body of a small answer: manifest, token, error. Default 30 s.
    pub document: Duration,
    /// A whole blob, down (all attempts together) or up. Default 30 min.
    pub transfer: Duration,
    /// How long a request may wait for its turn at its host, where it depends on others when that comes. Default 60 s.
    pub turn: Duration,
    /// How long a mirror may take, from the first request to the last byte, for what is not the content of a blob. Then
    /// the next mirror or the registry is asked. The other deadlines are as short as this one when they are about a
    /// mirror. Default 10 s.
    pub mirror: Duration,
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
            tunnel: Duration::from_secs(20),
            response: Duration::from_secs(30),
            document: Duration::from_secs(30),
            transfer: Duration::from_mins(30),
            turn: Duration::from_secs(60),
            mirror: Duration::from_secs(10),
            slow_window: Duration::from_secs(30),
            slow_bytes: 30 * 1024,
        }
    }
}

/// How much is read, in bytes where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A manifest or index. Default 4 MiB, what registries must at least accept (distribution-spec).
    pub manifest: u64,
    /// The answer of a token service. Default 64 KiB.
    pub token: u64,
    /// A blob. Default 4 GiB.
    pub max_blob: u64,
    /// One page of a list of tags; all but the tags is passed over and not kept. Default 64 MiB.
    pub tag_page: u64,
    /// The tags of a repository, in number. Default 1,000,000.
    pub tags: usize,
    /// The pages of a list of tags, in number; at least 1. Default 20,000: the smallest pages known have 50 tags.
    pub tag_pages: u32,
    /// The referrers of a manifest, in number. Default 10,000.
    pub referrers: usize,
    /// The pages of a list of referrers, in number; at least 1. Default 1,000. One page is a manifest.
    pub referrer_pages: u32,
    /// All pages of a list of referrers together. Default 16 MiB.
    pub referrer_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            token: 64 << 10,
            max_blob: 4 << 30,
            tag_page: 64 << 20,
            tags: 1_000_000,
            tag_pages: 20_000,
            referrers: 10_000,
            referrer_pages: 1_000,
            referrer_bytes: 16 << 20,
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
    egress: Arc<Checks>,
    system_roots: RootCertStore,
    wires: Mutex<Wires>,
    grants: Arc<Grants>,
    proxy: Arc<ProxyRules>,
    schemes: Arc<Schemes>,
    mirrors: Healths,
    flow: Arc<Flow>,
}

impl Client {
    /// Reads the system's trusted roots (blocking, a few milliseconds) and makes a client. Times of more than a day count as
    /// a day.
    ///
    /// Fails with [`super::ErrorKind::Config`] if the user agent cannot stand in a header.
    pub fn new(options: Options) -> Result<Self, Error> {
        let options = within_a_day(options);
        let user_agent = HeaderValue::from_str(&options.user_agent).map_err(|_| {
            let problem = Problem::Header("the user agent cannot be sent in an HTTP header");
            Error::new("set up the client", "this process", 1, problem)
        })?;
        let patience = Patience {
            known: options.retry.longest,
            total: options.timeouts.turn,
        };
        let flow = Flow::new(options.hosts.clone(), patience);
        Ok(Self(Arc::new(Shared {
            user_agent,
            egress: Arc::new(Checks::new(options.egress.clone())),
            system_roots: system_roots(),
            wires: Mutex::default(),
            grants: Arc::default(),
            proxy: Arc::new(options.proxy.clone()),
            schemes: Arc::default(),
            mirrors: Healths::default(),
            flow: Arc::new(flow),
            options,
        })))
    }

    /// A session with a repository. Nothing is sent yet. Its reads go to the mirrors of the registry first, with what
    /// is set for those and nothing of `access`.
    ///
    /// Fails with [`super::ErrorKind::Config`] if the TLS settings cannot be used.
    pub fn session(&self, repository: Repository, access: &Access) -> Result<Session, Error> {
        let Options { hosts, retry, .. } = &self.0.options;
        let access = hosts.access(repository.registry(), access);
        let mirrors = self.0.readers(&repository);
        let home = self
            .0
            .channel(repository, access, retry.clone(), self.0.options.timeouts)?;
        Ok(Session::new(mirrors::ReadPath {
            home: Arc::new(home),
            mirrors,
        }))
    }

    /// What was asked of all hosts together since the client was made, and what is going on: for metrics.
    pub fn stats(&self) -> Stats {
        self.0.flow.stats()
    }

    /// How many addresses were dialled since the client was made, and how many were refused: for metrics.
    pub fn dials(&self) -> Dials {
        self.0.egress.dials()
    }

    /// How the hosts are that were asked last, at most 1,024, by name: for status pages.
    pub fn hosts(&self) -> Vec<HostStatus> {
        self.0.flow.statuses()
    }

    /// How the mirrors are and what they did since the client was made, by name: for metrics and status pages. One is
    /// listed from the first session on that has it.
    pub fn mirrors(&self) -> Vec<MirrorStatus> {
        self.0.mirrors.statuses(Instant::now())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

/// No time is longer than a day, so that none can be beyond what a clock holds when it is added to now.
fn within_a_day(mut options: Options) -> Options {
    let Timeouts {
        connect,
        handshake,
        tunnel,
        response,
        document,
        transfer,
        turn,
        mirror,
        slow_window,
        slow_bytes: _,
    } = &mut options.timeouts;
    let RetryPolicy {
        base,
        longest,
        attempts: _,
    } = &mut options.retry;
    for time in [
        connect,
        handshake,
        tunnel,
        response,
        document,
        transfer,
        turn,
        mirror,
        slow_window,
        base,
        longest,
    ] {
        *time = (*time).min(LONGEST_TIME);
    }
    options
}

impl Shared {
    fn channel(
        &self,
        repository: Repository,
        access: Access,
        retry: RetryPolicy,
        timeouts: Timeouts,
    ) -> Result<Channel, Error> {
        let host = self.options.hosts.of(repository.registry());
        let of_host = host.and_then(|host| host.proxy.as_ref());
        let route = Route::new(&access.proxy, of_host, &self.proxy);
        let wire = |tls: &Tls| {
            let wire = self.wire(tls, &route);
            let error = |problem| Error::new("set up TLS", repository.to_string(), 1, problem);
            wire.map(|wire| wire.with(timeouts)).map_err(error)
        };
        let (home, foreign) = (wire(&access.tls)?, wire(&access.tls.without_identity())?);
        Ok(Channel {
            place: repository.to_string(),
            identity: Identity::new(&access.credentials, &home.digest()),
            is_verified: access.tls.is_verified(),
            credentials: access.credentials,
            scheme: Home::new(
                self.schemes.clone(),
                &repository,
                access.transport,
                home.clone(),
            ),
            repository,
            home,
            foreign,
            grants: self.grants.clone(),
            egress: self.egress.clone(),
            shown: Shown::default(),
            limits: self.options.limits,
            retry,
        })
    }

    /// The mirrors that have a place for a repository.
    fn readers(&self, repository: &Repository) -> Vec<Arc<Reader>> {
        let host = self.options.hosts.of(repository.registry());
        let mirrors = host.into_iter().flat_map(|host| &host.mirrors);
        mirrors
            .filter_map(|mirror| self.reader(mirror, repository))
            .collect()
    }

    /// A mirror that cannot be asked is no reason not to ask the registry. Who set it up is told.
    fn reader(&self, mirror: &Mirror, repository: &Repository) -> Option<Arc<Reader>> {
        let Options {
            hosts,
            retry,
            timeouts,
            ..
        } = &self.options;
        let health = self.mirrors.of(mirror.to_string());
        let place = mirror.repository(repository).inspect_err(|error| {
            if health.is_news("name") {
                tracing::warn!(%mirror, %repository, %error, "a mirror cannot have this repository and is not asked for it; not said again for others");
            }
        });
        let (access, retry) = (hosts.access_of_mirror(mirror), mirrors::once(retry));
        let channel = self.channel(place.ok()?, access, retry, mirrors::hurried(*timeouts));
        let channel = channel.inspect_err(|error| {
            if health.is_news("settings") {
                let cause = std::error::Error::source(error).map(tracing::field::display);
                tracing::warn!(%mirror, %error, cause, "a mirror cannot be set up and is never asked");
            }
        });
        Some(Arc::new(Reader {
            channel: Arc::new(channel.ok()?),
            resolves_tags: mirror.resolves_tags(),
            health,
            patience: timeouts.mirror,
        }))
    }

    fn wire(&self, tls: &Tls, route: &Route) -> Result<Wire, Problem> {
        let fingerprint = tls.fingerprint();
        let id = (fingerprint.clone(), route.id());
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wire) = wires.used(&id) {
            return Ok(wire);
        }
        let config = |tls: &Tls| {
            let config = tls.client_config(&self.system_roots);
            config.map(Arc::new).map_err(Problem::Tls)
        };
        let connector = Connector {
            egress: self.egress.clone(),
            tls: config(tls)?,
            proxy_tls: config(&tls.for_proxy())?,
            route: route.clone(),
            user_agent: self.user_agent.clone(),
            timeouts: self.options.timeouts,
        };
        let wire = Wire::new(connector, fingerprint, self.flow.clone());
        wires.add(id, wire.clone());
        Ok(wire)
    }
}

/// The connections per TLS settings and route, with when they were last asked for.
#[derive(Default)]
struct Wires {
    clock: u64,
    by_settings: HashMap<WireId, (u64, Wire)>,
}

impl Wires {
    fn used(&mut self, id: &WireId) -> Option<Wire> {
        self.clock += 1;
        let (used, wire) = self.by_settings.get_mut(id)?;
        *used = self.clock;
        Some(wire.clone())
    }

    fn add(&mut self, id: WireId, wire: Wire) {
        if self.by_settings.len() >= MAX_WIRES {
            let oldest = self.by_settings.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.map(|id| self.by_settings.remove(&id));
        }
        self.by_settings.insert(id, (self.clock, wire));
    }
}
