// SPDX-License-Identifier: Apache-2.0
//! The tree that the entries of an archive add up to.
//!
//! Paths enter in any order, each with what its file is; the tree answers which are new, refuses a name that is both file
//! and directory, and leaves as a walk in the one order that packing uses. Each directory keeps the names of its children
//! only, so memory is bounded by the number of nodes times one component, whatever the depth.

use std::collections::BTreeMap;

use super::{ArchiveError, Limits, error::quote, limits::Limit, name::EntryPath};

/// Directories and files by name. `F` is what is kept about a file.
pub(super) struct Tree<F> {
    nodes: Vec<Node<F>>,
}

enum Node<F> {
    Directory {
        children: BTreeMap<Box<str>, usize>,
        /// The archive had an entry for it; otherwise it is only somebody's parent.
        listed: bool,
    },
    File(F),
}

/// What an insertion met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// The name was free.
    New,
    /// There was an entry of the same kind; a file's is replaced.
    Again,
}

impl<F> Tree<F> {
    /// A tree of the root alone.
    pub(super) fn new() -> Self {
        let nodes = vec![Node::directory()];
        Self { nodes }
    }

    /// Lists a directory, and implies its parents.
    pub(super) fn directory(
        &mut self,
        path: &EntryPath,
        limits: &Limits,
    ) -> Result<Added, ArchiveError> {
        let at = self.directories(path, path.components(), limits)?;
        let Node::Directory { listed, .. } = &mut self.nodes[at] else {
            return Err(conflict(path));
        };
        let before = std::mem::replace(listed, true);
        Ok(if before { Added::Again } else { Added::New })
    }

    /// Lists a file, and implies its parents. A file that is already there is replaced.
    pub(super) fn file(
        &mut self,
        path: &EntryPath,
        file: F,
        limits: &Limits,
    ) -> Result<Added, ArchiveError> {
        let (parents, name) = path
            .as_str()
            .rsplit_once('/')
            .unwrap_or(("", path.as_str()));
        if name.is_empty() {
            return Err(conflict(path));
        }
        let parents = parents.split('/').filter(|part| !part.is_empty());
        let parent = self.directories(path, parents, limits)?;
        let next = self.nodes.len();
        let Node::Directory { children, .. } = &mut self.nodes[parent] else {
            return Err(conflict(path));
        };
        let at = *children.entry(name.into()).or_insert(next);
        if at == next {
            self.push(Node::File(file), limits)?;
            return Ok(Added::New);
        }
        match &mut self.nodes[at] {
            Node::File(old) => *old = file,
            Node::Directory { .. } => return Err(conflict(path)),
        }
        Ok(Added::Again)
    }

    /// What is kept about the file at a path.
    pub(super) fn find(&self, path: &EntryPath) -> Option<&F> {
        let mut node = &self.nodes[0];
        for name in path.components() {
            let Node::Directory { children, .. } = node else {
                return None;
            };
            node = &self.nodes[*children.get(name)?];
        }
        match node {
            Node::File(file) => Some(file),
            Node::Directory { .. } => None,
        }
    }

    /// Calls `visit` for every node: parents first, each directory in byte order of its names, depth first. The root is
    /// `.`, no path ends in a slash, and a directory has no file.
    pub(super) fn walk<E>(
        &self,
        mut visit: impl FnMut(&str, Option<&F>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Children wait in reverse, so that the first is on top. A path is made when its node's turn comes; until then a
        // node waits with its name and its depth only.
        let mut waiting: Vec<(usize, &str, usize)> = vec![(0, "", 0)];
        let mut path = String::new();
        let mut ends = vec![0];
        while let Some((depth, name, at)) = waiting.pop() {
            ends.truncate(depth + 1);
            path.truncate(ends[depth]);
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name);
            ends.push(path.len());
            let shown = if path.is_empty() { "." } else { &path };
            match &self.nodes[at] {
                Node::File(file) => visit(shown, Some(file))?,
                Node::Directory { children, .. } => {
                    visit(shown, None)?;
                    let next = children.iter().rev();
                    waiting.extend(next.map(|(name, at)| (depth + 1, &**name, *at)));
                }
            }
        }
        Ok(())
    }

    fn directories<'a>(
        &mut self,
        path: &EntryPath,
        parts: impl Iterator<Item = &'a str>,
        limits: &Limits,
    ) -> Result<usize, ArchiveError> {
        let mut at = 0;
        for name in parts {
            let next = self.nodes.len();
            let Node::Directory { children, .. } = &mut self.nodes[at] else {
                return Err(conflict(path));
            };
            at = match children.get(name) {
                Some(child) => *child,
                None => *children.entry(name.into()).or_insert(next),
            };
            if at == next {
                self.push(Node::directory(), limits)?;
            }
        }
        match self.nodes[at] {
            Node::Directory { .. } => Ok(at),
            Node::File(_) => Err(conflict(path)),
        }
    }

    fn push(&mut self, node: Node<F>, limits: &Limits) -> Result<(), ArchiveError> {
        self.nodes.push(node);
        // The root is ours, not the archive's.
        limits.check(Limit::Entries, self.nodes.len() as u64 - 1)?;
        Ok(())
    }
}

impl<F> Node<F> {
    fn directory() -> Self {
        Self::Directory {
            children: BTreeMap::new(),
            listed: false,
        }
    }
}

fn conflict(path: &EntryPath) -> ArchiveError {
    ArchiveError::Conflict {
        name: quote(path.as_str().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::name::Named, *};

    fn path(text: &str) -> EntryPath {
        Named::parse(text.as_bytes(), &Limits::default())
            .unwrap()
            .path
    }

    fn file(tree: &mut Tree<u32>, text: &str, value: u32) -> Result<Added, ArchiveError> {
        tree.file(&path(text), value, &Limits::default())
    }

    fn directory(tree: &mut Tree<u32>, text: &str) -> Result<Added, ArchiveError> {
        tree.directory(&path(text), &Limits::default())
    }

    fn walk(tree: &Tree<u32>) -> Vec<(String, Option<u32>)> {
        let mut seen = Vec::new();
        let result: Result<(), ()> = tree.walk(|path, file| {
            seen.push((path.to_owned(), file.copied()));
            Ok(())
        });
        result.unwrap();
        seen
    }

    #[test]
    fn the_walk_is_lexical_per_directory_and_parents_come_first() {
        let mut tree = Tree::new();
        for (name, value) in [
            ("b/z", 1),
            ("a.txt", 2),
            ("a/c/d", 3),
            ("a/b", 4),
            ("b-x", 5),
        ] {
            file(&mut tree, name, value).unwrap();
        }
        directory(&mut tree, "empty").unwrap();
        let expected = [
            (".", None),
            ("a", None),
            ("a/b", Some(4)),
            ("a/c", None),
            ("a/c/d", Some(3)),
            ("a.txt", Some(2)),
            ("b", None),
            ("b/z", Some(1)),
            ("b-x", Some(5)),
            ("empty", None),
        ];
        let expected: Vec<_> = expected.map(|(p, f)| (p.to_owned(), f)).into();
        assert_eq!(walk(&tree), expected);
    }

    #[test]
    fn the_last_of_two_files_wins() {
        let mut tree = Tree::new();
        assert_eq!(file(&mut tree, "a", 1).unwrap(), Added::New);
        assert_eq!(file(&mut tree, "./a", 2).unwrap(), Added::Again);
        assert_eq!(tree.find(&path("a")), Some(&2));
        assert_eq!(tree.find(&path("a/b")), None);
    }

    #[test]
    fn a_directory_after_its_children_is_new_and_a_second_one_is_not() {
        let mut tree = Tree::new();
        file(&mut tree, "a/b", 1).unwrap();
        assert_eq!(directory(&mut tree, "a").unwrap(), Added::New);
        assert_eq!(directory(&mut tree, "a/").unwrap(), Added::Again);
        assert_eq!(directory(&mut tree, ".").unwrap(), Added::New);
        assert_eq!(directory(&mut tree, "./").unwrap(), Added::Again);
    }

    #[test]
    fn a_name_cannot_be_file_and_directory() {
        let conflict = |steps: &[(&str, bool)]| {
            let mut tree = Tree::new();
            let mut last = Ok(Added::New);
            for (name, is_file) in steps {
                last = match is_file {
                    true => file(&mut tree, name, 0),
                    false => directory(&mut tree, name),
                };
            }
            matches!(last, Err(ArchiveError::Conflict { .. }))
        };
        assert!(conflict(&[("a", true), ("a", false)]));
        assert!(conflict(&[("a", false), ("a", true)]));
        assert!(conflict(&[("a", true), ("a/b", true)]));
        assert!(conflict(&[("a", true), ("a/b/c", false)]));
        assert!(conflict(&[("a/b", true), ("a", true)]));
        assert!(conflict(&[(".", true)]));
        assert!(!conflict(&[("a", true), ("ab", false)]));
    }

    #[test]
    fn implied_directories_count_as_entries() {
        let limits = Limits {
            entries: 3,
            ..Limits::default()
        };
        let mut tree = Tree::new();
        assert!(tree.file(&path("a/b/c"), 0, &limits).is_ok());
        let error = tree.directory(&path("d"), &limits).unwrap_err();
        assert_eq!(error.category(), "limit");
    }
}
