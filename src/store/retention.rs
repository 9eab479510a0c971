// SPDX-License-Identifier: Apache-2.0
//! Which artifacts of an object may be forgotten. Pure.
//!
//! The limits are Flux's (`--artifact-retention-ttl`, `--artifact-retention-records`), with one difference: the age of an
//! artifact counts from the moment it was replaced, not from its creation. A consumer that read the status just before a
//! change therefore still gets what it was told about.

use std::time::Duration;

use jiff::Timestamp;

use super::StoredArtifact;

/// How long and how many superseded artifacts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long an artifact is kept after another one took its place.
    pub ttl: Duration,
    /// How many artifacts of one object are kept at most, the current one included. The current one is always kept.
    pub records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            ttl: Duration::from_mins(1),
            records: 2,
        }
    }
}

impl Retention {
    /// The artifacts to forget, out of all of one object, given newest first. The first one is never among them.
    pub(super) fn superseded<'a>(
        &self,
        newest_first: &'a [StoredArtifact],
        now: Timestamp,
    ) -> Vec<&'a StoredArtifact> {
        let successors = newest_first.iter();
        let others = newest_first.iter().skip(1).enumerate();
        others
            .zip(successors)
            .filter(|((place, _), successor)| {
                place + 2 > self.records || self.is_expired(successor.at, now)
            })
            .map(|((_, artifact), _)| artifact)
            .collect()
    }

    // A clock that went back gives a negative age, which is not old.
    fn is_expired(&self, replaced_at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(replaced_at)
            .try_into()
            .is_ok_and(|age: Duration| age > self.ttl)
    }
}
