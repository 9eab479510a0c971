// SPDX-License-Identifier: Apache-2.0
//! Flux's kustomize-controller: the consumer that artifacts are made for.

use std::process::Command;

use tempfile::TempDir;

use super::http::Http;
use super::{ApiServer, Process, free_port, scratch, tool};

/// A running kustomize-controller. The kinds it watches must be defined before it starts.
pub struct KustomizeController {
    process: Process,
    _folder: TempDir,
}

impl KustomizeController {
    /// Starts it. That it is ready here says only that it lives: wait for what it does.
    pub async fn start(api: &ApiServer) -> Self {
        let folder = scratch("kustomize-controller");
        let (metrics, health) = (free_port(), free_port());
        let mut command = Command::new(tool("kustomize-controller"));
        command
            .current_dir(folder.path())
            .env("KUBECONFIG", api.kubeconfig())
            .env("RUNTIME_NAMESPACE", "default")
            .env("TMPDIR", folder.path())
            .arg(format!("--metrics-addr=127.0.0.1:{metrics}"))
            .arg(format!("--health-addr=127.0.0.1:{health}"))
            .arg("--log-encoding=json");
        let log = folder.path().join("log");
        let mut process = Process::spawn("kustomize-controller", &mut command, &log);
        let alive = process.ready(async |_| {
            let answer = Http::plain()
                .get(&format!("http://127.0.0.1:{health}/readyz"))
                .await?;
            (answer.status == 200)
                .then_some(())
                .ok_or_else(|| answer.text())
        });
        alive.await.unwrap_or_else(|error| panic!("{error}"));
        Self {
            process,
            _folder: folder,
        }
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
