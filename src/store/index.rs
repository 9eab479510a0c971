// SPDX-License-Identifier: Apache-2.0
//! The names in memory. Pure: it never touches the disk, so the lock around it is always short.
//!
//! Enters as [`StoredArtifact`]s whose files are already durable; leaves as answers to lookups, and as the blobs that
//! nothing needs any more.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use wharf_oci::Digest;

use super::{ArtifactKey, StoredArtifact};

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Names: artifacts of objects, superseded ones included.
    pub artifacts: u64,
    /// Blobs that at least one name points to.
    pub blobs: u64,
    /// The bytes of those blobs.
    pub bytes: u64,
}

/// All names, and the use that is made of each blob.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Newest first, never empty.
    names: BTreeMap<ArtifactKey, Vec<Arc<StoredArtifact>>>,
    blobs: HashMap<Digest, BlobUse>,
    /// The blobs without names or pins, and when a collection first saw them so.
    idle: HashMap<Digest, Option<Timestamp>>,
    usage: Usage,
    last_sequence: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct BlobUse {
    size: u64,
    names: usize,
    /// Publications under way that count on the blob.
    pins: usize,
}

impl Index {
    /// The next number in the order of publication.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    pub(super) fn current(&self, key: &ArtifactKey) -> Option<Arc<StoredArtifact>> {
        self.names.get(key)?.first().cloned()
    }

    pub(super) fn find(&self, key: &ArtifactKey, manifest: &Digest) -> Option<Arc<StoredArtifact>> {
        let mut names = self.names.get(key)?.iter();
        names.find(|a| a.manifest_digest == *manifest).cloned()
    }

    /// All artifacts of an object, newest first.
    pub(super) fn artifacts(&self, key: &ArtifactKey) -> Vec<Arc<StoredArtifact>> {
        self.names.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn keys(&self) -> Vec<ArtifactKey> {
        self.names.keys().cloned().collect()
    }

    /// The size of a blob that a name points to.
    pub(super) fn blob_size(&self, digest: &Digest) -> Option<u64> {
        let blob = self.blobs.get(digest)?;
        (blob.names > 0).then_some(blob.size)
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Makes a name visible, in place of the one with the same manifest digest.
    pub(super) fn insert(&mut self, artifact: Arc<StoredArtifact>) {
        self.last_sequence = self.last_sequence.max(artifact.sequence);
        self.acquire(&artifact);
        self.remove(&artifact.key, &artifact.manifest_digest);
        let names = self.names.entry(artifact.key.clone()).or_default();
        let place = names.partition_point(|a| a.sequence > artifact.sequence);
        names.insert(place, artifact);
    }

    /// Takes one name away.
    pub(super) fn remove(&mut self, key: &ArtifactKey, manifest: &Digest) {
        let Some(names) = self.names.get_mut(key) else {
            return;
        };
        let Some(place) = names.iter().position(|a| a.manifest_digest == *manifest) else {
            return;
        };
        let gone = names.remove(place);
        if names.is_empty() {
            self.names.remove(key);
        }
        self.release(&gone.digest);
    }

    /// Takes all names of an object away.
    pub(super) fn remove_object(&mut self, key: &ArtifactKey) {
        for gone in self.names.remove(key).unwrap_or_default() {
            self.release(&gone.digest);
        }
    }

    /// Takes all names of a blob away, unless a publication counts on it; returns them.
    pub(super) fn remove_blob(&mut self, digest: &Digest) -> Option<Vec<Arc<StoredArtifact>>> {
        if self.blobs.get(digest).is_some_and(|blob| blob.pins > 0) {
            return None;
        }
        let all = self.names.values().flatten();
        let gone: Vec<_> = all.filter(|a| a.digest == *digest).cloned().collect();
        for artifact in &gone {
            self.remove(&artifact.key, &artifact.manifest_digest);
        }
        Some(gone)
    }

    /// Keeps a blob from being collected until [`Index::unpin`].
    pub(super) fn pin(&mut self, digest: &Digest) {
        self.blobs.entry(digest.clone()).or_default().pins += 1;
        self.idle.remove(digest);
    }

    pub(super) fn unpin(&mut self, digest: &Digest) {
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.pins = blob.pins.saturating_sub(1);
        }
        self.settle(digest);
    }

    /// The blobs that have been seen without a name for the grace period. Those seen so for the first time start it.
    pub(super) fn collectable(&mut self, now: Timestamp, grace: Duration) -> Vec<Digest> {
        let old = self
            .idle
            .iter_mut()
            .map(|(digest, since)| (digest, *since.get_or_insert(now)))
            .filter(|(_, since)| is_older(*since, now, grace));
        old.map(|(digest, _)| digest.clone()).collect()
    }

    /// Gives a blob up if it is still without name and pin; false when it came into use meanwhile.
    pub(super) fn give_up(&mut self, digest: &Digest) -> bool {
        let idle = self.idle.remove(digest).is_some();
        if idle {
            self.blobs.remove(digest);
        }
        idle
    }

    /// Puts a blob back that was given up but could not be removed, so that it is tried again.
    pub(super) fn keep_idle(&mut self, digest: &Digest) {
        self.blobs.entry(digest.clone()).or_default();
        self.settle(digest);
    }

    fn acquire(&mut self, artifact: &StoredArtifact) {
        let blob = self.blobs.entry(artifact.digest.clone()).or_default();
        self.usage.artifacts += 1;
        if blob.names == 0 {
            blob.size = artifact.size;
            self.usage.blobs += 1;
            self.usage.bytes += artifact.size;
        }
        blob.names += 1;
        self.idle.remove(&artifact.digest);
    }

    fn release(&mut self, digest: &Digest) {
        let Some(blob) = self.blobs.get_mut(digest) else {
            return;
        };
        self.usage.artifacts -= 1;
        blob.names -= 1;
        if blob.names == 0 {
            self.usage.blobs -= 1;
            self.usage.bytes -= blob.size;
        }
        self.settle(digest);
    }

    fn settle(&mut self, digest: &Digest) {
        let unused = |blob: &BlobUse| blob.names == 0 && blob.pins == 0;
        if self.blobs.get(digest).is_some_and(unused) {
            self.idle.entry(digest.clone()).or_default();
        }
    }
}

// A clock that went back gives a negative age, which is not old.
fn is_older(since: Timestamp, now: Timestamp, grace: Duration) -> bool {
    now.duration_since(since)
        .try_into()
        .is_ok_and(|age: Duration| age >= grace)
}
