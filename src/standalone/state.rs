// SPDX-License-Identifier: Apache-2.0
//! The status files: `<state>/status/<namespace>/<name>.yaml`, each a whole object with its status.
//!
//! Enters as objects; leaves as objects, when the process starts again. A file is there whole or not at all: written
//! beside its place, synced, renamed. What cannot be read back is reported and made anew: a status is what was found out,
//! and can be found out again. Names were checked before ([`super::document`]), so no path leaves the directory.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use wharf_api::v1::OCIRepository;

use crate::source::{SourceId, spec::id_of};

/// The largest status file that is read back. A spec is at most a source file, a status much less.
const MAX_STATUS: u64 = 4 << 20;

/// Where status is kept.
#[derive(Debug)]
pub(super) struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Makes the directory, if it is not there.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        let root = state.join("status");
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    /// Reads everything back and removes what an interrupted write left.
    pub(super) fn load(&self) -> io::Result<BTreeMap<SourceId, OCIRepository>> {
        let mut objects = BTreeMap::new();
        for namespace in fs::read_dir(&self.root)? {
            let namespace = namespace?;
            if namespace.file_type()?.is_dir() {
                load_namespace(&namespace.path(), &mut objects)?;
            }
        }
        Ok(objects)
    }

    /// Writes an object. When it returns, the object is on disk.
    pub(super) fn save(&self, source: &OCIRepository) -> io::Result<()> {
        let id = id_of(source);
        let text = serde_saphyr::to_string(source).map_err(io::Error::other)?;
        let dir = self.root.join(&id.namespace);
        fs::create_dir_all(&dir)?;
        let temporary = dir.join(format!(".{}.tmp", id.name));
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.path(&id))?;
        File::open(&dir)?.sync_all()
    }

    /// Removes an object. That there is none is fine.
    pub(super) fn remove(&self, id: &SourceId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn path(&self, id: &SourceId) -> PathBuf {
        self.root
            .join(&id.namespace)
            .join(format!("{}.yaml", id.name))
    }
}

fn load_namespace(dir: &Path, objects: &mut BTreeMap<SourceId, OCIRepository>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path)?;
            continue;
        }
        match load_file(&path) {
            Ok(source) => {
                objects.insert(id_of(&source), source);
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), error = %error, "a status file cannot be read, the status is made anew");
            }
        }
    }
    Ok(())
}

fn load_file(path: &Path) -> io::Result<OCIRepository> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_STATUS)
        .read_to_string(&mut text)?;
    let options = serde_saphyr::options! { with_snippet: false };
    let source: OCIRepository =
        serde_saphyr::from_str_with_options(&text, options).map_err(io::Error::other)?;
    let id = id_of(&source);
    let is_here = path.ends_with(Path::new(&id.namespace).join(format!("{}.yaml", id.name)));
    if is_here {
        Ok(source)
    } else {
        Err(io::Error::other(format!(
            "it is about another object, {id}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, message: &str) -> OCIRepository {
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
            "metadata": {"name": name, "namespace": "apps", "uid": "u", "generation": 3, "annotations": {"k": message}},
            "spec": {"url": message, "interval": "1m", "ref": {"tag": message}, "ignore": message},
            "status": {"observedGeneration": 3, "lastHandledReconcileAt": message, "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": message,
                "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 3,
            }], "artifact": {
                "digest": "sha256:aa", "path": "p", "url": "u", "revision": "1.0@sha256:aa", "size": 7,
                "lastUpdateTime": "2026-01-02T03:04:05Z", "metadata": {message: message},
            }},
        }))
        .unwrap()
    }

    fn opened() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        (dir, state)
    }

    #[test]
    fn an_object_comes_back_as_it_was_whatever_its_texts_are() {
        let (_dir, state) = opened();
        let texts = [
            "plain",
            "",
            " lead and trail ",
            "a: b",
            "- a",
            "# no comment",
            "yes",
            "null",
            "~",
            "1.0",
            "0x1f",
            "1e3",
            ".inf",
            "2026-01-02",
            "a\nb\n",
            "\n\n",
            "\t",
            "'",
            "\"",
            "\\",
            "%x",
            "@x",
            "`x`",
            "!x",
            "&x *x",
            "{a}",
            "[a]",
            "a,b",
            "?",
            "---",
            "...",
            "é\u{1f6a2}\u{feff}",
            "\u{7}\u{1b}\u{0}\u{85}\u{2028}",
            "<<",
        ];
        for text in texts {
            let written = object("app", text);
            state.save(&written).unwrap();
            let read = state.load().unwrap();
            assert_eq!(
                read.get(&SourceId::new("apps", "app")),
                Some(&written),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_an_interrupted_write_left_is_swept_and_the_old_object_stays() {
        let (dir, state) = opened();
        state.save(&object("app", "old")).unwrap();
        let temporary = dir.path().join("status/apps/.app.tmp");
        fs::write(&temporary, "apiVersion: [").unwrap();
        assert_eq!(state.load().unwrap().len(), 1);
        assert!(!temporary.exists());
    }

    #[test]
    fn a_damaged_file_is_left_out_and_the_others_are_read() {
        let (dir, state) = opened();
        state.save(&object("app", "x")).unwrap();
        let apps = dir.path().join("status/apps");
        fs::write(apps.join("garbage.yaml"), [0xff, 0x00]).unwrap();
        fs::write(apps.join("empty.yaml"), "").unwrap();
        fs::copy(apps.join("app.yaml"), apps.join("other.yaml")).unwrap();
        std::os::unix::fs::symlink("app.yaml", apps.join("link.yaml")).unwrap();
        fs::write(dir.path().join("status/stray"), "x").unwrap();
        assert_eq!(
            state.load().unwrap().into_keys().collect::<Vec<_>>(),
            [SourceId::new("apps", "app")]
        );
    }

    #[test]
    fn removing_may_be_repeated_and_touches_no_other() {
        let (dir, state) = opened();
        state.save(&object("a", "x")).unwrap();
        state.save(&object("b", "x")).unwrap();
        for _ in 0..2 {
            state.remove(&SourceId::new("apps", "a")).unwrap();
        }
        assert!(!dir.path().join("status/apps/a.yaml").exists());
        assert!(dir.path().join("status/apps/b.yaml").exists());
    }

    #[test]
    fn a_state_directory_that_is_a_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("status"), "x").unwrap();
        assert!(StateDir::open(dir.path()).is_err());
    }
}
