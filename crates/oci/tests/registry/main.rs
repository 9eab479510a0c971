// SPDX-License-Identifier: Apache-2.0
//! The registry client against a registry that a test can tell to misbehave.
#![expect(clippy::unwrap_used, reason = "a broken fixture must stop the test")]

mod support;

/// Who may read, and what is said to who may not.
mod auth;
/// What may be reached: every hop to every address that must not be dialled.
mod egress;
/// Answers that are wrong, late, endless or cut off.
mod faults;
/// Tags, manifests, indexes and blobs from an honest registry, and back into one.
mod flows;
/// What credentials belong to: scheme, host and port, each changed alone, and token services.
mod origins;
/// Redirects and upload places, and where credentials do not go.
mod redirects;
/// Certificates, and which of HTTPS and plain HTTP is spoken.
mod transport;
