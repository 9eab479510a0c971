// SPDX-License-Identifier: Apache-2.0
//! How large an archive may be, in every dimension in which it can be large.
//!
//! A [`Limits`] enters every function of this module's parent; a breach leaves as a [`LimitExceeded`] that names the limit,
//! its value and the flag that changes it. Nothing here measures: the readers do.

use std::fmt;

/// The bounds of one archive. The defaults are several times what real artifacts of manifests need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the compressed blob. Default 256 MiB.
    pub compressed_bytes: u64,
    /// Bytes of the inflated tar stream, padding included. Default 1 GiB.
    pub expanded_bytes: u64,
    /// Entries that are listed, plus parent directories that are only implied. Default 100,000.
    pub entries: u64,
    /// Expanded bytes per compressed byte, looked at once [`Limits::RATIO_FREE_BYTES`] are expanded. Default 200.
    pub ratio: u64,
    /// Bytes of one entry's path. Default 1,024.
    pub path_bytes: u64,
    /// Components of one entry's path. Default 64.
    pub depth: u64,
    /// Bytes of the extension headers (PAX, GNU long names) of one entry, and of the header of one gzip member.
    /// Default 64 KiB.
    pub header_bytes: u64,
    /// Members of the gzip stream. Default 65,536; indexed formats write one per file or per 64 KiB.
    pub gzip_members: u64,
}

impl Limits {
    /// How much may be expanded before the ratio counts: short runs of equal bytes are ordinary.
    pub const RATIO_FREE_BYTES: u64 = 1 << 20;

    /// The value of one limit.
    pub const fn value(&self, limit: Limit) -> u64 {
        match limit {
            Limit::CompressedBytes => self.compressed_bytes,
            Limit::ExpandedBytes => self.expanded_bytes,
            Limit::Entries => self.entries,
            Limit::Ratio => self.ratio,
            Limit::PathBytes => self.path_bytes,
            Limit::Depth => self.depth,
            Limit::HeaderBytes => self.header_bytes,
            Limit::GzipMembers => self.gzip_members,
        }
    }

    /// Refuses `found` if it is more than `limit` allows.
    pub fn check(&self, limit: Limit, found: u64) -> Result<(), LimitExceeded> {
        let value = self.value(limit);
        if found > value {
            return Err(LimitExceeded { limit, value });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compressed_bytes: 256 << 20,
            expanded_bytes: 1 << 30,
            entries: 100_000,
            ratio: 200,
            path_bytes: 1024,
            depth: 64,
            header_bytes: 64 << 10,
            gzip_members: 65_536,
        }
    }
}

/// One of the dimensions of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::compressed_bytes`].
    CompressedBytes,
    /// [`Limits::expanded_bytes`].
    ExpandedBytes,
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::path_bytes`].
    PathBytes,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::header_bytes`].
    HeaderBytes,
    /// [`Limits::gzip_members`].
    GzipMembers,
}

impl Limit {
    /// Every limit, in the order of the fields of [`Limits`].
    pub const ALL: [Self; 8] = [
        Self::CompressedBytes,
        Self::ExpandedBytes,
        Self::Entries,
        Self::Ratio,
        Self::PathBytes,
        Self::Depth,
        Self::HeaderBytes,
        Self::GzipMembers,
    ];

    /// The command-line flag that sets it.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::CompressedBytes => "--max-compressed-bytes",
            Self::ExpandedBytes => "--max-expanded-bytes",
            Self::Entries => "--max-entries",
            Self::Ratio => "--max-ratio",
            Self::PathBytes => "--max-path-bytes",
            Self::Depth => "--max-depth",
            Self::HeaderBytes => "--max-header-bytes",
            Self::GzipMembers => "--max-gzip-members",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CompressedBytes => "compressed bytes",
            Self::ExpandedBytes => "expanded bytes",
            Self::Entries => "entries",
            Self::Ratio => "ratio of expanded to compressed bytes",
            Self::PathBytes => "bytes in one path",
            Self::Depth => "levels of directories",
            Self::HeaderBytes => "bytes in one header",
            Self::GzipMembers => "gzip members",
        })
    }
}

/// An archive is larger than one of its [`Limits`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("archive exceeds the limit of {value} {limit}; raise {} if it is meant to be this large", limit.flag())]
pub struct LimitExceeded {
    /// Which limit.
    pub limit: Limit,
    /// Its value.
    pub value: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_allows_its_value_and_nothing_above() {
        let limits = Limits::default();
        for limit in Limit::ALL {
            let value = limits.value(limit);
            assert_eq!(limits.check(limit, value), Ok(()));
            assert_eq!(
                limits.check(limit, value + 1),
                Err(LimitExceeded { limit, value })
            );
        }
    }

    #[test]
    fn the_message_names_the_limit_its_value_and_the_flag() {
        let limits = Limits::default();
        for limit in Limit::ALL {
            let message = limits.check(limit, u64::MAX).unwrap_err().to_string();
            for part in [
                &limits.value(limit).to_string(),
                limit.flag(),
                &limit.to_string(),
            ] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
