// SPDX-License-Identifier: Apache-2.0
//! Tests of the whole program that need no server of somebody else: one binary, a line per module.

#![cfg(test)]

mod imports;
