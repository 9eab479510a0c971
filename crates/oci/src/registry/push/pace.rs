// SPDX-License-Identifier: Apache-2.0
//! The other side must take what we send, and answer when it has it.
//!
//! A request that is being sent goes in with the count of what was taken of its body; its answer comes out, or the
//! problem that nothing moves. The deadline of the whole request is kept elsewhere.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout};

use crate::registry::{client::Timeouts, origin::Origin, problem::Problem};

use super::content::Taken;

/// A registry that has everything may have to hash and move it; this many bytes in a second are its slowest.
const SETTLED_PER_SECOND: u64 = 16 << 20;

/// Waits for the answer to a request with a body of `len` bytes, as long as the body is taken at the least rate.
pub(crate) async fn paced<T>(
    sending: impl Future<Output = Result<T, Problem>>,
    taken: &Taken,
    len: u64,
    timeouts: Timeouts,
    host: &Origin,
) -> Result<T, Problem> {
    let mut sending = pin!(sending);
    let mut pace = Pace::default();
    loop {
        let window = pace.window(len, timeouts);
        if let Ok(answered) = timeout(window, &mut sending).await {
            return answered;
        }
        pace.judge(taken.bytes(), len, timeouts, host)?;
    }
}

#[derive(Default)]
struct Pace {
    /// Taken at the last look; `None` before the first piece.
    seen: Option<u64>,
    /// When it was first seen that everything was taken.
    whole_at: Option<Instant>,
}

impl Pace {
    fn window(&self, len: u64, timeouts: Timeouts) -> Duration {
        match self.whole_at {
            None => timeouts.slow_window,
            Some(_) => settling(len, timeouts),
        }
    }

    /// Called at the end of a window without an answer.
    fn judge(
        &mut self,
        taken: Option<u64>,
        len: u64,
        timeouts: Timeouts,
        host: &Origin,
    ) -> Result<(), Problem> {
        if self.whole_at.is_some() {
            return Err(Problem::Timeout {
                host: host.clone(),
                what: "an answer to what was sent",
                after: settling(len, timeouts),
            });
        }
        let before = std::mem::replace(&mut self.seen, taken);
        if taken.is_some_and(|taken| taken >= len) {
            self.whole_at = Some(Instant::now());
            return Ok(());
        }
        // The first window that has a connection may have had it for a moment only.
        if let (Some(before), Some(now)) = (before, taken)
            && now - before < timeouts.slow_bytes
        {
            return Err(Problem::Stalled {
                host: host.clone(),
                bytes: timeouts.slow_bytes,
                window: timeouts.slow_window,
            });
        }
        Ok(())
    }
}

fn settling(len: u64, timeouts: Timeouts) -> Duration {
    timeouts.response + Duration::from_secs(len / SETTLED_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::origin::Link;

    fn judged(looks: &[Option<u64>], len: u64) -> Result<(), Problem> {
        let host = Link::parse("https://r.example/").unwrap().origin;
        let mut pace = Pace::default();
        let mut looks = looks.iter();
        looks.try_for_each(|taken| pace.judge(*taken, len, Timeouts::default(), &host))
    }

    #[test]
    fn a_body_that_is_not_taken_is_noticed() {
        let k = 1 << 10;
        let steady = [Some(0), Some(40 * k), Some(80 * k)];
        assert!(judged(&steady, 1 << 30).is_ok());
        let stuck = judged(&[Some(400 * k), Some(400 * k)], 1 << 30);
        assert!(matches!(stuck, Err(Problem::Stalled { .. })), "{stuck:?}");
        let crawling = judged(&[Some(0), Some(k)], 1 << 30);
        assert!(matches!(crawling, Err(Problem::Stalled { .. })));
    }

    #[test]
    fn waiting_for_a_connection_counts_against_nobody() {
        assert!(judged(&[None, None, None, Some(1)], 1 << 30).is_ok());
    }

    #[test]
    fn everything_taken_and_no_answer_is_a_timeout() {
        assert!(judged(&[Some(100)], 100).is_ok());
        let silent = judged(&[Some(100), Some(100)], 100);
        assert!(matches!(silent, Err(Problem::Timeout { .. })), "{silent:?}");
    }
}
