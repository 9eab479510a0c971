// SPDX-License-Identifier: Apache-2.0
//! The same ranges and the same tags here and in Go.

use std::{ops::AddAssign, thread};

use fastrand::Rng;
use wharf_oci::select::{
    Constraint, ConstraintError, Reason, Selection, Selector, SemverPolicy, TagEncoding, Verdicts,
    Version, VersionError,
};

use crate::{
    generate,
    oracle::{self, Answer, Question},
};

const CASES: usize = 100_000;
/// How many questions one oracle is asked.
const BATCH: usize = 2_500;

/// How the cases came out, to see that each kind is there.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    in_range: usize,
    not_in_range: usize,
    no_versions: usize,
    too_short: usize,
    chosen: usize,
    not_chosen: usize,
    ties: usize,
}

#[test]
fn a_hundred_thousand_ranges_choose_as_in_go() {
    let seed = crate::seed();
    let workers = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let batches: Vec<_> = (0..CASES / BATCH).collect();
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let share = batches.chunks(batches.len().div_ceil(workers));
        let workers: Vec<_> = share
            .map(|batches| {
                scope.spawn(|| {
                    batches
                        .iter()
                        .map(|batch| compare(seed, *batch))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .unwrap()
                .into_iter()
                .for_each(|part| tally += part);
        }
    });
    println!("{tally:?}");
    assert_each_kind_has_its_share(&tally);
}

/// Without this, a generator that goes wrong would make the comparison pass.
fn assert_each_kind_has_its_share(tally: &Tally) {
    let accepted = CASES - tally.refused;
    let versions = tally.in_range + tally.not_in_range + tally.no_versions + tally.too_short;
    assert_eq!(versions, accepted * 6);
    for (share, of, percent) in [
        (tally.refused, CASES, 15),
        (accepted, CASES, 50),
        (tally.in_range, versions, 15),
        (tally.not_in_range, versions, 25),
        (tally.no_versions, versions, 5),
        (tally.too_short, versions, 5),
        (tally.chosen, accepted, 30),
        (tally.not_chosen, accepted, 15),
        (tally.ties, accepted, 3),
    ] {
        assert!(
            share * 100 >= of * percent,
            "{share} of {of} are less than {percent} %: {tally:?}"
        );
    }
}

fn compare(seed: u64, batch: usize) -> Tally {
    let mut rng = Rng::with_seed(seed.wrapping_add(batch as u64));
    let questions: Vec<_> = (0..BATCH)
        .map(|_| generate::range_question(&mut rng))
        .collect();
    let answers = oracle::ask(&questions);
    let mut tally = Tally::default();
    for (question, answer) in questions.iter().zip(&answers) {
        judge(question, answer, &mut tally)
            .unwrap_or_else(|why| panic!("seed {seed}: {why}\n{question:?}\n{answer:?}"));
    }
    tally
}

fn judge(question: &Question, answer: &Answer, tally: &mut Tally) -> Result<(), String> {
    let Question::Range {
        range,
        versions,
        tags,
        helm,
    } = question
    else {
        return Err("not a range".to_owned());
    };
    let constraint = match (range.parse::<Constraint>(), &answer.error) {
        (Ok(constraint), None) => constraint,
        (Err(error), Some(expected)) if is_same_error(&error, expected) => {
            tally.refused += 1;
            return Ok(());
        }
        (found, _) => return Err(format!("parsed as {found:?}")),
    };
    let letters: String = versions
        .iter()
        .map(|version| letter(&constraint, version))
        .collect();
    if letters != answer.verdicts {
        return Err(format!("verdicts {letters}"));
    }
    letters.chars().for_each(|letter| tally.count(letter));
    let encoding = if *helm {
        TagEncoding::Helm
    } else {
        TagEncoding::Verbatim
    };
    let policy = SemverPolicy {
        constraint,
        filter: None,
        encoding,
    };
    choose(&policy, tags, &answer.best)?;
    tally.count_choice(answer.best.len());
    Ok(())
}

fn is_same_error(error: &ConstraintError, expected: &str) -> bool {
    expected.starts_with(match error {
        ConstraintError::TooLong { .. } => "constraint string is too long",
        ConstraintError::TooManyGroups { .. } => "too many constraint groups",
        ConstraintError::Improper { .. } => "improper constraint",
        ConstraintError::Version { .. } => "constraint parser error",
    })
}

/// In the letters of the oracle.
fn letter(constraint: &Constraint, text: &str) -> char {
    match Version::from_tag(text) {
        Ok(version) if constraint.matches(&version).is_ok() => 'y',
        Ok(_) => 'n',
        Err(VersionError::TooFewParts) if text.parse::<Version>().is_ok() => 's',
        Err(_) => 'u',
    }
}

/// Go knows which tags nothing exceeds; which of them wins is decided here, and must not depend on their order.
fn choose(policy: &SemverPolicy, tags: &[String], best: &[usize]) -> Result<(), String> {
    let forth = select(policy, tags.iter());
    let back = select(policy, tags.iter().rev());
    let chosen = forth.chosen.as_ref().map(wharf_oci::Tag::as_str);
    let is_best = match chosen {
        Some(chosen) => best.iter().any(|place| tags[*place] == chosen),
        None => best.is_empty(),
    };
    let ties = forth.rejected.count(Reason::TieLost);
    let lost: u64 = Reason::ALL
        .iter()
        .map(|reason| forth.rejected.count(*reason))
        .sum();
    let accounted = lost + u64::from(chosen.is_some()) == forth.considered;
    if is_best
        && accounted
        && forth.chosen == back.chosen
        && ties == best.len().saturating_sub(1) as u64
    {
        Ok(())
    } else {
        Err(format!("selected {forth:?}, and backwards {back:?}"))
    }
}

fn select<'t>(policy: &SemverPolicy, tags: impl Iterator<Item = &'t String>) -> Selection {
    let mut selector = Selector::new(policy, Verdicts::Examples);
    tags.for_each(|tag| selector.consider(tag));
    selector.finish()
}

impl Tally {
    fn count(&mut self, letter: char) {
        *match letter {
            'y' => &mut self.in_range,
            'n' => &mut self.not_in_range,
            's' => &mut self.too_short,
            _ => &mut self.no_versions,
        } += 1;
    }

    fn count_choice(&mut self, best: usize) {
        self.chosen += usize::from(best > 0);
        self.not_chosen += usize::from(best == 0);
        self.ties += usize::from(best > 1);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.refused += other.refused;
        self.in_range += other.in_range;
        self.not_in_range += other.not_in_range;
        self.no_versions += other.no_versions;
        self.too_short += other.too_short;
        self.chosen += other.chosen;
        self.not_chosen += other.not_chosen;
        self.ties += other.ties;
    }
}
