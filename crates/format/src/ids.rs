//! Block and inode numbers.
//!
//! An inode number *is* a place: the block of eight records and the slot in it. So no table of inodes is needed, and a
//! number from outside is checked by asking whether its block is marked as an inode block.

use std::fmt;

use crate::limits::BLOCK_BYTES;

/// A block of the pool: 4096 bytes at `4096 * number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Block(pub u64);

impl Block {
    /// Byte offset in the pool. A number from outside that is not in the pool gives an offset that is not in it either.
    pub const fn offset(self) -> u64 {
        self.0.saturating_mul(BLOCK_BYTES)
    }

    /// The block `count` further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Block {
        Block(self.0.saturating_add(count))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "block {}", self.0)
    }
}

/// An inode: block number shifted left by 3, and the slot below it. 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ino(pub u64);

impl Ino {
    /// The inode in slot 0 ..= 7 of a block.
    pub const fn from_parts(block: Block, slot: u8) -> Ino {
        Ino(block.0 << 3 | (slot & 7) as u64)
    }

    /// The block that holds its record.
    pub const fn block(self) -> Block {
        Block(self.0 >> 3)
    }

    /// The slot in that block, 0 ..= 7.
    pub const fn slot(self) -> u8 {
        (self.0 & 7) as u8
    }

    /// Byte offset of its record in the pool.
    pub const fn offset(self) -> u64 {
        self.0.saturating_mul(512)
    }
}

impl fmt::Display for Ino {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "inode {}", self.0)
    }
}
