// SPDX-License-Identifier: Apache-2.0
//! The closed grammar of passthrough: what a layer may consist of to be stored and served byte for byte.
//!
//! Each way to leave the grammar is a variant of [`NotCanonical`]. Leaving it is no fault: such an archive is safe, and
//! is packed again. The readers note what they meet; this page only holds the list and keeps the first.

use std::fmt;

use super::error::quote;

/// How many gzip members a canonical layer may have.
pub(super) const MAX_CANONICAL_MEMBERS: u64 = 16;

/// Why an archive is not stored byte for byte: one reason per clause of the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCanonical {
    /// More than 16 gzip members.
    GzipMembers,
    /// Zeros follow the gzip stream.
    AfterGzip,
    /// A header is in GNU's dialect or older than POSIX.
    Format,
    /// A header has numbers or reserved bytes outside plain ustar.
    Header,
    /// A GNU header for a long name or link.
    GnuExtension,
    /// A PAX header that speaks for the whole archive.
    GlobalHeader,
    /// A PAX record other than `path`, `size` and `mtime`; its key.
    PaxRecord(String),
    /// A link, device or FIFO, which is dropped; its quoted name.
    Dropped(String),
    /// A name with empty or `.` components; quoted.
    Name(String),
    /// A mode without owner access, or with bits beyond `0777`; the entry's quoted name.
    Mode(String),
    /// A name that is listed twice; quoted.
    Duplicate(String),
    /// The space between a file's content and the next header is not zero.
    Padding,
    /// Not two zero blocks at the end.
    EndMarker,
    /// Something other than zeros follows the end marker.
    AfterEnd,
}

impl NotCanonical {
    /// A bounded name for logs and metrics.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::GzipMembers => "gzip-members",
            Self::AfterGzip => "after-gzip",
            Self::Format => "format",
            Self::Header => "header",
            Self::GnuExtension => "gnu-extension",
            Self::GlobalHeader => "global-header",
            Self::PaxRecord(_) => "pax-record",
            Self::Dropped(_) => "dropped-entry",
            Self::Name(_) => "name",
            Self::Mode(_) => "mode",
            Self::Duplicate(_) => "duplicate",
            Self::Padding => "padding",
            Self::EndMarker => "end-marker",
            Self::AfterEnd => "after-end",
        }
    }
}

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GzipMembers => write!(f, "it has more than {MAX_CANONICAL_MEMBERS} gzip members"),
            Self::AfterGzip => f.write_str("zeros follow its gzip stream"),
            Self::Format => f.write_str("a tar header is not in the ustar format"),
            Self::Header => f.write_str("a tar header uses more than plain ustar fields"),
            Self::GnuExtension => f.write_str("it has GNU headers for long names"),
            Self::GlobalHeader => f.write_str("it has a global PAX header"),
            Self::PaxRecord(key) => write!(f, "it has the PAX record {key:?}"),
            Self::Dropped(name) => write!(f, "{name} is a link, device or FIFO, which is dropped"),
            Self::Name(name) => write!(f, "the name {name} has empty or '.' components"),
            Self::Mode(name) => write!(
                f,
                "{name} is not readable by its owner or has special mode bits"
            ),
            Self::Duplicate(name) => write!(f, "{name} is listed twice"),
            Self::Padding => f.write_str("the padding of an entry is not zero"),
            Self::EndMarker => f.write_str("it has no complete end marker"),
            Self::AfterEnd => f.write_str("data follows its end marker"),
        }
    }
}

/// Keeps the first reason why an archive is not canonical.
#[derive(Debug, Default)]
pub(super) struct Grammar {
    first: Option<NotCanonical>,
}

impl Grammar {
    pub(super) fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> NotCanonical) {
        if !holds && self.first.is_none() {
            self.first = Some(otherwise());
        }
    }

    pub(super) fn require_named(
        &mut self,
        holds: bool,
        otherwise: impl FnOnce(String) -> NotCanonical,
        name: &str,
    ) {
        self.require(holds, || otherwise(quote(name.as_bytes())));
    }

    pub(super) fn verdict(self) -> Result<(), NotCanonical> {
        self.first.map_or(Ok(()), Err)
    }
}
