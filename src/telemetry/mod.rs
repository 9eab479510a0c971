// SPDX-License-Identifier: Apache-2.0
//! What the process says about itself: log lines and metrics.
//!
//! What it is not: it decides nothing about what is worth saying, and it opens no socket. Events of `tracing` enter
//! [`logs`] and leave as lines on stderr; counts enter the methods of [`Metrics`] and leave as text.

mod line;
pub mod logs;
mod metrics;
mod registries;

pub use metrics::Metrics;
pub use registries::RegistryCounts;
