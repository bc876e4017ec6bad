//! The limits of the format. What exceeds one is refused when it is made and is damage when it is read.

/// Bytes in a block, as pool offsets count.
pub const BLOCK_BYTES: u64 = 4096;
/// Bytes in a block, as slices count.
pub const BLOCK_SIZE: usize = 4096;
/// Blocks in 2 MiB: where groups begin, and the allocation unit of pools with huge pages.
pub const HUGE_BLOCKS: u64 = 512;
/// Smallest pool in bytes.
pub const POOL_BYTES_MIN: u64 = 16 << 20;
/// Largest pool in bytes.
pub const POOL_BYTES_MAX: u64 = 16 << 40;
/// Smallest journal ring in bytes.
pub const RING_BYTES_MIN: u64 = 1 << 20;
/// Largest journal ring in bytes.
pub const RING_BYTES_MAX: u64 = 128 << 20;
/// The ring takes this part of the pool between the two limits.
pub const RING_SHARE: u64 = 64;
/// Blocks in a group (1 GiB).
pub const GROUP_BLOCKS: u32 = 262_144;
/// A last group with fewer blocks is not made; its blocks stay unused.
pub const GROUP_BLOCKS_MIN: u32 = 1024;
/// Longest name of a directory entry in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest target of a symbolic link in bytes.
pub const TARGET_BYTES_MAX: usize = 4095;
/// Longest label in bytes; a NUL follows.
pub const LABEL_BYTES_MAX: usize = 31;
/// Highest level of a tree's root.
pub const LEVEL_MAX: u8 = 7;
/// Pages a file may have: offsets fit an `i64`.
pub const PAGES_MAX: u64 = i64::MAX as u64 / BLOCK_BYTES;
/// Largest size of a file in bytes.
pub const FILE_BYTES_MAX: u64 = (i64::MAX as u64) & !(BLOCK_BYTES - 1);
/// Longest journal record in bytes: half of the smallest ring.
pub const RECORD_BYTES_MAX: usize = 512 << 10;
/// Most inodes in one orphan snapshot entry, so that it fits a record.
pub const SNAPSHOT_INOS_MAX: usize = (RECORD_BYTES_MAX - 1024) / 8;
