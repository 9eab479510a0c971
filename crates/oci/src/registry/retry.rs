// SPDX-License-Identifier: Apache-2.0
//! Trying again: the decision, which is pure, and the waiting.
//!
//! [`pause`] decides from a problem, the attempt's number and a random value; [`Attempts`] counts, asks `flow` whether
//! the host can bear another attempt, and sleeps.

use std::time::Duration;

use super::{error::Error, origin::Origin, problem::Problem, request::Channel};

/// How often and how fast a failed operation is tried again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How often an operation is tried in all; 0 counts as 1. Default 3, as Flux.
    pub attempts: u32,
    /// The pause after the first failure; each further one is three times as long. Default 1 s, as Flux.
    pub base: Duration,
    /// The longest pause. A registry that asks for more with `Retry-After` is not waited for here: the error carries
    /// its wish. Default 10 s.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_secs(1),
            longest: Duration::from_secs(10),
        }
    }
}

/// How long to wait before the next attempt; `None` gives up. `random` is in 0..1 and spreads the pause by a quarter
/// in both directions.
pub(crate) fn pause(
    policy: &RetryPolicy,
    made: u32,
    problem: &Problem,
    random: f64,
) -> Option<Duration> {
    if made >= policy.attempts || !problem.is_transient() {
        return None;
    }
    if let Some(wish) = problem.retry_after() {
        return (wish <= policy.longest).then_some(wish);
    }
    let factor = 3_u32.saturating_pow(made.saturating_sub(1));
    let pause = policy.base.saturating_mul(factor).min(policy.longest);
    Some(pause.mul_f64(0.75 + random / 2.0))
}

/// The attempts at one operation.
pub(crate) struct Attempts<'a> {
    channel: &'a Channel,
    operation: String,
    /// Since it last got on.
    made: u32,
    /// Those before.
    earlier: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(channel: &'a Channel, operation: String) -> Self {
        Self {
            channel,
            operation,
            made: 0,
            earlier: 0,
        }
    }

    /// The operation got on so far that its attempts are counted anew. The error still tells of all.
    pub(crate) fn got_on(&mut self) {
        self.earlier = self.earlier.saturating_add(self.made);
        self.made = 0;
    }

    /// Counts a failure: waits and returns if the operation is to be tried again, else gives the error to return.
    pub(crate) async fn failed(&mut self, problem: Problem) -> Result<(), Error> {
        self.made += 1;
        let pause = pause(&self.channel.retry, self.made, &problem, fastrand::f64());
        let Some(pause) = pause.filter(|_| self.may_retry(&problem)) else {
            let broken_for = self.host(&problem).and_then(|host| {
                let home = &self.channel.home;
                let led_by = self.channel.led_by(&host);
                home.flow.broken_for(&home.way(&host), led_by.as_ref())
            });
            return Err(self.error(problem).with_outage(broken_for));
        };
        let problem = self.channel.scrub(&problem.to_string());
        tracing::debug!(operation = %self.operation, place = %self.channel.place, attempt = self.made, %problem, "will try again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Whether the host's budget allows another attempt. Who comes back when the host said so needs none.
    fn may_retry(&self, problem: &Problem) -> bool {
        let flow = &self.channel.home.flow;
        if problem.retry_after().is_some() {
            flow.retried_as_asked();
            return true;
        }
        self.host(problem).is_none_or(|host| {
            let led_by = self.channel.led_by(&host);
            flow.may_retry(&self.channel.home.way(&host), led_by.as_ref())
        })
    }

    fn host(&self, problem: &Problem) -> Option<Origin> {
        problem
            .host()
            .cloned()
            .or_else(|| self.channel.home_origin())
    }

    /// The error for a problem that is not worth another attempt, after [`Self::failed`] was or was not called.
    fn error(&self, problem: Problem) -> Error {
        let made = self.earlier.saturating_add(self.made);
        self.channel.error(&self.operation, made, problem)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::registry::{
        origin::Link,
        problem::{Answer, AskedBy},
    };

    fn answered(status: u16, retry_after: Option<u64>) -> Problem {
        Problem::Answer {
            host: Link::parse("https://r.example/").unwrap().origin,
            answer: Answer {
                status: StatusCode::from_u16(status).unwrap(),
                words: String::new(),
                retry_after: retry_after.map(Duration::from_secs),
                asked_by: AskedBy::Nobody,
            },
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let policy = RetryPolicy::default();
        for status in [408, 425, 429, 499, 500, 502, 503, 504, 520, 522, 524] {
            assert!(
                pause(&policy, 1, &answered(status, None), 0.5).is_some(),
                "{status}"
            );
        }
        for status in [400, 401, 403, 404, 405, 501, 505, 507, 511, 519, 525, 307] {
            assert_eq!(
                pause(&policy, 1, &answered(status, None), 0.5),
                None,
                "{status}"
            );
        }
    }

    #[test]
    fn pauses_grow_and_attempts_end() {
        let policy = RetryPolicy::default();
        let problem = answered(503, None);
        let at = |made| pause(&policy, made, &problem, 0.5);
        assert_eq!(at(1), Some(Duration::from_secs(1)));
        assert_eq!(at(2), Some(Duration::from_secs(3)));
        assert_eq!(at(3), None);
        assert_eq!(
            pause(&policy, 1, &problem, 0.0),
            Some(Duration::from_millis(750))
        );
        let none = RetryPolicy {
            attempts: 0,
            ..policy
        };
        assert_eq!(pause(&none, 1, &problem, 0.5), None);
    }

    #[test]
    fn a_wish_of_the_registry_is_honoured_or_passed_on() {
        let policy = RetryPolicy::default();
        assert_eq!(
            pause(&policy, 1, &answered(429, Some(4)), 0.9),
            Some(Duration::from_secs(4))
        );
        assert_eq!(pause(&policy, 1, &answered(429, Some(3600)), 0.9), None);
    }
}
