// SPDX-License-Identifier: Apache-2.0
//! What is lost on disk is made again, and what is already there is looked at again when it has to be.

use std::{fs, path::Path, process::Command};

use wharf_test_support::{
    artifacts,
    registry::{FLUX_CONTENT, FakeRegistry, SeededArtifact},
};

/// A directory with one source, and the state beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn new(registry: &FakeRegistry) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("sources")).unwrap();
        place.write(registry, "");
        place
    }

    fn write(&self, registry: &FakeRegistry, more: &str) {
        let url = registry.url("app");
        let text = format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{name: app}}\n\
             spec: {{interval: 1h, url: {url}, ref: {{tag: '1'}}{more}}}\n"
        );
        fs::write(self.0.path().join("sources/app.yaml"), text).unwrap();
    }

    /// `wharf run --once`; gives the exit code.
    fn run_once(&self, flags: &[&str]) -> Option<i32> {
        let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["run", "--once", "--storage-addr=127.0.0.1:0"])
            .arg(self.0.path().join("sources"))
            .arg("--state")
            .arg(self.0.path().join("state"))
            .args(flags)
            .output()
            .unwrap();
        output.status.code()
    }

    fn blobs(&self) -> Vec<std::path::PathBuf> {
        let folder = self.0.path().join("state/store/blobs/sha256");
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    fn status(&self) -> serde_json::Value {
        let text = fs::read_to_string(self.0.path().join("state/status/default/app.yaml")).unwrap();
        let object: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        object["status"].clone()
    }
}

/// A source whose artifact was stored, by a process that has ended.
async fn stored() -> (FakeRegistry, SeededArtifact, Place) {
    let registry = FakeRegistry::start().await;
    let layer = artifacts::layer(&[("a", "content")]);
    let seeded = registry.push_artifact("app", "1", layer, FLUX_CONTENT);
    let place = Place::new(&registry);
    assert_eq!(place.run_once(&[]), Some(0));
    (registry, seeded, place)
}

fn only(blobs: &[std::path::PathBuf]) -> &Path {
    assert_eq!(blobs.len(), 1, "{blobs:?}");
    &blobs[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_whose_bytes_are_gone_or_cut_is_made_again() {
    let (_registry, _, place) = stored().await;
    let whole = fs::read(only(&place.blobs())).unwrap();

    fs::remove_file(only(&place.blobs())).unwrap();
    assert_eq!(place.run_once(&[]), Some(0));
    assert_eq!(fs::read(only(&place.blobs())).unwrap(), whole);

    fs::write(only(&place.blobs()), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(place.run_once(&[]), Some(0));
    assert_eq!(fs::read(only(&place.blobs())).unwrap(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_artifact_is_made_again_while_the_process_runs() {
    let (registry, _, place) = stored().await;
    let seen = registry.requests().len();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["run", "--storage-addr=127.0.0.1:0"])
        .arg(place.0.path().join("sources"))
        .arg("--state")
        .arg(place.0.path().join("state"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The process is up once it has asked the registry; only then is the blob taken from under it.
    eventually(|| registry.requests().len() > seen);
    fs::remove_file(only(&place.blobs())).unwrap();
    // A request for a run is what a person would try first.
    let text = fs::read_to_string(place.0.path().join("sources/app.yaml")).unwrap();
    let asked = text.replace(
        "{name: app}",
        "{name: app, annotations: {reconcile.fluxcd.io/requestedAt: now}}",
    );
    fs::write(place.0.path().join("sources/app.yaml"), asked).unwrap();
    eventually(|| place.blobs().len() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_changes_the_bytes_acts_on_what_is_stored() {
    let (_registry, seeded, place) = stored().await;
    assert_eq!(place.status()["artifact"]["digest"], seeded.layer_digest);
    assert_eq!(place.run_once(&["--passthrough=off"]), Some(0));
    assert_ne!(place.status()["artifact"]["digest"], seeded.layer_digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_source_keeps_what_was_said_of_it_when_the_store_is_emptied() {
    let (registry, _, place) = stored().await;
    let before = place.status();
    place.write(&registry, ", suspend: true");
    fs::remove_dir_all(place.0.path().join("state/store")).unwrap();
    assert_eq!(place.run_once(&[]), Some(0));
    assert_eq!(place.status()["artifact"], before["artifact"]);
}

/// Waits for a state, with a deadline.
fn eventually(mut check: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !check() {
        assert!(std::time::Instant::now() < deadline, "not within a minute");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
