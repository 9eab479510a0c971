// SPDX-License-Identifier: Apache-2.0
//! kube-apiserver with its etcd, and kubectl to talk to it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::KeyPair;
use serde_json::Value;
use tempfile::TempDir;

use super::http::Http;
use super::{Etcd, Process, eventually, free_port, scratch, tool};

const TOKEN: &str = "admin-token";
/// Another process may take the port between our looking and the server's binding it.
const TRIES: usize = 3;

/// A running API server. Its one user is an administrator.
pub struct ApiServer {
    // Fields are dropped in this order: an API server that outlives its etcd fills the log with complaints.
    process: Process,
    folder: TempDir,
    _etcd: Etcd,
    url: String,
    http: Http,
}

impl ApiServer {
    /// Starts etcd and it; all its own start-up work is done when this returns.
    pub async fn start() -> Self {
        let etcd = Etcd::start().await;
        let folder = scratch("api-server");
        let key = KeyPair::generate().expect("generate a key");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("sa.key", &key.serialize_pem()).expect("write a key");
        write("sa.pub", &key.public_key_pem()).expect("write a key");
        write(
            "tokens.csv",
            &format!("{TOKEN},admin,admin,system:masters\n"),
        )
        .expect("write tokens");
        let mut last = String::new();
        for _ in 0..TRIES {
            match start_on(free_port(), &folder, &etcd).await {
                Ok((process, url, http)) => {
                    return Self {
                        process,
                        folder,
                        _etcd: etcd,
                        url,
                        http,
                    }
                    .with_kubeconfig();
                }
                Err(error) => last = error,
            }
        }
        panic!("{last}");
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `https://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Reads an object or a list by its path, such as `/api/v1/namespaces/default`. `None` when it is not there.
    ///
    /// # Panics
    /// When the server says anything but 200 and 404.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.http.get(&format!("{}{path}", self.url)).await;
        let answer = answer.expect("ask the API server");
        match answer.status {
            404 => None,
            200 => Some(answer.json()),
            _ => panic!("GET {path}: {}", answer.text()),
        }
    }

    /// Runs kubectl and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args, "")
            .await
            .unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
    }

    /// Runs kubectl with something on its standard input: what it printed, or what it complained of.
    pub async fn try_kubectl(&self, args: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(tool("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--cache-dir")
            .arg(self.folder.path().join("kubectl-cache"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn()?;
            let mut stdin = child.stdin.take().expect("the pipe was asked for");
            // kubectl may end without reading; what it says then is what counts.
            let _ = stdin.write_all(input.as_bytes());
            drop(stdin);
            child.wait_with_output()
        });
        let output = output
            .await
            .expect("the thread does not panic")
            .expect("run kubectl");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Applies manifests.
    ///
    /// # Panics
    /// When the server refuses them.
    pub async fn apply(&self, yaml: &str) {
        let applied = self.try_kubectl(&["apply", "-f", "-"], yaml).await;
        applied.unwrap_or_else(|error| panic!("apply: {error}\n{yaml}"));
    }

    /// Defines the kinds in this file, or folder of files, and waits until they may be used.
    pub async fn define(&self, crds: &std::path::Path) {
        let path = crds.to_string_lossy();
        self.kubectl(&["apply", "--server-side", "-f", &path]).await;
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            &path,
        ];
        self.kubectl(&wait).await;
    }

    fn with_kubeconfig(self) -> Self {
        let authority = self.folder.path().join("certs/apiserver.crt");
        let authority = authority.display();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: {:?}, certificate-authority: '{authority}'}}}}]\n\
             users: [{{name: admin, user: {{token: {TOKEN}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]\n",
            self.url
        );
        std::fs::write(self.kubeconfig(), text).expect("write the kubeconfig");
        self
    }

    /// Waits until a namespace may be used; it is made if it is not there.
    pub async fn namespace(&self, name: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
        ))
        .await;
        eventually("namespace", async || {
            let path = format!("/api/v1/namespaces/{name}");
            self.get(&path)
                .await
                .ok_or_else(|| format!("no namespace {name}"))
        })
        .await;
    }
}

async fn start_on(
    port: u16,
    folder: &TempDir,
    etcd: &Etcd,
) -> Result<(Process, String, Http), String> {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut command = Command::new(tool("kube-apiserver"));
    command
        .current_dir(folder.path())
        .arg(format!("--etcd-servers={}", etcd.url()))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", file("certs")))
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", file("sa.pub")))
        .arg(format!(
            "--service-account-signing-key-file={}",
            file("sa.key")
        ))
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg("--endpoint-reconciler-type=none");
    let mut process = Process::spawn("kube-apiserver", &mut command, &folder.path().join("log"));
    let url = format!("https://127.0.0.1:{port}");
    let certificate = folder.path().join("certs/apiserver.crt");
    let ready = process.ready(async |_| {
        let pem = std::fs::read_to_string(&certificate).map_err(|error| error.to_string())?;
        // It is written after it is created.
        if !pem.contains("END CERTIFICATE") {
            return Err("no certificate yet".to_owned());
        }
        let http = Http::trusting(&pem).bearer(TOKEN);
        let answer = http.get(&format!("{url}/readyz")).await?;
        (answer.status == 200)
            .then_some(http)
            .ok_or_else(|| answer.text())
    });
    let http = ready.await?;
    Ok((process, url, http))
}
