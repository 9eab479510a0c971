// SPDX-License-Identifier: Apache-2.0
//! The metrics, as methods on a value that is handed to whoever counts.
//!
//! Names and buckets of what Flux has are Flux's (contract 8.2). Every label is an object's identity, removed with the
//! object, or a word from a fixed list; URLs, tags, hosts and error texts are none.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets_range},
        info::Info,
    },
    registry::Registry,
};

use super::registries::{Registries, RegistryCounts};

const KIND: &str = "OCIRepository";

/// All metrics of one process. Clones count into the same.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    registry: Registry,
    durations: Family<Object, Histogram, fn() -> Histogram>,
    results: Family<RunLabels, Counter>,
    store_bytes: Gauge,
    store_artifacts: Gauge,
    queue_depth: Gauge,
    dials: Counter,
    refused_dials: Family<Reason, Counter>,
    registries: Registries,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Object {
    kind: &'static str,
    name: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Metrics that have counted nothing, and say that they are of this version.
    pub fn new() -> Self {
        let mut metrics = Shared {
            registry: Registry::default(),
            durations: Family::new_with_constructor(duration_histogram),
            results: Family::default(),
            store_bytes: Gauge::default(),
            store_artifacts: Gauge::default(),
            queue_depth: Gauge::default(),
            dials: Counter::default(),
            refused_dials: Family::default(),
            registries: Registries::default(),
        };
        metrics.register();
        Self(Arc::new(metrics))
    }

    /// A run for an object ended. `result` is a word from a fixed list.
    pub fn observe_run(&self, namespace: &str, name: &str, result: &'static str, took: Duration) {
        let object = Object::new(namespace, name);
        let durations = self.0.durations.get_or_create(&object);
        durations.observe(took.as_secs_f64());
        self.0.results.get_or_create(&RunLabels { result }).inc();
    }

    /// An object is gone, and so are its series.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.0.durations.remove(&Object::new(namespace, name));
    }

    /// How much the store holds.
    pub fn set_store(&self, bytes: u64, artifacts: u64) {
        self.0.store_bytes.set(saturated(bytes));
        self.0.store_artifacts.set(saturated(artifacts));
    }

    /// How many objects wait for their turn.
    pub fn set_queue_depth(&self, depth: usize) {
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        self.0.queue_depth.set(depth);
    }

    /// How many addresses of registries were dialled since the start, and how many were refused, by a reason from a
    /// fixed list.
    pub fn set_dials(&self, made: u64, refused: impl IntoIterator<Item = (&'static str, u64)>) {
        self.0.dials.inner().store(made, Ordering::Relaxed);
        for (reason, count) in refused {
            let counter = self.0.refused_dials.get_or_create(&Reason { reason });
            counter.inner().store(count, Ordering::Relaxed);
        }
    }

    /// What the registry client has counted so far.
    pub fn set_registries(&self, counts: &RegistryCounts) {
        self.0.registries.set(counts);
    }

    /// Everything in the `OpenMetrics` text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Shared {
    // The library adds `_total` to counters and `_info` to the last one.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "gotk_reconcile_duration_seconds",
            "How long a reconciliation of the object took",
            self.durations.clone(),
        );
        registry.register(
            "wharf_reconcile",
            "Reconciliations by their result",
            self.results.clone(),
        );
        registry.register(
            "wharf_store_bytes",
            "Bytes of the artifacts in the store",
            self.store_bytes.clone(),
        );
        registry.register(
            "wharf_store_artifacts",
            "Artifacts in the store",
            self.store_artifacts.clone(),
        );
        registry.register(
            "wharf_queue_depth",
            "Objects that wait for their turn",
            self.queue_depth.clone(),
        );
        registry.register(
            "wharf_registry_dials",
            "Connections to addresses of registries that were begun",
            self.dials.clone(),
        );
        registry.register(
            "wharf_registry_dials_refused",
            "Addresses and hosts that the egress rules refused",
            self.refused_dials.clone(),
        );
        self.registries.register(registry);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("wharf_build", "The version of this process", version);
    }
}

impl Object {
    fn new(namespace: &str, name: &str) -> Self {
        Self {
            kind: KIND,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }
    }
}

// Flux's buckets: ten from 10 ms to half an hour.
fn duration_histogram() -> Histogram {
    Histogram::new(exponential_buckets_range(0.01, 1800.0, 10))
}

pub(super) fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics, start: &str) -> Vec<String> {
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn the_duration_of_runs_has_flux_s_name_labels_and_buckets() {
        let metrics = Metrics::new();
        metrics.observe_run("apps", "web", "success", Duration::from_millis(20));
        let buckets = lines(&metrics, "gotk_reconcile_duration_seconds_bucket");
        assert_eq!(buckets.len(), 11);
        for label in [
            "kind=\"OCIRepository\"",
            "name=\"web\"",
            "namespace=\"apps\"",
        ] {
            assert!(buckets.iter().all(|line| line.contains(label)), "{label}");
        }
        let bounds: Vec<f64> = buckets
            .iter()
            .map(|line| {
                line.split("le=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
            })
            .map(|bound| bound.replace("+Inf", "inf").parse().unwrap())
            .collect();
        let factor = 180_000_f64.powf(1.0 / 9.0);
        for (n, bound) in (0..10).zip(&bounds) {
            let expected = 0.01 * factor.powi(n);
            assert!(
                (bound / expected - 1.0).abs() < 1e-9,
                "{bound} is not {expected}"
            );
        }
        assert!(
            buckets[0].ends_with(" 0") && buckets[1].ends_with(" 1"),
            "{buckets:?}"
        );
    }

    #[test]
    fn series_of_an_object_go_with_it() {
        let metrics = Metrics::new();
        metrics.observe_run("apps", "web", "success", Duration::ZERO);
        let before = metrics.render().lines().count();
        for n in 0..10_000 {
            let name = format!("app-{n}");
            metrics.observe_run("apps", &name, "success", Duration::ZERO);
            metrics.forget("apps", &name);
        }
        metrics.forget("apps", "never-was");
        assert_eq!(metrics.render().lines().count(), before);
    }

    #[test]
    fn every_metric_is_rendered_under_its_documented_name() {
        let metrics = Metrics::new();
        metrics.observe_run("apps", "web", "failure", Duration::ZERO);
        metrics.set_store(1 << 40, 3);
        metrics.set_queue_depth(7);
        metrics.set_dials(4, [("link_local", 1)]);
        metrics.set_dials(5, [("link_local", 2)]);
        let text = metrics.clone().render();
        for line in [
            "wharf_reconcile_total{result=\"failure\"} 1",
            "wharf_store_bytes 1099511627776",
            "wharf_store_artifacts 3",
            "wharf_queue_depth 7",
            "wharf_registry_dials_total 5",
            "wharf_registry_dials_refused_total{reason=\"link_local\"} 2",
            concat!(
                "wharf_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn numbers_that_do_not_fit_are_the_largest_there_is() {
        let metrics = Metrics::new();
        metrics.set_store(u64::MAX, u64::MAX);
        metrics.set_queue_depth(usize::MAX);
        assert_eq!(
            lines(&metrics, "wharf_store_bytes "),
            [format!("wharf_store_bytes {}", i64::MAX)]
        );
    }
}
