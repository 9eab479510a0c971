// SPDX-License-Identifier: Apache-2.0
//! Where the client goes when a registry wants it to go elsewhere, on a machine that has all those places: every forbidden
//! address is really there, with a listener that counts.

mod canary;
mod cases;
mod hops;
mod namespace;
mod proxied;
mod rebind;
