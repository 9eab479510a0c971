// SPDX-License-Identifier: Apache-2.0
//! Where the command line finds credentials, and where nobody looks for them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use wharf_test_support::registry::{Endpoint, FLUX_CONTENT, FakeRegistry, layer};

/// A person's home, with programs of their own.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.path("bin")).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn wharf(&self, args: &[&str]) -> Command {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command
            .args(args)
            .env("HOME", self.0.path())
            .env("PATH", path);
        for name in [
            "DOCKER_CONFIG",
            "REGISTRY_AUTH_FILE",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Pulls the artifact to a directory of its own.
    fn pull(&self, registry: &FakeRegistry, more: &[&str]) -> Output {
        self.pull_with(registry, more, &[])
    }

    fn pull_with(&self, registry: &FakeRegistry, more: &[&str], env: &[(&str, &str)]) -> Output {
        let to = tempfile::tempdir_in(self.0.path()).unwrap();
        let reference = format!("{}/team/app:1.0.0", registry.host());
        let mut args = vec!["pull", &reference, to.path().to_str().unwrap()];
        args.extend(more);
        let mut command = self.wharf(&args);
        command.envs(env.iter().copied()).output().unwrap()
    }
}

async fn registry() -> FakeRegistry {
    let registry = FakeRegistry::builder()
        .bearer("robot", "canary-password")
        .identity_token("canary-identity")
        .start()
        .await
        .unwrap();
    registry.push_artifact(
        "team/app",
        "1.0.0",
        layer(&[("a.yaml", "kind: A\n")]),
        FLUX_CONTENT,
    );
    registry
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// It failed, said this, and nothing secret.
fn assert_refused(output: &Output, words: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(words) && !text.contains("canary"), "{text}");
}

fn auths(registry: &FakeRegistry, username: &str, password: &str) -> String {
    let host = registry.host();
    format!(r#"{{"auths":{{"{host}":{{"username":"{username}","password":"{password}"}}}}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn config_files_are_read_in_order_until_one_knows_the_registry() {
    let (registry, home) = (registry().await, Home::new());
    assert_refused(&home.pull(&registry, &[]), "no credentials were given");
    let right = auths(&registry, "robot", "canary-password");
    let other = r#"{"auths":{"other.example":{"username":"x","password":"canary"}}}"#;

    home.write(".docker/config.json", other);
    let podman = home.write(".config/containers/auth.json", &right);
    assert_done(&home.pull(&registry, &[]));
    fs::remove_file(podman).unwrap();

    home.write("run/containers/auth.json", &right);
    let run = home.path("run").display().to_string();
    assert_done(&home.pull_with(&registry, &[], &[("XDG_RUNTIME_DIR", &run)]));
    let file = home.write("elsewhere.json", &right);
    assert_done(&home.pull_with(&registry, &[], &[("REGISTRY_AUTH_FILE", &file)]));

    let wrong = home.write("wrong.json", &auths(&registry, "robot", "canary-wrong"));
    let both = [
        ("REGISTRY_AUTH_FILE", wrong.as_str()),
        ("XDG_RUNTIME_DIR", &run),
    ];
    assert_refused(
        &home.pull_with(&registry, &[], &both),
        &format!("the credentials from {wrong} were refused"),
    );
    let broken = home.write("broken.json", "canary");
    let output = home.pull_with(&registry, &[], &[("REGISTRY_AUTH_FILE", &broken)]);
    assert_refused(&output, &broken);
}

#[tokio::test(flavor = "multi_thread")]
async fn credential_helpers_and_stores_are_asked() {
    let (registry, home) = (registry().await, Home::new());
    let host = registry.host();
    let script = format!(
        r#"read -r server; [ "$1 $server" = "get {host}" ] || exit 9; echo '{{"Username":"robot","Secret":"canary-password"}}'"#
    );
    home.program("docker-credential-right", &script);
    home.program(
        "docker-credential-token",
        r#"echo '{"Username":"<token>","Secret":"canary-identity"}'"#,
    );
    home.program(
        "docker-credential-empty",
        "echo credentials not found in native keychain; exit 1",
    );
    home.program(
        "docker-credential-locked",
        "echo the vault is locked >&2; exit 1",
    );
    let config = |text: &str| home.write(".docker/config.json", text);

    config(r#"{"credsStore":"right"}"#);
    assert_done(&home.pull(&registry, &[]));
    config(&format!(
        r#"{{"credsStore":"locked","credHelpers":{{"{host}":"token"}}}}"#
    ));
    assert_done(&home.pull(&registry, &[]));
    let right = auths(&registry, "robot", "canary-password");
    config(&right.replacen('{', r#"{"credsStore":"empty","#, 1));
    assert_done(&home.pull(&registry, &[]));
    config(r#"{"credsStore":"locked"}"#);
    assert_refused(&home.pull(&registry, &[]), "the vault is locked");
    config(r#"{"credsStore":"absent"}"#);
    assert_refused(
        &home.pull(&registry, &[]),
        "docker-credential-absent could not be run",
    );
    home.program("docker-credential-garbage", "echo canary");
    config(r#"{"credsStore":"garbage"}"#);
    assert_refused(
        &home.pull(&registry, &[]),
        "docker-credential-garbage answered with something that is not its JSON",
    );
    home.program("docker-credential-endless", "exec yes canary");
    config(&format!(r#"{{"credHelpers":{{"{host}":"endless"}}}}"#));
    assert_refused(
        &home.pull(&registry, &[]),
        "docker-credential-endless answered with more than",
    );
    // A helper of another registry is not asked.
    let other = right.replacen('{', r#"{"credHelpers":{"other.example":"locked"},"#, 1);
    config(&other);
    assert_done(&home.pull(&registry, &[]));
    config(r#"{"credsStore":"../bin/docker-credential-right"}"#);
    assert_refused(
        &home.pull(&registry, &[]),
        "is not the name of a credential helper",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cds_secrets_are_read() {
    let (registry, home) = (registry().await, Home::new());
    let secret = |kind: &str, url: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: repo\n  namespace: argocd\n  labels: \
             {{argocd.argoproj.io/secret-type: {kind}}}\nstringData:\n  type: oci\n  url: oci://{}/{url}\n{more}",
            registry.host()
        )
    };
    let pair = |password: &str| format!("  username: robot\n  password: {password}\n");
    let exact = home.write("exact.yaml", &secret("repository", "team/app", ""));
    let template = home.write(
        "t.yaml",
        &secret("repo-creds", "team", &pair("canary-password")),
    );
    assert_done(&home.pull(
        &registry,
        &["--argocd-config", &exact, "--argocd-config", &template],
    ));
    assert_refused(
        &home.pull(&registry, &["--argocd-config", &exact]),
        "no credentials were given",
    );
    // What it says comes before what docker login left.
    home.write(
        ".docker/config.json",
        &auths(&registry, "robot", "canary-password"),
    );
    let wrong = home.write(
        "w.yaml",
        &secret("repository", "team/app", &pair("canary-wrong")),
    );
    assert_refused(
        &home.pull(&registry, &["--argocd-config", &wrong]),
        &format!("the credentials from secret argocd/repo in {wrong} were refused"),
    );
    for (text, words) in [
        ("canary".to_owned(), "is not YAML of Kubernetes objects"),
        (
            secret(
                "repository",
                "team/app",
                "  proxy: ftp://u:canary@p.example\n",
            ),
            "'proxy'",
        ),
        (
            secret("cluster", "team/app", ""),
            "has no Secret with the label",
        ),
    ] {
        let bad = home.write("bad.yaml", &text);
        assert_refused(&home.pull(&registry, &["--argocd-config", &bad]), words);
    }
}

/// Whoever may write a Secret chooses no program.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_secret_names_as_a_helper_is_never_run() {
    let (registry, home) = (registry().await, Home::new());
    let ran = home.path("ran");
    home.program(
        "docker-credential-evil",
        &format!(
            r#"touch {}; echo '{{"Username":"robot","Secret":"canary-password"}}'"#,
            ran.display()
        ),
    );
    let host = registry.host();
    let config = format!(r#"{{"credsStore":"evil","credHelpers":{{"{host}":"evil"}}}}"#);
    // Neither those of the person who runs it are used by a controller.
    home.write(".docker/config.json", &config);
    home.write(
        "sources/app.yaml",
        &format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{name: app}}\nspec:\n  interval: 1m\n  \
             url: oci://{host}/team/app\n  ref: {{tag: 1.0.0}}\n  secretRef: {{name: pull}}\n---\napiVersion: v1\nkind: Secret\n\
             metadata: {{name: pull}}\ntype: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{config}'\n"
        ),
    );
    let sources = home.path("sources").display().to_string();
    let args = ["run", &sources, "--once", "--storage-addr", "127.0.0.1:0"];
    let output = home.wharf(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(!registry.requests_to(Endpoint::Manifest).is_empty());
    assert!(!Path::new(&ran).exists());
    // The program would have been found.
    assert_done(&home.pull(&registry, &[]));
    assert!(ran.exists());
}

/// Somebody who names a file means that it is there. Docker's directory may be one without a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_variable_names_and_that_is_not_there_is_told_of() {
    let (registry, home) = (registry().await, Home::new());
    let nowhere = home.path("nowhere").display().to_string();
    let empty = home.path("bin").display().to_string();
    for (name, value, is_told) in [
        ("REGISTRY_AUTH_FILE", &nowhere, true),
        ("DOCKER_CONFIG", &nowhere, true),
        ("DOCKER_CONFIG", &empty, false),
    ] {
        let refused = home.pull_with(&registry, &[], &[(name, value)]);
        assert_refused(&refused, "no credentials were given");
        let line = format!("warning: {name}: {nowhere}: no such file or directory");
        let told = stderr(&refused);
        assert_eq!(told.contains(&line), is_told, "{told}");
    }
}
