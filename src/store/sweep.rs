// SPDX-License-Identifier: Apache-2.0
//! The sweep at start: what a killed process, a full disk or a stranger left is found here and nowhere else.
//!
//! It reads the store's own directories, never follows a link, removes what cannot be used, and returns the index of what
//! can. Removing is safe because everything here can be made again.

use std::{
    fs::{self, DirEntry},
    path::{Path, PathBuf},
    sync::Arc,
};

use wharf_oci::Digest;

use super::{
    ArtifactKey, StoreError, StoredArtifact, disk,
    index::Index,
    layout::{ALGORITHMS, Layout},
    sidecar::{self, Unreadable},
};

/// What the sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Names that are good.
    pub names: u64,
    /// Temporary files removed.
    pub leftovers: u64,
    /// Sidecars removed that are not JSON, too large, of an unknown format, or under a path that is not theirs.
    pub garbage: u64,
    /// Blobs removed that no name points to, and other files among them.
    pub orphans: u64,
    /// Files that could not be read or removed, and directories that do not belong there. They are left and ignored.
    pub stuck: u64,
    /// The objects that lost an artifact, because its blob is gone or has not the recorded size.
    pub lost: Vec<ArtifactKey>,
}

/// Empties the directory of temporary files.
pub(super) fn empty_staging(layout: &Layout, report: &mut SweepReport) -> Result<(), StoreError> {
    for entry in disk::list(&layout.staging())? {
        let removed = if is_directory(&entry) {
            fs::remove_dir_all(entry.path()).is_ok()
        } else {
            fs::remove_file(entry.path()).is_ok()
        };
        let count = if removed {
            &mut report.leftovers
        } else {
            &mut report.stuck
        };
        *count += 1;
    }
    Ok(())
}

/// Reads all names, removing those that cannot be used.
pub(super) fn read_names(layout: &Layout, report: &mut SweepReport) -> Result<Index, StoreError> {
    let mut index = Index::default();
    for namespace in directories(&layout.kind(), report)? {
        for object in directories(&namespace, report)? {
            for entry in disk::list(&object)? {
                if let Some(artifact) = read_name(layout, &entry, report)? {
                    report.names += 1;
                    index.insert(Arc::new(artifact));
                }
            }
            remove_if_empty(&object);
        }
        remove_if_empty(&namespace);
    }
    Ok(index)
}

/// Removes every blob that the index does not name.
pub(super) fn remove_orphans(
    layout: &Layout,
    index: &Index,
    report: &mut SweepReport,
) -> Result<(), StoreError> {
    for algorithm in ALGORITHMS {
        for entry in disk::list(&layout.blobs_of(algorithm))? {
            let digest = entry
                .file_name()
                .to_str()
                .and_then(|hex| format!("{}:{hex}", algorithm.name()).parse::<Digest>().ok());
            if digest.is_none_or(|digest| index.blob_size(&digest).is_none()) {
                remove_entry(&entry, report, |report| &mut report.orphans);
            }
        }
    }
    Ok(())
}

fn read_name(
    layout: &Layout,
    entry: &DirEntry,
    report: &mut SweepReport,
) -> Result<Option<StoredArtifact>, StoreError> {
    let artifact = match sidecar::read(&entry.path()) {
        Ok(artifact) if is_in_place(layout, &artifact, entry) => artifact,
        Err(Unreadable::Io) => {
            report.stuck += 1;
            return Ok(None);
        }
        _ => {
            remove_entry(entry, report, |report| &mut report.garbage);
            return Ok(None);
        }
    };
    if disk::has_size(&layout.blob(&artifact.digest), artifact.size)? {
        return Ok(Some(artifact));
    }
    disk::remove_file(&entry.path())?;
    report.lost.push(artifact.key);
    Ok(None)
}

// A sidecar that was copied elsewhere must not give an object the artifact of another one.
fn is_in_place(layout: &Layout, artifact: &StoredArtifact, entry: &DirEntry) -> bool {
    layout.sidecar(&artifact.key, &artifact.manifest_digest) == entry.path()
}

fn directories(path: &Path, report: &mut SweepReport) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for entry in disk::list(path)? {
        if is_directory(&entry) {
            found.push(entry.path());
        } else {
            remove_entry(&entry, report, |report| &mut report.garbage);
        }
    }
    Ok(found)
}

// Files and links are removed, never what they point to; a directory is left, because nothing here makes one.
fn remove_entry(
    entry: &DirEntry,
    report: &mut SweepReport,
    count: impl Fn(&mut SweepReport) -> &mut u64,
) {
    if !is_directory(entry) && fs::remove_file(entry.path()).is_ok() {
        *count(report) += 1;
    } else {
        report.stuck += 1;
    }
}

// The type of the entry itself: a link to a directory is not a directory.
fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

// One that is not empty stays, and that is all that can go wrong.
fn remove_if_empty(directory: &Path) {
    let _ = fs::remove_dir(directory);
}
