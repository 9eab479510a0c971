// SPDX-License-Identifier: Apache-2.0
//! The registry client against a registry that a test can tell to misbehave.

mod support;

/// Who may read, and what is said to who may not.
mod auth;
/// Tags, manifests, indexes and blobs from an honest registry, and back into one.
mod flows;
