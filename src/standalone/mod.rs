// SPDX-License-Identifier: Apache-2.0
//! Wip.
mod document;
mod schema;
mod yaml;
