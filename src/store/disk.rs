// SPDX-License-Identifier: Apache-2.0
//! The small steps on the file system that the store is made of, each with its own error.
//!
//! It decides nothing: what is done in which order is said in `publish`, `gc` and `sweep`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::OFlags;
use wharf_oci::{Digest, Hasher};

use super::{
    StoreError, Verdict,
    layout::{ALGORITHMS, Layout},
    staging::Staging,
};

const FORMAT: &str = "wharf store 1\n";
const LOCK_POLL: Duration = Duration::from_millis(20);
const READ_SIZE: usize = 256 * 1024;

/// A blob as the index knows it.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Makes the root, checks that it is a store or may become one, and locks it for this process.
pub(super) fn claim(layout: &Layout, patience: Duration) -> Result<File, StoreError> {
    make_root(layout.root())?;
    refuse_foreign_directory(layout)?;
    let marker = layout.marker();
    make_marker(&marker)?;
    // For reading only: a file that is open for writing would keep the file system from being remounted.
    let mut file = open_file(&marker).map_err(|e| StoreError::io("open", &marker, e))?;
    lock(&file, layout, patience)?;
    check_format(&mut file, layout)?;
    Ok(file)
}

// An empty marker was left by a process that died between making and filling it. Two that fill it write the same.
fn make_marker(marker: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(marker).is_ok_and(|found| found.len() > 0) {
        return Ok(());
    }
    let failed = |e| StoreError::io("write to the store: cannot make", marker, e);
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    let mut file = options
        .custom_flags(no_follow())
        .open(marker)
        .map_err(failed)?;
    file.write_all(FORMAT.as_bytes()).map_err(failed)?;
    sync_file(&file, marker)
}

fn make_root(root: &Path) -> Result<(), StoreError> {
    match fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(StoreError::NotADirectory(root.to_path_buf())),
        Err(_) => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|e| StoreError::io("create the store's directory", root, e)),
    }
}

fn refuse_foreign_directory(layout: &Layout) -> Result<(), StoreError> {
    if fs::symlink_metadata(layout.marker()).is_ok() {
        return Ok(());
    }
    let ours = ["blobs", "names", "staging"];
    let found = ours
        .into_iter()
        .find(|entry| fs::symlink_metadata(layout.root().join(entry)).is_ok());
    match found {
        Some(entry) => Err(StoreError::NotAStore {
            root: layout.root().to_path_buf(),
            entry,
        }),
        None => Ok(()),
    }
}

fn lock(file: &File, layout: &Layout, patience: Duration) -> Result<(), StoreError> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &layout.marker(), e)),
            Err(TryLockError::WouldBlock) if start.elapsed() < patience => thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse(layout.root().to_path_buf()));
            }
        }
    }
}

fn check_format(file: &mut File, layout: &Layout) -> Result<(), StoreError> {
    let marker = layout.marker();
    let mut found = Vec::new();
    file.take(64)
        .read_to_end(&mut found)
        .map_err(|e| StoreError::io("read", &marker, e))?;
    if found == FORMAT.as_bytes() {
        return Ok(());
    }
    Err(StoreError::Format {
        root: layout.root().to_path_buf(),
        found: String::from_utf8_lossy(&found).trim_end().to_owned(),
        known: FORMAT.trim_end(),
    })
}

/// Makes the directories that every store has.
pub(super) fn make_directories(layout: &Layout) -> Result<(), StoreError> {
    for directory in [
        layout.staging(),
        layout.blobs(),
        layout.names(),
        layout.kind(),
    ] {
        make_directory(&directory)?;
    }
    for algorithm in ALGORITHMS {
        make_directory(&layout.blobs_of(algorithm))?;
    }
    Ok(())
}

/// Makes one directory, durably, unless it is there.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(StoreError::io("create directory", path, e)),
    }
}

/// Writes, syncs and removes a file, so that a store that cannot be written to is refused at start.
pub(super) fn prove_writable(staging: &Staging) -> Result<(), StoreError> {
    let mut probe = staging.file()?;
    probe.write_all(b"wharf")?;
    probe.sync()
}

pub(super) fn sync_file(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_all().map_err(|e| StoreError::io("sync", path, e))
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| StoreError::io("sync directory", path, e))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::io("rename a finished file to", to, e))
}

/// Removes a file; that there is none is no failure.
pub(super) fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Whether there is a regular file of this size. Anything else under the name counts as absent.
pub(super) fn has_size(path: &Path, size: u64) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file() && found.len() == size),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::io("inspect", path, e)),
    }
}

/// The paths in a directory; that there is none counts as empty.
pub(super) fn list(path: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    match fs::read_dir(path).and_then(Iterator::collect) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|e| StoreError::io("list directory", path, e)),
    }
}

/// Opens a blob that has the recorded size.
pub(super) fn open_blob(blob: &Blob) -> Result<File, StoreError> {
    let failed = |e| StoreError::io("open", &blob.path, e);
    let file = match open_file(&blob.path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NoBlob(blob.digest.clone()));
        }
        opened => opened.map_err(failed)?,
    };
    let got = file.metadata().map_err(failed)?.len();
    if got == blob.size {
        return Ok(file);
    }
    Err(StoreError::Damaged {
        digest: blob.digest.clone(),
        expected: blob.size,
        got,
    })
}

/// Reads a whole file and compares it with the digest it should have.
pub(super) fn verify(path: &Path, digest: &Digest) -> Result<Verdict, StoreError> {
    let mut file = match open_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Missing),
        opened => opened.map_err(|e| StoreError::io("open", path, e))?,
    };
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| StoreError::io("read", path, e))?,
        };
        hasher.update(&buffer[..n]);
    }
    if hasher.finish() == *digest {
        Ok(Verdict::Intact)
    } else {
        Ok(Verdict::Corrupt)
    }
}

/// Reads a file of at most `limit` bytes; `None` when it is larger.
pub(super) fn read_capped(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    open_file(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|n| n <= limit);
    Ok(fits.then_some(bytes))
}

// Nothing in the store is a link. `NONBLOCK` keeps a FIFO that somebody put there from hanging the reader.
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(no_follow() | flags(OFlags::NONBLOCK))
        .open(path)
}

fn no_follow() -> i32 {
    flags(OFlags::NOFOLLOW)
}

fn flags(flags: OFlags) -> i32 {
    // The flags of open(2) are bits of an int.
    flags.bits().cast_signed()
}
