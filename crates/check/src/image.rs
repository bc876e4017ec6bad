//! The metadata as the next opening would see it: the pool's blocks, with the journal's records laid over them.
//!
//! Replay is written here once more, from `docs/format.md`: set bits make blocks new (zeros), cleared bits make what is
//! known of them void, bytes are patched in. A block that records touched may have a wrong checksum in the pool, since a
//! checkpoint may have been cut short there.

use std::collections::{BTreeSet, HashMap};

use format::{
    BLOCK_BYTES, BLOCK_SIZE, BitmapBlock, BitmapKind, Block, Entry, Geometry, Group, GroupHeader, GroupState,
    HeaderSlot, Ino, JournalHeader, JournalHeaderFields, RecordHeader, RecordReader, Superblock, bit_place,
};
use pool::{Durability, Pool};

use crate::report::{Findings, Place};

/// A group's bitmaps.
#[derive(Debug)]
pub(crate) struct Maps {
    pub used: Vec<u64>,
    pub inodes: Vec<u64>,
}

/// A block of the overlay.
struct Laid {
    bytes: Box<[u8; BLOCK_SIZE]>,
    /// One bit for each 512 bytes that a record touched.
    touched: u8,
}

/// The image.
pub(crate) struct Image<'p> {
    pub pool: &'p dyn Pool,
    pub geometry: Geometry,
    pub root: Ino,
    pub salt: u64,
    pub orphans: BTreeSet<Ino>,
    /// Of each group; nothing for one that was never used.
    pub maps: Vec<Option<Maps>>,
    /// Blocks and inodes in use, as the journal's header and records count them.
    pub used_blocks: u64,
    pub used_inodes: u64,
    laid: HashMap<u64, Laid>,
}

impl<'p> Image<'p> {
    /// Reads journal and bitmaps. Nothing if what stands there cannot be a journal or bitmaps at all.
    pub fn open(pool: &'p dyn Pool, superblock: &Superblock, findings: &mut Findings) -> Option<Image<'p>> {
        let geometry = Geometry::new(superblock.pool_len.get(), superblock.unit_blocks.get()).ok()?;
        let header = journal_header(pool, &geometry, superblock, findings)?;
        let mut image = Image {
            pool,
            geometry,
            root: superblock.root_ino(),
            salt: superblock.name_salt.get(),
            orphans: BTreeSet::new(),
            maps: Vec::new(),
            used_blocks: header.used_blocks,
            used_inodes: header.used_inodes,
            laid: HashMap::new(),
        };
        let mut torn = image.load_maps(findings);
        image.replay(&header, superblock, findings, &mut torn)?;
        for (group, kind, number) in torn {
            let kind = if kind == BitmapKind::Used.into() { BitmapKind::Used } else { BitmapKind::Inodes };
            let block = geometry.group(group).and_then(|group| group.bitmap_block(kind, number)).unwrap_or(Block(0));
            findings.error("bitmap", Place::block(block).field("crc"), "the checksum of a bitmap block is wrong");
        }
        Some(image)
    }

    /// The bytes of a metadata block, and for each 512 of them whether a record touched them.
    pub fn block(&self, block: Block) -> (Box<[u8; BLOCK_SIZE]>, u8) {
        if let Some(laid) = self.laid.get(&block.0) {
            return (laid.bytes.clone(), laid.touched);
        }
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        self.pool.read(block.offset(), &mut *bytes);
        (bytes, 0)
    }

    /// Whether a bit is set.
    pub fn is_set(&self, kind: BitmapKind, block: Block) -> bool {
        let Some(group) = self.geometry.group_of(block) else { return false };
        let (Some(Some(maps)), Some(bit)) = (self.maps.get(group.index as usize), group.bit_of(block)) else {
            return false;
        };
        let words = if kind == BitmapKind::Used { &maps.used } else { &maps.inodes };
        words.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Bitmaps of all groups; tells which blocks of them have a wrong checksum.
    fn load_maps(&mut self, findings: &mut Findings) -> BTreeSet<(u32, BitmapKindOrd, u32)> {
        let mut torn = BTreeSet::new();
        for group in self.geometry.groups() {
            let maps = self.load_group(&group, findings, &mut torn);
            self.maps.push(maps);
        }
        torn
    }

    fn load_group(
        &self,
        group: &Group,
        findings: &mut Findings,
        torn: &mut BTreeSet<(u32, BitmapKindOrd, u32)>,
    ) -> Option<Maps> {
        let mut bytes = [0; BLOCK_SIZE];
        self.pool.read(group.first.offset(), &mut bytes);
        let head: &[u8; GroupHeader::BYTES] = bytes.first_chunk()?;
        let state = match GroupHeader::from_bytes(head).verify(group) {
            Ok(state) => state,
            Err(error) => {
                findings.error("group-header", Place::block(group.first).field_of(&error), error.to_string());
                GroupState::Active
            }
        };
        if state == GroupState::Fresh {
            return None;
        }
        let mut maps = empty_maps(group);
        for kind in [BitmapKind::Used, BitmapKind::Inodes] {
            for number in 0..group.bitmap_blocks {
                let block = group.bitmap_block(kind, number)?;
                self.pool.read(block.offset(), &mut bytes);
                let bitmap = BitmapBlock::from_bytes(&bytes);
                if let Err(error) = bitmap.verify_form(group, kind, number) {
                    findings.error("bitmap", Place::block(block).field_of(&error), error.to_string());
                } else if !bitmap.crc_is_right() {
                    torn.insert((group.index, kind.into(), number));
                }
                take_bits(&mut maps, kind, number, bitmap);
            }
        }
        Some(maps)
    }

    fn replay(
        &mut self,
        header: &JournalHeaderFields,
        superblock: &Superblock,
        findings: &mut Findings,
        torn: &mut BTreeSet<(u32, BitmapKindOrd, u32)>,
    ) -> Option<()> {
        let trusted = self.pool.durability() != Durability::Msync || header.witness == self.pool.witness();
        let (mut position, mut seq) = (header.tail_offset, header.tail_seq);
        let mut bytes = Vec::new();
        while position - header.tail_offset < self.geometry.ring_bytes() && (trusted || seq <= header.synced_seq) {
            let room = self.geometry.ring_bytes() - (position - header.tail_offset);
            if !self.read_record(position, seq, room, &mut bytes) {
                break;
            }
            let Ok(record) = RecordReader::new(&bytes, seq, &superblock.uuid) else { break };
            for entry in record.entries() {
                if let Err(why) = self.apply(&entry, torn) {
                    findings.fatal("journal-record", Place::record(seq), why);
                    return None;
                }
            }
            position += bytes.len() as u64;
            seq += 1;
            findings.report.summary.records += 1;
        }
        if self.pool.durability() == Durability::Msync && seq <= header.synced_seq && !header.clean {
            let text = format!("record {seq} is missing, and records up to {} were synced", header.synced_seq);
            findings.error("journal-record", Place::record(seq), text);
        }
        Some(())
    }

    fn read_record(&self, position: u64, seq: u64, room: u64, into: &mut Vec<u8>) -> bool {
        let mut head = [0; RecordHeader::BYTES];
        if room < RecordHeader::BYTES as u64 {
            return false;
        }
        self.read_ring(position, &mut head);
        let Some(len) = RecordHeader::peek(&head, seq).ok().filter(|len| *len as u64 <= room) else { return false };
        into.clear();
        into.resize(len, 0);
        self.read_ring(position, into);
        true
    }

    fn read_ring(&self, position: u64, into: &mut [u8]) {
        let (start, len) = (self.geometry.ring_first().offset(), self.geometry.ring_bytes());
        let at = position % len;
        let cut = into.len().min((len - at) as usize);
        let (first, second) = into.split_at_mut(cut);
        self.pool.read(start + at, first);
        if !second.is_empty() {
            self.pool.read(start, second);
        }
    }

    fn apply(&mut self, entry: &Entry<'_>, torn: &mut BTreeSet<(u32, BitmapKindOrd, u32)>) -> Result<(), &'static str> {
        match *entry {
            Entry::Bytes { offset, data } => self.patch(offset, data),
            Entry::SetBits { group, which, first, count } => {
                self.bits(group, which, first, count, Bits::Set, torn)?;
                let start = self.geometry.group(group).map_or(0, |g| g.first.0) + u64::from(first);
                let touched = if which == BitmapKind::Inodes { 0xff } else { 0 };
                for block in start..start + u64::from(count) {
                    // A run of data may be long: its blocks are remembered as new only where they are metadata later.
                    if which == BitmapKind::Inodes || count <= 64 {
                        self.laid.insert(block, Laid { bytes: Box::new([0; BLOCK_SIZE]), touched });
                    } else {
                        self.laid.remove(&block);
                    }
                }
                Ok(())
            }
            Entry::ClearBits { group, which, first, count } => {
                self.bits(group, which, first, count, Bits::Clear, torn)?;
                let start = self.geometry.group(group).map_or(0, |g| g.first.0) + u64::from(first);
                let gone = start..start + u64::from(count);
                self.laid.retain(|block, _| !gone.contains(block));
                Ok(())
            }
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
                self.used_inodes = self.used_inodes.saturating_add_signed(inodes);
                Ok(())
            }
        }
    }

    fn patch(&mut self, offset: u64, data: &[u8]) -> Result<(), &'static str> {
        let block = Block(offset / BLOCK_BYTES);
        let start = (offset % BLOCK_BYTES) as usize;
        if data.is_empty() || start + data.len() > BLOCK_SIZE || !self.geometry.owns(block, 1) {
            return Err("it changes bytes that are no metadata");
        }
        let pool = self.pool;
        let laid = self.laid.entry(block.0).or_insert_with(|| {
            let mut bytes = Box::new([0; BLOCK_SIZE]);
            pool.read(block.offset(), &mut *bytes);
            Laid { bytes, touched: 0 }
        });
        laid.bytes[start..start + data.len()].copy_from_slice(data);
        for piece in start / 512..=(start + data.len() - 1) / 512 {
            laid.touched |= 1 << piece;
        }
        Ok(())
    }

    fn bits(
        &mut self,
        group: u32,
        which: BitmapKind,
        first: u32,
        count: u32,
        to: Bits,
        torn: &mut BTreeSet<(u32, BitmapKindOrd, u32)>,
    ) -> Result<(), &'static str> {
        const OUTSIDE: &str = "it changes bits outside of any group";
        let place = self.geometry.group(group).ok_or(OUTSIDE)?;
        let end = first.checked_add(count).filter(|end| *end <= place.blocks && first >= place.own_blocks());
        let end = end.ok_or(OUTSIDE)?;
        let maps = self.maps.get_mut(group as usize).ok_or(OUTSIDE)?.get_or_insert_with(|| empty_maps(&place));
        let words = if which == BitmapKind::Used { &mut maps.used } else { &mut maps.inodes };
        for bit in first..end {
            let word = words.get_mut(bit as usize / 64).ok_or(OUTSIDE)?;
            match to {
                Bits::Set => *word |= 1 << (bit % 64),
                Bits::Clear => *word &= !(1 << (bit % 64)),
            }
            torn.remove(&(group, which.into(), bit_place(bit).number));
        }
        if which == BitmapKind::Used {
            let change = i64::from(count) * if to == Bits::Set { 1 } else { -1 };
            self.used_blocks = self.used_blocks.saturating_add_signed(change);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bits {
    Set,
    Clear,
}

/// A kind of bitmap that can be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BitmapKindOrd(u8);

impl From<BitmapKind> for BitmapKindOrd {
    fn from(kind: BitmapKind) -> Self {
        Self(u8::from(kind == BitmapKind::Inodes))
    }
}

/// The bitmaps of a group that was never used: its own blocks.
fn empty_maps(group: &Group) -> Maps {
    let words = (group.blocks as usize).div_ceil(64);
    let mut maps = Maps { used: vec![0; words], inodes: vec![0; words] };
    for bit in 0..group.own_blocks() {
        maps.used[bit as usize / 64] |= 1 << (bit % 64);
    }
    maps
}

fn take_bits(maps: &mut Maps, kind: BitmapKind, number: u32, bitmap: &BitmapBlock) {
    let words = if kind == BitmapKind::Used { &mut maps.used } else { &mut maps.inodes };
    let first = number * format::BITS_PER_BITMAP_BLOCK;
    for (byte, value) in (0_u32..).zip(bitmap.bits).filter(|(_, value)| *value != 0) {
        let bit = first + byte * 8;
        if let Some(word) = words.get_mut(bit as usize / 64) {
            *word |= u64::from(value) << (bit % 64);
        }
    }
}

/// The newest sound header slot.
fn journal_header(
    pool: &dyn Pool,
    geometry: &Geometry,
    superblock: &Superblock,
    findings: &mut Findings,
) -> Option<JournalHeaderFields> {
    let mut best: Option<JournalHeaderFields> = None;
    let mut wrong = Vec::new();
    for slot in [HeaderSlot::A, HeaderSlot::B] {
        let at = geometry.journal_header(slot);
        let mut bytes = [0; JournalHeader::BYTES];
        pool.read(at.offset(), &mut bytes);
        match JournalHeader::from_bytes(&bytes).verify(at, &superblock.uuid, geometry.ring_bytes()) {
            Ok(fields) if best.as_ref().is_none_or(|best| best.generation < fields.generation) => best = Some(fields),
            Ok(_) => {}
            Err(error) => wrong.push((at, error)),
        }
    }
    let lost = best.is_none();
    for (at, error) in wrong {
        let place = Place::block(at).field_of(&error);
        if lost {
            findings.fatal("journal-header", place, error.to_string());
        } else {
            findings.warning("journal-header", place, format!("{error}; the other slot is sound"));
        }
    }
    best
}
