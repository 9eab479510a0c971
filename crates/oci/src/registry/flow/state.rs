// SPDX-License-Identifier: Apache-2.0
//! All that is known of one host, and the decision whether it may be asked now.
//!
//! Pure: the time is an argument, waiting and waking is `gate`'s business. A request enters ([`State::enter`]), is settled
//! when there is an answer or none ([`State::settle`]), and is released when its body has been read
//! ([`State::release`]).
//!
//! After a closed window or an outage the host is not asked by everybody at once: one request may wait for an answer,
//! and each answer lets one more in, so that their number doubles with every round trip. Requests belong to the epoch in
//! which they were let in; what comes of those from before the last closing neither opens nor closes anything again,
//! except that a host may always ask for more patience.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    breaker::{Breaker, Outage},
    bucket::Bucket,
    refusal::Refusal,
    verdict::{Outcome, Verdict},
    wishes::RateLimit,
};
use crate::registry::hosts::HostLimits;

/// Requests at the same time, unless something else is set: enough that the latency of a far registry does not slow a
/// controller, few enough that no registry takes it for an attack.
const CONCURRENCY: u32 = 32;
/// The longest time for which a host is closed for everybody because of what it said to one of us. The one who was told
/// a longer time keeps to it.
pub(super) const LONGEST_WINDOW: Duration = Duration::from_secs(300);
/// Retries that are there from the start, and the most that can be saved up.
const RETRIES: u32 = 20;
/// Retries that come with time, and with each answer.
const RETRIES_PER_SECOND: f64 = 1.0;
const RETRIES_PER_ANSWER: f64 = 0.2;

/// Now, by both clocks, with a random number in 0..1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
    pub(super) random: f64,
}

/// How long a request waits for its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a time that is known beforehand. Who would have to wait longer is refused at once.
    pub(crate) known: Duration,
    /// In all.
    pub(crate) total: Duration,
}

impl Patience {
    /// What is left of it when some time has passed.
    pub(super) fn after(self, passed: Duration) -> Self {
        Self {
            total: self.total.saturating_sub(passed),
            ..self
        }
    }

    fn latest(self, now: Instant, came: Instant) -> Instant {
        (now + self.known).min(came + self.total)
    }
}

/// Whether a request may be sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Go(Pass),
    /// Not yet: until then, or else until something changes.
    Wait(Option<Instant>),
    Refused(Refusal),
}

/// A request that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    epoch: u64,
}

/// What changed by an event that is worth counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) closed: bool,
    pub(super) broke: bool,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    until: Instant,
    status: u16,
    at: SystemTime,
}

/// All that is known of one host.
#[derive(Clone, Debug)]
pub(super) struct State {
    concurrency: u32,
    rate: Option<Bucket>,
    in_flight: u32,
    epoch: u64,
    /// Requests of this epoch without an answer so far.
    asking: u32,
    /// How many there may be.
    ramp: u32,
    window: Option<Window>,
    breaker: Breaker,
    retries: Bucket,
    rate_limit: Option<RateLimit>,
}

impl State {
    pub(super) fn new(limits: HostLimits, now: Instant) -> Self {
        let concurrency = limits.concurrency.map_or(CONCURRENCY, Into::into);
        let rate = limits.rate.filter(|rate| !rate.per.is_zero()).map(|rate| {
            let requests = rate.requests.get();
            Bucket::full(requests, f64::from(requests) / rate.per.as_secs_f64(), now)
        });
        Self {
            concurrency,
            rate,
            in_flight: 0,
            epoch: 0,
            asking: 0,
            ramp: concurrency,
            window: None,
            breaker: Breaker::default(),
            retries: Bucket::full(RETRIES, RETRIES_PER_SECOND, now),
            rate_limit: None,
        }
    }

    /// Whether a request that came at `came` may be sent now.
    pub(super) fn enter(&mut self, now: Instant, came: Instant, patience: Patience) -> Entry {
        if let Some(outage) = self.breaker.outage(now) {
            return Entry::Refused(Refusal::Broken(outage));
        }
        if let Some(window) = self.open_window(now) {
            let left = window.until - now;
            let refusal = Refusal::Closed {
                left,
                status: window.status,
                at: window.at,
            };
            return wait_for(window.until, patience.latest(now, came), refusal);
        }
        if self.breaker.try_half(now) {
            self.start_over();
        }
        if self.in_flight >= self.concurrency || self.asking >= self.ramp {
            let after = now.saturating_duration_since(came);
            let refusal = Refusal::Busy {
                under_way: self.in_flight,
                after,
            };
            return if after < patience.total {
                Entry::Wait(None)
            } else {
                Entry::Refused(refusal)
            };
        }
        if let Some(Err(left)) = self.rate.as_mut().map(|rate| rate.take(now)) {
            let latest = patience.latest(now, came);
            return wait_for(now + left, latest, Refusal::Rate { left });
        }
        self.in_flight += 1;
        self.asking += 1;
        Entry::Go(Pass { epoch: self.epoch })
    }

    /// A request was answered, or was not.
    pub(super) fn settle(&mut self, pass: Pass, verdict: Verdict, moment: Moment) -> Changes {
        let mut changes = Changes::default();
        let is_current = self.answered(pass);
        self.rate_limit = verdict.rate_limit.or(self.rate_limit);
        match verdict.outcome {
            Outcome::Answered => {
                self.retries.earn(RETRIES_PER_ANSWER);
                if is_current {
                    self.breaker.succeeded();
                    self.let_one_more_in();
                }
            }
            Outcome::Limited if is_current => {
                self.breaker.succeeded();
                self.start_over();
            }
            Outcome::Failed(failure) if is_current => {
                let Moment { now, wall, random } = moment;
                changes.broke = self.breaker.failed(failure, now, wall, random);
                if changes.broke {
                    self.start_over();
                }
            }
            _ => {}
        }
        if let Some((wait, status)) = verdict.wish {
            changes.closed = self.close(wait, status, moment);
        }
        changes
    }

    /// A request was given up before it had an answer.
    pub(super) fn abandon(&mut self, pass: Pass) {
        self.answered(pass);
    }

    /// The body of an answer was read or thrown away, or there was none.
    pub(super) fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Whether an operation that failed may be tried again.
    pub(super) fn may_retry(&mut self, now: Instant) -> bool {
        self.retries.take(now).is_ok()
    }

    /// Whether there is something to remember: a window, an outage, a request under way, or that something of the rate or
    /// of the retries is used up.
    pub(super) fn matters(&self, now: Instant) -> bool {
        self.in_flight > 0
            || !self.retries.is_full(now)
            || self.rate.as_ref().is_some_and(|rate| !rate.is_full(now))
            || self.closed_for(now).is_some()
            || self.outage(now).is_some()
            || self.breaker.is_half()
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn closed_for(&self, now: Instant) -> Option<Duration> {
        let window = self.window.filter(|window| window.until > now)?;
        Some(window.until - now)
    }

    pub(super) fn outage(&self, now: Instant) -> Option<Outage> {
        self.breaker.outage(now)
    }

    pub(super) fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    pub(super) fn retries_left(&self, now: Instant) -> u32 {
        self.retries.left(now)
    }

    fn open_window(&mut self, now: Instant) -> Option<Window> {
        self.window = self.window.filter(|window| window.until > now);
        self.window
    }

    /// Whether the request is of this epoch.
    fn answered(&mut self, pass: Pass) -> bool {
        let is_current = pass.epoch == self.epoch;
        if is_current {
            self.asking = self.asking.saturating_sub(1);
        }
        is_current
    }

    fn let_one_more_in(&mut self) {
        self.ramp = self.ramp.saturating_add(1).min(self.concurrency);
        if self.ramp == self.concurrency {
            self.breaker.recovered();
        }
    }

    fn start_over(&mut self) {
        self.epoch += 1;
        self.asking = 0;
        self.ramp = 1;
    }

    /// Closes the host for a bounded time, or for longer than it is closed. Up to a tenth is added, so that not all the
    /// processes that were told the same come back at the same moment.
    fn close(&mut self, wait: Duration, status: u16, moment: Moment) -> bool {
        let Moment { now, wall, random } = moment;
        let wait = wait.min(LONGEST_WINDOW);
        let until = now + wait + wait.mul_f64(random / 10.0).min(Duration::from_secs(1));
        let was_open = self.open_window(now).is_none();
        if self.window.is_none_or(|window| window.until < until) {
            self.window = Some(Window {
                until,
                status,
                at: wall,
            });
        }
        self.start_over();
        was_open
    }
}

fn wait_for(until: Instant, latest: Instant, refusal: Refusal) -> Entry {
    if until <= latest {
        Entry::Wait(Some(until))
    } else {
        Entry::Refused(refusal)
    }
}
