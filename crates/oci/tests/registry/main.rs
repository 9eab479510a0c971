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
/// Reading from mirrors before the registry, and what never goes to them.
mod mirrors;
/// Blobs whole and in chunks, mounts, indexes.
mod push;
/// Manifests with a subject, and who lists them.
mod push_referrers;
/// Redirects and upload places, and where credentials do not go.
mod redirects;
/// Certificates, and which of HTTPS and plain HTTP is spoken.
mod transport;
