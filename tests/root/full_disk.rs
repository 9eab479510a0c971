// SPDX-License-Identifier: Apache-2.0
//! The real `wharf` on a disk that is full: it says so, serves on what it has, and goes on by itself once there is room.

use std::{fs, io::Write as _, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;
use wharf_test_support::{
    FakeRegistry,
    artifacts::{layer, random_text},
    registry::FLUX_CONTENT,
    servers::{Launch, Wharf, eventually, http::Http},
};

use crate::disk::Tmpfs;

fn source(registry: &FakeRegistry) -> String {
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
        "metadata": {"name": "app", "namespace": "apps"},
        "spec": {"url": registry.url("app"), "interval": "1s", "insecure": true, "ref": {"tag": "1.0.0"}},
    });
    source.to_string()
}

async fn start(sources: &Path, state: &Path) -> Wharf {
    let launch = Launch::new(env!("CARGO_BIN_EXE_wharf"))
        .arg("run")
        .arg(sources);
    let launch = launch.arg("--state").arg(state).arg("--max-retry-delay=1s");
    Wharf::start(launch).await
}

/// Waits until the status file shows Ready with this status, reason and revision.
async fn until(state: &Path, ready: &str, reason: &str, revision: &str) {
    let wanted = [ready, reason, revision];
    eventually(&format!("{wanted:?}"), async || {
        let text = fs::read_to_string(state.join("status/apps/app.yaml")).unwrap_or_default();
        let object: Value = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
        let conditions = object["status"]["conditions"].as_array().cloned();
        let conditions = conditions.unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready");
        let [status, why] = ["status", "reason"].map(|field| found.map(|found| &found[field]));
        let is_so = status == Some(&json!(ready))
            && why == Some(&json!(reason))
            && object["status"]["artifact"]["revision"] == revision;
        is_so.then_some(()).ok_or(text)
    })
    .await;
}

async fn latest(wharf: &Wharf) -> Vec<u8> {
    let url = wharf.url("ocirepository/apps/app/latest.tar.gz");
    Http::plain().get(&url).await.unwrap().body.to_vec()
}

#[tokio::test]
async fn an_artifact_that_does_not_fit_is_a_storage_failure_and_the_old_one_is_served() {
    let (disk, sources) = (Tmpfs::new("size=2m"), TempDir::new().unwrap());
    let registry = FakeRegistry::start().await;
    let small = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    fs::write(sources.path().join("app.yaml"), source(&registry)).unwrap();
    let wharf = start(sources.path(), disk.path()).await;
    until(disk.path(), "True", "Succeeded", &small.revision()).await;

    let large = layer(&[("a", &random_text(4096, 1))]);
    registry.push_artifact("app", "1.0.0", large, FLUX_CONTENT);
    until(
        disk.path(),
        "False",
        "ArchiveOperationFailed",
        &small.revision(),
    )
    .await;
    assert!(latest(&wharf).await == small.layer);

    let next = registry.push_artifact("app", "1.0.0", layer(&[("a", "2")]), FLUX_CONTENT);
    until(disk.path(), "True", "Succeeded", &next.revision()).await;
    assert!(latest(&wharf).await == next.layer);
}

#[tokio::test]
async fn a_disk_without_a_byte_left_is_survived() {
    let (disk, sources) = (Tmpfs::new("size=2m"), TempDir::new().unwrap());
    let registry = FakeRegistry::start().await;
    let first = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    fs::write(sources.path().join("app.yaml"), source(&registry)).unwrap();
    let wharf = start(sources.path(), disk.path()).await;
    until(disk.path(), "True", "Succeeded", &first.revision()).await;

    let ballast = disk.path().join("ballast");
    let mut filling = fs::File::create(&ballast).unwrap();
    while filling.write(&[0; 512]).is_ok() {}
    let second = registry.push_artifact("app", "1.0.0", layer(&[("a", "2")]), FLUX_CONTENT);
    // Neither the artifact nor what is to say about it can be written: only the log tells.
    eventually("it has noticed", async || {
        let log = wharf.log();
        log.contains("No space left").then_some(()).ok_or(log)
    })
    .await;
    assert!(latest(&wharf).await == first.layer);

    drop(filling);
    fs::remove_file(ballast).unwrap();
    until(disk.path(), "True", "Succeeded", &second.revision()).await;
    assert!(latest(&wharf).await == second.layer);
}
