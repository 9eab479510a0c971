// SPDX-License-Identifier: Apache-2.0
//! How much memory it takes to list 100,000 tags and to select one of them: far less than the list.
//!
//! The registry runs in this process, the client in a child of it (this program again, with the registry's address in
//! its environment), so that only the client is measured. What is measured is the peak of its resident memory as the
//! kernel counts it (`VmHWM`), from the start of the process, with the trusted roots and the binary itself.
#![expect(clippy::unwrap_used, reason = "a broken fixture must stop the test")]
#![expect(clippy::print_stdout, reason = "the figure is the result")]

use std::{env, process::Command};

use serde_json::json;
use wharf_oci::{
    registry::{Access, Client, Options, Session},
    select::{Selector, SemverPolicy, TagEncoding, Verdicts},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_MANIFEST, Rule},
};

const REGISTRY: &str = "WHARF_MEMORY_TEST_REGISTRY";
const TAGS: usize = 100_000;
const PAGE: usize = 1000;
/// What is selected, and the highest version in the range, which is not the highest of all.
const RANGE: &str = ">=1.0.0 <9.0.0";
const CHOSEN: &str = "v8.99.99";
const MAX_KIB: u64 = 32 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match env::var(REGISTRY) {
        Ok(host) => client(&host).await,
        Err(_) => measure().await,
    }
}

/// In pages, and all at once between descriptions of manifests, as some registries list.
async fn measure() {
    let tag = |n| format!("v{}.{}.{}", n / 10_000, n / 100 % 100, n % 100);
    let registry = FakeRegistry::builder()
        .tag_page(PAGE)
        .start()
        .await
        .unwrap();
    for n in 0..TAGS {
        registry.put_manifest("team/app", &tag(n), OCI_MANIFEST, "{}");
    }
    judge(&registry, "in pages").await;
    // The last page is full and leads nowhere, so that it is asked what comes after.
    let requests = registry.requests_to(Endpoint::Tags).len();
    assert_eq!(requests, TAGS / PAGE + 1);
    let described = |n| {
        (
            format!("sha256:{n:064}"),
            json!({"tag": [tag(n)], "timeCreatedMs": "0"}),
        )
    };
    let manifests: serde_json::Map<_, _> = (0..TAGS).map(described).collect();
    let tags: Vec<_> = (0..TAGS).map(tag).collect();
    let page = json!({"child": [], "manifest": manifests, "name": "team/app", "tags": tags});
    let page = Fault::status_with(200, &[], page.to_string());
    registry.script(Rule::on(Endpoint::Tags).fault(page));
    judge(&registry, "at once").await;
}

async fn judge(registry: &FakeRegistry, how: &str) {
    let mut child = Command::new(env::current_exe().unwrap());
    child.env(REGISTRY, registry.host());
    let output = tokio::task::spawn_blocking(move || child.output());
    let output = output.await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {stderr}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (considered, rest) = said.trim().split_once(' ').unwrap();
    let (chosen, peak) = rest.split_once(' ').unwrap();
    assert_eq!(considered.parse(), Ok(TAGS));
    assert_eq!(chosen, CHOSEN);
    let peak: u64 = peak.parse().unwrap();
    let mib = kib_as_mib(peak);
    println!(
        "{TAGS} tags listed {how} and {chosen} selected from them with a peak of {mib:.1} MiB resident"
    );
    assert!(peak < MAX_KIB, "{peak} KiB are not below {MAX_KIB}");
}

/// Lists and selects; says how many tags there were, which one it was and how much memory it took at most, in KiB.
async fn client(host: &str) {
    let repository = format!("{host}/team/app").parse().unwrap();
    let client = Client::new(Options::default()).unwrap();
    let session = client.session(repository, &Access::default()).unwrap();
    let (considered, chosen) = select(&session).await;
    println!("{considered} {chosen} {}", peak_kib());
}

/// As the tags come: no page is kept.
async fn select(session: &Session) -> (u64, String) {
    let policy = SemverPolicy {
        constraint: RANGE.parse().unwrap(),
        filter: None,
        encoding: TagEncoding::default(),
    };
    let mut selector = Selector::new(&policy, Verdicts::Examples);
    let mut tags = session.tags();
    while let Some(page) = tags.next_page().await.unwrap() {
        for tag in &page.tags {
            selector.consider(tag.as_str());
        }
    }
    let selection = selector.finish();
    (selection.considered, selection.chosen.unwrap().to_string())
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn kib_as_mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
