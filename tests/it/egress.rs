// SPDX-License-Identifier: Apache-2.0
//! The flags for what may be reached, as the program itself takes them.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use wharf_test_support::{
    FakeRegistry, artifacts::layer, proxy::FakeProxy, registry::FLUX_CONTENT, tls::Authority,
};

const PASSWORD: &str = "canary-password";

/// `wharf pull`, without settings of whoever runs the tests.
fn pull(reference: &str, target: &Path, flags: &[&str], proxy: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.arg("pull").args(flags).arg(reference).arg(target);
    for name in ["HOME", "DOCKER_CONFIG", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    if let Some(proxy) = proxy {
        command.env("HTTP_PROXY", proxy).env("HTTPS_PROXY", proxy);
    }
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended before it reads.
    let _ = child.stdin.take().unwrap().write_all(PASSWORD.as_bytes());
    child.wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_strict_rules_a_proxy_is_asked_for_listed_hosts_only() {
    let (registry, proxy) = (FakeRegistry::start().await, FakeProxy::start());
    let content = layer(&[("a.yaml", "kind: A\n")]);
    registry.push_artifact("app", "1.0.0", content, FLUX_CONTENT);
    proxy.lead("registry.example", registry.addr());
    let reference = format!("registry.example:{}/app:1.0.0", registry.addr().port());
    let scratch = tempfile::tempdir().unwrap();
    let pull = |number: usize, more: &[&str]| {
        let flags = [&["--insecure"], more].concat();
        let target = scratch.path().join(number.to_string());
        pull(&reference, &target, &flags, Some(&proxy.url()))
    };
    let strict = ["--strict-egress", "--egress-allow=127.0.0.1"];
    let other = [&strict[..], &["--egress-proxied=other.example"]].concat();
    let listed = [
        &strict[..],
        &[
            "--egress-proxied=*.example.org",
            "--egress-proxied=registry.example",
        ],
    ]
    .concat();
    for (number, flags) in [&strict[..], &other].into_iter().enumerate() {
        let refused = pull(number, flags);
        assert_eq!(refused.status.code(), Some(1));
        let told = stderr(&refused);
        assert!(told.contains("asked for through a proxy"), "{told}");
    }
    // Nor is the proxy dialled where it is not listed itself.
    let unlisted = pull(2, &["--strict-egress", "--egress-proxied=registry.example"]);
    let told = stderr(&unlisted);
    assert!(told.contains("a loopback address"), "{told}");
    assert_eq!(proxy.asked(), []);
    for (number, flags) in [(3, &listed[..]), (4, &[])] {
        let pulled = pull(number, flags);
        assert!(pulled.status.success(), "{}", stderr(&pulled));
    }
    assert!(!proxy.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_strict_rules_a_password_is_not_shown_to_whoever_answers() {
    let authority = Authority::new("Test CA");
    let registry = FakeRegistry::builder().basic("robot", PASSWORD);
    let registry = registry.tls(&authority.local_leaf()).start().await.unwrap();
    let content = layer(&[("a.yaml", "kind: A\n")]);
    registry.push_artifact("app", "1.0.0", content, FLUX_CONTENT);
    let reference = format!("{}/app:1.0.0", registry.host());
    let scratch = tempfile::tempdir().unwrap();
    let ca = scratch.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let ca = format!("--ca-file={}", ca.display());
    let strict = ["--strict-egress", "--egress-allow=127.0.0.1"];
    let pull = |name: &str, more: &[&[&str]]| {
        let flags = [
            &["--username=robot", "--password-stdin"],
            &more.concat()[..],
        ]
        .concat();
        pull(&reference, &scratch.path().join(name), &flags, None)
    };
    let skip = ["--insecure-skip-tls-verify"];
    let refused = pull("refused", &[&skip, &strict]);
    assert_eq!(refused.status.code(), Some(1));
    let told = stderr(&refused);
    assert!(
        told.contains("not verified") && told.contains("--ca-file"),
        "{told}"
    );
    assert!(!told.contains(PASSWORD), "{told}");
    assert!(
        registry
            .requests()
            .iter()
            .all(|seen| seen.authorization.is_none())
    );
    for (name, flags) in [
        ("trusted", &[&[ca.as_str()][..], &strict][..]),
        ("default", &[&skip]),
    ] {
        let pulled = pull(name, flags);
        assert!(pulled.status.success(), "{name}: {}", stderr(&pulled));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_strict_rules_a_source_reads_only_from_listed_addresses() {
    let registry = FakeRegistry::start().await;
    let content = layer(&[("a.yaml", "kind: A\n")]);
    registry.push_artifact("app", "1.0.0", content, FLUX_CONTENT);
    let scratch = tempfile::tempdir().unwrap();
    let source = format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{name: app}}\n\
         spec: {{interval: 1h, url: {}, ref: {{tag: 1.0.0}}}}\n",
        registry.url("app")
    );
    std::fs::write(scratch.path().join("app.yaml"), source).unwrap();
    let run = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["run", "--once", "-o", "json", "--storage-addr=127.0.0.1:0"]);
        command.arg(scratch.path()).args(flags).output().unwrap()
    };
    let told = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let refused = run(&["--strict-egress"]);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(told(&refused).contains("a loopback address"), "{refused:?}");
    assert!(registry.requests().is_empty());
    let listed = run(&["--strict-egress", "--egress-allow=127.0.0.1"]);
    assert_eq!(listed.status.code(), Some(0), "{}", told(&listed));
}

#[test]
fn a_proxy_variable_that_is_not_text_stops_the_program() {
    use std::os::unix::ffi::OsStrExt as _;
    let scratch = tempfile::tempdir().unwrap();
    for name in ["HTTPS_PROXY", "https_proxy", "NO_PROXY"] {
        let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["pull", "registry.invalid/app:1"])
            .arg(scratch.path().join("app"))
            .env(name, std::ffi::OsStr::from_bytes(b"http://canary\xff:1"))
            .env_remove("HOME")
            .output()
            .unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(name) && told.contains("UTF-8"), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
}
