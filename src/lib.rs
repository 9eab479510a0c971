// SPDX-License-Identifier: Apache-2.0
//! The map of modules.

pub mod store;
