// SPDX-License-Identifier: Apache-2.0
//! What needs root: `make test-root` runs it, `make test` does not.

#![cfg(test)]

/// The store on file systems that are full, out of inodes or read-only.
mod disk;
/// What the client reaches, on a machine that has every forbidden address.
mod egress;
/// The real `wharf` on a disk that is full.
mod full_disk;
