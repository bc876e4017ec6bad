//! Groups: 1 GiB of the pool each, with a header and two bitmaps.
//!
//! A group begins as `Fresh`: only its header is on the medium, so a pool of 16 TiB is made in no time. On first use its
//! bitmaps are written, then its header as `Active`. Both bitmaps have a bit for each block of the group, the group's own
//! blocks included: "in use", and "holds eight inode records".

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::crc_of;
use crate::error::{FormatError, ensure};
use crate::geometry::Group;
use crate::limits::BLOCK_SIZE;
use crate::media::media_type;

const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"DXGR");
const BITMAP_MAGIC: u32 = u32::from_le_bytes(*b"DXBM");
const CRC_AT: usize = 4;
const BITMAP_BYTES: usize = BLOCK_SIZE - 32;

/// Bits in a bitmap block; a multiple of 64.
pub const BITS_PER_BITMAP_BLOCK: u32 = BITMAP_BYTES as u32 * 8;

/// Whether a group's bitmaps are on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// Never used: its bitmaps mean nothing yet.
    Fresh,
    /// Its bitmaps count.
    Active,
}

impl GroupState {
    fn code(self) -> u32 {
        match self {
            GroupState::Fresh => 0,
            GroupState::Active => 1,
        }
    }
}

/// The two bitmaps of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BitmapKind {
    /// Blocks in use.
    Used,
    /// Blocks that hold inode records.
    Inodes,
}

impl BitmapKind {
    /// Its number on the medium.
    pub fn code(self) -> u8 {
        match self {
            BitmapKind::Used => 1,
            BitmapKind::Inodes => 2,
        }
    }

    /// The bitmap with this number.
    pub fn from_code(code: u8) -> Option<BitmapKind> {
        match code {
            1 => Some(BitmapKind::Used),
            2 => Some(BitmapKind::Inodes),
            _ => None,
        }
    }
}

/// The start of a group's first block; the rest of that block is not used.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------+-----------------------+
///     0| magic                 | crc                   |
///      +-----------------------+-----------------------+
///     8| index                 | state                 |
///      +-----------------------+-----------------------+
///    16| first                                         |
///      +-----------------------+-----------------------+
///    24| blocks                | bitmap_blocks         |
///      +-----------------------+-----------------------+
///    32| reserved (32 bytes)                           |
///      +-----------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct GroupHeader {
    /// `DXGR`.
    pub magic: U32,
    /// CRC-32C of these 64 bytes.
    pub crc: U32,
    /// The group's number.
    pub index: U32,
    /// 0 fresh, 1 active.
    pub state: U32,
    /// The block it is in.
    pub first: U64,
    /// Blocks in the group.
    pub blocks: U32,
    /// Blocks of each bitmap.
    pub bitmap_blocks: U32,
    /// Zero.
    pub reserved: [u8; 32],
}

media_type!(GroupHeader, 64);

impl GroupHeader {
    /// A sealed header.
    pub fn new(group: &Group, state: GroupState) -> GroupHeader {
        let mut header = GroupHeader {
            magic: HEADER_MAGIC.into(),
            crc: 0.into(),
            index: group.index.into(),
            state: state.code().into(),
            first: group.first.0.into(),
            blocks: group.blocks.into(),
            bitmap_blocks: group.bitmap_blocks.into(),
            reserved: [0; 32],
        };
        header.crc = crc_of(header.as_bytes(), CRC_AT).into();
        header
    }

    /// Checks the header read from `group.first`, and answers its state.
    pub fn verify(&self, group: &Group) -> Result<GroupState, FormatError> {
        let (what, at) = ("group header", group.first);
        ensure!(self.magic.get() == HEADER_MAGIC, what, at, "magic is {:#x}", self.magic.get());
        ensure!(self.crc.get() == crc_of(self.as_bytes(), CRC_AT), what, at, "crc is wrong");
        let (index, first) = (self.index.get(), self.first.get());
        ensure!(index == group.index, what, at, "index is {index}, expected {}", group.index);
        ensure!(first == group.first.0, what, at, "first is {first}, expected {}", group.first.0);
        let (blocks, bitmaps) = (self.blocks.get(), self.bitmap_blocks.get());
        ensure!(blocks == group.blocks, what, at, "blocks is {blocks}, expected {}", group.blocks);
        ensure!(bitmaps == group.bitmap_blocks, what, at, "bitmap_blocks is {bitmaps}");
        match self.state.get() {
            0 => Ok(GroupState::Fresh),
            1 => Ok(GroupState::Active),
            other => Err(FormatError::new(what, at, format!("state is {other}"))),
        }
    }
}

/// A block of a bitmap.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------+-----------------------+
///     0| magic                 | crc                   |
///      +-----------------------+-----------------------+
///     8| group                 | number                |
///      +-----------------------+-----------------------+
///    16| kind                  | reserved_a            |
///      +-----------------------+-----------------------+
///    24| reserved_b                                    |
///      +-----------------------------------------------+
///    32| bits (4064 bytes)                             |
///      +-----------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BitmapBlock {
    /// `DXBM`.
    pub magic: U32,
    /// CRC-32C of the block.
    pub crc: U32,
    /// The group's number.
    pub group: U32,
    /// The number of this block in its bitmap.
    pub number: U32,
    /// 1 blocks in use, 2 blocks of inodes.
    pub kind: U32,
    /// Zero.
    pub reserved_a: U32,
    /// Zero.
    pub reserved_b: U64,
    /// Bit `n` is bit `n % 8` of byte `n / 8`. Bits past the group's end are zero.
    pub bits: [u8; BITMAP_BYTES],
}

media_type!(BitmapBlock, 4096);

impl BitmapBlock {
    /// A block with no bit set, not sealed.
    pub fn new(group: u32, kind: BitmapKind, number: u32) -> BitmapBlock {
        let mut block = BitmapBlock::zeroed();
        block.magic = BITMAP_MAGIC.into();
        block.group = group.into();
        block.number = number.into();
        block.kind = u32::from(kind.code()).into();
        block
    }

    /// Computes the checksum.
    pub fn seal(&mut self) {
        self.crc = crc_of(self.as_bytes(), CRC_AT).into();
    }

    /// Whether the checksum is right.
    pub fn crc_is_right(&self) -> bool {
        self.crc.get() == crc_of(self.as_bytes(), CRC_AT)
    }

    /// Checks everything, the checksum included.
    pub fn verify(&self, group: &Group, kind: BitmapKind, number: u32) -> Result<(), FormatError> {
        let at = bitmap_place(group, kind, number);
        ensure!(self.crc_is_right(), "bitmap block", at, "crc is wrong");
        self.verify_form(group, kind, number)
    }

    /// Checks everything but the checksum, for recovery, which proves torn blocks by the journal.
    pub fn verify_form(&self, group: &Group, kind: BitmapKind, number: u32) -> Result<(), FormatError> {
        let (what, at) = ("bitmap block", bitmap_place(group, kind, number));
        ensure!(self.magic.get() == BITMAP_MAGIC, what, at, "magic is {:#x}", self.magic.get());
        ensure!(self.group.get() == group.index, what, at, "group is {}", self.group.get());
        ensure!(self.number.get() == number, what, at, "number is {}, expected {number}", self.number.get());
        ensure!(self.kind.get() == u32::from(kind.code()), what, at, "kind is {}", self.kind.get());
        let before = u64::from(number) * u64::from(BITS_PER_BITMAP_BLOCK);
        let bits = u64::from(group.blocks).saturating_sub(before).min(u64::from(BITS_PER_BITMAP_BLOCK)) as usize;
        let (whole, part) = (bits / 8, bits % 8);
        let past = self.bits.get(whole).is_some_and(|byte| byte >> part != 0);
        let rest = self.bits.get(whole + 1..).unwrap_or_default();
        ensure!(!past && rest.iter().all(|byte| *byte == 0), what, at, "bits past the group's end are set");
        Ok(())
    }
}

fn bitmap_place(group: &Group, kind: BitmapKind, number: u32) -> String {
    match group.bitmap_block(kind, number) {
        Some(block) => block.to_string(),
        None => format!("group {}, past its bitmaps", group.index),
    }
}

/// Where a bit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitPlace {
    /// The block in its bitmap.
    pub number: u32,
    /// The byte in that block's `bits`.
    pub byte: usize,
    /// The bit in that byte.
    pub mask: u8,
}

/// Where bit `bit` of a group's bitmap is.
pub fn bit_place(bit: u32) -> BitPlace {
    let inside = bit % BITS_PER_BITMAP_BLOCK;
    BitPlace { number: bit / BITS_PER_BITMAP_BLOCK, byte: inside as usize / 8, mask: 1 << (inside % 8) }
}
