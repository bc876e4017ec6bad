//! Between memory and medium: where things are in the pool, read with every check, written with a fresh checksum.
//!
//! The layout itself is `format`'s. In-place writes flush what they wrote; the fence or the sync is the checkpoint's.

use format::{
    BITS_PER_BITMAP_BLOCK, BLOCK_SIZE, BitmapBlock, BitmapKind, Block, FormatError, Geometry, Group as GroupPlace,
    GroupHeader, GroupState, HeaderSlot, INODE_BYTES, Ino, InodeRecord, JournalHeader, JournalHeaderFields, NodeMut,
    Openable, Superblock, limits,
};
use pool::{Pool, PoolError};

use super::alloc::maps::Torn;
use super::journal::Ring;
use super::view::Node;
use crate::error::FsError;

/// Words of 64 bits in a block of a bitmap.
const BITMAP_WORDS: usize = BITS_PER_BITMAP_BLOCK as usize / 64;

/// What a block holds before its first use.
pub(super) static ZEROS: [u8; BLOCK_SIZE] = [0; BLOCK_SIZE];

/// What a pool is.
pub(super) struct Identity {
    pub uuid: [u8; 16],
    pub label: String,
    pub root: Ino,
    pub name_salt: u64,
}

/// Damage at a block.
pub(super) fn damaged(what: &'static str, block: Block, why: &'static str) -> FsError {
    FsError::Damaged(FormatError::new(what, block, why))
}

/// What the pool answered, as the engine's error.
pub(super) fn pool_error(error: &PoolError) -> FsError {
    match error {
        PoolError::NoSpace { .. } => FsError::NO_SPACE,
        other => FsError::Io(other.to_string()),
    }
}

fn read_block(pool: &dyn Pool, block: Block) -> Box<[u8; BLOCK_SIZE]> {
    let mut bytes = Box::new([0; BLOCK_SIZE]);
    pool.read(block.offset(), &mut *bytes);
    bytes
}

/// Writes bytes in place and flushes them.
pub(super) fn write_flushed(pool: &dyn Pool, offset: u64, bytes: &[u8]) {
    pool.write(offset, bytes);
    pool.flush(offset, bytes.len() as u64);
}

/// Reads the superblock. When the primary one is damaged the error tells whether the backup is good.
pub(super) fn read_superblock(pool: &dyn Pool) -> Result<(Identity, Geometry, Openable), FsError> {
    if pool.len() < limits::POOL_BYTES_MIN {
        return Err(damaged("superblock", Block(0), "the pool is smaller than 16 MiB"));
    }
    let bytes = read_block(pool, Block(0));
    let superblock = superblock_in(&bytes);
    let verified = superblock.verify(Block(0));
    let (openable, geometry) = verified.map_err(|error| with_backup(pool, superblock, error))?;
    if geometry.pool_len() != pool.len() {
        return Err(damaged("superblock", Block(0), "the pool's length is not what it was when the pool was made"));
    }
    let identity = Identity {
        uuid: superblock.uuid,
        label: superblock.label_text(),
        root: superblock.root_ino(),
        name_salt: superblock.name_salt.get(),
    };
    Ok((identity, geometry, openable))
}

fn superblock_in(bytes: &[u8; BLOCK_SIZE]) -> &Superblock {
    let (head, _) = bytes.split_first_chunk().unwrap_or_else(|| unreachable!("a superblock fits in a block"));
    Superblock::from_bytes(head)
}

fn with_backup(pool: &dyn Pool, primary: &Superblock, mut error: FormatError) -> FormatError {
    let newer = format::features::check(primary.version.get(), 0, primary.incompat.get()).is_err();
    let at = Block(pool.len() / limits::BLOCK_BYTES - 1);
    let bytes = read_block(pool, at);
    let backup = superblock_in(&bytes);
    if backup.verify(at).is_ok() && (!newer || primary.magic != backup.magic || error.why.contains("crc")) {
        error.why.push_str("; the backup superblock is good: `daxle check --repair` restores it");
    }
    error
}

/// The journal's ring.
pub(super) fn ring(geometry: &Geometry) -> Ring {
    Ring { start: geometry.ring_first().offset(), len: geometry.ring_bytes() }
}

/// The newest sound header slot.
pub(super) fn read_header(
    pool: &dyn Pool,
    geometry: &Geometry,
    uuid: &[u8; 16],
) -> Result<JournalHeaderFields, FsError> {
    let read = |slot: HeaderSlot| {
        let at = geometry.journal_header(slot);
        let mut bytes = [0; JournalHeader::BYTES];
        pool.read(at.offset(), &mut bytes);
        JournalHeader::from_bytes(&bytes).verify(at, uuid, geometry.ring_bytes())
    };
    match (read(HeaderSlot::A), read(HeaderSlot::B)) {
        (Ok(a), Ok(b)) if a.generation > b.generation => Ok(a),
        (_, Ok(b)) => Ok(b),
        (Ok(a), Err(_)) => Ok(a),
        (Err(error), Err(_)) => Err(error.into()),
    }
}

/// Writes a header into the slot of its generation.
pub(super) fn write_header(pool: &dyn Pool, uuid: &[u8; 16], header: &JournalHeaderFields) {
    let at = match HeaderSlot::of_generation(header.generation) {
        HeaderSlot::A => Block(1),
        HeaderSlot::B => Block(2),
    };
    write_flushed(pool, at.offset(), JournalHeader::new(header, uuid).as_bytes());
    pool.fence();
}

/// The places of a group that exists.
pub(super) fn group_place(geometry: &Geometry, index: u32) -> GroupPlace {
    geometry.group(index).unwrap_or_else(|| panic!("group {index} does not exist: the caller counts"))
}

/// The number of the group that a block is in.
pub(super) fn group_of(geometry: &Geometry, block: Block) -> Option<u32> {
    geometry.group_of(block).map(|group| group.index)
}

/// Group and bit of a block inside of a group.
pub(super) fn position(geometry: &Geometry, block: Block) -> Option<(u32, u32)> {
    let group = geometry.group_of(block)?;
    Some((group.index, group.bit_of(block)?))
}

/// Whether a group was never used.
pub(super) fn group_is_fresh(pool: &dyn Pool, place: &GroupPlace) -> Result<bool, FsError> {
    let mut bytes = [0; GroupHeader::BYTES];
    pool.read(place.first.offset(), &mut bytes);
    Ok(GroupHeader::from_bytes(&bytes).verify(place)? == GroupState::Fresh)
}

/// Says whether a group's bitmaps are there.
pub(super) fn write_group_header(pool: &dyn Pool, place: &GroupPlace, state: GroupState) {
    write_flushed(pool, place.first.offset(), GroupHeader::new(place, state).as_bytes());
}

/// Gets memory for a group's own blocks.
pub(super) fn back_group(pool: &dyn Pool, place: &GroupPlace) -> Result<(), FsError> {
    let bytes = u64::from(place.own_blocks()) * limits::BLOCK_BYTES;
    pool.back(place.first.offset(), bytes).map_err(|error| pool_error(&error))
}

/// Gets memory for one block, and for its neighbours only if they share a page with it.
pub(super) fn back_block(pool: &dyn Pool, block: Block) -> Result<(), FsError> {
    pool.back_pages(block.offset(), limits::BLOCK_BYTES).map_err(|error| pool_error(&error))
}

/// Where a block of a bitmap is.
pub(super) fn bitmap_block(place: &GroupPlace, kind: BitmapKind, number: u32) -> Block {
    place
        .bitmap_block(kind, number)
        .unwrap_or_else(|| panic!("bitmap block {number} does not exist: the caller counts"))
}

/// Reads a block of a bitmap into the bitmap's words. False if its form or checksum is wrong and `torn` allows that.
pub(super) fn read_bitmap(
    pool: &dyn Pool,
    place: &GroupPlace,
    kind: BitmapKind,
    number: u32,
    torn: Torn,
    words: &mut [u64],
) -> Result<bool, FsError> {
    let bytes = read_block(pool, bitmap_block(place, kind, number));
    let block = BitmapBlock::from_bytes(&bytes);
    let checked = block.verify(place, kind, number);
    if torn == Torn::Refuse {
        checked.clone()?;
    }
    let start = number as usize * BITMAP_WORDS;
    for (word, bytes) in words.iter_mut().skip(start).zip(block.bits.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Ok(checked.is_ok())
}

/// Writes a block of a bitmap.
pub(super) fn write_bitmap(pool: &dyn Pool, place: &GroupPlace, kind: BitmapKind, number: u32, words: &[u64]) {
    let mut block = BitmapBlock::new(place.index, kind, number);
    let start = number as usize * BITMAP_WORDS;
    for (word, bytes) in words.iter().skip(start).zip(block.bits.as_chunks_mut::<8>().0) {
        *bytes = word.to_le_bytes();
    }
    block.seal();
    write_flushed(pool, bitmap_block(place, kind, number).offset(), block.as_bytes());
}

/// Whether a record of the view is a free slot.
pub(super) fn is_free(record: &InodeRecord) -> bool {
    record.is_free()
}

/// Reads the record of a slot of an inode block.
pub(super) fn read_inode(pool: &dyn Pool, ino: Ino) -> Result<InodeRecord, FsError> {
    let mut bytes = [0; INODE_BYTES];
    pool.read(ino.offset(), &mut bytes);
    let record = *InodeRecord::from_bytes(&bytes);
    record.verify(ino)?;
    Ok(record)
}

/// Whether a slot looks free in the pool, for slots that the view does not hold.
pub(super) fn peek_is_free(pool: &dyn Pool, ino: Ino) -> bool {
    let mut bytes = [0; INODE_BYTES];
    pool.read(ino.offset(), &mut bytes);
    InodeRecord::from_bytes(&bytes).is_free()
}

/// A record that recovery put together; its checksum may be old.
pub(super) fn adopt_inode(ino: Ino, bytes: &[u8; INODE_BYTES]) -> Result<InodeRecord, FsError> {
    let record = *InodeRecord::from_bytes(bytes);
    if record.is_free() {
        return Ok(InodeRecord::zeroed());
    }
    record.verify_form(ino)?;
    Ok(record)
}

/// Writes a record in place.
pub(super) fn write_inode(pool: &dyn Pool, ino: Ino, record: &InodeRecord) {
    let mut sealed = *record;
    sealed.seal();
    write_flushed(pool, ino.offset(), sealed.as_bytes());
}

/// Reads a node.
pub(super) fn read_node(pool: &dyn Pool, block: Block) -> Result<Node, FsError> {
    let mut node = Node::zeroed();
    pool.read(block.offset(), node.bytes_mut());
    format::verify_node(node.bytes(), block)?;
    Ok(node)
}

/// A node that recovery put together; its checksum may be old.
pub(super) fn adopt_node(block: Block, bytes: &[u8; BLOCK_SIZE]) -> Result<Node, FsError> {
    let mut node = Node::new(*bytes);
    format::seal_node(node.bytes_mut());
    format::verify_node(node.bytes(), block)?;
    Ok(node)
}

/// Writes a node in place.
pub(super) fn write_node(pool: &dyn Pool, block: Block, node: &Node) {
    let mut sealed = node.clone();
    format::seal_node(sealed.bytes_mut());
    write_flushed(pool, block.offset(), sealed.bytes());
}

/// A node without entries.
pub(super) fn empty_node(owner: Ino, kind: u8, level: u8, block: Block) -> Node {
    let mut node = Node::zeroed();
    NodeMut::init(node.bytes_mut(), kind, level, owner, block);
    node
}
