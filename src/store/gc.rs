// SPDX-License-Identifier: Apache-2.0
//! Forgetting: names first, blobs after a grace period.
//!
//! A name is taken out of the index before or after its sidecar is removed, whichever is safe when the process dies
//! between: what must no longer be served leaves the index first, what merely became old leaves the disk first.

use jiff::Timestamp;
use wharf_oci::Digest;

use super::{ArtifactKey, Retention, Store, StoreError, StoredArtifact, disk};

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The number of names.
    pub names: usize,
    /// The number of blobs.
    pub blobs: usize,
}

impl Store {
    /// Drops the artifacts of an object that were superseded longer ago or more often than `retention` keeps, then collects
    /// blobs. Call it once the status names the current artifact; that one is never dropped.
    pub fn forget_superseded(
        &self,
        key: &ArtifactKey,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Collected, StoreError> {
        let lock = self.0.name_locks.lock(key);
        let artifacts = self.artifacts(key);
        let superseded = retention.superseded(&artifacts, now);
        for artifact in &superseded {
            disk::remove_file(&self.0.layout.sidecar(key, &artifact.manifest_digest))?;
            self.index_mut().remove(key, &artifact.manifest_digest);
        }
        drop(lock);
        let collected = self.collect(now)?;
        Ok(Collected {
            names: superseded.len(),
            ..collected
        })
    }

    /// Drops all artifacts of an object. They are no longer found even when removing the files fails; it may be called
    /// again then.
    pub fn remove(&self, key: &ArtifactKey) -> Result<(), StoreError> {
        let _lock = self.0.name_locks.lock(key);
        self.index_mut().remove_object(key);
        let directory = self.0.layout.object(key);
        let sidecars = disk::list(&directory)?;
        if sidecars.is_empty() {
            return Ok(());
        }
        for sidecar in sidecars {
            disk::remove_file(&sidecar.path())?;
        }
        // Durable, because what was withdrawn must not come back with the next start.
        disk::sync_directory(&directory)
    }

    /// Removes the blobs that no name has pointed to for the grace period of the store.
    ///
    /// The period starts with the first collection that sees the blob without a name, so it takes two. A blob that is
    /// being published is not touched; whoever has it open keeps reading.
    pub fn collect(&self, now: Timestamp) -> Result<Collected, StoreError> {
        let candidates = self.index_mut().collectable(now, self.0.options.blob_grace);
        let mut collected = Collected::default();
        for digest in candidates {
            if self.collect_blob(&digest)? {
                collected.blobs += 1;
            }
        }
        Ok(collected)
    }

    /// Drops a blob that [`Store::verify_blob`] found corrupt, with every name that points to it, so that the next
    /// reconciliation of those objects makes it again. Returns the objects; none when a publication of the same blob is
    /// under way, and it should be tried again later.
    pub fn discard_blob(&self, digest: &Digest) -> Result<Vec<ArtifactKey>, StoreError> {
        let lock = self.0.blob_locks.lock(digest);
        let Some(names) = self.index_mut().remove_blob(digest) else {
            return Ok(Vec::new());
        };
        disk::remove_file(&self.0.layout.blob(digest))?;
        drop(lock);
        for artifact in &names {
            self.remove_stale_sidecar(artifact)?;
        }
        Ok(names.iter().map(|artifact| artifact.key.clone()).collect())
    }

    // A publication that starts now pins the blob and then waits for the lock, and finds no file when it gets it.
    fn collect_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let _lock = self.0.blob_locks.lock(digest);
        if !self.index_mut().give_up(digest) {
            return Ok(false);
        }
        let removed = disk::remove_file(&self.0.layout.blob(digest));
        if removed.is_err() {
            self.index_mut().keep_idle(digest);
        }
        removed.map(|()| true)
    }

    // The name may have been published again meanwhile; then its sidecar is a new one.
    fn remove_stale_sidecar(&self, artifact: &StoredArtifact) -> Result<(), StoreError> {
        let (key, manifest) = (&artifact.key, &artifact.manifest_digest);
        let _lock = self.0.name_locks.lock(key);
        if self.index().find(key, manifest).is_some() {
            return Ok(());
        }
        disk::remove_file(&self.0.layout.sidecar(key, manifest))
    }
}
