// SPDX-License-Identifier: Apache-2.0
//! The path of an archive entry: relative, without `.` and `..`, safe to print and to join.
//!
//! Enters as the raw bytes of a header or a directory; leaves as an [`EntryPath`]. What is refused: the rules of Flux's
//! untar (empty, absolute, backslash, `../` anywhere) and what is unsafe beyond them (control bytes, invalid UTF-8, a last
//! component `..`, a drive letter). It knows nothing of files and directories.

use super::{ArchiveError, Limits, limits::Limit};

/// The longest component that Linux file systems take.
const MAX_COMPONENT: usize = 255;

/// A relative path in normal form: components joined by `/`; empty for the root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryPath(String);

/// What a raw name turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: EntryPath,
    /// The raw name ended in `/`.
    pub(super) slash: bool,
    /// The raw name was the normal form, save for one leading `./` and one trailing `/`.
    pub(super) normal: bool,
}

impl EntryPath {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the top; none for the root.
    pub(super) fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl Named {
    pub(super) fn parse(raw: &[u8], limits: &Limits) -> Result<Self, ArchiveError> {
        limits.check(Limit::PathBytes, raw.len() as u64)?;
        let text = std::str::from_utf8(raw)
            .map_err(|_| ArchiveError::name(raw, "its name is not valid UTF-8"))?;
        if let Some(why) = objection(text) {
            return Err(ArchiveError::name(raw, why));
        }
        let parts: Vec<&str> = text.split('/').filter(|part| is_component(part)).collect();
        limits.check(Limit::Depth, parts.len() as u64)?;
        if parts.iter().any(|part| part.len() > MAX_COMPONENT) {
            let why = "a part of its name is longer than 255 bytes";
            return Err(ArchiveError::name(raw, why));
        }
        let path = EntryPath(parts.join("/"));
        Ok(Self {
            slash: text.ends_with('/'),
            normal: is_normal(text, path.as_str()),
            path,
        })
    }
}

fn is_component(part: &str) -> bool {
    !matches!(part, "" | ".")
}

fn is_normal(text: &str, path: &str) -> bool {
    let text = text.strip_suffix('/').unwrap_or(text);
    text.strip_prefix("./").unwrap_or(text) == path || (text == "." && path.is_empty())
}

fn objection(text: &str) -> Option<&'static str> {
    match text.as_bytes() {
        [] => return Some("its name is empty"),
        [b'/', ..] => return Some("its name is absolute"),
        [letter, b':'] | [letter, b':', b'/', ..] if letter.is_ascii_alphabetic() => {
            return Some("its name starts with a drive letter");
        }
        _ => {}
    }
    if text.contains('\\') {
        return Some("its name contains a backslash");
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Some("its name contains a control character");
    }
    // `a../b` climbs nowhere, but the appliers that read the artifact refuse it.
    if text.contains("../") || text.split('/').any(|part| part == "..") {
        return Some("its name contains '..'");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Result<Named, ArchiveError> {
        Named::parse(raw, &Limits::default())
    }

    #[test]
    fn names_are_brought_to_normal_form() {
        for (raw, path, slash, normal) in [
            ("a", "a", false, true),
            ("a/b", "a/b", false, true),
            ("a/", "a", true, true),
            ("./a/b/", "a/b", true, true),
            (".", "", false, true),
            ("./", "", true, true),
            ("a//b", "a/b", false, false),
            ("a/./b", "a/b", false, false),
            ("././a", "a", false, false),
            ("a//", "a", true, false),
            ("ü/…", "ü/…", false, true),
            ("a..", "a..", false, true),
            ("..a", "..a", false, true),
            ("a:b", "a:b", false, true),
        ] {
            let named = parse(raw.as_bytes()).unwrap();
            assert_eq!(
                (named.path.as_str(), named.slash, named.normal),
                (path, slash, normal),
                "{raw}"
            );
        }
    }

    #[test]
    fn names_that_are_unsafe_or_unportable_are_refused() {
        for raw in [
            &b""[..],
            b"/",
            b"/etc/passwd",
            b"//host/share",
            b"..",
            b"../a",
            b"a/..",
            b"a/../../b",
            b"a../b",
            b"./../a",
            b"a\\b",
            b"..\\a",
            b"C:/a",
            b"c:",
            b"a\0b",
            b"a\nb",
            b"a\x1b[0m",
            b"a\x7f",
            b"\xff",
            b"\xc0\xae\xc0\xae/a",
        ] {
            let error = parse(raw).unwrap_err();
            assert_eq!(error.category(), "unsafe-name", "{raw:?}");
            assert!(
                !error.to_string().contains(|c: char| c.is_control()),
                "{raw:?}"
            );
        }
    }

    #[test]
    fn length_and_depth_are_limited_at_their_exact_values() {
        let long = |len: usize| format!("{}/{}", "a".repeat(255), "b".repeat(len));
        assert!(parse(long(255).as_bytes()).is_ok());
        assert_eq!(
            parse(long(256).as_bytes()).unwrap_err().category(),
            "unsafe-name"
        );
        let deep = |depth: usize| vec!["a"; depth].join("/");
        assert!(parse(deep(64).as_bytes()).is_ok());
        assert_eq!(parse(deep(65).as_bytes()).unwrap_err().category(), "limit");
        let wide = |len: usize| "a/".repeat(63) + &"b".repeat(len - 126);
        assert_eq!(
            parse(wide(1025).as_bytes()).unwrap_err().category(),
            "limit"
        );
    }
}
