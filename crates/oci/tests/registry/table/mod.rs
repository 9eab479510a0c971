// SPDX-License-Identifier: Apache-2.0
//! Every wrong that the scriptable registry can do, at every step of every operation.
//!
//! One case is a step (which request meets the fault) and a fault. Whatever happens, the operation ends before its
//! deadline; a success has the honest result; an error is of a kind that the table allows, names the host, the operation,
//! the cause and the number of attempts, and shows no secret, nor does the log; the registry is not flooded; and when it is
//! honest again, another client gets the honest result.

mod challenges;
mod faults;
mod links;
mod log;
mod spellings;
mod steps;

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt as _, stream};
use wharf_oci::registry::{Client, Error, Limits, Options, RetryPolicy, Session, Timeouts};
use wharf_test_support::FakeRegistry;

use self::{
    faults::{Case, faults},
    steps::{STEPS, Step},
};
use crate::support::everything;

/// What must never be shown: the password, plain and as it is sent, what URLs carry in their queries, and tokens of the
/// registry.
const SECRETS: [&str; 4] = [
    "canary-password",
    "canary-signature",
    "Y2FuYXJ5LXBhc3N3b3Jk",
    "token-",
];
const ATTEMPTS: u32 = 2;
/// The most pages of a list.
const PAGES: u32 = 20;
/// The most requests for one operation; lists of [`PAGES`] pages with two attempts each are the longest.
const MAX_REQUESTS: usize = 60;
/// Far above every deadline in [`options`]; who needs this long hangs.
const DEADLINE: Duration = Duration::from_secs(120);
const AT_ONCE: usize = 128;

/// Deadlines that an honest answer meets on a machine that has much else to do, and hardly a pause between attempts.
fn options() -> Options {
    Options {
        timeouts: Timeouts {
            connect: Duration::from_secs(20),
            handshake: Duration::from_secs(20),
            response: Duration::from_secs(8),
            document: Duration::from_secs(8),
            transfer: Duration::from_secs(30),
            slow_window: Duration::from_secs(5),
            slow_bytes: 50_000,
            ..Timeouts::default()
        },
        limits: Limits {
            manifest: 256 << 10,
            tag_page: 512 << 10,
            tag_pages: PAGES,
            referrer_pages: PAGES,
            ..Limits::default()
        },
        retry: RetryPolicy {
            attempts: ATTEMPTS,
            base: Duration::from_millis(1),
            longest: Duration::from_millis(1_200),
        },
        ..Options::default()
    }
}

/// An address that no other case has: what a client knows of one host is nothing that it knows of another, so that one client
/// is enough for all, and no port is met again.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    (Ipv4Addr::new(127, 7, high, low), 0).into()
}

/// What became of a case: nothing to complain about, or what is wrong.
struct Finding {
    name: String,
    failed: bool,
    complaint: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_at_any_step_hangs_floods_lies_or_tells_a_secret() {
    let log = log::listen();
    let [client, witness] = [(); 2].map(|()| Client::new(options()).unwrap());
    let cells = cells(&client, &witness).await;
    let cells = cells.into_iter().map(|cell| cell.play().boxed());
    let challenges = challenges::all(&client).map(FutureExt::boxed);
    let findings: Vec<Finding> = stream::iter(cells.chain(challenges))
        .map(tokio::spawn)
        .buffer_unordered(AT_ONCE)
        .map(Result::unwrap)
        .collect()
        .await;
    report(&findings, log);
}

/// A fault at a step.
struct Cell {
    step: Step,
    case: Case,
    /// What comes of the operation without a fault.
    honest: Arc<str>,
    client: Client,
    /// Meets no fault.
    witness: Client,
}

/// All of them, those first that take long.
async fn cells(client: &Client, witness: &Client) -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in STEPS {
        let registry = step.registry().await;
        let honest = step.run(&Step::session(&registry, witness)).await;
        let honest: Arc<str> = honest.unwrap().into();
        assert!(step.is_done(&registry), "{step:?}");
        let cases = faults().into_iter().filter(|case| case.applies(step));
        cells.extend(cases.map(|case| Cell {
            step,
            case,
            honest: honest.clone(),
            client: client.clone(),
            witness: witness.clone(),
        }));
    }
    cells.sort_by_key(|cell| !cell.case.is_slow());
    cells
}

#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn report(findings: &[Finding], log: &log::Log) {
    let complaints = findings.iter().filter_map(|finding| {
        let complaint = finding.complaint.as_ref()?;
        Some(format!("{}: {complaint}", finding.name))
    });
    let mut complaints: Vec<_> = complaints.collect();
    complaints.extend(log.complaints());
    complaints.sort();
    let failed = findings.iter().filter(|finding| finding.failed).count();
    println!(
        "fault table: {} cases, {failed} errors, {} successes with the honest result, {} log records without a secret",
        findings.len(),
        findings.len() - failed,
        log.records()
    );
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    assert!(findings.len() >= 1_500, "only {} cases", findings.len());
    assert!(failed >= 1_000, "only {failed} cases are errors");
    assert!(log.records() > 0, "nothing was logged");
}

impl Cell {
    async fn play(self) -> Finding {
        let name = format!("{} at {:?}", self.case.name, self.step);
        let registry = self.step.registry().await;
        registry.script(self.case.rule(self.step, &registry));
        let session = Step::session(&registry, &self.client);
        let (failed, mut complaint) = match self.ended(&session).await {
            None => (true, Some("no end".to_owned())),
            Some(got) => (got.is_err(), self.judge(got, &registry)),
        };
        if complaint.is_none() {
            complaint = self.recovers(&registry).await;
        }
        Finding {
            name,
            failed,
            complaint,
        }
    }

    async fn ended(&self, session: &Session) -> Option<Result<String, Error>> {
        let run = self.step.run(session);
        tokio::time::timeout(DEADLINE, run).await.ok()
    }

    fn judge(&self, got: Result<String, Error>, registry: &FakeRegistry) -> Option<String> {
        if registry.played().last() == Some(&0) {
            return Some(format!("the fault was never met: {got:?}"));
        }
        match got {
            Ok(result) if *result != *self.honest => Some(format!("a lie was believed: {result}")),
            Ok(_) if !self.step.is_done(registry) => Some("success, and it is not there".into()),
            Ok(_) if self.case.must_fail(self.step) => Some("taken for a success".to_owned()),
            Ok(_) => None,
            Err(error) => complaint(&error, self.step, &self.case, registry),
        }
    }

    /// The fault is over: for another client everything is as it should be.
    async fn recovers(&self, registry: &FakeRegistry) -> Option<String> {
        registry.be_honest();
        self.step.prepare(registry);
        let session = Step::session(registry, &self.witness);
        match self.ended(&session).await {
            Some(Ok(result)) if *result == *self.honest && self.step.is_done(registry) => None,
            other => Some(format!("afterwards: {other:?}")),
        }
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
    if asked > MAX_REQUESTS {
        let _ = write!(wrong, "{asked} requests; ");
    }
    (!wrong.is_empty()).then(|| format!("{wrong}in: {text}"))
}
