// SPDX-License-Identifier: Apache-2.0
//! Reading from mirrors first, and from the registry itself where they do not help.
//!
//! A [`ReadPath`] is made of a repository's mirrors and the registry; an operation is asked along it and the first answer
//! taken. A mirror has one attempt and little patience; one that cannot be reached is left alone for a while. What it
//! sends is proved by digest like everything else, so that any mirror will do for that; what no digest proves (what a tag
//! points at, which tags there are, who refers to something) is asked only of mirrors that are trusted with it. Pushes
//! never come here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    client::Timeouts,
    error::{Error, ErrorKind},
    problem::clean,
    request::Channel,
    retry::RetryPolicy,
};

/// How long a mirror may take for what is not the content of a blob.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a mirror that cannot be reached is not asked.
const REST: Duration = Duration::from_secs(60);
/// What is shown of a mirror's error after the registry's own.
const SHOWN: usize = 200;

/// What an answer is proved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The digest that was asked for: it does not matter who sent it.
    Digest,
    /// The word of who answers.
    Word,
}

/// A mirror as one session uses it.
pub(crate) struct Reader {
    pub(crate) channel: Arc<Channel>,
    pub(crate) resolves_tags: bool,
    pub(crate) health: Arc<Health>,
}

/// The way of a session's reads: mirrors in their order, then the registry.
pub(crate) struct ReadPath {
    pub(crate) home: Arc<Channel>,
    pub(crate) mirrors: Vec<Reader>,
}

/// What was read from mirrors so far, and how they are: for metrics and status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorStatus {
    /// Where it is: `host[:port][/prefix]`.
    pub mirror: String,
    /// Operations that it answered.
    pub served: u64,
    /// Operations that it failed, after which the next mirror or the registry was asked.
    pub failed: u64,
    /// Whether it is left alone just now.
    pub is_resting: bool,
}

impl ReadPath {
    /// Begins an operation.
    pub(crate) fn tries(&self, by: By) -> Tries<'_> {
        let now = Instant::now();
        let is_asked =
            |mirror: &&Reader| mirror.is_trusted_with(by) && !mirror.health.is_resting(now);
        Tries {
            home: &self.home,
            mirrors: self.mirrors.iter().filter(is_asked).collect(),
            passed: Vec::new(),
        }
    }
}

/// One operation on its way along a [`ReadPath`].
pub(crate) struct Tries<'a> {
    home: &'a Arc<Channel>,
    /// Those that are worth asking, in their order.
    mirrors: VecDeque<&'a Reader>,
    /// What those said that failed.
    passed: Vec<String>,
}

impl<'a> Tries<'a> {
    /// Who is to be asked now.
    pub(crate) fn channel(&self) -> &'a Arc<Channel> {
        let mirror = self.mirrors.front();
        mirror.map_or(self.home, |mirror| &mirror.channel)
    }

    /// How the mirror is that is to be asked now, if it is one.
    pub(crate) fn health(&self) -> Option<Arc<Health>> {
        self.mirrors.front().map(|mirror| mirror.health.clone())
    }

    /// Takes what came back from there: gives the result of the operation, or nothing if the next one is to be asked.
    /// An error is the registry's, and names the mirrors that were tried before.
    pub(crate) fn settle<T>(&mut self, result: Result<T, Error>) -> Option<Result<T, Error>> {
        let Some(mirror) = self.mirrors.pop_front() else {
            let passed = std::mem::take(&mut self.passed);
            return Some(result.map_err(|error| error.after_mirrors(passed)));
        };
        match result {
            Ok(answer) => {
                mirror.health.served();
                Some(Ok(answer))
            }
            Err(error) => {
                self.passed.push(mirror.passed_over(&error));
                None
            }
        }
    }
}

impl Reader {
    fn is_trusted_with(&self, by: By) -> bool {
        by == By::Digest || self.resolves_tags
    }

    /// Notes a failure and says it in one line.
    fn passed_over(&self, error: &Error) -> String {
        let place = &self.channel.place;
        let is_out = is_out_of_order(error.kind());
        self.health.failed(is_out.then(Instant::now));
        if is_out {
            tracing::warn!(mirror = %place, %error, rest_s = REST.as_secs(), "a mirror was passed over and is left alone for a while");
        } else {
            tracing::info!(mirror = %place, %error, "a mirror was passed over");
        }
        clean(&error.to_string(), SHOWN)
    }
}

/// Whether the next request would go the same way, whatever it is for.
fn is_out_of_order(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Tls
            | ErrorKind::Server
            | ErrorKind::RateLimited
            | ErrorKind::EgressDenied
            | ErrorKind::Config
    )
}

/// The waits for a mirror: those for heads and documents are short, content may take its time.
pub(crate) fn hurried(timeouts: Timeouts) -> Timeouts {
    Timeouts {
        connect: timeouts.connect.min(PATIENCE),
        handshake: timeouts.handshake.min(PATIENCE),
        response: timeouts.response.min(PATIENCE),
        document: timeouts.document.min(PATIENCE),
        slow_window: timeouts.slow_window.min(PATIENCE),
        ..timeouts
    }
}

/// One attempt: the next mirror or the registry is the second.
pub(crate) fn once(policy: &RetryPolicy) -> RetryPolicy {
    RetryPolicy {
        attempts: 1,
        ..policy.clone()
    }
}

/// How one mirror does, as seen by the whole process.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failed_at: Mutex<Option<Instant>>,
    served: AtomicU64,
    failed: AtomicU64,
}

impl Health {
    fn served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
        *self.lock() = None;
    }

    /// It began an answer of several parts and failed a later one, for whatever reason: who asks again must not begin
    /// with it again, and again end half-way.
    pub(crate) fn broke_off(&self) {
        self.failed(Some(Instant::now()));
    }

    fn failed(&self, out_of_order: Option<Instant>) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if out_of_order.is_some() {
            *self.lock() = out_of_order;
        }
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.lock()
            .is_some_and(|failed| now.saturating_duration_since(failed) < REST)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// All mirrors that were used so far. There are as many as the settings name.
#[derive(Debug, Default)]
pub(crate) struct Healths(Mutex<HashMap<String, Arc<Health>>>);

impl Healths {
    pub(crate) fn of(&self, mirror: String) -> Arc<Health> {
        self.lock().entry(mirror).or_default().clone()
    }

    /// By name.
    pub(crate) fn statuses(&self, now: Instant) -> Vec<MirrorStatus> {
        let mut statuses: Vec<_> = self
            .lock()
            .iter()
            .map(|(mirror, health)| MirrorStatus {
                mirror: mirror.clone(),
                served: health.served.load(Ordering::Relaxed),
                failed: health.failed.load(Ordering::Relaxed),
                is_resting: health.is_resting(now),
            })
            .collect();
        statuses.sort_by(|a, b| a.mirror.cmp(&b.mirror));
        statuses
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Health>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_is_out_of_order_rests_for_a_while() {
        let (health, now) = (Health::default(), Instant::now());
        health.failed(None);
        assert!(!health.is_resting(now));
        health.failed(Some(now));
        assert!(health.is_resting(now + Duration::from_secs(59)));
        assert!(!health.is_resting(now + REST));
        health.served();
        assert!(!health.is_resting(now));
    }

    #[test]
    fn what_only_one_repository_lacks_is_no_reason_to_rest() {
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::Unauthorized,
            ErrorKind::Forbidden,
            ErrorKind::DigestMismatch,
            ErrorKind::TooLarge,
        ] {
            assert!(!is_out_of_order(kind), "{kind:?}");
        }
    }

    #[test]
    fn counts_are_kept_per_mirror() {
        let healths = Healths::default();
        healths.of("b.example".into()).served();
        healths.of("a.example".into()).failed(Some(Instant::now()));
        healths.of("a.example".into()).failed(None);
        let told: Vec<_> = healths
            .statuses(Instant::now())
            .into_iter()
            .map(|status| {
                (
                    status.mirror,
                    status.served,
                    status.failed,
                    status.is_resting,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a.example".into(), 0, 2, true),
                ("b.example".into(), 1, 0, false)
            ]
        );
    }
}
