// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in the store.

use std::{
    io,
    path::{Path, PathBuf},
};

use wharf_oci::Digest;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The root exists and is not a directory.
    #[error("store {} is not a directory: give the path of a directory that may be written to", .0.display())]
    NotADirectory(PathBuf),
    /// The root holds directories with the names that a store uses, and is not one. Sweeping it could delete somebody's
    /// files.
    #[error("{} is not a Wharf store but holds {entry:?}: give an empty directory", .root.display())]
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// What was found in it.
        entry: &'static str,
    },
    /// Another version of Wharf made the store in a form that this one does not know.
    #[error("store {} has the format {found:?}, this version knows {known:?}: give another directory", .root.display())]
    Format {
        /// The directory.
        root: PathBuf,
        /// What its marker says, cut.
        found: String,
        /// What this version writes.
        known: &'static str,
    },
    /// Another process has the store open.
    #[error("store {} is in use by another process: stop it, or give this one a directory of its own", .0.display())]
    InUse(PathBuf),
    /// Too little space to write, by the file system or by a quota.
    #[error("no space left to {doing} {}", .path.display())]
    Full {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The staged file has not the size that its artifact is said to have.
    #[error("staged artifact has {got} bytes, expected {expected}")]
    WrongSize {
        /// What its maker counted.
        expected: u64,
        /// What is on disk.
        got: u64,
    },
    /// What is known about the artifact does not fit in a sidecar, which must stay small enough to be read at start.
    #[error(
        "description of the artifact has {size} bytes, more than {limit}: its annotations are too large"
    )]
    SidecarTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: u64,
    },
    /// A value does not encode as JSON.
    #[error("cannot encode the description of the artifact")]
    Encode(#[source] serde_json::Error),
    /// The store does not hold the blob.
    #[error("no blob {0} in the store")]
    NoBlob(Digest),
    /// The blob's file has another size than was recorded.
    #[error("blob {digest} has {got} bytes on disk, recorded are {expected}")]
    Damaged {
        /// The blob.
        digest: Digest,
        /// What was recorded.
        expected: u64,
        /// What is on disk.
        got: u64,
    },
}

impl StoreError {
    /// A failure of the file system, told apart by what the operator can do about it.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                doing,
                path,
                source,
            },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// Whether there is too little space: making room may help, trying again at once does not.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// A bounded name for metrics and reasons.
    pub fn category(&self) -> &'static str {
        match self {
            Self::NotADirectory(_) | Self::NotAStore { .. } | Self::Format { .. } => "store_root",
            Self::InUse(_) => "store_in_use",
            Self::Full { .. } => "store_full",
            Self::Io { .. } => "store_io",
            Self::WrongSize { .. } | Self::SidecarTooLarge { .. } | Self::Encode(_) => {
                "store_artifact"
            }
            Self::NoBlob(_) | Self::Damaged { .. } => "store_blob",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs::OpenOptions, io::Write as _};

    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        let path = Path::new("/dev/full");
        let refused = OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .write(b"x");
        let error = StoreError::io("write", path, refused.unwrap_err());
        assert!(error.is_full());
        assert_eq!(error.category(), "store_full");
        assert_eq!(error.to_string(), "no space left to write /dev/full");
        assert!(error.source().is_some());
    }

    #[test]
    fn a_quota_counts_as_a_full_disk() {
        let edquot = rustix::io::Errno::DQUOT.into();
        assert!(StoreError::io("write", Path::new("x"), edquot).is_full());
        let eio = rustix::io::Errno::IO.into();
        assert!(!StoreError::io("write", Path::new("x"), eio).is_full());
    }
}
