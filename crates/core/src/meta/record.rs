//! Journal records, as the engine uses them.
//!
//! The layout is `format`'s; here is what ties it to runs of blocks and to the ring.

use std::ops::Range;

use format::{BitmapKind, Entry, Geometry, INODE_BYTES, Ino, RecordBuilder, RecordHeader};
use pool::Pool;

use super::diff::changed_ranges;
use super::journal::Ring;
use super::media;
use super::tx::{BlockRun, Orphan};
use super::work::{InodeEdit, NodeEdit};

/// No record is shorter.
pub(super) const RECORD_BYTES_MIN: u64 = RecordHeader::BYTES as u64;

/// Adds set bits for a run inside of one group.
pub(super) fn set_bits(record: &mut RecordBuilder, geometry: &Geometry, which: BitmapKind, run: BlockRun) {
    if let Some((group, first)) = media::position(geometry, run.first) {
        record.push(&Entry::SetBits { group, which, first, count: run.len });
    }
}

/// Adds cleared bits for a run inside of one group.
pub(super) fn clear_bits(record: &mut RecordBuilder, geometry: &Geometry, run: BlockRun) {
    if let Some((group, first)) = media::position(geometry, run.first) {
        record.push(&Entry::ClearBits { group, which: BitmapKind::Used, first, count: run.len });
    }
}

/// Adds what a transaction changed of a node.
pub(super) fn node(record: &mut RecordBuilder, edit: &NodeEdit) {
    let (start, bytes) = (edit.block.offset(), edit.new.bytes());
    let push = |range: Range<usize>| {
        record.push(&Entry::Bytes { offset: start + range.start as u64, data: &bytes[range] });
    };
    match &edit.touched {
        Some(touched) => touched.ranges().for_each(push),
        None => changed_ranges(&media::ZEROS, bytes, push),
    }
}

/// Adds what a transaction changed of an inode record.
pub(super) fn inode(record: &mut RecordBuilder, edit: &InodeEdit) {
    let base = edit.base.as_ref().map_or(&media::ZEROS[..INODE_BYTES], |base| base.as_bytes());
    let (start, bytes) = (edit.ino.offset(), edit.new.as_bytes());
    changed_ranges(base, bytes, |range| {
        record.push(&Entry::Bytes { offset: start + range.start as u64, data: &bytes[range] });
    });
}

/// Adds a change of the set of orphans.
pub(super) fn orphan(record: &mut RecordBuilder, ino: Ino, change: Orphan) {
    record.push(&match change {
        Orphan::Add => Entry::OrphanAdd { ino },
        Orphan::Remove => Entry::OrphanRemove { ino },
    });
}

/// Reads the bytes of the record at a logical position. False if none with this number begins there and ends within
/// `room` bytes. Its checksum is not looked at.
pub(super) fn read(pool: &dyn Pool, ring: Ring, position: u64, seq: u64, room: u64, into: &mut Vec<u8>) -> bool {
    let mut head = [0; RecordHeader::BYTES];
    if room < RECORD_BYTES_MIN {
        return false;
    }
    ring.read(pool, position, &mut head);
    let Some(len) = RecordHeader::peek(&head, seq).ok().filter(|len| *len as u64 <= room) else { return false };
    into.clear();
    into.resize(len, 0);
    ring.read(pool, position, into);
    true
}
