// SPDX-License-Identifier: Apache-2.0
//! What people and scripts read: results on standard output, failures on standard error.

use std::io::{IsTerminal, Write};

use clap::CommandFactory;
use serde::Serialize;

use super::{
    Failure, advice,
    args::{Args, Output},
};
use crate::pipeline::error::chain;

/// Prints why a verb failed.
pub fn complain(failure: &Failure) {
    let mut stderr = std::io::stderr();
    let label = if stderr.is_terminal() {
        "\u{1b}[31merror:\u{1b}[0m"
    } else {
        "error:"
    };
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(stderr, "{label} {}", chain(failure));
    if let Some(advice) = advice::on(failure) {
        let _ = writeln!(stderr, "hint: {advice}");
    }
}

/// Prints what somebody should know although all goes on.
pub fn warn(text: &str) {
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "warning: {text}");
}

/// The version, for people or scripts.
pub fn version(output: Output) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match output {
        Output::Table => format!("wharf {version}\n"),
        Output::Json => json_line(&serde_json::json!({ "version": version })),
    }
}

/// The completion script of a shell.
pub fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "wharf", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A value as one line of JSON.
pub fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .map(|line| line + "\n")
        .unwrap_or_default()
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let unit = (0..UNITS.len() - 1)
        .find(|unit| count < 1024 << (10 * unit))
        .unwrap_or(UNITS.len() - 1);
    if unit == 0 {
        return format!("{count} B");
    }
    let tenths = u128::from(count) * 10 / (1 << (10 * unit));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        let told = [0, 1023, 1024, 1536, 1 << 20, 5 << 30].map(bytes);
        assert_eq!(
            told,
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 GiB"]
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_shell_gets_a_completion_script() {
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
        ] {
            assert!(completion(shell).contains("controller"));
        }
    }
}
