// SPDX-License-Identifier: Apache-2.0
//! The files that travel: made here, packed and unpacked by `tar`, compared by name, content and mode.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::command::Program;

/// Name, content and whether it may be executed, of each file.
pub(crate) type Files = BTreeMap<PathBuf, (Vec<u8>, bool)>;

/// Makes a folder with files in it, among them one that a client might send in pieces. No two seeds give the same.
pub(crate) fn make(folder: &Path, seed: u64) {
    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    std::fs::write(folder.join("app.yaml"), format!("seed: {seed}\n")).unwrap();
    std::fs::write(folder.join("deep/er/größe.txt"), "µ").unwrap();
    let script = folder.join("deep/run.sh");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let large = wharf_test_support::artifacts::random_text(1500, seed);
    std::fs::write(folder.join("large.txt"), large).unwrap();
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_owned();
            let executable = metadata.permissions().mode() & 0o100 != 0;
            found.insert(name, (std::fs::read(&path).unwrap(), executable));
        }
    }
    found
}

/// Packs a folder into a file, as people do without Wharf.
pub(crate) async fn pack(folder: &Path, archive: &Path) -> Result<(), String> {
    let tar = Program::new("tar", Path::new("tar"), folder);
    let packed = tar.arg("-czf").arg(archive).arg("-C").arg(folder).arg(".");
    packed.output().await.map(drop)
}

/// Unpacks a layer and gives the files in it.
pub(crate) async fn unpack(layer: &[u8], work: &Path) -> Result<Files, String> {
    let (archive, folder) = (work.join("layer.tar.gz"), work.join("unpacked"));
    std::fs::write(&archive, layer).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let tar = Program::new("tar", Path::new("tar"), work);
    let unpacked = tar.arg("-xzf").arg(&archive).arg("-C").arg(&folder);
    unpacked.output().await?;
    Ok(files(&folder))
}
