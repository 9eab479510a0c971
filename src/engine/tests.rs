// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::*;

fn trigger(name: &str, host: &str) -> Trigger {
    Trigger {
        id: SourceId::new("ns", name),
        host: host.into(),
        why: Why::Changed,
    }
}

fn queue(total: usize, per_host: usize) -> Queue {
    Queue::new(Permits {
        total,
        per_host,
        per_namespace: 100,
    })
}

fn after(seconds: u64) -> Verdict {
    Verdict::Schedule(Next::After(Duration::from_secs(seconds)))
}

#[test]
fn one_source_never_runs_twice_at_a_time() {
    let mut queue = queue(8, 8);
    queue.trigger(trigger("a", "h"), Instant::now());
    let (id, wake) = queue.take().unwrap();
    assert!(wake.is_due, "the first run is always due");
    queue.trigger(trigger("a", "h"), Instant::now());
    assert!(queue.take().is_none());
    queue.finish(&id, after(60), Instant::now());
    assert_eq!(queue.take().unwrap(), (id, Wake { is_due: false }));
}

#[test]
fn a_slow_host_leaves_slots_to_the_others() {
    let mut queue = queue(4, 2);
    for name in ["a", "b", "c", "d"] {
        queue.trigger(trigger(name, "dead"), Instant::now());
    }
    queue.trigger(trigger("e", "alive"), Instant::now());
    let names: Vec<_> = std::iter::from_fn(|| queue.take())
        .map(|(id, _)| id.name)
        .collect();
    assert_eq!(names, ["a", "e", "b"]);
}

#[test]
fn a_host_that_becomes_known_while_a_source_waits_counts() {
    let mut queue = queue(4, 1);
    for host in ["", "h"] {
        queue.trigger(trigger("a", host), Instant::now());
        queue.trigger(trigger("b", host), Instant::now());
    }
    assert_eq!(queue.waiting(), 2);
    assert!(queue.take().is_some() && queue.take().is_none());
    assert_eq!(queue.per_host["h"], 1);
}

#[test]
fn the_total_is_a_limit_and_permits_come_back() {
    let mut queue = queue(1, 1);
    queue.trigger(trigger("a", "h"), Instant::now());
    queue.trigger(trigger("b", "h"), Instant::now());
    let (a, _) = queue.take().unwrap();
    assert!(queue.take().is_none());
    queue.finish(&a, Verdict::Keep, Instant::now());
    assert_eq!(queue.take().unwrap().0.name, "b");
}

#[test]
fn a_change_that_was_none_keeps_the_schedule() {
    let mut queue = queue(1, 1);
    let start = Instant::now();
    queue.trigger(trigger("a", "h"), Instant::now());
    let (a, _) = queue.take().unwrap();
    queue.finish(&a, after(60), start);
    queue.trigger(trigger("a", "h"), Instant::now());
    queue.take().unwrap();
    queue.finish(&a, Verdict::Keep, start);
    queue.wake_due(start + Duration::from_secs(59));
    assert!(queue.take().is_none());
    queue.wake_due(start + Duration::from_secs(60));
    assert_eq!(queue.take().unwrap().1, Wake { is_due: true });
}

#[test]
fn a_replaced_timer_does_not_fire() {
    let mut queue = queue(1, 1);
    let start = Instant::now();
    queue.trigger(trigger("a", "h"), Instant::now());
    let (a, _) = queue.take().unwrap();
    queue.finish(&a, after(10), start);
    queue.trigger(trigger("a", "h"), Instant::now());
    queue.take().unwrap();
    queue.finish(&a, after(100), start);
    queue.wake_due(start + Duration::from_secs(50));
    assert!(queue.take().is_none());
}

#[test]
fn a_source_that_comes_back_while_it_is_forgotten_runs_again() {
    let mut queue = queue(1, 1);
    queue.trigger(trigger("a", "h"), Instant::now());
    let (a, _) = queue.take().unwrap();
    queue.trigger(trigger("a", "h"), Instant::now());
    queue.finish(&a, Verdict::Forget, Instant::now());
    assert_eq!(queue.take().unwrap().1, Wake { is_due: true });
    queue.finish(&a, Verdict::Forget, Instant::now());
    assert!(
        queue.entries.is_empty() && queue.per_host.is_empty() && queue.per_namespace.is_empty()
    );
}

#[test]
fn a_missed_artifact_runs_a_known_source_and_not_too_often() {
    let mut queue = queue(4, 4);
    let start = Instant::now();
    let missing = || Trigger {
        why: Why::Missing,
        ..trigger("a", "h")
    };
    queue.trigger(missing(), start);
    assert!(
        queue.take().is_none() && queue.entries.is_empty(),
        "anybody can ask for any name"
    );
    queue.trigger(trigger("a", "h"), start);
    let (a, _) = queue.take().unwrap();
    queue.finish(&a, after(60), start);
    queue.trigger(missing(), start + Duration::from_secs(9));
    assert!(queue.take().is_none());
    queue.trigger(missing(), start + Duration::from_secs(10));
    assert_eq!(queue.take().unwrap().1, Wake { is_due: true });
}

#[tokio::test(start_paused = true)]
async fn the_engine_runs_at_once_then_at_the_interval_and_survives_a_panic() {
    let (sender, triggers) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&ran);
    let start = Instant::now();
    let run_one = move |id: SourceId, _| {
        let log = Arc::clone(&log);
        async move {
            log.lock()
                .unwrap()
                .push((id.name.clone(), start.elapsed().as_secs()));
            assert!(id.name != "panics", "on purpose");
            after(30)
        }
    };
    sender.send(trigger("panics", "h")).await.unwrap();
    sender.send(trigger("works", "h")).await.unwrap();
    let engine = tokio::spawn(run(
        Permits::default(),
        triggers,
        run_one,
        |_| {},
        stop.clone(),
    ));
    tokio::time::sleep(Duration::from_secs(65)).await;
    stop.cancel();
    engine.await.unwrap();
    let mut ran = ran.lock().unwrap().clone();
    ran.sort();
    let expected = [
        ("panics", 0),
        ("panics", 60),
        ("works", 0),
        ("works", 30),
        ("works", 60),
    ];
    assert_eq!(ran, expected.map(|(name, at)| (name.to_owned(), at)));
}
