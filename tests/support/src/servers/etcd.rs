// SPDX-License-Identifier: Apache-2.0
//! etcd, on a Unix socket: no port to find, nobody else can reach it.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{Process, http, scratch, tool};

/// A running etcd.
pub struct Etcd {
    // Before the folder: fields are dropped in this order.
    process: Process,
    folder: TempDir,
}

impl Etcd {
    /// Starts it; it is healthy when this returns.
    pub async fn start() -> Self {
        let folder = scratch("etcd");
        let (client, peer) = ("unix://localhost:0", "unix://localhost:1");
        let mut command = Command::new(tool("etcd"));
        command
            .current_dir(folder.path())
            .args(["--name", "t", "--data-dir", "d", "--unsafe-no-fsync"])
            .args(["--log-level", "error"])
            .args(["--listen-client-urls", client])
            .args(["--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer])
            .args(["--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("t={peer}")]);
        let process = Process::spawn("etcd", &mut command, &folder.path().join("log"));
        let mut etcd = Self { process, folder };
        let socket = etcd.socket();
        let healthy = etcd.process.ready(async |_| {
            let answer = http::get_unix(&socket, "/health").await?;
            (answer.json()["health"] == "true")
                .then_some(())
                .ok_or_else(|| answer.text())
        });
        healthy.await.unwrap_or_else(|error| panic!("{error}"));
        etcd
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// etcd takes the address in a `unix://` URL for the name of a file in its working directory.
    fn socket(&self) -> PathBuf {
        self.folder.path().join("localhost:0")
    }
}
