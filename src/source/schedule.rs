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

    /// The next run after `failures` failures in a row (at least 1). A wait that the registry asked for is honoured, but
    /// never beyond the longest wait.
    pub fn after_failure(&self, failures: u32, asked: Option<Duration>) -> Next {
        let doublings = failures.saturating_sub(1).min(30);
        let wait = self.min_retry.saturating_mul(1 << doublings);
        Next::After(wait.max(asked.unwrap_or_default()).min(self.max_retry))
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

    #[test]
    fn failures_double_the_wait_up_to_the_longest() {
        let policy = Policy::default();
        assert_eq!(
            policy.after_failure(1, None),
            Next::After(Duration::from_millis(750))
        );
        assert_eq!(
            policy.after_failure(3, None),
            Next::After(Duration::from_secs(3))
        );
        assert_eq!(
            policy.after_failure(u32::MAX, None),
            Next::After(policy.max_retry)
        );
    }

    #[test]
    fn a_wait_that_was_asked_for_is_honoured_within_bounds() {
        let policy = Policy::default();
        assert_eq!(policy.after_failure(1, Some(MINUTE)), Next::After(MINUTE));
        assert_eq!(
            policy.after_failure(1, Some(Duration::MAX)),
            Next::After(policy.max_retry)
        );
    }
}
