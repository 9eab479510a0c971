// SPDX-License-Identifier: Apache-2.0
//! How much each host is asked, by the whole process.
//!
//! What it is: a gate per host that every request passes ([`Flow::enter`]), whoever sends it: registries, token services
//! and redirect targets alike, each under its own scheme, name and port. It keeps to what the host asks for
//! (`Retry-After`, `RateLimit-*`), to a number of requests at the same time, to a rate where one is set, and leaves a host
//! alone that does not work (circuit breaker). Operations ask here as well whether they may be tried again
//! ([`Flow::may_retry`]), so that an outage is not answered with three times the load.
//!
//! What it is not: it sends nothing, repeats nothing and knows no operation. It is one for all tenants, because the host
//! sees one client: what a host says to one of them holds for all, for at most `state::LONGEST_WINDOW` at a time. That is
//! so for a 429 to one account as well: a host does not tell whether it counts by account or by address, and if it is the
//! latter each account that asks on makes it worse. But only what the host says itself, when asked by who means it: see
//! [`way`] for proxies that tenants bring and for hosts that a registry leads to. Who was led to a host passes two gates,
//! one that is theirs, where all that happens counts, and the host's own, which binds them and learns nothing bad of them.
//!
//! Plain HTTP and HTTPS of a host are two, each with all that is allowed for the host.
//!
//! How data flows: `verdict` turns the head of an answer (or its lack) into what it says of the host, with `wishes` for
//! the headers; `state` decides, with `breaker` and `bucket`; all of these are pure. `gate` waits and wakes; `stats` is
//! what can be seen from outside.

mod breaker;
mod bucket;
mod gate;
mod refusal;
mod state;
mod stats;
mod verdict;
mod way;
pub(crate) mod wishes;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    hosts::{HostLimits, Hosts},
    origin::Origin,
    problem::Problem,
};

use gate::Gate;
use stats::Counts;
use way::Key;

pub(crate) use gate::{Slot, Ticket};
pub(crate) use refusal::{Refusal, refused};
pub(crate) use state::Patience;
pub use stats::{HostStatus, Stats};
pub(crate) use way::Way;
pub use wishes::RateLimit;

/// Hosts that are remembered. More than a controller has; a list of hosts that somebody makes up does not grow beyond
/// it, and pushes out those first of which there is nothing to be remembered.
const MAX_HOSTS: usize = 1024;

/// The gates of all hosts.
#[derive(Debug)]
pub(crate) struct Flow {
    hosts: Hosts,
    patience: Patience,
    counts: Arc<Counts>,
    table: Mutex<Table>,
}

impl Flow {
    pub(crate) fn new(hosts: Hosts, patience: Patience) -> Self {
        Self {
            hosts,
            patience,
            counts: Arc::default(),
            table: Mutex::default(),
        }
    }

    /// Waits until a request may be sent. `led_by` is the registry that led to the host, where that is another one.
    pub(crate) async fn enter(&self, to: &Way, led_by: Option<&Way>) -> Result<Ticket, Problem> {
        let came = Instant::now();
        let first = self.gate(to, led_by).enter(self.patience).await?;
        if led_by.is_none() {
            return Ok(first);
        }
        let left = self.patience.after(came.elapsed());
        first.beside(&self.gate(to, None), left).await
    }

    /// For how long a host is left alone now because it does not work.
    pub(crate) fn broken_for(&self, to: &Way, led_by: Option<&Way>) -> Option<Duration> {
        let now = Instant::now();
        let of = |led_by| self.gate(to, led_by).status(now).broken_for;
        of(led_by).max(of(None))
    }

    /// Whether an operation may be tried again that failed at a host. Counted either way.
    pub(crate) fn may_retry(&self, to: &Way, led_by: Option<&Way>) -> bool {
        let may = self.gate(to, led_by).may_retry();
        self.counts.retried(may);
        may
    }

    /// An operation is tried again because its host said when.
    pub(crate) fn retried_as_asked(&self) {
        self.counts.retried(true);
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counts.stats();
        for host in self.statuses() {
            let is_led = host.led_by.is_some();
            stats.hosts += u64::from(!is_led);
            stats.hosts_closed += u64::from(host.closed_for.is_some());
            stats.hosts_broken += u64::from(host.broken_for.is_some());
            // Who was led to a host is under way at its own gate as well.
            stats.in_flight += u64::from(if is_led { 0 } else { host.in_flight });
            stats.waiting += u64::from(host.waiting);
            let remaining = host.rate_limit.and_then(|limit| limit.remaining);
            stats.lowest_remaining = [stats.lowest_remaining, remaining]
                .into_iter()
                .flatten()
                .min();
        }
        stats
    }

    pub(crate) fn statuses(&self) -> Vec<HostStatus> {
        let now = Instant::now();
        let gates: Vec<_> =
            self.with(|table| table.gates.values().map(|(_, gate)| gate.clone()).collect());
        let mut statuses: Vec<_> = gates.iter().map(|gate| gate.status(now)).collect();
        let place = |status: &HostStatus| {
            let HostStatus { host, led_by, .. } = status;
            (host.clone(), led_by.clone(), status.is_through_proxy)
        };
        statuses.sort_by_cached_key(place);
        statuses
    }

    fn gate(&self, to: &Way, led_by: Option<&Way>) -> Arc<Gate> {
        let key = Key {
            to: to.clone(),
            led_by: led_by.cloned(),
        };
        self.with(|table| {
            table.gate(&key, || {
                let mut limits = self.limits(&to.origin);
                // What is set for the host is counted where all pass.
                limits.rate = limits.rate.filter(|_| led_by.is_none());
                Gate::new(key.clone(), limits, self.counts.clone())
            })
        })
    }

    /// Settings are written by the name that stands in references: without a port, where that is the usual one.
    fn limits(&self, origin: &Origin) -> HostLimits {
        let with_port = format!("{}:{}", origin.host, origin.port);
        let bare = origin
            .has_default_port()
            .then(|| self.hosts.of(&origin.host))
            .flatten();
        let host = bare.or_else(|| self.hosts.of(&with_port));
        host.map(|host| host.limits).unwrap_or_default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The gates, with when they were last asked for.
#[derive(Debug, Default)]
struct Table {
    clock: u64,
    gates: HashMap<Key, (u64, Arc<Gate>)>,
}

impl Table {
    fn gate(&mut self, key: &Key, make: impl FnOnce() -> Gate) -> Arc<Gate> {
        self.clock += 1;
        if let Some((used, gate)) = self.gates.get_mut(key) {
            *used = self.clock;
            return gate.clone();
        }
        if self.gates.len() >= MAX_HOSTS {
            self.forget_one();
        }
        let gate = Arc::new(make());
        self.gates.insert(key.clone(), (self.clock, gate.clone()));
        gate
    }

    /// Those first that nothing is to be remembered of, then those that are one tenant's business.
    fn forget_one(&mut self) {
        let now = Instant::now();
        let rank = |(key, (used, gate)): &(&Key, &(u64, Arc<Gate>))| {
            let matters = gate.matters(now);
            (matters, matters && key.is_for_all(), *used)
        };
        let least = self.gates.iter().min_by_key(rank);
        let least = least.map(|(key, _)| key.clone());
        least.map(|key| self.gates.remove(&key));
    }
}

#[cfg(test)]
mod tests;
