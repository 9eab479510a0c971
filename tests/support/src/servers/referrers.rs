// SPDX-License-Identifier: Apache-2.0
//! The registry of go-containerregistry, with the referrers API, in memory.

use std::process::Command;

use tempfile::TempDir;

use super::http::Http;
use super::{Process, scratch, tool};

/// A running registry with plain HTTP, open to all.
pub struct ReferrersRegistry {
    process: Process,
    _folder: TempDir,
    host: String,
}

impl ReferrersRegistry {
    /// Starts it; it answers when this returns.
    pub async fn start() -> Self {
        let folder = scratch("referrers-registry");
        let mut command = Command::new(tool("referrers-registry"));
        command.args(["--addr", "127.0.0.1:0"]);
        let log = folder.path().join("log");
        let mut process = Process::spawn("referrers-registry", &mut command, &log);
        let answering = process.ready(async |log| {
            let host = log.lines().next().unwrap_or_default().to_owned();
            let answer = Http::plain().get(&format!("http://{host}/v2/")).await?;
            (answer.status == 200)
                .then_some(host)
                .ok_or_else(|| answer.text())
        });
        let host = answering.await.unwrap_or_else(|error| panic!("{error}"));
        Self {
            process,
            _folder: folder,
            host,
        }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `http://127.0.0.1:port`
    pub fn base_url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// `oci://127.0.0.1:port/repository`, as in the `url` of a source.
    pub fn url(&self, repository: &str) -> String {
        format!("oci://{}/{repository}", self.host)
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
