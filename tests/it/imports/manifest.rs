// SPDX-License-Identifier: Apache-2.0
//! Reads the dependencies out of a `Cargo.toml`: enough of TOML to find the names, with their lines.

use super::scan::{Import, Target};

/// What the crate depends on when it is built for use, not for its tests.
pub(super) fn dependencies(text: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            in_dependencies = is_dependencies(table);
            if let Some((outer, name)) = table.rsplit_once('.')
                && is_dependencies(outer)
            {
                found.push(import(name, index));
            }
        } else if in_dependencies && let Some((key, _)) = line.split_once('=') {
            found.push(import(key.split('.').next().unwrap_or(key), index));
        }
    }
    found
}

fn is_dependencies(table: &str) -> bool {
    let last = table.rsplit('.').next();
    matches!(last, Some("dependencies" | "build-dependencies"))
}

fn import(name: &str, index: usize) -> Import {
    let name = name.trim().trim_matches('"').replace('-', "_");
    Import {
        line: index + 1,
        target: Target::Crate(name),
    }
}
