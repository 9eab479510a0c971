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
/// Manifests that lie, are ambiguous or lead elsewhere, and HEAD requests that are answered badly.
mod manifests;
/// Redirects and upload places, and where credentials do not go.
mod redirects;
/// What refers to a manifest: the API, the tag in its place, and "none" only when it is said.
mod referrers;
/// Downloads that break off and go on.
mod resume;
/// Lists of tags: pages, links and lists that do not end.
mod tags;
/// Certificates, and which of HTTPS and plain HTTP is spoken.
mod transport;
