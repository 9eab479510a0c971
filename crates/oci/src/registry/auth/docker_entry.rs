// SPDX-License-Identifier: Apache-2.0
//! The keys of a Docker configuration: which repositories an entry is for.
//!
//! Pure. As in the kubelet's keychain: the host label by label, each a pattern, with the same number of labels; the port
//! exactly; the path as a prefix, letter by letter. A pattern is what Go's `path.Match` takes: `*`, `?`, `[a-z]`, `\`.

use crate::Repository;

/// What Docker's own registry is called in a [`Repository`].
pub(super) const HUB: &str = "index.docker.io";

/// A key, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryKey {
    /// `host[:port][/path]`, by which keys are sorted.
    text: String,
    /// Where the host ends, and where the path begins.
    host: usize,
    path: usize,
}

impl EntryKey {
    /// Takes away scheme and the API's version that Docker writes after the host.
    pub(super) fn new(key: &str) -> Self {
        let key = key.trim();
        let bare = key
            .strip_prefix("https://")
            .or_else(|| key.strip_prefix("http://"))
            .unwrap_or(key);
        let (authority, path) = bare.split_once('/').unwrap_or((bare, ""));
        let path = match path.split_once('/').unwrap_or((path, "")) {
            ("v1" | "v2", rest) => rest,
            _ => path,
        };
        let mut text = registry_name(authority);
        let host = split_port(&text);
        if !path.is_empty() {
            text.push('/');
        }
        let start = text.len();
        text.push_str(path);
        Self {
            text,
            host,
            path: start,
        }
    }

    /// The key, for messages.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the entry is for a repository.
    pub(super) fn matches(&self, repository: &Repository) -> bool {
        let path = &self.text[self.path..];
        let port = self.text[self.host..self.path].trim_end_matches('/');
        let registry = repository.registry().to_ascii_lowercase();
        let host = repository.host().len();
        port == &registry[host..]
            && repository.path().starts_with(path)
            && hosts_match(&self.text[..self.host], &registry[..host])
    }
}

/// `host[:port]` in lower case; Docker's registry under the one name that repositories have for it.
pub(super) fn registry_name(authority: &str) -> String {
    match authority.to_ascii_lowercase() {
        hub if matches!(hub.as_str(), "docker.io" | "registry-1.docker.io") => HUB.to_owned(),
        other => other,
    }
}

fn split_port(authority: &str) -> usize {
    let after_literal = authority.rfind(']').map_or(0, |end| end + 1);
    authority[after_literal..]
        .find(':')
        .map_or(authority.len(), |colon| after_literal + colon)
}

fn hosts_match(pattern: &str, host: &str) -> bool {
    if pattern.starts_with('[') || host.starts_with('[') {
        return pattern == host;
    }
    let (patterns, labels) = (pattern.split('.'), host.split('.'));
    patterns.clone().count() == labels.clone().count()
        && patterns
            .zip(labels)
            .all(|(pattern, label)| label_matches(pattern.as_bytes(), label.as_bytes()))
}

/// Only the last `*` is ever gone back to, so that no pattern takes more than the product of both lengths.
fn label_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut rest, mut text) = (pattern, label);
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        let next = match (rest.split_first(), text.split_first()) {
            (None, None) => return true,
            (Some((b'*', after)), _) => {
                star = Some((after, text));
                Some((after, text))
            }
            (Some(_), Some((byte, left))) => one_matches(rest, *byte).map(|after| (after, left)),
            _ => None,
        };
        (rest, text) = match (next, star) {
            (Some(next), _) => next,
            (None, Some((after, [_, left @ ..]))) => {
                star = Some((after, left));
                (after, left)
            }
            (None, _) => return false,
        };
    }
}

/// What is left of a pattern after one letter; `None` when the letter does not fit, or the pattern is none.
fn one_matches(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', after @ ..] => Some(after),
        [b'[', class @ ..] => class_matches(class, byte),
        [b'\\', literal, after @ ..] | [literal, after @ ..] if *literal == byte => Some(after),
        _ => None,
    }
}

fn class_matches(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut is_in = false;
    loop {
        let (low, high, after) = match rest {
            [b']', after @ ..] => return (is_in != is_negated).then_some(after),
            [low, b'-', high, after @ ..] if *high != b']' => (low, high, after),
            [one, after @ ..] => (one, one, after),
            [] => return None,
        };
        is_in |= (*low..=*high).contains(&byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_by_host_port_and_path() {
        for (key, repository, expected) in [
            ("r.example", "r.example/a/b", true),
            ("https://r.example", "r.example/app", true),
            ("https://r.example/v1/", "r.example/app", true),
            ("http://R.Example/v2/", "r.example/app", true),
            ("https://r.example/v2/team", "r.example/team/app", true),
            ("r.example:443", "r.example/app", false),
            ("r.example:5000", "r.example:5000/app", true),
            ("r.example:5000/team", "r.example:5000/team/app", true),
            ("r.example:5000/", "r.example:5000/app", true),
            ("r.example", "r.example:5000/app", false),
            ("r.example/team", "r.example/team/app", true),
            ("r.example/team", "r.example/team", true),
            // As the kubelet: a prefix of letters, unless the key says otherwise.
            ("r.example/team", "r.example/teams/app", true),
            ("r.example/team/", "r.example/teams/app", false),
            ("r.example/team/", "r.example/team/app", true),
            ("r.example/other", "r.example/team/app", false),
            ("example", "r.example/app", false),
            ("r.example.evil", "r.example/app", false),
            ("https://index.docker.io/v1/", "alpine", true),
            ("docker.io", "org/app", true),
            ("[::1]:5000", "[::1]:5000/app", true),
            ("[::1]", "[::1]:5000/app", false),
            ("", "r.example/app", false),
            ("/", "r.example/app", false),
            ("https://", "r.example/app", false),
            (":5000", "r.example:5000/app", false),
        ] {
            let got = EntryKey::new(key).matches(&repository.parse().unwrap());
            assert_eq!(got, expected, "{key} for {repository}");
        }
    }

    #[test]
    fn hosts_may_be_patterns_label_by_label() {
        for (key, repository, expected) in [
            ("*.example.com", "a.example.com/app", true),
            ("*.example.com", "example.com/app", false),
            ("*.example.com", "a.b.example.com/app", false),
            ("*.*.example.com", "a.b.example.com/app", true),
            ("*.example.com", "a.example.com.evil/app", false),
            ("*.example.com:5000", "a.example.com/app", false),
            ("*.example.com/team", "a.example.com/team/app", true),
            ("*.example.com/team", "a.example.com/other", false),
            ("reg-?.example", "reg-1.example/app", true),
            ("reg-[0-9].example", "reg-7.example/app", true),
            ("reg-[^0-9].example", "reg-7.example/app", false),
            ("reg-[0-9.example", "reg-7.example/app", false),
            ("reg*1*2.example", "reg-112-2.example/app", true),
            (
                "*.dkr.ecr.*.amazonaws.com",
                "1.dkr.ecr.eu-west-1.amazonaws.com/app",
                true,
            ),
            ("*", "r.example/app", false),
            ("*/app", "r.example/app", false),
            ("[", "r.example/app", false),
        ] {
            let got = EntryKey::new(key).matches(&repository.parse().unwrap());
            assert_eq!(got, expected, "{key} for {repository}");
        }
        let hostile = format!("{}b.example", "*a".repeat(100));
        let long = format!("{}.example/app", "a".repeat(60));
        assert!(!EntryKey::new(&hostile).matches(&long.parse().unwrap()));
    }
}
