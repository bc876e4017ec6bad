//! The journal's header: where replay begins. Two slots, written in turn; the valid one with the higher generation counts.
//!
//! So a torn header write loses nothing: the other slot still says a place from which replay gives the same state.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::crc_of;
use crate::error::{FormatError, ensure};
use crate::ids::Block;
use crate::media::media_type;

const MAGIC: u32 = u32::from_le_bytes(*b"DXJH");
const CRC_AT: usize = 4;
const CLEAN: u32 = 1;

/// The two slots of the journal header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderSlot {
    /// Block 1.
    A,
    /// Block 2.
    B,
}

impl HeaderSlot {
    /// The slot for a generation: even ones go to A, odd ones to B.
    pub fn of_generation(generation: u64) -> HeaderSlot {
        if generation.is_multiple_of(2) { HeaderSlot::A } else { HeaderSlot::B }
    }
}

/// A slot of the journal header; the rest of its block is not used.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------+-----------------------+
///     0| magic                 | crc                   |
///      +-----------------------+-----------------------+
///     8| generation                                    |
///      +-----------------------------------------------+
///    16| tail_offset                                   |
///      +-----------------------------------------------+
///    24| tail_seq                                      |
///      +-----------------------------------------------+
///    32| synced_seq                                    |
///      +-----------------------------------------------+
///    40| used_blocks                                   |
///      +-----------------------------------------------+
///    48| used_inodes                                   |
///      +-----------------------------------------------+
///    56| witness (32 bytes)                            |
///      +-----------------------+-----------------------+
///    88| flags                 | reserved_a            |
///      +-----------------------+-----------------------+
///    96| uuid (16 bytes)                               |
///      +-----------------------------------------------+
///   112| reserved_b (16 bytes)                         |
///      +-----------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct JournalHeader {
    /// `DXJH`.
    pub magic: U32,
    /// CRC-32C of these 128 bytes.
    pub crc: U32,
    /// The higher one counts.
    pub generation: U64,
    /// Byte offset in the ring of the first record to replay.
    pub tail_offset: U64,
    /// That record's sequence number.
    pub tail_seq: U64,
    /// Records up to this number are durable, with all that they refer to.
    pub synced_seq: U64,
    /// Blocks in use at the tail.
    pub used_blocks: U64,
    /// Inodes in use at the tail.
    pub used_inodes: U64,
    /// Names the page cache that later records were written to.
    pub witness: [u8; 32],
    /// Bit 0: the pool was closed in order, and there is nothing to replay.
    pub flags: U32,
    /// Zero.
    pub reserved_a: U32,
    /// The pool's identity.
    pub uuid: [u8; 16],
    /// Zero.
    pub reserved_b: [u8; 16],
}

media_type!(JournalHeader, 128);

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalHeaderFields {
    /// The higher one counts.
    pub generation: u64,
    /// Byte offset in the ring of the first record to replay; a multiple of 8.
    pub tail_offset: u64,
    /// That record's sequence number.
    pub tail_seq: u64,
    /// Records up to this number are durable.
    pub synced_seq: u64,
    /// Blocks in use at the tail.
    pub used_blocks: u64,
    /// Inodes in use at the tail.
    pub used_inodes: u64,
    /// Names the page cache that later records were written to.
    pub witness: [u8; 32],
    /// The pool was closed in order.
    pub clean: bool,
}

impl JournalHeader {
    /// A sealed header.
    pub fn new(fields: &JournalHeaderFields, uuid: &[u8; 16]) -> JournalHeader {
        let mut header = JournalHeader {
            magic: MAGIC.into(),
            crc: 0.into(),
            generation: fields.generation.into(),
            tail_offset: fields.tail_offset.into(),
            tail_seq: fields.tail_seq.into(),
            synced_seq: fields.synced_seq.into(),
            used_blocks: fields.used_blocks.into(),
            used_inodes: fields.used_inodes.into(),
            witness: fields.witness,
            flags: if fields.clean { CLEAN.into() } else { 0.into() },
            reserved_a: 0.into(),
            uuid: *uuid,
            reserved_b: [0; 16],
        };
        header.crc = crc_of(header.as_bytes(), CRC_AT).into();
        header
    }

    /// Checks the header read from `at` against the pool's identity and the ring's length, and answers what it says.
    pub fn verify(&self, at: Block, uuid: &[u8; 16], ring_bytes: u64) -> Result<JournalHeaderFields, FormatError> {
        let what = "journal header";
        ensure!(self.magic.get() == MAGIC, what, at, "magic is {:#x}", self.magic.get());
        ensure!(self.crc.get() == crc_of(self.as_bytes(), CRC_AT), what, at, "crc is wrong");
        ensure!(self.uuid == *uuid, what, at, "uuid is another pool's");
        let (tail, flags) = (self.tail_offset.get(), self.flags.get());
        ensure!(tail < ring_bytes && tail.is_multiple_of(8), what, at, "tail_offset is {tail}, ring of {ring_bytes}");
        ensure!(flags & !CLEAN == 0, what, at, "flags are {flags:#x}");
        let (tail_seq, synced) = (self.tail_seq.get(), self.synced_seq.get());
        ensure!(tail_seq > 0, what, at, "tail_seq is 0");
        ensure!(synced >= tail_seq - 1, what, at, "synced_seq {synced} is below the tail's {tail_seq}");
        Ok(JournalHeaderFields {
            generation: self.generation.get(),
            tail_offset: tail,
            tail_seq,
            synced_seq: synced,
            used_blocks: self.used_blocks.get(),
            used_inodes: self.used_inodes.get(),
            witness: self.witness,
            clean: flags & CLEAN != 0,
        })
    }
}
