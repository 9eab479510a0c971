// SPDX-License-Identifier: Apache-2.0
//! `make bench`: how long, and at what cost, a cluster's sources become Ready from nothing.
//!
//! One real etcd, API server and registry on loopback; `SOURCES` objects (1,000 unless set), each with an artifact of its
//! own of about 64 KiB; `RUNS` cold starts (3 unless set), each with an empty store and new objects. Wall time is from the
//! start of the process to the last source being Ready, by the controller's own counter; processor time and the largest
//! resident set are the kernel's figures for the process.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark prints its figures and stops at the first surprise"
)]

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use wharf_oci::{
    Descriptor, Digest, ImageManifest, Repository, media_type,
    registry::{Access, Client, Content, Options, Target},
};
use wharf_test_support::{
    artifacts::{self, random_text},
    servers::{ApiServer, Distribution, Launch, Wharf, within},
};

/// Random text of this size packs to about 64 KiB.
const TEXT_KIB: usize = 86;
const LIMIT: Duration = Duration::from_secs(600);
/// How often the counter is read, which is also how exact the wall time is.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What one cold start took.
struct Figures {
    wall: Duration,
    cpu: Duration,
    peak_rss_kib: u64,
}

#[tokio::main]
async fn main() {
    let (sources, runs) = (setting("SOURCES", 1000), setting("RUNS", 3));
    let api = ApiServer::start().await;
    let registry = Distribution::start().await;
    api.define(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crds"))
        .await;
    let size = fill(&registry, sources).await;
    print_setting(sources, size);
    let mut figures = Vec::new();
    for run in 0..runs {
        let namespace = format!("bench-{run}");
        api.namespace(&namespace).await;
        api.apply(&objects(&registry, &namespace, sources)).await;
        figures.push(cold_start(&api, &namespace, sources).await);
        print_row(&format!("run {}", run + 1), figures.last().unwrap());
    }
    print_row("median", &median(&figures));
}

/// A number from the environment.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}: {text:?} is no number"))
    })
}

/// Pushes an artifact of its own for every source; gives the size of one layer.
async fn fill(registry: &Distribution, sources: usize) -> usize {
    let client = Client::new(Options::default()).unwrap();
    let sizes = stream::iter(0..sources)
        .map(|n| push_one(&client, registry, n))
        .buffer_unordered(8);
    sizes
        .fold(0, |largest, size| async move { largest.max(size) })
        .await
}

async fn push_one(client: &Client, registry: &Distribution, n: usize) -> usize {
    let repository: Repository = format!("{}/bench/app-{n}", registry.host())
        .parse()
        .unwrap();
    let session = client.session(repository, &Access::default()).unwrap();
    let text = random_text(TEXT_KIB, n as u64);
    let layer = artifacts::layer(&[("manifest.yaml", &text)]);
    let config = describe(media_type::FLUX_CONFIG, b"{}");
    let content = describe(media_type::FLUX_CONTENT, &layer);
    let size = layer.len();
    session
        .push_blob(&config, &Content::Bytes(b"{}".as_slice().into()))
        .await
        .unwrap();
    session
        .push_blob(&content, &Content::Bytes(layer.into()))
        .await
        .unwrap();
    let manifest = ImageManifest::new(config, vec![content], std::collections::BTreeMap::new());
    let bytes = serde_json::to_vec(&manifest).unwrap().into();
    session
        .push_manifest(
            &Target::Tag("1.0.0".parse().unwrap()),
            bytes,
            media_type::OCI_MANIFEST,
        )
        .await
        .unwrap();
    size
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::sha256_of(bytes), bytes.len() as u64)
}

fn objects(registry: &Distribution, namespace: &str, sources: usize) -> String {
    let object = |n| {
        format!(
            "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{name: app-{n}, namespace: {namespace}}}\n\
             spec: {{interval: 10m, url: {}, ref: {{tag: 1.0.0}}}}\n",
            registry.url(&format!("bench/app-{n}"))
        )
    };
    (0..sources).map(object).collect()
}

/// Starts the controller on nothing and waits until every source is Ready.
async fn cold_start(api: &ApiServer, namespace: &str, sources: usize) -> Figures {
    let store = tempfile::tempdir().unwrap();
    let launch = Launch::new(env!("CARGO_BIN_EXE_wharf"))
        .args([
            "controller",
            "--watch-all-namespaces=false",
            "--log-level=error",
        ])
        .arg("--kubeconfig")
        .arg(api.kubeconfig())
        .arg("--storage-path")
        .arg(store.path())
        .env("RUNTIME_NAMESPACE", namespace);
    let start = Instant::now();
    let mut wharf = Wharf::start(launch).await;
    let all_ready = within(LIMIT, async || {
        // Asking costs the controller processor time too: a page with a thousand histograms.
        tokio::time::sleep(ASK_EVERY).await;
        let done = succeeded(&wharf.metrics().await);
        if done >= sources {
            Ok(())
        } else {
            Err(format!("{done} of {sources} are Ready"))
        }
    });
    all_ready
        .await
        .unwrap_or_else(|last| panic!("{last}\n{}", wharf.log()));
    let figures = Figures {
        wall: start.elapsed(),
        cpu: cpu(wharf.id()),
        peak_rss_kib: peak_rss_kib(wharf.id()),
    };
    wharf.terminate().await;
    figures
}

fn succeeded(metrics: &str) -> usize {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("wharf_reconcile_total{result=\"success\"} "));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or_default()
}

/// User and system time. Linux counts them in hundredths of a second.
fn cpu(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may hold spaces; what follows does not.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn peak_rss_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn median(figures: &[Figures]) -> Figures {
    let middle = figures.len() / 2;
    let of = |value: fn(&Figures) -> u128| {
        let mut values: Vec<u128> = figures.iter().map(value).collect();
        values.sort_unstable();
        u64::try_from(values[middle]).unwrap()
    };
    Figures {
        wall: Duration::from_millis(of(|f| f.wall.as_millis())),
        cpu: Duration::from_millis(of(|f| f.cpu.as_millis())),
        peak_rss_kib: of(|f| u128::from(f.peak_rss_kib)),
    }
}

fn print_setting(sources: usize, size: usize) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "wharf {}, release build; {cores} cores; {}",
        env!("CARGO_PKG_VERSION"),
        said_by("uname", &["-srm"])
    );
    println!("{}; {}", said_by("rustc", &["--version"]), cpu_model());
    println!("kube-apiserver and registry as in tests/tools/README.md, on loopback");
    println!(
        "{sources} sources, each with its own artifact of {} KiB; cold start\n",
        size / 1024
    );
    println!("{:8} {:>9} {:>9} {:>10}", "", "wall", "CPU", "peak RSS");
}

fn print_row(name: &str, figures: &Figures) {
    let mib = figures.peak_rss_kib / 1024;
    println!(
        "{name:8} {:>7.2} s {:>7.2} s {mib:>6} MiB",
        figures.wall.as_secs_f64(),
        figures.cpu.as_secs_f64()
    );
}

fn said_by(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned())
        .unwrap_or_default()
}
