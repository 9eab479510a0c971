// SPDX-License-Identifier: Apache-2.0
//! Every wrong that the scriptable registry can do, at every step of every operation.
//!
//! One case is a step (which request meets the fault) and a fault. Whatever happens, the operation ends before its
//! deadline; a success has the honest result; an error is of the kind that the table says, names the host, the operation,
//! the cause and the number of attempts, and shows no secret; and the registry is not flooded.

mod challenges;
mod faults;
mod steps;

use std::{fmt::Write as _, time::Duration};

use futures::{StreamExt as _, stream};
use wharf_oci::registry::{Error, Limits, Options, RetryPolicy, Timeouts};
use wharf_test_support::FakeRegistry;

use self::{
    faults::{Case, faults},
    steps::{STEPS, Step},
};
use crate::support::everything;

/// What must never be shown: the password, and what the redirects carry in their queries.
const SECRETS: [&str; 3] = [
    "canary-password",
    "canary-signature",
    "Y2FuYXJ5LXBhc3N3b3Jk",
];
const ATTEMPTS: u32 = 2;
/// Far above every deadline in [`options`]; who needs this long hangs.
const DEADLINE: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 32;

/// Deadlines of some seconds, and hardly a pause between attempts.
fn options() -> Options {
    Options {
        timeouts: Timeouts {
            response: Duration::from_secs(3),
            document: Duration::from_secs(3),
            transfer: Duration::from_secs(4),
            slow_window: Duration::from_secs(3),
            slow_bytes: 50_000,
            ..Timeouts::default()
        },
        limits: Limits {
            manifest: 256 << 10,
            ..Limits::default()
        },
        retry: RetryPolicy {
            attempts: ATTEMPTS,
            base: Duration::from_millis(1),
            longest: Duration::from_millis(1_200),
            ..RetryPolicy::default()
        },
        ..Options::default()
    }
}

/// What became of a case: nothing to complain about, or what is wrong.
struct Finding {
    name: String,
    failed: bool,
    complaint: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_at_any_step_hangs_floods_lies_or_tells_a_secret() {
    let cases: Vec<(Step, Case)> = STEPS
        .into_iter()
        .flat_map(|step| faults().into_iter().map(move |case| (step, case)))
        .filter(|(step, case)| !case.is_an_answer(*step))
        .collect();
    let mut findings: Vec<Finding> = stream::iter(cases)
        .map(|(step, case)| tokio::spawn(play(step, case)))
        .buffer_unordered(AT_ONCE)
        .map(Result::unwrap)
        .collect()
        .await;
    findings.extend(challenges::play_all().await);
    report(&findings);
}

fn report(findings: &[Finding]) {
    let complaints = findings.iter().filter_map(|finding| {
        let complaint = finding.complaint.as_ref()?;
        Some(format!("{}: {complaint}", finding.name))
    });
    let complaints: Vec<_> = complaints.collect();
    let failed = findings.iter().filter(|finding| finding.failed).count();
    println!("{} cases, {failed} of them errors", findings.len());
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    assert!(findings.len() >= 600, "only {} cases", findings.len());
    assert!(failed >= 400, "only {failed} cases are errors");
}

async fn play(step: Step, case: Case) -> Finding {
    let name = format!("{} at {step:?}", case.name);
    let registry = step.registry().await;
    let honest = step.run(&step.session(&registry, Options::default())).await;
    let honest = honest.unwrap_or_else(|error| panic!("{name}: honest run: {error}"));
    let registry = step.registry().await;
    registry.script(step.rule().fault(case.fault(&registry)));
    let session = step.session(&registry, options());
    let Ok(got) = tokio::time::timeout(DEADLINE, step.run(&session)).await else {
        let complaint = Some(format!("no end after {DEADLINE:?}"));
        return Finding {
            name,
            failed: true,
            complaint,
        };
    };
    let failed = got.is_err();
    let met = registry.requests_to(step.endpoint()).len();
    let complaint = match got {
        _ if met == 0 => Some("the fault was never met".to_owned()),
        Ok(result) if result != honest => Some(format!("a lie was believed: {result}")),
        Ok(_) if case.must_fail(step) => Some("taken for a success".to_owned()),
        Ok(_) => None,
        Err(error) => complaint(&error, step, &case, &registry),
    };
    Finding {
        name,
        failed,
        complaint,
    }
}

/// What is wrong with an error, if anything is.
fn complaint(error: &Error, step: Step, case: &Case, registry: &FakeRegistry) -> Option<String> {
    let mut wrong = String::new();
    let text = error.to_string();
    let allowed = case.kinds(step);
    if !allowed.is_empty() && !allowed.contains(&error.kind()) {
        let _ = write!(
            wrong,
            "kind {:?}, expected one of {allowed:?}; ",
            error.kind()
        );
    }
    if allowed.is_empty() {
        wrong.push_str("an error where there is no reason for one; ");
    }
    if !text.contains(&registry.host()) {
        wrong.push_str("no host; ");
    }
    if !step.operations().iter().any(|words| text.contains(words)) {
        let _ = write!(wrong, "none of {:?}; ", step.operations());
    }
    if error.attempts() > 1 && !text.contains("attempts") {
        wrong.push_str("no number of attempts; ");
    }
    if let Some(status) = case.status()
        && error.status() == Some(status)
        && !text.contains(&status.to_string())
    {
        wrong.push_str("no status; ");
    }
    let all = everything(error);
    for secret in SECRETS {
        if all.contains(secret) {
            let _ = write!(wrong, "shows {secret}; ");
        }
    }
    if all.len() > 16 * 1024 {
        let _ = write!(wrong, "{} bytes long; ", all.len());
    }
    let asked = registry.requests().len();
    if asked > 60 {
        let _ = write!(wrong, "{asked} requests; ");
    }
    (!wrong.is_empty()).then(|| format!("{wrong}in: {text}"))
}
