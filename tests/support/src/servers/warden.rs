// SPDX-License-Identifier: Apache-2.0
//! What is left when the test process is gone: nothing.
//!
//! `Drop` ends a server when a test returns or panics. It does not run for servers that all tests share (statics), nor
//! when the test process is killed. So one shell outlives this process: it is told of every process group that is
//! started and ended, and when the pipe from here closes, which the kernel sees to, it kills those that remain and
//! removes all folders.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use tempfile::TempDir;

/// `$1` is the folder to remove.
const SCRIPT: &str = r#"
groups=
while read -r what group; do
  case $what in
    started) groups="$groups $group" ;;
    ended) kept=; for g in $groups; do [ "$g" = "$group" ] || kept="$kept $g"; done; groups=$kept ;;
  esac
done
for g in $groups; do kill -s KILL -- "-$g"; done
for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.2; done
"#;

static WARDEN: LazyLock<Warden> = LazyLock::new(Warden::start);

struct Warden {
    folder: PathBuf,
    /// With its pipe. It is never waited for: it outlives this process.
    shell: Mutex<Child>,
}

/// A folder that goes when it is dropped, and at the latest with this process.
pub fn scratch(name: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(&WARDEN.folder)
        .expect("make a folder for a test")
}

/// From now on this process group is ended with this process.
pub(super) fn started(group: u32) {
    WARDEN.tell("started", group);
}

/// Its id may belong to somebody else soon.
pub(super) fn ended(group: u32) {
    WARDEN.tell("ended", group);
}

impl Warden {
    fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("wharf-test-")
            .tempdir()
            .expect("make the folder of all tests")
            .keep();
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "warden"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Of its own, so that Ctrl-C in a terminal ends the tests and leaves it to clean up.
            .process_group(0)
            .spawn()
            .expect("start sh");
        Self {
            folder,
            shell: Mutex::new(shell),
        }
    }

    fn tell(&self, what: &str, group: u32) {
        let shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pipe = shell.stdin.as_ref().expect("the pipe was asked for");
        writeln!(pipe, "{what} {group}").expect("the warden listens as long as this process lives");
    }
}
