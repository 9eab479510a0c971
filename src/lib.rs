// SPDX-License-Identifier: Apache-2.0
//! The map of modules.
//!
//! ```text
//! cluster | standalone ──Trigger──▶ engine ──▶ reconcile
//!        ▲                                        │ source::decide   -> Plan      (pure)
//!        │                                        │ pipeline::run    -> Outcome   resolve, verify, fetch, pack, publish
//!        └────────── ports: status, events ◀──────┘ source::conclude -> Report    (pure)
//!                                                          store ◀── publish;  serve ──▶ consumers
//! ```

pub mod cli;
pub mod cluster;
pub mod engine;
pub mod pipeline;
pub mod ports;
pub mod reconcile;
pub mod serve;
pub mod source;
pub mod standalone;
pub mod store;
pub mod telemetry;
