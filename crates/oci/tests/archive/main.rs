// SPDX-License-Identifier: Apache-2.0
//! The archive module as its callers use it, on archives that are built byte by byte.

/// Tar and gzip, built block by block, so that every field can be wrong.
#[cfg(test)]
mod build;
/// One test per clause of the closed grammar of passthrough.
#[cfg(test)]
mod canonical;
/// What goes to and comes from a disk: `pack_dir` and `unpack`.
#[cfg(test)]
mod disk;
/// What must be refused, dropped or limited.
#[cfg(test)]
mod hostile;
/// The form of what is packed, and that it never varies.
#[cfg(test)]
mod repack;
