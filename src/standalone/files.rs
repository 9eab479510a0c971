// SPDX-License-Identifier: Apache-2.0
//! The directory: which files, read when, and what all of them together say.
//!
//! Enters as a path; leaves as [`Contents`]. A file that cannot be used is a [`Problem`] and no more than that: the others
//! are read, and what the bad one said when it was last good goes on counting, so that a half-written file takes nothing
//! away. Read are `*.yaml` and `*.yml` of the directory itself, in order of their names; names that begin with a dot are
//! left out, because editors put their own files there. Symbolic links are followed (a mounted `ConfigMap` is made of them)
//! as long as they lead to a regular file.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::OFlags;
use wharf_api::v1::OCIRepository;

use super::{
    document::{self, Document, Object},
    yaml::Fault,
};
use crate::{
    ports::Secret,
    source::{SourceId, spec::id_of},
};

/// The largest file that is read.
pub(super) const MAX_FILE: u64 = 1 << 20;
/// The most objects of a directory, and the most files.
pub(super) const MAX_OBJECTS: usize = 10_000;
/// A file that is younger than this when it is read may change again without looking different.
const RACY: Duration = Duration::from_secs(2);

/// A file, or an object in it, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the directory itself.
    pub file: PathBuf,
    /// The line, from 1. 0 when the whole file is meant.
    pub line: u64,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.message)
    }
}

/// What the files say.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The sources, without uid, generation and status.
    pub(super) sources: BTreeMap<SourceId, OCIRepository>,
    /// The secrets, by namespace and name.
    pub(super) secrets: BTreeMap<(String, String), Secret>,
    /// What cannot be used. While there is any, it is not certain that the sources are all there are.
    pub(super) problems: Vec<Problem>,
}

/// A directory and what was read of it.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    files: BTreeMap<OsString, Known>,
    surplus: usize,
    was_read: bool,
}

/// A file that was read.
#[derive(Debug, Default)]
struct Known {
    seen: Option<Look>,
    is_settled: bool,
    is_absent: bool,
    /// What it said when it was last good.
    documents: Vec<Document>,
    fault: Option<Fault>,
}

/// How a file looks from outside. When it looks the same, it is not read again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            files: BTreeMap::new(),
            surplus: 0,
            was_read: false,
        }
    }

    /// Reads what is new or looks different, and says whether anything was read or went away (the first time: always).
    /// An error means that the directory itself cannot be listed; then nothing changes.
    ///
    /// A file counts as gone only when it was absent twice in a row: some editors take it away for a moment.
    pub(super) fn refresh(&mut self, now: SystemTime) -> io::Result<bool> {
        let names = self.list()?;
        let before = self.files.len();
        self.files.retain(|name, known| {
            names.binary_search(name).is_ok() || !std::mem::replace(&mut known.is_absent, true)
        });
        let mut is_changed =
            self.files.len() != before || !std::mem::replace(&mut self.was_read, true);
        for name in names {
            let path = self.path.join(&name);
            let known = self.files.entry(name).or_default();
            known.is_absent = false;
            is_changed |= known.refresh(&path, now);
        }
        Ok(is_changed)
    }

    /// All files taken together. Of two objects with one name, the one in the file that sorts first counts.
    pub(super) fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        let mut origins = Origins::new();
        if self.surplus > 0 {
            let message = format!(
                "more than {MAX_OBJECTS} files, {} are left out",
                self.surplus
            );
            contents.problems.push(Problem {
                file: self.path.clone(),
                line: 0,
                message,
            });
        }
        for (name, known) in &self.files {
            let file = self.path.join(name);
            if let Some(fault) = &known.fault {
                contents.problems.push(Problem {
                    file: file.clone(),
                    line: fault.line,
                    message: fault.message.clone(),
                });
            }
            for document in &known.documents {
                contents.add(&file, document, &mut origins);
            }
        }
        contents
    }

    /// The names of the files to read, sorted.
    fn list(&mut self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if is_ours(&name) {
                names.push(name);
            }
        }
        names.sort();
        self.surplus = names.len().saturating_sub(MAX_OBJECTS);
        names.truncate(MAX_OBJECTS);
        Ok(names)
    }
}

fn is_ours(name: &OsStr) -> bool {
    let path = Path::new(name);
    let is_yaml = path
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    is_yaml && !name.as_encoded_bytes().starts_with(b".")
}

impl Known {
    fn refresh(&mut self, path: &Path, now: SystemTime) -> bool {
        let look = fs::metadata(path).map(|metadata| Look::of(&metadata)).ok();
        if self.is_settled && look.is_some() && self.seen == look {
            return false;
        }
        match read(path) {
            Ok(Some((metadata, text))) => {
                self.is_settled = is_old(&metadata, now);
                self.seen = Some(Look::of(&metadata));
                self.take(document::read(&text))
            }
            // A directory named like a file: nothing to read, now and later.
            Ok(None) => self.settle(look, Ok(Vec::new())),
            Err(fault) => self.settle(look, Err(fault)),
        }
    }

    fn settle(&mut self, look: Option<Look>, found: Result<Vec<Document>, Fault>) -> bool {
        self.is_settled = true;
        self.seen = look;
        self.take(found)
    }

    fn take(&mut self, found: Result<Vec<Document>, Fault>) -> bool {
        match found {
            Ok(documents) => {
                self.documents = documents;
                self.fault = None;
                true
            }
            Err(fault) => {
                let is_new = self.fault.as_ref() != Some(&fault);
                self.fault = Some(fault);
                is_new
            }
        }
    }
}

/// Reads a file, if it is one. `None` for a directory.
fn read(path: &Path) -> Result<Option<(Metadata, String)>, Fault> {
    let unreadable = |error: io::Error| Fault::at(0, format!("cannot be read: {error}"));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Ok(None);
    }
    // Checked before, so that opening has no effect on a device, and again after, on what was really opened.
    check(&metadata)?;
    let mut file = open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check(&metadata)?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_big());
    }
    let text = String::from_utf8(bytes).map_err(|_| Fault::at(0, "is not text in UTF-8"))?;
    Ok(Some((metadata, text)))
}

/// Without waiting: a pipe that nobody writes to would hold the process up.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn check(metadata: &Metadata) -> Result<(), Fault> {
    if !metadata.is_file() {
        return Err(Fault::at(0, "is not a regular file"));
    }
    if metadata.len() > MAX_FILE {
        Err(too_big())
    } else {
        Ok(())
    }
}

fn too_big() -> Fault {
    Fault::at(0, format!("is larger than {MAX_FILE} bytes, split it"))
}

fn is_old(metadata: &Metadata, now: SystemTime) -> bool {
    let age = metadata
        .modified()
        .map(|modified| now.duration_since(modified));
    // A time in the future says nothing; the other marks of the look have to do.
    matches!(age, Ok(Ok(age)) if age >= RACY) || matches!(age, Ok(Err(_)))
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Where each object was read: kind, namespace and name, to file and line.
type Origins = BTreeMap<(&'static str, String, String), (PathBuf, u64)>;

impl Contents {
    fn add(&mut self, file: &Path, document: &Document, origins: &mut Origins) {
        let key = match &document.object {
            Object::Source(source) => {
                let id = id_of(source);
                ("OCIRepository", id.namespace, id.name)
            }
            Object::Secret(namespace, name, _) => ("Secret", namespace.clone(), name.clone()),
        };
        if let Some(message) = refusal(&key, origins) {
            self.problems.push(Problem {
                file: file.to_owned(),
                line: document.line,
                message,
            });
            return;
        }
        match &document.object {
            Object::Source(source) => {
                self.sources
                    .insert(id_of(source), OCIRepository::clone(source));
            }
            Object::Secret(namespace, name, secret) => {
                self.secrets
                    .insert((namespace.clone(), name.clone()), secret.clone());
            }
        }
        origins.insert(key, (file.to_owned(), document.line));
    }
}

fn refusal(key: &(&'static str, String, String), origins: &Origins) -> Option<String> {
    let (kind, namespace, name) = key;
    if let Some((file, line)) = origins.get(key) {
        return Some(format!(
            "{kind} {namespace}/{name} is already in {}:{line}",
            file.display()
        ));
    }
    let is_full = origins.len() >= MAX_OBJECTS;
    is_full
        .then(|| format!("{kind} {namespace}/{name} is left out: more than {MAX_OBJECTS} objects"))
}

#[cfg(test)]
mod tests;
