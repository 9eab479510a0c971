// SPDX-License-Identifier: Apache-2.0
//! `wharf push` and `wharf pull` against the real registries: the tree that was pushed comes back.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use http::header::ACCEPT;
use wharf_test_support::registry::{OCI_MANIFEST, sha256};
use wharf_test_support::servers::{Launch, PASSWORD, USERNAME, http::Http, scratch};

use crate::env;
use crate::world::files;

fn tree(root: &Path) {
    std::fs::create_dir_all(root.join("deep/er")).unwrap();
    std::fs::write(root.join("app.yaml"), "kind: ConfigMap\n").unwrap();
    std::fs::write(root.join("deep/er/größe.txt"), "µ").unwrap();
    std::fs::write(root.join("deep/run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(
        root.join("deep/run.sh"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    std::fs::write(
        root.join("large.bin"),
        wharf_test_support::artifacts::random_text(2000, 3),
    )
    .unwrap();
}

/// Relative name, content and whether it may be executed.
fn contents(root: &Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    let entry = |path: std::path::PathBuf| {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        (name, (std::fs::read(&path).unwrap(), mode & 0o100 != 0))
    };
    files(root).into_iter().map(entry).collect()
}

async fn round_trip(
    host: &str,
    repository: &str,
    http: &Http,
    base: &str,
    flags: &[&str],
    stdin: &str,
) {
    let folder = scratch("push-pull");
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    tree(&source);
    let reference = format!("{host}/{repository}:1.0.0");
    let run = async |launch: Launch| {
        let output = launch.args(flags).output(stdin).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let pushed = run(env::wharf()
        .arg("push")
        .arg(&source)
        .arg(&reference)
        .args(["-o", "json"]))
    .await;
    let url = format!("{base}/v2/{repository}/manifests/1.0.0");
    let http = http.clone().with(ACCEPT, OCI_MANIFEST);
    let manifest = http.get(&url).await.unwrap();
    let digest = sha256(&manifest.body);
    assert!(pushed.contains(&digest), "{pushed}");
    run(env::wharf().arg("pull").arg(&reference).arg(&target)).await;
    assert_eq!(contents(&source), contents(&target));

    let by_digest = format!("{host}/{repository}@{digest}");
    let again = folder.path().join("again");
    run(env::wharf().arg("pull").arg(&by_digest).arg(&again)).await;
    assert_eq!(contents(&source), contents(&again));
}

#[tokio::test]
async fn through_distribution() {
    let registry = env::plain().await;
    round_trip(
        registry.host(),
        "tools/push",
        &registry.http(),
        &registry.base_url(),
        &[],
        "",
    )
    .await;
}

#[tokio::test]
async fn through_distribution_over_tls_with_a_password() {
    let registry = env::secured().await;
    let authority = registry.authority_file();
    let flags = [
        "--ca-file",
        authority.to_str().unwrap(),
        "--username",
        USERNAME,
        "--password-stdin",
    ];
    round_trip(
        registry.host(),
        "tools/push",
        &registry.http(),
        &registry.base_url(),
        &flags,
        PASSWORD,
    )
    .await;
}

#[tokio::test]
async fn through_go_containerregistry() {
    let registry = env::referrers().await;
    round_trip(
        registry.host(),
        "tools/push",
        &Http::plain(),
        &registry.base_url(),
        &[],
        "",
    )
    .await;
}
