// SPDX-License-Identifier: Apache-2.0
//! The same patterns here and in Go.

use fastrand::Rng;
use wharf_oci::select::{Filter, FilterError};

use crate::{
    generate,
    oracle::{self, Answer, Question},
};

/// One pattern a line; a line that begins with `# ` is a comment.
const PATTERNS: &str = include_str!("regexes.txt");
const BY_CHANCE: usize = 10_000;

/// What the patterns are matched with. Beyond ASCII, only what all versions of Unicode in use agree about.
const TEXTS: &[&str] = &[
    "",
    "a",
    "b",
    "ab",
    "abc",
    "aaa",
    "A",
    "AB",
    "k",
    "K",
    "s",
    "S",
    "1",
    "12",
    "1.2.3",
    "v1.2.3",
    "v1.2.3-rc.1",
    "1.2.3-alpha",
    "1.0.0_build.7",
    "2025.02.03",
    "latest",
    "main",
    "main-0a1b2c3d-1700000000",
    "sha256-abc.sig",
    "x86_64",
    "release-1.2",
    "dev",
    "_",
    "-",
    ".",
    "..",
    " ",
    "\t",
    "\n",
    "a\nb",
    "\u{b}",
    "\u{c}",
    "\r\n",
    "a b",
    "a.b*",
    "[]",
    "a]",
    "{",
    "a{,2}",
    "x{01}",
    "(",
    "^",
    "$",
    "\\",
    "&",
    "|",
    "<n>",
    "\0",
    "\x07",
    "\x7f",
    "\u{e9}",
    "a\u{e9}a",
    "\u{c9}",
    "\u{3b1}",
    "\u{391}",
    "\u{3c2}",
    "\u{17f}",
    "\u{212a}",
    "\u{df}",
    "\u{1e9e}",
    "\u{130}",
    "\u{131}",
    "\u{663}",
    "\u{4e2d}",
    "\u{1f600}",
    "\u{1f600}a",
    "\u{2028}",
    "\u{fffd}",
    "\u{d7ff}",
    "\u{10ffff}",
    "\u{301}",
    "\u{43a}",
    "\u{20ac}",
    "\u{1c5}",
    "\u{2160}",
];

#[derive(Debug, Default)]
struct Tally {
    /// Go and Wharf match the same.
    same: usize,
    /// Of these, the matches.
    matches: usize,
    /// Go refuses it, and so does Wharf.
    refused: usize,
    /// Go takes it, Wharf has a narrower limit and says so.
    limited: usize,
}

#[test]
fn three_hundred_patterns_match_as_in_go_or_are_refused_by_name() {
    let patterns: Vec<_> = PATTERNS
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(str::to_owned)
        .collect();
    let tally = compare(&patterns);
    println!("{tally:?}");
    assert!(patterns.len() >= 300, "{} patterns", patterns.len());
    assert!(tally.same >= 180, "{tally:?}");
    assert!(tally.matches >= 2_000, "{tally:?}");
    assert!(tally.refused >= 90, "{tally:?}");
    assert!((1..=10).contains(&tally.limited), "{tally:?}");
}

#[test]
fn patterns_by_chance_match_as_in_go_or_are_refused_by_name() {
    let mut rng = Rng::with_seed(crate::seed());
    let patterns: Vec<_> = (0..BY_CHANCE)
        .map(|_| generate::pattern(&mut rng))
        .collect();
    let tally = compare(&patterns);
    println!("{tally:?}");
    assert!(tally.same * 100 >= BY_CHANCE * 25, "{tally:?}");
    assert!(tally.refused * 100 >= BY_CHANCE * 25, "{tally:?}");
    assert!(tally.limited * 100 < BY_CHANCE, "{tally:?}");
}

fn compare(patterns: &[String]) -> Tally {
    let texts: Vec<_> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    let question = |pattern: &String| Question::Pattern {
        pattern: pattern.clone(),
        texts: texts.clone(),
    };
    let questions: Vec<_> = patterns.iter().map(question).collect();
    let answers = oracle::ask(&questions);
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for (pattern, answer) in patterns.iter().zip(&answers) {
        wrong.extend(judge(pattern, answer, &mut tally).err());
    }
    assert!(
        wrong.is_empty(),
        "{} patterns differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    tally
}

fn judge(pattern: &str, answer: &Answer, tally: &mut Tally) -> Result<(), String> {
    match (pattern.parse::<Filter>(), &answer.error) {
        (Ok(filter), None) => {
            assert_eq!(answer.verdicts.len(), TEXTS.len(), "{pattern:?}");
            let matches: Vec<_> = TEXTS.iter().map(|text| filter.is_match(text)).collect();
            let in_go = answer.verdicts.chars().map(|letter| letter == 'y');
            let differs = |(_, (ours, theirs)): &(&&str, (&bool, bool))| *ours != theirs;
            if let Some((text, (ours, _))) =
                TEXTS.iter().zip(matches.iter().zip(in_go)).find(differs)
            {
                return Err(format!("{pattern:?} on {text:?}: {ours} here"));
            }
            tally.same += 1;
            tally.matches += matches.iter().filter(|is_match| **is_match).count();
        }
        (Err(FilterError::Refused { construct, .. }), Some(_)) if !construct.is_empty() => {
            tally.refused += 1;
        }
        (Err(FilterError::TooLarge | FilterError::TooDeep { .. }), None) => tally.limited += 1,
        (found, expected) => {
            return Err(format!("{pattern:?}: {found:?} here, {expected:?} in Go"));
        }
    }
    Ok(())
}
