// SPDX-License-Identifier: Apache-2.0
//! The command line as people and scripts meet it: what it prints, where, and with which exit code.

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use wharf_test_support::registry::FakeRegistry;

fn wharf(args: &[&str]) -> Output {
    // No HOME, so that no credentials of the person running the tests are used.
    Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(args)
        .env_remove("HOME")
        .env_remove("DOCKER_CONFIG")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The names below a directory, temporary ones included.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_version_is_printed_for_people_and_for_scripts() {
    assert_eq!(
        stdout(&wharf(&["version"])),
        format!("wharf {}\n", env!("CARGO_PKG_VERSION"))
    );
    let json: serde_json::Value =
        serde_json::from_slice(&wharf(&["version", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn crds_are_the_ones_in_the_repository() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crds/source.toolkit.fluxcd.io_ocirepositories.yaml");
    assert_eq!(
        stdout(&wharf(&["crds"])),
        fs::read_to_string(committed).unwrap()
    );
}

#[test]
fn every_verb_that_takes_arguments_helps_with_examples() {
    for verb in ["controller", "run", "push", "pull", "crds", "completion"] {
        let output = wharf(&[verb, "--help"]);
        assert!(
            output.status.success() && stdout(&output).contains("Example"),
            "{verb}: {}",
            stdout(&output)
        );
    }
}

#[test]
fn help_says_what_the_flags_are_for() {
    let talks: &[&str] = &["Registry access:", "Egress:", "Archive limits:"];
    let reconciles: &[&str] = &[
        "Serving:",
        "Logging:",
        "Reconciling:",
        "Registry access:",
        "Egress:",
        "Archive limits:",
    ];
    for (verb, groups) in [
        ("push", talks),
        ("pull", talks),
        ("run", reconciles),
        ("controller", reconciles),
    ] {
        let help = stdout(&wharf(&[verb, "--help"]));
        let found: Vec<_> = help
            .lines()
            .filter(|line| line.ends_with(':') && !line.starts_with(' '))
            .filter(|line| !["Arguments:", "Options:", "Examples:"].contains(line))
            .collect();
        assert_eq!(found, groups, "{verb}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2_with_the_reason_on_stderr() {
    let cases: [(&[&str], &str); 18] = [
        (
            &["push", ".", "r.example/app:1", "--chunk-bytes", "0"],
            "expected a number of bytes, 1 or more",
        ),
        (
            &[
                "push",
                ".",
                "r.example/app:1",
                "--mount-from",
                "other.example/app",
            ],
            "--mount-from: other.example/app is in the registry other.example, and the push goes to r.example",
        ),
        (
            &["push", ".", "r.example/app:1", "--username", "robot"],
            "--password-stdin",
        ),
        (
            &[
                "pull",
                "r.example/app:1",
                "d",
                "--insecure-skip-tls-verify",
                "--ca-file=c",
            ],
            "--ca-file",
        ),
        (
            &["pull", "r.example/app:1", "d", "--cert-file=c"],
            "--key-file",
        ),
        (&["frobnicate"], "frobnicate"),
        (&["push", "dir"], "REF"),
        (&["pull", "Not A Reference", "dir"], "Not A Reference"),
        (&["push", "dir", "registry.example/app:-bad-"], "-bad-"),
        (
            &["run", "dir", "--storage-addr", "nowhere"],
            "--storage-addr",
        ),
        (
            &["run", "dir", "--min-retry-delay", "soon"],
            "--min-retry-delay",
        ),
        (
            &["run", "dir", "--egress-allow", "10.0.0.0/33"],
            "--egress-allow: \"10.0.0.0/33\"",
        ),
        (
            &["controller", "--egress-allow", "inside.example"],
            "--egress-allow: \"inside.example\"",
        ),
        (
            &["pull", "r.example/app", "dir", "--egress-allow", "::/129"],
            "--egress-allow: \"::/129\"",
        ),
        (
            &["push", "dir", "r.example/app:1", "--egress-allow="],
            "--egress-allow: \"\"",
        ),
        (
            &[
                "run",
                "dir",
                "--strict-egress",
                "--egress-realm=https://a=b",
            ],
            "--egress-realm: \"https://a=b\"",
        ),
        (
            &[
                "run",
                "dir",
                "--strict-egress",
                "--egress-proxied=ghcr.io:443",
            ],
            "--egress-proxied: \"ghcr.io:443\"",
        ),
        (
            &["run", "dir", "--egress-proxied=ghcr.io"],
            "--strict-egress",
        ),
    ];
    for (args, named) in cases {
        let output = wharf(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(named) && output.stdout.is_empty(),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_pulled_again() {
    let registry = FakeRegistry::start().await;
    let reference = format!("{}/app:1.0.0", registry.host());
    let source = tree(&[("a.yaml", "kind: A\n"), ("deep/er/b.yaml", "kind: B\n")]);
    let pushed = wharf(&[
        "push",
        text(source.path()),
        &reference,
        "--source",
        "https://git.example/app",
        "-o",
        "json",
    ]);
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    let answer: serde_json::Value = serde_json::from_slice(&pushed.stdout).unwrap();
    assert_eq!(
        answer["digest"].as_str(),
        registry.tag_digest("app", "1.0.0").as_deref()
    );

    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("out");
    let pulled = wharf(&["pull", &reference, text(&target)]);
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    assert_eq!(
        fs::read_to_string(target.join("deep/er/b.yaml")).unwrap(),
        "kind: B\n"
    );
    assert_eq!(names(&target), ["a.yaml", "deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_egress_reaches_a_registry_at_home_only_when_it_is_listed() {
    let registry = FakeRegistry::start().await;
    let reference = format!("{}/app:1.0.0", registry.host());
    let source = tree(&[("a.yaml", "kind: A\n")]);
    let push = |more: &[&str]| {
        let mut args = vec!["push", text(source.path()), &reference, "--strict-egress"];
        args.extend(more);
        wharf(&args)
    };
    let refused = push(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("a loopback address"),
        "{}",
        stderr(&refused)
    );
    let elsewhere = push(&["--egress-allow=10.0.0.0/8", "--egress-allow=127.0.0.2"]);
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(registry.requests().is_empty());

    let listed = push(&["--egress-allow=10.0.0.0/8", "--egress-allow=127.0.0.1"]);
    assert!(listed.status.success(), "{}", stderr(&listed));
    assert!(registry.tag_digest("app", "1.0.0").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn pushing_the_same_tree_twice_gives_the_same_layer() {
    let registry = FakeRegistry::start().await;
    let source = tree(&[("a.yaml", "kind: A\n")]);
    let layers = ["1.0.0", "1.0.1"].map(|tag| {
        let pushed = wharf(&[
            "push",
            text(source.path()),
            &format!("{}/app:{tag}", registry.host()),
            "-o",
            "json",
        ]);
        let answer: serde_json::Value = serde_json::from_slice(&pushed.stdout).unwrap();
        answer["layer"].as_str().unwrap().to_owned()
    });
    assert_eq!(layers[0], layers[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_fails_leaves_nothing() {
    let registry = FakeRegistry::start().await;
    registry.push_artifact(
        "app",
        "bad",
        b"this is no archive".to_vec(),
        "application/octet-stream",
    );
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("out");
    for (reference, named) in [
        ("app:bad", "gzip"),
        ("app:absent", "absent"),
        ("nothing:1", "404"),
    ] {
        let output = wharf(&[
            "pull",
            &format!("{}/{reference}", registry.host()),
            text(&target),
        ]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{reference}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(named),
            "{reference}: {}",
            stderr(&output)
        );
        assert!(
            names(scratch.path()).is_empty(),
            "{reference}: {:?}",
            names(scratch.path())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_come_from_standard_input_and_are_never_shown() {
    let registry = FakeRegistry::builder()
        .basic("robot", "s3cr3t-canary")
        .start()
        .await
        .unwrap();
    let source = tree(&[("a.yaml", "kind: A\n")]);
    let reference = format!("{}/app:1", registry.host());
    let push = |password: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args([
                "push",
                text(source.path()),
                &reference,
                "--username",
                "robot",
                "--password-stdin",
            ])
            .env_remove("HOME")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let refused = push("wr0ng-canary\n");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("--username") && !stderr(&refused).contains("canary"),
        "{}",
        stderr(&refused)
    );
    let accepted = push("s3cr3t-canary\n");
    assert!(accepted.status.success(), "{}", stderr(&accepted));
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let push = wharf(&["push", "no-such-dir", "registry.example/app:1"]);
    assert_eq!(push.status.code(), Some(1));
    assert!(stderr(&push).contains("no-such-dir"), "{}", stderr(&push));
    let run = wharf(&[
        "run",
        "no-such-dir",
        "--once",
        "--storage-addr",
        "127.0.0.1:0",
    ]);
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains("no-such-dir"), "{}", stderr(&run));
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let script = format!("{} crds | head -n 1", env!("CARGO_BIN_EXE_wharf"));
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        stderr(&output)
    );
}

/// More output than a pipe holds, and less than the queue before it does: 500 lines, none of which needs a registry.
fn talkative() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..500 {
        let manifest = format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata:\n  name: {}-{n}\nspec:\n  \
             url: oci://r.example/app\n  interval: 1m\n  suspend: true\n",
            "a".repeat(200)
        );
        fs::write(dir.path().join(format!("{n}.yaml")), manifest).unwrap();
    }
    dir
}

fn run_once(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.args(["run", text(dir), "--once", "-o", "json", "--storage-addr"]);
    command.arg("127.0.0.1:0").stderr(Stdio::null());
    command
}

/// How it ended; killed and `None` when it did not.
fn ended(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn what_run_once_says_is_printed_before_it_ends() {
    let dir = talkative();
    let output = run_once(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = stdout(&output);
    assert_eq!(printed.lines().count(), 500);
    assert!(printed.len() > 2 * 65_536, "{}", printed.len());
}

#[test]
fn run_once_ends_though_nobody_reads_what_it_says() {
    let dir = talkative();
    let mut child = run_once(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let unread = child.stdout.take();
    let status = ended(&mut child);
    drop(unread);
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}
