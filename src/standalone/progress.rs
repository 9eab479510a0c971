// SPDX-License-Identifier: Apache-2.0
//! How far the sources have come in this process: what `run --once` waits for.
//!
//! Enters as objects with their new status; leaves as a [`Standing`] per source.

use std::collections::BTreeMap;

use wharf_api::{
    condition::{READY, RECONCILING},
    reason::PROGRESSING,
    v1::OCIRepository,
};

use crate::source::SourceId;

/// How a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not been answered in this process, or has changed since.
    Pending,
    /// Its last run ended and it is Ready.
    Ready,
    /// It is suspended: nothing was asked for.
    Suspended,
    /// Its last run failed, or it is stalled. It may become Ready later.
    Failed,
}

/// How all sources stand.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    sources: BTreeMap<SourceId, Standing>,
}

impl Progress {
    /// Whether no source is pending.
    pub fn is_settled(&self) -> bool {
        self.sources
            .values()
            .all(|standing| *standing != Standing::Pending)
    }

    /// Whether every source is Ready, except for those that are suspended.
    pub fn all_ready(&self) -> bool {
        self.sources
            .values()
            .all(|standing| matches!(standing, Standing::Ready | Standing::Suspended))
    }

    /// The sources, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&SourceId, Standing)> {
        self.sources.iter().map(|(id, standing)| (id, *standing))
    }

    /// Notes how a source stands; says whether that is new.
    pub(super) fn note(&mut self, id: &SourceId, standing: Standing) -> bool {
        self.sources.insert(id.clone(), standing) != Some(standing)
    }

    /// Forgets a source.
    pub(super) fn forget(&mut self, id: &SourceId) {
        self.sources.remove(id);
    }
}

/// What a written status means. `Pending` while a run is still under way.
pub(super) fn standing_of(source: &OCIRepository) -> Standing {
    let conditions = source.status.iter().flat_map(|status| &status.conditions);
    let find = |kind: &str| conditions.clone().find(|condition| condition.type_ == kind);
    let is_under_way = find(RECONCILING).is_some_and(|condition| condition.reason == PROGRESSING);
    match find(READY).map(|ready| ready.status.as_str()) {
        _ if is_under_way => Standing::Pending,
        _ if source.spec.suspend => Standing::Suspended,
        Some("True") => Standing::Ready,
        _ => Standing::Failed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn source(suspend: bool, conditions: &[(&str, &str, &str)]) -> OCIRepository {
        let condition = |(kind, status, reason): &(&str, &str, &str)| -> Value {
            json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"})
        };
        let conditions: Vec<Value> = conditions.iter().map(condition).collect();
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": "app"},
            "spec": {"url": "oci://a/b", "interval": "1m", "suspend": suspend},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn the_conditions_tell_how_a_source_stands() {
        let ready = ("Ready", "True", "Succeeded");
        let failed = ("Ready", "False", "OCIArtifactPullFailed");
        assert_eq!(standing_of(&source(false, &[ready])), Standing::Ready);
        assert_eq!(
            standing_of(&source(
                false,
                &[("Reconciling", "True", "ProgressingWithRetry"), failed]
            )),
            Standing::Failed
        );
        assert_eq!(
            standing_of(&source(false, &[("Stalled", "True", "URLInvalid"), failed])),
            Standing::Failed
        );
        assert_eq!(standing_of(&source(true, &[])), Standing::Suspended);
        assert_eq!(standing_of(&source(false, &[])), Standing::Failed);
    }

    #[test]
    fn a_run_that_is_under_way_settles_nothing() {
        let under_way = ("Reconciling", "True", "Progressing");
        assert_eq!(
            standing_of(&source(false, &[under_way, ("Ready", "True", "Succeeded")])),
            Standing::Pending
        );
    }

    #[test]
    fn nothing_to_do_is_settled_and_ready() {
        let progress = Progress::default();
        assert!(progress.is_settled() && progress.all_ready());
    }

    #[test]
    fn one_pending_source_holds_all_up_and_one_failed_makes_all_not_ready() {
        let mut progress = Progress::default();
        let (a, b) = (SourceId::new("x", "a"), SourceId::new("x", "b"));
        assert!(progress.note(&a, Standing::Ready));
        assert!(progress.note(&b, Standing::Pending));
        assert!(!progress.is_settled() && !progress.all_ready());
        assert!(progress.note(&b, Standing::Failed));
        assert!(!progress.note(&b, Standing::Failed));
        assert!(progress.is_settled() && !progress.all_ready());
        progress.forget(&b);
        assert!(progress.is_settled() && progress.all_ready());
    }
}
