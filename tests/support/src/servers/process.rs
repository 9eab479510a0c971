// SPDX-License-Identifier: Apache-2.0
//! A process of a test: started in a group of its own, with its output in a file, and ended for certain.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::{PATIENCE, warden, within};

/// How much of a log is shown when something goes wrong.
const TAIL: usize = 6000;

/// A running process. It is killed and reaped when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts it. Both outputs are appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log);
        let output = output.expect("open a log file");
        let errors = output.try_clone().expect("share a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        warden::started(child.id());
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            status: None,
        }
    }

    /// Its id, which is also that of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("ask for a child's state");
            if self.status.is_some() {
                warden::ended(self.id());
            }
        }
        self.status
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        within(limit, async || self.exited().ok_or_else(String::new))
            .await
            .ok()
    }

    /// Sends a signal to it and its children. Nothing happens when it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_some() {
            return;
        }
        let group = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        // It may end by itself at this moment, which is what a signal is for.
        let _ = group.map(|group| rustix::process::kill_process_group(group, signal));
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if self.status.is_none() {
            self.status = self.child.wait().ok();
            warden::ended(self.id());
        }
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `check` says `Ok`. The error, also when the process ends before, carries the end of the log.
    pub async fn ready<T>(
        &mut self,
        mut check: impl AsyncFnMut(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        let answer = within(PATIENCE, async || match self.exited() {
            Some(status) => Ok(Err(format!("it ended: {status}"))),
            None => check(&self.log()).await.map(Ok),
        });
        let answer = answer.await.and_then(|ready| ready);
        answer.map_err(|reason| {
            let log = self.log();
            let from = log.floor_char_boundary(log.len().saturating_sub(TAIL));
            format!(
                "{} is not ready: {reason}; its log ends:\n{}",
                self.name,
                &log[from..]
            )
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
