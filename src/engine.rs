// SPDX-License-Identifier: Apache-2.0
//! The work queue: which source runs when, and how many at once.
//!
//! One entry per source, never two runs of one source at a time, a run-at time per entry, and permits per registry host
//! and per namespace that are taken before a worker slot, so that a thousand sources on a dead host cannot keep the
//! others waiting. It is fed by [`Trigger`]s and calls one function per run; it knows neither Kubernetes nor registries.
//!
//! ```text
//! watch, files, requests ──Trigger──▶ Engine ──run(id, Wake)──▶ Verdict { next } ──▶ run-at
//! ```

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    future::Future,
};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::source::{SourceId, schedule::Next};

/// Somebody has reason to believe that a source should be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Which source.
    pub id: SourceId,
    /// The registry it talks to, for the permits. May be empty when unknown.
    pub host: String,
    /// Why.
    pub why: Why,
}

/// Why a source should be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was seen, or seen to change. The run decides whether the change matters.
    Changed,
    /// Something of it is missing (an artifact that a consumer asked for): run even if nothing changed.
    Missing,
}

/// What a run learns about its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// It was scheduled, is the first one, or something is missing; not merely a change that may be none.
    pub is_due: bool,
}

/// What a run tells the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run again then; replaces what was scheduled.
    Schedule(Next),
    /// The change was none: what was scheduled stays.
    Keep,
    /// The source is gone: forget it.
    Forget,
}

/// How many runs at once.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    /// In all. At least 1.
    pub total: usize,
    /// Against one registry host.
    pub per_host: usize,
    /// For one namespace.
    pub per_namespace: usize,
}

impl Default for Permits {
    /// 32 in all; one host or namespace can take three quarters of them.
    fn default() -> Self {
        Self::with_total(32)
    }
}

impl Permits {
    /// `total` in all; one host or namespace can take three quarters of them.
    pub fn with_total(total: usize) -> Self {
        let share = (total * 3).div_ceil(4).max(1);
        Self {
            total: total.max(1),
            per_host: share,
            per_namespace: share,
        }
    }
}

/// Sources that compete for the same permits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Lane {
    namespace: String,
    host: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Running,
}

#[derive(Debug)]
struct Entry {
    lane: Lane,
    state: State,
    run_at: Option<Instant>,
    ended: Option<Instant>,
    is_due: bool,
    again: bool,
}

/// The queue's state and its rules; without I/O, so that every rule is a plain test.
#[derive(Debug)]
struct Queue {
    permits: Permits,
    entries: HashMap<SourceId, Entry>,
    lanes: VecDeque<(Lane, VecDeque<SourceId>)>,
    timers: BinaryHeap<Reverse<(Instant, SourceId)>>,
    running: usize,
    per_host: HashMap<String, usize>,
    per_namespace: HashMap<String, usize>,
}

/// Runs sources until cancelled. Runs that are under way then are dropped: everything they do is safe to drop.
///
/// `depth` is called with the number of waiting sources whenever it may have changed.
pub async fn run<F, Fut>(
    permits: Permits,
    mut triggers: mpsc::Receiver<Trigger>,
    run_one: F,
    depth: impl Fn(usize),
    stop: CancellationToken,
) where
    F: Fn(SourceId, Wake) -> Fut,
    Fut: Future<Output = Verdict> + Send + 'static,
{
    let mut queue = Queue::new(permits);
    let mut runs: JoinSet<Verdict> = JoinSet::new();
    let mut ids: HashMap<tokio::task::Id, SourceId> = HashMap::new();
    let mut is_open = true;
    loop {
        queue.wake_due(Instant::now());
        while let Some((id, wake)) = queue.take() {
            let task = runs.spawn(run_one(id.clone(), wake));
            ids.insert(task.id(), id);
        }
        depth(queue.waiting());
        let alarm = queue.next_alarm();
        tokio::select! {
            () = stop.cancelled() => return,
            trigger = triggers.recv(), if is_open => match trigger {
                Some(trigger) => queue.trigger(trigger, Instant::now()),
                None => is_open = false,
            },
            Some(ended) = runs.join_next_with_id() => finish(&mut queue, &mut ids, ended),
            () = sleep_until(alarm), if alarm.is_some() => {}
            else => return,
        }
    }
}

type Ended = Result<(tokio::task::Id, Verdict), tokio::task::JoinError>;

/// A run that panicked is a failed run of that source and of no other.
fn finish(queue: &mut Queue, ids: &mut HashMap<tokio::task::Id, SourceId>, ended: Ended) {
    let (task, verdict) = match ended {
        Ok((task, verdict)) => (task, verdict),
        Err(error) => {
            tracing::error!(error = %error, "a run ended without an answer, it will be tried again");
            (error.id(), Verdict::Schedule(Next::After(PANIC_RETRY)))
        }
    };
    if let Some(id) = ids.remove(&task) {
        queue.finish(&id, verdict, Instant::now());
    }
}

/// A panic is a defect; trying again soon would repeat it.
const PANIC_RETRY: std::time::Duration = std::time::Duration::from_secs(60);

/// How long after a run a miss of one of its artifacts causes none.
const MISS_PAUSE: std::time::Duration = std::time::Duration::from_secs(10);

async fn sleep_until(alarm: Option<Instant>) {
    match alarm {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Queue {
    fn new(permits: Permits) -> Self {
        Self {
            permits,
            entries: HashMap::new(),
            lanes: VecDeque::new(),
            timers: BinaryHeap::new(),
            running: 0,
            per_host: HashMap::new(),
            per_namespace: HashMap::new(),
        }
    }

    fn waiting(&self) -> usize {
        self.lanes.iter().map(|(_, ids)| ids.len()).sum()
    }

    fn trigger(&mut self, trigger: Trigger, now: Instant) {
        if trigger.why == Why::Missing && !self.may_be_missing(&trigger.id, now) {
            return;
        }
        let lane = Lane {
            namespace: trigger.id.namespace.clone(),
            host: trigger.host,
        };
        let is_new = !self.entries.contains_key(&trigger.id);
        let entry = self
            .entries
            .entry(trigger.id.clone())
            .or_insert_with(|| Entry {
                lane: lane.clone(),
                state: State::Idle,
                run_at: None,
                ended: None,
                is_due: true,
                again: false,
            });
        entry.is_due |= is_new || trigger.why == Why::Missing;
        match entry.state {
            State::Running => entry.again = true,
            State::Queued => self.move_to(&trigger.id, lane),
            State::Idle => {
                if !lane.host.is_empty() {
                    entry.lane = lane;
                }
                self.enqueue(trigger.id);
            }
        }
    }

    /// A source that was queued before its host was known waits with those of its host from then on.
    fn move_to(&mut self, id: &SourceId, lane: Lane) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if !entry.lane.host.is_empty() || lane.host.is_empty() {
            return;
        }
        if let Some((_, ids)) = self
            .lanes
            .iter_mut()
            .find(|(known, _)| *known == entry.lane)
        {
            ids.retain(|queued| queued != id);
        }
        self.lanes.retain(|(_, ids)| !ids.is_empty());
        entry.lane = lane;
        self.enqueue(id.clone());
    }

    /// Anybody who reaches the artifact server can miss any name as often as they like: only known sources count, and
    /// those not more often than every [`MISS_PAUSE`].
    fn may_be_missing(&self, id: &SourceId, now: Instant) -> bool {
        let ended = self.entries.get(id).and_then(|entry| entry.ended);
        ended.is_some_and(|ended| now.duration_since(ended) >= MISS_PAUSE)
    }

    fn enqueue(&mut self, id: SourceId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.state = State::Queued;
        match self.lanes.iter_mut().find(|(lane, _)| *lane == entry.lane) {
            Some((_, ids)) => ids.push_back(id),
            None => self
                .lanes
                .push_back((entry.lane.clone(), VecDeque::from([id]))),
        }
    }

    /// Queues everything whose time has come.
    fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.timers.peek()
            && *at <= now
        {
            let Some(Reverse((at, id))) = self.timers.pop() else {
                return;
            };
            // A timer that was replaced is still in the heap; only the one that the entry names counts.
            if let Some(entry) = self
                .entries
                .get_mut(&id)
                .filter(|entry| entry.run_at == Some(at))
            {
                entry.run_at = None;
                entry.is_due = true;
                match entry.state {
                    State::Idle => self.enqueue(id),
                    State::Running => entry.again = true,
                    State::Queued => {}
                }
            }
        }
    }

    fn next_alarm(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// The next source that may run, lanes taking turns.
    fn take(&mut self) -> Option<(SourceId, Wake)> {
        if self.running >= self.permits.total {
            return None;
        }
        let index = self.lanes.iter().position(|(lane, _)| self.may_run(lane))?;
        let (lane, mut ids) = self.lanes.remove(index)?;
        let id = ids.pop_front()?;
        if !ids.is_empty() {
            self.lanes.push_back((lane.clone(), ids));
        }
        self.running += 1;
        *self.per_host.entry(lane.host).or_default() += 1;
        *self.per_namespace.entry(lane.namespace).or_default() += 1;
        let entry = self.entries.get_mut(&id)?;
        entry.state = State::Running;
        let wake = Wake {
            is_due: std::mem::take(&mut entry.is_due),
        };
        Some((id, wake))
    }

    fn may_run(&self, lane: &Lane) -> bool {
        let used = |counts: &HashMap<String, usize>, key: &str| {
            counts.get(key).copied().unwrap_or_default()
        };
        used(&self.per_host, &lane.host) < self.permits.per_host
            && used(&self.per_namespace, &lane.namespace) < self.permits.per_namespace
    }

    fn finish(&mut self, id: &SourceId, verdict: Verdict, now: Instant) {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        release(&mut self.per_host, &entry.lane.host);
        release(&mut self.per_namespace, &entry.lane.namespace);
        entry.state = State::Idle;
        entry.ended = Some(now);
        let again = std::mem::take(&mut entry.again);
        match verdict {
            Verdict::Keep => {}
            Verdict::Schedule(Next::Never) => entry.run_at = None,
            Verdict::Schedule(Next::After(wait)) => {
                let at = now + wait;
                entry.run_at = Some(at);
                self.timers.push(Reverse((at, id.clone())));
            }
            Verdict::Forget if !again => {
                self.entries.remove(id);
            }
            // It came back while it was being forgotten.
            Verdict::Forget => entry.is_due = true,
        }
        if again {
            self.enqueue(id.clone());
        }
    }
}

fn release(counts: &mut HashMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
