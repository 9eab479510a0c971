// SPDX-License-Identifier: Apache-2.0
//! A bucket of tokens: so many at once, and so many more as time goes by.
//!
//! Pure: the time is an argument. Used for the rate that is set for a host and for the budget of its retries.

use std::time::Duration;

use tokio::time::Instant;

/// As good as never, and arithmetic stays safe.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Tokens that are taken by those who act and come back with time, never more than the capacity.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    capacity: f64,
    tokens: f64,
    per_second: f64,
    looked: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn full(capacity: u32, per_second: f64, now: Instant) -> Self {
        let capacity = f64::from(capacity);
        Self {
            capacity,
            tokens: capacity,
            per_second,
            looked: now,
        }
    }

    /// Takes a token, or says how long it is until there is one, [`LONGEST`] at most.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - self.tokens) / self.per_second;
        // Rounded up, so that the token is there when the time has passed.
        let wait = Duration::try_from_secs_f64(missing).unwrap_or(LONGEST);
        Err((wait + Duration::from_millis(1)).min(LONGEST))
    }

    /// Puts something into the bucket beside what comes with time.
    pub(super) fn earn(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.capacity);
    }

    /// Whole tokens that are there.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between zero and a capacity that is an u32"
    )]
    pub(super) fn left(&self, now: Instant) -> u32 {
        self.refilled(now).tokens as u32
    }

    /// Whether all is there that it can hold.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.refilled(now).tokens >= self.capacity
    }

    fn refilled(&self, now: Instant) -> Self {
        let mut copy = self.clone();
        copy.refill(now);
        copy
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        self.looked = self.looked.max(now);
        self.earn(passed * self.per_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_what_comes() {
        let start = Instant::now();
        let mut bucket = Bucket::full(2, 0.5, start);
        assert!(bucket.take(start).is_ok() && bucket.take(start).is_ok());
        let wait = bucket.take(start).unwrap_err();
        assert!(wait > Duration::from_secs(2) && wait < Duration::from_millis(2010));
        assert!(bucket.take(start + Duration::from_secs(1)).is_err());
        assert!(bucket.take(start + wait).is_ok());
        assert!(bucket.take(start + wait).is_err());
    }

    #[test]
    fn a_bucket_never_holds_more_than_its_capacity() {
        let start = Instant::now();
        let mut bucket = Bucket::full(3, 10.0, start);
        bucket.earn(1e300);
        let later = start + Duration::from_secs(1_000_000);
        assert_eq!(bucket.left(later), 3);
        for _ in 0..3 {
            bucket.take(later).unwrap();
        }
        assert_eq!(bucket.left(later), 0);
        bucket.earn(1.5);
        assert_eq!(bucket.left(later), 1);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(100);
        let mut bucket = Bucket::full(1, 1.0, start);
        bucket.take(start).unwrap();
        assert!(bucket.take(start - Duration::from_secs(50)).is_err());
        assert!(bucket.take(start).is_err());
    }
}
