// SPDX-License-Identifier: Apache-2.0
//! What is counted, and how it is shown: numbers for metrics without a host among them, and a bounded list of hosts.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;

use super::{refusal::Refusal, wishes::RateLimit};

/// The labels of answers: statuses that somebody acts upon by themselves, the rest by their class.
const CODES: [&str; 16] = [
    "2xx",
    "3xx",
    "401",
    "403",
    "404",
    "408",
    "429",
    "4xx",
    "500",
    "502",
    "503",
    "504",
    "5xx",
    "other",
    "none",
    "cancelled",
];
const OTHER: usize = 13;
const NONE: usize = 14;
const CANCELLED: usize = 15;

const REASONS: [&str; 4] = ["closed", "broken", "rate", "busy"];

/// What the client has done since it was made, and does now. Counts only grow. No host, tag or text from outside is in
/// it, and the words are from fixed lists, so that all of it can be a metric.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were sent, by what came of them: `2xx`, `3xx`, `401`, `403`, `404`, `408`, `429`, other `4xx`,
    /// `500`, `502`, `503`, `504`, other `5xx`, `other`; `none` when there was no answer, `cancelled` when nobody
    /// waited for it any more.
    pub requests: Vec<(&'static str, u64)>,
    /// Operations that were tried again.
    pub retries: u64,
    /// Operations that were not tried again because their host's budget was spent.
    pub retries_refused: u64,
    /// Requests that had to wait for their turn.
    pub waits: u64,
    /// How long they waited, all together.
    pub waited: Duration,
    /// Requests that were not sent, by reason: `closed` (the host asked for none), `broken` (the circuit breaker is
    /// open), `rate` (a limit that is set), `busy` (no turn within the time).
    pub refused: Vec<(&'static str, u64)>,
    /// How often a host was closed because it asked for it.
    pub closings: u64,
    /// How often a circuit breaker opened.
    pub breaker_opens: u64,
    /// Hosts that are known now.
    pub hosts: u64,
    /// Hosts among them that asked for no requests now.
    pub hosts_closed: u64,
    /// Hosts among them whose circuit breaker is open now.
    pub hosts_broken: u64,
    /// Requests under way now, bodies that are still being read included.
    pub in_flight: u64,
    /// Requests that wait for their turn now.
    pub waiting: u64,
    /// The lowest `RateLimit-Remaining` that any host named last.
    pub lowest_remaining: Option<u64>,
}

/// What is known of one host. For programs and people, not for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostStatus {
    /// Scheme, host and port: `https://ghcr.io`.
    pub host: String,
    /// The registry that led there, where these are requests that another host asked for: to its token service, or after
    /// a redirect. What comes of them counts here and not for the host as a whole.
    pub led_by: Option<String>,
    /// Whether it is reached through a proxy that is set for a source or for the host, not by the process's own rules.
    pub is_through_proxy: bool,
    /// Requests under way.
    pub in_flight: u32,
    /// Requests that wait for their turn.
    pub waiting: u32,
    /// For how long it asked for no more requests.
    pub closed_for: Option<Duration>,
    /// For how long its circuit breaker is open.
    pub broken_for: Option<Duration>,
    /// Retries that it may still be bothered with.
    pub retries_left: u32,
    /// What it last said about its own limit.
    pub rate_limit: Option<RateLimit>,
}

/// What is counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Numbers>);

#[derive(Clone, Debug, Default)]
struct Numbers {
    requests: [u64; CODES.len()],
    refused: [u64; REASONS.len()],
    retries: u64,
    retries_refused: u64,
    waits: u64,
    waited: Duration,
    closings: u64,
    breaker_opens: u64,
}

impl Counts {
    pub(super) fn answered(&self, status: StatusCode) {
        self.with(|numbers| numbers.requests[place(status)] += 1);
    }

    pub(super) fn unanswered(&self) {
        self.with(|numbers| numbers.requests[NONE] += 1);
    }

    pub(super) fn cancelled(&self) {
        self.with(|numbers| numbers.requests[CANCELLED] += 1);
    }

    pub(super) fn retried(&self, may: bool) {
        self.with(|numbers| {
            if may {
                numbers.retries += 1;
            } else {
                numbers.retries_refused += 1;
            }
        });
    }

    pub(super) fn waited(&self, time: Duration) {
        self.with(|numbers| {
            numbers.waits += 1;
            numbers.waited = numbers.waited.saturating_add(time);
        });
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        let place = match refusal {
            Refusal::Closed { .. } => 0,
            Refusal::Broken(_) => 1,
            Refusal::Rate { .. } => 2,
            Refusal::Busy { .. } => 3,
        };
        self.with(|numbers| numbers.refused[place] += 1);
    }

    pub(super) fn closed(&self) {
        self.with(|numbers| numbers.closings += 1);
    }

    pub(super) fn broke(&self) {
        self.with(|numbers| numbers.breaker_opens += 1);
    }

    /// The counts, with what is now left at nothing.
    pub(super) fn stats(&self) -> Stats {
        let numbers = self.with(|numbers| numbers.clone());
        Stats {
            requests: CODES.into_iter().zip(numbers.requests).collect(),
            refused: REASONS.into_iter().zip(numbers.refused).collect(),
            retries: numbers.retries,
            retries_refused: numbers.retries_refused,
            waits: numbers.waits,
            waited: numbers.waited,
            closings: numbers.closings,
            breaker_opens: numbers.breaker_opens,
            ..Stats::default()
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Numbers) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn place(status: StatusCode) -> usize {
    let code = status.as_u16();
    let class = match code {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "other",
    };
    let at = |label: &str| CODES.iter().position(|code| *code == label);
    at(status.as_str()).or_else(|| at(class)).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_place_among_the_few() {
        let counts = Counts::default();
        for code in 100..1000 {
            counts.answered(StatusCode::from_u16(code).unwrap());
        }
        counts.unanswered();
        counts.cancelled();
        let stats = counts.stats();
        let of = |name| {
            stats
                .requests
                .iter()
                .find(|(code, _)| *code == name)
                .unwrap()
                .1
        };
        assert_eq!(
            (of("2xx"), of("404"), of("4xx"), of("5xx")),
            (100, 1, 95, 96)
        );
        assert_eq!((of("429"), of("503"), of("other")), (1, 1, 500));
        assert_eq!((of("none"), of("cancelled")), (1, 1));
        assert_eq!(stats.requests.len(), CODES.len());
    }
}
