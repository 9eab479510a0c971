// SPDX-License-Identifier: Apache-2.0
//! A fixed set of locks, chosen by hash: work on one thing is serial, work on different things mostly is not.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

// More than the blocking threads that publish at once; collisions only cost time.
const STRIPES: usize = 64;

/// The locks. They may be held while the disk is touched.
#[derive(Debug)]
pub(super) struct Stripes {
    locks: [Mutex<()>; STRIPES],
    hasher: RandomState,
}

impl Default for Stripes {
    fn default() -> Self {
        Self {
            locks: [const { Mutex::new(()) }; STRIPES],
            hasher: RandomState::new(),
        }
    }
}

impl Stripes {
    /// Waits for the lock of this thing. Never call it while holding another lock of the same set: two things may share
    /// one.
    pub(super) fn lock(&self, thing: &impl Hash) -> MutexGuard<'_, ()> {
        let place = self.hasher.hash_one(thing) % (STRIPES as u64);
        // The remainder is below 64, so the conversion cannot fail.
        let lock = &self.locks[usize::try_from(place).unwrap_or_default()];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
