//! A pool that can lose power at any moment, as often as one likes.
//!
//! [`CrashPool`] keeps its memory on the heap and a log of everything that was
//! done to it: stores, flushes, fences, syncs. From the log it makes *crash
//! images*: what could be on the medium if power went at a given event.
//!
//! Every image is made by one rule. The medium is cut into units, and each
//! unit has a *limit*: the stores before it have arrived, the others have not.
//! What the class guarantees bounds a unit's limit from below; the chosen
//! subset does the rest:
//! - *msync*: units are sectors of 512 bytes; all stores before the last
//!   completed sync have arrived. The kernel writes pages of 4 KiB, so the
//!   sectors of a page share a limit, unless the page is torn.
//! - *cpu-flush*: units are words of 8 bytes; all stores to a line before its
//!   last flush that a fence followed have arrived. The words of a line share
//!   a limit, unless the line is torn.
//! - *volatile*: memory survives the process: everything has arrived.
//!
//! A limit may lie between two stores to the same unit, since caches and the
//! kernel write back when they like. Among the images of one moment are always
//! the one with nothing beyond the guarantee and the one with everything.
//!
//! The log takes no lock, so that the pool can be used under any: an event is
//! given a number and then put into a slot that is written once.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sys::Errno;

use crate::{Access, Durability, HeapPool, Pool, PoolError, Result, WindowSource};

const EVENTS_PER_PIECE: usize = 1024;
const PIECES: usize = 4096;

/// Most events that a log holds.
pub const EVENTS_MAX: usize = EVENTS_PER_PIECE * PIECES;

/// What was done to the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes were stored.
    Store {
        /// Where.
        offset: u64,
        /// What.
        data: Box<[u8]>,
    },
    /// Lines were flushed.
    Flush {
        /// From where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Earlier flushes were ordered.
    Fence,
    /// Everything was synced.
    Sync,
}

/// What could be on the medium.
#[derive(Clone, Debug)]
pub struct CrashImage {
    /// Power went after so many events.
    pub cut: usize,
    /// The bytes of the whole pool.
    pub bytes: Vec<u8>,
}

/// A heap pool with a log. See the module.
#[derive(Debug)]
pub struct CrashPool {
    heap: HeapPool,
    base: Vec<u8>,
    pieces: Vec<OnceLock<Vec<OnceLock<Event>>>>,
    next: AtomicUsize,
    syncs_fail: AtomicBool,
}

impl CrashPool {
    /// A zeroed pool of `len` bytes, a multiple of 4096.
    pub fn new(len: u64, durability: Durability) -> Result<CrashPool> {
        CrashPool::from_image(&vec![0; len as usize], durability)
    }

    /// A pool that holds `image`, all of it durable.
    pub fn from_image(image: &[u8], durability: Durability) -> Result<CrashPool> {
        Ok(CrashPool {
            heap: HeapPool::from_image(image, durability)?,
            base: image.to_vec(),
            pieces: (0..PIECES).map(|_| OnceLock::new()).collect(),
            next: AtomicUsize::new(0),
            syncs_fail: AtomicBool::new(false),
        })
    }

    /// Every sync from now on fails with EIO and makes nothing durable.
    pub fn fail_syncs(&self) {
        self.syncs_fail.store(true, Ordering::SeqCst);
    }

    fn log(&self, event: Event) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        assert!(number < EVENTS_MAX, "the crash log is full; cut the test into pieces");
        let piece = self.pieces[number / EVENTS_PER_PIECE]
            .get_or_init(|| (0..EVENTS_PER_PIECE).map(|_| OnceLock::new()).collect());
        let fresh = piece[number % EVENTS_PER_PIECE].set(event).is_ok();
        assert!(fresh, "event {number} was logged twice");
    }

    fn log_store(&self, offset: u64, len: u64) {
        let mut data = vec![0; len as usize].into_boxed_slice();
        self.heap.read(offset, &mut data);
        self.log(Event::Store { offset, data });
    }

    /// Events so far.
    pub fn events(&self) -> usize {
        self.next.load(Ordering::SeqCst)
    }

    /// One event. Panics if it is not there, or not yet while threads run.
    pub fn event(&self, number: usize) -> &Event {
        let piece = self.pieces[number / EVENTS_PER_PIECE].get();
        piece.and_then(|piece| piece[number % EVENTS_PER_PIECE].get()).expect("a logged event")
    }

    /// The moments worth losing power at, ascending: right before and right
    /// after each fence and sync, and the end; on volatile pools every event.
    pub fn cut_points(&self) -> Vec<usize> {
        let end = self.events();
        if self.durability() == Durability::Volatile {
            return (0..=end).collect();
        }
        let is_order = |number: &usize| matches!(self.event(*number), Event::Fence | Event::Sync);
        let mut cuts: Vec<usize> = (0..end).filter(is_order).flat_map(|n| [n, n + 1]).collect();
        cuts.push(end);
        cuts.dedup();
        cuts
    }

    /// Images of power loss after `cut` events: first the least and the most
    /// that can be there, then `random` ones, which `seed` decides.
    pub fn images_at(&self, cut: usize, seed: u64, random: usize) -> impl Iterator<Item = CrashImage> + '_ {
        let guarantee = Guarantee::new(self, cut);
        let fixed = match self.durability() {
            Durability::Volatile => vec![Choice::Most],
            Durability::Msync | Durability::CpuFlush => vec![Choice::Least, Choice::Most],
        };
        let random = if fixed.len() == 1 { 0 } else { random };
        let seeds = (0..random).map(move |n| Choice::Random(mix(seed ^ mix(cut as u64) ^ n as u64)));
        fixed.into_iter().chain(seeds).map(move |choice| CrashImage { cut, bytes: guarantee.image(self, choice) })
    }

    /// Images at every cut point, with `random` random ones at each.
    pub fn images(&self, seed: u64, random: usize) -> impl Iterator<Item = CrashImage> + '_ {
        self.cut_points().into_iter().flat_map(move |cut| self.images_at(cut, seed, random))
    }
}

/// Which of the stores that are not guaranteed have arrived.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Least,
    Most,
    Random(u64),
}

/// What must have arrived at a cut.
struct Guarantee {
    cut: usize,
    /// Stores before this event have arrived everywhere.
    all: usize,
    /// Stores to a line before this event have arrived.
    lines: HashMap<u64, usize>,
    /// Bytes of a unit, and of the group whose units share a limit mostly.
    unit: u64,
    group: u64,
}

impl Guarantee {
    fn new(pool: &CrashPool, cut: usize) -> Guarantee {
        let mut guarantee = Guarantee { cut, all: 0, lines: HashMap::new(), unit: 512, group: 4096 };
        match pool.durability() {
            Durability::Volatile => guarantee.all = cut,
            Durability::Msync => {
                let synced = (0..cut).rev().find(|n| *pool.event(*n) == Event::Sync);
                guarantee.all = synced.unwrap_or(0);
            }
            Durability::CpuFlush => {
                (guarantee.unit, guarantee.group) = (8, 64);
                guarantee.add_lines(pool);
            }
        }
        guarantee
    }

    fn add_lines(&mut self, pool: &CrashPool) {
        let mut flushed = HashMap::new();
        for number in 0..self.cut {
            match pool.event(number) {
                Event::Flush { offset, len } if *len > 0 => {
                    for line in offset / 64..=(offset + len - 1) / 64 {
                        flushed.insert(line, number);
                    }
                }
                Event::Fence | Event::Sync => self.lines.extend(flushed.drain()),
                Event::Flush { .. } | Event::Store { .. } => {}
            }
        }
    }

    fn image(&self, pool: &CrashPool, choice: Choice) -> Vec<u8> {
        let mut bytes = pool.base.clone();
        for number in 0..self.cut {
            let Event::Store { offset, data } = pool.event(number) else { continue };
            let mut start = 0;
            while start < data.len() {
                let at = offset + start as u64;
                // Up to where the limit may change.
                let step = match choice {
                    Choice::Random(_) if number >= self.all => self.unit - at % self.unit,
                    Choice::Least if number >= self.all => self.group - at % self.group,
                    _ => data.len() as u64,
                };
                let end = data.len().min(start + step as usize);
                if number < self.limit(at, choice) {
                    bytes[at as usize..at as usize + end - start].copy_from_slice(&data[start..end]);
                }
                start = end;
            }
        }
        bytes
    }

    /// The stores to the unit at `offset` before this event have arrived.
    fn limit(&self, offset: u64, choice: Choice) -> usize {
        let group = offset / self.group;
        let least = self.lines.get(&group).copied().unwrap_or(0).max(self.all);
        let seed = match choice {
            Choice::Least => return least,
            Choice::Most => return self.cut,
            Choice::Random(seed) => mix(seed ^ mix(group)),
        };
        let between = |random: u64| least + (random % (self.cut - least + 1) as u64) as usize;
        match seed % 4 {
            0 => least,
            1 => self.cut,
            2 => between(mix(seed)),
            // Torn: each unit for itself, mostly all or nothing.
            _ => match mix(seed ^ mix(offset / self.unit)) {
                random if random % 3 == 0 => least,
                random if random % 3 == 1 => self.cut,
                random => between(random / 3),
            },
        }
    }
}

/// A number that looks random (splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Pool for CrashPool {
    fn len(&self) -> u64 {
        self.heap.len()
    }
    fn durability(&self) -> Durability {
        self.heap.durability()
    }
    fn access(&self) -> Access {
        Access::ReadWrite
    }
    fn page_size(&self) -> u64 {
        self.heap.page_size()
    }
    fn name(&self) -> String {
        format!("{} with a crash log", self.heap.name())
    }
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.heap.read(offset, into);
    }
    fn write(&self, offset: u64, from: &[u8]) {
        self.heap.write(offset, from);
        self.log(Event::Store { offset, data: from.into() });
    }
    fn write_stream(&self, offset: u64, from: &[u8]) {
        self.write(offset, from);
    }
    fn zero(&self, offset: u64, len: u64) {
        self.heap.zero(offset, len);
        self.log(Event::Store { offset, data: vec![0; len as usize].into() });
    }
    fn copy(&self, from: u64, to: u64, len: u64) {
        self.heap.copy(from, to, len);
        self.log_store(to, len);
    }
    fn load_u64(&self, offset: u64) -> u64 {
        self.heap.load_u64(offset)
    }
    fn store_u64(&self, offset: u64, value: u64) {
        self.heap.store_u64(offset, value);
        self.log(Event::Store { offset, data: value.to_le_bytes().into() });
    }
    fn equal(&self, offset: u64, other: &[u8]) -> bool {
        self.heap.equal(offset, other)
    }
    fn flush(&self, offset: u64, len: u64) {
        self.heap.flush(offset, len);
        self.log(Event::Flush { offset, len });
    }
    fn fence(&self) {
        self.log(Event::Fence);
    }
    fn sync(&self) -> Result<()> {
        if self.syncs_fail.load(Ordering::SeqCst) {
            return Err(PoolError::SyncFailed { name: self.name(), source: Errno::IO });
        }
        self.log(Event::Sync);
        Ok(())
    }
    fn back(&self, offset: u64, len: u64) -> Result<()> {
        self.heap.back(offset, len)
    }
    fn give_back(&self, offset: u64, len: u64) -> Result<()> {
        self.heap.give_back(offset, len)?;
        self.log_store(offset, len);
        Ok(())
    }
    fn window_source(&self) -> Option<WindowSource<'_>> {
        None
    }
    fn witness(&self) -> [u8; 32] {
        self.heap.witness()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 64 << 10;

    fn pool(durability: Durability) -> CrashPool {
        CrashPool::new(LEN, durability).expect("make")
    }

    #[test]
    fn what_was_synced_is_in_every_image_and_the_rest_in_some() {
        let pool = pool(Durability::Msync);
        pool.write(0, &[1; 8192]);
        pool.sync().expect("sync");
        pool.write(4096, &[2; 8192]);
        let mut mixed = 0;
        let mut torn = 0;
        for image in pool.images_at(pool.events(), 1, 200) {
            assert!(image.bytes[..4096].iter().all(|b| *b == 1));
            assert!(image.bytes[4096..8192].iter().all(|b| *b == 1 || *b == 2));
            assert!(image.bytes[8192..12_288].iter().all(|b| *b == 0 || *b == 2));
            for sector in image.bytes.chunks(512) {
                assert!(sector.iter().all(|b| *b == sector[0]), "a torn sector");
            }
            mixed += usize::from(image.bytes[4096] != image.bytes[8192].max(1));
            torn += usize::from(image.bytes[4096] != image.bytes[8191]);
        }
        assert!(mixed > 10 && torn > 10, "{mixed} mixed, {torn} torn");
    }

    #[test]
    fn the_first_images_are_the_least_and_the_most() {
        let pool = pool(Durability::Msync);
        pool.write(100, &[7; 1000]);
        let images: Vec<_> = pool.images_at(1, 0, 0).collect();
        assert_eq!(images.len(), 2);
        assert!(images[0].bytes.iter().all(|b| *b == 0));
        assert_eq!(images[1].bytes[100..1100], [7; 1000]);
        assert_eq!(pool.images_at(0, 0, 5).filter(|i| i.bytes[100] != 0).count(), 0);
    }

    #[test]
    fn a_flush_guarantees_nothing_before_the_fence() {
        let pool = pool(Durability::CpuFlush);
        pool.write(0, &[1; 128]);
        pool.flush(0, 64);
        let least = |cut| pool.images_at(cut, 0, 0).next().expect("an image").bytes;
        assert_eq!(least(2)[..128], [0; 128]);
        pool.fence();
        pool.write(0, &[2; 8]);
        pool.fence();
        let bytes = least(pool.events());
        assert_eq!((bytes[0], bytes[63], bytes[64]), (1, 1, 0), "the second store was not flushed");
        assert_eq!(pool.cut_points(), [2, 3, 4, 5]);
    }

    #[test]
    fn words_are_not_torn_but_lines_are() {
        let pool = pool(Durability::CpuFlush);
        pool.write(64, &[3; 64]);
        let mut torn = 0;
        for image in pool.images_at(1, 9, 100) {
            let line = &image.bytes[64..128];
            assert!(line.chunks(8).all(|word| word.iter().all(|b| *b == word[0])));
            torn += usize::from(line.iter().any(|b| *b != line[0]));
        }
        assert!(torn > 5, "{torn}");
    }

    #[test]
    fn an_earlier_store_to_the_same_place_may_be_what_arrived() {
        let pool = pool(Durability::Msync);
        pool.write(0, &[1]);
        pool.write(0, &[2]);
        let seen: std::collections::BTreeSet<u8> = pool.images_at(2, 3, 100).map(|image| image.bytes[0]).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_volatile_pool_has_one_image_at_each_store() {
        let pool = pool(Durability::Volatile);
        pool.write(0, &[1; 10]);
        pool.copy(0, 100, 10);
        pool.zero(0, 5);
        let images: Vec<_> = pool.images(0, 10).collect();
        assert_eq!(images.len(), 4);
        assert_eq!(images[3].bytes, pool.heap.image());
        assert_eq!(images[1].bytes[..10], [1; 10]);
        assert_eq!(images[1].bytes[100], 0);
    }

    #[test]
    fn a_failing_sync_makes_nothing_durable_and_stays_failed() {
        let pool = pool(Durability::Msync);
        pool.write(0, &[1]);
        pool.fail_syncs();
        assert_eq!(pool.sync().expect_err("fails").errno(), 5);
        assert_eq!(pool.sync().expect_err("fails again").errno(), 5);
        assert_eq!(pool.images_at(pool.events(), 0, 0).next().expect("an image").bytes[0], 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_images() {
        let pool = pool(Durability::Msync);
        pool.write(0, &vec![5; 40_000]);
        let run = || pool.images(42, 8).map(|image| image.bytes).collect::<Vec<_>>();
        assert_eq!(run(), run());
    }

    #[test]
    fn threads_may_store_at_once() {
        let pool = pool(Durability::Volatile);
        std::thread::scope(|scope| {
            for n in 0..4_u8 {
                let pool = &pool;
                scope.spawn(move || (0..2000).for_each(|_| pool.write(u64::from(n) * 8, &[n; 8])));
            }
        });
        assert_eq!(pool.events(), 8000);
        let last = pool.images_at(8000, 0, 0).next().expect("an image");
        assert_eq!(last.bytes, pool.heap.image());
    }
}
