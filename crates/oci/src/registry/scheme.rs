// SPDX-License-Identifier: Apache-2.0
//! HTTPS or plain HTTP: which one a registry speaks.
//!
//! A registry is asked by HTTPS and nothing else, unless plain HTTP was allowed or its name is one that Flux exempts.
//! Then HTTPS is tried first and HTTP beside it after a moment, because some HTTP servers wait for the end of a line
//! that a TLS handshake does not contain. A certificate that is not accepted is an answer in TLS, and final.
//!
//! What was found is shared by the process for a while ([`Schemes`]), by registry, TLS settings, route and permission: who
//! is not allowed plain HTTP never learns from who is. One session finds out while the others wait. A failure that speaks
//! for the other scheme forgets what was found, and the attempt after it finds out anew.

use std::{
    collections::HashMap,
    future::ready,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::{Either, select};
use http::{Method, Request, StatusCode};
use tokio::time::{Instant, timeout};

use crate::Repository;

use super::{
    access::Transport,
    connector::ConnectError,
    error::ErrorKind,
    origin::{Link, Scheme},
    problem::Problem,
    wire::{self, Wire, WireId},
};

/// How long HTTPS is tried alone, as in Flux.
const HEAD_START: Duration = Duration::from_millis(300);
/// How long it is believed that a registry speaks HTTPS.
const HTTPS_HOLDS: Duration = Duration::from_mins(10);
/// Shorter, so that a registry that learns TLS is soon asked by it.
const HTTP_HOLDS: Duration = Duration::from_mins(2);
/// Registries that are remembered; beyond it what is soonest over is forgotten.
const MAX_SLOTS: usize = 1024;

/// What was found out, for the whole process.
#[derive(Default)]
pub(crate) struct Schemes {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    registry: String,
    transport: Transport,
    wire: WireId,
}

/// What is known of one registry.
#[derive(Default)]
struct Slot {
    found: Mutex<Option<Found>>,
    /// Held by who finds out.
    turn: tokio::sync::Mutex<()>,
    failures: AtomicU64,
}

#[derive(Clone, Copy)]
struct Found {
    scheme: Scheme,
    until: Instant,
}

/// The scheme of one session's registry.
pub(crate) struct Home {
    schemes: Arc<Schemes>,
    key: Key,
    /// Whether plain HTTP is possible at all.
    is_open: bool,
    wire: Wire,
}

impl Home {
    pub(crate) fn new(
        schemes: Arc<Schemes>,
        repository: &Repository,
        transport: Transport,
        wire: Wire,
    ) -> Self {
        Self {
            schemes,
            key: Key {
                registry: repository.registry().to_owned(),
                transport,
                wire: wire.id(),
            },
            is_open: transport == Transport::PlainHttpAllowed || is_exempt(repository.host()),
            wire,
        }
    }

    /// The scheme to speak. Sends something only if both are possible and nothing is known.
    pub(crate) async fn scheme(&self) -> Result<Scheme, Problem> {
        if !self.is_open {
            return Ok(Scheme::Https);
        }
        let slot = self.schemes.slot(&self.key, Instant::now());
        let failures = slot.failures.load(Ordering::Acquire);
        if let Some(scheme) = slot.known(Instant::now()) {
            return Ok(scheme);
        }
        let turn = slot.turn.lock().await;
        if let Some(scheme) = slot.known(Instant::now()) {
            return Ok(scheme);
        }
        // Whoever waited for a failure goes on beside the others: in a queue each would wait for all deadlines before.
        let _turn = (slot.failures.load(Ordering::Acquire) == failures).then_some(turn);
        match probe(&self.wire, &self.key.registry).await {
            Ok(scheme) => {
                slot.keep(scheme, Instant::now());
                Ok(scheme)
            }
            Err(problem) => {
                slot.failures.fetch_add(1, Ordering::AcqRel);
                Err(self.explained(problem))
            }
        }
    }

    /// The scheme to speak, if it is known; sends nothing.
    pub(crate) fn known(&self) -> Option<Scheme> {
        if !self.is_open {
            return Some(Scheme::Https);
        }
        let now = Instant::now();
        self.schemes.slot(&self.key, now).known(now)
    }

    /// Looks at a failure of a request by this scheme. If it speaks for the other one, what was found is forgotten, and
    /// the problem is one after which another attempt makes sense.
    pub(crate) fn doubt(&self, spoken: Scheme, problem: Problem) -> Problem {
        let (is_doubtful, is_certain) = doubts(&problem, spoken);
        if !self.is_open || !is_doubtful {
            return problem;
        }
        self.forget(spoken);
        if is_certain {
            Problem::OtherScheme(Box::new(problem))
        } else {
            problem
        }
    }

    /// Forgets what was found, if it is still this.
    pub(crate) fn forget(&self, spoken: Scheme) {
        self.schemes.slot(&self.key, Instant::now()).forget(spoken);
    }

    fn explained(&self, problem: Problem) -> Problem {
        match problem {
            Problem::Connect(error @ ConnectError::Certificate(_))
                if self.key.transport == Transport::PlainHttpAllowed =>
            {
                Problem::Verified(error)
            }
            other => other,
        }
    }
}

impl Schemes {
    fn slot(&self, key: &Key, now: Instant) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return slot.clone();
        }
        if slots.len() >= MAX_SLOTS {
            slots.retain(|_, slot| slot.known(now).is_some());
        }
        if slots.len() >= MAX_SLOTS {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.until());
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| slots.remove(&key));
        }
        slots.entry(key.clone()).or_default().clone()
    }
}

impl Slot {
    fn known(&self, now: Instant) -> Option<Scheme> {
        let found = (*self.lock())?;
        (now < found.until).then_some(found.scheme)
    }

    fn until(&self) -> Option<Instant> {
        self.lock().map(|found| found.until)
    }

    fn keep(&self, scheme: Scheme, now: Instant) {
        let holds = match scheme {
            Scheme::Https => HTTPS_HOLDS,
            Scheme::Http => HTTP_HOLDS,
        };
        let until = now + holds;
        *self.lock() = Some(Found { scheme, until });
    }

    fn forget(&self, spoken: Scheme) {
        let mut found = self.lock();
        if found.is_some_and(|found| found.scheme == spoken) {
            *found = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failure by one scheme speaks for the other, and whether it proves it.
fn doubts(problem: &Problem, spoken: Scheme) -> (bool, bool) {
    match (problem, spoken) {
        (Problem::Connect(error), Scheme::Https) => {
            (error.leaves_plain_http_open(), error.is_not_tls())
        }
        (Problem::NotHttp { .. }, Scheme::Http) => (true, true),
        // It was not even tried.
        (Problem::Connect(error), Scheme::Http) if error.kind() == ErrorKind::EgressDenied => {
            (false, false)
        }
        (Problem::Broken { .. } | Problem::Connect(_), Scheme::Http) => (true, false),
        _ => (false, false),
    }
}

/// Each way is tried once: a second try beside one that is not finished would wait for it where the host lets in one
/// request at a time.
async fn probe(wire: &Wire, registry: &str) -> Result<Scheme, Problem> {
    let mut secure = pin!(ping(wire, registry, Scheme::Https));
    match timeout(HEAD_START, &mut secure).await {
        Ok(Ok(())) => return Ok(Scheme::Https),
        Ok(Err(problem)) => return plain_after(problem, ping(wire, registry, Scheme::Http)).await,
        Err(_) => {}
    }
    match select(secure, pin!(ping(wire, registry, Scheme::Http))).await {
        Either::Left((Ok(()), _)) => Ok(Scheme::Https),
        Either::Right((Ok(()), _)) => Ok(Scheme::Http),
        Either::Left((Err(problem), plain)) => plain_after(problem, plain).await,
        Either::Right((Err(plain), secure)) => match secure.await {
            Ok(()) => Ok(Scheme::Https),
            Err(problem) => plain_after(problem, ready(Err(plain))).await,
        },
    }
}

/// Plain HTTP after HTTPS failed, if that failure leaves it open. If both fail, HTTPS is what is told of, unless the
/// other side does not speak TLS.
async fn plain_after(
    problem: Problem,
    plain: impl Future<Output = Result<(), Problem>>,
) -> Result<Scheme, Problem> {
    let (is_open, is_not_tls) = match &problem {
        Problem::Connect(error) => (error.leaves_plain_http_open(), error.is_not_tls()),
        // It is known already that nothing answers there.
        Problem::NotAsked { refusal, .. } => (refusal.is_unreachable(), false),
        _ => (false, false),
    };
    if !is_open {
        return Err(problem);
    }
    match plain.await {
        Ok(()) => Ok(Scheme::Http),
        Err(Problem::NotHttp { host }) if is_not_tls => Err(Problem::NeitherScheme { host }),
        Err(plain) if is_not_tls => Err(plain),
        Err(_) => Err(problem),
    }
}

/// Any answer of a registry will do. That is neither the one by which a TLS server tells that it was asked in plain
/// HTTP, nor a redirect (from port 80 to HTTPS, most likely), nor what a proxy on the way says for itself.
async fn ping(wire: &Wire, registry: &str, scheme: Scheme) -> Result<(), Problem> {
    let unusable = || Problem::Registry {
        registry: registry.to_owned(),
    };
    let link = Link::on(scheme, registry, "/v2/").ok_or_else(unusable)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(link.uri)
        .body(wire::empty())
        .map_err(|_| unusable())?;
    let response = wire
        .send(&link.origin, None, request, wire.timeouts.response)
        .await?;
    let status = response.status();
    if scheme == Scheme::Https {
        return Ok(());
    }
    let is_gateway = status == StatusCode::FORBIDDEN || status.is_server_error();
    if let Some(problem) = wire
        .refused_by_proxy(&link.origin, status)
        .filter(|_| is_gateway)
    {
        return Err(problem);
    }
    if status == StatusCode::BAD_REQUEST {
        return Err(Problem::NotHttp { host: link.origin });
    }
    if status.is_redirection() {
        return Err(Problem::PlainRedirect { host: link.origin });
    }
    Ok(())
}

/// The hosts that Flux speaks plain HTTP to without being told.
fn is_exempt(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback(),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, registry::proxy::route::RouteId};

    fn key(registry: usize, transport: Transport) -> Key {
        Key {
            registry: format!("r{registry}.example"),
            transport,
            wire: (Digest::sha256_of(b""), RouteId::Direct),
        }
    }

    #[test]
    fn what_was_found_holds_for_a_while_and_https_for_longer() {
        let now = Instant::now();
        let slot = Slot::default();
        assert_eq!(slot.known(now), None);
        slot.keep(Scheme::Http, now);
        assert_eq!(slot.known(now + HTTP_HOLDS / 2), Some(Scheme::Http));
        assert_eq!(slot.known(now + HTTP_HOLDS), None);
        slot.keep(Scheme::Https, now);
        assert_eq!(slot.known(now + HTTP_HOLDS), Some(Scheme::Https));
        assert_eq!(slot.known(now + HTTPS_HOLDS), None);
        slot.forget(Scheme::Http);
        assert_eq!(slot.known(now), Some(Scheme::Https));
        slot.forget(Scheme::Https);
        assert_eq!(slot.known(now), None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_is_soonest_over() {
        let (schemes, now) = (Schemes::default(), Instant::now());
        let open = Transport::PlainHttpAllowed;
        for registry in 0..MAX_SLOTS {
            let scheme = if registry == 7 {
                Scheme::Http
            } else {
                Scheme::Https
            };
            schemes.slot(&key(registry, open), now).keep(scheme, now);
        }
        schemes
            .slot(&key(MAX_SLOTS, open), now)
            .keep(Scheme::Https, now);
        assert_eq!(schemes.slots.lock().unwrap().len(), MAX_SLOTS);
        assert!(schemes.slot(&key(8, open), now).known(now).is_some());
        assert!(schemes.slot(&key(7, open), now).known(now).is_none());
    }

    #[test]
    fn who_is_not_allowed_plain_http_does_not_learn_from_who_is() {
        let (schemes, now) = (Schemes::default(), Instant::now());
        let open = schemes.slot(&key(1, Transport::PlainHttpAllowed), now);
        open.keep(Scheme::Http, now);
        assert_eq!(
            schemes.slot(&key(1, Transport::Https), now).known(now),
            None
        );
    }

    /// A name may lead to a forbidden address now and then: the one that it has besides speaks what it spoke.
    #[test]
    fn an_address_that_was_refused_says_nothing_of_the_scheme() {
        let (host, address) = (
            "r.example".to_owned(),
            "169.254.169.254:80".parse().unwrap(),
        );
        let refused = || ConnectError::Refused {
            host: host.clone(),
            address,
            refusal: crate::registry::Refusal::CloudMetadata,
        };
        let behind = ConnectError::Proxy {
            proxy: "http://proxy.example:80".to_owned(),
            target: host.clone(),
            cause: Box::new(refused()),
        };
        for refused in [refused(), behind] {
            let refused = Problem::Connect(refused);
            for scheme in [Scheme::Http, Scheme::Https] {
                assert_eq!(doubts(&refused, scheme), (false, false));
            }
        }
        let away = Problem::Connect(ConnectError::NoAddress { host });
        assert_eq!(doubts(&away, Scheme::Http), (true, false));
    }

    #[test]
    fn only_names_and_addresses_at_home_are_exempt() {
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
        ] {
            assert!(is_exempt(host), "{host}");
        }
        for host in [
            "ghcr.io",
            "localhost.example",
            "notlocalhost",
            "172.32.0.1",
            "8.8.8.8",
            "[fd00::1]",
            "127.0.0.1.example",
        ] {
            assert!(!is_exempt(host), "{host}");
        }
    }
}
