// SPDX-License-Identifier: Apache-2.0
//! The grammar of ranges.
//!
//! Enters as text of at most 512 bytes; leaves as comparators. Masterminds reads ranges with regular expressions, one
//! after another; where that gives a text another meaning than its look (`1||2 - 3` is `>=1 || 2, <=3`), it does here too.

use super::{
    ConstraintError, Version,
    comparator::{Comparator, Operator, Wildcard},
};

/// Longest first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

/// Writes `1.2 - 3` as `>= 1.2, <= 3 `, wherever it stands, also where the result is no range any more.
pub(super) fn rewrite_hyphen_ranges(text: &str) -> String {
    let mut rewritten = text.to_owned();
    let mut at = 0;
    while at < text.len() {
        if let Some(range) = text.get(at..).and_then(HyphenRange::at_start) {
            let comparators = format!(">= {}, <= {} ", range.low, range.high);
            rewritten = rewritten.replacen(range.whole, &comparators, 1);
            at += range.whole.len();
        } else {
            at += 1;
        }
    }
    rewritten
}

struct HyphenRange<'a> {
    /// With the blanks on both sides.
    whole: &'a str,
    low: &'a str,
    high: &'a str,
}

impl<'a> HyphenRange<'a> {
    fn at_start(text: &'a str) -> Option<Self> {
        let (low, rest) = split_version(skip_blanks(text))?;
        let rest = skip_some_blanks(rest)?.strip_prefix('-')?;
        let (high, rest) = split_version(skip_some_blanks(rest)?)?;
        let whole = &text[..text.len() - skip_blanks(rest).len()];
        Some(Self { whole, low, high })
    }
}

/// Reads the comparators between two `||`: one or more, separated by blanks or one comma.
pub(super) fn group(text: &str) -> Result<Vec<Comparator>, ConstraintError> {
    let parts = split_group(text).ok_or_else(|| ConstraintError::Improper {
        group: text.to_owned(),
    })?;
    parts.iter().map(comparator).collect()
}

/// What one comparator is written of.
struct Parts<'a> {
    operator: Operator,
    /// The comparator from its operator on, with the blanks between the two.
    text: &'a str,
    version: &'a str,
}

fn split_group(text: &str) -> Option<Vec<Parts<'_>>> {
    let mut parts = Vec::new();
    let mut rest = skip_blanks(text);
    loop {
        let (operator, after_operator) = split_operator(rest);
        let (version, after) = split_version(skip_blanks(after_operator))?;
        let text = &rest[..rest.len() - after.len()];
        parts.push(Parts {
            operator,
            text,
            version,
        });
        rest = skip_blanks(after);
        if rest.is_empty() {
            return Some(parts);
        }
        rest = match rest.strip_prefix(',') {
            Some(rest) => skip_blanks(rest),
            None => skip_some_blanks(after)?,
        };
    }
}

fn split_operator(text: &str) -> (Operator, &str) {
    OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)))
        .unwrap_or((Operator::Equal, text))
}

fn comparator(parts: &Parts<'_>) -> Result<Comparator, ConstraintError> {
    let (text, wildcard) = resolve_wildcard(parts.version);
    let Ok(version) = text.parse::<Version>() else {
        return Err(ConstraintError::Version { version: text });
    };
    Ok(Comparator {
        text: parts.text.into(),
        operator: parts.operator,
        version,
        wildcard,
    })
}

/// The version with zeros for what is left out. From the first wildcard on, the numbers and build metadata are not even
/// looked at: `1.x.7` and `1.x.||` are `1.x`.
fn resolve_wildcard(text: &str) -> (String, Wildcard) {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let numbers = &bare[..bare.find(['-', '+']).unwrap_or(bare.len())];
    let tail = &bare[numbers.len()..];
    let pre = &tail[..tail.find('+').unwrap_or(tail.len())];
    let mut parts = numbers.split('.');
    let mut number = || {
        parts
            .next()
            .filter(|part| !matches!(*part, "x" | "X" | "*"))
    };
    match (number(), number(), number()) {
        (None, ..) => (format!("0.0.0{pre}"), Wildcard::Major),
        (Some(major), None, _) => (format!("{major}.0.0{pre}"), Wildcard::Minor),
        (Some(major), Some(minor), None) => (format!("{major}.{minor}.0{pre}"), Wildcard::Patch),
        (Some(_), Some(_), Some(_)) => (text.to_owned(), Wildcard::None),
    }
}

/// Splits off `[v]1[.2[.3]][-pre][+build]`, where a number may be a wildcard, as far as it goes.
fn split_version(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('v').unwrap_or(text);
    let mut rest = skip_number(rest)?;
    for _ in 0..2 {
        rest = rest.strip_prefix('.').and_then(skip_number).unwrap_or(rest);
    }
    for mark in ['-', '+'] {
        rest = rest
            .strip_prefix(mark)
            .and_then(skip_identifiers)
            .unwrap_or(rest);
    }
    Some((&text[..text.len() - rest.len()], rest))
}

/// `|` is taken for part of a number, as in the character class that Masterminds has.
fn skip_number(text: &str) -> Option<&str> {
    skip_some(text, |c| matches!(c, '0'..='9' | '|' | 'x' | 'X' | '*'))
}

fn skip_identifiers(text: &str) -> Option<&str> {
    let mut rest = skip_identifier(text)?;
    while let Some(after) = rest.strip_prefix('.').and_then(skip_identifier) {
        rest = after;
    }
    Some(rest)
}

fn skip_identifier(text: &str) -> Option<&str> {
    skip_some(text, |c| c.is_ascii_alphanumeric() || c == '-')
}

/// What follows one or more such characters.
fn skip_some(text: &str, wanted: impl Fn(char) -> bool) -> Option<&str> {
    let rest = text.trim_start_matches(wanted);
    (rest.len() < text.len()).then_some(rest)
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

fn skip_some_blanks(text: &str) -> Option<&str> {
    skip_some(text, is_blank)
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{0c}' | '\r' | ' ')
}
