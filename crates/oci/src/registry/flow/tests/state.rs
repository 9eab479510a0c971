// SPDX-License-Identifier: Apache-2.0

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::registry::{
    flow::{
        breaker::{FAILURES, Failure},
        refusal::Refusal,
        state::{Changes, Entry, LONGEST_WINDOW, Moment, Pass, Patience, State},
        verdict::{Outcome, Verdict},
        wishes::RateLimit,
    },
    hosts::{HostLimits, Rate},
};

const PATIENCE: Patience = Patience {
    known: Duration::from_secs(10),
    total: Duration::from_secs(60),
};
const ANSWERED: Verdict = Verdict {
    outcome: Outcome::Answered,
    wish: None,
    rate_limit: None,
};
const FAILED: Verdict = Verdict {
    outcome: Outcome::Failed(Failure::Status(503)),
    ..ANSWERED
};
const UNKNOWN: Verdict = Verdict {
    outcome: Outcome::Unknown,
    ..ANSWERED
};

fn limited(seconds: u64) -> Verdict {
    Verdict {
        outcome: Outcome::Limited,
        wish: Some((Duration::from_secs(seconds), 429)),
        rate_limit: None,
    }
}

/// A state with a clock that only a test moves.
struct World {
    state: State,
    now: Instant,
}

impl World {
    fn new(concurrency: u32) -> Self {
        Self::with(HostLimits {
            concurrency: NonZeroU32::new(concurrency),
            rate: None,
        })
    }

    fn with(limits: HostLimits) -> Self {
        let now = Instant::now();
        let state = State::new(limits, now);
        Self { state, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn ask(&mut self) -> Entry {
        self.state.enter(self.now, self.now, PATIENCE)
    }

    fn go(&mut self) -> Pass {
        match self.ask() {
            Entry::Go(pass) => pass,
            other => panic!("{other:?}"),
        }
    }

    /// All that may go at once.
    fn all(&mut self) -> Vec<Pass> {
        let mut passes = Vec::new();
        while let Entry::Go(pass) = self.ask() {
            passes.push(pass);
        }
        passes
    }

    fn settle(&mut self, pass: Pass, verdict: Verdict) -> Changes {
        let moment = Moment {
            now: self.now,
            wall: SystemTime::UNIX_EPOCH,
            random: 0.5,
        };
        let changes = self.state.settle(pass, verdict, moment);
        self.state.release();
        changes
    }

    fn break_down(&mut self) {
        for _ in 0..FAILURES {
            let pass = self.go();
            self.settle(pass, FAILED);
        }
        assert!(matches!(self.ask(), Entry::Refused(Refusal::Broken(_))));
    }
}

#[test]
fn a_closed_window_is_waited_for_or_refused_at_once() {
    let mut world = World::new(8);
    let pass = world.go();
    assert!(world.settle(pass, limited(5)).closed);
    let Entry::Wait(Some(until)) = world.ask() else {
        panic!("{:?}", world.ask());
    };
    let wait = until - world.now;
    assert!(
        wait > Duration::from_secs(5) && wait <= Duration::from_secs(6),
        "{wait:?}"
    );
    let almost = wait.checked_sub(Duration::from_millis(1)).unwrap();
    world.pass(almost);
    assert_eq!(world.ask(), Entry::Wait(Some(until)));
    world.pass(Duration::from_millis(1));
    let pass = world.go();

    assert!(world.settle(pass, limited(11)).closed);
    assert!(matches!(
        world.ask(),
        Entry::Refused(Refusal::Closed { status: 429, left, .. }) if left >= Duration::from_secs(11)
    ));
}

#[test]
fn nobody_closes_a_host_for_longer_than_the_longest_window() {
    let mut world = World::new(8);
    let pass = world.go();
    world.settle(pass, limited(86_400));
    let left = world.state.closed_for(world.now).unwrap();
    assert!(left <= LONGEST_WINDOW + Duration::from_secs(1), "{left:?}");
    world.pass(left);
    assert_eq!(world.all().len(), 1);
}

#[test]
fn after_a_window_requests_double_with_each_round() {
    let mut world = World::new(20);
    let first = world.all();
    assert_eq!(first.len(), 20);
    for pass in first {
        world.settle(pass, limited(1));
    }
    world.pass(Duration::from_secs(2));
    let mut rounds = Vec::new();
    for _ in 0..7 {
        let passes = world.all();
        rounds.push(passes.len());
        for pass in passes {
            world.settle(pass, ANSWERED);
        }
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 20, 20]);
}

#[test]
fn what_was_sent_before_a_window_can_only_make_it_longer() {
    let mut world = World::new(20);
    let mut old = world.all();
    let first = old.pop().unwrap();
    world.settle(first, limited(2));
    for pass in old.drain(..10) {
        world.settle(pass, ANSWERED);
    }
    assert!(world.state.closed_for(world.now).is_some());
    let late = old.pop().unwrap();
    assert!(!world.settle(late, limited(1)).closed);
    assert!(world.state.closed_for(world.now).unwrap() > Duration::from_secs(2));
    let later = old.pop().unwrap();
    assert!(!world.settle(later, limited(5)).closed);
    assert!(world.state.closed_for(world.now).unwrap() > Duration::from_secs(5));
    world.pass(Duration::from_secs(6));
    for pass in old {
        world.settle(pass, FAILED);
    }
    assert_eq!(world.all().len(), 1, "answers from before let nobody in");
}

#[test]
fn a_limit_without_a_time_slows_down() {
    let mut world = World::new(20);
    let pass = world.go();
    let without = Verdict {
        wish: None,
        ..limited(1)
    };
    assert!(!world.settle(pass, without).closed);
    assert_eq!(world.all().len(), 1);
}

#[test]
fn one_probe_decides_about_a_host_that_broke() {
    let mut world = World::new(20);
    world.break_down();
    world.pass(Duration::from_secs(2));
    let probe = world.go();
    assert_eq!(world.ask(), Entry::Wait(None));
    assert!(world.settle(probe, FAILED).broke);
    assert!(matches!(world.ask(), Entry::Refused(Refusal::Broken(_))));

    world.pass(Duration::from_secs(3));
    let abandoned = world.go();
    assert_eq!(world.ask(), Entry::Wait(None));
    world.state.abandon(abandoned);
    world.state.release();
    let unknown = world.go();
    assert_eq!(world.ask(), Entry::Wait(None));
    assert!(!world.settle(unknown, UNKNOWN).broke);
    let probe = world.go();
    assert_eq!(world.ask(), Entry::Wait(None));
    world.settle(probe, ANSWERED);
    assert_eq!(world.all().len(), 2);
}

#[test]
fn nothing_but_failures_opens_the_breaker() {
    let mut world = World::new(20);
    for verdict in [
        UNKNOWN,
        ANSWERED,
        Verdict {
            wish: None,
            ..limited(1)
        },
    ] {
        for _ in 0..1000 {
            let pass = world.go();
            assert!(!world.settle(pass, verdict).broke);
        }
    }
    for _ in 0..1000 {
        let pass = world.go();
        world.state.abandon(pass);
        world.state.release();
    }
    assert_eq!(world.state.outage(world.now), None);
}

#[test]
fn a_place_is_taken_until_the_body_is_read() {
    let mut world = World::new(2);
    let (first, _second) = (world.go(), world.go());
    assert_eq!(world.ask(), Entry::Wait(None));
    let moment = Moment {
        now: world.now,
        wall: SystemTime::UNIX_EPOCH,
        random: 0.0,
    };
    world.state.settle(first, ANSWERED, moment);
    assert_eq!(world.ask(), Entry::Wait(None));
    world.state.release();
    world.go();
    let came = world.now;
    world.pass(PATIENCE.total);
    let refused = world.state.enter(world.now, came, PATIENCE);
    let busy = Refusal::Busy {
        under_way: 2,
        after: PATIENCE.total,
    };
    assert_eq!(refused, Entry::Refused(busy));
}

#[test]
fn a_rate_that_is_set_is_kept_to() {
    let rate = |requests, seconds| HostLimits {
        concurrency: None,
        rate: Some(Rate {
            requests: NonZeroU32::new(requests).unwrap(),
            per: Duration::from_secs(seconds),
        }),
    };
    let mut world = World::with(rate(10, 20));
    let mut sent = world.all();
    assert_eq!(sent.len(), 10);
    for pass in sent.drain(..) {
        world.settle(pass, ANSWERED);
    }
    let Entry::Wait(Some(until)) = world.ask() else {
        panic!("{:?}", world.ask());
    };
    world.now = until;
    assert_eq!(world.all().len(), 1);

    let mut world = World::with(rate(1, 3600));
    world.go();
    assert!(matches!(
        world.ask(),
        Entry::Refused(Refusal::Rate { left }) if left > Duration::from_secs(3000)
    ));
    let mut world = World::with(rate(1, 0));
    assert_eq!(world.all().len(), 32, "a rate over no time is none");
}

#[test]
fn an_outage_is_not_answered_with_many_times_the_load() {
    let mut world = World::new(32);
    let may = (0..2000)
        .filter(|_| world.state.may_retry(world.now))
        .count();
    assert_eq!(may, 20);
    for _ in 0..100 {
        let pass = world.go();
        world.settle(pass, ANSWERED);
    }
    let may = (0..2000)
        .filter(|_| world.state.may_retry(world.now))
        .count();
    assert!((19..=20).contains(&may), "{may}");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.state.retries_left(world.now), 5);
}

/// A thousand sources that ask again whenever they are told they may, and a registry that is away for ten minutes.
#[test]
fn a_thousand_sources_are_let_in_again_within_a_minute() {
    let mut world = World::new(32);
    let away_until = world.now + Duration::from_secs(600);
    let (mut done, mut asked_while_away) = (0, 0);
    while done < 1000 {
        let passes = world.all();
        for pass in passes {
            if world.now < away_until {
                asked_while_away += 1;
                world.settle(pass, FAILED);
            } else {
                done += 1;
                world.settle(pass, ANSWERED);
            }
        }
        world.pass(Duration::from_millis(100));
    }
    let recovered = world.now - away_until;
    assert!(recovered < Duration::from_secs(30), "{recovered:?}");
    assert!(asked_while_away < 100, "{asked_while_away}");
}

#[test]
fn nothing_left_of_a_limit_closes_until_its_reset() {
    let mut world = World::new(8);
    let pass = world.go();
    let verdict = Verdict {
        wish: Some((Duration::from_secs(3), 200)),
        rate_limit: Some(RateLimit {
            remaining: Some(0),
            ..RateLimit::default()
        }),
        ..ANSWERED
    };
    assert!(world.settle(pass, verdict).closed);
    assert!(matches!(world.ask(), Entry::Wait(Some(_))));
    assert_eq!(world.state.rate_limit().unwrap().remaining, Some(0));
}
