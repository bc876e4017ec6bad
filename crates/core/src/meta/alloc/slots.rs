//! Inode slots: eight records in a block, handed out one by one.
//!
//! Which slots are free stands nowhere: a free slot is a record of zeros in an inode block. A group's inode blocks are
//! looked through a few at a time, only when no free slot is known, and each only once; after that commits report what
//! became free.
//!
//! A slot may be reported and found by looking, in any order. So what is free is a set; a slot that a transaction holds
//! is in `taken` from before it leaves the set until after the transaction has ended; and a reported slot joins the set
//! only if it is neither taken nor, asked after that, in use. (Asked the other way round, a commit between the two
//! questions would make a used slot look free.)

use std::collections::BTreeSet;

use format::{BitmapKind, Block, Geometry, Ino};
use order::sync::atomic::Ordering;
use order::{Before, Held, level};

use super::maps::Torn;
use super::space::{Hint, Place, Shape};
use super::{Context, Group, Groups, Search};
use crate::error::FsError;
use crate::meta::media;
use crate::meta::tx::BlockRun;

/// Inode records in a block.
const SLOTS: u32 = 8;
/// Inode blocks looked at for one allocation while there is space for a new one.
const SCAN_BLOCKS: usize = 64;

/// A free inode slot.
pub(crate) enum SlotFound {
    /// In an inode block that is there; it is marked taken.
    Old(Ino),
    /// Slot 0 of a block that the caller must make an inode block; the block is reserved.
    New(BlockRun),
}

fn ino_of(group: &Group, slot: u32) -> Ino {
    Ino((group.place.first.0 << 3) + u64::from(slot))
}

/// The slot's number in its group.
pub(super) fn slot_of(group: &Group, ino: Ino) -> u32 {
    (ino.0 - (group.place.first.0 << 3)) as u32
}

/// Puts a reported slot among the free ones, if it really is free.
pub(super) fn take_back(cx: &Context<'_>, group: &Group, search: &mut Search, slot: u32) {
    let taken = group.committed.leaf().taken.contains(&slot);
    if !taken && (cx.slot_is_free)(ino_of(group, slot)) {
        search.slots.insert(slot);
    }
}

impl Groups {
    /// Finds a free inode slot, near a group if it can.
    pub fn find_slot<P: Before<level::AllocGroup>>(
        &self,
        cx: &Context<'_>,
        held: &mut Held<'_, P>,
        near: Block,
    ) -> Result<SlotFound, FsError> {
        let hint = &self.hints[2];
        let start = media::group_of(cx.geometry, near).unwrap_or_else(|| hint.load(Ordering::SeqCst));
        for index in self.order_from(start) {
            let group = self.group(cx.geometry, index);
            let (mut guard, _held) = group.search.lock(held);
            let search = self.open_search(cx, group, &mut guard)?;
            let found = self.slot_in(cx, group, search)?;
            self.set_guess(group, search);
            let Some(found) = found else { continue };
            hint.store(index, Ordering::SeqCst);
            return match found {
                SlotFound::New(run) => self.back(cx, run).map(SlotFound::New),
                old @ SlotFound::Old(_) => Ok(old),
            };
        }
        Err(FsError::NoSpace { pending: self.pending.load(Ordering::SeqCst) > 0 })
    }

    fn slot_in(&self, cx: &Context<'_>, group: &Group, search: &mut Search) -> Result<Option<SlotFound>, FsError> {
        if search.slots.is_empty() {
            scan(cx, group, search, SCAN_BLOCKS)?;
        }
        if search.slots.is_empty() {
            let goal = search.scan_at.checked_add(1).filter(|goal| *goal < group.place.blocks);
            let shape = Shape { max: 1, min: 1, place: Place::Any, goal, hint: Hint::Meta };
            if let Some((first, len)) = search.space.take(&shape) {
                self.reserved.fetch_add(u64::from(len), Ordering::SeqCst);
                if search.scanned {
                    search.scan_at = first;
                }
                return Ok(Some(SlotFound::New(BlockRun {
                    first: Block(group.place.first.0 + u64::from(first)),
                    len,
                })));
            }
            while search.slots.is_empty() && scan(cx, group, search, SCAN_BLOCKS)? {}
        }
        let Some(slot) = search.slots.first().copied() else { return Ok(None) };
        group.committed.leaf().taken.insert(slot);
        search.slots.pop_first();
        Ok(Some(SlotFound::Old(ino_of(group, slot))))
    }

    /// A transaction that held slots of a group has ended: it took these for good, and these are free.
    pub fn end_slot(&self, geometry: &Geometry, ino: Ino, end: SlotEnd) {
        let Some(index) = media::group_of(geometry, ino.block()) else { return };
        let group = self.group(geometry, index);
        let slot = slot_of(group, ino);
        let mut committed = group.committed.leaf();
        committed.taken.remove(&slot);
        if end == SlotEnd::Free {
            committed.slots.push(slot);
        }
    }
}

/// How a slot leaves a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotEnd {
    /// It holds an inode now.
    Used,
    /// It is free.
    Free,
}

/// Looks through the next inode blocks. True if there may be more.
fn scan(cx: &Context<'_>, group: &Group, search: &mut Search, blocks_max: usize) -> Result<bool, FsError> {
    if search.scanned {
        return Ok(false);
    }
    let mut found = BTreeSet::new();
    for _ in 0..blocks_max {
        let (next, taken) = {
            let mut committed = group.committed.leaf();
            let maps = committed.maps(cx.pool, &group.place, Torn::Refuse)?;
            let next = maps.next_set(BitmapKind::Inodes, search.scan_at);
            let slots = |block: u32| block * SLOTS..(block + 1) * SLOTS;
            let taken: Vec<u32> =
                next.map_or(Vec::new(), |block| slots(block).filter(|slot| committed.taken.contains(slot)).collect());
            (next, taken)
        };
        let Some(block) = next else {
            search.scanned = true;
            break;
        };
        search.scan_at = block + 1;
        let free = |slot: &u32| !taken.contains(slot) && (cx.slot_is_free)(ino_of(group, *slot));
        found.extend((block * SLOTS..(block + 1) * SLOTS).filter(free));
        if !found.is_empty() {
            break;
        }
    }
    search.slots.append(&mut found);
    Ok(!search.scanned)
}
