// SPDX-License-Identifier: Apache-2.0
//! Programs of others, run to their end: with nothing of the caller's environment but the `PATH`, in a folder of their
//! own, for a minute at most.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use wharf_test_support::servers::{PATIENCE, tool};

/// A program with its arguments.
pub(crate) struct Program {
    name: String,
    command: tokio::process::Command,
}

impl Program {
    /// One of `tests/tools`, to run in this folder, which is also its home.
    pub(crate) fn tool(name: &str, folder: &Path) -> Self {
        Self::new(name, &tool(name), folder)
    }

    /// Any program.
    pub(crate) fn new(name: &str, path: &Path, folder: &Path) -> Self {
        let mut command = tokio::process::Command::new(path);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Self {
            name: name.to_owned(),
            command,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it prints; or else what it complains about.
    pub(crate) async fn output(mut self) -> Result<Vec<u8>, String> {
        let output = tokio::time::timeout(PATIENCE, self.command.output()).await;
        let output = output
            .map_err(|_| format!("{} has not ended within {PATIENCE:?}", self.name))?
            .map_err(|error| format!("{} could not be started: {error}", self.name))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let told = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {}\n{told}", self.name, output.status))
    }

    /// The same as text, without the end of the line.
    pub(crate) async fn text(self) -> Result<String, String> {
        let output = self.output().await?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }
}
