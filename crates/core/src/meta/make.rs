//! Making a pool: the few blocks from which everything else follows.
//!
//! Superblock and backup, one journal header, a header per group, and group 0 active with one inode block: the root
//! directory in slot 0. The superblock comes last, after a sync, so that a pool is there whole or not at all.

use format::{
    BLOCK_BYTES, BitmapKind, Geometry, GroupState, HeaderSlot, Ino, InodeRecord, JournalHeaderFields, Superblock,
    SuperblockFields,
};
use pool::Pool;

use super::alloc::maps::{Maps, Torn};
use super::media;
use crate::error::FsError;
use crate::types::{Kind, MODE_BITS, MakeOptions, Timestamp};

/// See `Meta::make`.
pub(super) fn make(pool: &dyn Pool, options: &MakeOptions) -> Result<(), FsError> {
    let now = options.now.unwrap_or_else(Timestamp::now);
    let unit_blocks = (pool.page_size() / BLOCK_BYTES).clamp(1, 512) as u32;
    let geometry = Geometry::new(pool.len(), unit_blocks)?;
    let uuid = options.uuid.unwrap_or_else(|| made_up_uuid(pool, now));
    let fields = SuperblockFields { uuid, label: options.label.clone(), made: (now.seconds, now.nanos) };
    let superblock = Superblock::new(&geometry, &fields)?;
    let ring = media::ring(&geometry);
    let backed = |offset: u64, len: u64| pool.back(offset, len).map_err(|error| media::pool_error(&error));
    backed(0, ring.start)?;
    media::back_block(pool, geometry.backup_superblock())?;
    // An older pool in the same memory must not be found while this one is half made.
    media::write_flushed(pool, 0, &media::ZEROS);
    synced(pool)?;
    // No record of that pool must be left: with new space instead of zeros written, making costs the same on any disk.
    pool.give_back(ring.start, ring.len).map_err(|error| media::pool_error(&error))?;
    backed(0, ring.start + ring.len)?;
    if pool.page_size() > BLOCK_BYTES {
        pool.zero(ring.start, ring.len);
    }
    pool.flush(ring.start, ring.len);
    write_groups(pool, &geometry)?;
    write_root(pool, geometry.root(), options, now)?;
    let header = JournalHeaderFields {
        generation: 1,
        tail_offset: 0,
        tail_seq: 1,
        synced_seq: 0,
        used_blocks: 1,
        used_inodes: 1,
        witness: pool.witness(),
        clean: true,
    };
    media::write_flushed(pool, geometry.journal_header(HeaderSlot::A).offset(), &media::ZEROS);
    media::write_header(pool, &uuid, &header);
    media::write_flushed(pool, geometry.backup_superblock().offset(), superblock.as_bytes());
    synced(pool)?;
    media::write_flushed(pool, 0, superblock.as_bytes());
    synced(pool)
}

fn synced(pool: &dyn Pool) -> Result<(), FsError> {
    pool.fence();
    pool.sync().map_err(|error| media::pool_error(&error))
}

fn write_groups(pool: &dyn Pool, geometry: &Geometry) -> Result<(), FsError> {
    for place in geometry.groups() {
        // Only the header: the bitmaps get their space when the group is first used.
        media::back_block(pool, place.first)?;
        media::write_group_header(pool, &place, GroupState::Fresh);
    }
    let place = media::group_place(geometry, 0);
    media::back_group(pool, &place)?;
    let mut maps = Maps::load(pool, &place, Torn::Refuse)?;
    maps.set(BitmapKind::Used, place.own_blocks(), 1);
    maps.set(BitmapKind::Inodes, place.own_blocks(), 1);
    maps.write(pool, &place);
    media::write_group_header(pool, &place, GroupState::Active);
    Ok(())
}

fn write_root(pool: &dyn Pool, root: Ino, options: &MakeOptions, now: Timestamp) -> Result<(), FsError> {
    let block = root.block().offset();
    pool.back(block, BLOCK_BYTES).map_err(|error| media::pool_error(&error))?;
    media::write_flushed(pool, block, &media::ZEROS);
    let mode = Kind::Directory.mode_bits() | options.root_mode & MODE_BITS;
    let mut record = InodeRecord::new(root, 1, mode);
    let time = (now.seconds, now.nanos);
    record.set_uid(options.root_uid);
    record.set_gid(options.root_gid);
    record.set_nlink(2);
    record.set_parent(root);
    record.set_atime(time);
    record.set_mtime(time);
    record.set_ctime(time);
    record.set_btime(time);
    media::write_inode(pool, root, &record);
    Ok(())
}

/// An identity from what is at hand: the pool's witness, the time, a place in memory. Not secret, only unlikely to recur.
fn made_up_uuid(pool: &dyn Pool, now: Timestamp) -> [u8; 16] {
    let place = std::ptr::from_ref(&now) as usize as u64;
    let mut state = now.seconds as u64 ^ (u64::from(now.nanos) << 32) ^ place.rotate_left(17);
    for (at, byte) in pool.witness().iter().chain(pool.name().as_bytes()).enumerate() {
        state = (state ^ u64::from(*byte) ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
    let mut uuid = [0; 16];
    for half in uuid.as_chunks_mut::<8>().0 {
        state = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x1234_5677);
        *half = (state ^ (state >> 29)).to_le_bytes();
    }
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
