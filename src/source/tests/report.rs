// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use wharf_api::v1::OCIRepositoryStatus;

use super::{source, stored};
use crate::source::{
    plan::{Observed, REQUESTED_AT, Stored},
    report::{
        Failure, FailureKind, Outcome, Report, RunResult, Surroundings, Warning, bounded, conclude,
        progressing,
    },
    schedule::{Next, Policy, Setback},
    spec::SpecError,
};

fn observed(stored: Option<Stored>) -> Observed {
    Observed::of(&source(&json!({}))).with_stored(stored)
}

fn said(observed: &Observed, outcome: &Outcome) -> Report {
    let around = Surroundings {
        now: Timestamp::from_second(1_800_000_000).unwrap(),
        advertised: "wharf.apps.svc",
        policy: &Policy::default(),
        random: 0.5,
        url: "oci://registry.example/org/app",
        interval: Duration::from_secs(600),
    };
    conclude(observed, outcome, around)
}

/// The next run of the same object, after this report was written.
fn following(report: &Report, stored: Option<Stored>) -> Observed {
    let mut next = observed(stored);
    next.status = report.status.clone();
    next
}

fn failure(kind: FailureKind, reason: &'static str) -> Outcome {
    let message = format!("failed: {reason}");
    Outcome::Failed(Failure {
        kind,
        reason,
        message,
        setback: Setback::Failed,
        seen: None,
    })
}

/// `type=status/reason` of every condition, in order.
fn conditions(status: &OCIRepositoryStatus) -> Vec<String> {
    status
        .conditions
        .iter()
        .map(|c| format!("{}={}/{}", c.type_, c.status, c.reason))
        .collect()
}

fn reasons(report: &Report) -> Vec<&str> {
    report
        .events
        .iter()
        .map(|event| event.reason.as_str())
        .collect()
}

#[test]
fn a_first_artifact_makes_the_source_ready_and_is_announced() {
    let report = said(
        &observed(None),
        &Outcome::Stored(stored("1.0@sha256:aa"), vec![]),
    );
    assert_eq!(
        conditions(&report.status),
        ["Ready=True/Succeeded", "ArtifactInStorage=True/Succeeded"]
    );
    assert_eq!(
        report.status.conditions[0].message,
        "stored artifact for digest '1.0@sha256:aa'"
    );
    assert_eq!(report.status.observed_generation, 2);
    let artifact = report.status.artifact.as_ref().unwrap();
    assert_eq!(
        artifact.url,
        "http://wharf.apps.svc/ocirepository/apps/app/sha256:aa.tar.gz"
    );
    assert_eq!(
        (artifact.size, artifact.revision.as_str()),
        (Some(7), "1.0@sha256:aa")
    );
    assert_eq!(
        report.status.url.as_deref(),
        Some("http://wharf.apps.svc/ocirepository/apps/app/latest.tar.gz")
    );
    assert_eq!(reasons(&report), ["NewArtifact"]);
    assert_eq!(
        report.events[0].annotations["source.toolkit.fluxcd.io/revision"],
        "1.0@sha256:aa"
    );
    assert_eq!(report.next, Next::After(Duration::from_secs(600)));
}

#[test]
fn nothing_new_changes_nothing_and_announces_nothing() {
    let artifact = stored("1.0@sha256:aa");
    let first = said(&observed(None), &Outcome::Stored(artifact.clone(), vec![]));
    let again = said(
        &following(&first, Some(artifact.clone())),
        &Outcome::Unchanged(artifact),
    );
    assert_eq!(again.status, first.status);
    assert!(again.events.is_empty());
}

#[test]
fn a_failure_keeps_the_artifact_and_the_observed_generation() {
    let artifact = stored("1.0@sha256:aa");
    let report = said(
        &observed(Some(artifact)),
        &failure(FailureKind::Fetch, "OCIArtifactPullFailed"),
    );
    let expected = [
        "Reconciling=True/ProgressingWithRetry",
        "Ready=False/OCIArtifactPullFailed",
        "FetchFailed=True/OCIArtifactPullFailed",
    ];
    assert_eq!(conditions(&report.status), expected);
    assert!(
        report.status.artifact.is_some(),
        "the last good artifact stays published"
    );
    assert_eq!(report.status.observed_generation, -1);
    assert_eq!(
        (report.result, report.next),
        (RunResult::Failure, Next::After(Duration::from_millis(750)))
    );
}

#[test]
fn a_run_that_was_held_back_says_what_is_wrong_and_counts_for_nothing() {
    let Outcome::Failed(mut failed) = failure(FailureKind::Fetch, "OCIArtifactPullFailed") else {
        unreachable!()
    };
    failed.setback = Setback::HeldBack(Duration::from_secs(10));
    let outcome = Outcome::Failed(failed);
    let mut before = observed(None);
    before.failures = 9;
    let report = said(&before, &outcome);
    assert_eq!((report.result, report.failures), (RunResult::Failure, 9));
    assert_eq!(report.next, Next::After(Duration::from_secs(15)));
    let ready = &report.status.conditions[1];
    assert_eq!(ready.message, "failed: OCIArtifactPullFailed");
    assert_eq!(reasons(&report), ["OCIArtifactPullFailed"]);
    // As long as nothing changes nothing is written and nothing announced.
    let again = said(&following(&report, None), &outcome);
    assert_eq!(again.status, report.status);
    assert!(again.events.is_empty());

    let real = failure(FailureKind::Fetch, "OCIArtifactPullFailed");
    assert_eq!(said(&before, &real).failures, 10);
    let stored = Outcome::Stored(stored("1.0@sha256:aa"), vec![]);
    assert_eq!(said(&before, &stored).failures, 0);
}

#[test]
fn a_failure_after_a_new_revision_was_seen_says_so() {
    let Outcome::Failed(mut failed) = failure(FailureKind::Fetch, "OCIArtifactPullFailed") else {
        unreachable!()
    };
    failed.seen = Some("1.1@sha256:bb".to_owned());
    let report = said(
        &observed(Some(stored("1.0@sha256:aa"))),
        &Outcome::Failed(failed),
    );
    let outdated = report
        .status
        .conditions
        .iter()
        .find(|c| c.type_ == "ArtifactOutdated")
        .unwrap();
    assert_eq!(outdated.message, "new revision '1.1@sha256:bb'");
}

#[test]
fn a_failure_that_repeats_is_announced_once_and_recovery_is_announced() {
    let artifact = stored("1.0@sha256:aa");
    let good = said(&observed(None), &Outcome::Stored(artifact.clone(), vec![]));
    let outcome = failure(FailureKind::Storage, "ArchiveOperationFailed");
    let first = said(&following(&good, Some(artifact.clone())), &outcome);
    let second = said(&following(&first, Some(artifact.clone())), &outcome);
    assert_eq!(
        (reasons(&first), reasons(&second)),
        (vec!["ArchiveOperationFailed"], vec![])
    );
    let recovered = said(
        &following(&second, Some(artifact.clone())),
        &Outcome::Unchanged(artifact),
    );
    assert_eq!(reasons(&recovered), ["Succeeded"]);
    assert_eq!(conditions(&recovered.status), conditions(&good.status));
}

#[test]
fn a_stalled_source_waits_for_a_change() {
    let outcome = Outcome::Stalled(SpecError::Unsupported { field: "verify" });
    let report = said(&observed(None), &outcome);
    let expected = [
        "Stalled=True/UnsupportedField",
        "Ready=False/UnsupportedField",
        "FetchFailed=True/UnsupportedField",
    ];
    assert_eq!(conditions(&report.status), expected);
    assert!(report.status.conditions[0].message.contains("spec.verify"));
    assert_eq!(
        (report.next, report.status.observed_generation),
        (Next::Never, 2)
    );
}

#[test]
fn suspension_forgets_a_stall_and_fetches_nothing() {
    let stalled = said(
        &observed(None),
        &Outcome::Stalled(SpecError::Unsupported { field: "verify" }),
    );
    let report = said(&following(&stalled, None), &Outcome::Suspended);
    assert!(
        !conditions(&report.status)
            .iter()
            .any(|c| c.starts_with("Stalled"))
    );
    assert_eq!(
        (report.next, report.status.observed_generation),
        (Next::Never, 2)
    );
}

#[test]
fn suspension_takes_nothing_back_that_was_said_of_the_artifact() {
    let good = said(
        &observed(None),
        &Outcome::Stored(stored("1.0@sha256:aa"), vec![]),
    );
    // The store is empty after a restart, and nothing may be fetched.
    let report = said(&following(&good, None), &Outcome::Suspended);
    assert_eq!(report.status, good.status);
}

#[test]
fn a_failure_replaces_what_an_earlier_attempt_failed_with() {
    let first = said(
        &observed(None),
        &failure(FailureKind::Fetch, "OCIArtifactPullFailed"),
    );
    let second = said(
        &following(&first, None),
        &failure(FailureKind::Storage, "ArchiveOperationFailed"),
    );
    assert!(
        !conditions(&second.status)
            .iter()
            .any(|c| c.starts_with("FetchFailed"))
    );
}

#[test]
fn a_request_is_recorded_whatever_the_outcome() {
    let mut object = source(&json!({}));
    object.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "t1".to_owned())].into());
    let observed = Observed::of(&object);
    for outcome in [
        Outcome::Suspended,
        failure(FailureKind::Fetch, "OCIArtifactPullFailed"),
    ] {
        assert_eq!(
            said(&observed, &outcome)
                .status
                .last_handled_reconcile_at
                .as_deref(),
            Some("t1")
        );
    }
}

#[test]
fn an_artifact_that_is_gone_from_the_store_leaves_the_status() {
    let good = said(
        &observed(None),
        &Outcome::Stored(stored("1.0@sha256:aa"), vec![]),
    );
    let report = said(
        &following(&good, None),
        &failure(FailureKind::Fetch, "OCIArtifactPullFailed"),
    );
    assert_eq!((report.status.artifact, report.status.url), (None, None));
    assert!(
        !report
            .status
            .conditions
            .iter()
            .any(|c| c.type_ == "ArtifactInStorage")
    );
}

#[test]
fn metadata_of_any_size_becomes_what_a_status_can_hold() {
    let mut metadata: std::collections::BTreeMap<_, _> = (0..10_000)
        .map(|n| (format!("k{n:05}"), "v".repeat(200)))
        .collect();
    metadata.insert("a-big-one".to_owned(), "v".repeat(4 << 20));
    metadata.insert("k".repeat(4096), "v".to_owned());
    let kept = bounded(&metadata);
    assert_eq!(kept.len(), 32);
    assert!(kept.keys().all(|key| key.starts_with("k000")));
}

#[test]
fn warnings_become_events() {
    let report = said(
        &observed(None),
        &Outcome::Stored(
            stored("1.0@sha256:aa"),
            vec![Warning {
                reason: "MultipleLayers",
                message: "3 layers".to_owned(),
            }],
        ),
    );
    assert_eq!(reasons(&report), ["NewArtifact", "MultipleLayers"]);
}

#[test]
fn long_work_is_announced_as_flux_does() {
    let status = progressing(&observed(None), Timestamp::UNIX_EPOCH);
    assert_eq!(
        conditions(&status),
        ["Reconciling=True/Progressing", "Ready=Unknown/Progressing"]
    );
    assert_eq!(
        status.conditions[0].message,
        "processing object: new generation -1 -> 2"
    );
    assert_eq!(status.observed_generation, -1);
}
