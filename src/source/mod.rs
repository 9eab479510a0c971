// SPDX-License-Identifier: Apache-2.0
//! The decisions: what to do about a source, and what to say about it. Pure and synchronous.
//!
//! Enters as values (the parsed CR, what was observed, the time); leaves as values (a [`plan::Plan`], a
//! [`report::Report`]). Nothing here reads a clock, a socket or a file, so every decision is a plain unit test.

pub mod conditions;
pub mod duration;
pub mod plan;
pub mod report;
pub mod schedule;
pub mod spec;

#[cfg(test)]
mod tests;

use std::fmt;

/// Which source: namespace and name of its object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl SourceId {
    /// From namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
