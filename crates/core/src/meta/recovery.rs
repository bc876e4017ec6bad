//! Recovery: the records after the journal's tail, applied to the view.
//!
//! The newest sound header slot says where the journal begins. Records are read one after another for as long as each is
//! whole (checksum seeded with the pool's identity) and has the next number. Up to `synced_seq` every record must be
//! there. Later ones count on msync pools only if the page cache is surely still the one they were written to (the
//! witness); on the other classes always.
//!
//! Replay works on raw blocks, since a block may be a node in one record, free in the next, and an inode block in a third:
//! * bits that are set make their blocks new: zeros, whatever the medium holds;
//! * bits that are cleared drop the blocks: user data may stand there by now, and nothing may be written over it;
//! * bytes are patched into the block, which is read from the medium when it is not known.
//!
//! At the end what is left is cut into nodes and inode records, checked as strictly as anything read from the medium, but
//! for the checksum, which a torn in-place write may have left wrong: all bytes in which the old and the new state differ
//! stand in the records. The same holds for bitmap blocks that were touched.
//!
//! Nothing is written here. The caller runs a checkpoint; a crash in it, or before it, finds the same journal again.
//! Numbers go on beyond any that a record lost in the ring may have, so that such a one never looks like the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use format::{BitmapKind, Block, Entry, Group as GroupPlace, JournalHeaderFields, RecordReader};
use order::sync::Arc;
use order::sync::atomic::Ordering;
use pool::{Durability, Pool};

use super::alloc::Groups;
use super::alloc::maps::Torn;
use super::journal::{Resume, Ring};
use super::media;
use super::record;
use super::view::{Cache, Node};
use super::{Geometry, Ino, InodeRecord};
use crate::error::FsError;

/// Sequence numbers and generations stay below this for longer than any pool lives.
const NUMBER_MAX: u64 = 1 << 62;
/// Inode blocks that one entry makes at most.
const INODE_BLOCKS_MAX: u32 = 128;

/// What recovery found.
pub(super) struct Found {
    pub header: JournalHeaderFields,
    pub records: u64,
    pub orphans: BTreeSet<Ino>,
    pub resume: Resume,
}

/// Where recovery puts things.
pub(super) struct Target<'m> {
    pub pool: &'m dyn Pool,
    pub geometry: &'m Geometry,
    pub uuid: [u8; 16],
    pub groups: &'m Groups,
    pub nodes: &'m Cache<Node>,
    pub inodes: &'m Cache<InodeRecord>,
}

struct Replay<'m> {
    target: &'m Target<'m>,
    blocks: HashMap<u64, Patched>,
    /// Runs of blocks that became used and were not patched yet: start, length.
    fresh: BTreeMap<u64, u64>,
    orphans: BTreeSet<Ino>,
    used: u64,
    inodes: u64,
}

struct Patched {
    bytes: Box<[u8; 4096]>,
    /// A bit for each 512 bytes that a record touched.
    touched: u8,
}

/// Reads the journal and applies it.
pub(super) fn run(target: &Target<'_>, ring: Ring) -> Result<Found, FsError> {
    let header = media::read_header(target.pool, target.geometry, &target.uuid)?;
    if header.tail_seq.max(header.generation).max(header.synced_seq) > NUMBER_MAX {
        return Err(media::damaged("journal header", Block(1), "its numbers are higher than any pool's can be"));
    }
    let mut replay = Replay {
        target,
        blocks: HashMap::new(),
        fresh: BTreeMap::new(),
        orphans: BTreeSet::new(),
        used: header.used_blocks,
        inodes: header.used_inodes,
    };
    let (records, head, seq) = scan(target, ring, &header, &mut replay)?;
    let found = Found {
        records,
        resume: Resume {
            head,
            last_seq: seq - 1,
            next_seq: if header.clean { seq } else { seq.saturating_add(ring.len / record::RECORD_BYTES_MIN + 1) },
        },
        header,
        orphans: std::mem::take(&mut replay.orphans),
    };
    replay.finish()?;
    Ok(found)
}

/// Applies record after record: their number, the position after them, the number after them.
fn scan(
    target: &Target<'_>,
    ring: Ring,
    header: &JournalHeaderFields,
    replay: &mut Replay<'_>,
) -> Result<(u64, u64, u64), FsError> {
    let trusted = match target.pool.durability() {
        Durability::Msync => header.witness == target.pool.witness(),
        Durability::Volatile | Durability::CpuFlush => true,
    };
    let (mut position, mut seq, mut records) = (header.tail_offset, header.tail_seq, 0);
    let mut bytes = Vec::new();
    while position - header.tail_offset < ring.len && (trusted || seq <= header.synced_seq) {
        let room = ring.len - (position - header.tail_offset);
        if !record::read(target.pool, ring, position, seq, room, &mut bytes) {
            break;
        }
        let record = match RecordReader::new(&bytes, seq, &target.uuid) {
            Ok(record) => record,
            // Whole, and yet senseless: that is no record cut short.
            Err(error) if error.what == "journal entry" => return Err(error.into()),
            Err(_) => break,
        };
        for entry in record.entries() {
            replay.apply(entry)?;
        }
        position += bytes.len() as u64;
        seq += 1;
        records += 1;
    }
    if target.pool.durability() == Durability::Msync && seq <= header.synced_seq {
        return Err(media::damaged("journal", Block(ring.start / 4096), "a record that was synced is not there"));
    }
    Ok((records, position, seq))
}

impl Replay<'_> {
    fn apply(&mut self, entry: Entry<'_>) -> Result<(), FsError> {
        match entry {
            Entry::Bytes { offset, data } => self.patch(offset, data),
            Entry::SetBits { group, which, first, count } => self.set_bits(group, which, first, count),
            Entry::ClearBits { group, which: BitmapKind::Used, first, count } => self.clear_bits(group, first, count),
            Entry::ClearBits { .. } => Err(media::damaged("journal", Block(0), "a record unmakes inode blocks")),
            Entry::OrphanAdd { ino } => {
                self.orphans.insert(ino);
                Ok(())
            }
            Entry::OrphanRemove { ino } => {
                self.orphans.remove(&ino);
                Ok(())
            }
            Entry::OrphanSnapshot { inos } => {
                self.orphans = inos.iter().map(|ino| Ino(ino.get())).collect();
                Ok(())
            }
            Entry::Count { inodes } => {
                self.inodes = self.inodes.saturating_add_signed(inodes);
                Ok(())
            }
        }
    }

    fn patch(&mut self, offset: u64, data: &[u8]) -> Result<(), FsError> {
        let block = Block(offset / 4096);
        let start = (offset % 4096) as usize;
        if !self.target.geometry.owns(block, 1) || data.is_empty() || start + data.len() > 4096 {
            return Err(media::damaged("journal", block, "a record changes bytes that are no metadata"));
        }
        let patched = self.block(block);
        patched.bytes[start..start + data.len()].copy_from_slice(data);
        for slot in start / 512..=(start + data.len() - 1) / 512 {
            patched.touched |= 1 << slot;
        }
        Ok(())
    }

    fn block(&mut self, block: Block) -> &mut Patched {
        let fresh = self.fresh.range(..=block.0).next_back().is_some_and(|(first, len)| block.0 - first < *len);
        let pool = self.target.pool;
        self.blocks.entry(block.0).or_insert_with(|| {
            let mut bytes = Box::new([0; 4096]);
            if !fresh {
                pool.read(block.0 * 4096, &mut *bytes);
            }
            Patched { bytes, touched: 0 }
        })
    }

    /// The place of a run of bits, if it is inside of the group.
    fn place(&self, group: u32, first: u32, count: u32) -> Result<GroupPlace, FsError> {
        let outside = || media::damaged("journal", Block(0), "a record changes bits outside of any group");
        let place = self.target.geometry.group(group).ok_or_else(outside)?;
        let inside =
            count > 0 && first >= place.own_blocks() && first.checked_add(count).is_some_and(|end| end <= place.blocks);
        if inside { Ok(place) } else { Err(outside()) }
    }

    fn set_bits(&mut self, group: u32, which: BitmapKind, first: u32, count: u32) -> Result<(), FsError> {
        let place = self.place(group, first, count)?;
        let start = place.first.0 + u64::from(first);
        let group = self.target.groups.group(self.target.geometry, group);
        group.committed.leaf().maps(self.target.pool, &place, Torn::Suspect)?.set(which, first, count);
        match which {
            BitmapKind::Used => {
                self.forget(start, u64::from(count));
                self.fresh.insert(start, u64::from(count));
                self.used = self.used.saturating_add(u64::from(count));
            }
            BitmapKind::Inodes => {
                if count > INODE_BLOCKS_MAX {
                    return Err(media::damaged("journal", Block(start), "a record makes too many inode blocks"));
                }
                for block in start..start + u64::from(count) {
                    self.block(Block(block)).touched = 0xff;
                }
            }
        }
        Ok(())
    }

    fn clear_bits(&mut self, group: u32, first: u32, count: u32) -> Result<(), FsError> {
        let place = self.place(group, first, count)?;
        let group = self.target.groups.group(self.target.geometry, group);
        group.committed.leaf().maps(self.target.pool, &place, Torn::Suspect)?.clear(BitmapKind::Used, first, count);
        self.forget(place.first.0 + u64::from(first), u64::from(count));
        self.used = self.used.saturating_sub(u64::from(count));
        Ok(())
    }

    /// What was known of these blocks' content is void.
    fn forget(&mut self, start: u64, len: u64) {
        let end = start + len;
        if self.blocks.len() as u64 > len {
            for block in start..end {
                self.blocks.remove(&block);
            }
        } else {
            self.blocks.retain(|block, _| *block < start || *block >= end);
        }
        let hit: Vec<(u64, u64)> = self
            .fresh
            .range(..end)
            .rev()
            .take_while(|(first, len)| *first + **len > start)
            .map(|(first, len)| (*first, *len))
            .collect();
        for (first, len) in hit {
            self.fresh.remove(&first);
            if first < start {
                self.fresh.insert(first, start - first);
            }
            if first + len > end {
                self.fresh.insert(end, first + len - end);
            }
        }
    }

    /// Cuts the blocks into objects, checks them, and puts all into the view.
    fn finish(self) -> Result<(), FsError> {
        let Target { groups, geometry, pool, .. } = *self.target;
        for group in groups.loaded() {
            let mut committed = group.committed.leaf();
            let maps = committed.maps(pool, &group.place, Torn::Suspect)?;
            if let Some(block) = maps.first_unproven(&group.place) {
                return Err(media::damaged("group bitmap", block, "its checksum is wrong"));
            }
            if !maps.all_set(BitmapKind::Used, 0, group.place.own_blocks()) {
                return Err(media::damaged("group bitmap", group.place.first, "the group's own blocks are not marked"));
            }
        }
        for (number, patched) in &self.blocks {
            let block = Block(*number);
            let Some(index) = media::group_of(geometry, block) else { continue };
            let group = groups.group(geometry, index);
            let bit = (number - group.place.first.0) as u32;
            let (used, inode) = {
                let mut committed = group.committed.leaf();
                let maps = committed.maps(pool, &group.place, Torn::Refuse)?;
                (maps.all_set(BitmapKind::Used, bit, 1), maps.all_set(BitmapKind::Inodes, bit, 1))
            };
            match (used, inode) {
                (true, true) => self.publish_inodes(block, patched)?,
                (true, false) => self.publish_node(block, patched)?,
                (false, _) => return Err(media::damaged("journal", block, "a record changes a block that is free")),
            }
        }
        groups.used.store(self.used.min(groups.total()), Ordering::SeqCst);
        groups.inodes.store(self.inodes, Ordering::SeqCst);
        Ok(())
    }

    fn publish_inodes(&self, block: Block, patched: &Patched) -> Result<(), FsError> {
        let slots = patched.bytes.as_chunks::<{ format::INODE_BYTES }>().0;
        for (slot, bytes) in (0_u8..).zip(slots).filter(|(slot, _)| patched.touched >> slot & 1 == 1) {
            let ino = Ino::from_parts(block, slot);
            let record = media::adopt_inode(ino, bytes)?;
            self.target.inodes.publish(ino.0, Arc::new(record));
        }
        Ok(())
    }

    fn publish_node(&self, block: Block, patched: &Patched) -> Result<(), FsError> {
        let node = media::adopt_node(block, &patched.bytes)?;
        self.target.nodes.publish(block.0, Arc::new(node));
        Ok(())
    }
}

/// Whether an inode's block is an inode block as of the last commit.
pub(super) fn is_inode_block(pool: &dyn Pool, geometry: &Geometry, groups: &Groups, ino: Ino) -> Result<bool, FsError> {
    let block = ino.block();
    let Some(index) = media::group_of(geometry, block) else { return Ok(false) };
    let group = groups.group(geometry, index);
    let bit = (block.0 - group.place.first.0) as u32;
    let mut committed = group.committed.leaf();
    Ok(committed.maps(pool, &group.place, Torn::Refuse)?.all_set(BitmapKind::Inodes, bit, 1))
}
