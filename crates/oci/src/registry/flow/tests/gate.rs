// SPDX-License-Identifier: Apache-2.0

use std::{
    io,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Response, StatusCode};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep},
};

use crate::registry::{
    error::ErrorKind,
    flow::{Flow, MAX_HOSTS, Patience, Ticket, Way, breaker},
    hosts::{Host, HostLimits, Hosts, Rate},
    origin::{Link, Origin},
    problem::Problem,
    proxy::{Proxy, route::Route},
};

const PATIENCE: Patience = Patience {
    known: Duration::from_secs(10),
    total: Duration::from_secs(60),
};

fn origin(text: &str) -> Origin {
    Link::parse(text).unwrap().origin
}

fn host() -> Way {
    way("https://r.example/")
}

fn way(text: &str) -> Way {
    Way::new(origin(text), &Route::Fixed(None))
}

fn way_through(proxy: &str) -> Way {
    let proxy = Proxy::parse(proxy, None, None).unwrap();
    Way::new(host().origin, &Route::Fixed(Some(Arc::new(proxy))))
}

fn flow(concurrency: u32) -> Arc<Flow> {
    let limits = HostLimits {
        concurrency: NonZeroU32::new(concurrency),
        rate: None,
    };
    Arc::new(Flow::new(limited(limits), PATIENCE))
}

fn limited(limits: HostLimits) -> Hosts {
    let settings = Host {
        limits,
        ..Host::default()
    };
    Hosts::new([("r.example".to_owned(), settings)])
}

type Answer = Result<Response<()>, Problem>;

#[expect(clippy::unnecessary_wraps, reason = "what is settled is a result")]
fn came_back(status: u16, headers: &[(&str, &str)]) -> Answer {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Ok(response.body(()).unwrap())
}

fn broken() -> Answer {
    let cause = Box::new(io::Error::from(io::ErrorKind::ConnectionReset));
    Err(Problem::Broken {
        host: host().origin,
        cause,
    })
}

/// Asks in a task of its own, and lets it come to the gate.
async fn ask(flow: &Arc<Flow>) -> JoinHandle<Result<Ticket, Problem>> {
    let flow = flow.clone();
    let task = tokio::spawn(async move { flow.enter(&host(), None).await });
    for _ in 0..10 {
        yield_now().await;
    }
    task
}

async fn break_down(flow: &Flow) {
    for _ in 0..breaker::FAILURES {
        drop(flow.enter(&host(), None).await.unwrap().settle(&broken()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_goes_first() {
    let flow = flow(1);
    let first = flow.enter(&host(), None).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..20 {
        let (flow, order) = (flow.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let ticket = flow.enter(&host(), None).await.unwrap();
            order.lock().unwrap().push(n);
            sleep(Duration::from_secs(1)).await;
            drop(ticket.settle(&came_back(200, &[])));
        }));
        yield_now().await;
    }
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    let stats = flow.stats();
    assert_eq!((stats.waits, stats.in_flight, stats.waiting), (20, 0, 0));
    assert!(
        stats.waited >= Duration::from_secs(19),
        "{:?}",
        stats.waited
    );
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_nothing_behind() {
    let flow = flow(1);
    let first = flow.enter(&host(), None).await.unwrap();
    let (head, second, third) = (ask(&flow).await, ask(&flow).await, ask(&flow).await);
    assert_eq!(flow.stats().waiting, 3);
    head.abort();
    second.abort();
    assert!(head.await.is_err() && second.await.is_err());
    assert_eq!(flow.stats().waiting, 1);
    drop(first);
    let third = third.await.unwrap().unwrap();
    assert_eq!(flow.stats().in_flight, 1);
    drop(third);
    let stats = flow.stats();
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
    assert!(stats.requests.contains(&("cancelled", 2)), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_place_is_kept_as_long_as_what_settling_gave() {
    let flow = flow(1);
    let slot = flow
        .enter(&host(), None)
        .await
        .unwrap()
        .settle(&came_back(200, &[]));
    let waiting = ask(&flow).await;
    assert!(!waiting.is_finished());
    drop(slot);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_how_many_are_before_him() {
    let flow = flow(2);
    let _held = [
        flow.enter(&host(), None).await.unwrap(),
        flow.enter(&host(), None).await.unwrap(),
    ];
    let (head, behind) = (ask(&flow).await, ask(&flow).await);
    for waiting in [head, behind] {
        let problem = waiting.await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::Timeout);
        assert_eq!(
            problem.to_string(),
            "no turn at https://r.example within 60 s, 2 requests to it are under way"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_are_let_in_when_the_window_opens() {
    let flow = flow(4);
    let ticket = flow.enter(&host(), None).await.unwrap();
    drop(ticket.settle(&came_back(429, &[("retry-after", "5")])));
    let start = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(ask(&flow).await);
    }
    assert_eq!(flow.statuses()[0].waiting, 50);
    for task in waiting {
        let ticket = task.await.unwrap().unwrap();
        assert!(start.elapsed() >= Duration::from_secs(5));
        drop(ticket.settle(&came_back(200, &[])));
    }
    assert!(start.elapsed() <= Duration::from_secs(6));
    assert_eq!(flow.stats().closings, 1);
}

#[tokio::test(start_paused = true)]
async fn a_window_beyond_patience_is_told_at_once_to_all_who_wait() {
    let flow = flow(1);
    let ticket = flow.enter(&host(), None).await.unwrap();
    let waiting = [ask(&flow).await, ask(&flow).await, ask(&flow).await];
    let start = Instant::now();
    drop(ticket.settle(&came_back(503, &[("retry-after", "3600")])));
    for task in waiting {
        let problem = task.await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::RateLimited);
        let left = problem.retry_after().unwrap();
        assert!(
            left >= Duration::from_secs(299) && left <= Duration::from_secs(301),
            "{left:?}"
        );
        let text = problem.to_string();
        assert!(
            text.starts_with("https://r.example asked for no more requests for another 30"),
            "{text}"
        );
        assert!(text.contains("(503 at "), "{text}");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(flow.stats().refused.contains(&("closed", 3)));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_broke_is_left_alone_and_then_probed_by_one() {
    let flow = flow(8);
    break_down(&flow).await;
    let problem = flow.enter(&host(), None).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Unavailable);
    let left = problem.retry_after().unwrap();
    assert!(left <= Duration::from_millis(1250), "{left:?}");
    assert!(
        problem
            .to_string()
            .contains("the last with a connection that broke"),
        "{problem}"
    );
    assert_eq!(
        (flow.stats().hosts_broken, flow.stats().breaker_opens),
        (1, 1)
    );
    assert!(
        flow.enter(&way("https://other.example/"), None)
            .await
            .is_ok()
    );
    assert!(flow.enter(&way("http://r.example/"), None).await.is_ok());

    sleep(left).await;
    let probe = flow.enter(&host(), None).await.unwrap();
    let waiting = [ask(&flow).await, ask(&flow).await];
    assert_eq!(
        flow.statuses().iter().map(|host| host.waiting).sum::<u32>(),
        2
    );
    drop(probe.settle(&broken()));
    for task in waiting {
        assert_eq!(
            task.await.unwrap().unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    }
    sleep(Duration::from_secs(3)).await;
    let probe = flow.enter(&host(), None).await.unwrap();
    drop(probe.settle(&came_back(404, &[])));
    assert!(flow.enter(&host(), None).await.is_ok());
    assert_eq!(flow.stats().hosts_broken, 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_is_followed_by_another() {
    let flow = flow(8);
    break_down(&flow).await;
    sleep(Duration::from_secs(2)).await;
    let probe = flow.enter(&host(), None).await.unwrap();
    let waiting = ask(&flow).await;
    assert!(!waiting.is_finished());
    drop(probe);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn made_up_hosts_push_out_nothing_that_matters() {
    let flow = flow(8);
    drop(
        flow.enter(&host(), None)
            .await
            .unwrap()
            .settle(&came_back(429, &[("retry-after", "60")])),
    );
    for n in 0..2 * MAX_HOSTS {
        let made_up = way(&format!("https://h{n}.example/"));
        drop(
            flow.enter(&made_up, None)
                .await
                .unwrap()
                .settle(&came_back(200, &[])),
        );
    }
    let hosts = flow.statuses();
    assert_eq!(hosts.len(), MAX_HOSTS);
    assert!(
        hosts
            .iter()
            .any(|host| host.host == "https://r.example" && host.closed_for.is_some())
    );
    assert!(flow.enter(&host(), None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_is_used_up_is_not_forgotten_for_made_up_hosts() {
    let rate = Rate {
        requests: NonZeroU32::MIN,
        per: Duration::from_secs(6 * 3600),
    };
    let flow = Flow::new(
        limited(HostLimits {
            concurrency: None,
            rate: Some(rate),
        }),
        PATIENCE,
    );
    drop(flow.enter(&host(), None).await.unwrap());
    for n in 0..2 * MAX_HOSTS {
        let made_up = way(&format!("https://h{n}.example/"));
        drop(flow.enter(&made_up, None).await.unwrap());
    }
    let problem = flow.enter(&host(), None).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::RateLimited, "{problem}");
}

/// What one can do to a host by answering in its place, or by having it asked for something odd.
const HARM: [(u16, &[(&str, &str)]); 2] = [(429, &[("retry-after", "300")]), (503, &[])];

async fn harm(flow: &Flow, to: &Way, led_by: Option<&Way>, n: usize) {
    let (status, headers) = HARM[n];
    for _ in 0..breaker::FAILURES {
        let Ok(ticket) = flow.enter(to, led_by).await else {
            break;
        };
        drop(ticket.settle(&came_back(status, headers)));
    }
    assert!(flow.enter(to, led_by).await.is_err(), "{status}");
}

#[tokio::test(start_paused = true)]
async fn who_answers_through_a_tenant_s_own_proxy_closes_the_host_for_that_tenant_only() {
    let own = way_through("http://own:1");
    for n in 0..HARM.len() {
        let flow = flow(8);
        harm(&flow, &own, None, n).await;
        assert!(flow.enter(&host(), None).await.is_ok());
        let another = way_through("http://own:2");
        assert!(flow.enter(&another, None).await.is_ok());
        assert!(flow.may_retry(&host(), None));
        let statuses = flow.statuses();
        let own = statuses.iter().filter(|status| status.is_through_proxy);
        assert_eq!((own.count(), statuses.len()), (2, 3));
    }
    let flow = flow(1);
    let _held = flow.enter(&own, None).await.unwrap();
    let free = ask(&flow).await;
    assert!(free.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_leads_to_a_host_closes_it_only_for_who_is_led_there() {
    let (hostile, honest) = (
        way("https://hostile.example/"),
        way("https://honest.example/"),
    );
    for n in 0..HARM.len() {
        let flow = flow(8);
        harm(&flow, &host(), Some(&hostile), n).await;
        for led_by in [None, Some(&honest)] {
            assert!(flow.enter(&host(), led_by).await.is_ok());
            assert_eq!(flow.broken_for(&host(), led_by), None);
        }
        let stats = flow.stats();
        assert_eq!((stats.hosts, stats.in_flight), (1, 0), "{stats:?}");
        assert_eq!(stats.hosts_closed + stats.hosts_broken, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_led_to_a_host_is_bound_by_its_windows_its_places_and_its_outages() {
    let by = way("https://registry.example/");
    let flow = flow(1);
    let held = flow.enter(&host(), Some(&by)).await.unwrap();
    let waiting = ask(&flow).await;
    assert!(!waiting.is_finished());
    let slot = held.settle(&came_back(200, &[]));
    assert!(!waiting.is_finished());
    drop(slot);
    let ticket = waiting.await.unwrap().unwrap();
    assert_eq!(flow.stats().in_flight, 1);
    drop(ticket.settle(&came_back(429, &[("retry-after", "300")])));
    let problem = flow.enter(&host(), Some(&by)).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::RateLimited);
    sleep(Duration::from_secs(331)).await;
    break_down(&flow).await;
    let problem = flow.enter(&host(), Some(&by)).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Unavailable);
    assert!(flow.broken_for(&host(), Some(&by)).is_some());
    let stats = flow.stats();
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
    assert!(stats.requests.contains(&("cancelled", 0)), "{stats:?}");
}

#[test]
fn limits_are_found_under_the_name_in_references() {
    let concurrency = |n| Host {
        limits: HostLimits {
            concurrency: NonZeroU32::new(n),
            rate: None,
        },
        ..Host::default()
    };
    let hosts = [("r.example", 1), ("r.example:5000", 2), ("127.0.0.1:80", 3)];
    let hosts = hosts.map(|(name, n)| (name.to_owned(), concurrency(n)));
    let flow = Flow::new(Hosts::new(hosts), PATIENCE);
    for (url, expected) in [
        ("https://r.example/", Some(1)),
        ("http://r.example:80/", Some(1)),
        ("https://r.example:5000/", Some(2)),
        ("http://127.0.0.1/", Some(3)),
        ("https://r.example:5001/", None),
        ("https://sub.r.example/", None),
    ] {
        let limits = flow.limits(&origin(url));
        assert_eq!(limits.concurrency.map(NonZeroU32::get), expected, "{url}");
    }
}

#[test]
fn what_a_host_says_of_its_limit_is_seen() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let flow = flow(8);
        let headers = [
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "7;w=21600"),
        ];
        drop(
            flow.enter(&host(), None)
                .await
                .unwrap()
                .settle(&came_back(200, &headers)),
        );
        let other = way("https://other.example/");
        drop(
            flow.enter(&other, None)
                .await
                .unwrap()
                .settle(&came_back(200, &[("ratelimit-remaining", "50")])),
        );
        drop(
            flow.enter(&host(), None)
                .await
                .unwrap()
                .settle(&came_back(200, &[])),
        );
        assert_eq!(flow.stats().lowest_remaining, Some(7));
        let limit = flow.statuses()[1].rate_limit.unwrap();
        assert_eq!(
            (limit.limit, limit.window),
            (Some(100), Some(Duration::from_secs(21_600)))
        );
    });
}
