// SPDX-License-Identifier: Apache-2.0
//! The registry client against a registry that a test can tell to misbehave.
#![expect(clippy::unwrap_used, reason = "a broken fixture must stop the test")]

mod support;

/// Who may read, and what is said to who may not.
mod auth;
/// Answers that are wrong, late, endless or cut off.
mod faults;
/// Tags, manifests, indexes and blobs from an honest registry, and back into one.
mod flows;
/// Redirects and upload places, and where credentials do not go.
mod redirects;
/// Several tenants on one host, and that nothing of one is ever shown for another.
mod tenants;
/// Challenges in all their forms, token services good and bad, and who asks them how often.
mod tokens;
/// Certificates, and which of HTTPS and plain HTTP is spoken.
mod transport;
