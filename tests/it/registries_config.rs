// SPDX-License-Identifier: Apache-2.0
//! The settings file of registries (`--registries-config`), through the command line, and how a layer is pushed.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use wharf_test_support::registry::{Endpoint, FakeRegistry};

/// Runs the command; `config` goes into the environment.
fn wharf(args: &[&str], config: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command
        .args(args)
        .env_remove("HOME")
        .env_remove("DOCKER_CONFIG")
        .env_remove("WHARF_REGISTRIES_CONFIG");
    if let Some(config) = config {
        command.env("WHARF_REGISTRIES_CONFIG", config);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory with something to push and a settings file.
fn work(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("app")).unwrap();
    fs::write(dir.path().join("app/a.yaml"), "a: 1\n".repeat(1000)).unwrap();
    fs::write(dir.path().join("registries.yaml"), config).unwrap();
    dir
}

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_pull_reads_from_the_mirror_of_the_file() {
    let (registry, mirror) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let config = format!(
        "hosts:\n  {}:\n    mirrors:\n      - url: http://{}\n",
        registry.host(),
        mirror.host()
    );
    let dir = work(&config);
    for host in [registry.host(), mirror.host()] {
        let reference = format!("{host}/team/app:1.0.0");
        let pushed = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["push", &path(&dir, "app"), &reference])
            .env("SOURCE_DATE_EPOCH", "0")
            .env_remove("HOME")
            .output()
            .unwrap();
        assert!(pushed.status.success(), "{}", text(&pushed.stderr));
    }
    let (registries, reference) = (
        path(&dir, "registries.yaml"),
        format!("{}/team/app:1.0.0", registry.host()),
    );
    registry.clear_requests();
    mirror.clear_requests();

    let by_flag = [
        "pull",
        &reference,
        &path(&dir, "one"),
        "--registries-config",
        &registries,
    ];
    let pulled = wharf(&by_flag, None);
    assert!(pulled.status.success(), "{}", text(&pulled.stderr));
    assert_eq!(mirror.requests_to(Endpoint::Blob).len(), 1);
    assert!(registry.requests_to(Endpoint::Blob).is_empty());

    let by_environment = ["pull", &reference, &path(&dir, "two")];
    let pulled = wharf(&by_environment, Some(Path::new(&registries)));
    assert!(pulled.status.success(), "{}", text(&pulled.stderr));
    assert_eq!(mirror.requests_to(Endpoint::Blob).len(), 2);
    assert!(registry.requests_to(Endpoint::Blob).is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_stops_every_verb_and_names_what_is_wrong() {
    let registry = FakeRegistry::start().await;
    let dir = work("hosts:\n  ghcr.io:\n    rate: canary\n");
    let reference = format!("{}/team/app:1.0.0", registry.host());
    let (app, state) = (path(&dir, "app"), path(&dir, "state"));
    for args in [
        vec!["push", &app, &reference],
        vec!["pull", &reference, &state],
        vec![
            "run",
            &app,
            "--once",
            "--state",
            &state,
            "--storage-addr",
            "127.0.0.1:0",
        ],
    ] {
        let failed = wharf(&args, Some(&dir.path().join("registries.yaml")));
        assert_eq!(failed.status.code(), Some(1), "{args:?}");
        let told = text(&failed.stderr);
        assert!(told.contains("hosts.ghcr.io.rate"), "{args:?}: {told}");
        assert!(!told.contains("canary"), "{args:?}: {told}");
    }
    let missing = wharf(
        &["pull", &reference, &state],
        Some(Path::new("nowhere.yaml")),
    );
    assert!(text(&missing.stderr).contains("nowhere.yaml"));
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn a_push_says_how_the_layer_came_there() {
    let registry = FakeRegistry::start().await;
    let dir = work("");
    let base = format!("{}/team/base", registry.host());
    let app = format!("{}/team/app", registry.host());
    let push = |repository: &str, more: &[&str]| {
        let reference = format!("{repository}:1.0.0");
        let directory = path(&dir, "app");
        let args = [&["push", &directory, &reference, "-o", "json"], more].concat();
        let pushed = wharf(&args, None);
        assert!(pushed.status.success(), "{}", text(&pushed.stderr));
        let line: serde_json::Value = serde_json::from_slice(&pushed.stdout).unwrap();
        line["blob"].as_str().unwrap().to_owned()
    };
    assert_eq!(push(&base, &["--chunk-bytes", "20"]), "uploaded");
    assert_eq!(push(&base, &[]), "existed");
    assert_eq!(push(&app, &["--mount-from", &base]), "mounted");
    // Without a registry it is one of the registry that is pushed to.
    let third = format!("{}/team/third", registry.host());
    assert_eq!(push(&third, &["--mount-from", "team/base"]), "mounted");
    let patches = registry.requests_to(Endpoint::Upload);
    let patches = patches
        .iter()
        .filter(|seen| seen.method == http::Method::PATCH);
    assert!(patches.count() > 1);

    let elsewhere = ["--mount-from", "ghcr.io/team/base"];
    let (directory, reference) = (path(&dir, "app"), format!("{app}:2"));
    let args = [&["push", &directory, &reference], &elsewhere[..]].concat();
    let refused = wharf(&args, None);
    assert_eq!(refused.status.code(), Some(2));
    let told = text(&refused.stderr);
    let both = format!(
        "in the registry ghcr.io, and the push goes to {}",
        registry.host()
    );
    assert!(told.contains(&both), "{told}");

    for (flag, value) in [("--mount-from", "NOT A NAME"), ("--chunk-bytes", "0")] {
        let refused = wharf(
            &["push", &path(&dir, "app"), &format!("{app}:2"), flag, value],
            None,
        );
        assert_eq!(refused.status.code(), Some(2), "{flag}");
        assert!(text(&refused.stderr).contains(flag));
    }
}

#[tokio::test]
async fn an_empty_variable_names_no_file() {
    let registry = FakeRegistry::start().await;
    let dir = work("");
    let reference = format!("{}/team/app:1.0.0", registry.host());
    let pushed = wharf(
        &["push", &path(&dir, "app"), &reference],
        Some(Path::new("")),
    );
    assert!(pushed.status.success(), "{}", text(&pushed.stderr));
}

/// What is wrong with the file is said without waiting for a cluster.
#[test]
fn a_controller_reads_the_file_before_it_asks_the_cluster() {
    let dir = work("hosts:\n  ghcr.io:\n    rate: canary\n");
    let (nowhere, store) = (path(&dir, "nowhere"), path(&dir, "app"));
    let args = [
        "controller",
        "--kubeconfig",
        &nowhere,
        "--storage-path",
        &store,
    ];
    let failed = wharf(&args, Some(&dir.path().join("registries.yaml")));
    assert_eq!(failed.status.code(), Some(1));
    let told = text(&failed.stderr);
    assert!(told.contains("hosts.ghcr.io.rate"), "{told}");
}
