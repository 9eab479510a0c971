// SPDX-License-Identifier: Apache-2.0
//! Asks `semver-oracle`, many questions at a time.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    thread,
};

use serde::{Deserialize, Serialize};
use wharf_test_support::servers;

/// A question. Its fields are those of `tests/tools/semver-oracle`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Question {
    Range {
        range: String,
        /// Looked at one by one.
        versions: Vec<String>,
        /// Chosen from.
        tags: Vec<String>,
        helm: bool,
    },
    Pattern {
        pattern: String,
        texts: Vec<String>,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// Why Go refuses the range or the pattern.
    pub(crate) error: Option<String>,
    /// One letter for each version or text.
    #[serde(default)]
    pub(crate) verdicts: String,
    /// The places of the tags that are in the range and that no other exceeds.
    #[serde(default)]
    pub(crate) best: Vec<usize>,
}

/// The answers, in the order of the questions.
pub(crate) fn ask(questions: &[Question]) -> Vec<Answer> {
    let mut oracle = Command::new(servers::tool("semver-oracle"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = oracle.stdin.take().unwrap();
    let mut stdout = oracle.stdout.take().unwrap();
    let mut answers = String::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            for question in questions {
                let mut line = serde_json::to_vec(question).unwrap();
                line.push(b'\n');
                stdin.write_all(&line).unwrap();
            }
        });
        stdout.read_to_string(&mut answers).unwrap();
    });
    assert!(oracle.wait().unwrap().success(), "semver-oracle failed");
    let answers: Vec<_> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        answers.len(),
        questions.len(),
        "semver-oracle left questions open"
    );
    answers
}
