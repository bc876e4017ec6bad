//! The media layout of a Daxle pool: what every byte outside of file data means.
//!
//! This crate does no I/O and holds no state. It turns bytes into typed structures and back, and it is the only place
//! that knows an offset inside a structure. Four rules hold everywhere:
//!
//! - Integers are little-endian, structures have no padding, and their sizes are asserted when this crate compiles.
//! - Every structure starts with a magic number and carries a CRC-32C of all its bytes, the checksum itself taken as 0.
//! - A pool may be hostile. A checked read answers `Ok` or a `FormatError` that names structure, place and reason; it
//!   never panics, and it never believes a count, a length or an offset that it has not compared with a limit.
//! - Positions come from `Geometry` alone, which is computed from the pool's length and allocation unit.
//!
//! The text with all the drawings and the reasons is `docs/format.md`.

#![forbid(unsafe_code)]

pub mod crc;
mod dirent;
mod error;
mod extent;
pub mod features;
mod geometry;
mod group;
mod ids;
mod inode;
mod journal;
pub mod limits;
mod media;
mod node;
mod record;
mod superblock;

pub use self::dirent::{DIRENT_HEAD_BYTES, DirentValue, KEYS_PER_NAME, NAME_KEY_MIN, name_key};
pub use self::error::FormatError;
pub use self::extent::{EXTENT_BYTES, ExtentState, ExtentValue};
pub use self::features::Openable;
pub use self::geometry::{Geometry, Group};
pub use self::group::{BITS_PER_BITMAP_BLOCK, BitPlace, BitmapBlock, BitmapKind, GroupHeader, GroupState, bit_place};
pub use self::ids::{Block, Ino};
pub use self::inode::{INLINE_BYTES, INODE_BYTES, INODES_PER_BLOCK, InodeRecord};
pub use self::journal::{HeaderSlot, JournalHeader, JournalHeaderFields};
pub use self::limits::{BLOCK_BYTES, BLOCK_SIZE};
pub use self::node::{
    InlineHeader, KIND_DIRECTORY, KIND_EXTENTS, NODE_BYTES, NodeHeader, NodeMut, NodeRef, SLOT_BYTES, Slot, seal_node,
    verify_node,
};
pub use self::record::{Entries, Entry, EntryHeader, RecordBuilder, RecordHeader, RecordReader};
pub use self::superblock::{Superblock, SuperblockFields};
pub use zerocopy::little_endian::U64;
