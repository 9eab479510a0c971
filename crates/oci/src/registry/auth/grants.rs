// SPDX-License-Identifier: Apache-2.0
//! What registries have granted, kept until it ends.
//!
//! One per process. The key holds everything that a grant depends on, so that no grant of one tenant is used for
//! another: origin, repository, scope and who asks. Per key there is a [`Slot`], in which one request at a time gets a
//! new grant while the others wait for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;

use crate::registry::{
    origin::{Link, Origin},
    problem::{Problem, Shared},
};

use super::{Extra, Identity, Scope, Secret, demand::Demand};

/// The shortest life of a token, whatever the token service says (distribution's token specification).
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest: trust in a token service does not go further.
const LONGEST: Duration = Duration::from_secs(3600);
/// Kept back, so that a token does not end on its way.
const MARGIN: Duration = Duration::from_secs(10);
/// More than a large installation has; beyond it what was not used for longest is forgotten.
const MAX_SLOTS: usize = 10_000;

/// What a grant depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) origin: Origin,
    pub(crate) repository: Box<str>,
    pub(crate) scope: Scope,
    pub(crate) identity: Identity,
}

/// A value of `Authorization` that a registry accepts, with its life.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    pub(crate) lives: Duration,
    pub(crate) refresh: Option<Refresh>,
}

/// What a token service gave to get the next token with. It is shown to that service only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refresh {
    pub(crate) token: Secret,
    pub(crate) realm: Link,
}

impl Grant {
    /// What is made of the credentials alone: it does not end, but is made again from time to time.
    pub(crate) fn lasting(header: HeaderValue) -> Self {
        Self {
            header,
            lives: LONGEST,
            refresh: None,
        }
    }

    /// A token whose service says for how many seconds it lives, or does not.
    pub(crate) fn token(header: HeaderValue, expires_in: Option<u64>) -> Self {
        let said = expires_in.map_or(SHORTEST, Duration::from_secs);
        Self {
            lives: said.clamp(SHORTEST, LONGEST),
            ..Self::lasting(header)
        }
    }
}

/// All grants of the process.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    /// Counts the look-ups, so that it is known which slot was used last.
    clock: u64,
    by_key: HashMap<Key, (u64, Arc<Slot>)>,
}

impl Grants {
    /// The place of a key's grant, made if there is none.
    pub(crate) fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = lock(&self.0);
        slots.clock += 1;
        let clock = slots.clock;
        if let Some((used, slot)) = slots.by_key.get_mut(&key) {
            *used = clock;
            return slot.clone();
        }
        slots.make_room();
        let slot = Arc::<Slot>::default();
        slots.by_key.insert(key, (clock, slot.clone()));
        slot
    }
}

impl Slots {
    /// Forgets a sixteenth when it is full, so that looking for the oldest is not paid for by each new key. Who holds
    /// such a slot goes on with it.
    fn make_room(&mut self) {
        if self.by_key.len() < MAX_SLOTS {
            return;
        }
        let mut uses: Vec<u64> = self.by_key.values().map(|(used, _)| *used).collect();
        let (_, bound, _) = uses.select_nth_unstable(MAX_SLOTS / 16);
        let bound = *bound;
        self.by_key.retain(|_, (used, _)| *used > bound);
    }
}

/// The grant for one key, and how to get the next one.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// Held by whoever is getting a grant. If that one is cancelled, the next in the queue has the turn.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    /// How many times getting a grant was tried and ended.
    outcomes: u64,
    /// The last failure, with its number: for those who waited for it, and nobody else.
    failure: Option<(u64, Arc<Shared>)>,
    /// What the registry asked for when the last grant was got.
    demand: Option<Demand>,
    /// All that was ever asked for beside our scope.
    extra: Extra,
    refresh: Option<Refresh>,
}

#[derive(Debug)]
struct Kept {
    header: HeaderValue,
    ends: Instant,
    number: u64,
    extra: Extra,
}

/// A grant to send, and which one it was.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) header: HeaderValue,
    pub(crate) number: u64,
}

impl Slot {
    /// The grant, if there is one that has not ended.
    pub(crate) fn shown(&self, now: Instant) -> Option<Shown> {
        lock(&self.state).shown(0, &Extra::default(), now)
    }

    /// What the registry asked for the last time, if that could be met.
    pub(crate) fn expected(&self) -> Option<(Demand, Extra)> {
        let state = lock(&self.state);
        state
            .demand
            .clone()
            .map(|demand| (demand, state.extra.clone()))
    }

    /// Forgets what the registry asked for the last time.
    pub(crate) fn unexpect(&self) {
        lock(&self.state).demand = None;
    }

    /// Forgets a grant that was refused, unless it was replaced meanwhile.
    pub(crate) fn forget(&self, refused: u64) {
        let mut state = lock(&self.state);
        if state.kept.as_ref().is_some_and(|k| k.number == refused) {
            state.kept = None;
        }
    }

    /// A grant that is newer than the one that was refused (0 for none), and good for `extra`: one that is there, one that another
    /// request is just getting, or what `fetch` gets. A failure is shared by all who waited for it; to each it names the
    /// `source` of his own credentials.
    pub(crate) async fn obtain(
        &self,
        demand: &Demand,
        extra: &Extra,
        refused: u64,
        source: Option<&str>,
        fetch: impl AsyncFnOnce(&Extra, Option<&Refresh>) -> Result<Grant, Problem>,
    ) -> Result<Shown, Problem> {
        let before = {
            let mut state = lock(&self.state);
            state.extra = state.extra.and(extra);
            state.outcomes
        };
        let _turn = self.turn.lock().await;
        let (all, refresh) = {
            let state = lock(&self.state);
            if let Some(shown) = state.shown(refused, extra, Instant::now()) {
                return Ok(shown);
            }
            if let Some((number, shared)) = &state.failure
                && *number > before
            {
                return Err(Problem::shared(shared, source));
            }
            (state.extra.clone(), state.refresh.clone())
        };
        let result = fetch(&all, refresh.as_ref()).await;
        lock(&self.state).ended(result, demand, all, Instant::now())
    }
}

impl State {
    fn shown(&self, refused: u64, extra: &Extra, now: Instant) -> Option<Shown> {
        let kept = self.kept.as_ref()?;
        let is_good = now < kept.ends && kept.number > refused && kept.extra.covers(extra);
        is_good.then(|| Shown {
            header: kept.header.clone(),
            number: kept.number,
        })
    }

    fn ended(
        &mut self,
        result: Result<Grant, Problem>,
        demand: &Demand,
        extra: Extra,
        now: Instant,
    ) -> Result<Shown, Problem> {
        self.outcomes += 1;
        let grant = result.map_err(|problem| {
            let host = match demand {
                Demand::Show => None,
                Demand::Token(service) => Some(service.realm.link.origin.clone()),
            };
            let shared = Arc::new(Shared { problem, host });
            self.failure = Some((self.outcomes, shared.clone()));
            // It may be the reason.
            self.refresh = None;
            Problem::Shared(shared)
        })?;
        self.failure = None;
        self.demand = Some(demand.clone());
        self.refresh = grant.refresh;
        self.kept = Some(Kept {
            header: grant.header.clone(),
            ends: now + grant.lives.saturating_sub(MARGIN),
            number: self.outcomes,
            extra,
        });
        Ok(Shown {
            header: grant.header,
            number: self.outcomes,
        })
    }
}

/// A panic elsewhere leaves what is behind the lock whole, since each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::{Digest, registry::auth::Credentials};

    fn key(repository: &str, credentials: &Credentials) -> Key {
        Key {
            origin: Link::parse("https://r.example/").unwrap().origin,
            repository: repository.into(),
            scope: Scope::Pull,
            identity: Identity::new(credentials, &Digest::sha256_of(b"tls")),
        }
    }

    fn token(text: &str, expires_in: Option<u64>) -> Grant {
        Grant::token(HeaderValue::from_str(text).unwrap(), expires_in)
    }

    async fn put(slot: &Slot, grant: Grant) -> Shown {
        let none = Extra::default();
        let got = slot.obtain(&Demand::Show, &none, u64::MAX, None, async |_, _| Ok(grant));
        got.await.unwrap()
    }

    fn unusable() -> Problem {
        Problem::Header("no token today")
    }

    #[tokio::test]
    async fn a_grant_is_found_only_by_all_that_it_depends_on() {
        let (grants, now) = (Grants::default(), Instant::now());
        let one = Credentials::basic("one", "secret", "x");
        put(&grants.slot(key("a", &one)), token("t", None)).await;
        assert!(grants.slot(key("a", &one)).shown(now).is_some());
        let other = Credentials::basic("one", "other", "x");
        let with = |change: fn(&mut Key)| {
            let mut key = key("a", &one);
            change(&mut key);
            key
        };
        for key in [
            key("b", &one),
            key("a", &other),
            key("a", &Credentials::Anonymous),
            with(|key| key.scope = Scope::Push),
            with(|key| key.scope = Scope::Mount("b".into())),
            with(|key| key.origin = Link::parse("http://r.example/").unwrap().origin),
            with(|key| key.origin = Link::parse("https://r.example:5000/").unwrap().origin),
            with(|key| {
                let one = Credentials::basic("one", "secret", "x");
                key.identity = Identity::new(&one, &Digest::sha256_of(b"other tls"));
            }),
        ] {
            assert!(grants.slot(key.clone()).shown(now).is_none(), "{key:?}");
        }
    }

    #[tokio::test]
    async fn a_token_lives_as_long_as_said_between_a_minute_and_an_hour() {
        let mut seconds = Vec::new();
        for expires_in in [None, Some(0), Some(300), Some(u64::MAX)] {
            let slot = Slot::default();
            put(&slot, token("t", expires_in)).await;
            let now = Instant::now();
            let lived = (0..4000)
                .take_while(|s| slot.shown(now + Duration::from_secs(*s)).is_some())
                .count();
            seconds.push(lived);
        }
        assert_eq!(seconds, [50, 50, 290, 3590]);
    }

    #[tokio::test]
    async fn a_refused_grant_is_forgotten_but_not_its_replacement() {
        let (slot, now) = (Slot::default(), Instant::now());
        let old = put(&slot, token("same", None)).await;
        let new = put(&slot, token("same", None)).await;
        slot.forget(old.number);
        assert!(slot.shown(now).is_some());
        slot.forget(new.number);
        assert!(slot.shown(now).is_none());
    }

    #[tokio::test]
    async fn there_is_a_bound_and_what_is_used_stays() {
        let (grants, now) = (Grants::default(), Instant::now());
        let used = || grants.slot(key("used", &Credentials::Anonymous));
        put(&used(), token("t", None)).await;
        for n in 0..MAX_SLOTS + 5 {
            grants.slot(key(&n.to_string(), &Credentials::Anonymous));
            if n % 100 == 0 {
                used();
            }
        }
        assert!(lock(&grants.0).by_key.len() <= MAX_SLOTS);
        assert!(used().shown(now).is_some());
    }

    /// Waits until so many others stand in the queue of a slot's turn, each held by a task of its own.
    async fn obtain_all(
        slot: &Arc<Slot>,
        calls: &Arc<AtomicU64>,
        result: fn() -> Result<Grant, Problem>,
    ) -> Vec<Result<Shown, Problem>> {
        let release = Arc::new(Notify::new());
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (slot, calls, release) = (slot.clone(), calls.clone(), release.clone());
                tokio::spawn(async move {
                    slot.obtain(&Demand::Show, &Extra::default(), 0, None, async |_, _| {
                        calls.fetch_add(1, Ordering::SeqCst);
                        release.notified().await;
                        result()
                    })
                    .await
                })
            })
            .collect();
        // On one thread a task runs until it waits: after this all stand where they can go no further.
        tokio::task::yield_now().await;
        release.notify_one();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    }

    #[tokio::test]
    async fn fifty_at_once_get_one_grant() {
        let (slot, calls) = (Arc::<Slot>::default(), Arc::<AtomicU64>::default());
        let results = obtain_all(&slot, &calls, || Ok(token("t", None))).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_those_who_waited_and_forgotten() {
        let (slot, calls) = (Arc::<Slot>::default(), Arc::<AtomicU64>::default());
        let results = obtain_all(&slot, &calls, || Err(unusable())).await;
        for result in results {
            assert_eq!(result.unwrap_err().to_string(), "no token today");
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        put(&slot, token("t", None)).await;
        assert!(slot.shown(Instant::now()).is_some());
    }

    #[tokio::test]
    async fn who_waits_for_one_that_is_cancelled_takes_over() {
        let slot = Arc::<Slot>::default();
        let leader = tokio::spawn({
            let slot = slot.clone();
            async move {
                slot.obtain(&Demand::Show, &Extra::default(), 0, None, async |_, _| {
                    std::future::pending().await
                })
                .await
            }
        });
        tokio::task::yield_now().await;
        let next = tokio::spawn({
            let slot = slot.clone();
            async move { put(&slot, token("t", None)).await }
        });
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        leader.abort();
        assert_eq!(next.await.unwrap().header, "t");
    }

    #[tokio::test]
    async fn a_grant_for_fewer_actions_does_not_do() {
        let slot = Slot::default();
        let repository = "r.example/app".parse().unwrap();
        let extra =
            |action: &str| Scope::Pull.extra(&repository, &format!("repository:app:{action}"));
        put(&slot, token("t", None)).await;
        let mut asked = Extra::default();
        for action in ["content_read", "metadata_read", "content_read"] {
            slot.obtain(&Demand::Show, &extra(action), 0, None, async |all, _| {
                asked = all.clone();
                Ok(token("u", None))
            })
            .await
            .unwrap();
        }
        assert_eq!(asked, extra("content_read,metadata_read"));
        assert_eq!(slot.expected(), Some((Demand::Show, asked)));
    }
}
