// SPDX-License-Identifier: Apache-2.0
//! The gate before one host: waiting for a turn, in the order of arrival.
//!
//! Of those who wait, the first looks at the [`State`] and the others stand behind it, so that nobody is overtaken; what
//! the state refuses it refuses to all of them one after the other, at once. A [`Ticket`] stands for a request that was
//! let in: however it ends, also by being dropped, its place is free again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::SystemTime,
};

use http::Response;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    refusal::Refusal,
    state::{Changes, Entry, Moment, Pass, Patience, State},
    stats::{Counts, HostStatus},
    verdict::Verdict,
    way::Key,
};
use crate::registry::{hosts::HostLimits, origin::Origin, problem::Problem};

/// The gate before one host.
#[derive(Debug)]
pub(crate) struct Gate {
    key: Key,
    state: Mutex<State>,
    /// Held by the first of those who wait. Given on in the order of arrival.
    turn: tokio::sync::Mutex<()>,
    /// Wakes the first.
    changed: Notify,
    waiting: AtomicU32,
    counts: Arc<Counts>,
}

impl Gate {
    pub(super) fn new(key: Key, limits: HostLimits, counts: Arc<Counts>) -> Self {
        Self {
            key,
            state: Mutex::new(State::new(limits, Instant::now())),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            waiting: AtomicU32::new(0),
            counts,
        }
    }

    /// Waits until a request may be sent.
    pub(crate) async fn enter(self: &Arc<Self>, patience: Patience) -> Result<Ticket, Problem> {
        let came = Instant::now();
        let entered = self.wait(came, patience).await;
        let took = came.elapsed();
        entered
            .map(|(pass, has_waited)| {
                if has_waited {
                    self.counts.waited(took);
                }
                Ticket::new(self, pass)
            })
            .map_err(|refusal| {
                self.counts.refused(&refusal);
                Problem::NotAsked {
                    host: self.origin().clone(),
                    refusal,
                }
            })
    }

    /// Gives the pass, and whether it had to be waited for.
    async fn wait(&self, came: Instant, patience: Patience) -> Result<(Pass, bool), Refusal> {
        let _waiting = Waiting::new(&self.waiting);
        let end = came + patience.total;
        let (turn, mut has_waited) = match self.turn.try_lock() {
            Ok(turn) => (Ok(turn), false),
            Err(_) => (timeout_at(end, self.turn.lock()).await, true),
        };
        if turn.is_err() {
            return Err(Refusal::Busy {
                under_way: self.with(|state| state.in_flight()),
                after: came.elapsed(),
            });
        }
        loop {
            match self.with(|state| state.enter(Instant::now(), came, patience)) {
                Entry::Go(pass) => return Ok((pass, has_waited)),
                Entry::Refused(refusal) => return Err(refusal),
                Entry::Wait(until) => {
                    has_waited = true;
                    let until = until.unwrap_or(end).min(end);
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Whether an operation that failed may be tried again.
    pub(super) fn may_retry(&self) -> bool {
        self.with(|state| state.may_retry(Instant::now()))
    }

    pub(super) fn matters(&self, now: Instant) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || self.with(|state| state.matters(now))
    }

    pub(super) fn status(&self, now: Instant) -> HostStatus {
        self.with(|state| HostStatus {
            host: self.origin().to_string(),
            led_by: self.key.led_by.as_ref().map(|by| by.origin.to_string()),
            is_through_proxy: self.key.to.is_through_proxy(),
            in_flight: state.in_flight(),
            waiting: self.waiting.load(Ordering::Relaxed),
            closed_for: state.closed_for(now),
            broken_for: state.outage(now).map(|outage| outage.left),
            retries_left: state.retries_left(now),
            rate_limit: state.rate_limit(),
        })
    }

    fn origin(&self) -> &Origin {
        &self.key.to.origin
    }

    fn settle(&self, pass: Pass, verdict: Verdict, wall: SystemTime) {
        let moment = Moment {
            now: Instant::now(),
            wall,
            random: fastrand::f64(),
        };
        let changes = self.with(|state| state.settle(pass, verdict, moment));
        self.changed.notify_one();
        self.tell(changes, verdict);
    }

    fn tell(&self, changes: Changes, verdict: Verdict) {
        if changes.broke {
            self.counts.broke();
            tracing::warn!(host = %self.origin(), outcome = ?verdict.outcome, "too many failures in a row: the host is not asked for a while");
        }
        if changes.closed {
            self.counts.closed();
            tracing::info!(host = %self.origin(), wish = ?verdict.wish, "the host asked for no more requests for a while");
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that was let in and has no answer yet. Dropping it says nothing about the host.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    /// Both are there until it is settled.
    open: Option<(Pass, Place)>,
    /// At the host's own gate, for who was led to the host and passed another gate first.
    beside: Option<Box<Self>>,
}

/// A place among the requests under way, or one at each of two gates, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _place: Place,
    _beside: Option<Place>,
}

#[derive(Debug)]
struct Place(Arc<Gate>);

impl Ticket {
    fn new(gate: &Arc<Gate>, pass: Pass) -> Self {
        Self {
            gate: gate.clone(),
            open: Some((pass, Place(gate.clone()))),
            beside: None,
        }
    }

    /// Waits at the host's own gate as well.
    pub(super) async fn beside(
        mut self,
        gate: &Arc<Gate>,
        patience: Patience,
    ) -> Result<Self, Problem> {
        match gate.enter(patience).await {
            Ok(ticket) => self.beside = Some(Box::new(ticket)),
            Err(problem) => {
                self.abandon();
                return Err(problem);
            }
        }
        Ok(self)
    }

    /// Tells what came of the request. What is given back is to be kept until the body is read.
    pub(crate) fn settle<B>(mut self, answer: &Result<Response<B>, Problem>) -> Option<Slot> {
        let wall = SystemTime::now();
        let verdict = match answer {
            Ok(response) => {
                self.gate.counts.answered(response.status());
                Verdict::of_answer(response.status(), response.headers(), wall)
            }
            Err(problem) => {
                self.gate.counts.unanswered();
                Verdict::of_problem(self.gate.origin(), problem)
            }
        };
        let beside = self.beside.take();
        let beside = beside.and_then(|mut ticket| ticket.close(verdict.of_who_was_led(), wall));
        let place = self.close(verdict, wall)?;
        Some(Slot {
            _place: place,
            _beside: beside,
        })
    }

    fn close(&mut self, verdict: Verdict, wall: SystemTime) -> Option<Place> {
        let (pass, place) = self.open.take()?;
        self.gate.settle(pass, verdict, wall);
        Some(place)
    }

    /// Says whether it was open.
    fn abandon(&mut self) -> bool {
        let Some((pass, _place)) = self.open.take() else {
            return false;
        };
        self.gate.with(|state| state.abandon(pass));
        if let Some(ticket) = &mut self.beside {
            ticket.abandon();
        }
        true
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.abandon() {
            self.gate.counts.cancelled();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.with(State::release);
        self.0.changed.notify_one();
    }
}
