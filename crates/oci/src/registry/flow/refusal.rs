// SPDX-License-Identifier: Apache-2.0
//! Why a request was not sent, and the words for it.
//!
//! A refusal is made in `state` and leaves inside an error. It names nothing that one tenant may not know of another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::breaker::{Failure, Outage};
use crate::registry::{error::ErrorKind, origin::Origin};

/// Why a request is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The host asked for no more requests for now.
    Closed {
        left: Duration,
        status: u16,
        at: SystemTime,
    },
    /// The host does not work.
    Broken(Outage),
    /// All that is allowed by the settings has been sent.
    Rate { left: Duration },
    /// Others took too long.
    Busy { under_way: u32, after: Duration },
}

impl Refusal {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed { .. } | Self::Rate { .. } => ErrorKind::RateLimited,
            Self::Broken(_) => ErrorKind::Unavailable,
            Self::Busy { .. } => ErrorKind::Timeout,
        }
    }

    /// For how long it is so, where that is known.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self {
            Self::Closed { left, .. } | Self::Rate { left } => Some(*left),
            Self::Broken(outage) => Some(outage.left),
            Self::Busy { .. } => None,
        }
    }

    /// Whether the host is spared, rather than others being served first.
    pub(crate) fn spares_the_host(&self) -> bool {
        !matches!(self, Self::Busy { .. })
    }

    /// Whether no connection came about: what speaks for trying the host in another way.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Broken(outage) if matches!(outage.last, Failure::Connect | Failure::Timeout))
    }
}

/// What is told of a refusal.
pub(crate) fn refused(host: &Origin, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Closed { left, status, at } => format!(
            "{host} asked for no more requests for another {} s ({status} at {})",
            seconds(*left),
            clock(*at)
        ),
        // The same words as long as the outage lasts: this becomes a condition of every source of the host, and each
        // other wording would be written to the API server.
        Refusal::Broken(outage) => format!(
            "{host} is left alone for a while: its last requests failed, the first of them at {}, the last with {}",
            clock(outage.since),
            outage.last
        ),
        Refusal::Rate { left } => format!(
            "the rate that is set for {host} is used up for another {} s",
            seconds(*left)
        ),
        Refusal::Busy { under_way, after } => format!(
            "no turn at {host} within {} s, {under_way} requests to it are under way",
            seconds(*after)
        ),
    }
}

/// Whole seconds, rounded up: nobody is told to come back too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The time of day in UTC.
fn clock(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::origin::Link;

    #[test]
    fn a_refusal_says_who_why_and_for_how_long() {
        let host = Link::parse("https://ghcr.io/").unwrap().origin;
        let at = UNIX_EPOCH + Duration::from_secs(86_400 * 20_000 + 12 * 3600 + 5);
        let left = Duration::from_millis(41_001);
        let closed = Refusal::Closed {
            left,
            status: 429,
            at,
        };
        assert_eq!(
            refused(&host, &closed),
            "https://ghcr.io asked for no more requests for another 42 s (429 at 12:00:05 UTC)"
        );
        let outage = Outage {
            left,
            since: at,
            last: Failure::Status(503),
        };
        assert_eq!(
            refused(&host, &Refusal::Broken(outage)),
            "https://ghcr.io is left alone for a while: its last requests failed, the first of them at 12:00:05 UTC, \
             the last with status 503"
        );
        assert_eq!(
            refused(&host, &Refusal::Rate { left }),
            "the rate that is set for https://ghcr.io is used up for another 42 s"
        );
        let busy = Refusal::Busy {
            under_way: 32,
            after: left,
        };
        assert_eq!(
            refused(&host, &busy),
            "no turn at https://ghcr.io within 42 s, 32 requests to it are under way"
        );
    }
}
