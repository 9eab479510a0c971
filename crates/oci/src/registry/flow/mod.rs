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
//! sees one client: what a host says to one of them holds for all, for at most `state::LONGEST_WINDOW` at a time.
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

pub(crate) use gate::{Slot, Ticket};
pub(crate) use refusal::{Refusal, refused};
pub(crate) use state::Patience;
pub use stats::{HostStatus, Stats};
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

    /// Waits until a request may be sent to a host.
    pub(crate) async fn enter(&self, origin: &Origin) -> Result<Ticket, Problem> {
        self.gate(origin).enter(self.patience).await
    }

    /// For how long a host is left alone now because it does not work.
    pub(crate) fn broken_for(&self, origin: &Origin) -> Option<Duration> {
        self.gate(origin).status(Instant::now()).broken_for
    }

    /// Whether an operation may be tried again that failed at a host. Counted either way.
    pub(crate) fn may_retry(&self, origin: &Origin) -> bool {
        let may = self.gate(origin).may_retry();
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
            stats.hosts += 1;
            stats.hosts_closed += u64::from(host.closed_for.is_some());
            stats.hosts_broken += u64::from(host.broken_for.is_some());
            stats.in_flight += u64::from(host.in_flight);
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
        statuses.sort_by(|a, b| a.host.cmp(&b.host));
        statuses
    }

    fn gate(&self, origin: &Origin) -> Arc<Gate> {
        self.with(|table| {
            table.gate(origin, || {
                Gate::new(origin.clone(), self.limits(origin), self.counts.clone())
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

/// The gates by host, with when they were last asked for.
#[derive(Debug, Default)]
struct Table {
    clock: u64,
    gates: HashMap<Origin, (u64, Arc<Gate>)>,
}

impl Table {
    fn gate(&mut self, origin: &Origin, make: impl FnOnce() -> Gate) -> Arc<Gate> {
        self.clock += 1;
        if let Some((used, gate)) = self.gates.get_mut(origin) {
            *used = self.clock;
            return gate.clone();
        }
        if self.gates.len() >= MAX_HOSTS {
            self.forget_one();
        }
        let gate = Arc::new(make());
        self.gates
            .insert(origin.clone(), (self.clock, gate.clone()));
        gate
    }

    fn forget_one(&mut self) {
        let now = Instant::now();
        let rank = |(_, (used, gate)): &(&Origin, &(u64, Arc<Gate>))| (gate.matters(now), *used);
        let least = self
            .gates
            .iter()
            .min_by_key(rank)
            .map(|(origin, _)| origin.clone());
        least.map(|origin| self.gates.remove(&origin));
    }
}

#[cfg(test)]
mod tests;
