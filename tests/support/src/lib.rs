// SPDX-License-Identifier: Apache-2.0
//! What Wharf's tests and examples stand on: a registry in this process, certificates, artifacts good and bad.
//!
//! - [`FakeRegistry`] is an OCI registry on a port of its own. It is honest until a test scripts a fault.
//! - [`artifacts`] makes layers, good and bad.
//! - [`conformance`] asks any registry, this one or a real one, thirty questions from the distribution-spec.
//! - [`openssl`] makes the certificates that people make by hand, right and wrong, with what is to come of each.
//! - [`proxy`] is a proxy (CONNECT, whole URLs, SOCKS5) that a test can tell to misbehave.
//! - [`servers`] starts the real servers that Wharf is tested against, and `wharf` itself.
//! - [`tls`] makes certificate authorities and the certificates, good and bad, that they sign.
//!
//! What it is not: a part of Wharf. It depends on none of Wharf's crates, so that a mistake made there is not made here
//! a second time. It is not for production: nothing is stored on disk, and a broken fixture panics.
//!
//! ```
//! # let runtime = tokio::runtime::Runtime::new().unwrap();
//! # runtime.block_on(async {
//! use wharf_test_support::{FakeRegistry, registry};
//!
//! let registry = FakeRegistry::start().await;
//! let layer = registry::layer(&[("app.yaml", "kind: ConfigMap")]);
//! let artifact = registry.push_artifact("team/app", "1.0.0", layer, registry::FLUX_CONTENT);
//!
//! // Give `registry.url("team/app")` to whatever is tested, then look at what it did.
//! assert!(registry.requests().is_empty());
//! assert!(artifact.revision().starts_with("1.0.0@sha256:"));
//! # });
//! ```
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test support: a broken fixture must stop the test"
)]

pub mod artifacts;
pub mod conformance;
pub mod openssl;
pub mod proxy;
pub mod registry;
pub mod servers;
pub mod tls;

pub use registry::FakeRegistry;
