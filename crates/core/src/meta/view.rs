//! The private view: metadata objects in memory, as of the last commit.
//!
//! Where the pool is a page-cached file the kernel may write any page at any time, so metadata is never changed in place
//! by a transaction. The view holds each object that was used as an immutable `Arc`; a commit replaces it; a checkpoint
//! writes the replaced (dirty) ones in place. A reader that holds the `Arc` sees one state for as long as it likes.
//!
//! The map is cut into shards, each under its own leaf lock, held for a lookup and never for I/O. An object that is not
//! there is read from the pool with no lock held; a counter per shard tells if something in the shard was replaced
//! meanwhile, in which case what was read may be old or torn and is read again.
//!
//! Clean objects above a limit are evicted, the longest unused first (second chance). Dirty ones stay: a checkpoint,
//! which the journal's size forces now and then, bounds their number.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use order::sync::Arc;
use order::{Mutex, level};

use crate::error::FsError;

/// Shards of each map; a power of two.
const SHARDS: usize = 64;
/// How many objects an insertion looks at to evict some.
const EVICT_STEPS: usize = 8;

/// A tree node's bytes. Its checksum is right only in the pool: it is computed when a checkpoint writes the node.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct Node {
    bytes: [u8; 4096],
}

impl Node {
    /// A node of these bytes.
    pub fn new(bytes: [u8; 4096]) -> Node {
        Node { bytes }
    }

    /// All zeros, what a block holds before its first use as a node.
    pub fn zeroed() -> Node {
        Node { bytes: [0; 4096] }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; 4096] {
        &self.bytes
    }

    /// The bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8; 4096] {
        &mut self.bytes
    }

    fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(word)
    }

    /// The inode that it says it belongs to.
    pub fn owner(&self) -> u64 {
        self.word(16)
    }

    /// The block at which it says it is.
    pub fn self_block(&self) -> u64 {
        self.word(24)
    }
}

/// Mixes a block or inode number; the keys are ours, so no secret is needed.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(number ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

/// A map by block or inode number.
pub(crate) type NumberMap<V> = HashMap<u64, V, BuildHasherDefault<NumberHasher>>;
/// A set of small numbers.
pub(crate) type NumberSet = HashSet<u32, BuildHasherDefault<NumberHasher>>;

struct Entry<T> {
    object: Arc<T>,
    dirty: bool,
    used: bool,
}

struct Shard<T> {
    map: NumberMap<Entry<T>>,
    dirty: Vec<u64>,
    queue: VecDeque<u64>,
    changes: u64,
}

/// Objects of one type by number.
pub(super) struct Cache<T> {
    shards: Box<[Mutex<level::MetaShard, Shard<T>>]>,
    limit: usize,
}

impl<T> Cache<T> {
    /// A cache that keeps about `limit` objects.
    pub fn new(limit: usize) -> Cache<T> {
        let shard =
            || Mutex::new(Shard { map: NumberMap::default(), dirty: Vec::new(), queue: VecDeque::new(), changes: 0 });
        Cache { shards: (0..SHARDS).map(|_| shard()).collect(), limit: (limit / SHARDS).max(1) }
    }

    fn shard(&self, key: u64) -> &Mutex<level::MetaShard, Shard<T>> {
        // Neighbouring numbers share a shard in eights, so that the slots of an inode block stay together.
        &self.shards[(key >> 3) as usize % SHARDS]
    }

    /// The object, if it is here.
    pub fn get(&self, key: u64) -> Option<Arc<T>> {
        let mut shard = self.shard(key).leaf();
        let entry = shard.map.get_mut(&key)?;
        entry.used = true;
        Some(Arc::clone(&entry.object))
    }

    /// The object; `load` reads it from the pool if it is not here.
    pub fn get_or_load(&self, key: u64, load: impl Fn() -> Result<T, FsError>) -> Result<Arc<T>, FsError> {
        loop {
            let changes = {
                let mut shard = self.shard(key).leaf();
                if let Some(entry) = shard.map.get_mut(&key) {
                    entry.used = true;
                    return Ok(Arc::clone(&entry.object));
                }
                shard.changes
            };
            let loaded = load().map(Arc::new);
            let mut shard = self.shard(key).leaf();
            if shard.changes != changes {
                continue;
            }
            let object = loaded?;
            match shard.map.entry(key) {
                Slot::Occupied(entry) => return Ok(Arc::clone(&entry.get().object)),
                Slot::Vacant(slot) => {
                    slot.insert(Entry { object: Arc::clone(&object), dirty: false, used: false });
                }
            }
            shard.queue.push_back(key);
            let evicted = shard.evict(self.limit, EVICT_STEPS);
            drop(shard);
            drop(evicted);
            return Ok(object);
        }
    }

    /// Replaces an object by its state after a commit; gives the old one.
    pub fn publish(&self, key: u64, object: Arc<T>) -> Option<Arc<T>> {
        let mut shard = self.shard(key).leaf();
        shard.changes += 1;
        let shard = &mut *shard;
        match shard.map.entry(key) {
            Slot::Occupied(mut slot) => {
                let entry = slot.get_mut();
                if !entry.dirty {
                    shard.dirty.push(key);
                }
                entry.dirty = true;
                Some(std::mem::replace(&mut entry.object, object))
            }
            Slot::Vacant(slot) => {
                slot.insert(Entry { object, dirty: true, used: true });
                shard.dirty.push(key);
                shard.queue.push_back(key);
                if shard.queue.len() > 2 * shard.map.len() + EVICT_STEPS {
                    shard.queue = shard.map.keys().copied().collect();
                }
                None
            }
        }
    }

    /// Forgets an object whose block is free now; gives it.
    pub fn forget(&self, key: u64) -> Option<Arc<T>> {
        let mut shard = self.shard(key).leaf();
        shard.changes += 1;
        shard.map.remove(&key).map(|entry| entry.object)
    }

    /// All dirty objects, in no order. The caller writes them in place, and nobody commits until `mark_clean`.
    pub fn dirty(&self) -> Vec<(u64, Arc<T>)> {
        let mut objects = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.leaf();
            let Shard { map, dirty, .. } = &mut *shard;
            dirty.sort_unstable();
            dirty.dedup();
            dirty.retain(|key| map.get(key).is_some_and(|entry| entry.dirty));
            objects.extend(dirty.iter().filter_map(|key| Some((*key, Arc::clone(&map.get(key)?.object)))));
        }
        objects
    }

    /// What was dirty is in place now.
    pub fn mark_clean(&self) {
        for shard in &self.shards {
            let mut shard = shard.leaf();
            shard.changes += 1;
            for key in std::mem::take(&mut shard.dirty) {
                if let Some(entry) = shard.map.get_mut(&key) {
                    entry.dirty = false;
                }
            }
            let steps = 2 * shard.queue.len();
            let evicted = shard.evict(self.limit, steps);
            drop(shard);
            drop(evicted);
        }
    }

    /// Objects held.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.leaf().map.len()).sum()
    }
}

impl<T> Shard<T> {
    fn evict(&mut self, limit: usize, steps: usize) -> Vec<Arc<T>> {
        let mut evicted = Vec::new();
        for _ in 0..steps {
            if self.map.len() <= limit {
                break;
            }
            let Some(key) = self.queue.pop_front() else { break };
            let Some(entry) = self.map.get_mut(&key) else { continue };
            if entry.dirty || std::mem::take(&mut entry.used) {
                self.queue.push_back(key);
            } else if let Some(entry) = self.map.remove(&key) {
                evicted.push(entry.object);
            }
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_objects_above_the_limit_go_and_dirty_ones_stay() {
        let cache = Cache::<u64>::new(SHARDS * 4);
        for key in 0..64 {
            cache.publish(key, Arc::new(key + 1));
        }
        for key in 64..10_000 {
            assert_eq!(*cache.get_or_load(key, || Ok(key)).unwrap(), key);
        }
        assert!(cache.len() < SHARDS * 16, "{}", cache.len());
        for key in 0..64 {
            assert_eq!(*cache.get_or_load(key, || Ok(0)).unwrap(), key + 1, "a dirty object was evicted");
        }
        assert_eq!(cache.dirty().len(), 64);
        cache.mark_clean();
        assert_eq!(cache.dirty().len(), 0);
        for key in 10_000..20_000 {
            cache.get_or_load(key, || Ok(key)).unwrap();
        }
        assert_eq!(*cache.get_or_load(0, || Ok(7)).unwrap(), 7, "a clean object was kept for ever");
    }

    #[test]
    fn what_was_read_while_the_object_changed_is_read_again() {
        let cache = Cache::<u64>::new(64);
        let reads = std::cell::Cell::new(0);
        let value = cache.get_or_load(5, || {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                cache.publish(5, Arc::new(2));
                cache.mark_clean();
                cache.forget(5);
            }
            Ok(reads.get())
        });
        assert_eq!((*value.unwrap(), reads.get()), (2, 2));
    }
}
