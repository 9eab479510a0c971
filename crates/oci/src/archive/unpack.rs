// SPDX-License-Identifier: Apache-2.0
//! Unpacks an archive into a directory, for people who pull one; the controller never does.
//!
//! A proved blob and a directory enter; files and directories appear beneath it. No link is made or followed, nothing is
//! overwritten, and nothing at all is written unless the whole archive is found sound first.

use std::{
    fs,
    io::{ErrorKind, Read, Seek, Write},
    path::Path,
};

use super::{
    ArchiveError, Dropped, EntryKind, Limits,
    beneath::{Directory, on},
    error::quote,
    reader::{Entries, Item},
    scan::survey,
    tree::Tree,
};

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files that were written.
    pub files: u64,
    /// Their content in bytes.
    pub bytes: u64,
    /// What was left out.
    pub dropped: Dropped,
}

/// Unpacks `blob`, from where it stands, into `dir`, which is made if it does not exist.
///
/// # Flow
/// The blob is read twice: first as by [`super::scan`], then to write. If a link stands where `dir` is expected it is
/// followed, as the caller named it; beneath it none is.
///
/// # Guarantees
/// Nothing outside `dir` is read or written, also when its directories are swapped meanwhile. Files get mode 0755 if the
/// archive has any execute bit for them and else 0644, directories 0755, both less the umask; owner and times are those
/// of any new file. Of two files with one name the last one is written.
///
/// # Errors
/// As for [`super::scan`], before anything is written; [`ArchiveError::Exists`] for a file that is already there; and
/// when the disk fails. In the last two cases what was written before stays.
pub fn unpack(
    mut blob: impl Read + Seek,
    dir: &Path,
    limits: &Limits,
) -> Result<Unpacked, ArchiveError> {
    let start = blob.stream_position().map_err(ArchiveError::Read)?;
    let survey = survey(&mut blob, limits, |item, _| Ok(item.ordinal))?;
    blob.seek(std::io::SeekFrom::Start(start))
        .map_err(ArchiveError::Read)?;
    let root = fs::create_dir_all(dir).and_then(|()| Directory::open(dir));
    let root = root.map_err(|source| ArchiveError::File {
        action: "open the directory",
        path: format!("{:?}", dir.display().to_string()),
        source,
    })?;
    let mut unpacked = Unpacked {
        dropped: survey.scan.dropped,
        ..Unpacked::default()
    };
    let mut entries = Entries::new(&mut blob, limits);
    while let Some(item) = entries.next()? {
        write(&root, &item, &mut entries, &survey.tree, &mut unpacked)?;
    }
    Ok(unpacked)
}

fn write(
    root: &Directory,
    item: &Item,
    entries: &mut Entries<impl Read>,
    winners: &Tree<u64>,
    unpacked: &mut Unpacked,
) -> Result<(), ArchiveError> {
    if item.kind == EntryKind::Directory {
        descend(root, item.path.as_str())?;
    }
    // A file that comes again later is left to its last entry.
    if item.kind == EntryKind::File && winners.find(&item.path) == Some(&item.ordinal) {
        write_file(root, item, entries)?;
        unpacked.files += 1;
        unpacked.bytes += item.size;
    }
    Ok(())
}

fn write_file(
    root: &Directory,
    item: &Item,
    entries: &mut Entries<impl Read>,
) -> Result<(), ArchiveError> {
    let path = item.path.as_str();
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = descend(root, parents)?;
    let mode = if item.executable() { 0o755 } else { 0o644 };
    let parent = parent.as_ref().unwrap_or(root);
    let mut file = match parent.create(name, mode) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let path = quote(path.as_bytes());
            return Err(ArchiveError::Exists { path });
        }
        other => on("create", path, other)?,
    };
    entries.body(|bytes| on("write", path, file.write_all(bytes)))
}

/// Opens the directory at the end of a path, making what is missing. None is the root itself.
fn descend(root: &Directory, path: &str) -> Result<Option<Directory>, ArchiveError> {
    let mut at: Option<Directory> = None;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let next = at.as_ref().unwrap_or(root).make(name);
        at = Some(on("make or enter a directory of", path, next)?);
    }
    Ok(at)
}
