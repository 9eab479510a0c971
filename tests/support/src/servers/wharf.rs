// SPDX-License-Identifier: Apache-2.0
//! The real `wharf`, as a process.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::http::Http;
use super::{Process, free_port, scratch};

/// How `wharf` is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    /// Shell commands before it, such as `umask 077`.
    before: Vec<String>,
}

impl Launch {
    /// This binary: `env!("CARGO_BIN_EXE_wharf")`, which only the tests of the package `wharf` know.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            args: Vec::new(),
            envs: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs it under this umask, such as `077`.
    pub fn umask(mut self, mask: &str) -> Self {
        self.before.push(format!("umask {mask}"));
        self
    }

    /// Lets it write no file beyond this size, in KiB: further writes fail, as on a full disk (with another number).
    pub fn file_size_limit(mut self, kib: u32) -> Self {
        // The signal would end it; without the signal the write fails. `ulimit -f` counts in blocks of 512 bytes.
        self.before.push("trap '' XFSZ".to_owned());
        self.before
            .push(format!("ulimit -f {}", u64::from(kib) * 2));
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started, or has not ended after a minute (it is killed then).
    pub async fn output(&self, stdin: &str) -> Output {
        let mut command = tokio::process::Command::from(self.command());
        command
            .kill_on_drop(true)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("start wharf");
        let mut pipe = child.stdin.take().expect("the pipe was asked for");
        // It may end without reading.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut pipe, stdin.as_bytes()).await;
        drop(pipe);
        let output = tokio::time::timeout(super::PATIENCE, child.wait_with_output()).await;
        output
            .expect("wharf ends within a minute")
            .expect("read what wharf printed")
    }

    fn command(&self) -> Command {
        let mut command = match self.before.as_slice() {
            [] => Command::new(&self.binary),
            before => {
                let mut shell = Command::new("sh");
                let script = format!("{}\nexec \"$@\"", before.join("\n"));
                shell.args(["-c", &script, "sh"]).arg(&self.binary);
                shell
            }
        };
        // Nothing of the person who runs the tests: no credentials, no cluster.
        for name in [
            "KUBECONFIG",
            "DOCKER_CONFIG",
            "RUNTIME_NAMESPACE",
            "STORAGE_PATH",
            "RUST_LOG",
        ] {
            command.env_remove(name);
        }
        command.env("HOME", "/nonexistent").args(&self.args);
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running `wharf controller` or `wharf run`, with its ports.
pub struct Wharf {
    process: Process,
    launch: Launch,
    folder: TempDir,
    artifacts: u16,
    metrics: u16,
    health: u16,
}

impl Wharf {
    /// Starts it on free ports of 127.0.0.1. Its artifact port answers when this returns.
    ///
    /// # Panics
    /// When it ends, or does not answer.
    pub async fn start(launch: Launch) -> Self {
        let mut wharf = Self::spawn(launch);
        wharf.ready().await;
        wharf
    }

    /// Starts it on free ports of 127.0.0.1 and does not wait.
    pub fn spawn(launch: Launch) -> Self {
        let (artifacts, metrics, health) = (free_port(), free_port(), free_port());
        let launch = launch
            .arg(format!("--storage-addr=127.0.0.1:{artifacts}"))
            .arg(format!("--storage-adv-addr=127.0.0.1:{artifacts}"))
            .arg(format!("--metrics-addr=127.0.0.1:{metrics}"))
            .arg(format!("--health-addr=127.0.0.1:{health}"));
        let folder = scratch("wharf");
        let process = Process::spawn("wharf", &mut launch.command(), &folder.path().join("log"));
        Self {
            process,
            launch,
            folder,
            artifacts,
            metrics,
            health,
        }
    }

    /// Waits until the artifact port says that this process leads and its store has been checked.
    pub async fn ready(&mut self) {
        let url = self.url("");
        let ready = self.process.ready(async |_| {
            let answer = Http::plain().get(&url).await?;
            (answer.status == 200)
                .then_some(())
                .ok_or_else(|| answer.text())
        });
        ready.await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts it again, with the same arguments and ports. It must have ended.
    pub async fn restart(&mut self) {
        self.respawn();
        self.ready().await;
    }

    /// As [`restart`](Self::restart), without waiting.
    pub fn respawn(&mut self) {
        let log = self.log_file();
        self.process = Process::spawn("wharf", &mut self.launch.command(), &log);
    }

    /// `http://127.0.0.1:port/path` on the artifact port.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.artifacts)
    }

    /// `127.0.0.1:port`, as it stands in the URL of an artifact.
    pub fn advertised(&self) -> String {
        format!("127.0.0.1:{}", self.artifacts)
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        Http::plain()
            .get(&url)
            .await
            .expect("read the metrics")
            .text()
    }

    /// The status of a path on the health port.
    pub async fn health(&self, path: &str) -> u16 {
        let url = format!("http://127.0.0.1:{}{path}", self.health);
        Http::plain()
            .get(&url)
            .await
            .expect("read the health")
            .status
    }

    /// Ends it without warning.
    pub fn kill_9(&mut self) {
        self.process.kill();
    }

    /// Asks it to end and waits until it has.
    pub async fn terminate(&mut self) -> Option<ExitStatus> {
        self.process.signal(Signal::TERM);
        self.process.ended(Duration::from_secs(30)).await
    }

    /// How it ended by itself, within a minute.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended(super::PATIENCE).await
    }

    /// Everything it has written so far, since its first start.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn log_file(&self) -> PathBuf {
        Path::new(self.folder.path()).join("log")
    }
}
