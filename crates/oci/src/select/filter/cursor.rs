// SPDX-License-Identifier: Apache-2.0
//! A place in a pattern, and how a refusal quotes it.

use super::{FilterError, Refusal};

/// The most bytes of a pattern that an error quotes.
const MAX_QUOTE: usize = 40;

/// A pattern and how far it was read.
pub(super) struct Cursor<'p> {
    pattern: &'p str,
    at: usize,
}

impl<'p> Cursor<'p> {
    pub(super) fn new(pattern: &'p str) -> Self {
        Self { pattern, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Goes past that many bytes, which the caller has seen to be ASCII.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Goes past the prefix, if it stands here.
    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let stands_here = self.rest().starts_with(prefix);
        if stands_here {
            self.at += prefix.len();
        }
        stands_here
    }

    /// Goes past the next such end, and gives what stands before it.
    pub(super) fn eat_until(&mut self, end: &str) -> Option<&'p str> {
        let (text, _) = self.rest().split_once(end)?;
        self.at += text.len() + end.len();
        Some(text)
    }

    pub(super) fn eat_all(&mut self) -> &'p str {
        let rest = self.rest();
        self.at = self.pattern.len();
        rest
    }

    /// The refusal of what stands between `from` and here.
    pub(super) fn refuse(&self, why: Refusal, from: usize) -> FilterError {
        let end = self
            .pattern
            .floor_char_boundary(self.at.min(from + MAX_QUOTE));
        FilterError::Refused {
            why,
            at: from,
            construct: self.pattern[from..end].to_owned(),
        }
    }
}
