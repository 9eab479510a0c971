// SPDX-License-Identifier: Apache-2.0
//! Reading from mirrors first, and from the registry itself where they do not help.
//!
//! A [`ReadPath`] is made of a repository's mirrors and the registry; an operation is asked along it and the first answer
//! taken. A mirror has one attempt and little patience; one that cannot be reached is left alone for a while. What it
//! sends is proved by digest like everything else, so that any mirror will do for that; what no digest proves (what a tag
//! points at, which tags there are) is asked only of mirrors that are trusted with it. Pushes never come here, and neither
//! does the question who refers to something: a mirror that keeps no referrers says "none" in the same words as a registry
//! that has none, and a signature that is overlooked is worse than a registry that is asked.
//!
//! What a mirror does is told in full in the log, to who set it up. Errors go to others as well, and say of a mirror only
//! which one it is and the kind of its failure.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    client::Timeouts,
    error::{Error, ErrorKind},
    origin::{Link, Scheme},
    problem::Problem,
    request::Channel,
    retry::RetryPolicy,
};

/// How long a mirror that cannot be reached is not asked.
const REST: Duration = Duration::from_secs(60);
/// The part of its time after which a mirror may be why somebody did not wait for an answer.
const SOME_TIME: u32 = 10;

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
    /// How long it may take for what is not the content of a blob.
    pub(crate) patience: Duration,
}

/// The way of a session's reads: mirrors in their order, then the registry.
pub(crate) struct ReadPath {
    pub(crate) home: Arc<Channel>,
    pub(crate) mirrors: Vec<Arc<Reader>>,
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
            |mirror: &&Arc<Reader>| mirror.is_trusted_with(by) && !mirror.is_resting(now);
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
    mirrors: VecDeque<&'a Arc<Reader>>,
    /// What those said that failed.
    passed: Vec<String>,
}

impl<'a> Tries<'a> {
    /// Who is to be asked now.
    pub(crate) fn channel(&self) -> &'a Arc<Channel> {
        let mirror = self.mirrors.front();
        mirror.map_or(self.home, |mirror| &mirror.channel)
    }

    /// The mirror that is to be asked now, if it is one.
    pub(crate) fn mirror(&self) -> Option<Arc<Reader>> {
        self.mirrors.front().map(|mirror| Arc::clone(mirror))
    }

    /// Waits for what the one that is to be asked now does: for a mirror no longer than it is worth, for the registry as
    /// long as the registry takes.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.mirrors.front() {
            Some(mirror) => mirror.in_time(work).await,
            None => work.await,
        }
    }

    /// The same for content, which takes its time from a mirror too.
    pub(crate) async fn at_leisure<T>(&self, work: impl Future<Output = T>) -> T {
        let waiting = self
            .mirrors
            .front()
            .map(|mirror| Waiting::since_now(mirror));
        let answer = work.await;
        if let Some(waiting) = waiting {
            waiting.end();
        }
        answer
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

    fn is_resting(&self, now: Instant) -> bool {
        self.health.is_resting(now) || self.health.is_abandoned(&self.channel.place, now)
    }

    /// Waits for what the mirror does for as long as it is worth.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let waiting = Waiting::since_now(self);
        let answer = timeout(self.patience, work).await;
        waiting.end();
        answer.unwrap_or_else(|_| Err(self.too_slow()))
    }

    fn too_slow(&self) -> Error {
        let registry = self.channel.repository.registry();
        let origin = self.channel.home_origin();
        let host = origin.or_else(|| Some(Link::on(Scheme::Https, registry, "/")?.origin));
        let problem = match host {
            Some(host) => Problem::Timeout {
                host,
                what: "all that is asked of a mirror at once",
                after: self.patience,
            },
            None => Problem::Registry {
                registry: registry.to_owned(),
            },
        };
        Error::new("read", self.channel.place.as_str(), 1, problem)
    }

    /// Notes a failure and says what may be told of it to anybody.
    fn passed_over(&self, error: &Error) -> String {
        let place = &self.channel.place;
        // What waited in our own queue in vain says nothing about the mirror.
        let is_out = is_out_of_order(error.kind()) && !error.is_not_asked();
        self.health.failed(is_out.then(Instant::now));
        if is_out {
            tracing::warn!(mirror = %place, %error, cause = cause(error), rest_s = REST.as_secs(), "a mirror was passed over and is left alone for a while");
        } else {
            tracing::info!(mirror = %place, %error, cause = cause(error), "a mirror was passed over");
        }
        let registry = self.channel.repository.registry();
        format!("mirror {registry}: {}", error.kind().as_str())
    }

    /// It began an answer of several parts and failed a later one, for whatever reason: who asks again must not begin
    /// with it again, and again end half-way. Gives the problem that may be told to anybody.
    pub(crate) fn broke_off(&self, error: &Error) -> Problem {
        let place = &self.channel.place;
        tracing::warn!(mirror = %place, %error, cause = cause(error), rest_s = REST.as_secs(), "a mirror broke a list off and is left alone for a while");
        self.health.failed(Some(Instant::now()));
        Problem::BrokenOff {
            mirror: self.channel.repository.registry().to_owned(),
            kind: error.kind(),
        }
    }
}

fn cause(error: &Error) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}

/// Somebody waits for a mirror. When this is dropped before there is an answer, whoever waited had no more time; that
/// must not happen to them again and again, so that the mirror is not asked again for the same repository for a while.
/// Not for others, or who never waits long could keep everybody from a mirror.
struct Waiting<'a> {
    mirror: &'a Reader,
    since: Option<Instant>,
}

impl<'a> Waiting<'a> {
    fn since_now(mirror: &'a Reader) -> Self {
        let since = Some(Instant::now());
        Self { mirror, since }
    }

    /// There is an answer, of whatever kind.
    fn end(mut self) {
        self.since = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Reader {
            channel,
            health,
            patience,
            ..
        } = self.mirror;
        let waited = self.since.map(|since| since.elapsed());
        if waited.is_some_and(|waited| waited > *patience / SOME_TIME) {
            health.abandoned(&channel.place, Instant::now());
            tracing::info!(mirror = %channel.place, ?waited, rest_s = REST.as_secs(), "nobody waited for a mirror's answer any more, it is not asked for this repository for a while");
        }
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
    let patience = timeouts.mirror;
    Timeouts {
        connect: timeouts.connect.min(patience),
        handshake: timeouts.handshake.min(patience),
        tunnel: timeouts.tunnel.min(patience),
        response: timeouts.response.min(patience),
        document: timeouts.document.min(patience),
        slow_window: timeouts.slow_window.min(patience),
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
    /// The repositories for which somebody had no more time to wait for it, and when that was.
    abandoned: Mutex<HashMap<String, Instant>>,
    /// What was already said to be wrong with its settings.
    told: Mutex<HashSet<&'static str>>,
    served: AtomicU64,
    failed: AtomicU64,
}

impl Health {
    fn served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
        *lock(&self.failed_at) = None;
    }

    /// Whether it is the first time that this is to be said of it.
    pub(crate) fn is_news(&self, what: &'static str) -> bool {
        lock(&self.told).insert(what)
    }

    fn abandoned(&self, place: &str, now: Instant) {
        self.failed(None);
        let mut abandoned = lock(&self.abandoned);
        abandoned.retain(|_, at| is_recent(*at, now));
        abandoned.insert(place.to_owned(), now);
    }

    fn is_abandoned(&self, place: &str, now: Instant) -> bool {
        let abandoned = lock(&self.abandoned);
        abandoned.get(place).is_some_and(|at| is_recent(*at, now))
    }

    fn failed(&self, out_of_order: Option<Instant>) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if out_of_order.is_some() {
            *lock(&self.failed_at) = out_of_order;
        }
    }

    fn is_resting(&self, now: Instant) -> bool {
        lock(&self.failed_at).is_some_and(|failed| is_recent(failed, now))
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < REST
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All mirrors that were used so far. There are as many as the settings name.
#[derive(Debug, Default)]
pub(crate) struct Healths(Mutex<HashMap<String, Arc<Health>>>);

impl Healths {
    pub(crate) fn of(&self, mirror: String) -> Arc<Health> {
        lock(&self.0).entry(mirror).or_default().clone()
    }

    /// By name.
    pub(crate) fn statuses(&self, now: Instant) -> Vec<MirrorStatus> {
        let mut statuses: Vec<_> = lock(&self.0)
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
    fn who_has_no_time_keeps_a_mirror_from_one_repository_for_a_while() {
        let (health, now) = (Health::default(), Instant::now());
        health.abandoned("m.example/a", now);
        assert!(health.is_abandoned("m.example/a", now + Duration::from_secs(59)));
        assert!(!health.is_abandoned("m.example/a", now + REST));
        assert!(!health.is_abandoned("m.example/b", now));
        assert!(!health.is_resting(now));
        // What is over is forgotten.
        health.abandoned("m.example/b", now + REST);
        assert_eq!(lock(&health.abandoned).len(), 1);
    }

    #[test]
    fn what_is_wrong_with_settings_is_said_once() {
        let health = Health::default();
        assert!(health.is_news("a") && health.is_news("b"));
        assert!(!health.is_news("a"));
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
