// SPDX-License-Identifier: Apache-2.0
//! Holding requests until a test lets them go, so that what happens meanwhile is no matter of luck.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How long a test may wait for a request that does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gate at which requests wait; see [`Rule::hold`](super::Rule::hold). Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    /// How many of those may pass, in order of arrival.
    released: usize,
}

impl Gate {
    /// A closed gate.
    #[expect(clippy::new_without_default, reason = "a gate is made on purpose")]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    /// Waits until so many requests have come to the gate since it was made, those included that have left it.
    ///
    /// # Panics
    /// After 30 seconds without them.
    pub async fn arrived(&self, requests: usize) {
        let mut state = self.0.subscribe();
        let come = state.wait_for(|state| state.arrived >= requests);
        let come = tokio::time::timeout(PATIENCE, come).await.is_ok();
        assert!(come, "{requests} requests did not come to the gate");
    }

    /// Lets the next request pass: the first of those that wait, or the next one to come.
    pub fn release_one(&self) {
        self.0
            .send_modify(|state| state.released = state.released.saturating_add(1));
    }

    /// Lets all requests pass, now and later.
    pub fn open(&self) {
        self.0.send_modify(|state| state.released = usize::MAX);
    }

    pub(crate) async fn pass(&self) {
        let mut place = 0;
        self.0.send_modify(|state| {
            place = state.arrived;
            state.arrived += 1;
        });
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = state.wait_for(|state| state.released > place).await;
    }
}
