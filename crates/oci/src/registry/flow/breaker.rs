// SPDX-License-Identifier: Apache-2.0
//! The circuit breaker of one host: who does not answer is left alone for a while.
//!
//! Pure: what happened and when goes in, whether to ask comes out. After [`FAILURES`] failures in a row it opens, for a
//! time that grows with every failed probe and ends at [`LONGEST`]; then one request is let through, and its fate
//! decides. What counts as a failure is decided in `verdict`: never what the asker alone may have caused.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// Failures in a row that open it. Above what three attempts of one operation make, with a HEAD and a GET each.
pub(super) const FAILURES: u32 = 10;
/// How long it is open first; each failed probe doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// How long it is open at most, before jitter: a host that is back is asked again in less than 20 seconds.
const LONGEST: Duration = Duration::from_secs(15);

/// Why a request to a host counts as failed. Bounded, and the same whoever asked: one tenant reads it of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No address or no connection.
    Connect,
    /// The connection broke before there was an answer.
    Broken,
    /// No answer in time.
    Timeout,
    /// An answer with this status.
    Status(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Broken => f.write_str("a connection that broke"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Status(code) => write!(f, "status {code}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Closed,
    Open {
        until: Instant,
    },
    /// The time is over and the fate of a probe decides.
    Half,
}

/// The failures of one host.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    position: Position,
    in_a_row: u32,
    /// How often it opened without a full recovery in between.
    opened: u32,
    since: SystemTime,
    last: Failure,
}

/// That the host is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// For how much longer.
    pub(crate) left: Duration,
    /// When the first of the failures was seen.
    pub(crate) since: SystemTime,
    /// The last of them.
    pub(crate) last: Failure,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            position: Position::Closed,
            in_a_row: 0,
            opened: 0,
            since: SystemTime::UNIX_EPOCH,
            last: Failure::Connect,
        }
    }
}

impl Breaker {
    /// Whether the host is to be left alone at this time. It stays so until [`Self::try_half`].
    pub(super) fn outage(&self, now: Instant) -> Option<Outage> {
        match self.position {
            Position::Open { until } if until > now => Some(Outage {
                left: until - now,
                since: self.since,
                last: self.last,
            }),
            _ => None,
        }
    }

    /// Passes to probing if the time is over; says whether it did.
    pub(super) fn try_half(&mut self, now: Instant) -> bool {
        let is_over = matches!(self.position, Position::Open { until } if until <= now);
        if is_over {
            self.position = Position::Half;
        }
        is_over
    }

    /// Whether it waits for the fate of a probe.
    pub(super) fn is_half(&self) -> bool {
        self.position == Position::Half
    }

    /// A request was answered.
    pub(super) fn succeeded(&mut self) {
        self.in_a_row = 0;
        self.position = Position::Closed;
    }

    /// As many requests are let through again as ever: the next outage is a new one.
    pub(super) fn recovered(&mut self) {
        self.opened = 0;
    }

    /// A request failed; says whether the breaker opened by it. `random` is in 0..1 and spreads the time by a quarter in
    /// both directions.
    pub(super) fn failed(
        &mut self,
        failure: Failure,
        now: Instant,
        wall: SystemTime,
        random: f64,
    ) -> bool {
        if self.in_a_row == 0 {
            self.since = wall;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = failure;
        let opens = match self.position {
            Position::Closed => self.in_a_row >= FAILURES,
            Position::Half => true,
            Position::Open { .. } => false,
        };
        if opens {
            let pause = FIRST.saturating_mul(1 << self.opened.min(16)).min(LONGEST);
            let until = now + pause.mul_f64(0.75 + random / 2.0);
            self.opened += 1;
            self.position = Position::Open { until };
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: SystemTime = SystemTime::UNIX_EPOCH;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for n in 1..=FAILURES {
            let opens = breaker.failed(Failure::Status(503), now, WALL, 0.5);
            assert_eq!(opens, n == FAILURES);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            for _ in 1..FAILURES {
                assert!(!breaker.failed(Failure::Connect, now, WALL, 0.5));
            }
            breaker.succeeded();
        }
        assert_eq!(breaker.outage(now), None);
        let outage = opened(now).outage(now).unwrap();
        assert_eq!(outage.last, Failure::Status(503));
        assert_eq!(outage.left, Duration::from_secs(1));
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_up_to_a_bound() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut times = Vec::new();
        for _ in 0..40 {
            let left = breaker.outage(now).unwrap().left;
            times.push(left.as_secs());
            assert!(!breaker.try_half(now));
            now += left;
            assert!(breaker.try_half(now) && breaker.is_half());
            assert!(breaker.failed(Failure::Timeout, now, WALL, 0.5));
        }
        assert_eq!(times[..6], [1, 2, 4, 8, 15, 15]);
        assert_eq!(times[39], 15);
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_a_recovery_forgets() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + Duration::from_secs(2);
        assert!(breaker.try_half(later));
        breaker.succeeded();
        assert!(!breaker.is_half());
        assert_eq!(breaker.outage(later), None);
        for _ in 0..FAILURES {
            breaker.failed(Failure::Connect, later, WALL, 0.5);
        }
        assert_eq!(breaker.outage(later).unwrap().left, Duration::from_secs(2));
        assert!(breaker.try_half(later + Duration::from_secs(2)));
        breaker.succeeded();
        breaker.recovered();
        for _ in 0..FAILURES {
            breaker.failed(Failure::Connect, later, WALL, 0.5);
        }
        assert_eq!(breaker.outage(later).unwrap().left, Duration::from_secs(1));
    }

    #[test]
    fn the_time_is_spread() {
        let now = Instant::now();
        for (random, millis) in [(0.0, 750), (0.5, 1000), (1.0, 1250)] {
            let mut breaker = Breaker::default();
            for _ in 0..FAILURES {
                breaker.failed(Failure::Connect, now, WALL, random);
            }
            let left = breaker.outage(now).unwrap().left;
            assert_eq!(left, Duration::from_millis(millis));
        }
    }
}
