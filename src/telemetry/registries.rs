// SPDX-License-Identifier: Apache-2.0
//! The metrics of the registry client.
//!
//! The client counts by itself; its numbers enter as [`RegistryCounts`] when somebody looks, and leave with all other
//! metrics. No host is a label: there are as many as tenants care to name. Mirrors are summed up too, so that the rule has no
//! exception; the log names the one that was passed over.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::metrics::saturated;

/// What the registry client has counted by itself, as it is shown: every word in it is from a fixed list.
#[derive(Clone, Debug, Default)]
pub struct RegistryCounts {
    /// Requests that were sent, by status or class of status.
    pub requests: Vec<(&'static str, u64)>,
    /// Requests that were not sent, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Operations that were tried again.
    pub retries: u64,
    /// Operations that were not tried again because too many were.
    pub retries_refused: u64,
    /// Requests that waited for their turn.
    pub waits: u64,
    /// How long they did.
    pub waited: Duration,
    /// How often a host asked for no requests for a while.
    pub closings: u64,
    /// How often a host was left alone because it failed.
    pub breaker_opens: u64,
    /// Hosts that asked for no requests now.
    pub hosts_closed: u64,
    /// Hosts that are left alone now because they failed.
    pub hosts_broken: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// The lowest number of requests that any host says are left.
    pub lowest_remaining: Option<u64>,
    /// Operations that a mirror answered.
    pub mirrors_served: u64,
    /// Operations that a mirror failed, after which the next one or the registry was asked.
    pub mirrors_failed: u64,
    /// Mirrors that are left alone now.
    pub mirrors_resting: u64,
}

/// How the counts of the registry client are shown.
#[derive(Default)]
pub(super) struct Registries {
    requests: Family<CodeLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    retries: Counter,
    retries_refused: Counter,
    waits: Counter,
    waited: Counter<f64, AtomicU64>,
    closings: Counter,
    breaker_opens: Counter,
    hosts: Family<StateLabels, Gauge>,
    in_flight: Gauge,
    waiting: Gauge,
    /// Without a series as long as no host has said anything.
    lowest_remaining: Family<NoLabels, Gauge>,
    mirror_reads: Family<ResultLabels, Counter>,
    mirrors_resting: Gauge,
}

/// Only a family can take a series away again.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl Registries {
    pub(super) fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "wharf_registry_retries",
                "Operations on registries that were tried again",
                &self.retries,
            ),
            (
                "wharf_registry_retries_refused",
                "Operations on registries that were not tried again because their host's retry budget was spent",
                &self.retries_refused,
            ),
            (
                "wharf_registry_waits",
                "Requests to registries that waited for their turn",
                &self.waits,
            ),
            (
                "wharf_registry_closings",
                "How often a host asked for no more requests for a while",
                &self.closings,
            ),
            (
                "wharf_registry_breaker_opens",
                "How often a host was left alone because its requests failed",
                &self.breaker_opens,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "wharf_registry_requests",
            "Requests to registries, token services and storage by status",
            self.requests.clone(),
        );
        registry.register(
            "wharf_registry_requests_refused",
            "Requests that were not sent by reason",
            self.refused.clone(),
        );
        registry.register(
            "wharf_registry_wait_seconds",
            "How long requests to registries waited for their turn",
            self.waited.clone(),
        );
        registry.register(
            "wharf_registry_mirror_reads",
            "Reads that mirrors answered (served), and those that went on to the next mirror or the registry (failed)",
            self.mirror_reads.clone(),
        );
        self.register_gauges(registry);
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register(
            "wharf_registry_hosts_suspended",
            "Hosts that are not asked now: they asked for it (closed) or failed (broken)",
            self.hosts.clone(),
        );
        registry.register(
            "wharf_registry_requests_in_flight",
            "Requests to registries that are under way",
            self.in_flight.clone(),
        );
        registry.register(
            "wharf_registry_requests_waiting",
            "Requests to registries that wait for their turn",
            self.waiting.clone(),
        );
        registry.register(
            "wharf_registry_ratelimit_remaining_lowest",
            "The lowest number of requests that any host says are left",
            self.lowest_remaining.clone(),
        );
        registry.register(
            "wharf_registry_mirrors_resting",
            "Mirrors that are not asked now because they did not work",
            self.mirrors_resting.clone(),
        );
    }

    pub(super) fn set(&self, counts: &RegistryCounts) {
        for (code, number) in &counts.requests {
            store(&self.requests.get_or_create(&CodeLabels { code }), *number);
        }
        for (reason, number) in &counts.refused {
            store(
                &self.refused.get_or_create(&ReasonLabels { reason }),
                *number,
            );
        }
        store(&self.retries, counts.retries);
        store(&self.retries_refused, counts.retries_refused);
        store(&self.waits, counts.waits);
        let waited = counts.waited.as_secs_f64().to_bits();
        self.waited.inner().store(waited, Ordering::Relaxed);
        store(&self.closings, counts.closings);
        store(&self.breaker_opens, counts.breaker_opens);
        for (state, number) in [
            ("closed", counts.hosts_closed),
            ("broken", counts.hosts_broken),
        ] {
            let gauge = self.hosts.get_or_create(&StateLabels { state });
            gauge.set(saturated(number));
        }
        for (result, number) in [
            ("served", counts.mirrors_served),
            ("failed", counts.mirrors_failed),
        ] {
            let labels = ResultLabels { result };
            store(&self.mirror_reads.get_or_create(&labels), number);
        }
        self.mirrors_resting.set(saturated(counts.mirrors_resting));
        self.in_flight.set(saturated(counts.in_flight));
        self.waiting.set(saturated(counts.waiting));
        match counts.lowest_remaining {
            Some(number) => {
                let gauge = self.lowest_remaining.get_or_create(&[]);
                gauge.set(saturated(number));
            }
            None => {
                self.lowest_remaining.remove(&[]);
            }
        }
    }
}

/// The client counts; here it is only shown.
fn store(counter: &Counter, number: u64) {
    counter.inner().store(number, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn what_the_registry_client_counted_is_shown() {
        let metrics = Metrics::new();
        let counts = RegistryCounts {
            requests: vec![("2xx", 7), ("429", 2)],
            refused: vec![("closed", 3)],
            retries: 4,
            waited: Duration::from_millis(1500),
            hosts_broken: 1,
            in_flight: 5,
            lowest_remaining: Some(76),
            mirrors_served: 8,
            mirrors_resting: 1,
            ..RegistryCounts::default()
        };
        metrics.set_registries(&counts);
        metrics.set_registries(&counts);
        let text = metrics.render();
        for line in [
            "wharf_registry_requests_total{code=\"2xx\"} 7",
            "wharf_registry_requests_total{code=\"429\"} 2",
            "wharf_registry_requests_refused_total{reason=\"closed\"} 3",
            "wharf_registry_retries_total 4",
            "wharf_registry_retries_refused_total 0",
            "wharf_registry_waits_total 0",
            "wharf_registry_wait_seconds_total 1.5",
            "wharf_registry_closings_total 0",
            "wharf_registry_breaker_opens_total 0",
            "wharf_registry_hosts_suspended{state=\"closed\"} 0",
            "wharf_registry_hosts_suspended{state=\"broken\"} 1",
            "wharf_registry_requests_in_flight 5",
            "wharf_registry_requests_waiting 0",
            "wharf_registry_ratelimit_remaining_lowest{} 76",
            "wharf_registry_mirror_reads_total{result=\"served\"} 8",
            "wharf_registry_mirror_reads_total{result=\"failed\"} 0",
            "wharf_registry_mirrors_resting 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        metrics.set_registries(&RegistryCounts::default());
        let unknown = metrics.render();
        let series = "\nwharf_registry_ratelimit_remaining_lowest{";
        assert!(!unknown.contains(series), "{unknown}");
    }
}
