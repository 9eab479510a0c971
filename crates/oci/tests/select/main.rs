// SPDX-License-Identifier: Apache-2.0
//! The choice among tags, compared with the Go libraries that Flux uses.
//!
//! The questions are made here, from a seed that `WHARF_TEST_SEED` replaces; the answers come from `semver-oracle`, which
//! `tests/tools/build.sh` builds. Without it the tests fail.
#![cfg(test)]
#![expect(
    clippy::print_stdout,
    reason = "the seed repeats a run that failed, the figures say what was compared"
)]

/// Questions by chance, near the edges where two readers would part.
mod generate;
/// The Go program that knows the answers.
mod oracle;
/// Ranges, and the tags they choose.
mod ranges;
/// Filters.
mod regexes;

const DEFAULT_SEED: u64 = 20_261_121;

/// What the questions are made from; printed, so that a run that failed can be repeated.
fn seed() -> u64 {
    let seed = std::env::var("WHARF_TEST_SEED").map_or(DEFAULT_SEED, |text| text.parse().unwrap());
    println!("WHARF_TEST_SEED={seed}");
    seed
}
