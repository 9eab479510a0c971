// SPDX-License-Identifier: Apache-2.0
//! Ranges, versions and patterns by chance.
//!
//! A question keeps to the neighbourhood of one version, because ranges and versions that lie far apart show nothing; and
//! some of each are spoiled, because what is refused has to be the same as well.

use fastrand::Rng;

use crate::oracle::Question;

const PRE: &[&str] = &[
    "0",
    "1",
    "2",
    "10",
    "alpha",
    "alpha.1",
    "alpha.beta",
    "beta",
    "rc.1",
    "rc.2",
    "rc9",
    "rc10",
    "a-b",
    "-",
    "x",
    "0a",
    "01",
    "1.01",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999",
    "A",
    "a.b.c",
];
const BUILD: &[&str] = &["b1", "b2", "b.2", "001", "1", "9", "10", "a-b", "20260101"];
const NO_VERSIONS: &[&str] = &[
    "",
    "latest",
    "main",
    "v",
    "v1",
    "sha-0a1b2c3",
    "1.2.x",
    "1..2",
    "1.2.3.4",
    "1.2.3-",
    "1.2.3+",
    " 1.2.3",
    "1.2.3 ",
    "vv1.2.3",
    "V1.2.3",
    "1.2.3-a..b",
    "1.2.3-a_b",
    "-1.2.3",
    "99999999999999999999.0.0",
    "1.18446744073709551616.0",
    "18446744073709551615.18446744073709551615.18446744073709551615",
    "1-a.b.c",
    "0x1.2.3",
    "1.2.\u{0663}",
    "1,2.3",
];
const OPERATORS: &[&str] = &[
    "", "", "", "", "=", "!=", ">", ">", "<", "<", ">=", ">=", ">=", "=>", "<=", "<=", "=<", "~",
    "~", "~>", "^", "^", "^",
];
const SEPARATORS: &[&str] = &[
    " ", " ", " ", " ", ",", ",", ", ", ", ", " , ", " , ", "  ", "\t", "\n", " ,", "\u{c}", "\r",
    ",,", ";", "",
];
const ALTERNATIVES: &[&str] = &[
    "||", "||", "||", " || ", " || ", " || ", " ||", "|| ", "|", "|||",
];
const SPOIL: &[&str] = &[
    "0", "1", "2", ".", "x", "X", "*", "|", "||", "-", " - ", "+", "~", "^", "<", ">", "=", "!",
    ",", " ", "v", "\t", "\u{b}", "a", "_", "\u{e9}", "\u{a0}", "00",
];

/// A range, some versions to look at alone and some tags to choose from.
pub(crate) fn range_question(rng: &mut Rng) -> Question {
    let base = [number(rng), number(rng), number(rng)];
    let helm = rng.u8(..4) == 0;
    Question::Range {
        range: range(rng, base),
        versions: (0..6).map(|_| version(rng, base)).collect(),
        tags: (0..rng.usize(0..9)).map(|_| tag(rng, base)).collect(),
        helm,
    }
}

fn number(rng: &mut Rng) -> u64 {
    match rng.u8(..100) {
        0 => u64::MAX,
        1 => u64::MAX - 1,
        2..=9 => rng.u64(..1_000_000),
        10..=49 => 0,
        _ => rng.u64(..4),
    }
}

/// The number itself or one beside it.
fn near(rng: &mut Rng, number: u64) -> u64 {
    match rng.u8(..8) {
        0 => number.saturating_add(1),
        1 => number.saturating_sub(1),
        2 => rng.u64(..4),
        _ => number,
    }
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.usize(..from.len())]
}

fn version(rng: &mut Rng, base: [u64; 3]) -> String {
    if rng.u8(..100) < 6 {
        return pick(rng, NO_VERSIONS).to_owned();
    }
    let parts = match rng.u8(..100) {
        0..=3 => 1,
        4..=9 => 2,
        10..=11 => 4,
        _ => 3,
    };
    let mut text = if rng.u8(..6) == 0 { "v" } else { "" }.to_owned();
    for part in 0..parts {
        let number = near(rng, base[part % 3]);
        let zero = if rng.u8(..30) == 0 { "0" } else { "" };
        let dot = if part == 0 { "" } else { "." };
        text = format!("{text}{dot}{zero}{number}");
    }
    text + &tail(rng, 3)
}

/// A pre-release in one of so many cases, and sometimes build metadata.
fn tail(rng: &mut Rng, one_in: u8) -> String {
    let mut tail = String::new();
    if rng.u8(..one_in) == 0 {
        tail = format!("-{}", pick(rng, PRE));
    }
    if rng.u8(..100) == 0 {
        // Around the 256 bytes that a version may have.
        tail = format!("-{}", "a".repeat(rng.usize(247..254)));
    }
    if rng.u8(..8) == 0 {
        tail = format!("{tail}+{}", pick(rng, BUILD));
    }
    tail
}

/// What Go would take for a tag; a registry has none of more than 128 bytes.
fn tag(rng: &mut Rng, base: [u64; 3]) -> String {
    let mut tag = version(rng, base).replace('+', "_");
    tag.truncate(tag.floor_char_boundary(128));
    tag
}

fn range(rng: &mut Rng, base: [u64; 3]) -> String {
    let groups = match rng.u8(..100) {
        0..=69 => 1,
        70..=89 => 2,
        90..=97 => 3,
        _ => rng.usize(30..36),
    };
    let mut text = String::new();
    for number in 0..groups {
        if number > 0 {
            text.push_str(pick(rng, if groups > 3 { &["||"] } else { ALTERNATIVES }));
        }
        text.push_str(&group(rng, base));
    }
    match rng.u8(..100) {
        0..=9 => spoil(rng, &text),
        10 => format!("{text}{}", " ".repeat(rng.usize(470..520))),
        _ => text,
    }
}

fn group(rng: &mut Rng, base: [u64; 3]) -> String {
    let mut text = if rng.u8(..40) == 0 {
        pick(rng, SEPARATORS)
    } else {
        ""
    }
    .to_owned();
    for number in 0..[1, 1, 1, 2, 2, 3][rng.usize(..6)] {
        if number > 0 {
            text.push_str(pick(rng, SEPARATORS));
        }
        if rng.u8(..8) == 0 {
            let dash = pick(
                rng,
                &[
                    " - ", " - ", " - ", " - ", " - ", " - ", "  -\t", "-", " -", "- ",
                ],
            );
            text = format!("{text}{}{dash}{}", bound(rng, base), bound(rng, base));
        } else {
            let blank = pick(rng, &["", "", "", " ", "  "]);
            text = format!("{text}{}{blank}{}", pick(rng, OPERATORS), bound(rng, base));
        }
    }
    text
}

/// A version as ranges have it, with parts left out or replaced by a wildcard.
fn bound(rng: &mut Rng, base: [u64; 3]) -> String {
    let mut text = if rng.u8(..10) == 0 { "v" } else { "" }.to_owned();
    for (place, number) in base.into_iter().enumerate() {
        if place > 0 && rng.u8(..5) == 0 {
            break;
        }
        let number = near(rng, number);
        let dot = if place == 0 { "" } else { "." };
        let part = match rng.u8(..80) {
            0..=7 => pick(rng, &["x", "X", "*"]).to_owned(),
            8 => pick(
                rng,
                &["xx", "1x", "|", "1|2", "||", "00", "18446744073709551616"],
            )
            .to_owned(),
            _ => number.to_string(),
        };
        text = format!("{text}{dot}{part}");
    }
    text + &tail(rng, 4)
}

/// The text with one thing added, left out or exchanged.
fn spoil(rng: &mut Rng, text: &str) -> String {
    let mut chars: Vec<_> = text.chars().map(String::from).collect();
    let place = rng.usize(..=chars.len());
    if place < chars.len() && rng.bool() {
        chars.remove(place);
    }
    if rng.u8(..4) > 0 {
        chars.insert(place.min(chars.len()), pick(rng, SPOIL).to_owned());
    }
    chars.concat()
}

const FRAGMENTS: &[&str] = &[
    "a",
    "b",
    "k",
    "S",
    "1",
    ".",
    "-",
    "_",
    "^",
    "$",
    "*",
    "+",
    "?",
    "*?",
    "{2}",
    "{0,1}",
    "{1,}",
    "{,2}",
    "{0}",
    "{3,2}",
    "{40}",
    "(",
    "(",
    ")",
    ")",
    "|",
    "(?:",
    "(?i)",
    "(?i:",
    "(?s-m:",
    "(?m)",
    "(?U)",
    "(?-)",
    "(?x)",
    "(?P<n>",
    "(?<n>",
    "(?=",
    "[",
    "]",
    "[^",
    "[a-k]",
    "[^a-k]",
    "[[:alpha:]]",
    "[[:^digit:]]",
    "[:word:]",
    "-",
    "&&",
    "--",
    r"\d",
    r"\D",
    r"\w",
    r"\W",
    r"\s",
    r"\S",
    r"\b",
    r"\B",
    r"\A",
    r"\z",
    r"\Z",
    r"\Q",
    r"\E",
    r"\C",
    r"\pL",
    r"\PN",
    r"\p{Greek}",
    r"\p{^Lu}",
    r"\p{Nope}",
    r"\1",
    r"\x41",
    r"\x{e9}",
    r"\101",
    r"\n",
    r"\<",
    r"\.",
    r"\_",
    r"\h",
    "\u{e9}",
    "\u{3b1}",
    "\\",
    "v",
    "rc",
    r"\d+",
    r"[0-9]+",
];

/// A pattern of fragments; many are refused.
pub(crate) fn pattern(rng: &mut Rng) -> String {
    (0..rng.usize(1..9)).map(|_| pick(rng, FRAGMENTS)).collect()
}
