//! Slotted nodes: sorted keys with values of any length, in a block of 4096 bytes or in an inode's inline 320.
//!
//! Slots stand in order of their keys after the header and grow up; values grow down from the end. A removed value leaves
//! garbage, which `compact` collects when the gap in the middle is too small; a change moves as little as it can, because
//! what is moved must be logged. Both sizes have one implementation; they differ in the header only.
//!
//! Any bytes may be looked at: an index, a count or an offset that leads out of the node answers 0 or nothing, it never
//! panics. `validate` tells whether the bytes are a right node, and every change keeps a right node right.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::crc_of;
use crate::dirent::DIRENT_HEAD_BYTES;
use crate::error::{FormatError, ensure};
use crate::extent::EXTENT_BYTES;
use crate::ids::{Block, Ino};
use crate::inode::INLINE_BYTES;
use crate::limits::{LEVEL_MAX, NAME_BYTES_MAX};
use crate::media::media_type;

/// Bytes of a node in a block.
pub const NODE_BYTES: usize = 4096;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 12;
/// The kind of a tree of extents.
pub const KIND_EXTENTS: u8 = 1;
/// The kind of a tree of names.
pub const KIND_DIRECTORY: u8 = 2;

const MAGIC: u32 = u32::from_le_bytes(*b"DXND");
const CRC_AT: usize = 4;
const WHAT: &str = "tree node";
/// Bytes of an interior value: the child's block number.
const CHILD_BYTES: usize = 8;

/// The header of a node in a block.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------+-----------------------+
///     0| magic                 | crc                   |
///      +-----+-----+-----------+-----------+-----------+
///     8| kind|level| count     | heap      | reserved  |
///      +-----+-----+-----------+-----------+-----------+
///    16| owner                                         |
///      +-----------------------------------------------+
///    24| self_block                                    |
///      +-----------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NodeHeader {
    /// `DXND`.
    pub magic: U32,
    /// CRC-32C of the block.
    pub crc: U32,
    /// 1 extents, 2 names.
    pub kind: u8,
    /// 0 for leaves.
    pub level: u8,
    /// Number of slots.
    pub count: U16,
    /// Offset of the lowest value.
    pub heap: U16,
    /// Zero.
    pub reserved: U16,
    /// The inode that the tree belongs to.
    pub owner: U64,
    /// The block that the node is in.
    pub self_block: U64,
}

media_type!(NodeHeader, 32);

/// The header of a root in an inode's inline area. All zeros is an empty root.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----+-----+-----------+-----------+-----------+
///     0| kind|level| count     | heap      | reserved  |
///      +-----+-----+-----------+-----------+-----------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct InlineHeader {
    /// 1 extents, 2 names.
    pub kind: u8,
    /// 0 if the entries are the values themselves.
    pub level: u8,
    /// Number of slots.
    pub count: U16,
    /// Offset of the lowest value.
    pub heap: U16,
    /// Zero.
    pub reserved: U16,
}

media_type!(InlineHeader, 8);

/// An entry's key, and where its value is.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------------------------------+
///     0| key                                           |
///      +-----------+-----------+-----------------------+
///     8| offset    | len       |
///      +-----------+-----------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Slot {
    /// The key. In an interior node the lower bound of the child's keys.
    pub key: U64,
    /// Offset of the value from the node's start.
    pub offset: U16,
    /// Bytes of the value.
    pub len: U16,
}

media_type!(Slot, SLOT_BYTES);

/// A node to read.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'n> {
    bytes: &'n [u8],
    /// Offset of the kind byte; level, count and heap follow it.
    head: usize,
    /// Offset of the first slot.
    slots: usize,
}

fn get_u16(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |two| usize::from(u16::from_le_bytes(*two)))
}

impl<'n> NodeRef<'n> {
    /// The node in a block.
    pub fn block(bytes: &'n [u8; NODE_BYTES]) -> NodeRef<'n> {
        NodeRef { bytes, head: 8, slots: NodeHeader::BYTES }
    }

    /// The root in an inode's inline area.
    pub fn inline(bytes: &'n [u8; INLINE_BYTES]) -> NodeRef<'n> {
        NodeRef { bytes, head: 0, slots: InlineHeader::BYTES }
    }

    /// What the tree holds.
    pub fn kind(&self) -> u8 {
        self.bytes[self.head]
    }

    /// 0 for leaves.
    pub fn level(&self) -> u8 {
        self.bytes[self.head + 1]
    }

    /// Number of entries; never more than fit.
    pub fn count(&self) -> usize {
        self.raw_count().min(self.capacity() / SLOT_BYTES)
    }

    fn raw_count(&self) -> usize {
        get_u16(self.bytes, self.head + 2)
    }

    fn heap(&self) -> usize {
        if self.raw_count() == 0 { self.bytes.len() } else { get_u16(self.bytes, self.head + 4) }
    }

    fn slot_at(&self, index: usize) -> usize {
        self.slots + index * SLOT_BYTES
    }

    fn slot(&self, index: usize) -> Option<&'n Slot> {
        if index >= self.count() {
            return None;
        }
        let at = self.slot_at(index);
        self.bytes.get(at..)?.first_chunk().map(Slot::from_bytes)
    }

    fn value_place(&self, index: usize) -> (usize, usize) {
        self.slot(index).map_or((0, 0), |slot| (usize::from(slot.offset.get()), usize::from(slot.len.get())))
    }

    /// The key of an entry; 0 past the last.
    pub fn key(&self, index: usize) -> u64 {
        self.slot(index).map_or(0, |slot| slot.key.get())
    }

    /// The value of an entry; empty past the last.
    pub fn value(&self, index: usize) -> &'n [u8] {
        let (offset, len) = self.value_place(index);
        self.bytes.get(offset..offset + len).unwrap_or_default()
    }

    /// The child of an interior entry.
    pub fn child(&self, index: usize) -> Option<Block> {
        self.value(index).try_into().ok().map(|bytes| Block(u64::from_le_bytes(bytes)))
    }

    /// The entry with this key, or the place where it would go.
    pub fn search(&self, key: u64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.key(middle).cmp(&key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Bytes of slots and values.
    pub fn used_bytes(&self) -> usize {
        (0..self.count()).map(|index| SLOT_BYTES + self.value_place(index).1).sum()
    }

    /// Bytes for slots and values in an empty node.
    pub fn capacity(&self) -> usize {
        self.bytes.len() - self.slots
    }

    /// Bytes for further slots and values, garbage included.
    pub fn free_bytes(&self) -> usize {
        self.capacity().saturating_sub(self.used_bytes())
    }

    fn gap(&self) -> usize {
        self.heap().saturating_sub(self.slot_at(self.count()))
    }

    /// Checks the form: counts and offsets inside the node, keys ascending, values apart and of a length that fits the
    /// kind. An empty inline root of zeros is right. `owner` is for the error only.
    pub fn validate(&self, kind: u8, owner: Ino) -> Result<(), FormatError> {
        let (count, len) = (self.raw_count(), self.bytes.len());
        if count == 0 && self.kind() == 0 && self.head == 0 {
            return Ok(());
        }
        ensure!(self.kind() == kind, WHAT, owner, "kind is {}, expected {kind}", self.kind());
        ensure!(self.level() <= LEVEL_MAX, WHAT, owner, "level is {}", self.level());
        ensure!(count <= self.count(), WHAT, owner, "count is {count}");
        let (heap, slots_end) = (self.heap(), self.slot_at(count));
        ensure!(heap >= slots_end && heap <= len, WHAT, owner, "heap is {heap}, slots end at {slots_end}");
        let mut taken = [0_u64; NODE_BYTES / 64];
        for index in 0..count {
            let (offset, bytes) = self.value_place(index);
            ensure!(
                offset >= heap && offset + bytes <= len,
                WHAT,
                owner,
                "value {index} at {offset}, {bytes} bytes, is outside of the heap"
            );
            ensure!(value_fits(kind, self.level(), bytes), WHAT, owner, "value {index} has {bytes} bytes");
            for byte in offset..offset + bytes {
                let (word, mask) = (byte / 64, 1 << (byte % 64));
                ensure!(taken[word] & mask == 0, WHAT, owner, "value {index} at {offset} overlaps another");
                taken[word] |= mask;
            }
            ensure!(index == 0 || self.key(index - 1) < self.key(index), WHAT, owner, "key {index} does not ascend");
        }
        Ok(())
    }
}

fn value_fits(kind: u8, level: u8, bytes: usize) -> bool {
    match (kind, level) {
        (_, 1..) => bytes == CHILD_BYTES,
        (KIND_EXTENTS, 0) => bytes == EXTENT_BYTES,
        (KIND_DIRECTORY, 0) => (DIRENT_HEAD_BYTES + 1..=DIRENT_HEAD_BYTES + NAME_BYTES_MAX).contains(&bytes),
        _ => false,
    }
}

/// Checks a node's block: magic, checksum, place and form. The owner it names is the caller's to compare.
pub fn verify_node(bytes: &[u8; NODE_BYTES], at: Block) -> Result<Ino, FormatError> {
    let (header, crc) = (header_of(bytes), crc_of(bytes, CRC_AT));
    ensure!(header.magic.get() == MAGIC, WHAT, at, "magic is {:#x}", header.magic.get());
    ensure!(header.crc.get() == crc, WHAT, at, "crc is wrong");
    ensure!(header.self_block.get() == at.0, WHAT, at, "self_block is {}", header.self_block.get());
    ensure!(matches!(header.kind, KIND_EXTENTS | KIND_DIRECTORY), WHAT, at, "kind is {}", header.kind);
    let owner = Ino(header.owner.get());
    NodeRef::block(bytes).validate(header.kind, owner)?;
    Ok(owner)
}

/// Computes a node's checksum and sets its magic.
pub fn seal_node(bytes: &mut [u8; NODE_BYTES]) {
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    let crc = crc_of(bytes, CRC_AT);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

fn header_of(bytes: &[u8; NODE_BYTES]) -> NodeHeader {
    let mut start = [0; NodeHeader::BYTES];
    start.copy_from_slice(&bytes[..NodeHeader::BYTES]);
    *NodeHeader::from_bytes(&start)
}

/// A node to change. It must be a right one.
#[derive(Debug)]
pub struct NodeMut<'n> {
    bytes: &'n mut [u8],
    head: usize,
    slots: usize,
}

impl<'n> NodeMut<'n> {
    /// The node in a block.
    pub fn block(bytes: &'n mut [u8; NODE_BYTES]) -> NodeMut<'n> {
        NodeMut { bytes, head: 8, slots: NodeHeader::BYTES }
    }

    /// The root in an inode's inline area.
    pub fn inline(bytes: &'n mut [u8; INLINE_BYTES]) -> NodeMut<'n> {
        NodeMut { bytes, head: 0, slots: InlineHeader::BYTES }
    }

    /// Makes these bytes an empty node with magic, owner and place; not sealed.
    pub fn init(bytes: &'n mut [u8; NODE_BYTES], kind: u8, level: u8, owner: Ino, at: Block) -> NodeMut<'n> {
        bytes.fill(0);
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[16..24].copy_from_slice(&owner.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&at.0.to_le_bytes());
        let mut node = NodeMut::block(bytes);
        node.clear(kind, level);
        node
    }

    /// The node, to read.
    pub fn as_ref(&self) -> NodeRef<'_> {
        NodeRef { bytes: self.bytes, head: self.head, slots: self.slots }
    }

    fn put_u16(&mut self, at: usize, value: usize) {
        self.bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
    }

    fn set_count_and_heap(&mut self, count: usize, heap: usize) {
        self.put_u16(self.head + 2, count);
        self.put_u16(self.head + 4, heap);
    }

    /// Makes the node an empty one.
    pub fn clear(&mut self, kind: u8, level: u8) {
        self.bytes[self.head] = kind;
        self.bytes[self.head + 1] = level;
        self.set_count_and_heap(0, self.bytes.len());
    }

    /// Puts an entry at place `index`, as `search` gave it. False, and nothing done, if there is no room.
    #[must_use]
    pub fn insert(&mut self, index: usize, key: u64, value: &[u8]) -> bool {
        let need = SLOT_BYTES + value.len();
        if self.as_ref().free_bytes() < need || index > self.as_ref().count() {
            return false;
        }
        if self.as_ref().gap() < need {
            self.compact();
        }
        let node = self.as_ref();
        let (count, heap) = (node.count(), node.heap() - value.len());
        let (at, end) = (node.slot_at(index), node.slot_at(count));
        self.bytes.copy_within(at..end, at + SLOT_BYTES);
        self.bytes[heap..heap + value.len()].copy_from_slice(value);
        self.put_slot(index, key, heap, value.len());
        self.set_count_and_heap(count + 1, heap);
        true
    }

    fn put_slot(&mut self, index: usize, key: u64, offset: usize, len: usize) {
        let at = self.as_ref().slot_at(index);
        let slot = Slot { key: key.into(), offset: (offset as u16).into(), len: (len as u16).into() };
        self.bytes[at..at + SLOT_BYTES].copy_from_slice(slot.as_bytes());
    }

    /// Takes an entry out. Nothing happens past the last.
    pub fn remove(&mut self, index: usize) {
        let node = self.as_ref();
        let count = node.count();
        if index >= count {
            return;
        }
        let (offset, len) = node.value_place(index);
        let (at, end, heap) = (node.slot_at(index), node.slot_at(count), node.heap());
        self.bytes.copy_within(at + SLOT_BYTES..end, at);
        let heap = if count == 1 {
            self.bytes.len()
        } else if offset == heap {
            heap + len
        } else {
            heap
        };
        self.set_count_and_heap(count - 1, heap);
    }

    /// Puts another value in place of an entry's. False, and nothing done, if there is no room or no entry.
    #[must_use]
    pub fn replace(&mut self, index: usize, value: &[u8]) -> bool {
        let node = self.as_ref();
        if index >= node.count() {
            return false;
        }
        let (offset, len) = node.value_place(index);
        if len == value.len() {
            self.bytes[offset..offset + len].copy_from_slice(value);
            return true;
        }
        if node.free_bytes() + len < value.len() {
            return false;
        }
        let key = node.key(index);
        self.remove(index);
        self.insert(index, key, value)
    }

    /// Moves the values together at the node's end, so that all free bytes are in the gap.
    pub fn compact(&mut self) {
        let mut copy = [0; NODE_BYTES];
        let len = self.bytes.len();
        copy[..len].copy_from_slice(self.bytes);
        let old = NodeRef { bytes: &copy[..len], head: self.head, slots: self.slots };
        let mut heap = len;
        for index in 0..old.count() {
            let value = old.value(index);
            heap -= value.len();
            self.bytes[heap..heap + value.len()].copy_from_slice(value);
            self.put_slot(index, old.key(index), heap, value.len());
        }
        self.set_count_and_heap(old.count(), heap);
    }
}
