// SPDX-License-Identifier: Apache-2.0
//! The bookkeeping of conditions: set, remove, order, and the summary that is `Ready`.
//!
//! Enters as the conditions of the last status; leaves as those of the next one. It decides nothing about a source:
//! [`super::report`] says which conditions hold. Source: the contract, "Condition table" and "Ready summary". Unlike
//! plain metav1 semantics, `lastTransitionTime` moves with reason and message too.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message that is written, in characters. The schema allows 32768; nobody reads more than this.
const MAX_MESSAGE: usize = 1024;

/// Those that `Ready` is computed from, in priority order.
const SCOPE: [&str; 7] = [
    "StorageOperationFailed",
    "FetchFailed",
    "ArtifactOutdated",
    "ArtifactInStorage",
    "SourceVerified",
    "Stalled",
    "Reconciling",
];

/// The conditions of one object while they are being changed.
#[derive(Clone, Debug)]
pub struct Conditions {
    items: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl Conditions {
    /// Starts from the conditions of the last status. What is set from here on carries `generation` and, where something
    /// changed, `now` cut to seconds.
    pub fn new(items: Vec<Condition>, generation: i64, now: Timestamp) -> Self {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self {
            items,
            generation,
            now,
        }
    }

    /// The condition of that type.
    pub fn find(&self, kind: &str) -> Option<&Condition> {
        self.items.iter().find(|condition| condition.type_ == kind)
    }

    /// Whether the condition of that type exists and is `True`.
    pub fn is_true(&self, kind: &str) -> bool {
        self.find(kind)
            .is_some_and(|condition| condition.status == "True")
    }

    /// Sets a condition; the transition time is kept when status, reason and message are as before.
    pub fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let message = clean(message);
        let same = self
            .find(kind)
            .filter(|c| c.status == status && c.reason == reason && c.message == message);
        let since = same.map_or(self.now, |condition| condition.last_transition_time.0);
        self.remove(kind);
        self.items.push(Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: Time(since),
            observed_generation: Some(self.generation),
        });
    }

    /// Removes a condition, if it is there.
    pub fn remove(&mut self, kind: &str) {
        self.items.retain(|condition| condition.type_ != kind);
    }

    /// Computes `Ready` from the others and returns them all in the order in which they are written.
    pub fn summarized(mut self) -> Vec<Condition> {
        if let Some(deciding) = self.deciding().cloned() {
            let ready = ready_status(&deciding);
            self.set("Ready", ready, &deciding.reason, &deciding.message);
        }
        self.ordered()
    }

    /// Returns them in the order in which they are written, with `Ready` as it stands.
    pub fn ordered(mut self) -> Vec<Condition> {
        self.items.sort_by(|a, b| order(a).cmp(&order(b)));
        self.items
    }

    /// The condition that `Ready` mirrors: the best group first, then the priority order. A failed verification decides
    /// over everything.
    fn deciding(&self) -> Option<&Condition> {
        if let Some(refused) = self
            .find("SourceVerified")
            .filter(|condition| condition.status == "False")
        {
            return Some(refused);
        }
        SCOPE
            .iter()
            .filter_map(|kind| self.find(kind))
            .min_by_key(|condition| group(condition))
    }
}

fn is_negative(kind: &str) -> bool {
    !matches!(kind, "ArtifactInStorage" | "SourceVerified")
}

/// Lower decides first: something is wrong, something is missing, something is good, nothing is wrong, unknown.
fn group(condition: &Condition) -> u8 {
    match (condition.status.as_str(), is_negative(&condition.type_)) {
        ("True", true) => 0,
        ("False", false) => 1,
        ("True", false) => 2,
        ("False", true) => 3,
        _ => 4,
    }
}

fn ready_status(deciding: &Condition) -> &'static str {
    match group(deciding) {
        0 | 1 => "False",
        2 | 3 => "True",
        _ => "Unknown",
    }
}

/// Stalled, Reconciling and Ready first, then the newest generation, then by name.
fn order(condition: &Condition) -> (usize, i64, &str) {
    let first = ["Stalled", "Reconciling", "Ready"];
    let rank = first
        .iter()
        .position(|kind| *kind == condition.type_)
        .unwrap_or(first.len());
    (
        rank,
        -condition.observed_generation.unwrap_or_default(),
        &condition.type_,
    )
}

/// A message is read in a terminal: no control characters, and an end.
fn clean(message: &str) -> String {
    let printable = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut text: Vec<char> = printable.take(MAX_MESSAGE + 1).collect();
    if text.len() > MAX_MESSAGE {
        text.truncate(MAX_MESSAGE - 3);
        text.extend(['.'; 3]);
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions() -> Conditions {
        Conditions::new(Vec::new(), 3, Timestamp::UNIX_EPOCH)
    }

    fn ready(conditions: Conditions) -> (String, String) {
        let all = conditions.summarized();
        let ready = all.iter().find(|c| c.type_ == "Ready").unwrap();
        (ready.status.clone(), ready.reason.clone())
    }

    #[test]
    fn a_stored_artifact_makes_ready() {
        let mut c = conditions();
        c.set("ArtifactInStorage", "True", "Succeeded", "stored");
        assert_eq!(ready(c), ("True".into(), "Succeeded".into()));
    }

    #[test]
    fn a_failure_decides_over_a_stored_artifact_and_in_priority_order() {
        let mut c = conditions();
        c.set("ArtifactInStorage", "True", "Succeeded", "stored");
        c.set("Reconciling", "True", "ProgressingWithRetry", "x");
        c.set("FetchFailed", "True", "OCIArtifactPullFailed", "y");
        assert_eq!(ready(c), ("False".into(), "OCIArtifactPullFailed".into()));
    }

    #[test]
    fn a_refused_signature_decides_over_everything() {
        let mut c = conditions();
        c.set(
            "StorageOperationFailed",
            "True",
            "ArchiveOperationFailed",
            "x",
        );
        c.set("SourceVerified", "False", "VerificationError", "y");
        assert_eq!(ready(c), ("False".into(), "VerificationError".into()));
    }

    #[test]
    fn without_conditions_there_is_no_ready() {
        assert!(conditions().summarized().is_empty());
    }

    #[test]
    fn the_transition_time_moves_with_the_message_and_stays_otherwise() {
        let mut c = conditions();
        c.set("FetchFailed", "True", "R", "one");
        let later = Timestamp::from_second(100).unwrap();
        let mut c = Conditions::new(c.items, 3, later);
        c.set("FetchFailed", "True", "R", "one");
        assert_eq!(
            c.find("FetchFailed").unwrap().last_transition_time.0,
            Timestamp::UNIX_EPOCH
        );
        c.set("FetchFailed", "True", "R", "two");
        assert_eq!(c.find("FetchFailed").unwrap().last_transition_time.0, later);
    }

    #[test]
    fn messages_are_printable_and_bounded() {
        let mut c = conditions();
        c.set(
            "FetchFailed",
            "True",
            "R",
            &format!("a\u{1b}[31m\n{}", "é".repeat(5000)),
        );
        let message = &c.find("FetchFailed").unwrap().message;
        assert!(
            message.chars().count() <= MAX_MESSAGE
                && message.ends_with("...")
                && !message.contains(['\u{1b}', '\n'])
        );
    }

    #[test]
    fn stalled_reconciling_and_ready_come_first() {
        let mut c = conditions();
        c.set("ArtifactInStorage", "True", "Succeeded", "");
        c.set("FetchFailed", "True", "R", "");
        c.set("Reconciling", "True", "R", "");
        let kinds: Vec<_> = c.summarized().into_iter().map(|c| c.type_).collect();
        assert_eq!(
            kinds,
            ["Reconciling", "Ready", "ArtifactInStorage", "FetchFailed"]
        );
    }
}
