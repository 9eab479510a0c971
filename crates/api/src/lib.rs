// SPDX-License-Identifier: Apache-2.0
//! `wharf-api`: the `OCIRepository` API of the group `source.toolkit.fluxcd.io` as Rust types, and the
//! `CustomResourceDefinition` made from them.
//!
//! What it is: the shape that users write and that consumers of artifacts read, field by field as Flux has it, so
//! that objects move between the two controllers without a change. [`v1`] is stored and served; [`v1beta2`] is served
//! for manifests that were never updated, marked deprecated, and converts into [`v1`] without loss of meaning.
//!
//! What it is not: no client, no runtime and no judgement. Durations, enumerations and URLs stay strings here, because
//! a list of objects must not fail to decode on account of one of them; whoever acts on an object parses it first.
//!
//! Data enters as JSON or YAML through `serde` and leaves the same way; [`crds`] and [`crds_yaml`] give the definition
//! a cluster needs. Unknown fields are ignored, absent ones take the defaults an API server would have written.

mod crd;
mod names;
pub mod v1;
pub mod v1beta2;

pub use crd::{crds, crds_yaml};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
pub use names::{
    FINALIZER, GROUP, KIND, annotation, condition, label, operation, provider, reason, verifier,
};
