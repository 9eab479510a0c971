// SPDX-License-Identifier: Apache-2.0
//! The artifact store on disk.
//!
//! What it is: content-addressed blobs, and names that point to them. A name stands for one (object, manifest digest) and
//! is a small file, the sidecar; an index in memory holds the same names for lookups. Identical artifacts of many objects
//! occupy one blob.
//!
//! What it is not: it fetches, verifies and packs nothing, and it does not decide whether an artifact may be published.
//! It is a cache: whatever is lost or dropped here can be made again from the registry.
//!
//! How data enters and leaves: bytes are written to a [`Staged`] file and enter through [`Store::publish`]; names are
//! found with [`Store::lookup`] and [`Store::current`], bytes are read through [`Store::open_blob`]. Everything blocks on
//! the disk except what only reads the index, which is said where it is so; an asynchronous caller uses a blocking thread.
//!
//! ```text
//! <root>/.wharf-store                                         marks the directory as a store, and is its lock
//! <root>/blobs/<algorithm>/<hex>                              the bytes of an artifact, under their own digest
//! <root>/names/ocirepository/<namespace>/<name>/<algorithm>-<hex>.json   a sidecar, under the manifest's digest
//! <root>/staging/                                             private temporary files, emptied at start
//! ```

mod artifact;
mod disk;
mod error;
mod gc;
mod index;
mod key;
mod layout;
mod publish;
mod retention;
mod sidecar;
mod staging;
mod stripes;
mod sweep;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use wharf_oci::Digest;

pub use artifact::{NewArtifact, Packer, StoredArtifact};
pub use error::StoreError;
pub use gc::Collected;
pub use index::Usage;
pub use key::{ArtifactKey, KeyError};
pub use layout::ARTIFACT_EXTENSION;
pub use retention::Retention;
pub use staging::Staged;
pub use sweep::SweepReport;

use disk::Blob;
use index::Index;
use layout::{Layout, Requested};
use staging::Staging;
use stripes::Stripes;

/// How a store behaves; the default is what a controller wants.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a blob that no name points to is kept, so that a reader that has just been told its name still gets it.
    pub blob_grace: Duration,
    /// How long to wait for a process that has the store open. One that was just killed may take a moment to go.
    pub lock_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            blob_grace: Duration::from_mins(1),
            lock_wait: Duration::from_secs(2),
        }
    }
}

/// What the index says about a path.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// An artifact is stored under it.
    Found(Box<StoredArtifact>),
    /// The path has the right form, and nothing is stored under it for this object.
    Missing(ArtifactKey),
    /// No artifact could ever have this path.
    Malformed,
}

/// What the bytes of a blob are worth, after they were read and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They have the digest they are stored under.
    Intact,
    /// They have another one.
    Corrupt,
    /// There is no such file.
    Missing,
}

/// The store. One per process and directory; clones share it.
///
/// Guarantees: a name is visible only after the blob, its directory entry, the sidecar and its directory entry are
/// durable; what is under a final name is whole; a blob that any name points to, or that is being published, is never
/// removed. The lock on the index is never held while the disk is touched, so lookups do not wait for a slow disk.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    layout: Layout,
    staging: Staging,
    index: RwLock<Index>,
    blob_locks: Stripes,
    name_locks: Stripes,
    options: Options,
    // Held, not read: dropping it releases the directory to the next process.
    _lock: File,
}

impl Store {
    /// Opens the store in `root`, making it when there is none, and sweeps what a killed process left.
    ///
    /// Guarantees: no other process has this store open; the directory has been written to; every name in the index has
    /// a blob of the recorded size. Digests are not checked here, see [`Store::verify_blob`].
    pub fn open(root: &Path, options: Options) -> Result<(Self, SweepReport), StoreError> {
        let layout = Layout::new(root);
        let lock = disk::claim(&layout, options.lock_wait)?;
        disk::make_directories(&layout)?;
        let mut report = SweepReport::default();
        sweep::empty_staging(&layout, &mut report)?;
        let staging = Staging::new(layout.staging());
        let index = sweep::read_names(&layout, &mut report)?;
        sweep::remove_orphans(&layout, &index, &mut report)?;
        // After the sweep, which may have made the room that this needs.
        disk::prove_writable(&staging)?;
        let shared = Shared {
            layout,
            staging,
            index: RwLock::new(index),
            blob_locks: Stripes::default(),
            name_locks: Stripes::default(),
            options,
            _lock: lock,
        };
        Ok((Self(Arc::new(shared)), report))
    }

    /// The directory it lives in.
    pub fn root(&self) -> &Path {
        self.0.layout.root()
    }

    /// A new private temporary file on the store's file system, removed when dropped.
    pub fn stage(&self) -> Result<Staged, StoreError> {
        self.0.staging.file()
    }

    /// The artifact published last for an object. Reads the index only.
    pub fn current(&self, key: &ArtifactKey) -> Option<StoredArtifact> {
        self.index().current(key).map(Arc::unwrap_or_clone)
    }

    /// All artifacts of an object, the one published last first. Reads the index only.
    pub fn artifacts(&self, key: &ArtifactKey) -> Vec<StoredArtifact> {
        let artifacts = self.index().artifacts(key).into_iter();
        artifacts.map(Arc::unwrap_or_clone).collect()
    }

    /// Every object that has an artifact. Reads the index only.
    pub fn keys(&self) -> Vec<ArtifactKey> {
        self.index().keys()
    }

    /// What is stored under a path such as `ocirepository/<namespace>/<name>/sha256:<hex>.tar.gz`, without a leading slash
    /// and decoded. `latest.tar.gz` is the current artifact. Reads the index only, never the file system.
    pub fn lookup(&self, path: &str) -> Lookup {
        let Some((key, requested)) = layout::parse_path(path) else {
            return Lookup::Malformed;
        };
        let found = match requested {
            Requested::Latest => self.index().current(&key),
            Requested::Manifest(digest) => self.index().find(&key, &digest),
        };
        match found {
            Some(artifact) => Lookup::Found(Box::new(Arc::unwrap_or_clone(artifact))),
            None => Lookup::Missing(key),
        }
    }

    /// Opens a blob for reading. The file stays readable when the blob is collected meanwhile.
    ///
    /// Errors: [`StoreError::NoBlob`] when the store does not hold it, [`StoreError::Damaged`] when the file has not the
    /// recorded size.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let size = self
            .index()
            .blob_size(digest)
            .ok_or_else(|| StoreError::NoBlob(digest.clone()))?;
        disk::open_blob(&Blob {
            path: self.0.layout.blob(digest),
            digest: digest.clone(),
            size,
        })
    }

    /// Reads a whole blob and compares it with its digest.
    pub fn verify_blob(&self, digest: &Digest) -> Result<Verdict, StoreError> {
        disk::verify(&self.0.layout.blob(digest), digest)
    }

    /// How much is stored. Reads the index only.
    pub fn usage(&self) -> Usage {
        self.index().usage()
    }

    // A panic cannot leave the index half changed in a way that matters: each change is one method of a pure type.
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
