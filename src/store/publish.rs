// SPDX-License-Identifier: Apache-2.0
//! Publishing: from a staged file to a visible name.
//!
//! The order is the guarantee: blob, its directory, sidecar, its directory, index. A process that dies between any two of
//! them leaves a temporary file or a blob without a name, and both are swept at the next start.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use wharf_oci::Digest;

use super::{NewArtifact, Staged, Store, StoreError, StoredArtifact, disk, sidecar};

impl Store {
    /// Makes a staged file the current artifact of its object.
    ///
    /// Flow: blob durable, sidecar durable, then visible. When the store holds the blob already, the staged file is dropped.
    ///
    /// Guarantees: on an error nothing visible has changed and what was served before still is. Superseded artifacts stay
    /// until [`Store::forget_superseded`].
    ///
    /// Assumptions: `artifact.digest` was computed from the bytes of `staged`; only its size is checked here.
    pub fn publish(
        &self,
        staged: Staged,
        artifact: NewArtifact,
        now: Timestamp,
    ) -> Result<StoredArtifact, StoreError> {
        let _pin = Pin::new(self, &artifact.digest);
        self.place_blob(staged, &artifact)?;
        self.name_artifact(artifact, now)
    }

    fn place_blob(&self, staged: Staged, artifact: &NewArtifact) -> Result<(), StoreError> {
        check_size(&staged, artifact.size)?;
        let path = self.0.layout.blob(&artifact.digest);
        let _lock = self.0.blob_locks.lock(&artifact.digest);
        if !disk::has_size(&path, artifact.size)? {
            staged.sync()?;
            staged.place(&path)?;
        }
        // Also for a blob that was there: whoever renamed it may not have come to this step.
        sync_parent(&path)
    }

    fn name_artifact(
        &self,
        artifact: NewArtifact,
        now: Timestamp,
    ) -> Result<StoredArtifact, StoreError> {
        let _lock = self.0.name_locks.lock(&artifact.key);
        let sequence = self.index_mut().next_sequence();
        let stored = StoredArtifact::new(artifact, now, sequence);
        self.write_sidecar(&stored)?;
        self.index_mut().insert(Arc::new(stored.clone()));
        Ok(stored)
    }

    fn write_sidecar(&self, stored: &StoredArtifact) -> Result<(), StoreError> {
        let bytes = sidecar::encode(stored)?;
        let mut staged = self.stage()?;
        staged.write_all(&bytes)?;
        staged.sync()?;
        disk::make_directory(&self.0.layout.namespace(&stored.key))?;
        disk::make_directory(&self.0.layout.object(&stored.key))?;
        let path = self.0.layout.sidecar(&stored.key, &stored.manifest_digest);
        staged.place(&path)?;
        sync_parent(&path)
    }
}

fn check_size(staged: &Staged, expected: u64) -> Result<(), StoreError> {
    let got = staged.size()?;
    if got == expected {
        return Ok(());
    }
    Err(StoreError::WrongSize { expected, got })
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), disk::sync_directory)
}

/// Keeps a blob from being collected between its arrival and its name.
struct Pin<'a> {
    store: &'a Store,
    digest: Digest,
}

impl<'a> Pin<'a> {
    fn new(store: &'a Store, digest: &Digest) -> Self {
        store.index_mut().pin(digest);
        Self {
            store,
            digest: digest.clone(),
        }
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.store.index_mut().unpin(&self.digest);
    }
}
