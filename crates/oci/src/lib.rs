// SPDX-License-Identifier: Apache-2.0
//! OCI registry inspection and artifacts, usable alone.
//!
//! What it is: the value types of the OCI specifications ([`Reference`], [`Digest`], [`Manifest`]), a registry client
//! ([`registry`]), the choice of a tag among many ([`select`]) and the handling of layer archives ([`archive`]).
//!
//! What it is not: it knows no Kubernetes, serves nothing and verifies no signature.
//!
//! How data flows: a [`Reference`] is parsed at the edge, the client turns it into a [`Resolved`] manifest whose bytes
//! were proved against a [`Digest`], a blob is downloaded into a file and proved, and only then does [`archive`] open it.

pub mod archive;
mod digest;
mod json;
mod manifest;
pub mod media_type;
mod reference;
pub mod registry;
pub mod select;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use json::JsonError;
pub use manifest::{Descriptor, ImageManifest, Index, Manifest, ManifestError, Platform, Resolved};
pub use reference::{Reference, ReferenceError, Repository, Tag};
