// SPDX-License-Identifier: Apache-2.0
//! What is set per registry host for the whole process: mirrors, trust, proxy, bounds.
//!
//! Pure: the parsed settings go in, the settings of one host come out.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use super::{proxy::Proxy, tls::Tls};

/// The settings of all hosts that have any.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    by_host: BTreeMap<String, Host>,
}

/// The settings of one host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Where to read before the host itself is asked, in this order.
    pub mirrors: Vec<Mirror>,
    /// Trust and client certificate, beside those of the source.
    pub tls: Option<Tls>,
    /// Whether the host may be spoken to in plain HTTP.
    pub plain_http: bool,
    /// The proxy, unless the source has one of its own.
    pub proxy: Option<Proxy>,
    /// How much it may be asked.
    pub limits: HostLimits,
}

/// Another registry with the same content.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// `host[:port][/prefix]`.
    pub location: String,
    /// Whether it may also say what a tag points at; else it is asked for digests only.
    pub resolves_tags: bool,
}

/// How much a host may be asked by the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// Requests at the same time.
    pub concurrency: Option<NonZeroU32>,
    /// Requests in a time.
    pub rate: Option<Rate>,
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: NonZeroU32,
    /// In which time.
    pub per: Duration,
}

impl Hosts {
    /// Settings by host, as it stands in references: `ghcr.io`, `registry.example:5000`.
    pub fn new(by_host: impl IntoIterator<Item = (String, Host)>) -> Self {
        Self {
            by_host: by_host.into_iter().collect(),
        }
    }

    /// The settings of a host.
    pub fn of(&self, registry: &str) -> Option<&Host> {
        self.by_host.get(registry)
    }
}
