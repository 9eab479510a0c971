// SPDX-License-Identifier: Apache-2.0
//! The command line: flags as typed ([`args`]), parsed values ([`config`]), one file per verb, and what people and
//! scripts read ([`output`]).
//!
//! Enters as arguments and environment; leaves as an [`Exit`] or a [`Failure`]. Exit codes: 0 done; 1 failed; 2 wrong
//! usage; 3 `run --once` ended and not every source is Ready.

mod advice;
mod argocd;
pub mod args;
pub mod config;
mod controller;
mod hosts_file;
mod keychain;
pub mod output;
mod process;
mod pull;
mod push;
mod registry;
mod run;

use std::{error::Error, fmt, io::Write, process::ExitCode};

use self::args::{Args, Verb};

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Done,
    /// 1: it failed; standard error says why.
    Failed,
    /// 2: the command was not understood.
    Usage,
    /// 3: everything ran, and not every source is Ready.
    NotReady,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb failed: what was tried, with the chain of causes.
#[derive(Debug)]
pub struct Failure {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    exit: Exit,
}

impl Failure {
    /// Something was tried and failed.
    pub fn new(what: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            what: what.into(),
            source: Some(source.into()),
            exit: Exit::Failed,
        }
    }

    /// Something is wrong, with no cause below.
    pub fn plain(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
            exit: Exit::Failed,
        }
    }

    /// The command itself is wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
            exit: Exit::Usage,
        }
    }

    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

/// Runs the verb.
pub fn run(args: Args) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Crds => print(&wharf_api::crds_yaml()),
        Verb::Version(version) => print(&output::version(version.output)),
        Verb::Completion(completion) => print(&output::completion(completion.shell)),
        Verb::Push(push) => block_on(push::run(push)),
        Verb::Pull(pull) => block_on(pull::run(pull)),
        Verb::Run(run) => block_on(run::run(run)),
        Verb::Controller(controller) => block_on(controller::run(controller)),
    }
}

/// Writes text to standard output. A reader that went away (`wharf crds | head`) is no failure.
fn print(text: &str) -> Result<Exit, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new("could not write the output", error))
        }
        _ => Ok(Exit::Done),
    }
}

fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("could not start the runtime", error))?;
    let result = runtime.block_on(verb);
    // Blocking work that is still under way writes only to private files; it must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}
