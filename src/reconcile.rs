// SPDX-License-Identifier: Apache-2.0
//! One run of one source, from trigger to verdict: read, decide, run, conclude, write.
//!
//! Enters as a [`SourceId`] that the engine says may run; leaves as a [`Verdict`] for the engine. Between runs it
//! remembers, per source, what was answered and how often it failed in a row; everything else is read anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use wharf_api::v1::OCIRepository;

use crate::{
    engine::{Verdict, Wake},
    pipeline::{self, Tools, as_stored, error::chain},
    ports::{PortError, Ports},
    source::{
        SourceId,
        plan::{Attempt, Observed, Plan, Stored, decide},
        report::{Failure, Outcome, Report, RunResult, Surroundings, conclude, progressing},
        schedule::{Next, Policy, Setback},
        spec::SourceSpec,
    },
    store::{ArtifactKey, Retention, StoreError},
    telemetry::Metrics,
};

/// Work that is done before this is not announced as being in progress.
const MOMENT: Duration = Duration::from_secs(2);

/// How sources are run, beside what their specs say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host[:port]` or a URL under which consumers reach the artifact server.
    pub advertised: String,
    /// How to wait between runs.
    pub policy: Policy,
    /// Which superseded artifacts are kept.
    pub retention: Retention,
}

/// Runs sources.
#[derive(Debug)]
pub struct Reconciler {
    ports: Ports,
    tools: Tools,
    settings: Settings,
    metrics: Metrics,
    memory: Mutex<HashMap<SourceId, Memory>>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    attempted: Option<Attempt>,
    failures: u32,
}

impl Reconciler {
    /// Wires it up.
    pub fn new(ports: Ports, tools: Tools, settings: Settings, metrics: Metrics) -> Self {
        Self {
            ports,
            tools,
            settings,
            metrics,
            memory: Mutex::default(),
        }
    }

    /// Runs one source. Never two at a time for the same source: the engine sees to that.
    pub async fn run(self: Arc<Self>, id: SourceId, wake: Wake) -> Verdict {
        match self.ports.sources.read(&id).await {
            Ok(Some(source)) => self.run_source(&id, source, wake).await,
            Ok(None) => self.forget(&id).await,
            Err(error) => self.unreadable(&id, &error),
        }
    }

    async fn run_source(&self, id: &SourceId, source: Arc<OCIRepository>, wake: Wake) -> Verdict {
        let start = Instant::now();
        let observed = self.observe(id, &source, wake);
        if decide(&source, &observed) == Plan::NotDue {
            return Verdict::Keep;
        }
        let observed = observed.with_stored(self.stored(id).await);
        let plan = decide(&source, &observed);
        let (outcome, source) = self.execute(id, plan, &observed, source).await;
        let report = conclude(&observed, &outcome, self.surroundings(&source));
        log(id, &outcome, &report);
        let verdict = self.write(id, &source, &report).await;
        self.metrics.observe_run(
            &id.namespace,
            &id.name,
            report.result.label(),
            start.elapsed(),
        );
        if report.result == RunResult::Success {
            self.retain(id).await;
        }
        verdict
    }

    fn observe(&self, id: &SourceId, source: &OCIRepository, wake: Wake) -> Observed {
        let memory = self.recall(id);
        let mut observed = Observed::of(source);
        observed.attempted = memory.attempted;
        observed.failures = memory.failures;
        observed.is_due = wake.is_due;
        observed
    }

    /// What the store really has: a name whose bytes are gone or have another size counts for nothing, so that they are
    /// fetched again.
    async fn stored(&self, id: &SourceId) -> Option<Stored> {
        let key = ArtifactKey::new(&id.namespace, &id.name).ok()?;
        let artifact = self.tools.store.current(&key)?;
        let store = self.tools.store.clone();
        let digest = artifact.digest.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let opened = store.open_blob(&digest).map(drop);
            if let Err(StoreError::NoBlob(_) | StoreError::Damaged { .. }) = opened {
                store.discard_blob(&digest)?;
            }
            opened
        });
        match opened.await {
            Ok(Ok(())) => Some(as_stored(&artifact)),
            Ok(Err(error)) => {
                tracing::warn!(source = %id, error = %chain(&error), "a stored artifact is lost, it will be made again");
                None
            }
            Err(_) => None,
        }
    }

    /// Carries out the plan. The object comes back as it stands, because saying that the work takes long changes it.
    async fn execute(
        &self,
        id: &SourceId,
        plan: Plan,
        observed: &Observed,
        source: Arc<OCIRepository>,
    ) -> (Outcome, Arc<OCIRepository>) {
        let plan = match plan {
            Plan::Fetch(plan) => plan,
            Plan::Stalled(error) => return (Outcome::Stalled(error), source),
            Plan::Suspended | Plan::NotDue => return (Outcome::Suspended, source),
        };
        let work = pipeline::run(
            id,
            &observed.uid,
            &plan,
            self.ports.secrets.as_ref(),
            &self.tools,
        );
        tokio::pin!(work);
        tokio::select! {
            outcome = &mut work => return (outcome, source),
            () = tokio::time::sleep(MOMENT) => {}
        }
        let status = progressing(observed, Timestamp::now());
        // The work goes on while this is written; that it cannot be written is no reason to stop it.
        let (outcome, written) = tokio::join!(work, self.ports.status.write(&source, &status));
        (outcome, written.unwrap_or(source))
    }

    async fn write(&self, id: &SourceId, source: &OCIRepository, report: &Report) -> Verdict {
        if let Err(error) = self.ports.status.write(source, &report.status).await {
            return self.unwritten(id, &error);
        }
        for event in &report.events {
            self.ports.events.publish(source, event).await;
        }
        self.remember(
            id,
            Memory {
                attempted: Some(Attempt::of(source)),
                failures: report.failures,
            },
        );
        Verdict::Schedule(report.next)
    }

    fn surroundings<'a>(&'a self, source: &'a OCIRepository) -> Surroundings<'a> {
        let interval = SourceSpec::try_from(source)
            .map(|spec| spec.interval)
            .unwrap_or_default();
        Surroundings {
            now: Timestamp::now(),
            advertised: &self.settings.advertised,
            policy: &self.settings.policy,
            random: fastrand::f64(),
            url: &source.spec.url,
            interval,
        }
    }

    /// The object is gone: so are its artifacts, and everything that was remembered.
    async fn forget(&self, id: &SourceId) -> Verdict {
        self.lock().remove(id);
        self.metrics.forget(&id.namespace, &id.name);
        if let Ok(key) = ArtifactKey::new(&id.namespace, &id.name) {
            let store = self.tools.store.clone();
            match tokio::task::spawn_blocking(move || store.remove(&key)).await {
                Ok(Ok(())) => {
                    tracing::info!(source = %id, "source is gone, its artifacts were removed");
                }
                Ok(Err(error)) => {
                    tracing::warn!(source = %id, error = %chain(&error), "could not remove the artifacts of a deleted source");
                    return Verdict::Schedule(self.after_failure(4));
                }
                Err(error) => {
                    tracing::error!(source = %id, error = %error, "removing artifacts was interrupted");
                }
            }
        }
        Verdict::Forget
    }

    /// Keeps the disk small. A failure costs space, not correctness, and the next run tries again.
    async fn retain(&self, id: &SourceId) {
        let Ok(key) = ArtifactKey::new(&id.namespace, &id.name) else {
            return;
        };
        let (store, retention) = (self.tools.store.clone(), self.settings.retention);
        let done = tokio::task::spawn_blocking(move || {
            store.forget_superseded(&key, &retention, Timestamp::now())
        })
        .await;
        if let Ok(Err(error)) = done {
            tracing::warn!(source = %id, error = %chain(&error), "could not remove superseded artifacts");
        }
    }

    fn unreadable(&self, id: &SourceId, error: &PortError) -> Verdict {
        if let PortError::NotOurs { .. } = error {
            tracing::info!(source = %id, "the source left the label selector, its artifacts stay");
            self.lock().remove(id);
            self.metrics.forget(&id.namespace, &id.name);
            return Verdict::Forget;
        }
        tracing::warn!(source = %id, error = %chain(error), "could not read the source");
        self.try_again(id)
    }

    /// What was not written was not said: the next run must say it, even if nothing else changes.
    fn unwritten(&self, id: &SourceId, error: &PortError) -> Verdict {
        match error {
            // It is no failure: the next run starts from the new state.
            PortError::Conflict { .. } => {
                tracing::debug!(source = %id, "the object changed during the run");
                let failures = self.recall(id).failures;
                let attempted = None;
                self.remember(
                    id,
                    Memory {
                        attempted,
                        failures,
                    },
                );
                return Verdict::Schedule(Next::After(MOMENT));
            }
            PortError::NotFound { .. } => tracing::debug!(source = %id, "the object is gone"),
            _ => tracing::warn!(source = %id, error = %chain(error), "could not write the status"),
        }
        self.try_again(id)
    }

    fn try_again(&self, id: &SourceId) -> Verdict {
        let failures = self.recall(id).failures.saturating_add(1);
        self.remember(
            id,
            Memory {
                attempted: None,
                failures,
            },
        );
        Verdict::Schedule(self.after_failure(failures))
    }

    fn after_failure(&self, failures: u32) -> Next {
        let policy = &self.settings.policy;
        policy.after_failure(failures, Setback::Failed, fastrand::f64())
    }

    fn recall(&self, id: &SourceId) -> Memory {
        self.lock().get(id).cloned().unwrap_or_default()
    }

    fn remember(&self, id: &SourceId, memory: Memory) {
        self.lock().insert(id.clone(), memory);
    }

    /// Every critical section is a single map operation, so a poisoned map is still a whole one.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SourceId, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(id: &SourceId, outcome: &Outcome, report: &Report) {
    let (name, namespace) = (&id.name, &id.namespace);
    let next = match report.next {
        Next::After(wait) => format!("{:.1}s", wait.as_secs_f64()),
        Next::Never => "on change".to_owned(),
    };
    match outcome {
        Outcome::Stored(stored, warnings) => {
            tracing::info!(controllerKind = "OCIRepository", name, namespace, revision = stored.revision, digest = %stored.digest, next, "stored artifact");
            for known in warnings {
                tracing::warn!(
                    controllerKind = "OCIRepository",
                    name,
                    namespace,
                    reason = known.reason,
                    "{}",
                    known.message
                );
            }
        }
        Outcome::Unchanged(stored) => {
            tracing::debug!(
                controllerKind = "OCIRepository",
                name,
                namespace,
                revision = stored.revision,
                next,
                "artifact up-to-date"
            );
        }
        Outcome::Suspended => {
            tracing::info!(
                controllerKind = "OCIRepository",
                name,
                namespace,
                "reconciliation is suspended"
            );
        }
        Outcome::Stalled(error) => {
            tracing::error!(controllerKind = "OCIRepository", name, namespace, error = %error, "stalled until the object changes");
        }
        // It comes back every few seconds as long as its host is not asked; what is new is also an event.
        Outcome::Failed(failure) if is_held_back(failure) && report.events.is_empty() => {
            tracing::debug!(
                controllerKind = "OCIRepository",
                name,
                namespace,
                error = failure.message,
                next,
                "reconciliation is still held back"
            );
        }
        Outcome::Failed(failure) => {
            tracing::error!(
                controllerKind = "OCIRepository",
                name,
                namespace,
                reason = failure.reason,
                error = failure.message,
                next,
                "reconciliation failed"
            );
        }
    }
}

fn is_held_back(failure: &Failure) -> bool {
    matches!(failure.setback, Setback::HeldBack(_))
}
