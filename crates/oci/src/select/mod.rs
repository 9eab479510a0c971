// SPDX-License-Identifier: Apache-2.0
//! Which of many tags: policies over tags, without I/O.
//!
//! What it is: a policy and a stream of tag names go in; the tag that wins comes out, and as data why the others lost.
//! The answers are those of Flux: ranges as Masterminds/semver reads them ([`Constraint`]), filters as Go's `regexp`
//! does ([`Filter`]).
//!
//! ```
//! use wharf_oci::select::{Selector, SemverPolicy, TagEncoding, Verdicts};
//!
//! let policy = SemverPolicy {
//!     constraint: ">=1.0.0 <2".parse()?,
//!     filter: Some("^v".parse()?),
//!     encoding: TagEncoding::Verbatim,
//! };
//! let mut selector = Selector::new(&policy, Verdicts::Examples);
//! for tag in ["latest", "v1.4.0", "v1.10.0", "v2.0.0"] {
//!     selector.consider(tag);
//! }
//! assert_eq!(selector.finish().choice(&policy)?.as_str(), "v1.10.0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it is not: it lists nothing and resolves nothing; the tags come from the registry client or from anywhere else.

pub mod constraint;
pub mod filter;
mod no_match;
mod policy;
mod selection;
mod selector;
mod version;

pub use constraint::{Constraint, ConstraintError};
pub use filter::{Filter, FilterError};
pub use no_match::NoMatch;
pub use policy::{SemverPolicy, TagEncoding};
pub use selection::{Loss, Reason, Rejected, Selection, Verdict};
pub use selector::{Selector, Verdicts};
pub use version::{Version, VersionError};
