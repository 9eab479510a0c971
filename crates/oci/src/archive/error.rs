// SPDX-License-Identifier: Apache-2.0
//! Why an archive was refused, or could not be read or written.
//!
//! Names from archives are quoted, escaped and cut before they reach a message: they are a stranger's bytes.

use std::io;

use super::LimitExceeded;

/// Why an archive was refused, or could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The blob could not be read. Says nothing about its content.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The spool file could not be written or read back.
    #[error("cannot use the spool file for the inflated archive")]
    Spool(#[source] io::Error),
    /// The output could not be written.
    #[error("cannot write the packed archive")]
    Write(#[source] io::Error),
    /// The blob is not gzip.
    #[error("archive is not gzip, it looks like {found}; push the layer as a .tar.gz")]
    NotGzip {
        /// What its first bytes look like.
        found: &'static str,
    },
    /// The gzip stream is damaged.
    #[error("gzip member {member} is damaged: {what}")]
    Gzip {
        /// Which member, counted from 1.
        member: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The blob ends too early.
    #[error("archive is truncated: it ends inside {inside}")]
    Truncated {
        /// What was being read.
        inside: &'static str,
    },
    /// Something other than zeros follows the last gzip member.
    #[error("archive has trailing bytes after its gzip stream that are neither zeros nor gzip")]
    TrailingGarbage,
    /// The tar stream is malformed, or two readers of tar would read it differently.
    #[error("tar header at byte {offset} is refused: {what}")]
    Tar {
        /// Where in the inflated stream the header starts.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An entry's name is absolute, climbs out or is no portable name.
    #[error("archive entry {name} is refused: {why}")]
    Name {
        /// The name, quoted.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry is of a kind that is neither kept nor dropped.
    #[error("archive entry {name} has the unsupported type {type_flag:?}")]
    EntryType {
        /// The name, quoted.
        name: String,
        /// The tar type flag.
        type_flag: char,
    },
    /// Two entries contradict each other: file and directory of one name, or a file as parent of another entry.
    #[error("archive entry {name} is both a file and a directory")]
    Conflict {
        /// The name that is both, quoted.
        name: String,
    },
    /// The archive is too large in some dimension.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// A file or directory on disk could not be read or made.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what, relative to the directory that was given, quoted.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Unpacking would overwrite something.
    #[error("{path} already exists and is not overwritten; unpack into an empty directory")]
    Exists {
        /// Where, relative to the directory that was given, quoted.
        path: String,
    },
    /// A file changed its size while it was packed.
    #[error("{path} changed while it was packed; pack again when nothing writes to it")]
    Changed {
        /// Where, relative to the directory that was given, quoted.
        path: String,
    },
}

impl ArchiveError {
    /// A bounded name for metrics and reasons.
    ///
    /// `io` and `exists` are about this machine and may pass; all others are about the archive and stay until it changes.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Read(_) | Self::Spool(_) | Self::Write(_) | Self::File { .. } => "io",
            Self::Changed { .. } => "changed",
            Self::Exists { .. } => "exists",
            Self::NotGzip { .. } => "not-gzip",
            Self::Gzip { .. } | Self::Truncated { .. } | Self::TrailingGarbage => "damaged",
            Self::Tar { .. } => "malformed",
            Self::Name { .. } => "unsafe-name",
            Self::EntryType { .. } => "unsupported-entry",
            Self::Conflict { .. } => "conflict",
            Self::Limit(_) => "limit",
        }
    }

    pub(super) fn name(raw: &[u8], why: &'static str) -> Self {
        Self::Name {
            name: quote(raw),
            why,
        }
    }

    pub(super) fn file(action: &'static str, path: &str, source: impl Into<io::Error>) -> Self {
        Self::File {
            action,
            path: quote(path.as_bytes()),
            source: source.into(),
        }
    }
}

/// A name as it may stand in a message: valid UTF-8, escaped, at most 140 characters of it.
pub(super) fn quote(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let text = if text.is_empty() { "." } else { &text };
    let cut: String = text.chars().take(140).collect();
    format!("{cut:?}")
}
