// SPDX-License-Identifier: Apache-2.0
//! What the process does when it cannot start, or cannot write: it says why, with the exit code that the help names.

use std::net::TcpListener;
use std::process::Output;

use tempfile::TempDir;
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::{layer, random_text};
use wharf_test_support::registry::FLUX_CONTENT;
use wharf_test_support::servers::{free_port, scratch};

use crate::env;
use crate::objects::{condition, revision, source};
use crate::world::{World, files, get, write_whole};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn sources() -> TempDir {
    let folder = scratch("sources");
    std::fs::create_dir(folder.path().join("d")).unwrap();
    folder
}

#[tokio::test]
async fn a_port_in_use_ends_it_with_1_and_the_flag() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().unwrap();
    let folder = sources();
    for flag in ["--storage-addr", "--metrics-addr", "--health-addr"] {
        let mut launch = env::wharf().arg("run").arg(folder.path().join("d"));
        for other in ["--storage-addr", "--metrics-addr", "--health-addr"] {
            let port = if other == flag {
                taken.port()
            } else {
                free_port()
            };
            launch = launch.arg(format!("{other}=127.0.0.1:{port}"));
        }
        let output = launch.output("").await;
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let told = stderr(&output);
        assert!(
            told.contains(flag) && told.contains(&taken.to_string()) && told.contains("in use"),
            "{told}"
        );
    }
    // It says so before it makes anything.
    assert!(!folder.path().join("d/.wharf").exists());
}

#[tokio::test]
async fn a_port_in_use_ends_the_controller_too() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().unwrap();
    let folder = scratch("store");
    let output = env::wharf()
        .args([
            "controller",
            "--metrics-addr=127.0.0.1:0",
            "--health-addr=127.0.0.1:0",
        ])
        .arg(format!("--storage-addr={taken}"))
        .arg("--kubeconfig")
        .arg(env::api().await.kubeconfig())
        .arg("--storage-path")
        .arg(folder.path())
        .output("")
        .await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("--storage-addr"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_written_ends_it_with_1_and_the_path() {
    let folder = sources();
    // A file where a directory is needed stops also root, whom permissions do not.
    let state = folder.path().join("state");
    std::fs::write(&state, "").unwrap();
    let output = env::wharf()
        .arg("run")
        .arg(folder.path().join("d"))
        .arg("--storage-addr=127.0.0.1:0")
        .arg("--state")
        .arg(&state)
        .output("")
        .await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(&state.display().to_string()),
        "{}",
        stderr(&output)
    );

    let output = env::wharf()
        .args([
            "controller",
            "--storage-addr=127.0.0.1:0",
            "--metrics-addr=127.0.0.1:0",
            "--health-addr=127.0.0.1:0",
        ])
        .arg("--kubeconfig")
        .arg(env::api().await.kubeconfig())
        .arg("--storage-path")
        .arg(&state)
        .output("")
        .await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("--storage-path"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_disk_that_takes_no_more_is_a_storage_failure_and_the_old_artifact_is_served() {
    let registry = FakeRegistry::start().await;
    let small = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    // Beyond 1 MiB the kernel refuses to write, as it does on a full disk.
    let world = World::standalone_with(env::wharf().arg("run").file_size_limit(1024)).await;
    world.apply(source("app", &registry.url("app"))).await;
    world.ready_at("app", &small.revision()).await;

    registry.push_artifact(
        "app",
        "1.0.0",
        layer(&[("a", &random_text(3000, 1))]),
        FLUX_CONTENT,
    );
    let object = world.failed("app", "ArchiveOperationFailed", &[]).await;
    assert_eq!(
        condition(&object, "StorageOperationFailed")[0],
        "True",
        "{object:#}"
    );
    assert_eq!(revision(&object), small.revision());
    assert_eq!(world.artifact(&object).await, small.layer);
    assert_eq!(files(&world.store().join("blobs")).len(), 1);

    let smaller = registry.push_artifact("app", "1.0.0", layer(&[("a", "2")]), FLUX_CONTENT);
    let object = world.ready_at("app", &smaller.revision()).await;
    assert_eq!(condition(&object, "StorageOperationFailed")[0], "");
    assert_eq!(
        files(&world.store().join("staging")),
        Vec::<std::path::PathBuf>::new()
    );
}

#[tokio::test]
async fn once_ends_with_0_when_all_are_ready_and_with_3_when_one_is_not() {
    let registry = FakeRegistry::start().await;
    registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    let folder = sources();
    let directory = folder.path().join("d");
    let once = || {
        env::wharf()
            .arg("run")
            .arg(&directory)
            .args(["--once", "--storage-addr=127.0.0.1:0"])
    };
    write_whole(
        &directory.join("app.yaml"),
        &source("app", &registry.url("app")).to_string(),
    );
    let output = once().output("").await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("stored artifact"),
        "{output:?}"
    );

    write_whole(
        &directory.join("more.yaml"),
        &source("more", &registry.url("nothing")).to_string(),
    );
    let output = once().output("").await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("404"),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_file_with_an_unknown_field_is_refused_with_file_and_line_and_the_others_run() {
    let registry = FakeRegistry::start().await;
    registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    let folder = sources();
    let directory = folder.path().join("d");
    let good = source("good", &registry.url("app"));
    write_whole(&directory.join("good.yaml"), &good.to_string());
    let bad = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata:\n  name: bad\nspec:\n  \
               url: oci://registry.example/app\n  interval: 1m\n  novelty: true\n";
    write_whole(&directory.join("bad.yaml"), bad);
    let output = env::wharf()
        .arg("run")
        .arg(&directory)
        .args(["--once", "--storage-addr=127.0.0.1:0"])
        .output("")
        .await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(
        told.contains("bad.yaml") && told.contains("spec.novelty") && told.contains('8'),
        "{told}"
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("good"),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_url_without_its_scheme_stalls_and_the_message_names_the_fix() {
    let world = World::standalone().await;
    world.apply(source("app", "docker.io/org/app")).await;
    world
        .stalled(
            "app",
            "URLInvalid",
            &["docker.io/org/app", "write 'oci://docker.io/org/app'"],
        )
        .await;
    world
        .apply(source("http", "https://registry.example/app"))
        .await;
    world.stalled("http", "URLInvalid", &["oci://"]).await;
}

#[tokio::test]
async fn health_readiness_and_metrics_are_served() {
    let world = World::standalone().await;
    let registry = FakeRegistry::start().await;
    let pushed = registry.push_artifact("app", "1.0.0", layer(&[("a", "1")]), FLUX_CONTENT);
    world.apply(source("app", &registry.url("app"))).await;
    world.ready_at("app", &pushed.revision()).await;
    assert_eq!(
        (
            world.wharf.health("/healthz").await,
            world.wharf.health("/readyz").await
        ),
        (200, 200)
    );
    let metrics = world.wharf.metrics().await;
    let observed = "gotk_reconcile_duration_seconds_count{";
    let line = metrics
        .lines()
        .find(|line| line.starts_with(observed))
        .unwrap_or_default();
    for label in [
        "kind=\"OCIRepository\"",
        "name=\"app\"",
        "namespace=\"apps\"",
    ] {
        assert!(line.contains(label), "{metrics}");
    }
    let answered = metrics
        .lines()
        .find_map(|line| line.strip_prefix("wharf_registry_requests_total{code=\"2xx\"} "));
    assert!(
        answered.is_some_and(|number| number.parse::<u64>().unwrap() >= 3),
        "{metrics}"
    );
    for series in [
        "wharf_registry_requests_total{code=\"429\"} 0",
        "wharf_registry_hosts_suspended{state=\"broken\"} 0",
        "wharf_registry_requests_in_flight 0",
    ] {
        assert!(metrics.lines().any(|line| line == series), "{metrics}");
    }
    for absent in [
        "ocirepository/apps/app/nothing.tar.gz",
        "ocirepository/apps/app/",
        "ocirepository/apps/app/../../x",
    ] {
        assert_eq!(get(&world.wharf.url(absent)).await.status, 404, "{absent}");
    }
}
