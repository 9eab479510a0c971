// SPDX-License-Identifier: Apache-2.0
//! Reading from mirrors first, and from the registry itself where they do not help.
//!
//! A [`Route`] is made of a repository's mirrors and the registry; an operation is asked along it and the first answer
//! taken. A mirror has one attempt and little patience; one that cannot be reached is left alone for a while. What it
//! sends is proved by digest like everything else, so that any mirror will do for that; what no digest proves (what a tag
//! points at, which tags there are, who refers to something) is asked only of mirrors that are trusted with it. Pushes
//! never come here.

use std::{
    collections::HashMap,
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
pub(crate) struct Route {
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

impl Route {
    /// Asks along the way until somebody answers.
    pub(crate) async fn read<T, F>(
        &self,
        by: By,
        mut ask: impl FnMut(Arc<Channel>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut way = self.way(by);
        loop {
            match ask(way.channel().clone()).await {
                Ok(answer) => {
                    way.answered();
                    return Ok(answer);
                }
                Err(error) => way.failed(error)?,
            }
        }
    }

    /// The way from here on, to be gone step by step.
    pub(crate) fn way(&self, by: By) -> Way<'_> {
        let mut ahead: Vec<_> = self.asked(by).collect();
        ahead.reverse();
        Way {
            mirror: ahead.pop(),
            ahead,
            home: &self.home,
            passed: Vec::new(),
        }
    }

    /// The mirrors that are worth asking now.
    fn asked(&self, by: By) -> impl Iterator<Item = &Reader> {
        let now = Instant::now();
        self.mirrors.iter().filter(move |mirror| {
            (by == By::Digest || mirror.resolves_tags) && !mirror.health.is_resting(now)
        })
    }
}

/// Who is asked, and who comes after. The last is the registry itself.
pub(crate) struct Way<'r> {
    mirror: Option<&'r Reader>,
    /// The next one is the last.
    ahead: Vec<&'r Reader>,
    home: &'r Arc<Channel>,
    passed: Vec<String>,
}

impl<'r> Way<'r> {
    /// Who is asked now.
    pub(crate) fn channel(&self) -> &'r Arc<Channel> {
        self.mirror.map_or(self.home, |mirror| &mirror.channel)
    }

    /// Notes that the one who is asked answered.
    pub(crate) fn answered(&self) {
        if let Some(mirror) = self.mirror {
            mirror.health.served();
        }
    }

    /// Goes on to the next. If there is none, gives the registry's own error, which then names the mirrors that were
    /// tried before.
    pub(crate) fn failed(&mut self, error: Error) -> Result<(), Error> {
        let Some(mirror) = self.mirror else {
            return Err(error.after_mirrors(std::mem::take(&mut self.passed)));
        };
        self.passed.push(mirror.passed_over(&error));
        self.mirror = self.ahead.pop();
        Ok(())
    }
}

impl Reader {
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
