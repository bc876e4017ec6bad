//! Mapped files: faults, invalidation, the reverse map, writeback.
//!
//! # The locking model of this code
//!
//! Three things must agree: the file system's *block map*, the *entry* of each 2 MiB region
//! (what translations of it may exist, what is dirty), and the *translations* in each window.
//! Information flows one way: block map, entry, translation. Whoever needs the answer of one level
//! locks it, asks, and holds the lock until the next level agrees.
//!
//! What is held where, outer to inner (`order` has the table; the compiler checks each line of it):
//!
//! | lock | fault | truncate, punch, move | sync | attach, detach |
//! |---|---|---|---|---|
//! | `Invalidate` | shared | exclusive | no | shared, no |
//! | `Entry` | the faulting region | each in use, one by one | each dirty, one by one | each, one by one; no |
//! | block map's own | inside `get_block` | after `invalidate` | inside `get_block` | inside `get_block`; no |
//! | `ReverseMap` | shared | shared | shared | exclusive to join and leave |
//! | `Window` | install, revoke | revoke | write-protect | install |
//!
//! *Why the entry comes before the block map.* What a fault learns from the map must still be true when
//! it installs the translation. A second fault on the same page, or a write that publishes a block there,
//! could change it. So the answer is asked for under the entry's lock, and everybody who changes the map
//! either holds that lock (a fault that allocates) or holds `Invalidate` exclusively and comes by the
//! entry first (everything else). Nothing learnt before the entry was locked is used after.
//!
//! *Why the reverse map comes after it.* The old fault paths took the reverse map's lock first and called
//! the file system under it; truncate came from the other side. Here `ReverseMap` and the file system's
//! locks are two branches below `Entry` that never meet: a transaction ends before the reverse map is
//! taken, and under it the file system cannot be called, since [`BlockMap`] demands a proof that
//! does not exist there.
//!
//! *Why no fault takes the inode's lock.* A read or write holds it while it copies from or to the caller's
//! memory, which may be a window onto the same file. A fault inside that copy must be served without it.
//!
//! *Zeros.* New blocks are zeroed by the file system inside its transaction, before they are in the map.
//! A fault that finds a block finds its content; no fault zeroes, so none can zero what another stored.
//! Translations of zeros, made for reads of holes, are on record in the slot, and go from every window
//! before a block at the same page can be stored to.
//!
//! *Dirty marks.* In marks mode a page is marked before it becomes writable and unmarked after it was
//! write-protected and flushed, both under the entry's lock ([`writeback`](Dax::writeback)).
//!
//! *Waiters* are in `entries.rs`; *errors* in `fault.rs` and `invalidate.rs`. In short: each lock is a guard on the
//! stack or a closure, none is returned or kept, and each function says what state a failure leaves.
//!
//! # What the cases of the lock document come to
//!
//! Truncate against a fault (17, 18): `Invalidate`. Two faults, a fault and a publication (10 to 14): `Entry`.
//! A store in a private window against truncate (20): `Invalidate`, `Entry` and a copy made under both. Collapse and
//! insert (19): [`Invalidation::MOVE`] flushes between write-protection and drop. Sync (21 to 25): the order in
//! `clean`. The tests named after the numbers are in the `mmu` crate, over simulated windows.

use std::ops::Range;

use format::Ino;
use order::sync::Arc;
use order::{Before, Held, level};
use pool::Pool;

mod attach;
mod bits;
mod block_map;
mod counters;
mod entries;
mod fault;
mod invalidate;
mod mmu;
mod state;
mod windows;
mod writeback;

pub use attach::Eager;
pub use bits::REGION_PAGES;
pub use block_map::BlockMap;
pub use counters::{CounterValues, FaultKind};
pub use fault::{Access, FaultError, Served};
pub use invalidate::{Contents, Invalidation};
pub use mmu::{Becomes, Mmu, MmuError, PrivateCopies, Target, WindowKind, Writable};
pub use windows::{FileDax, WindowId};
pub use writeback::Tracking;

use counters::Counters;
use entries::{Entries, Key, Which};

/// The fault path of a pool: one for each open file system.
#[derive(Debug)]
pub struct Dax {
    pool: Arc<dyn Pool>,
    tracking: Tracking,
    entries: Entries,
    counters: Counters,
}

impl Dax {
    /// The fault path over `pool`, with no entry yet. Who tracks dirty pages follows from the pool's
    /// durability class.
    pub fn new(pool: Arc<dyn Pool>) -> Self {
        let tracking = match pool.durability() {
            pool::Durability::CpuFlush => Tracking::Marks,
            _ => Tracking::Kernel,
        };
        Self { pool, tracking, entries: Entries::new(), counters: Counters::default() }
    }

    /// Who knows which pages are dirty.
    pub fn tracking(&self) -> Tracking {
        self.tracking
    }

    /// The files with stores that may not be durable, ascending: for a sync of the whole pool, which
    /// calls [`writeback`](Self::writeback) for each. Always empty with [`Tracking::Kernel`].
    pub fn dirty_files(&self) -> Vec<Ino> {
        match self.tracking {
            Tracking::Marks => self.entries.dirty_files(),
            Tracking::Kernel => Vec::new(),
        }
    }

    /// The counters, since the start.
    pub fn counters(&self) -> CounterValues {
        self.counters.values()
    }

    /// Whether no entry is locked and nobody waits for one: true whenever nothing runs. Tests ask.
    pub fn is_quiet(&self) -> bool {
        self.entries.is_quiet()
    }

    /// Whether the stores to `page` are under a mark. Tests ask; an answer is true only while nothing
    /// runs.
    pub fn is_marked<P: Before<level::Entry>>(&self, held: &mut Held<'_, P>, ino: Ino, page: u64) -> bool {
        let region = page / REGION_PAGES;
        let found = self.entries.regions(ino, region..region + 1, Which::Any);
        found.into_iter().any(|region| {
            self.entries.with(held, Key { ino, region }, |slot, _| slot.dirty().contains(page % REGION_PAGES))
        })
    }
}

/// The pages of the bytes from `start` to `end`, the partly covered ones included.
pub fn pages_of(bytes: Range<u64>) -> Range<u64> {
    let page = crate::types::PAGE_BYTES;
    bytes.start / page..bytes.end.div_ceil(page)
}
