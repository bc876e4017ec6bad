//! Journal records: one for each transaction, a header and entries that say what it changed.
//!
//! Records lie one after another in a ring of bytes and may wrap at its end; whoever reads one brings it into one piece
//! first. The checksum covers the whole record and is seeded with the pool's uuid, and every record has the next sequence
//! number: what an earlier lap or an earlier pool left in the ring is never taken for a record of this lap.
//!
//! All entries say what bytes or bits *become*, so replaying a record twice gives the same.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::crc_seeded;
use crate::error::{FormatError, ensure};
use crate::group::BitmapKind;
use crate::ids::Ino;
use crate::limits::{RECORD_BYTES_MAX, SNAPSHOT_INOS_MAX};
use crate::media::media_type;

const MAGIC: u32 = u32::from_le_bytes(*b"DXJR");
const CRC_AT: usize = 4;
const WHAT: &str = "journal record";

const BYTES: u8 = 1;
const SET_BITS: u8 = 2;
const CLEAR_BITS: u8 = 3;
const ORPHAN_ADD: u8 = 4;
const ORPHAN_REMOVE: u8 = 5;
const ORPHAN_SNAPSHOT: u8 = 6;
const COUNT: u8 = 7;

/// The start of a record.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------+-----------------------+
///     0| magic                 | crc                   |
///      +-----------------------+-----------------------+
///     8| seq                                           |
///      +-----------------------+-----------------------+
///    16| len                   | entries               |
///      +-----------------------+-----------------------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RecordHeader {
    /// `DXJR`.
    pub magic: U32,
    /// CRC-32C of the uuid and the whole record.
    pub crc: U32,
    /// Sequence number.
    pub seq: U64,
    /// Bytes of the whole record, a multiple of 8.
    pub len: U32,
    /// Number of entries, at least 1.
    pub entries: U32,
}

media_type!(RecordHeader, 24);

impl RecordHeader {
    /// The length in bytes of the record that starts with these 24 bytes, if they can be the start of record `seq`.
    /// Read that many and give them to `RecordReader`, which alone tells whether it is a record.
    pub fn peek(bytes: &[u8; RecordHeader::BYTES], seq: u64) -> Result<usize, FormatError> {
        let header = RecordHeader::from_bytes(bytes);
        let place = || format!("seq {seq}");
        ensure!(header.magic.get() == MAGIC, WHAT, place(), "magic is {:#x}", header.magic.get());
        ensure!(header.seq.get() == seq, WHAT, place(), "seq is {}", header.seq.get());
        let len = header.len.get() as usize;
        ensure!(
            (RecordHeader::BYTES + EntryHeader::BYTES..=RECORD_BYTES_MAX).contains(&len) && len.is_multiple_of(8),
            WHAT,
            place(),
            "len is {len}"
        );
        let entries = header.entries.get() as usize;
        ensure!(
            (1..=(len - RecordHeader::BYTES) / EntryHeader::BYTES).contains(&entries),
            WHAT,
            place(),
            "entries is {entries}"
        );
        Ok(len)
    }
}

/// The start of an entry. What the numbers mean depends on the kind.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----+-----+-----------+-----------------------+
///     0| kind|which| reserved  | number                |
///      +-----+-----+-----------+-----------------------+
///     8| value                                         |
///      +-----------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EntryHeader {
    /// 1 bytes, 2 set bits, 3 clear bits, 4 orphan add, 5 orphan remove, 6 orphan snapshot, 7 count.
    pub kind: u8,
    /// Set and clear bits: the bitmap. Else zero.
    pub which: u8,
    /// Zero.
    pub reserved: U16,
    /// Bytes: their number. Bits: the group. Orphan snapshot: number of inodes. Else zero.
    pub number: U32,
    /// Bytes: pool offset. Bits: first bit in the low half, count in the high half. Orphans: inode. Count: inodes, signed.
    pub value: U64,
}

media_type!(EntryHeader, 16);

/// What a transaction changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'r> {
    /// Bytes of the pool become these.
    Bytes {
        /// Pool offset.
        offset: u64,
        /// The bytes; not empty.
        data: &'r [u8],
    },
    /// Bits become 1.
    SetBits {
        /// The group.
        group: u32,
        /// The bitmap.
        which: BitmapKind,
        /// First bit.
        first: u32,
        /// Number of bits, at least 1; `first + count` does not overflow.
        count: u32,
    },
    /// Bits become 0.
    ClearBits {
        /// The group.
        group: u32,
        /// The bitmap.
        which: BitmapKind,
        /// First bit.
        first: u32,
        /// Number of bits, at least 1; `first + count` does not overflow.
        count: u32,
    },
    /// An inode has no name any more and must be freed.
    OrphanAdd {
        /// The inode.
        ino: Ino,
    },
    /// An inode is no orphan any more.
    OrphanRemove {
        /// The inode.
        ino: Ino,
    },
    /// All orphans there are; what was known before counts no more.
    OrphanSnapshot {
        /// The inodes.
        inos: &'r [U64],
    },
    /// The number of used inodes changes.
    Count {
        /// By this.
        inodes: i64,
    },
}

/// Gathers the entries of one record.
#[derive(Debug, Clone)]
pub struct RecordBuilder {
    bytes: Vec<u8>,
    entries: u32,
}

impl Default for RecordBuilder {
    fn default() -> RecordBuilder {
        RecordBuilder::new()
    }
}

impl RecordBuilder {
    /// A record without entries.
    pub fn new() -> RecordBuilder {
        RecordBuilder { bytes: vec![0; RecordHeader::BYTES], entries: 0 }
    }

    /// Forgets the entries and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(RecordHeader::BYTES, 0);
        self.entries = 0;
    }

    /// Bytes of the record as it is. A record over `limits::RECORD_BYTES_MAX` cannot be finished.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no entries; such a record cannot be finished.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Appends an entry. Ranges must not be empty.
    pub fn push(&mut self, entry: &Entry<'_>) {
        match *entry {
            Entry::Bytes { offset, data } => {
                debug_assert!(!data.is_empty());
                self.head(BYTES, 0, data.len() as u32, offset);
                self.bytes.extend_from_slice(data);
                self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
            }
            Entry::SetBits { group, which, first, count } => self.bits(SET_BITS, group, which, first, count),
            Entry::ClearBits { group, which, first, count } => self.bits(CLEAR_BITS, group, which, first, count),
            Entry::OrphanAdd { ino } => self.head(ORPHAN_ADD, 0, 0, ino.0),
            Entry::OrphanRemove { ino } => self.head(ORPHAN_REMOVE, 0, 0, ino.0),
            Entry::OrphanSnapshot { inos } => {
                self.head(ORPHAN_SNAPSHOT, 0, inos.len() as u32, 0);
                self.bytes.extend_from_slice(inos.as_bytes());
            }
            Entry::Count { inodes } => self.head(COUNT, 0, 0, inodes as u64),
        }
    }

    fn bits(&mut self, kind: u8, group: u32, which: BitmapKind, first: u32, count: u32) {
        debug_assert!(count > 0);
        self.head(kind, which.code(), group, u64::from(first) | u64::from(count) << 32);
    }

    fn head(&mut self, kind: u8, which: u8, number: u32, value: u64) {
        let head = EntryHeader { kind, which, reserved: 0.into(), number: number.into(), value: value.into() };
        self.bytes.extend_from_slice(head.as_bytes());
        self.entries += 1;
    }

    /// Writes the header and answers the record's bytes, a multiple of 8. May be called again with another number.
    ///
    /// # Errors
    /// No entries, or more bytes than a record may have.
    pub fn finish(&mut self, seq: u64, uuid: &[u8; 16]) -> Result<&[u8], FormatError> {
        let len = self.bytes.len();
        ensure!(self.entries > 0, WHAT, format!("seq {seq}"), "it has no entries");
        ensure!(len <= RECORD_BYTES_MAX, WHAT, format!("seq {seq}"), "{len} bytes are too many");
        let mut header = RecordHeader {
            magic: MAGIC.into(),
            crc: 0.into(),
            seq: seq.into(),
            len: (len as u32).into(),
            entries: self.entries.into(),
        };
        self.bytes[..RecordHeader::BYTES].copy_from_slice(header.as_bytes());
        header.crc = crc_seeded(uuid, &self.bytes, CRC_AT).into();
        self.bytes[..RecordHeader::BYTES].copy_from_slice(header.as_bytes());
        Ok(&self.bytes)
    }
}

/// A record that was read: checksum, number and form of all entries are right.
#[derive(Debug, Clone, Copy)]
pub struct RecordReader<'r> {
    seq: u64,
    len: usize,
    entries: u32,
    body: &'r [u8],
}

impl<'r> RecordReader<'r> {
    /// Checks the record `seq` at the start of `bytes`; what follows it does not matter. Whether its entries stay inside
    /// the pool is the caller's check.
    pub fn new(bytes: &'r [u8], seq: u64, uuid: &[u8; 16]) -> Result<RecordReader<'r>, FormatError> {
        let place = || format!("seq {seq}");
        let (start, _) = bytes
            .split_first_chunk::<{ RecordHeader::BYTES }>()
            .ok_or_else(|| FormatError::new(WHAT, place(), format!("only {} bytes are there", bytes.len())))?;
        let len = RecordHeader::peek(start, seq)?;
        let record = bytes
            .get(..len)
            .ok_or_else(|| FormatError::new(WHAT, place(), format!("{} of {len} bytes are there", bytes.len())))?;
        let header = RecordHeader::from_bytes(start);
        ensure!(header.crc.get() == crc_seeded(uuid, record, CRC_AT), WHAT, place(), "crc is wrong");
        let reader = RecordReader { seq, len, entries: header.entries.get(), body: &record[RecordHeader::BYTES..] };
        let mut rest = reader.body;
        for number in 0..reader.entries {
            let step = split_entry(rest)
                .map_err(|why| FormatError::new("journal entry", format!("seq {seq}, entry {number}"), why))?;
            rest = step.1;
        }
        ensure!(rest.is_empty(), WHAT, place(), "{} bytes follow the last entry", rest.len());
        Ok(reader)
    }

    /// Sequence number.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Bytes of the whole record.
    pub fn len(&self) -> usize {
        self.len
    }

    /// A record is never empty.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Its entries in order.
    pub fn entries(&self) -> Entries<'r> {
        Entries { rest: self.body }
    }
}

/// The entries of a record.
#[derive(Debug, Clone)]
pub struct Entries<'r> {
    rest: &'r [u8],
}

impl<'r> Iterator for Entries<'r> {
    type Item = Entry<'r>;

    fn next(&mut self) -> Option<Entry<'r>> {
        // The reader has walked over all entries once, so the only error is the end.
        let (entry, rest) = split_entry(self.rest).ok()?;
        self.rest = rest;
        Some(entry)
    }
}

fn split_entry(bytes: &[u8]) -> Result<(Entry<'_>, &[u8]), String> {
    let (head, rest) = bytes.split_first_chunk::<{ EntryHeader::BYTES }>().ok_or("no room for an entry")?;
    let head = EntryHeader::from_bytes(head);
    let (number, value) = (head.number.get(), head.value.get());
    if head.reserved.get() != 0 {
        return Err("reserved is not 0".into());
    }
    if !matches!(head.kind, SET_BITS | CLEAR_BITS) && head.which != 0 {
        return Err(format!("which is {}", head.which));
    }
    if matches!(head.kind, ORPHAN_ADD | ORPHAN_REMOVE | COUNT) && number != 0 {
        return Err(format!("number is {number}"));
    }
    let ino = Ino(value);
    match head.kind {
        BYTES => split_bytes(number as usize, value, rest),
        SET_BITS | CLEAR_BITS => Ok((bits_entry(head)?, rest)),
        ORPHAN_ADD => Ok((Entry::OrphanAdd { ino }, rest)),
        ORPHAN_REMOVE => Ok((Entry::OrphanRemove { ino }, rest)),
        ORPHAN_SNAPSHOT => split_snapshot(number as usize, value, rest),
        COUNT => Ok((Entry::Count { inodes: value as i64 }, rest)),
        other => Err(format!("kind is {other}")),
    }
}

fn split_bytes(len: usize, offset: u64, rest: &[u8]) -> Result<(Entry<'_>, &[u8]), String> {
    if len == 0 || len > rest.len() {
        return Err(format!("number is {len}, with {} bytes left", rest.len()));
    }
    if offset.checked_add(len as u64).is_none() {
        return Err(format!("value {offset} is no pool offset"));
    }
    let (data, rest) = rest.split_at(len);
    let (padding, rest) = rest.split_at_checked(len.next_multiple_of(8) - len).ok_or("padding is cut off")?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err("padding is not 0".into());
    }
    Ok((Entry::Bytes { offset, data }, rest))
}

fn split_snapshot(count: usize, value: u64, rest: &[u8]) -> Result<(Entry<'_>, &[u8]), String> {
    if value != 0 {
        return Err(format!("value is {value}"));
    }
    if count > SNAPSHOT_INOS_MAX {
        return Err(format!("number is {count}"));
    }
    let (inos, rest) = <[U64]>::ref_from_prefix_with_elems(rest, count)
        .map_err(|_| format!("number is {count}, with {} bytes left", rest.len()))?;
    Ok((Entry::OrphanSnapshot { inos }, rest))
}

fn bits_entry(head: &EntryHeader) -> Result<Entry<'static>, String> {
    let value = head.value.get();
    let (group, first, count) = (head.number.get(), value as u32, (value >> 32) as u32);
    let which = BitmapKind::from_code(head.which).ok_or_else(|| format!("which is {}", head.which))?;
    if count == 0 || first.checked_add(count).is_none() {
        return Err(format!("bits {first}, count {count}"));
    }
    Ok(if head.kind == SET_BITS {
        Entry::SetBits { group, which, first, count }
    } else {
        Entry::ClearBits { group, which, first, count }
    })
}
