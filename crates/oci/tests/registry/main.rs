// SPDX-License-Identifier: Apache-2.0
//! The registry client against a registry that a test can tell to misbehave.
#![expect(clippy::unwrap_used, reason = "a broken fixture must stop the test")]

mod support;

/// Who may read, and what is said to who may not.
mod auth;
/// Hosts that fail and are left alone, and how much is tried again.
mod breaker;
/// What one tenant does that another must not feel or read.
mod bystanders;
/// Certificates that `openssl` makes, and what comes of each.
mod certificates;
/// What was sent and is secret, when it comes back.
mod echoes;
/// What may be reached: every hop to every address that must not be dialled.
mod egress;
/// Answers that are wrong, late, endless or cut off.
mod faults;
/// How much a host is asked: closed windows, concurrency, rate.
mod flow;
/// Tags, manifests, indexes and blobs from an honest registry, and back into one.
mod flows;
/// HEAD for a tag, and when GET is asked after it.
mod heads;
/// What is set for a host: proxy, plain HTTP, client certificate.
mod host_settings;
/// Identity tokens, registry tokens and refresh tokens: what is exchanged for what, and how.
mod identity_tokens;
/// Manifests that lie, are ambiguous or lead elsewhere, and HEAD requests that are answered badly.
mod manifests;
/// Reading from mirrors before the registry, and what never goes to them.
mod mirrors;
/// What credentials belong to: scheme, host and port, each changed alone, and token services.
mod origins;
/// Through a proxy, and what it may do wrong.
mod proxies;
/// Blobs whole and in chunks, mounts, indexes.
mod push;
/// How long and how often an upload is tried.
mod push_again;
/// Manifests with a subject, and who lists them.
mod push_referrers;
/// Redirects and upload places, and where credentials do not go.
mod redirects;
/// What refers to a manifest: the API, the tag in its place, and "none" only when it is said.
mod referrers;
/// Downloads that break off and go on.
mod resume;
/// Which of HTTPS and plain HTTP is found, by whom it is shared, and when it is found again.
mod schemes;
/// Mirrors that say nothing, and what is never asked of one.
mod slow_mirrors;
/// Every fault at every step.
mod table;
/// Lists of tags: pages, links and lists that do not end.
mod tags;
/// Several tenants on one host, and that nothing of one is ever shown for another.
mod tenants;
/// Challenges in all their forms, token services good and bad, and who asks them how often.
mod tokens;
/// Certificates, and which of HTTPS and plain HTTP is spoken.
mod transport;
