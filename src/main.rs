// SPDX-License-Identifier: Apache-2.0
//! The `wharf` binary: parse arguments, run the verb, turn its end into an exit code.

use std::process::ExitCode;

use clap::Parser;
use wharf::cli::{self, args::Args};

fn main() -> ExitCode {
    let args = Args::parse();
    match cli::run(args) {
        Ok(exit) => exit.into(),
        Err(error) => {
            cli::output::complain(&error);
            error.exit().into()
        }
    }
}
