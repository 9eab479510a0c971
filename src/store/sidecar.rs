// SPDX-License-Identifier: Apache-2.0
//! The sidecar: the small file that is a name.
//!
//! Enters and leaves as JSON with a format number. It is read at start from a disk that anything may have happened to, so
//! every failure to read one is an answer, not an error of the store.

use std::{io, path::Path};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{StoreError, StoredArtifact, disk};

/// The most bytes a sidecar may have. Status could not hold more either.
pub(super) const MAX_SIZE: u64 = 1024 * 1024;

const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    artifact: &'a StoredArtifact,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct Read {
    artifact: StoredArtifact,
}

/// Why a file is not a sidecar of this store.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The disk would not give it.
    Io,
    /// Too large, not JSON, or of an unknown format.
    Garbage,
}

/// The bytes of a sidecar, within [`MAX_SIZE`].
pub(super) fn encode(artifact: &StoredArtifact) -> Result<Vec<u8>, StoreError> {
    let written = Written {
        format: FORMAT,
        artifact,
    };
    let bytes = serde_json::to_vec(&written).map_err(StoreError::Encode)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size <= MAX_SIZE) {
        return Ok(bytes);
    }
    Err(StoreError::SidecarTooLarge {
        size: bytes.len(),
        limit: MAX_SIZE,
    })
}

/// Reads a sidecar back.
pub(super) fn read(path: &Path) -> Result<StoredArtifact, Unreadable> {
    let bytes = disk::read_capped(path, MAX_SIZE).map_err(|e| {
        if is_link(&e) {
            Unreadable::Garbage
        } else {
            Unreadable::Io
        }
    })?;
    decode(&bytes.ok_or(Unreadable::Garbage)?).ok_or(Unreadable::Garbage)
}

// Opening a link fails, because links are not followed.
fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn decode(bytes: &[u8]) -> Option<StoredArtifact> {
    let Format { format } = serde_json::from_slice(bytes).ok()?;
    if format != FORMAT {
        return None;
    }
    let Read { artifact } = serde_json::from_slice(bytes).ok()?;
    Some(artifact)
}
