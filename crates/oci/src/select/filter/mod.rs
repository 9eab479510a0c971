// SPDX-License-Identifier: Apache-2.0
//! Filters over tags: regular expressions with the syntax and the meaning of Go's `regexp`.
//!
//! Enters as the text of `ref.semverFilter`; leaves as a [`Filter`] that says whether a tag matches, anywhere in it.
//! Patterns are read with a parser for Go's grammar and never shown to Rust's, so nothing is read differently by
//! accident; what Go refuses is refused by name. The automaton that runs them is that of the `regex` crate: like Go's,
//! its time is linear in the text.
//!
//! Two differences remain, neither of which a tag can show. The limits here are narrower. And the tables behind `\p{..}`
//! and `(?i)` are of a newer Unicode than Go's, which matters for code points that were assigned in between.

mod class;
mod cursor;
mod error;
mod escape;
mod parser;
mod unicode;

use std::{fmt, str::FromStr};

use regex_automata::{meta, nfa::thompson::WhichCaptures};

pub use error::{FilterError, Refusal};

/// The longest pattern that is read, in bytes.
const MAX_LEN: usize = 1024;
/// The most levels of alternatives and repetitions inside one another: far below what the stack of a thread bears.
const MAX_DEPTH: usize = 32;
/// The largest automaton, in bytes.
const MAX_AUTOMATON: usize = 1024 * 1024;
/// What the engine may remember between two searches, in bytes, for each direction.
const CACHE: usize = 512 * 1024;

/// A regular expression that tags are filtered with. It is not anchored: `^` and `$` have to be written.
#[derive(Clone)]
pub struct Filter {
    pattern: Box<str>,
    regex: meta::Regex,
}

impl Filter {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the pattern matches anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Two filters are equal when they were written alike.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Filter {}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(pattern: &str) -> Result<Self, FilterError> {
        if pattern.len() > MAX_LEN {
            return Err(FilterError::TooLong { len: pattern.len() });
        }
        let hir = parser::parse(pattern)?;
        let config = meta::Config::new()
            .nfa_size_limit(Some(MAX_AUTOMATON))
            .hybrid_cache_capacity(CACHE)
            .which_captures(WhichCaptures::Implicit);
        let regex = meta::Regex::builder()
            .configure(config)
            .build_from_hir(&hir)
            // A tree that is there can fail to become an automaton only by its size.
            .map_err(|_| FilterError::TooLarge)?;
        Ok(Self {
            pattern: pattern.into(),
            regex,
        })
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.pattern).finish()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

#[cfg(test)]
mod tests;
