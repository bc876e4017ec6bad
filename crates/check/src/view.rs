//! The pool as the next opening would see it: the medium, and over it what the journal's records say.
//!
//! Nothing is written. What records change is kept here: small patches as they are, a block with many of them whole, and
//! the bitmap blocks that they touch. So the memory taken is a few times the journal's records, whatever they say.
//!
//! Blocks that become used are new, and read as zeros until a record says more; blocks that become free are forgotten.
//! A record may have been torn while it was written in place, so of what the records touch the checksum does not count.

use std::collections::{BTreeMap, BTreeSet};

use format::{
    BITS_PER_BITMAP_BLOCK, BLOCK_SIZE, BitmapBlock, BitmapKind, Block, FormatError, Geometry, Group, GroupState,
    INODE_BYTES, Ino, InodeRecord, bit_place,
};
use pool::Pool;

/// Bytes of patches after which a block is kept whole.
const PATCH_BYTES_MAX: usize = 1024;

/// A block's bytes.
pub(crate) type Bytes = Box<[u8; BLOCK_SIZE]>;

/// What records say of a block.
#[derive(Debug)]
struct Patched {
    /// It became used in a record: zeros before the patches.
    fresh: bool,
    /// A bit for each 512 bytes that a record touched.
    touched: u8,
    patches: Vec<(u16, Box<[u8]>)>,
    patch_bytes: usize,
    whole: Option<Bytes>,
}

/// The pool with its journal applied.
#[derive(Debug)]
pub(crate) struct View<'p> {
    pub pool: &'p dyn Pool,
    pub geometry: Geometry,
    /// What the groups' headers say; set by whoever has read them.
    pub states: Vec<GroupState>,
    blocks: BTreeMap<u64, Patched>,
    /// Blocks that became used: first, length. They do not overlap.
    fresh: BTreeMap<u64, u64>,
    bitmaps: BTreeMap<u64, Bytes>,
    /// Fresh groups that records use.
    woken: BTreeSet<u32>,
    /// Blocks of bitmaps that are none; set by whoever has looked at them.
    pub unusable: BTreeSet<u64>,
}

impl<'p> View<'p> {
    pub fn new(pool: &'p dyn Pool, geometry: Geometry) -> View<'p> {
        View {
            pool,
            geometry,
            states: vec![GroupState::Active; geometry.group_count() as usize],
            blocks: BTreeMap::new(),
            fresh: BTreeMap::new(),
            bitmaps: BTreeMap::new(),
            woken: BTreeSet::new(),
            unusable: BTreeSet::new(),
        }
    }

    /// What is on the medium.
    pub fn raw(&self, block: Block) -> Bytes {
        read_raw(self.pool, block)
    }

    /// A block of the area for data.
    pub fn read(&self, block: Block) -> Bytes {
        let Some(patched) = self.blocks.get(&block.0) else {
            return if self.is_fresh(block.0) { zeros() } else { self.raw(block) };
        };
        if let Some(whole) = &patched.whole {
            return whole.clone();
        }
        let mut bytes = if patched.fresh { zeros() } else { self.raw(block) };
        for (at, patch) in &patched.patches {
            let at = usize::from(*at);
            bytes[at..at + patch.len()].copy_from_slice(patch);
        }
        bytes
    }

    /// Whether records touch a block, so that its checksum may be that of another state.
    pub fn is_touched(&self, block: Block) -> bool {
        self.blocks.contains_key(&block.0) || self.is_fresh(block.0)
    }

    /// The record of a slot, unchecked.
    pub fn record(&self, ino: Ino) -> InodeRecord {
        let mut bytes = [0; INODE_BYTES];
        if self.is_touched(ino.block()) {
            let block = self.read(ino.block());
            let start = usize::from(ino.slot()) * INODE_BYTES;
            bytes.copy_from_slice(&block[start..start + INODE_BYTES]);
        } else {
            self.pool.read(ino.offset(), &mut bytes);
        }
        *InodeRecord::from_bytes(&bytes)
    }

    /// Checks a record of this view.
    pub fn verify(&self, ino: Ino, record: &InodeRecord) -> Result<(), FormatError> {
        let touched = match self.blocks.get(&ino.block().0) {
            Some(patched) => patched.touched >> ino.slot() & 1 == 1,
            None => self.is_fresh(ino.block().0),
        };
        if touched { record.verify_form(ino) } else { record.verify(ino) }
    }

    fn is_fresh(&self, block: u64) -> bool {
        self.fresh.range(..=block).next_back().is_some_and(|(first, len)| block - first < *len)
    }

    /// Whether a group's bitmaps count.
    pub fn is_active(&self, group: &Group) -> bool {
        self.woken.contains(&group.index) || self.medium_is_active(group)
    }

    fn medium_is_active(&self, group: &Group) -> bool {
        self.states.get(group.index as usize) == Some(&GroupState::Active)
    }

    /// A block of a bitmap, unchecked, and whether records touch it.
    pub fn bitmap(&self, group: &Group, kind: BitmapKind, number: u32) -> (Bytes, bool) {
        let block = group.bitmap_block(kind, number).unwrap_or(group.first);
        match self.bitmaps.get(&block.0) {
            Some(bytes) => (bytes.clone(), true),
            None if self.medium_is_active(group) => (self.raw(block), false),
            None => (made_up(group, kind, number), false),
        }
    }

    /// The bit of a block, as it stands.
    pub fn bit(&self, block: Block, kind: BitmapKind) -> bool {
        let Some(group) = self.geometry.group_of(block) else { return false };
        let Some(bit) = group.bit_of(block) else { return false };
        let place = bit_place(bit);
        let Some(at) = group.bitmap_block(kind, place.number) else { return false };
        let byte = match self.bitmaps.get(&at.0) {
            Some(bytes) => bitmap_in(bytes).bits[place.byte],
            None if self.medium_is_active(&group) => {
                let mut byte = [0];
                self.pool.read(at.offset() + 32 + place.byte as u64, &mut byte);
                byte[0]
            }
            None => return kind == BitmapKind::Used && bit < group.own_blocks(),
        };
        byte & place.mask != 0
    }

    /// Bytes inside of one block of the area for data become these.
    pub fn patch(&mut self, block: Block, at: usize, data: &[u8]) {
        let fresh = self.is_fresh(block.0);
        let patched = self.blocks.entry(block.0).or_insert_with(|| Patched::new(fresh));
        for slot in at / INODE_BYTES..=(at + data.len() - 1) / INODE_BYTES {
            patched.touched |= 1 << slot;
        }
        if let Some(whole) = &mut patched.whole {
            whole[at..at + data.len()].copy_from_slice(data);
            return;
        }
        patched.patches.push((at as u16, data.into()));
        patched.patch_bytes += data.len() + 16;
        if patched.patch_bytes > PATCH_BYTES_MAX {
            let whole = self.read(block);
            if let Some(patched) = self.blocks.get_mut(&block.0) {
                patched.whole = Some(whole);
                patched.patches = Vec::new();
            }
        }
    }

    /// Bits of a group become 1 or 0; they are inside of it.
    pub fn put_bits(&mut self, group: &Group, kind: BitmapKind, bits: std::ops::Range<u32>, value: Bit) {
        if !self.medium_is_active(group) {
            self.woken.insert(group.index);
        }
        let start = group.first.0 + u64::from(bits.start);
        let count = u64::from(bits.end - bits.start);
        match (kind, value) {
            (BitmapKind::Used, Bit::Set) => {
                self.forget(start, count);
                self.fresh.insert(start, count);
            }
            (BitmapKind::Used, Bit::Clear) => self.forget(start, count),
            (BitmapKind::Inodes, _) => {}
        }
        let mut bit = bits.start;
        while bit < bits.end {
            let number = bit / BITS_PER_BITMAP_BLOCK;
            let end = bits.end.min((number + 1) * BITS_PER_BITMAP_BLOCK);
            let base = number * BITS_PER_BITMAP_BLOCK;
            let block = group.bitmap_block(kind, number).unwrap_or(group.first).0;
            if !self.bitmaps.contains_key(&block) {
                let bytes = self.bitmap(group, kind, number).0;
                self.bitmaps.insert(block, bytes);
            }
            if let Some(bytes) = self.bitmaps.get_mut(&block) {
                put(&mut BitmapBlock::from_bytes_mut(bytes).bits, bit - base..end - base, value);
            }
            bit = end;
        }
    }

    /// What was known of these blocks' content is void.
    fn forget(&mut self, start: u64, len: u64) {
        let end = start + len;
        let keys: Vec<u64> = self.blocks.range(start..end).map(|(block, _)| *block).collect();
        for block in keys {
            self.blocks.remove(&block);
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
}

/// What a bit becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bit {
    Set,
    Clear,
}

impl Patched {
    fn new(fresh: bool) -> Patched {
        let touched = if fresh { 0xff } else { 0 };
        Patched { fresh, touched, patches: Vec::new(), patch_bytes: 0, whole: None }
    }
}

fn zeros() -> Bytes {
    Box::new([0; BLOCK_SIZE])
}

/// A block on the medium.
pub(crate) fn read_raw(pool: &dyn Pool, block: Block) -> Bytes {
    let mut bytes = zeros();
    pool.read(block.offset(), &mut *bytes);
    bytes
}

/// A bitmap block.
pub(crate) fn bitmap_in(bytes: &[u8; BLOCK_SIZE]) -> &BitmapBlock {
    BitmapBlock::from_bytes(bytes)
}

/// A bitmap block of a group that was never used.
pub(crate) fn made_up(group: &Group, kind: BitmapKind, number: u32) -> Bytes {
    let mut block = BitmapBlock::new(group.index, kind, number);
    if kind == BitmapKind::Used && number == 0 {
        put(&mut block.bits, 0..group.own_blocks(), Bit::Set);
    }
    block.seal();
    Box::new(*block.as_bytes())
}

/// Sets or clears bits.
pub(crate) fn put(bits: &mut [u8], range: std::ops::Range<u32>, value: Bit) {
    let whole = if value == Bit::Set { 0xff } else { 0 };
    let mut bit = range.start;
    while bit < range.end {
        let byte = bit as usize / 8;
        if bit.is_multiple_of(8) && range.end - bit >= 8 {
            let bytes = (range.end - bit) as usize / 8;
            bits[byte..byte + bytes].fill(whole);
            bit += bytes as u32 * 8;
        } else {
            let mask = 1 << (bit % 8);
            match value {
                Bit::Set => bits[byte] |= mask,
                Bit::Clear => bits[byte] &= !mask,
            }
            bit += 1;
        }
    }
}
