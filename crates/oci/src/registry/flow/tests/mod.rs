// SPDX-License-Identifier: Apache-2.0

/// Waiting and waking, on a clock that stands still.
mod gate;
/// The decisions, on a clock that only a test moves.
mod state;
