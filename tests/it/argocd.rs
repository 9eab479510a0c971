// SPDX-License-Identifier: Apache-2.0
//! Argo CD's `proxy`, `noProxy` and `insecure` (`--argocd-config`), against a registry that only a proxy can find.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use wharf_test_support::{
    proxy::FakeProxy,
    registry::{FLUX_CONTENT, FakeRegistry, layer},
    tls::Authority,
};

/// Nothing but the proxy knows this name.
const NAME: &str = "registry.example";

struct Site {
    registry: FakeRegistry,
    proxy: FakeProxy,
    authority: Authority,
    dir: tempfile::TempDir,
}

impl Site {
    async fn new(proxy: FakeProxy) -> Self {
        let authority = Authority::new("Test CA");
        let leaf = authority.leaf(&[NAME, "127.0.0.1"]);
        let registry = FakeRegistry::builder().tls(&leaf).start().await.unwrap();
        let content = layer(&[("a.yaml", "kind: A\n")]);
        registry.push_artifact("team/app", "1.0.0", content, FLUX_CONTENT);
        proxy.lead(NAME, registry.addr());
        Self {
            registry,
            proxy,
            authority,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The registry under this name.
    fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.registry.addr().port())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Argo CD's Secret for the repository at this name, with these lines, and what is said of certificates.
    fn secret(&self, host: &str, lines: &str) -> String {
        let url = format!("oci://{}/team/app", self.at(host));
        let text = format!(
            "kind: Secret\nmetadata:\n  name: repo\n  namespace: argocd\n  labels: \
             {{argocd.argoproj.io/secret-type: repository}}\nstringData:\n  type: oci\n  url: {url}\n{lines}"
        );
        self.write("secret.yaml", &text)
    }

    /// Argo CD's certificates for the registry under this name.
    fn certificates(&self, host: &str) -> String {
        let pem = self.authority.pem().replace('\n', "\n    ");
        let text = format!(
            "kind: ConfigMap\nmetadata: {{name: argocd-tls-certs-cm, namespace: argocd}}\ndata:\n  {host}: |\n    {pem}\n"
        );
        self.write("certificates.yaml", &text)
    }

    fn ca_file(&self) -> String {
        self.write("ca.pem", self.authority.pem())
    }

    fn pull(&self, host: &str, files: &[&str], more: &[&str]) -> Output {
        let to: PathBuf = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let reference = format!("{}/team/app:1.0.0", self.at(host));
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["pull", &reference]).arg(to);
        for file in files {
            command.args(["--argocd-config", file]);
        }
        command.args(more).env("HOME", self.dir.path());
        for name in [
            "DOCKER_CONFIG",
            "REGISTRY_AUTH_FILE",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "HTTPS_PROXY",
            "https_proxy",
            "WHARF_REGISTRIES_CONFIG",
        ] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// It went well, and said no more than this.
fn assert_done(output: &Output, warnings: &[&str]) {
    let text = stderr(output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.lines().count(), warnings.len(), "{text}");
    for warning in warnings {
        assert!(text.contains(warning), "{text}");
    }
}

fn assert_failed(output: &Output, words: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(words) && !text.contains("canary"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_reached_through_argo_cds_proxy() {
    let site = Site::new(FakeProxy::start_with_login("robot", "canary")).await;
    let certificates = site.certificates(NAME);
    let address = |password: &str| {
        let host = site.proxy.host();
        format!("  proxy: http://robot:{password}@{host}\n")
    };
    let secret = site.secret(NAME, &address("canary"));
    assert_done(&site.pull(NAME, &[&secret, &certificates], &[]), &[]);
    assert!(!site.proxy.asked().is_empty());
    let wrong = site.secret(NAME, &address("canary-wrong"));
    let refused = site.pull(NAME, &[&wrong, &certificates], &[]);
    assert_failed(&refused, &site.proxy.url());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_in_no_proxy_are_reached_without_it() {
    let site = Site::new(FakeProxy::start()).await;
    let certificates = site.certificates(NAME);
    let with = |no_proxy: &str| {
        let url = site.proxy.url();
        let lines = format!("  proxy: {url}\n  noProxy: \"{no_proxy}\"\n");
        site.pull(NAME, &[&site.secret(NAME, &lines), &certificates], &[])
    };
    for no_proxy in [".example", "10.0.0.0/8, *.example", "*"] {
        assert_failed(&with(no_proxy), "could not be resolved");
    }
    assert_eq!(site.proxy.asked(), []);
    assert_done(&with("other.example,10.0.0.0/8"), &[]);
    assert!(!site.proxy.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proxy_no_proxy_says_nothing() {
    let site = Site::new(FakeProxy::start()).await;
    let secret = site.secret("127.0.0.1", "  noProxy: other.example\n");
    let files = [secret, site.certificates("127.0.0.1")];
    let files = files.each_ref().map(String::as_str);
    assert_done(&site.pull("127.0.0.1", &files, &[]), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_means_unverified_and_is_warned_of() {
    let site = Site::new(FakeProxy::start()).await;
    let lines = |insecure: &str| {
        format!(
            "  proxy: {}\n  insecure: \"{insecure}\"\n",
            site.proxy.url()
        )
    };
    let warning = "warning: --argocd-config: 'insecure' is set for registry.example";
    let secret = site.secret(NAME, &lines("true"));
    assert_done(&site.pull(NAME, &[&secret], &[]), &[warning]);
    // Argo CD does not verify then, whatever it could verify with.
    let other = Authority::new("Other CA");
    let pem = other.pem().replace('\n', "\n    ");
    let stale = site.write(
        "stale.yaml",
        &format!("kind: ConfigMap\nmetadata: {{name: argocd-tls-certs-cm}}\ndata:\n  {NAME}: |\n    {pem}\n"),
    );
    assert_done(&site.pull(NAME, &[&secret, &stale], &[]), &[warning]);

    let verified = site.secret(NAME, &lines("false"));
    assert_failed(&site.pull(NAME, &[&verified], &[]), "certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_go_before_the_file() {
    let site = Site::new(FakeProxy::start()).await;
    let lines = |insecure| {
        format!(
            "  proxy: {}\n  insecure: \"{insecure}\"\n",
            site.proxy.url()
        )
    };
    let insecure = site.secret(NAME, &lines(true));
    assert_done(
        &site.pull(NAME, &[&insecure], &["--ca-file", &site.ca_file()]),
        &[],
    );
    let other = site.write("other.pem", Authority::new("Other CA").pem());
    let refused = site.pull(NAME, &[&insecure], &["--ca-file", &other]);
    assert_failed(&refused, "certificate");

    let verified = site.secret(NAME, &lines(false));
    let unverified = site.pull(NAME, &[&verified], &["--insecure-skip-tls-verify"]);
    assert_done(&unverified, &["warning: --insecure-skip-tls-verify"]);
    let both = site.secret(NAME, &lines(true));
    let unverified = site.pull(NAME, &[&both], &["--insecure-skip-tls-verify"]);
    assert_done(&unverified, &["warning: --insecure-skip-tls-verify"]);
}
