//! Allocation: blocks and inode slots, group by group.
//!
//! A group's state is built when the group is first used, so opening a pool costs the same for 1 GiB and for 16 TiB.
//! Pool-wide there are four counters (used, reserved, pending, inodes), which recovery takes from the journal, and per
//! group two outlook without a lock (free blocks, whole regions) that let a search skip groups that cannot serve it.
//!
//! Life of a block: free -> reserved (busy in `Space`, on no medium) -> used (bit set by a committed record) -> pending
//! (bit cleared; not handed out until that record is durable) -> free. An abort goes from reserved straight to free.
//!
//! Two locks per group: `AllocGroup` guards the search structure; a leaf guards the committed bitmaps and the queues
//! through which commits and aborts, which have no token for the allocator, hand blocks back. A guess of a group that got
//! blocks back is raised at once, so that it is looked at again.

pub(crate) mod maps;
mod slots;
pub(crate) mod space;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use format::{BitmapKind, Block, Geometry, Group as GroupPlace};
use order::sync::OnceLock;
use order::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use order::{Before, Held, Mutex, level};
use pool::Pool;

use self::maps::{Committed, Torn};
use self::space::{Hint, Place, REGION, Shape, Space};
use super::media;
use super::tx::{Align, BlockRun, Purpose, Want};
use crate::error::FsError;

pub(crate) use self::slots::{SlotEnd, SlotFound};

const UNKNOWN: u32 = u32::MAX;

fn relative(place: &GroupPlace, block: Block) -> u32 {
    (block.0 - place.first.0) as u32
}

/// One group.
pub(crate) struct Group {
    pub place: GroupPlace,
    search: Mutex<level::AllocGroup, Option<Box<Search>>>,
    pub committed: Mutex<level::MetaShard, Committed>,
}

struct Search {
    space: Space,
    /// Free inode slots known.
    slots: BTreeSet<u32>,
    /// Inode blocks from this one on have not been looked at; a new one goes behind it.
    scan_at: u32,
    /// There are none of those: all that is free is known, or will be reported.
    scanned: bool,
}

#[derive(Debug)]
struct Guess {
    free: AtomicU32,
    whole: AtomicU32,
}

/// All groups of a pool.
pub(crate) struct Groups {
    list: Box<[OnceLock<Box<Group>>]>,
    outlook: Box<[Guess]>,
    /// Where to try next when there is no goal: for data, for metadata, for inodes.
    hints: [AtomicU32; 3],
    unit: u32,
    /// Blocks that files and metadata can use.
    total: u64,
    /// Data leaves this many to metadata.
    spare: u64,
    pub used: AtomicU64,
    pub reserved: AtomicU64,
    pub pending: AtomicU64,
    pub inodes: AtomicU64,
}

impl Groups {
    pub fn new(geometry: &Geometry) -> Groups {
        let count = geometry.group_count();
        let total = geometry.usable_blocks();
        Groups {
            list: (0..count).map(|_| OnceLock::new()).collect(),
            outlook: (0..count)
                .map(|_| Guess { free: AtomicU32::new(UNKNOWN), whole: AtomicU32::new(UNKNOWN) })
                .collect(),
            hints: [AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)],
            unit: geometry.unit_blocks(),
            total,
            spare: (total / 64).min(256),
            used: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
        }
    }

    /// Blocks for files and metadata.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Blocks that only metadata may take.
    pub fn spare(&self) -> u64 {
        self.spare
    }

    pub fn group(&self, geometry: &Geometry, index: u32) -> &Group {
        self.list[index as usize].get_or_init(|| {
            Box::new(Group {
                place: media::group_place(geometry, index),
                search: Mutex::new(None),
                committed: Mutex::new(Committed::default()),
            })
        })
    }

    /// The groups that were used since the pool was opened.
    pub fn loaded(&self) -> impl Iterator<Item = &Group> {
        self.list.iter().filter_map(|group| group.get().map(|group| &**group))
    }

    fn allocatable(&self) -> u64 {
        let counters = [&self.used, &self.reserved, &self.pending];
        counters.iter().fold(self.total, |left, counter| left.saturating_sub(counter.load(Ordering::SeqCst)))
    }

    /// Looks into the groups in which freed blocks wait: those whose record is durable by now are free.
    fn reclaim<P: Before<level::AllocGroup>>(&self, cx: &Context<'_>, held: &mut Held<'_, P>) -> Result<(), FsError> {
        for group in self.loaded().filter(|group| group.committed.leaf().waiting > 0) {
            let (mut guard, _held) = group.search.lock(held);
            let search = self.open_search(cx, group, &mut guard)?;
            self.set_guess(group, search);
        }
        Ok(())
    }

    /// Takes a run of blocks out of the free ones. Nobody else knows of them until a commit marks them used.
    pub fn reserve<P: Before<level::AllocGroup>>(
        &self,
        cx: &Context<'_>,
        held: &mut Held<'_, P>,
        want: &Want,
    ) -> Result<BlockRun, FsError> {
        let (mut shape, strict) = match self.shape(want) {
            Err(FsError::NoSpace { pending: true }) => {
                self.reclaim(cx, held)?;
                self.shape(want)?
            }
            decided => decided?,
        };
        let goal = want.goal.and_then(|goal| media::group_of(cx.geometry, goal).map(|group| (group, goal)));
        let hint = &self.hints[shape.hint as usize];
        let start = goal.map_or_else(|| hint.load(Ordering::SeqCst), |(group, _)| group);
        let passes: &[Place] = match (want.align, strict) {
            (_, true) => &[Place::Region],
            (Align::Huge, false) => &[Place::Region, Place::PreferRegion],
            (Align::Block, false) => &[Place::Any],
        };
        for place in passes {
            shape.place = *place;
            let min = if *place == Place::Region { shape.min.max(REGION.min(shape.max)) } else { shape.min };
            for index in self.order_from(start) {
                if !self.may_serve(index, *place, min) {
                    continue;
                }
                shape.goal = goal
                    .filter(|(group, _)| *group == index)
                    .map(|(_, goal)| relative(&media::group_place(cx.geometry, index), goal));
                let group = self.group(cx.geometry, index);
                let taken = self.take_in(cx, held, group, &Shape { min, ..shape })?;
                if let Some((first, len)) = taken {
                    hint.store(index, Ordering::SeqCst);
                    let run = BlockRun { first: Block(group.place.first.0 + u64::from(first)), len };
                    return self.back(cx, run);
                }
            }
        }
        Err(FsError::NoSpace { pending: self.pending.load(Ordering::SeqCst) > 0 })
    }

    /// Length limits, and whether only aligned whole units will do.
    fn shape(&self, want: &Want) -> Result<(Shape, bool), FsError> {
        if want.blocks == 0 || want.min_blocks == 0 || want.min_blocks > want.blocks {
            return Err(FsError::Invalid("a request for blocks that asks for none"));
        }
        let data = want.purpose == Purpose::Data;
        let unit = if data { self.unit } else { 1 };
        let round = |blocks: u32| blocks.checked_next_multiple_of(unit).unwrap_or(blocks / unit * unit);
        let (mut max, min) = (round(want.blocks), round(want.min_blocks));
        let mut left = self.allocatable();
        if data {
            left = left.saturating_sub(self.spare);
            max = max.min((left / u64::from(unit) * u64::from(unit)).min(u64::from(u32::MAX)) as u32);
        }
        if left < u64::from(min) || max < min {
            return Err(FsError::NoSpace { pending: self.pending.load(Ordering::SeqCst) > 0 });
        }
        let hint = if data { Hint::Data } else { Hint::Meta };
        let strict = unit > 1 || (want.align == Align::Huge && want.min_blocks >= REGION);
        Ok((Shape { max, min, place: Place::Any, goal: None, hint }, strict))
    }

    fn order_from(&self, start: u32) -> impl Iterator<Item = u32> + use<> {
        let count = self.list.len() as u32;
        let start = if start < count { start } else { 0 };
        (start..count).chain(0..start)
    }

    fn may_serve(&self, index: u32, place: Place, min: u32) -> bool {
        let guess = &self.outlook[index as usize];
        guess.free.load(Ordering::SeqCst) >= min && (place != Place::Region || guess.whole.load(Ordering::SeqCst) > 0)
    }

    fn take_in<P: Before<level::AllocGroup>>(
        &self,
        cx: &Context<'_>,
        held: &mut Held<'_, P>,
        group: &Group,
        shape: &Shape,
    ) -> Result<Option<(u32, u32)>, FsError> {
        let (mut guard, _held) = group.search.lock(held);
        let search = self.open_search(cx, group, &mut guard)?;
        let shape = if self.unit > 1 && shape.place == Place::Region {
            Shape { max: shape.max / REGION * REGION, ..*shape }
        } else {
            *shape
        };
        let taken = search.space.take(&shape);
        if let Some((_, len)) = taken {
            self.reserved.fetch_add(u64::from(len), Ordering::SeqCst);
        }
        self.set_guess(group, search);
        Ok(taken)
    }

    fn set_guess(&self, group: &Group, search: &Search) {
        let committed = group.committed.leaf();
        let waiting = committed.waiting;
        let guess = &self.outlook[group.place.index as usize];
        guess.free.store(search.space.free() + waiting, Ordering::SeqCst);
        let whole = if waiting > 0 { UNKNOWN } else { search.space.whole_regions() };
        guess.whole.store(whole, Ordering::SeqCst);
    }

    fn raise_guess(&self, group: &Group, len: u32) {
        let guess = &self.outlook[group.place.index as usize];
        let raise = |free: u32| (free != UNKNOWN).then(|| free.saturating_add(len).min(UNKNOWN - 1));
        let _ = guess.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, raise);
        guess.whole.store(UNKNOWN, Ordering::SeqCst);
    }

    /// The search structure, built if need be, with everything that may be handed out again put back into it.
    fn open_search<'g>(
        &self,
        cx: &Context<'_>,
        group: &Group,
        guard: &'g mut Option<Box<Search>>,
    ) -> Result<&'g mut Search, FsError> {
        let mut committed = group.committed.leaf();
        if guard.is_none() {
            let maps = committed.maps(cx.pool, &group.place, Torn::Refuse)?;
            let mut space = Space::new(maps.words(BitmapKind::Used), group.place.blocks);
            for (_, first, len) in &committed.pending {
                space.hold(*first, *len);
            }
            *guard = Some(Box::new(Search { space, slots: BTreeSet::new(), scan_at: 0, scanned: false }));
        }
        let Some(search) = guard.as_deref_mut() else { return Err(FsError::Invalid("unreachable: just built")) };
        for (first, len) in std::mem::take(&mut committed.returned) {
            committed.waiting -= len;
            give(search, first, len)?;
        }
        let durable = cx.durable.load(Ordering::SeqCst);
        while let Some((_, first, len)) = committed.pending.front().copied().filter(|(seq, ..)| *seq <= durable) {
            committed.pending.pop_front();
            committed.waiting -= len;
            lower(&self.pending, len);
            give(search, first, len)?;
        }
        let slots = std::mem::take(&mut committed.slots);
        drop(committed);
        for slot in slots {
            slots::take_back(cx, group, search, slot);
        }
        Ok(search)
    }

    /// Gets memory for a run; on failure the run is free again.
    fn back(&self, cx: &Context<'_>, run: BlockRun) -> Result<BlockRun, FsError> {
        let backed = cx.pool.back(run.first.0 * 4096, u64::from(run.len) * 4096);
        if let Err(error) = backed {
            self.unreserve(cx.geometry, run);
            return Err(media::pool_error(&error));
        }
        Ok(run)
    }

    /// Gives back a reserved run that no record names.
    pub fn unreserve(&self, geometry: &Geometry, run: BlockRun) {
        let Some(index) = media::group_of(geometry, run.first) else { return };
        let group = self.group(geometry, index);
        let first = relative(&group.place, run.first);
        let mut committed = group.committed.leaf();
        committed.returned.push((first, run.len));
        committed.waiting += run.len;
        drop(committed);
        lower(&self.reserved, run.len);
        self.raise_guess(group, run.len);
    }

    /// Books a committed allocation of a reserved run.
    pub fn mark_used(&self, geometry: &Geometry, which: BitmapKind, run: BlockRun) {
        let Some(index) = media::group_of(geometry, run.first) else { return };
        let group = self.group(geometry, index);
        let first = relative(&group.place, run.first);
        if let Some(maps) = &mut group.committed.leaf().maps {
            maps.set(which, first, run.len);
        }
        if which == BitmapKind::Used {
            self.used.fetch_add(u64::from(run.len), Ordering::SeqCst);
            lower(&self.reserved, run.len);
        }
    }

    /// Books a committed free: the run may be handed out once record `seq` is durable.
    pub fn mark_free(&self, geometry: &Geometry, run: BlockRun, seq: u64) {
        let Some(index) = media::group_of(geometry, run.first) else { return };
        let group = self.group(geometry, index);
        let first = relative(&group.place, run.first);
        let mut committed = group.committed.leaf();
        if let Some(maps) = &mut committed.maps {
            maps.clear(BitmapKind::Used, first, run.len);
        }
        let place = committed.pending.partition_point(|(other, ..)| *other <= seq);
        committed.pending.insert(place, (seq, first, run.len));
        committed.waiting += run.len;
        drop(committed);
        self.pending.fetch_add(u64::from(run.len), Ordering::SeqCst);
        lower(&self.used, run.len);
        self.raise_guess(group, run.len);
    }

    /// Checks, before a record is written, that a run is in the state that the record will change.
    pub fn check_bits(&self, cx: &Context<'_>, run: BlockRun, expected: Bits) -> Result<(), FsError> {
        let outside = || media::damaged("block", run.first, "it is outside of any group's area for data");
        let index = media::group_of(cx.geometry, run.first).ok_or_else(outside)?;
        let group = self.group(cx.geometry, index);
        let first = relative(&group.place, run.first);
        if first < group.place.own_blocks() || u64::from(first) + u64::from(run.len) > u64::from(group.place.blocks) {
            return Err(outside());
        }
        let mut committed = group.committed.leaf();
        let maps = committed.maps(cx.pool, &group.place, Torn::Refuse)?;
        let (as_expected, why) = match expected {
            Bits::Set => (maps.all_set(BitmapKind::Used, first, run.len), "it is freed and is free already"),
            Bits::Clear => (maps.all_clear(BitmapKind::Used, first, run.len), "it is allocated and is in use already"),
        };
        if as_expected { Ok(()) } else { Err(media::damaged("block", run.first, why)) }
    }
}

/// Counters come from the medium, which may lie: they stop at zero.
fn lower(counter: &AtomicU64, by: u32) {
    let _ = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(old.saturating_sub(u64::from(by))));
}

/// What a run's bits must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bits {
    /// In use.
    Set,
    /// Free, or reserved.
    Clear,
}

fn give(search: &mut Search, first: u32, len: u32) -> Result<(), FsError> {
    if search.space.give(first, len) { Ok(()) } else { Err(FsError::Invalid("a block was given back twice")) }
}

/// What the allocator needs of the rest of the metadata.
pub(crate) struct Context<'m> {
    pub pool: &'m dyn Pool,
    pub geometry: &'m Geometry,
    /// Sequence number of the newest durable record.
    pub durable: &'m AtomicU64,
    /// Whether an inode slot is free as of the last commit.
    pub slot_is_free: &'m dyn Fn(format::Ino) -> bool,
}
