// SPDX-License-Identifier: Apache-2.0
//! When a source runs next: interval with jitter after success, back-off after failure.
//!
//! Enters as durations, a failure count and one random number; leaves as a [`Next`]. Source: the contract, "Retry,
//! backoff, interval".

use std::time::Duration;

/// When the object is looked at again without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After this long.
    After(Duration),
    /// Only when it changes or is requested.
    Never,
}

/// What a failed run says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// It failed.
    Failed,
    /// It failed, and the other side asked for a wait this long.
    Asked(Duration),
    /// The host is not asked for this long, whoever wants to: it asked for that, or does not work. This run cost it
    /// nothing, or was the one that was to find out.
    HeldBack(Duration),
}

impl Setback {
    /// The failures in a row after this one. A run that was held back is none: it would make the source wait the longer
    /// the longer an outage lasts, and go on waiting when it is over.
    pub fn failures(self, before: u32) -> u32 {
        match self {
            Self::Failed | Self::Asked(_) => before.saturating_add(1),
            Self::HeldBack(_) => before,
        }
    }
}

/// The least wait of a source whose host is not asked.
const LEAST_HELD: Duration = Duration::from_secs(1);
/// How far apart sources at most come back to a host that they were held back from. With the longest time for which the
/// registry client leaves a host alone, this is how soon after an outage all of its sources are looked at.
const HELD_SPREAD: Duration = Duration::from_secs(15);

/// How long to wait after failures and how far intervals are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The wait after the first failure. Doubles with each further one.
    pub min_retry: Duration,
    /// The longest wait after failures.
    pub max_retry: Duration,
    /// How far an interval may be shortened or stretched, in percent (0 to 99).
    pub jitter_percent: u8,
}

impl Default for Policy {
    /// Flux's defaults: 750 ms, 15 minutes, 5 %.
    fn default() -> Self {
        Self {
            min_retry: Duration::from_millis(750),
            max_retry: Duration::from_secs(900),
            jitter_percent: 5,
        }
    }
}

impl Policy {
    /// The next run after a success. `random` is uniform in `0.0..1.0`.
    pub fn after_success(&self, interval: Duration, random: f64) -> Next {
        if interval.is_zero() {
            return Next::Never;
        }
        let spread = f64::from(self.jitter_percent) / 100.0;
        Next::After(interval.mul_f64(1.0 + spread * (2.0 * random - 1.0)))
    }

    /// The next run after one that failed, where `failures` is the number of those in a row ([`Setback::failures`]; 0
    /// counts as 1). A wait that was asked for is honoured, but never beyond the longest wait. What is held back runs
    /// when the host is asked again, spread so that not all come at once. `random` is uniform in `0.0..1.0`.
    pub fn after_failure(&self, failures: u32, setback: Setback, random: f64) -> Next {
        let wait = match setback {
            Setback::Failed => self.back_off(failures),
            Setback::Asked(asked) => self.back_off(failures).max(asked),
            Setback::HeldBack(left) => {
                let least = left.max(LEAST_HELD);
                least.saturating_add(least.min(HELD_SPREAD).mul_f64(random))
            }
        };
        Next::After(wait.min(self.max_retry))
    }

    fn back_off(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.min_retry.saturating_mul(1 << doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_interval_is_spread_by_at_most_the_jitter() {
        let policy = Policy::default();
        assert_eq!(
            policy.after_success(MINUTE, 0.0),
            Next::After(Duration::from_secs(57))
        );
        assert_eq!(policy.after_success(MINUTE, 0.5), Next::After(MINUTE));
        assert_eq!(policy.after_success(Duration::ZERO, 0.5), Next::Never);
    }

    fn failed(failures: u32, setback: Setback) -> Next {
        Policy::default().after_failure(failures, setback, 0.5)
    }

    #[test]
    fn failures_double_the_wait_up_to_the_longest() {
        for (failures, millis) in [(0, 750), (1, 750), (3, 3000), (11, 768_000), (12, 900_000)] {
            let wait = Next::After(Duration::from_millis(millis));
            assert_eq!(failed(failures, Setback::Failed), wait);
        }
        let longest = Next::After(Policy::default().max_retry);
        assert_eq!(failed(u32::MAX, Setback::Failed), longest);
        assert_eq!(Setback::Failed.failures(u32::MAX), u32::MAX);
    }

    #[test]
    fn a_wait_that_was_asked_for_is_honoured_within_bounds() {
        let longest = Next::After(Policy::default().max_retry);
        assert_eq!(failed(1, Setback::Asked(MINUTE)), Next::After(MINUTE));
        assert_eq!(
            failed(9, Setback::Asked(MINUTE)),
            failed(9, Setback::Failed)
        );
        assert_eq!(failed(1, Setback::Asked(Duration::MAX)), longest);
        assert_eq!(Setback::Asked(MINUTE).failures(1), 2);
    }

    #[test]
    fn what_is_held_back_comes_back_soon_however_often_it_was() {
        let held = |millis, random| {
            let setback = Setback::HeldBack(Duration::from_millis(millis));
            Policy::default().after_failure(u32::MAX, setback, random)
        };
        for (left, random, wait) in [
            (0, 0.0, 1000),
            (0, 0.5, 1500),
            (4000, 0.5, 6000),
            (15_000, 0.0, 15_000),
            (15_000, 0.5, 22_500),
            (300_000, 0.5, 307_500),
            (u64::MAX, 0.5, 900_000),
        ] {
            assert_eq!(held(left, random), Next::After(Duration::from_millis(wait)));
        }
        assert_eq!(Setback::HeldBack(MINUTE).failures(7), 7);
        let huge = Setback::HeldBack(Duration::MAX);
        assert_eq!(failed(1, huge), Next::After(Policy::default().max_retry));
    }

    /// The longest that the registry client leaves a host alone: 15 seconds, spread by a quarter.
    const LONGEST_OUTAGE: Duration = Duration::from_millis(18_750);

    #[test]
    fn an_outage_of_a_day_delays_nobody_by_more_than_a_minute_after_it() {
        let policy = Policy::default();
        let day = MINUTE * 60 * 24;
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut now, mut failures) = (Duration::ZERO, 3);
            while now < day {
                let left = LONGEST_OUTAGE.mul_f64(random.f64());
                let setback = Setback::HeldBack(left);
                failures = setback.failures(failures);
                let Next::After(wait) = policy.after_failure(failures, setback, random.f64())
                else {
                    panic!("it does not come back");
                };
                now += wait;
            }
            assert!(now < day + MINUTE, "{now:?}");
        }
    }
}
