//! Where everything is, computed from the pool's length and its allocation unit.
//!
//! Nothing here is read from the pool, so a damaged pool cannot move anything: the superblock's copies of these numbers
//! are only compared. All arithmetic is on checked limits: lengths of 16 MiB to 16 TiB.
//!
//! ```text
//! block 0 | 1 | 2 | 3 .. 3+J       | pad to 512 | group 0 | group 1 | ... | rest < 1024 | last block
//! super   | A | B | journal ring   | unused     | 1 GiB   | 1 GiB   |     | unused      | backup superblock
//!
//! group:  header | N block-bitmap blocks | N inode-bitmap blocks | data ...
//! ```

use crate::error::{FormatError, ensure};
use crate::group::{BITS_PER_BITMAP_BLOCK, BitmapKind};
use crate::ids::{Block, Ino};
use crate::journal::HeaderSlot;
use crate::limits::{
    BLOCK_BYTES, GROUP_BLOCKS, GROUP_BLOCKS_MIN, HUGE_BLOCKS, POOL_BYTES_MAX, POOL_BYTES_MIN, RING_BYTES_MAX,
    RING_BYTES_MIN, RING_SHARE,
};

const RING_FIRST: u64 = 3;

/// The positions of a pool's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pool_len: u64,
    unit_blocks: u32,
    ring_blocks: u64,
    groups_first: u64,
    group_count: u32,
    last_group_blocks: u32,
}

/// One group's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub index: u32,
    /// Its first block, which holds the header.
    pub first: Block,
    /// Its blocks, header and bitmaps included.
    pub blocks: u32,
    /// Blocks of each of its two bitmaps.
    pub bitmap_blocks: u32,
}

impl Geometry {
    /// The geometry of a pool of `pool_len` bytes. `unit_blocks` is 1, or 512 for pools on huge pages.
    ///
    /// # Errors
    /// A length outside of 16 MiB ..= 16 TiB or not of whole units; another unit.
    pub fn new(pool_len: u64, unit_blocks: u32) -> Result<Geometry, FormatError> {
        let (what, place) = ("geometry", "pool");
        ensure!(
            (POOL_BYTES_MIN..=POOL_BYTES_MAX).contains(&pool_len),
            what,
            place,
            "length {pool_len} is outside of {POOL_BYTES_MIN} to {POOL_BYTES_MAX}"
        );
        ensure!(
            matches!(unit_blocks, 1 | 512),
            what,
            place,
            "allocation unit of {unit_blocks} blocks is neither 1 nor 512"
        );
        let unit_bytes = u64::from(unit_blocks) * BLOCK_BYTES;
        ensure!(
            pool_len.is_multiple_of(unit_bytes),
            what,
            place,
            "length {pool_len} is not a multiple of {unit_bytes}"
        );

        let blocks = pool_len / BLOCK_BYTES;
        let ring_blocks = (pool_len / RING_SHARE).clamp(RING_BYTES_MIN, RING_BYTES_MAX) / BLOCK_BYTES;
        let groups_first = (RING_FIRST + ring_blocks).next_multiple_of(HUGE_BLOCKS);
        let for_groups = blocks - 1 - groups_first;
        let (whole, rest) = (for_groups / u64::from(GROUP_BLOCKS), (for_groups % u64::from(GROUP_BLOCKS)) as u32);
        let (group_count, last_group_blocks) =
            if rest >= GROUP_BLOCKS_MIN { (whole as u32 + 1, rest) } else { (whole as u32, GROUP_BLOCKS) };
        Ok(Geometry { pool_len, unit_blocks, ring_blocks, groups_first, group_count, last_group_blocks })
    }

    /// Bytes in the pool.
    pub fn pool_len(&self) -> u64 {
        self.pool_len
    }

    /// Blocks in the pool.
    pub fn block_count(&self) -> u64 {
        self.pool_len / BLOCK_BYTES
    }

    /// Blocks in which data is allocated: 1 or 512.
    pub fn unit_blocks(&self) -> u32 {
        self.unit_blocks
    }

    /// The superblock.
    pub fn superblock(&self) -> Block {
        Block(0)
    }

    /// The copy of the superblock.
    pub fn backup_superblock(&self) -> Block {
        Block(self.block_count() - 1)
    }

    /// A slot of the journal header.
    pub fn journal_header(&self, slot: HeaderSlot) -> Block {
        match slot {
            HeaderSlot::A => Block(1),
            HeaderSlot::B => Block(2),
        }
    }

    /// First block of the journal's ring.
    pub fn ring_first(&self) -> Block {
        Block(RING_FIRST)
    }

    /// Blocks in the ring.
    pub fn ring_blocks(&self) -> u64 {
        self.ring_blocks
    }

    /// Bytes in the ring.
    pub fn ring_bytes(&self) -> u64 {
        self.ring_blocks * BLOCK_BYTES
    }

    /// Where groups begin; a multiple of 512.
    pub fn groups_first(&self) -> Block {
        Block(self.groups_first)
    }

    /// Groups, at least 1.
    pub fn group_count(&self) -> u32 {
        self.group_count
    }

    /// A group's place; nothing if there is no such group.
    pub fn group(&self, index: u32) -> Option<Group> {
        if index >= self.group_count {
            return None;
        }
        let blocks = if index + 1 == self.group_count { self.last_group_blocks } else { GROUP_BLOCKS };
        let first = Block(self.groups_first + u64::from(index) * u64::from(GROUP_BLOCKS));
        Some(Group { index, first, blocks, bitmap_blocks: blocks.div_ceil(BITS_PER_BITMAP_BLOCK) })
    }

    /// All groups in order.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        (0..self.group_count).filter_map(|index| self.group(index))
    }

    /// The group that a block is in (metadata of the group included); nothing for blocks outside of all groups.
    pub fn group_of(&self, block: Block) -> Option<Group> {
        let index = block.0.checked_sub(self.groups_first)? / u64::from(GROUP_BLOCKS);
        let group = self.group(u32::try_from(index).ok()?)?;
        (block.0 < group.end().0).then_some(group)
    }

    /// Whether blocks `first .. first + count` all lie in one group's area for data. False for a count of 0.
    pub fn owns(&self, first: Block, count: u64) -> bool {
        let Some(end) = first.0.checked_add(count) else { return false };
        count > 0 && self.group_of(first).is_some_and(|group| first >= group.first_data() && end <= group.end().0)
    }

    /// Blocks for data and metadata of files, over all groups.
    pub fn usable_blocks(&self) -> u64 {
        self.groups().map(|group| u64::from(group.blocks - group.own_blocks())).sum()
    }

    /// The root directory: the first slot of the first data block of group 0.
    pub fn root(&self) -> Ino {
        let own = u64::from(self.group(0).map_or(0, |group| group.own_blocks()));
        Ino::from_parts(Block(self.groups_first + own), 0)
    }
}

impl Group {
    /// The block after its last.
    pub fn end(&self) -> Block {
        self.first.plus(u64::from(self.blocks))
    }

    /// Blocks of its header and bitmaps, which are marked used in its bitmap.
    pub fn own_blocks(&self) -> u32 {
        1 + 2 * self.bitmap_blocks
    }

    /// The first block that can hold something else than the group's own metadata.
    pub fn first_data(&self) -> Block {
        self.first.plus(u64::from(self.own_blocks()))
    }

    /// Block `number` of a bitmap; nothing past its end.
    pub fn bitmap_block(&self, kind: BitmapKind, number: u32) -> Option<Block> {
        let before = match kind {
            BitmapKind::Used => 1,
            BitmapKind::Inodes => 1 + self.bitmap_blocks,
        };
        (number < self.bitmap_blocks).then(|| self.first.plus(u64::from(before + number)))
    }

    /// The bit of a block of this group; nothing for other blocks.
    pub fn bit_of(&self, block: Block) -> Option<u32> {
        let bit = block.0.checked_sub(self.first.0)?;
        (bit < u64::from(self.blocks)).then_some(bit as u32)
    }
}
