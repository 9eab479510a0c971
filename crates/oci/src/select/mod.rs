// SPDX-License-Identifier: Apache-2.0
//! Which of many tags: policies over tags, without I/O.
//!
//! What it is: a policy and a stream of tag names go in; the tag that wins comes out, and as data why the others lost.
//! The answers are those of Flux: ranges as Masterminds/semver reads them ([`Constraint`]), filters as Go's `regexp`
//! does ([`Filter`]).
//!
//! What it is not: it lists nothing and resolves nothing; the tags come from the registry client or from anywhere else.

pub mod constraint;
pub mod filter;
mod version;

pub use constraint::{Constraint, ConstraintError};
pub use filter::{Filter, FilterError};
pub use version::{Version, VersionError};
