// SPDX-License-Identifier: Apache-2.0
//! The choice itself: tags one by one, in any order and in pages of any size.
//!
//! Enters as text from a registry's list; leaves as a [`Selection`]. Kept is the best tag so far and a few examples, so
//! the memory does not grow with the number of tags, and the result does not depend on their order.

use super::{
    Loss, SemverPolicy, Verdict,
    policy::{Candidate, Judged},
    selection::{Rejected, Selection},
};

/// How much is kept of what became of the tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdicts {
    /// Counts and a few examples: bounded memory.
    #[default]
    Examples,
    /// Every one, which takes memory for every tag.
    All,
}

/// Chooses among tags as they come.
#[derive(Debug)]
pub struct Selector<'p> {
    policy: &'p SemverPolicy,
    best: Option<Best>,
    considered: u64,
    rejected: Rejected,
    /// `None` unless all are kept. Until the end, whatever is in the range counts as won.
    verdicts: Option<Vec<Verdict>>,
}

#[derive(Debug)]
struct Best {
    candidate: Candidate,
    /// How many tags came before it.
    at: u64,
}

impl<'p> Selector<'p> {
    /// A selector that has seen no tag.
    pub fn new(policy: &'p SemverPolicy, verdicts: Verdicts) -> Self {
        Self {
            policy,
            best: None,
            considered: 0,
            rejected: Rejected::default(),
            verdicts: (verdicts == Verdicts::All).then(Vec::new),
        }
    }

    /// Looks at one tag. Any text may be given: what is no tag is counted as that.
    pub fn consider(&mut self, text: &str) {
        let lost = match self.policy.judge(text) {
            Judged::Candidate(candidate) => {
                self.compete(candidate);
                None
            }
            Judged::Refused(version, loss) => Some((Some(version), loss)),
            Judged::Unranked(loss) => Some((None, loss)),
        };
        if let Some(verdicts) = &mut self.verdicts {
            let why = lost.as_ref().map(|(_, loss)| loss.clone());
            verdicts.push(Verdict::new(text, why));
        }
        if let Some((version, loss)) = lost {
            self.rejected.add(text, version, loss);
        }
        self.considered += 1;
    }

    /// The result.
    pub fn finish(mut self) -> Selection {
        let verdicts = self.verdicts.take().unwrap_or_default();
        let verdicts = (0..)
            .zip(verdicts)
            .map(|(at, verdict)| self.settle(at, verdict));
        Selection {
            verdicts: verdicts.collect(),
            chosen: self.best.map(|best| best.candidate.tag),
            considered: self.considered,
            rejected: self.rejected,
        }
    }

    fn compete(&mut self, candidate: Candidate) {
        let at = self.considered;
        let Some(best) = self.best.take() else {
            self.best = Some(Best { candidate, at });
            return;
        };
        let precedence = candidate.version.cmp_precedence(&best.candidate.version);
        let (winner, loser) = if candidate.cmp_rank(&best.candidate).is_gt() {
            (Best { candidate, at }, best.candidate)
        } else {
            (best, candidate)
        };
        if precedence.is_gt() {
            self.rejected.lower_the_ties();
        }
        let loss = if precedence.is_eq() {
            Loss::TieLost
        } else {
            Loss::Lower
        };
        self.rejected
            .add(loser.tag.as_str(), Some(loser.version), loss);
        self.best = Some(winner);
    }

    /// The verdict now that the winner is known.
    fn settle(&self, at: u64, mut verdict: Verdict) -> Verdict {
        let Some(best) = self.best.as_ref().filter(|best| best.at != at) else {
            return verdict;
        };
        if verdict.lost.is_none() {
            let precedence = self
                .policy
                .version(&verdict.tag)
                .map(|version| version.cmp_precedence(&best.candidate.version));
            let is_tie = precedence.is_ok_and(std::cmp::Ordering::is_eq);
            verdict.lost = Some(if is_tie { Loss::TieLost } else { Loss::Lower });
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
