// SPDX-License-Identifier: Apache-2.0
//! Packs a directory from disk by the same rules as a downloaded archive.
//!
//! A directory enters, a reproducible archive leaves; see [`super::writer`] for its form. Links and special files are left
//! out and counted, never followed. Nothing outside the directory is read.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use super::{
    ArchiveError, Dropped, Limits, Packed,
    beneath::{Child, Directory, on},
    error::quote,
    limits::Limit,
    name::Named,
    writer::TarGz,
};

const PIECE: usize = 128 << 10;

/// Packs what is in `root` into `out`.
///
/// # Guarantees
/// The bytes are those that [`super::repack`] makes of any archive of the same tree. No link is followed.
///
/// # Errors
/// A file cannot be read, changes meanwhile, or has a name that no applier would take; the tree exceeds the limits on
/// entries, expanded bytes, path or depth; the output fails. `out` then holds a part that must not be used.
pub fn pack_dir(root: &Path, out: impl Write, limits: &Limits) -> Result<Packed, ArchiveError> {
    let directory = Directory::open(root).map_err(|source| ArchiveError::File {
        action: "open the directory",
        path: format!("{:?}", root.display().to_string()),
        source,
    })?;
    let mut walk = Walk {
        tar: TarGz::new(out),
        limits,
        dropped: Dropped::default(),
        entries: 0,
        bytes: 0,
        buffer: vec![0; PIECE],
    };
    walk.tar.directory(".")?;
    walk.descend(&directory, "")?;
    walk.tar.finish(walk.dropped)
}

struct Walk<'a, W: Write> {
    tar: TarGz<W>,
    limits: &'a Limits,
    dropped: Dropped,
    entries: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Walk<'_, W> {
    /// Recursion ends at [`Limits::depth`], which every path is checked against.
    fn descend(&mut self, directory: &Directory, parent: &str) -> Result<(), ArchiveError> {
        let names = directory.names(parent, self.limits)?;
        for raw in names {
            let path = self.path(parent, &raw)?;
            let name = path.rsplit_once('/').map_or(&*path, |(_, name)| name);
            match on("look at", &path, directory.look(name))? {
                Child::Link => self.dropped.links += 1,
                Child::Special => self.dropped.devices += 1,
                Child::Directory => {
                    self.count()?;
                    self.tar.directory(&path)?;
                    let child = on("open", &path, directory.enter(name))?;
                    self.descend(&child, &path)?;
                }
                Child::File => {
                    self.count()?;
                    let opened = on("open", &path, directory.read(name))?;
                    self.file(&path, opened)?;
                }
            }
        }
        Ok(())
    }

    /// The path of a child, refused if no archive may hold it.
    fn path(&self, parent: &str, name: &[u8]) -> Result<String, ArchiveError> {
        let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
        let raw = [parent.as_bytes(), slash, name].concat();
        let named = Named::parse(&raw, self.limits)?;
        Ok(named.path.as_str().to_owned())
    }

    fn count(&mut self) -> Result<(), ArchiveError> {
        self.entries += 1;
        Ok(self.limits.check(Limit::Entries, self.entries)?)
    }

    fn file(&mut self, path: &str, opened: (File, u64, bool)) -> Result<(), ArchiveError> {
        let (mut file, size, executable) = opened;
        self.bytes = self.bytes.saturating_add(size);
        self.limits.check(Limit::ExpandedBytes, self.bytes)?;
        let buffer = &mut self.buffer;
        self.tar.file(path, executable, size, |sink| {
            let mut left = size;
            loop {
                let count = on("read", path, file.read(buffer))?;
                left = match left.checked_sub(count as u64) {
                    Some(0) if count == 0 => return Ok(()),
                    Some(left) if count > 0 => left,
                    _ => {
                        return Err(ArchiveError::Changed {
                            path: quote(path.as_bytes()),
                        });
                    }
                };
                sink(&buffer[..count])?;
            }
        })
    }
}
