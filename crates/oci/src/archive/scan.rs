// SPDX-License-Identifier: Apache-2.0
//! Looks at an archive without unpacking it: is it safe, is it canonical, what would be dropped, how big is it?
//!
//! A proved blob enters and is read once, to its last byte; a [`Scan`] or a list of [`Entry`] leaves. Nothing is written.

use std::{fmt, io::Read};

use super::{
    ArchiveError, Limits, NotCanonical,
    reader::{Entries, Item},
    tree::{Added, Tree},
};

/// What a safe archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Whether it may be stored and served byte for byte, or the first reason why not.
    pub canonical: Result<(), NotCanonical>,
    /// What packing leaves out.
    pub dropped: Dropped,
    /// Entries that are listed, of any kind.
    pub entries: u64,
    /// Bytes of the inflated tar stream.
    pub expanded: u64,
}

/// How many entries were left out because they are neither file nor directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Symbolic and hard links.
    pub links: u64,
    /// Devices, FIFOs and sockets.
    pub devices: u64,
}

impl Dropped {
    /// All of them.
    pub const fn total(self) -> u64 {
        self.links + self.devices
    }
}

impl fmt::Display for Dropped {
    /// For instance `2 links and 1 device`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let (links, devices) = (self.links, self.devices);
        let links = format!("{links} link{}", plural(links));
        let devices = format!("{devices} device{}", plural(devices));
        match (self.links, self.devices) {
            (_, 0) => f.write_str(&links),
            (0, _) => f.write_str(&devices),
            _ => write!(f, "{links} and {devices}"),
        }
    }
}

/// The kind of an archive's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link. Never followed, never made.
    Symlink,
    /// A hard link. Never made.
    HardLink,
    /// A character or block device. Never made.
    Device,
    /// A named pipe. Never made.
    Fifo,
}

/// One entry as the archive lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path: relative, components joined by `/`, no trailing slash; `.` for the root.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of its content; 0 unless it is a file.
    pub size: u64,
    /// Permission bits with setuid, setgid and sticky, as recorded.
    pub mode: u32,
}

/// Reads a blob to its end and tells what it is.
///
/// # Errors
/// The archive is unsafe, damaged or too large; [`ArchiveError`] says which. An archive that is merely unusual is no
/// error: it is not canonical.
pub fn scan(blob: impl Read, limits: &Limits) -> Result<Scan, ArchiveError> {
    let survey = survey(blob, limits, |_, _| Ok(()))?;
    Ok(survey.scan)
}

/// Lists the entries of a blob in their order, links and devices included.
///
/// # Errors
/// As for [`scan`]: what could not be stored is not listed either.
pub fn list(blob: impl Read, limits: &Limits) -> Result<Vec<Entry>, ArchiveError> {
    let mut entries = Entries::new(blob, limits);
    let mut tree = Tree::new();
    let mut listed = Vec::new();
    while let Some(item) = entries.next()? {
        let file = (item.kind == EntryKind::File).then_some(());
        add(&mut tree, &item, file, limits)?;
        listed.push(item.into_entry());
    }
    Ok(listed)
}

/// A scan together with the tree that the archive adds up to.
pub(super) struct Survey<F> {
    pub(super) scan: Scan,
    pub(super) tree: Tree<F>,
}

/// Reads a blob to its end. `keep` may take each file's content, and answers what the tree keeps about it.
pub(super) fn survey<R: Read, F>(
    blob: R,
    limits: &Limits,
    mut keep: impl FnMut(&Item, &mut Entries<R>) -> Result<F, ArchiveError>,
) -> Result<Survey<F>, ArchiveError> {
    let mut entries = Entries::new(blob, limits);
    let mut tree = Tree::new();
    let mut dropped = Dropped::default();
    while let Some(item) = entries.next()? {
        match item.kind {
            EntryKind::Symlink | EntryKind::HardLink => dropped.links += 1,
            EntryKind::Device | EntryKind::Fifo => dropped.devices += 1,
            EntryKind::File | EntryKind::Directory => {}
        }
        let kept = match item.kind {
            EntryKind::File => Some(keep(&item, &mut entries)?),
            _ => None,
        };
        let added = add(&mut tree, &item, kept, limits)?;
        let name = item.path.as_str();
        entries
            .grammar()
            .require_named(added == Added::New, NotCanonical::Duplicate, name);
    }
    let whole = entries.finish();
    let scan = Scan {
        canonical: whole.canonical,
        dropped,
        entries: whole.entries,
        expanded: whole.expanded,
    };
    Ok(Survey { scan, tree })
}

fn add<F>(
    tree: &mut Tree<F>,
    item: &Item,
    file: Option<F>,
    limits: &Limits,
) -> Result<Added, ArchiveError> {
    match (item.kind, file) {
        (EntryKind::Directory, _) => tree.directory(&item.path, limits),
        (EntryKind::File, Some(file)) => tree.file(&item.path, file, limits),
        _ => Ok(Added::New),
    }
}
