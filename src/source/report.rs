// SPDX-License-Identifier: Apache-2.0
//! What to say about a source after a run: status, events, next run.
//!
//! Enters as what was observed before and the [`Outcome`] of the run; leaves as a [`Report`], which is data: cluster mode
//! patches it into the object, standalone mode writes it to a file. Source: the contract, sections 2.4 to 2.14.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use wharf_api::{
    Condition,
    v1::{Artifact, OCIRepositoryStatus},
};

use super::{
    conditions::Conditions,
    plan::{Observed, Stored},
    schedule::{Next, Policy, Setback},
    spec::SpecError,
};

/// Flux writes this while and after an attempt that did not succeed.
const IN_PROGRESS: &str = "reconciliation in progress";
/// How much of a manifest's annotations goes into a status: etcd is no place for megabytes.
const MAX_METADATA_KEYS: usize = 32;
const MAX_METADATA_KEY: usize = 128;
const MAX_METADATA_VALUE: usize = 1024;

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// The object is suspended.
    Suspended,
    /// The spec cannot be acted on.
    Stalled(SpecError),
    /// The registry still has what is stored.
    Unchanged(Stored),
    /// A new artifact was stored. Each warning becomes an event.
    Stored(Stored, Vec<Warning>),
    /// A step failed.
    Failed(Failure),
}

/// Something the owner should know about an artifact that was stored all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The event's reason.
    pub reason: &'static str,
    /// The event's text.
    pub message: String,
}

/// Which condition a failure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// `FetchFailed`: credentials, registry, content.
    Fetch,
    /// `StorageOperationFailed`: our own disk.
    Storage,
    /// `SourceVerified=False`: a signature.
    Verification,
}

/// A failed step, in the words for the object's owner.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which condition.
    pub kind: FailureKind,
    /// The reason, from the contract's list.
    pub reason: &'static str,
    /// What was tried, on what, and what to do.
    pub message: String,
    /// What it means for the next run.
    pub setback: Setback,
    /// The revision that was seen upstream before the step failed.
    pub seen: Option<String>,
}

/// The words for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// Stored or unchanged.
    Success,
    /// A step failed; it will be tried again.
    Failure,
    /// Nothing can be done until the object changes.
    Stalled,
    /// Suspended.
    Suspended,
}

impl RunResult {
    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Stalled => "stalled",
            Self::Suspended => "suspended",
        }
    }
}

/// A Kubernetes event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `Warning` rather than `Normal`.
    pub is_warning: bool,
    /// The reason.
    pub reason: String,
    /// The text.
    pub message: String,
    /// Annotations, such as the revision.
    pub annotations: BTreeMap<String, String>,
}

/// What to say and when to look again.
#[derive(Debug)]
pub struct Report {
    /// The next status, whole.
    pub status: OCIRepositoryStatus,
    /// What to announce.
    pub events: Vec<Event>,
    /// When to run next.
    pub next: Next,
    /// How the run counts.
    pub result: RunResult,
    /// Failures in a row, this run included.
    pub failures: u32,
}

/// What `conclude` needs beside the object: the outside world as values.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The time.
    pub now: Timestamp,
    /// `host[:port]` or a URL under which consumers reach the artifact server.
    pub advertised: &'a str,
    /// How to wait.
    pub policy: &'a Policy,
    /// Uniform in `0.0..1.0`.
    pub random: f64,
    /// The source's URL, for the event's text.
    pub url: &'a str,
    /// The source's interval.
    pub interval: Duration,
}

/// The status while a run takes longer than a moment.
pub fn progressing(observed: &Observed, now: Timestamp) -> OCIRepositoryStatus {
    let mut conditions =
        Conditions::new(observed.status.conditions.clone(), observed.generation, now);
    let seen = observed.status.observed_generation;
    let message = if seen == observed.generation {
        IN_PROGRESS.to_owned()
    } else {
        let generation = observed.generation;
        format!("processing object: new generation {seen} -> {generation}")
    };
    conditions.remove("Stalled");
    conditions.set("Reconciling", "True", "Progressing", &message);
    if conditions
        .find("Ready")
        .is_none_or(|ready| ready.status == "Unknown")
    {
        conditions.set("Ready", "Unknown", "Progressing", &message);
    }
    OCIRepositoryStatus {
        conditions: conditions.ordered(),
        ..observed.status.clone()
    }
}

/// Says what a run's outcome means.
pub fn conclude(observed: &Observed, outcome: &Outcome, around: Surroundings<'_>) -> Report {
    let stored = match outcome {
        Outcome::Stored(stored, _) | Outcome::Unchanged(stored) => Some(stored),
        _ => observed.stored.as_ref(),
    };
    let conditions = conditions(observed, outcome, stored, around.now);
    // Nothing is looked at while an object is suspended, so nothing that was said of its artifact is taken back.
    let kept = match outcome {
        Outcome::Suspended => observed.status.clone(),
        _ => OCIRepositoryStatus::default(),
    };
    let settled = !matches!(outcome, Outcome::Failed(_));
    let status = OCIRepositoryStatus {
        observed_generation: if settled {
            observed.generation
        } else {
            observed.status.observed_generation
        },
        conditions,
        url: stored
            .map(|stored| url(around.advertised, &stored.latest_path))
            .or(kept.url),
        artifact: stored
            .map(|stored| artifact(stored, around.advertised))
            .or(kept.artifact),
        last_handled_reconcile_at: observed
            .requested
            .clone()
            .or_else(|| observed.status.last_handled_reconcile_at.clone()),
        ..observed.status.clone()
    };
    let failures = failures(observed, outcome);
    Report {
        events: events(observed, outcome, &status, around.url),
        next: next(failures, outcome, around),
        failures,
        result: result(outcome),
        status,
    }
}

fn conditions(
    observed: &Observed,
    outcome: &Outcome,
    stored: Option<&Stored>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions =
        Conditions::new(observed.status.conditions.clone(), observed.generation, now);
    if stored.is_none() && !matches!(outcome, Outcome::Suspended) {
        conditions.remove("ArtifactInStorage");
    }
    match outcome {
        Outcome::Suspended => suspended(&mut conditions),
        Outcome::Stalled(error) => stalled(&mut conditions, error),
        Outcome::Stored(stored, _) | Outcome::Unchanged(stored) => {
            succeeded(&mut conditions, stored);
        }
        Outcome::Failed(failure) => failed(&mut conditions, failure, observed),
    }
    conditions.summarized()
}

/// As Flux: what was in progress is relabelled and stays, a stall is forgotten.
fn suspended(conditions: &mut Conditions) {
    conditions.remove("Stalled");
    if let Some(message) = conditions
        .find("Reconciling")
        .map(|condition| condition.message.clone())
    {
        conditions.set("Reconciling", "True", "ProgressingWithRetry", &message);
    }
}

fn stalled(conditions: &mut Conditions, error: &SpecError) {
    let message = error.to_string();
    for kind in ["Reconciling", "StorageOperationFailed", "SourceVerified"] {
        conditions.remove(kind);
    }
    conditions.set("FetchFailed", "True", error.reason(), &message);
    conditions.set("Stalled", "True", error.reason(), &message);
}

fn succeeded(conditions: &mut Conditions, stored: &Stored) {
    let gone = [
        "FetchFailed",
        "StorageOperationFailed",
        "ArtifactOutdated",
        "Reconciling",
        "Stalled",
        "SourceVerified",
    ];
    for kind in gone {
        conditions.remove(kind);
    }
    let message = format!("stored artifact for digest '{}'", stored.revision);
    conditions.set("ArtifactInStorage", "True", "Succeeded", &message);
}

fn failed(conditions: &mut Conditions, failure: &Failure, observed: &Observed) {
    conditions.remove("Stalled");
    let (kind, status) = match failure.kind {
        FailureKind::Fetch => ("FetchFailed", "True"),
        FailureKind::Storage => ("StorageOperationFailed", "True"),
        FailureKind::Verification => ("SourceVerified", "False"),
    };
    // What an earlier attempt failed with is not what this one failed with.
    for other in ["FetchFailed", "StorageOperationFailed", "SourceVerified"] {
        if other != kind {
            conditions.remove(other);
        }
    }
    conditions.set(kind, status, failure.reason, &failure.message);
    let mut progress = IN_PROGRESS.to_owned();
    if let Some(seen) = failure.seen.as_ref().filter(|seen| {
        observed
            .stored
            .as_ref()
            .is_none_or(|s| s.revision != **seen)
    }) {
        progress = format!("building artifact: new revision '{seen}'");
        if observed.stored.is_some() {
            conditions.set(
                "ArtifactOutdated",
                "True",
                "NewRevision",
                &format!("new revision '{seen}'"),
            );
        }
    }
    conditions.set("Reconciling", "True", "ProgressingWithRetry", &progress);
}

fn artifact(stored: &Stored, advertised: &str) -> Artifact {
    Artifact {
        digest: stored.digest.to_string(),
        path: stored.path.clone(),
        url: url(advertised, &stored.path),
        revision: stored.revision.clone(),
        last_update_time: Time(stored.at),
        size: i64::try_from(stored.size).ok(),
        metadata: (!stored.metadata.is_empty()).then(|| stored.metadata.clone()),
    }
}

/// As much of a manifest's annotations as a status can hold.
pub fn bounded(metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fits = |(key, value): &(&String, &String)| {
        key.len() <= MAX_METADATA_KEY && value.len() <= MAX_METADATA_VALUE
    };
    metadata
        .iter()
        .filter(fits)
        .take(MAX_METADATA_KEYS)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// `advertised` may carry a scheme, as Flux's flag may.
fn url(advertised: &str, path: &str) -> String {
    let has_scheme = advertised.starts_with("http://") || advertised.starts_with("https://");
    let scheme = if has_scheme { "" } else { "http://" };
    format!("{scheme}{}/{path}", advertised.trim_end_matches('/'))
}

fn failures(observed: &Observed, outcome: &Outcome) -> u32 {
    match outcome {
        Outcome::Failed(failure) => failure.setback.failures(observed.failures),
        _ => 0,
    }
}

fn next(failures: u32, outcome: &Outcome, around: Surroundings<'_>) -> Next {
    match outcome {
        Outcome::Suspended | Outcome::Stalled(_) => Next::Never,
        Outcome::Stored(..) | Outcome::Unchanged(_) => {
            around.policy.after_success(around.interval, around.random)
        }
        Outcome::Failed(failure) => {
            around
                .policy
                .after_failure(failures, failure.setback, around.random)
        }
    }
}

fn result(outcome: &Outcome) -> RunResult {
    match outcome {
        Outcome::Suspended => RunResult::Suspended,
        Outcome::Stalled(_) => RunResult::Stalled,
        Outcome::Stored(..) | Outcome::Unchanged(_) => RunResult::Success,
        Outcome::Failed(_) => RunResult::Failure,
    }
}

/// One event per change: a failure that repeats is in the conditions, not in a stream of equal events.
fn events(
    observed: &Observed,
    outcome: &Outcome,
    status: &OCIRepositoryStatus,
    url: &str,
) -> Vec<Event> {
    match outcome {
        Outcome::Suspended => Vec::new(),
        Outcome::Stalled(error) => changed(observed, status)
            .then(|| warning(error.reason(), error.to_string()))
            .into_iter()
            .collect(),
        Outcome::Failed(failure) => changed(observed, status)
            .then(|| warning(failure.reason, failure.message.clone()))
            .into_iter()
            .collect(),
        Outcome::Unchanged(stored) => recovered(observed)
            .then(|| stored_event("Succeeded", stored, url))
            .into_iter()
            .collect(),
        Outcome::Stored(stored, warnings) => {
            let is_new = observed
                .status
                .artifact
                .as_ref()
                .is_none_or(|old| old.digest != stored.digest.to_string());
            let reason = if is_new {
                Some("NewArtifact")
            } else {
                recovered(observed).then_some("Succeeded")
            };
            let announced = reason.map(|reason| stored_event(reason, stored, url));
            let warned = warnings
                .iter()
                .map(|known| warning(known.reason, known.message.clone()));
            announced.into_iter().chain(warned).collect()
        }
    }
}

fn changed(observed: &Observed, status: &OCIRepositoryStatus) -> bool {
    let words = |status: &OCIRepositoryStatus| {
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        ready.map(|ready| {
            (
                ready.status.clone(),
                ready.reason.clone(),
                ready.message.clone(),
            )
        })
    };
    words(&observed.status) != words(status)
}

fn recovered(observed: &Observed) -> bool {
    let is_failure = |kind: &str| matches!(kind, "FetchFailed" | "StorageOperationFailed");
    observed
        .status
        .conditions
        .iter()
        .any(|condition| is_failure(&condition.type_) && condition.status == "True")
}

fn warning(reason: &str, message: String) -> Event {
    Event {
        is_warning: true,
        reason: reason.to_owned(),
        message,
        annotations: BTreeMap::new(),
    }
}

fn stored_event(reason: &str, stored: &Stored, url: &str) -> Event {
    let origin = |key: &str| stored.metadata.get(key).filter(|value| !value.is_empty());
    let mut message = format!(
        "stored artifact with revision '{}' from '{url}'",
        stored.revision
    );
    if let (Some(source), Some(revision)) = (
        origin("org.opencontainers.image.source"),
        origin("org.opencontainers.image.revision"),
    ) {
        message = format!("{message}, origin source '{source}', origin revision '{revision}'");
    }
    let annotations = [
        ("revision", stored.revision.clone()),
        ("digest", stored.digest.to_string()),
    ]
    .map(|(key, value)| (format!("source.toolkit.fluxcd.io/{key}"), value));
    Event {
        is_warning: false,
        reason: reason.to_owned(),
        message,
        annotations: annotations.into(),
    }
}
