// SPDX-License-Identifier: Apache-2.0
//! Taking what is secret out of a text that somebody else may have had a part in.
//!
//! Pure but for [`Shown`], which remembers what a session showed. A text and secrets go in, the text without them comes
//! out. Found is a secret as it is, as it stands in a URL or a form and as `Debug` writes it, in whatever case, and also
//! the beginning of one, because texts from outside are cut before they come here.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::registry::origin::percent_encode;

use super::Secret;

/// Three letters would tear holes into every message and protect nobody.
const SHORTEST: usize = 4;
/// So much of the beginning of a secret is taken for it.
const BEGINNING: usize = 12;
/// A single word that is shorter than this may be one of our own messages; a hole there would tell it.
const LONGEST_WORD: usize = 16;
/// Tokens that are remembered: one for each thing that a session does at the same time, and those before.
const MAX_SHOWN: usize = 16;
const HOLE: &str = "(secret)";

/// Takes secrets out of what the other side alone wrote.
pub(crate) fn scrub<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let quoted = format!("{secret:?}");
        let in_urls = percent_encode(secret);
        let forms = [secret, quoted.trim_matches('"'), &in_urls];
        for form in forms.into_iter().filter(|form| form.len() >= SHORTEST) {
            text = without(&text, form);
        }
    }
    text
}

/// Takes secrets out of one of our messages, which may quote the other side. Those that may be words of ours stay in.
pub(crate) fn scrub_message<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let is_word = |secret: &&str| {
        secret.len() < LONGEST_WORD && secret.bytes().all(|b| b.is_ascii_alphabetic())
    };
    scrub(text, secrets.into_iter().filter(|secret| !is_word(secret)))
}

fn without(text: &str, secret: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let common = common(rest, secret);
        if common >= secret.len().min(BEGINNING) {
            kept.push_str(HOLE);
            rest = &rest[common..];
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    kept
}

/// How many bytes both begin with, whatever their case; whole characters of the text.
fn common(text: &str, secret: &str) -> usize {
    let pairs = text.bytes().zip(secret.bytes());
    let mut common = pairs
        .take_while(|(one, other)| one.eq_ignore_ascii_case(other))
        .count();
    while !text.is_char_boundary(common) {
        common -= 1;
    }
    common
}

/// The tokens that a session showed last.
#[derive(Default)]
pub(crate) struct Shown(Mutex<VecDeque<Secret>>);

impl Shown {
    /// Remembers a token.
    pub(crate) fn add(&self, token: &str) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.iter().any(|known| known.expose() == token) {
            return;
        }
        if shown.len() >= MAX_SHOWN {
            shown.pop_front();
        }
        shown.push_back(token.into());
    }

    pub(crate) fn all(&self) -> Vec<Secret> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.iter().cloned().collect()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_and_when_it_is_cut() {
        let secret = "Can+ary/\"with\u{e9} more of it";
        for text in [
            secret.to_owned(),
            secret.to_ascii_lowercase(),
            format!("{secret:?}"),
            percent_encode(secret),
            secret[..13].to_owned(),
        ] {
            let told = scrub_message(&format!("\u{e9}x {text} y\u{e9}"), [secret]);
            assert!(!told.to_lowercase().contains("ary"), "{text}: {told}");
            assert!(told.contains(HOLE) && told.starts_with("\u{e9}x "));
            assert!(told.ends_with(" y\u{e9}"), "{told}");
        }
    }

    #[test]
    fn what_may_be_a_word_of_ours_stays_in_our_messages_only() {
        let text = "it asks for a name and password";
        assert_eq!(scrub_message(text, ["password", "abc", ""]), text);
        assert_eq!(scrub(text, ["password"]), "it asks for a name and (secret)");
        assert_eq!(scrub("abc", ["abc", ""]), "abc");
    }

    #[test]
    fn the_tokens_shown_last_are_remembered() {
        let shown = Shown::default();
        for n in 0..2 * MAX_SHOWN {
            shown.add(&n.to_string());
            shown.add(&n.to_string());
        }
        let all = shown.all();
        assert_eq!(all.len(), MAX_SHOWN);
        assert_eq!(all[0].expose(), MAX_SHOWN.to_string());
        assert_eq!(format!("{shown:?}"), "Shown");
    }
}
