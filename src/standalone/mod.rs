// SPDX-License-Identifier: Apache-2.0
//! The ports over a directory of YAML, for everybody without a cluster.
//!
//! Enters as a directory of `OCIRepository` and `Secret` manifests, polled, and a state directory; leaves as triggers for
//! the engine, as status files below the state directory, and as lines of a [`Printer`]. It keeps the rules of an API
//! server that the engine counts on (generation, version, uid) and adds one: what it does not understand it refuses, with
//! file and line. It runs nothing itself and knows no registry.
//!
//! ```text
//! *.yaml ──files──▶ yaml ──▶ schema, document ──▶ world ──Trigger──▶ engine
//!                          status files ◀── state ◀─┴──ports◀── pipeline
//! ```

mod document;
mod files;
mod lines;
mod poll;
mod ports;
mod printer;
mod progress;
mod schema;
mod state;
mod world;
mod yaml;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wharf_api::v1::OCIRepository;

use self::{
    files::Directory,
    state::StateDir,
    world::{Changes, World},
};
use crate::{engine::Trigger, ports::Ports};

pub use self::{
    files::Problem,
    printer::{Format, Printer},
    progress::{Progress, Standing},
};

/// Why standalone mode cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory with the manifests is not there or may not be read.
    #[error("could not list the directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state directory cannot be made, read or written.
    #[error("could not use the state directory {path}")]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A directory of manifests and what is known about them.
#[derive(Debug)]
pub struct Standalone {
    directory: Arc<Mutex<Directory>>,
    shared: Arc<Shared>,
    first: Changes,
}

/// What the ports and the poll work on.
#[derive(Debug)]
struct Shared {
    world: World,
    state: Arc<StateDir>,
    printer: Printer,
    progress: watch::Sender<Progress>,
}

impl Standalone {
    /// Reads the directory and the status that an earlier process left. Blocks on the disk.
    ///
    /// A file that cannot be used is no error: see [`Standalone::problems`].
    pub fn open(dir: &Path, state_dir: &Path, printer: Printer) -> Result<Self, Error> {
        let state_error = |source| Error::State {
            path: state_dir.to_owned(),
            source,
        };
        let state = StateDir::open(state_dir).map_err(state_error)?;
        let remembered = state.load().map_err(state_error)?;
        let shared = Arc::new(Shared {
            world: World::new(remembered),
            state: Arc::new(state),
            printer,
            progress: watch::Sender::default(),
        });
        let directory = Arc::new(Mutex::new(Directory::new(dir.to_owned())));
        let first = poll::look(&directory, &shared).map_err(|source| Error::Directory {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            directory,
            shared,
            first,
        })
    }

    /// The ports for the pipeline.
    pub fn ports(&self) -> Ports {
        Ports {
            sources: self.shared.clone(),
            secrets: self.shared.clone(),
            status: self.shared.clone(),
            events: self.shared.clone(),
        }
    }

    /// What of the directory cannot be used at the moment. `run --once` fails when there is any.
    pub fn problems(&self) -> Vec<Problem> {
        self.shared.world.problems()
    }

    /// The sources as they stand.
    pub fn sources(&self) -> Vec<Arc<OCIRepository>> {
        self.shared.world.sources()
    }

    /// How the sources stand in this process; changes are announced. Settled when every source has been answered.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Sends a trigger for every source, and for every change from then on, until stopped or until nobody receives.
    pub async fn run(self, triggers: mpsc::Sender<Trigger>, stop: CancellationToken) {
        poll::run(self.directory, self.shared, self.first, triggers, stop).await;
    }
}

#[cfg(test)]
mod tests;
