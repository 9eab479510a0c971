// SPDX-License-Identifier: Apache-2.0
//! kube-controller-manager with the two controllers that tests need: the one that empties namespaces that are deleted, and
//! the one that adds aggregated roles together.

use std::process::Command;

use tempfile::TempDir;

use super::{ApiServer, Process, scratch, tool};

/// A running controller manager.
pub struct ControllerManager {
    process: Process,
    _folder: TempDir,
}

impl ControllerManager {
    /// Starts it. It serves nothing, so that it works shows in what it does; it has started its controllers when this
    /// returns.
    pub async fn start(api: &ApiServer) -> Self {
        let folder = scratch("controller-manager");
        let mut command = Command::new(tool("kube-controller-manager"));
        command
            .current_dir(folder.path())
            .arg(format!("--kubeconfig={}", api.kubeconfig().display()))
            .arg("--controllers=namespace-controller,clusterrole-aggregation-controller")
            .args(["--leader-elect=false", "--secure-port=0"]);
        let log = folder.path().join("log");
        let mut process = Process::spawn("kube-controller-manager", &mut command, &log);
        let started = process.ready(async |log| {
            // One line for each of the two.
            let is_synced = log.matches("\"Caches are synced\"").count() >= 2;
            is_synced
                .then_some(())
                .ok_or_else(|| "the controllers have not read the cluster".to_owned())
        });
        started.await.unwrap_or_else(|error| panic!("{error}"));
        Self {
            process,
            _folder: folder,
        }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
