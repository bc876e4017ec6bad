//! How many translations there may be, and whose turn it is to go.
//!
//! A process may have 65,530 mappings (`vm.max_map_count`) for everything, and at the limit even
//! `malloc` fails. Windows take at most three quarters of it, counted over the whole process. When
//! they have them, regions go back to being traps, those first that were translated longest ago: the next
//! access faults, nothing else happens. Private pages are no mappings and stay.
//!
//! The counts are plain atomics. They may be off by a few for a moment, which the reserve absorbs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Translations of all windows of the process.
static PROCESS: AtomicU64 = AtomicU64::new(0);

/// What an installation may add: it can split one segment in two and put one between.
const STEP: u64 = 2;

/// The translations of one `WindowMmu`.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    own_max: u64,
    process_max: u64,
    clock: AtomicU64,
}

impl Budget {
    pub(super) fn new(own_max: Option<u32>) -> Budget {
        Budget {
            used: AtomicU64::new(0),
            own_max: own_max.map_or(u64::MAX, u64::from),
            process_max: sys::file::max_map_count() as u64 / 4 * 3,
            clock: AtomicU64::new(0),
        }
    }

    /// A window has gone from so many segments to so many.
    pub(super) fn changed(&self, before: u64, after: u64) {
        for count in [&self.used, &PROCESS] {
            // Wrapping: adding a negative difference is adding its complement.
            count.fetch_add(after.wrapping_sub(before), Relaxed);
        }
    }

    /// Translations in use.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Whether one more installation would be too many.
    pub(super) fn is_spent(&self) -> bool {
        self.used() + STEP > self.own_max || PROCESS.load(Relaxed) + STEP > self.process_max
    }

    /// A new turn: later ones are higher.
    pub(super) fn next_turn(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }
}
