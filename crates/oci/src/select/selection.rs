// SPDX-License-Identifier: Apache-2.0
//! What came of a choice: the tag that won, and why the others lost, as data.
//!
//! Filled by the selector; read by whoever reports, explains or shows it. Its size does not depend on how many tags were
//! seen, unless every verdict was asked for.

use std::{fmt, sync::Arc};

use super::{NoMatch, SemverPolicy, Version, VersionError, constraint::Side};
use crate::Tag;

/// How many examples are kept of each reason.
const EXAMPLES: usize = 3;
/// How much is kept of a text, in bytes: all that can be of a tag.
const MAX_TEXT: usize = 128;

/// Why a tag did not win, without details: what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It is no tag by the distribution specification and cannot be pulled.
    NotATag,
    /// The filter does not match it.
    FilteredOut,
    /// It is not a version.
    NotAVersion,
    /// It is a pre-release, and the range names none.
    Prerelease,
    /// It is not in the range.
    Outside,
    /// Another is higher.
    Lower,
    /// It has the precedence of the winner, and build metadata or spelling decided; or it is the winner, listed again.
    TieLost,
}

/// Why a tag did not win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is no tag by the distribution specification and cannot be pulled.
    NotATag,
    /// The filter does not match it.
    FilteredOut,
    /// It is not a version.
    NotAVersion(VersionError),
    /// It is a pre-release, and the range names none.
    Prerelease,
    /// It is not in the range.
    Outside {
        /// On which side of the comparator it lies.
        side: Side,
        /// The comparator that refuses it, as it was written.
        comparator: Arc<str>,
    },
    /// Another is higher.
    Lower,
    /// It has the precedence of the winner, and build metadata or spelling decided; or it is the winner, listed again.
    TieLost,
}

/// What became of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The tag; of what is no tag, the first 128 bytes.
    pub tag: Box<str>,
    /// Why it did not win; `None` if it did.
    pub lost: Option<Loss>,
}

/// The tags that did not win: how many for which reason, with some examples.
#[derive(Clone, Debug, Default)]
pub struct Rejected {
    tallies: [Tally; Reason::ALL.len()],
}

#[derive(Clone, Debug, Default)]
struct Tally {
    count: u64,
    /// The highest first; what has no version in the order in which it came.
    examples: Vec<(Option<Version>, Verdict)>,
}

/// What came of a choice.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The tag that won, as the registry has it.
    pub chosen: Option<Tag>,
    /// How many tags were looked at, the winner among them.
    pub considered: u64,
    /// Those that did not win.
    pub rejected: Rejected,
    /// What became of each tag, in the order in which they came; empty unless it was asked for.
    pub verdicts: Vec<Verdict>,
}

impl Reason {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [Self; 7] = [
        Self::NotATag,
        Self::FilteredOut,
        Self::NotAVersion,
        Self::Prerelease,
        Self::Outside,
        Self::Lower,
        Self::TieLost,
    ];
}

impl Loss {
    /// The reason without its details.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotATag => Reason::NotATag,
            Self::FilteredOut => Reason::FilteredOut,
            Self::NotAVersion(_) => Reason::NotAVersion,
            Self::Prerelease => Reason::Prerelease,
            Self::Outside { .. } => Reason::Outside,
            Self::Lower => Reason::Lower,
            Self::TieLost => Reason::TieLost,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATag => f.write_str("not a tag"),
            Self::FilteredOut => f.write_str("filtered out"),
            Self::NotAVersion(error) => write!(f, "not a version: {error}"),
            Self::Prerelease => f.write_str("a pre-release, and the range names none"),
            Self::Outside { side, comparator } => write!(f, "{side} {comparator}"),
            Self::Lower => f.write_str("lower than the winner"),
            Self::TieLost => f.write_str("equal to the winner but for build metadata or spelling"),
        }
    }
}

impl Verdict {
    pub(super) fn new(text: &str, lost: Option<Loss>) -> Self {
        let end = text.floor_char_boundary(MAX_TEXT);
        Self {
            tag: text[..end].into(),
            lost,
        }
    }
}

impl Rejected {
    /// How many tags did not win for this reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.tallies[reason as usize].count
    }

    /// Up to three of them: the highest, or where they have no version, the first that came.
    pub fn examples(&self, reason: Reason) -> impl Iterator<Item = &Verdict> {
        let examples = self.tallies[reason as usize].examples.iter();
        examples.map(|(_, verdict)| verdict)
    }

    pub(super) fn add(&mut self, text: &str, version: Option<Version>, loss: Loss) {
        let tally = &mut self.tallies[loss.reason() as usize];
        tally.count += 1;
        if let Some(place) = tally.place(version.as_ref()) {
            tally.keep(place, version, Verdict::new(text, Some(loss)));
        }
    }

    /// What tied with one that is not the highest any more is just lower now.
    pub(super) fn lower_the_ties(&mut self) {
        let ties = std::mem::take(&mut self.tallies[Reason::TieLost as usize]);
        let lower = &mut self.tallies[Reason::Lower as usize];
        lower.count += ties.count;
        for (version, verdict) in ties.examples {
            if let Some(place) = lower.place(version.as_ref()) {
                lower.keep(
                    place,
                    version,
                    Verdict::new(&verdict.tag, Some(Loss::Lower)),
                );
            }
        }
    }
}

impl Tally {
    /// Where an example belongs, if there is a place for it.
    fn place(&self, version: Option<&Version>) -> Option<usize> {
        let ranks_above = |other: &Option<Version>| match (version, other) {
            (Some(version), Some(other)) => version.cmp_precedence(other).is_gt(),
            _ => false,
        };
        let place = self
            .examples
            .iter()
            .position(|(other, _)| ranks_above(other));
        let place = place.unwrap_or(self.examples.len());
        (place < EXAMPLES).then_some(place)
    }

    fn keep(&mut self, place: usize, version: Option<Version>, verdict: Verdict) {
        self.examples.insert(place, (version, verdict));
        self.examples.truncate(EXAMPLES);
    }
}

impl Selection {
    /// The tag that won, or an error that says what was seen instead. The policy is the one that was selected by.
    pub fn choice(&self, policy: &SemverPolicy) -> Result<Tag, NoMatch> {
        self.chosen.clone().ok_or_else(|| NoMatch {
            range: policy.constraint.to_string(),
            filter: policy.filter.as_ref().map(ToString::to_string),
            considered: self.considered,
            rejected: Box::new(self.rejected.clone()),
        })
    }
}
