// SPDX-License-Identifier: Apache-2.0
//! What to do about a source now.
//!
//! Enters as the object and what was observed about it; leaves as a [`Plan`]. The order of the questions is the
//! contract's: suspension before everything, then whether the spec can be acted on at all, then whether it is time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wharf_api::v1::{OCIRepository, OCIRepositoryStatus};
use wharf_oci::Digest;

use super::spec::{SourceSpec, SpecError};

/// The annotation that asks for a run at once.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// How stored bytes were made of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// They are the layer's own.
    Layer,
    /// They were packed again, by the rules of this version.
    Packed(u32),
}

/// An artifact that is in the store under a source's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The revision it was made from.
    pub revision: String,
    /// The digest of the bytes that are served.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The path below the artifact server's root.
    pub path: String,
    /// The path of the name that always means the newest.
    pub latest_path: String,
    /// When it was stored.
    pub at: Timestamp,
    /// The uid of the object it was stored for.
    pub uid: String,
    /// What was verified when it was stored.
    pub trust: String,
    /// How the bytes were made of the layer.
    pub form: Form,
    /// The annotations of the manifest.
    pub metadata: BTreeMap<String, String>,
}

/// What an earlier run already answered: the same object, generation and request need no second answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    uid: String,
    generation: i64,
    requested: Option<String>,
}

impl Attempt {
    /// What a run of this object answers.
    pub fn of(source: &OCIRepository) -> Self {
        Self {
            uid: source.metadata.uid.clone().unwrap_or_default(),
            generation: source.metadata.generation.unwrap_or_default(),
            requested: requested(source),
        }
    }
}

/// Everything outside the spec that the decision and the report depend on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The uid of the object.
    pub uid: String,
    /// The generation of the object.
    pub generation: i64,
    /// The value of the request annotation.
    pub requested: Option<String>,
    /// The status as it was last seen.
    pub status: OCIRepositoryStatus,
    /// What the store has for this object. What was stored for another object of the same name is left out.
    pub stored: Option<Stored>,
    /// What the last run of this process answered.
    pub attempted: Option<Attempt>,
    /// The run was scheduled or is the first one, not caused by a change that may be none.
    pub is_due: bool,
    /// Failures in a row before this run.
    pub failures: u32,
}

impl Observed {
    /// Reads what the object itself says; the rest starts empty.
    pub fn of(source: &OCIRepository) -> Self {
        Self {
            uid: source.metadata.uid.clone().unwrap_or_default(),
            generation: source.metadata.generation.unwrap_or_default(),
            requested: requested(source),
            status: source.status.clone().unwrap_or_default(),
            stored: None,
            attempted: None,
            is_due: false,
            failures: 0,
        }
    }

    /// Adds what the store has, if it was stored for this very object.
    pub fn with_stored(self, stored: Option<Stored>) -> Self {
        let stored = stored.filter(|stored| stored.uid == self.uid);
        Self { stored, ..self }
    }
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: the object was answered already and it is not time.
    NotDue,
    /// Say that it is suspended; fetch nothing.
    Suspended,
    /// Say why nothing can be done until the object changes.
    Stalled(SpecError),
    /// Look at the registry.
    Fetch(Box<FetchPlan>),
}

/// What a fetch works from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPlan {
    /// What the source asks for.
    pub spec: SourceSpec,
    /// What is served at the moment. When the registry still has this revision, there is nothing to fetch.
    pub stored: Option<Stored>,
}

/// Decides what to do about a source.
pub fn decide(source: &OCIRepository, observed: &Observed) -> Plan {
    let is_answered = observed.attempted.as_ref() == Some(&Attempt::of(source));
    if is_answered && !observed.is_due {
        return Plan::NotDue;
    }
    if source.spec.suspend {
        return Plan::Suspended;
    }
    match SourceSpec::try_from(source) {
        Ok(spec) => Plan::Fetch(Box::new(FetchPlan {
            spec,
            stored: observed.stored.clone(),
        })),
        Err(error) => Plan::Stalled(error),
    }
}

fn requested(source: &OCIRepository) -> Option<String> {
    source
        .metadata
        .annotations
        .as_ref()?
        .get(REQUESTED_AT)
        .cloned()
}
