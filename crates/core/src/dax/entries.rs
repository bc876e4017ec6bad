//! The entry table: one lock and one slot for each region of a file that is in use.
//!
//! The lock of an entry is a logical one, a bit beside the slot, because a lock per region for all
//! files would be too many, and because the slot must go when nobody needs it. The table is cut into
//! shards, each a leaf lock that is held for a few instructions only.
//!
//! The lock is a closure: [`Entries::with`] locks, calls, unlocks. There is no guard that could be
//! returned, no path on which the lock is kept and none on which it is let go of twice. When the
//! closure panics the entry is unlocked all the same.
//!
//! How waiters cannot be lost:
//!
//! * An entry with waiters stays in the table, even with an empty slot. So an entry is never deleted
//!   or replaced under a waiter, and there is no second entry of the same key to wait at.
//! * Each entry has its own condition, made for the first waiter. Nobody is woken for another key.
//! * Every unlock wakes one waiter, under the shard's lock. Whoever wakes takes the lock, does his
//!   part (perhaps nothing) and unlocks, which wakes the next: no waiter declines.
//! * A waiter touches the table only, which lives as long as the file system; not the file.

use std::collections::BTreeMap;
use std::ops::Range;

use format::Ino;
use order::sync::Arc;
use order::{Before, Condvar, Held, Mutex, MutexGuard, level};

use super::state::Slot;

/// Shards of the table. Under the model checker one, since more only multiply equal schedules.
const SHARDS: u64 = if cfg!(shuttle) { 1 } else { 64 };

/// Which entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The file.
    pub ino: Ino,
    /// Number of the region in the file.
    pub region: u64,
}

impl Key {
    /// Spreads neighbouring regions and files over the shards; also the key in reports.
    fn number(self) -> u64 {
        (self.ino.0 ^ self.region.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Which entries a scan gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All.
    Any,
    /// Those that are dirty, or locked and may be.
    Dirty,
}

#[derive(Debug, Default)]
struct Entry {
    /// Empty while the entry is locked: whoever holds it has the slot.
    slot: Slot,
    locked: bool,
    waiters: u32,
    /// Present while there are waiters.
    wake: Option<Arc<Condvar>>,
}

type Shard = BTreeMap<Key, Entry>;

/// The entry table of a file system.
#[derive(Debug)]
pub(crate) struct Entries {
    shards: Box<[Mutex<level::EntryShard, Shard>]>,
}

impl Entries {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Runs `f` with the entry locked and its slot.
    ///
    /// Waits for the lock. The entry is made if there is none, and forgotten after if its slot is
    /// empty. `f` gets the proof that an entry is held; a thread holds at most one.
    #[track_caller]
    pub(crate) fn with<P: Before<level::Entry>, R>(
        &self,
        held: &mut Held<'_, P>,
        key: Key,
        f: impl FnOnce(&mut Slot, &mut Held<'_, level::Entry>) -> R,
    ) -> R {
        let (_section, mut held) = order::enter(held, key.number());
        let mut locked = self.lock(key);
        f(&mut locked.slot, &mut held)
    }

    /// The regions of the file within `regions` that have an entry, ascending.
    ///
    /// A locked entry is always among them: its slot is with whoever locked it, and may be dirty. To
    /// skip it would let a second sync return before the first has flushed.
    pub(crate) fn regions(&self, ino: Ino, regions: Range<u64>, which: Which) -> Vec<u64> {
        if regions.is_empty() {
            return Vec::new();
        }
        let range = Key { ino, region: regions.start }..Key { ino, region: regions.end };
        let few = regions.end - regions.start <= SHARDS;
        let mut found = Vec::new();
        if few {
            for region in regions {
                let key = Key { ino, region };
                let shard = self.shard(key);
                found.extend(shard.get(&key).filter(|e| e.is(which)).map(|_| region));
            }
        } else {
            for shard in &self.shards {
                let shard = shard.leaf();
                let entries = shard.range(range.clone()).filter(|(_, e)| e.is(which));
                found.extend(entries.map(|(key, _)| key.region));
            }
            found.sort_unstable();
        }
        found
    }

    /// The files with dirty or locked entries, ascending.
    pub(crate) fn dirty_files(&self) -> Vec<Ino> {
        let mut files = Vec::new();
        for shard in &self.shards {
            let shard = shard.leaf();
            let dirty = shard.iter().filter(|(_, entry)| entry.is(Which::Dirty));
            files.extend(dirty.map(|(key, _)| key.ino));
        }
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Whether no entry is locked and nobody waits: what must be true when nothing runs.
    pub(crate) fn is_quiet(&self) -> bool {
        self.shards.iter().all(|shard| {
            let shard = shard.leaf();
            shard.values().all(|entry| !entry.locked && entry.waiters == 0)
        })
    }

    #[track_caller]
    fn shard(&self, key: Key) -> MutexGuard<'_, level::EntryShard, Shard> {
        self.shards[(key.number() >> 32) as usize % self.shards.len()].leaf()
    }

    #[track_caller]
    fn lock(&self, key: Key) -> Locked<'_> {
        let mut shard = self.shard(key);
        let entry = shard.entry(key).or_default();
        if entry.locked {
            entry.waiters += 1;
            let wake = Arc::clone(entry.wake.get_or_insert_default());
            loop {
                shard = wake.wait(shard);
                if !entry_of(&mut shard, key).locked {
                    break;
                }
            }
            let entry = entry_of(&mut shard, key);
            entry.waiters -= 1;
            if entry.waiters == 0 {
                entry.wake = None;
            }
        }
        let entry = entry_of(&mut shard, key);
        entry.locked = true;
        Locked { entries: self, key, slot: std::mem::take(&mut entry.slot) }
    }

    fn unlock(&self, key: Key, slot: Slot) {
        let mut shard = self.shard(key);
        let entry = entry_of(&mut shard, key);
        entry.locked = false;
        entry.slot = slot;
        match &entry.wake {
            Some(wake) => wake.notify_one(),
            None if entry.slot == Slot::Empty => drop(shard.remove(&key)),
            None => {}
        }
    }
}

impl Entry {
    fn is(&self, which: Which) -> bool {
        which == Which::Any || self.locked || !self.slot.dirty().is_empty()
    }
}

fn entry_of(shard: &mut Shard, key: Key) -> &mut Entry {
    shard.get_mut(&key).expect("an entry stays while it is locked or waited for")
}

/// A locked entry; never leaves [`Entries::with`].
struct Locked<'a> {
    entries: &'a Entries,
    key: Key,
    slot: Slot,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.entries.unlock(self.key, std::mem::take(&mut self.slot));
    }
}

#[cfg(test)]
#[path = "entries_tests.rs"]
mod tests;
