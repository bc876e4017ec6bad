//! Groups: their headers, the form of their bitmaps, and the blocks of inodes that these name.
//!
//! Where a block of the second bitmap cannot be used, blocks count as inode blocks if they look like ones; that is good
//! enough to go on looking, and not good enough to repair by.

use format::{
    BITS_PER_BITMAP_BLOCK, BitmapKind, Block, Group, GroupHeader, GroupState, INODE_BYTES, INODES_PER_BLOCK, Ino,
    InodeRecord, bit_place,
};

use crate::Checker;
use crate::owners::Claim;
use crate::report::{Findings, Place};
use crate::table::State;
use crate::view::{View, bitmap_in};

/// Inodes that can be told apart by 32 bits.
const SLOTS_MAX: usize = (u32::MAX - 8) as usize;

/// Reads the headers: what they say goes into the view.
pub(crate) fn headers(view: &mut View<'_>, out: &mut Findings) -> bool {
    let mut sound = true;
    for group in view.geometry.groups() {
        let mut bytes = [0; GroupHeader::BYTES];
        view.pool.read(group.first.offset(), &mut bytes);
        let header = GroupHeader::from_bytes(&bytes);
        let state = match header.verify(&group) {
            Ok(state) => {
                if header.reserved != [0; 32] {
                    let place = Place::block(group.first).field("reserved");
                    out.warning("reserved", place, "bytes of a group header that should be zero are not");
                }
                state
            }
            Err(error) => {
                sound = false;
                out.error("group-header", Place::block(group.first).field_of(&error), error.to_string());
                guess_state(view, &group)
            }
        };
        if let Some(known) = view.states.get_mut(group.index as usize) {
            *known = state;
        }
    }
    sound
}

/// A group has been used if it has a bitmap.
fn guess_state(view: &View<'_>, group: &Group) -> GroupState {
    let first = view.raw(group.bitmap_block(BitmapKind::Used, 0).unwrap_or(group.first));
    match bitmap_in(&first).verify(group, BitmapKind::Used, 0) {
        Ok(()) => GroupState::Active,
        Err(_) => GroupState::Fresh,
    }
}

impl Checker<'_, '_, '_> {
    /// Looks at all bitmap blocks, then at all blocks of inodes.
    pub(crate) fn groups(&mut self) {
        let geometry = self.view.geometry;
        for group in geometry.groups().filter(|group| self.view.is_active(group)).collect::<Vec<_>>() {
            for kind in [BitmapKind::Used, BitmapKind::Inodes] {
                for number in 0..group.bitmap_blocks {
                    self.bitmap(&group, kind, number);
                }
            }
        }
        for group in geometry.groups() {
            if self.view.is_active(&group) {
                self.inode_blocks(&group);
            }
            self.progress(u64::from(group.index) + 1, u64::from(geometry.group_count()));
        }
    }

    fn bitmap(&mut self, group: &Group, kind: BitmapKind, number: u32) {
        let at = group.bitmap_block(kind, number).unwrap_or(group.first);
        let (bytes, touched) = self.view.bitmap(group, kind, number);
        let block = bitmap_in(&bytes);
        if let Err(error) = block.verify_form(group, kind, number) {
            self.out.error("bitmap", Place::block(at).field_of(&error), error.to_string());
            self.view.unusable.insert(at.0);
            self.mends.inode_maps_sound &= kind == BitmapKind::Used;
            return;
        }
        if !touched && !block.crc_is_right() {
            let text = "the checksum of a bitmap block is wrong; its bits are looked at as they are";
            self.out.error("bitmap", Place::block(at).field("crc"), text);
            self.mends.inode_maps_sound &= kind == BitmapKind::Used;
        }
        for (field, bad) in [("reserved_a", block.reserved_a.get() != 0), ("reserved_b", block.reserved_b.get() != 0)] {
            if bad {
                self.out.warning("reserved", Place::block(at).field(field), "bytes that should be zero are not");
            }
        }
        let own = (0..group.own_blocks()).filter(|bit| bit_place(*bit).number == number);
        let own_set = |bit: u32| block.bits[bit_place(bit).byte] & bit_place(bit).mask != 0;
        let expected = kind == BitmapKind::Used;
        if let Some(bit) = own.into_iter().find(|bit| own_set(*bit) != expected) {
            let own = group.first.plus(u64::from(bit));
            let text = match kind {
                BitmapKind::Used => format!("{own}, of the group itself, is marked as free"),
                BitmapKind::Inodes => format!("{own}, of the group itself, is marked as a block of inodes"),
            };
            self.out.error("bitmap-bits", Place::block(at).field("bits"), text);
        }
    }

    /// Every block of inodes of a group into the table, its records checked.
    fn inode_blocks(&mut self, group: &Group) {
        for number in 0..group.bitmap_blocks {
            let base = number * BITS_PER_BITMAP_BLOCK;
            let end = group.blocks.min(base.saturating_add(BITS_PER_BITMAP_BLOCK));
            let at = group.bitmap_block(BitmapKind::Inodes, number).unwrap_or(group.first);
            if self.view.unusable.contains(&at.0) {
                for bit in base.max(group.own_blocks())..end {
                    self.maybe_inode_block(group.first.plus(u64::from(bit)));
                }
                continue;
            }
            let (bytes, _) = self.view.bitmap(group, BitmapKind::Inodes, number);
            for (byte, value) in (0_u32..).zip(bitmap_in(&bytes).bits).filter(|(_, value)| *value != 0) {
                for bit in (0..8).filter(|bit| value >> bit & 1 == 1).map(|bit| base + byte * 8 + bit) {
                    if (group.own_blocks()..end).contains(&bit) {
                        self.inode_block(group.first.plus(u64::from(bit)));
                    }
                }
            }
        }
    }

    fn maybe_inode_block(&mut self, block: Block) {
        let bytes = self.view.read(block);
        let mut used = false;
        for (slot, bytes) in (0_u8..).zip(bytes.as_chunks::<INODE_BYTES>().0) {
            let (ino, record) = (Ino::from_parts(block, slot), InodeRecord::from_bytes(bytes));
            if self.view.verify(ino, record).is_err() {
                return;
            }
            used |= !record.is_free();
        }
        if used {
            self.inode_block(block);
        }
    }

    fn inode_block(&mut self, block: Block) {
        if !self.view.bit(block, BitmapKind::Used) {
            self.out.error("inode-block-free", Place::block(block), "a block of inodes is marked as free");
        }
        if let Claim::Shared { .. } = self.owners.claim(block, 1) {
            self.out.error("shared-block", Place::block(block), "a block of inodes has another owner");
        }
        let bytes = self.view.read(block);
        if bytes.iter().all(|byte| *byte == 0) {
            return;
        }
        if self.table.len() >= SLOTS_MAX {
            self.out.fatal("inodes", Place::block(block), "there are more inodes than can be checked");
            return;
        }
        let mut states = [State::Free; INODES_PER_BLOCK as usize];
        for ((slot, state), bytes) in (0_u8..).zip(&mut states).zip(bytes.as_chunks::<INODE_BYTES>().0) {
            *state = self.slot(Ino::from_parts(block, slot), InodeRecord::from_bytes(bytes));
        }
        self.table.push(block, &states);
    }

    fn slot(&mut self, ino: Ino, record: &InodeRecord) -> State {
        if let Err(error) = self.view.verify(ino, record) {
            self.records_whole = false;
            self.out.error("inode-record", Place::inode(ino).field_of(&error), error.to_string());
            return State::Damaged;
        }
        if !record.is_free() {
            self.live += 1;
            self.out.report.summary.inodes += 1;
            return State::Live((record.mode() >> 12) as u8);
        }
        let mut kept = InodeRecord::free(ino, record.generation());
        kept.crc = record.crc;
        let zeros = record.as_bytes().iter().all(|byte| *byte == 0);
        if !zeros && kept.as_bytes() != record.as_bytes() {
            self.out.warning("reserved", Place::inode(ino), "a free slot holds more than its number and generation");
        }
        State::Free
    }
}
