// SPDX-License-Identifier: Apache-2.0
//! The real servers that Wharf is tested against, and the real `wharf`, as processes of this test.
//!
//! What enters: binaries that `tests/tools/build.sh` (`make tools`) has built. What leaves: servers that are ready when
//! `start().await` returns, each on a free port and in a folder of its own. A server ends when its value is dropped, also
//! in a test that panics; whatever still runs when the test process ends, however it ends, a shell of its own ends.
//!
//! A server that does not start stops the test, with the end of its log.

#![expect(
    clippy::panic,
    reason = "test support: a broken fixture must stop the test"
)]

mod api_server;
mod controller_manager;
mod distribution;
mod etcd;
pub mod http;
mod kustomize;
mod process;
mod referrers;
mod token_service;
mod warden;
mod wharf;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use api_server::ApiServer;
pub use controller_manager::ControllerManager;
pub use distribution::{Distribution, PASSWORD, USERNAME};
pub use etcd::Etcd;
pub use kustomize::KustomizeController;
pub use process::Process;
pub use referrers::ReferrersRegistry;
pub use token_service::{Grant, TokenRequest, TokenService};
pub use warden::scratch;
pub use wharf::{Launch, Wharf};

/// How long anything may take before a test gives up on it. Generous: two slow cores run everything at once.
pub const PATIENCE: Duration = Duration::from_mins(1);
const PORTS: Range<u16> = 12_000..32_000;
const POLL: Duration = Duration::from_millis(80);

/// Waits until `check` says `Ok`.
///
/// # Panics
/// After [`PATIENCE`], with `what` and what `check` said last.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> T {
    match within(PATIENCE, check).await {
        Ok(value) => value,
        Err(last) => panic!("{what}: not within {PATIENCE:?}: {last}"),
    }
}

/// Asks again until `check` says `Ok`, or gives what it said last when the time is over.
pub async fn within<T>(
    limit: Duration,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() > deadline => return Err(last),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Where a tool is: in `KUBEBUILDER_ASSETS`, in `WHARF_TOOLS/bin`, or in `target/tools/bin` of this workspace.
///
/// # Panics
/// When it is in none of them.
pub fn tool(name: &str) -> PathBuf {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let built = tools().join("bin");
    let found = assets
        .into_iter()
        .chain([built])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built: run `make tools`"))
}

/// The definitions of the kinds that Wharf does not own, as `tests/tools/build.sh` provides them.
///
/// # Panics
/// When they are not there.
pub fn foreign_crds() -> PathBuf {
    let dir = tools().join("crds");
    assert!(
        dir.is_dir(),
        "{} is not there: run `make tools`",
        dir.display()
    );
    dir
}

fn tools() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("WHARF_TOOLS").map_or_else(|| workspace.join("target/tools"), PathBuf::from)
}

/// A port of 127.0.0.1 that was free a moment ago.
///
/// It is below those that the kernel gives to outgoing connections, so only another server can take it, also while
/// whoever has it is started again.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| RandomState::new().hash_one(0).into());
    let ports = u64::from(PORTS.end - PORTS.start);
    let mut candidates = std::iter::repeat_with(|| {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % ports;
        PORTS.start + u16::try_from(offset).expect("an offset into ports is a port")
    });
    let free = candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("candidates do not end")
}
