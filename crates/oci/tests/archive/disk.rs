// SPDX-License-Identifier: Apache-2.0

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
};

use tempfile::{TempDir, tempdir};
use wharf_oci::archive::{ArchiveError, Limits, Packed, Unpacked, pack_dir, unpack};

use crate::build::{Tar, gzip, head, repacked, small_tree_gz};

/// A directory with files, an empty directory, odd modes, links and a socket.
fn tree() -> TempDir {
    let root = tempdir().unwrap();
    let path = root.path();
    fs::create_dir_all(path.join("app/empty")).unwrap();
    for (name, content, mode) in [
        ("app.yaml", "kind: Top\n", 0o640),
        ("app/a.yaml", "kind: A\n", 0o444),
        ("app/run.sh", "#!/bin/sh\n", 0o710),
        ("app/ü", "", 0o600),
    ] {
        fs::write(path.join(name), content).unwrap();
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(path.join("app/empty"), fs::Permissions::from_mode(0o711)).unwrap();
    symlink("/etc", path.join("app/etc")).unwrap();
    symlink("a.yaml", path.join("app/b.yaml")).unwrap();
    root
}

fn packed(root: &Path) -> Result<(Vec<u8>, Packed), ArchiveError> {
    let mut out = Vec::new();
    let report = pack_dir(root, &mut out, &Limits::default())?;
    Ok((out, report))
}

fn unpacked(blob: &[u8], dir: &Path) -> Result<Unpacked, ArchiveError> {
    unpack(Cursor::new(blob), dir, &Limits::default())
}

/// Every path below a directory: its kind, mode and content. Links are not followed.
fn snapshot(root: &Path) -> BTreeMap<String, (char, u32, Vec<u8>)> {
    let mut seen = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(at) = waiting.pop() {
        let meta = fs::symlink_metadata(&at).unwrap();
        let (kind, content) = if meta.is_dir() {
            waiting.extend(
                fs::read_dir(&at)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            ('d', Vec::new())
        } else if meta.is_file() {
            ('f', fs::read(&at).unwrap())
        } else {
            ('?', Vec::new())
        };
        let name = at.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        seen.insert(name, (kind, meta.permissions().mode() & 0o7777, content));
    }
    seen
}

#[test]
fn a_directory_packs_to_the_same_bytes_as_any_archive_of_it() {
    let root = tree();
    let (from_disk, report) = packed(root.path()).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", root.path()).unwrap();
    let (from_archive, again) = repacked(&gzip(&builder.into_inner().unwrap())).unwrap();
    assert!(from_disk == from_archive);
    assert_eq!(report, again);
    assert_eq!(
        (report.files, report.dropped.links, report.dropped.devices),
        (4, 2, 0)
    );
}

#[test]
fn links_and_sockets_on_disk_are_left_out_and_counted() {
    let root = tempdir().unwrap();
    let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
    symlink("loop", root.path().join("loop")).unwrap();
    let (blob, report) = packed(root.path()).unwrap();
    assert_eq!(
        (report.files, report.dropped.to_string()),
        (0, "1 link and 1 device".into())
    );
    assert_eq!(crate::build::read_back(&blob).len(), 1);
}

#[test]
fn unpacking_what_was_packed_gives_the_tree() {
    let (blob, _) = packed(tree().path()).unwrap();
    let target = tempdir().unwrap();
    let dir = target.path().join("new/deep");
    let report = unpacked(&blob, &dir).unwrap();
    assert_eq!((report.files, report.bytes), (4, 28));
    let got = snapshot(&dir);
    let contents: Vec<_> = got
        .iter()
        .map(|(name, (kind, _, content))| (&**name, *kind, content.len()))
        .collect();
    let expected = [
        ("", 'd', 0),
        ("app", 'd', 0),
        ("app.yaml", 'f', 10),
        ("app/a.yaml", 'f', 8),
        ("app/empty", 'd', 0),
        ("app/run.sh", 'f', 10),
        ("app/ü", 'f', 0),
    ];
    assert_eq!(contents, expected);
    for (name, (_, mode, _)) in &got {
        // The umask of whoever runs the test may take more away, never add.
        let most = if matches!(&**name, "app.yaml" | "app/a.yaml" | "app/ü") {
            0o644
        } else {
            0o755
        };
        assert_eq!(mode & !most, 0, "{name} {mode:o}");
        assert_eq!(mode & 0o100 != 0, most == 0o755, "{name} {mode:o}");
    }
    assert!(packed(&dir).unwrap().0 == blob);
}

#[test]
fn nothing_is_written_when_any_part_of_the_archive_is_bad() {
    let target = tempdir().unwrap();
    let dir = target.path().join("out");
    let bad_end = Tar::default().file("good", "x").file("../bad", "x").gz();
    assert_eq!(
        unpacked(&bad_end, &dir).unwrap_err().category(),
        "unsafe-name"
    );
    let mut bad_sum = small_tree_gz();
    let at = bad_sum.len() - 5;
    bad_sum[at] ^= 1;
    assert_eq!(unpacked(&bad_sum, &dir).unwrap_err().category(), "damaged");
    assert!(!dir.exists());
}

#[test]
fn files_that_exist_are_not_overwritten_and_directories_are_used() {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/mine"), "mine").unwrap();
    let blob = Tar::default()
        .dir("d")
        .file("d/new", "new")
        .file("d/mine", "theirs")
        .gz();
    let error = unpacked(&blob, dir.path()).unwrap_err();
    assert!(
        matches!(&error, ArchiveError::Exists { path } if path.contains("d/mine")),
        "{error}"
    );
    assert_eq!(fs::read(dir.path().join("d/mine")).unwrap(), b"mine");
    assert_eq!(fs::read(dir.path().join("d/new")).unwrap(), b"new");
}

#[test]
fn a_link_that_waits_in_the_target_is_never_followed() {
    let outside = tempdir().unwrap();
    fs::write(outside.path().join("file"), "untouched").unwrap();
    let before = snapshot(outside.path());
    let dir = tempdir().unwrap();
    symlink(outside.path(), dir.path().join("d")).unwrap();
    symlink(outside.path().join("file"), dir.path().join("f")).unwrap();
    symlink(outside.path().join("not-yet"), dir.path().join("n")).unwrap();
    for tar in [
        Tar::default().file("d/file", "x"),
        Tar::default().file("d/other", "x"),
        Tar::default().dir("d/sub"),
        Tar::default().dir("d"),
        Tar::default().file("f", "x"),
        Tar::default().file("n", "x"),
    ] {
        let error = unpacked(&tar.gz(), dir.path()).unwrap_err();
        assert!(matches!(error.category(), "io" | "exists"), "{error}");
    }
    assert_eq!(snapshot(outside.path()), before);
}

#[test]
fn links_in_the_archive_are_not_made_and_nothing_is_written_through_them() {
    let outside = tempdir().unwrap();
    let dir = tempdir().unwrap();
    let link = head("out").flag(b'2');
    let blob = Tar::default().entry(&link, b"").file("out/file", "x").gz();
    let report = unpacked(&blob, dir.path()).unwrap();
    assert_eq!((report.files, report.dropped.links), (1, 1));
    assert!(
        fs::symlink_metadata(dir.path().join("out"))
            .unwrap()
            .is_dir()
    );
    assert_eq!(snapshot(outside.path()).len(), 1);
}

#[test]
fn of_two_files_with_one_name_the_last_is_written() {
    let dir = tempdir().unwrap();
    let blob = Tar::default().file("a", "first").file("a", "last").gz();
    assert_eq!(unpacked(&blob, dir.path()).unwrap().files, 1);
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"last");
}

#[test]
fn modes_of_an_archive_are_reduced_to_two() {
    let dir = tempdir().unwrap();
    let entry = |tar: Tar, name: &str, mode| tar.entry(&head(name).mode(mode), b"x");
    let tar = entry(entry(Tar::default(), "setuid", 0o4777), "none", 0);
    unpacked(&tar.gz(), dir.path()).unwrap();
    let mode = |name: &str| {
        fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(mode("setuid") & !0o755, 0);
    assert_eq!(mode("none") & !0o644, 0);
    assert_eq!(mode("none") & 0o600, 0o600);
}

#[test]
fn names_on_disk_that_no_applier_takes_are_refused_with_their_path() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    for name in [&b"a\\b"[..], b"a\nb", b"\xff"] {
        let root = tempdir().unwrap();
        fs::write(root.path().join(OsStr::from_bytes(name)), "x").unwrap();
        let error = packed(root.path()).unwrap_err();
        assert_eq!(error.category(), "unsafe-name");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn limits_hold_for_directories_too() {
    let root = tree();
    let under = |limits: Limits| {
        pack_dir(root.path(), Vec::new(), &limits).map_err(|error| error.to_string())
    };
    for (limits, flag) in [
        (
            Limits {
                entries: 5,
                ..Limits::default()
            },
            "--max-entries",
        ),
        (
            Limits {
                expanded_bytes: 20,
                ..Limits::default()
            },
            "--max-expanded-bytes",
        ),
        (
            Limits {
                depth: 1,
                ..Limits::default()
            },
            "--max-depth",
        ),
        (
            Limits {
                path_bytes: 5,
                ..Limits::default()
            },
            "--max-path-bytes",
        ),
    ] {
        let error = under(limits).unwrap_err();
        assert!(error.contains(flag), "{error}");
    }
    assert!(
        under(Limits {
            entries: 6,
            ..Limits::default()
        })
        .is_ok()
    );
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let root = tempdir().unwrap();
    let error = packed(&root.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(error.category(), "io");
}

#[test]
fn a_file_that_gives_more_than_its_size_is_refused() {
    // Files here have size 0 and content, like one that grows while it is packed.
    let error = packed(Path::new("/proc/sys/kernel/random")).unwrap_err();
    assert!(matches!(error, ArchiveError::Changed { .. }), "{error}");
}
