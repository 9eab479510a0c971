// SPDX-License-Identifier: Apache-2.0
//! Asks a registry the thirty questions: `cargo run -p wharf-test-support --example conformance -- URL [USER PASSWORD]`.
//!
//! `CA_FILE` names the authorities (PEM) that an https URL is checked against. Exits 1 when an assertion does not hold.
#![expect(clippy::print_stdout, reason = "the report is the point")]

use std::error::Error;
use std::process::ExitCode;

use wharf_test_support::conformance::{self, Target};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut target = match arguments.as_slice() {
        [url] => Target::new(url),
        [url, user, password] => Target::new(url).credentials(user, password),
        _ => return Err("expected URL [USER PASSWORD]".into()),
    };
    if let Ok(file) = std::env::var("CA_FILE") {
        target = target.ca(&std::fs::read_to_string(file)?);
    }
    let report = conformance::run(&target).await;
    println!("{report}");
    Ok(ExitCode::from(u8::from(report.failed() > 0)))
}
