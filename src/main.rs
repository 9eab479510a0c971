// SPDX-License-Identifier: Apache-2.0
//! The `wharf` binary.

fn main() {}
