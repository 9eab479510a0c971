// SPDX-License-Identifier: Apache-2.0
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

fn source(name: &str, tag: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{name: {name}}}\n\
         spec: {{url: oci://r.example/org/{name}, interval: 1m, ref: {{tag: {tag}}}}}\n"
    )
}

fn directory(files: &[(&str, &str)]) -> (TempDir, Directory) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let directory = Directory::new(dir.path().to_owned());
    (dir, directory)
}

fn refreshed(directory: &mut Directory) -> Contents {
    directory.refresh(SystemTime::now()).unwrap();
    directory.contents()
}

fn names(contents: &Contents) -> Vec<&str> {
    contents.sources.keys().map(|id| id.name.as_str()).collect()
}

fn only_problem(contents: &Contents) -> String {
    assert_eq!(contents.problems.len(), 1, "{:?}", contents.problems);
    contents.problems[0].to_string()
}

#[test]
fn yaml_files_of_the_directory_itself_are_read() {
    let (dir, mut directory) = directory(&[
        ("a.yaml", &source("a", "x")),
        (
            "b.yml",
            &format!("{}---\n{}", source("b", "x"), source("c", "x")),
        ),
        (".hidden.yaml", &source("h", "x")),
        ("notes.txt", "{{{"),
        ("d.yaml~", "{{{"),
    ]);
    fs::create_dir(dir.path().join("sub.yaml")).unwrap();
    fs::write(dir.path().join("sub.yaml/e.yaml"), source("e", "x")).unwrap();
    let contents = refreshed(&mut directory);
    assert_eq!(names(&contents), ["a", "b", "c"]);
    assert!(contents.problems.is_empty(), "{:?}", contents.problems);
}

#[test]
fn one_bad_file_does_not_take_the_others_down() {
    let (dir, mut directory) = directory(&[
        ("a.yaml", &source("a", "x")),
        ("bad.yaml", "a: 1\nb: [\n"),
        ("c.yaml", &source("c", "x")),
    ]);
    let contents = refreshed(&mut directory);
    assert_eq!(names(&contents), ["a", "c"]);
    let problem = only_problem(&contents);
    let place = format!("{}:", dir.path().join("bad.yaml").display());
    assert!(
        problem.starts_with(&place) && problem.contains("not valid YAML"),
        "{problem}"
    );
}

#[test]
fn a_file_that_turns_bad_keeps_what_it_said_and_is_reported_until_it_is_good() {
    let (dir, mut directory) = directory(&[("a.yaml", &source("a", "x"))]);
    assert_eq!(names(&refreshed(&mut directory)), ["a"]);
    fs::write(dir.path().join("a.yaml"), "apiVersion: [").unwrap();
    let contents = refreshed(&mut directory);
    assert_eq!(names(&contents), ["a"]);
    assert_eq!(contents.problems.len(), 1);
    fs::write(dir.path().join("a.yaml"), source("b", "x")).unwrap();
    let contents = refreshed(&mut directory);
    assert_eq!(names(&contents), ["b"]);
    assert!(contents.problems.is_empty());
}

#[test]
fn a_file_is_gone_when_it_is_absent_twice() {
    let (dir, mut directory) = directory(&[("a.yaml", &source("a", "x"))]);
    refreshed(&mut directory);
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    assert_eq!(names(&refreshed(&mut directory)), ["a"]);
    assert!(names(&refreshed(&mut directory)).is_empty());
}

#[test]
fn a_file_that_comes_back_in_time_was_never_gone() {
    let (dir, mut directory) = directory(&[("a.yaml", &source("a", "x"))]);
    let (here, away) = (dir.path().join("a.yaml"), dir.path().join("a.bak"));
    refreshed(&mut directory);
    for _ in 0..3 {
        fs::rename(&here, &away).unwrap();
        assert_eq!(names(&refreshed(&mut directory)), ["a"]);
        fs::rename(&away, &here).unwrap();
        assert_eq!(names(&refreshed(&mut directory)), ["a"]);
    }
}

#[test]
fn what_looks_the_same_is_not_read_again_once_it_is_old_enough() {
    let (_dir, mut directory) = directory(&[("a.yaml", &source("a", "x"))]);
    let later = SystemTime::now() + Duration::from_mins(1);
    assert!(directory.refresh(later).unwrap());
    assert!(!directory.refresh(later).unwrap());
}

#[test]
fn a_change_right_after_the_first_read_is_seen_even_if_it_looks_the_same() {
    let (dir, mut directory) = directory(&[("a.yaml", &source("a", "x"))]);
    let now = SystemTime::now();
    directory.refresh(now).unwrap();
    let path = dir.path().join("a.yaml");
    let look = Look::of(&fs::metadata(&path).unwrap());
    fs::write(&path, source("a", "z")).unwrap();
    directory.files.get_mut(OsStr::new("a.yaml")).unwrap().seen = Some(look);
    directory.refresh(now).unwrap();
    let contents = directory.contents();
    let reference = contents
        .sources
        .values()
        .next()
        .unwrap()
        .spec
        .reference
        .clone()
        .unwrap();
    assert_eq!(reference.tag.as_deref(), Some("z"));
}

#[test]
fn an_object_that_is_there_twice_is_refused_naming_both_files() {
    let (dir, mut directory) = directory(&[
        ("a.yaml", &source("same", "first")),
        (
            "b.yaml",
            &format!("{}---\n{}", source("other", "x"), source("same", "second")),
        ),
    ]);
    let contents = refreshed(&mut directory);
    assert_eq!(names(&contents), ["other", "same"]);
    let kept = &contents.sources[&SourceId::new("default", "same")];
    assert_eq!(
        kept.spec.reference.as_ref().unwrap().tag.as_deref(),
        Some("first")
    );
    let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    let expected = format!(
        "{}:6: OCIRepository default/same is already in {}:1",
        b.display(),
        a.display()
    );
    assert_eq!(only_problem(&contents), expected);
}

#[test]
fn a_file_at_the_cap_is_read_and_one_byte_more_is_refused() {
    let limit = usize::try_from(MAX_FILE).unwrap();
    let text = source("a", "x");
    let full = format!("{text}#{}", "x".repeat(limit - text.len() - 1));
    let (dir, mut directory) = directory(&[("a.yaml", &full)]);
    assert_eq!(names(&refreshed(&mut directory)), ["a"]);
    fs::write(dir.path().join("b.yaml"), format!("{full}x")).unwrap();
    let contents = refreshed(&mut directory);
    assert_eq!(names(&contents), ["a"]);
    assert!(only_problem(&contents).ends_with("is larger than 1048576 bytes, split it"));
}

#[test]
fn pipes_devices_and_dead_links_are_refused_without_waiting() {
    let (dir, mut directory) = directory(&[("a.yaml", &source("a", "x"))]);
    let pipe = dir.path().join("pipe.yaml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    symlink("/dev/zero", dir.path().join("zero.yaml")).unwrap();
    symlink("nowhere", dir.path().join("dead.yaml")).unwrap();
    symlink("loop.yaml", dir.path().join("loop.yaml")).unwrap();
    let contents = refreshed(&mut directory);
    assert_eq!(names(&contents), ["a"]);
    let told: Vec<_> = contents.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        told.iter()
            .filter(|text| text.ends_with("is not a regular file"))
            .count(),
        2,
        "{told:?}"
    );
}

#[test]
fn links_to_regular_files_are_followed_as_a_mounted_config_map_needs() {
    let (dir, mut directory) = directory(&[]);
    for version in ["one", "two"] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(
            dir.path().join(version).join("a.yaml"),
            source("a", version),
        )
        .unwrap();
    }
    symlink("one", dir.path().join("..data")).unwrap();
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    let tag = |contents: &Contents| {
        contents
            .sources
            .values()
            .next()
            .unwrap()
            .spec
            .reference
            .clone()
            .unwrap()
            .tag
    };
    assert_eq!(tag(&refreshed(&mut directory)).as_deref(), Some("one"));
    symlink("two", dir.path().join("..next")).unwrap();
    fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
    assert_eq!(tag(&refreshed(&mut directory)).as_deref(), Some("two"));
}

#[test]
fn binary_garbage_is_refused() {
    let (dir, mut directory) = directory(&[]);
    fs::write(dir.path().join("a.yaml"), [0xff, 0xfe, 0x00, 0x80]).unwrap();
    assert!(only_problem(&refreshed(&mut directory)).ends_with("is not text in UTF-8"));
}

#[test]
fn an_unreadable_file_is_a_problem_and_no_more() {
    let (dir, mut directory) =
        directory(&[("a.yaml", &source("a", "x")), ("b.yaml", &source("b", "x"))]);
    let path = dir.path().join("a.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything; then there is nothing to see here.
    let is_unreadable = File::open(&path).is_err();
    let contents = refreshed(&mut directory);
    assert_eq!(contents.problems.len(), usize::from(is_unreadable));
    assert!(
        contents
            .sources
            .contains_key(&SourceId::new("default", "b"))
    );
}

#[test]
fn an_absent_directory_is_an_error_and_takes_nothing_away() {
    let (dir, mut directory) = directory(&[("a.yaml", &source("a", "x"))]);
    refreshed(&mut directory);
    drop(dir);
    for _ in 0..3 {
        assert!(directory.refresh(SystemTime::now()).is_err());
    }
    assert_eq!(names(&directory.contents()), ["a"]);
}

#[test]
fn objects_beyond_the_cap_are_left_out_and_reported() {
    let line =
        |index: usize| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s{index}}}\n---\n");
    let (dir, mut directory) = directory(&[]);
    for file in 0..11 {
        let text: String = (0..1000).map(|index| line(file * 1000 + index)).collect();
        let part = if file < 10 { text } else { line(10_000) };
        fs::write(dir.path().join(format!("{file:02}.yaml")), part).unwrap();
    }
    let contents = refreshed(&mut directory);
    assert_eq!(contents.secrets.len(), MAX_OBJECTS);
    assert!(
        only_problem(&contents)
            .ends_with("Secret default/s10000 is left out: more than 10000 objects")
    );
}
