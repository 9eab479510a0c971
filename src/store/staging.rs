// SPDX-License-Identifier: Apache-2.0
//! Private temporary files on the store's own file system, where a rename into place is atomic.
//!
//! A file is made with `O_EXCL` and mode 0600, removed when its [`Staged`] is dropped, and swept at the next start when
//! the process did not live to do so.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{StoreError, disk};

/// The directory of temporary files. The store's lock makes this process its only user.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    counter: AtomicU64,
}

impl Staging {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            counter: AtomicU64::new(0),
        }
    }

    /// A new empty file.
    pub(super) fn file(&self) -> Result<Staged, StoreError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{number}.tmp"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options
            .open(&path)
            .map_err(|e| StoreError::io("create temporary file", &path, e))?;
        Ok(Staged {
            file,
            path,
            placed: false,
        })
    }
}

/// A private temporary file. It becomes part of the store by [`super::Store::publish`], and is removed when dropped.
#[derive(Debug)]
pub struct Staged {
    file: File,
    path: PathBuf,
    placed: bool,
}

impl Staged {
    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is, until it is published or dropped.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another handle to the same open file: they share one position.
    pub fn writer(&self) -> Result<File, StoreError> {
        self.file
            .try_clone()
            .map_err(|e| StoreError::io("duplicate the handle of", &self.path, e))
    }

    /// A handle of its own for reading from the start.
    pub fn reader(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(|e| StoreError::io("open", &self.path, e))
    }

    /// How many bytes were written.
    pub(super) fn size(&self) -> Result<u64, StoreError> {
        let metadata = self.file.metadata();
        metadata
            .map(|m| m.len())
            .map_err(|e| StoreError::io("inspect", &self.path, e))
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .map_err(|e| StoreError::io("write", &self.path, e))
    }

    /// Makes the content durable. After a failure the file must be given up: the kernel reports a lost page only once.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        disk::sync_file(&self.file, &self.path)
    }

    /// Renames it to its final name, over whatever is there. The caller makes the rename durable.
    pub(super) fn place(mut self, to: &Path) -> Result<(), StoreError> {
        disk::rename(&self.path, to)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing can be done about a failure here; the next start sweeps.
            let _ = fs::remove_file(&self.path);
        }
    }
}
