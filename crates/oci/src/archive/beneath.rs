// SPDX-License-Identifier: Apache-2.0
//! Files and directories beneath one directory, reached without following any link.
//!
//! Relative paths enter, one component at a time; open handles leave. Each component is opened from the handle of its
//! parent, so a directory that is swapped for a link under way is refused, and nothing outside is ever reached. The
//! directory that is given by the caller is opened as the caller wrote it.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, statat},
    io::Errno,
};

use super::{ArchiveError, Limits, limits::Limit};

/// An open directory.
pub(super) struct Directory(OwnedFd);

/// What a directory holds under one name.
pub(super) enum Child {
    Directory,
    File,
    Link,
    Special,
}

const ENTER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const STAY: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

impl Directory {
    /// Opens the directory to work beneath.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, root, ENTER, Mode::empty())?))
    }

    /// Opens a directory in this one; a link is refused.
    pub(super) fn enter(&self, name: &str) -> io::Result<Self> {
        let fd = openat(&self.0, name, ENTER | STAY, Mode::empty())?;
        Ok(Self(fd))
    }

    /// Opens a directory in this one, after making it if there is none.
    pub(super) fn make(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file that must not exist. The process's umask applies.
    pub(super) fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | STAY;
        let fd = openat(&self.0, name, flags, Mode::from_raw_mode(mode))?;
        Ok(fd.into())
    }

    /// Opens a regular file to read it: answers the file, its size and whether any execute bit is set.
    pub(super) fn read(&self, name: &str) -> io::Result<(File, u64, bool)> {
        // Without NONBLOCK, a FIFO that took the file's place would hold us for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | STAY;
        let fd = openat(&self.0, name, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file any more"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        Ok((fd.into(), size, stat.st_mode & 0o111 != 0))
    }

    /// What stands under a name. A link is told, not followed.
    pub(super) fn look(&self, name: &str) -> io::Result<Child> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Child::Directory,
            FileType::RegularFile => Child::File,
            FileType::Symlink => Child::Link,
            _ => Child::Special,
        })
    }

    /// The raw names in this directory in byte order, without `.` and `..`; `path` is for the message.
    pub(super) fn names(&self, path: &str, limits: &Limits) -> Result<Vec<Vec<u8>>, ArchiveError> {
        let failed = |error: Errno| ArchiveError::file("list", path, error);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if !matches!(&name[..], b"." | b"..") {
                names.push(name);
            }
            limits.check(Limit::Entries, names.len() as u64)?;
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Says what was tried on what.
pub(super) fn on<T>(
    action: &'static str,
    path: &str,
    result: io::Result<T>,
) -> Result<T, ArchiveError> {
    result.map_err(|error| ArchiveError::file(action, path, error))
}
