// SPDX-License-Identifier: Apache-2.0

use std::io::{self, Read};

use wharf_oci::archive::{ArchiveError, EntryKind, Limits, list, scan};

use crate::build::{Head, Tar, gzip, head, noise, read_back, repacked, scanned, sum};

/// The category under which scan, list and re-pack all refuse a blob.
fn refused(blob: &[u8]) -> &'static str {
    let category = scanned(blob).unwrap_err().category();
    assert_eq!(repacked(blob).unwrap_err().category(), category);
    let listed = list(blob, &Limits::default());
    assert_eq!(listed.unwrap_err().category(), category);
    category
}

fn small() -> Vec<u8> {
    Tar::default().dir("d").file("d/a", "some content\n").gz()
}

#[test]
fn names_that_lead_elsewhere_are_refused_whatever_the_entry_is() {
    for name in [
        "../a",
        "/etc/passwd",
        "..",
        "a/../../b",
        "a\\..\\b",
        "a/..",
        "C:/a",
        "a\nb",
    ] {
        for flag in *b"0512346" {
            let blob = Tar::default().entry(&head(name).flag(flag), b"").gz();
            assert_eq!(
                refused(&blob),
                "unsafe-name",
                "{name:?} {}",
                char::from(flag)
            );
        }
        let pax = Tar::default().pax(&[("path", name)]).file("good", "x").gz();
        assert_eq!(refused(&pax), "unsafe-name", "{name:?}");
        let gnu = Tar::default().long(b'L', name).file("good", "x").gz();
        assert_eq!(refused(&gnu), "unsafe-name", "{name:?}");
    }
    let prefix = Head {
        prefix: b"..".into(),
        ..head("a")
    };
    assert_eq!(
        refused(&Tar::default().entry(&prefix, b"x").gz()),
        "unsafe-name"
    );
    assert_eq!(refused(&Tar::default().file("", "x").gz()), "unsafe-name");
}

#[test]
fn links_and_devices_are_dropped_and_counted_and_nothing_goes_through_them() {
    let blob = Tar::default()
        .entry(&head("out").flag(b'2'), b"")
        .file("out/file", "inside")
        .entry(&head("hard").flag(b'1'), b"")
        .entry(&head("null").flag(b'3'), b"")
        .entry(&head("disk").flag(b'4'), b"")
        .entry(&head("pipe").flag(b'6'), b"")
        .gz();
    let scan = scanned(&blob).unwrap();
    assert_eq!(
        (scan.dropped.links, scan.dropped.devices, scan.entries),
        (2, 3, 6)
    );
    assert_eq!(scan.dropped.to_string(), "2 links and 3 devices");
    let (packed, report) = repacked(&blob).unwrap();
    assert_eq!((report.dropped, report.files), (scan.dropped, 1));
    let names: Vec<_> = read_back(&packed)
        .into_iter()
        .map(|entry| entry.0)
        .collect();
    assert_eq!(names, [".", "out", "out/file"]);
}

#[test]
fn a_list_shows_every_kind() {
    let blob = Tar::default()
        .dir("./")
        .file("a", "xyz")
        .entry(&head("l").flag(b'2'), b"")
        .gz();
    let listed = list(&blob[..], &Limits::default()).unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|e| (&*e.name, e.kind, e.size, e.mode))
        .collect();
    let expected = [
        (".", EntryKind::Directory, 0, 0o755),
        ("a", EntryKind::File, 3, 0o644),
        ("l", EntryKind::Symlink, 0, 0o644),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn entry_types_that_are_no_files_are_refused() {
    for flag in (0..=255_u8).filter(|flag| !b"\x000123456xgLKS".contains(flag)) {
        let blob = Tar::default().entry(&head("a").flag(flag), b"").gz();
        assert_eq!(refused(&blob), "unsupported-entry", "{flag}");
    }
}

#[test]
fn sparse_files_are_refused_in_every_form() {
    let old = Tar::default().entry(&head("a").flag(b'S').gnu(), b"x").gz();
    assert_eq!(refused(&old), "malformed");
    for key in [
        "GNU.sparse.major",
        "GNU.sparse.map",
        "GNU.sparse.realsize",
        "GNU.sparse.name",
    ] {
        let blob = Tar::default().pax(&[(key, "1")]).file("a", "x").gz();
        assert_eq!(refused(&blob), "malformed", "{key}");
    }
}

#[test]
fn a_small_archive_cut_at_any_byte_is_refused() {
    let blob = small();
    for end in 0..blob.len() {
        let category = refused(&blob[..end]);
        assert!(
            matches!(category, "not-gzip" | "damaged"),
            "{end}: {category}"
        );
    }
}

#[test]
fn a_tar_cut_at_any_byte_inside_sound_gzip_is_refused_or_read_as_whole_entries() {
    let tar = Tar::default()
        .file("a", "some content\n")
        .file("b", "more")
        .raw(&[0; 1024])
        .0;
    for end in 0..tar.len() {
        let scan = scanned(&gzip(&tar[..end]));
        match end {
            0 => assert_eq!(scan.unwrap_err().category(), "malformed"),
            1024 | 2048 | 2560 => assert!(scan.unwrap().canonical.is_err(), "{end}"),
            _ => assert_eq!(scan.unwrap_err().category(), "damaged", "{end}"),
        }
    }
}

#[test]
fn what_follows_the_end_of_the_tar_is_read_and_proved_too() {
    let mut blob = Tar::default().file("a", "x").raw(&vec![0; 300_000]).gz();
    let trailer = blob.len() - 8;
    blob[trailer] ^= 1;
    assert_eq!(refused(&blob), "damaged");
    let trailing = [small(), b"trailing".to_vec()].concat();
    assert_eq!(refused(&trailing), "damaged");
}

#[test]
fn what_is_not_gzip_is_refused() {
    let tar = Tar::default().file("a", "x").raw(&[0; 1024]).0;
    for blob in [&b""[..], b"hello", b"\x28\xb5\x2f\xfd", &tar] {
        assert_eq!(refused(blob), "not-gzip");
    }
    assert_eq!(refused(&gzip(&[b'x'; 2000])), "malformed");
    let nested = gzip(&Tar::default().entry(&head("a"), &noise(2000)).gz());
    assert_eq!(refused(&nested), "malformed", "gzip in gzip");
}

#[test]
fn names_that_are_both_file_and_directory_are_refused() {
    for tar in [
        Tar::default().file("a", "x").dir("a"),
        Tar::default().dir("a").file("a", "x"),
        Tar::default().file("a", "x").file("a/b", "y"),
        Tar::default().file("a/b", "y").file("a", "x"),
        Tar::default().file("a", "x").dir("a/b/c"),
    ] {
        assert_eq!(refused(&tar.gz()), "conflict");
    }
    for root in [".", "./", "a/"] {
        assert_eq!(refused(&Tar::default().file(root, "x").gz()), "unsafe-name");
    }
}

#[test]
fn the_last_of_two_files_wins() {
    let blob = Tar::default().file("a", "first").file("a", "last").gz();
    let (packed, report) = repacked(&blob).unwrap();
    assert_eq!(
        (report.files, &read_back(&packed)[1].3[..]),
        (1, &b"last"[..])
    );
}

#[test]
fn sizes_that_readers_disagree_on_are_refused() {
    let cases = [
        (
            "PAX larger",
            Tar::default().pax(&[("size", "512")]).file("a", "x"),
        ),
        (
            "PAX smaller",
            Tar::default().pax(&[("size", "0")]).file("a", "x"),
        ),
        (
            "PAX negative",
            Tar::default().pax(&[("size", "-1")]).file("a", "x"),
        ),
        (
            "on a directory",
            Tar::default().entry(&head("a").flag(b'5'), b"x"),
        ),
        (
            "on a link",
            Tar::default().entry(&head("a").flag(b'1'), b"x"),
        ),
        (
            "junk",
            Tar::default().entry(&head("a").size(b"0000000001x"), b"x"),
        ),
        (
            "binary negative",
            Tar::default().entry(&head("a").size(&[0xff; 12]), b"x"),
        ),
    ];
    for (what, tar) in cases {
        assert_eq!(refused(&tar.gz()), "malformed", "{what}");
    }
    let beyond = Tar::default()
        .entry(&head("a").size(b"00000777777"), b"x")
        .gz_open();
    assert_eq!(refused(&beyond), "damaged");
    let huge = Tar::default()
        .entry(&head("a").size(b"77777777777"), b"x")
        .gz();
    assert_eq!(refused(&huge), "limit");
}

#[test]
fn extension_headers_that_readers_disagree_on_are_refused() {
    let pax = |tar: Tar| tar.pax(&[("path", "b")]);
    let global = |body: &[u8]| Tar::default().entry(&head("g").flag(b'g'), body);
    let cases = [
        ("two PAX", pax(pax(Tar::default())).file("a", "x")),
        (
            "PAX then long name",
            pax(Tar::default()).long(b'L', "c").file("a", "x"),
        ),
        (
            "long name then PAX",
            pax(Tar::default().long(b'L', "c")).file("a", "x"),
        ),
        (
            "two long names",
            Tar::default()
                .long(b'L', "b")
                .long(b'L', "c")
                .file("a", "x"),
        ),
        ("PAX without entry", pax(Tar::default().file("a", "x"))),
        (
            "key twice",
            Tar::default()
                .pax(&[("path", "b"), ("path", "c")])
                .file("a", "x"),
        ),
        ("global path", global(b"9 path=b\n").file("a", "x")),
        ("global size", global(b"9 size=1\n").file("a", "x")),
        (
            "empty long name",
            Tar::default().long(b'L', "").file("a", "x"),
        ),
        (
            "malformed PAX",
            Tar::default()
                .entry(&head("x").flag(b'x'), b"junk")
                .file("a", "x"),
        ),
        (
            "PAX before global",
            pax(Tar::default()).entry(&head("g").flag(b'g'), b"8 a=bcd\n"),
        ),
    ];
    for (what, tar) in cases {
        assert_eq!(refused(&tar.gz()), "malformed", "{what}");
    }
}

#[test]
fn a_pax_size_speaks_for_the_entry_and_not_for_another_extension_header() {
    // A reader that applied it to the long name would look for the next header in the wrong place.
    let blob = Tar::default()
        .pax(&[("size", "0")])
        .long(b'L', &"n".repeat(600))
        .file("a", "")
        .gz();
    assert_eq!(refused(&blob), "malformed");
}

#[test]
fn a_long_name_and_a_long_link_may_speak_for_one_entry() {
    let link = head("cut").flag(b'2').gnu();
    let name = "n".repeat(150);
    let blob = Tar::default()
        .long(b'K', &"t".repeat(150))
        .long(b'L', &name)
        .entry(&link, b"")
        .gz();
    let listed = list(&blob[..], &Limits::default()).unwrap();
    assert_eq!(
        (&*listed[0].name, listed[0].kind),
        (&*name, EntryKind::Symlink)
    );
}

#[test]
fn a_bad_checksum_or_an_unknown_magic_is_refused() {
    let mut tar = Tar::default().file("a", "x");
    tar.0[0] = b'b';
    assert_eq!(refused(&tar.clone().gz()), "malformed");
    sum(&mut tar.0);
    assert!(scanned(&tar.gz()).is_ok());
    let magic = Head {
        magic: *b"someting",
        ..head("a")
    };
    assert_eq!(
        refused(&Tar::default().entry(&magic, b"x").gz()),
        "malformed"
    );
    let half_end = Tar::default()
        .file("a", "x")
        .raw(&[0; 512])
        .file("b", "y")
        .gz();
    assert_eq!(refused(&half_end), "malformed");
}

/// Fails the test when more is read than an early refusal needs.
struct Watched<R>(R, usize);

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 = self
            .1
            .checked_sub(count)
            .expect("it reads on after it could have refused");
        Ok(count)
    }
}

#[test]
fn an_extension_header_is_refused_by_its_declared_size_before_it_is_read() {
    for flag in *b"xgLK" {
        let huge = head("x").flag(flag).size(b"10000000000");
        let body = noise(1 << 20);
        let blob = Tar::default().entry(&huge, &body).gz();
        assert!(blob.len() > 1 << 20);
        let error = scan(Watched(&blob[..], 256 << 10), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("--max-header-bytes"), "{error}");
    }
}

#[test]
fn a_bomb_is_refused_early_by_ratio_and_by_size() {
    let body = vec![0; 64 << 20];
    let bomb = Tar::default().entry(&head("zeros"), &body).gz();
    let error = scanned(&bomb).unwrap_err().to_string();
    assert!(error.contains("--max-ratio"), "{error}");
    let padding = Tar::default().file("a", "x").raw(&body).gz();
    let error = scanned(&padding).unwrap_err().to_string();
    assert!(
        error.contains("--max-ratio"),
        "after the end marker: {error}"
    );
    let limits = Limits {
        expanded_bytes: 1 << 20,
        ratio: 2000,
        ..Limits::default()
    };
    let error = scan(&bomb[..], &limits).unwrap_err().to_string();
    assert!(
        error.contains("1048576 expanded bytes") && error.contains("--max-expanded-bytes"),
        "{error}"
    );
}

#[test]
fn a_million_empty_members_are_refused_at_the_limit() {
    let empty = gzip(b"");
    let allowed = empty.len() * 65_537 + (64 << 10);
    let blob = empty.repeat(1_000_000);
    let error = scan(Watched(&blob[..], allowed), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("--max-gzip-members"), "{error}");
}

#[test]
fn entries_listed_implied_and_dropped_are_limited() {
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let many = |count: u32, name: fn(u32) -> String, flag: u8| {
        let tar = (0..count).fold(Tar::default(), |tar, n| {
            tar.entry(&head(&name(n)).flag(flag), b"")
        });
        scan(&tar.gz()[..], &limits).map_err(|error| error.to_string())
    };
    let refused = |result: Result<_, String>| {
        let error = result.unwrap_err();
        assert!(
            error.contains("10 entries") && error.contains("--max-entries"),
            "{error}"
        );
    };
    assert!(many(10, |n| n.to_string(), b'0').is_ok());
    refused(many(11, |n| n.to_string(), b'0').map(drop));
    refused(many(11, |n| n.to_string(), b'2').map(drop));
    refused(many(11, |_| "same".into(), b'0').map(drop));
    assert!(many(5, |n| format!("d{n}/f"), b'0').is_ok());
    refused(many(6, |n| format!("d{n}/f"), b'0').map(drop));
}

#[test]
fn paths_that_are_too_long_or_too_deep_are_refused_by_name_of_the_limit() {
    let named = |name: &str| scanned(&Tar::default().pax(&[("path", name)]).file("a", "x").gz());
    let deep = ["a"; 65].join("/");
    assert!(named(&deep[2..]).is_ok());
    assert!(
        named(&deep)
            .unwrap_err()
            .to_string()
            .contains("--max-depth")
    );
    let long = [&*"a".repeat(200); 6].join("/");
    assert!(
        named(&long)
            .unwrap_err()
            .to_string()
            .contains("--max-path-bytes")
    );
}

#[test]
fn a_blob_that_cannot_be_read_is_not_called_a_bad_archive() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let error = scan(Read::chain(&small()[..20], Broken), &Limits::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::Read(_)), "{error}");
    assert_eq!(error.category(), "io");
}

#[test]
fn a_blob_that_arrives_byte_by_byte_is_read_the_same() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }
    let blob = small();
    assert_eq!(
        scan(Slow(&blob), &Limits::default()).unwrap(),
        scanned(&blob).unwrap()
    );
}
