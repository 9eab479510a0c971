// SPDX-License-Identifier: Apache-2.0
//! Layer archives: scanned, packed, unpacked. Synchronous, no network.
//!
//! ```text
//! proved blob -> gzip -> header, pax, name -> reader -> entries -> tree
//!                                                 \                 |-> scan: safe? canonical? dropped? size?
//!                                                  -> spool ------- +-> repack -> writer -> archive, digest
//! directory on disk -> beneath -> pack_dir ------------------------------------> writer -> archive, digest
//! ```
//!
//! What it accepts is what Flux accepts, less what is unsafe: names that are absolute or climb out, malformed headers,
//! headers that two readers would understand differently, and anything beyond the [`Limits`] refuse the archive; links and
//! devices are dropped and counted. An archive inside the closed grammar of [`NotCanonical`] may be kept byte for byte;
//! every other one is packed again.
//!
//! What it is not: it knows no media types, no registry and no ignore rules, and it proves no digest. Callers hand it a
//! blob that was proved before.

mod beneath;
mod error;
mod grammar;
mod gzip;
mod header;
mod limits;
mod name;
mod pack_dir;
mod pax;
mod reader;
mod repack;
mod scan;
mod tree;
mod unpack;
mod writer;

pub use error::ArchiveError;
pub use grammar::NotCanonical;
pub use limits::{Limit, LimitExceeded, Limits};
pub use pack_dir::pack_dir;
pub use repack::repack;
pub use scan::{Dropped, Entry, EntryKind, Scan, list, scan};
pub use unpack::{Unpacked, unpack};
pub use writer::{PACKER_VERSION, Packed};
