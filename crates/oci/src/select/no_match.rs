// SPDX-License-Identifier: Apache-2.0
//! The error of a choice without a winner: Flux's text, and behind it what was seen, so that the next step is clear.

use std::fmt;

use super::{Loss, Reason, Rejected, Verdict};

/// How much of a stranger's text is quoted, in characters.
const MAX_QUOTE: usize = 64;

/// No tag is in the range.
#[derive(Clone, Debug, thiserror::Error)]
pub struct NoMatch {
    /// The range, as it was written.
    pub range: String,
    /// The filter, as it was written.
    pub filter: Option<String>,
    /// How many tags were looked at.
    pub considered: u64,
    /// Why each was not taken.
    pub rejected: Box<Rejected>,
}

impl fmt::Display for NoMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no match found for semver: {}", self.range)?;
        if self.considered == 0 {
            return f.write_str("; the repository has no tags");
        }
        write!(f, "; tags seen: {}, of them", self.considered)?;
        let mut separator = " ";
        for reason in Reason::ALL {
            if self.rejected.count(reason) > 0 {
                f.write_str(separator)?;
                self.describe(reason, f)?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

impl NoMatch {
    fn describe(&self, reason: Reason, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.rejected.count(reason))?;
        match reason {
            Reason::NotATag => f.write_str("no valid tag")?,
            Reason::FilteredOut => {
                write!(
                    f,
                    "not matched by the filter {:?}",
                    self.filter.as_deref().unwrap_or_default()
                )?;
            }
            Reason::NotAVersion => f.write_str("no version of three parts")?,
            Reason::Prerelease => {
                f.write_str(
                    "pre-release, admitted only by a range that names one such as \">=1.0.0-0\"",
                )?;
            }
            Reason::Outside => f.write_str("outside the range")?,
            Reason::Lower | Reason::TieLost => f.write_str("beaten by another")?,
        }
        let mut separator = " (";
        for example in self.rejected.examples(reason) {
            f.write_str(separator)?;
            show(example, f)?;
            separator = ", ";
        }
        f.write_str(")")
    }
}

fn show(example: &Verdict, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let cut = example.tag.chars().take(MAX_QUOTE).collect::<String>();
    match &example.lost {
        Some(Loss::NotATag) => write!(f, "{cut:?}"),
        Some(Loss::Outside { side, comparator }) => write!(f, "{cut} is {side} {comparator}"),
        _ => f.write_str(&cut),
    }
}
