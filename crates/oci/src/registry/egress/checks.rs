// SPDX-License-Identifier: Apache-2.0
//! The rules at work: the same answers as [`Egress`], and a count of them.
//!
//! One per client, shared by all its connectors; what was refused before a connector was reached (a redirect, a host
//! behind a proxy) counts here as well, so that no refusal goes unseen.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Egress, Refusal};

const REASONS: usize = Refusal::ALL.len();

/// [`Egress`], with counts.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    rules: Egress,
    made: AtomicU64,
    refused: [AtomicU64; REASONS],
}

/// How many addresses a client has dialled, and how many it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dials {
    /// Addresses to which a connection was begun, whether it came about or not.
    pub made: u64,
    refused: [u64; REASONS],
}

impl Checks {
    pub(crate) fn new(rules: Egress) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    pub(crate) fn rules(&self) -> &Egress {
        &self.rules
    }

    /// [`Egress::check`]. An address that may be dialled is counted when it is.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        self.counted(self.rules.check(address))
    }

    /// [`Egress::check_proxied`].
    pub(crate) fn check_proxied(&self, host: &str) -> Result<(), Refusal> {
        self.counted(self.rules.check_proxied(host))
    }

    /// [`Egress::check_redirect`].
    pub(crate) fn check_redirect(&self, host: &str) -> Result<(), Refusal> {
        self.counted(self.rules.check_redirect(host))
    }

    /// A connection to a checked address is begun.
    pub(crate) fn dialling(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dials(&self) -> Dials {
        Dials {
            made: self.made.load(Ordering::Relaxed),
            refused: self
                .refused
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed)),
        }
    }

    fn counted(&self, verdict: Result<(), Refusal>) -> Result<(), Refusal> {
        if let Err(refusal) = verdict {
            self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        }
        verdict
    }
}

impl Dials {
    /// How many were refused for any reason.
    pub fn refused(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// How many were refused, by reason; those that never happened as well.
    pub fn refused_by_reason(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().zip(self.refused)
    }
}
