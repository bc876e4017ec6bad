//! The fields of an inode record in the words of the file system.
//!
//! The only module that knows how the medium names them.

use format::{Ino, InodeRecord};

use crate::error::FsError;
use crate::types::{Attr, Kind, MODE_BITS, NewKind, NewNode, Timestamp};

/// Bytes that a directory's size counts for an entry beside its name: as many as a slot and a value take on the medium.
const ENTRY_BYTES: u64 = 24;

pub(super) fn ino(rec: &InodeRecord) -> Ino {
    rec.ino()
}

pub(super) fn generation(rec: &InodeRecord) -> u32 {
    rec.generation()
}

pub(super) fn kind(rec: &InodeRecord) -> Result<Kind, FsError> {
    let why = "the mode means no kind of file";
    Kind::from_mode(rec.mode()).ok_or(FsError::Inconsistent { ino: rec.ino().0, why })
}

pub(super) fn nlink(rec: &InodeRecord) -> u32 {
    rec.nlink()
}

pub(super) fn set_nlink(rec: &mut InodeRecord, links: u32) {
    rec.set_nlink(links);
}

pub(super) fn size(rec: &InodeRecord) -> u64 {
    rec.size()
}

pub(super) fn set_size(rec: &mut InodeRecord, bytes: u64) {
    rec.set_size(bytes);
}

pub(super) fn blocks(rec: &InodeRecord) -> u64 {
    rec.blocks()
}

/// The directory above; the root is its own.
pub(super) fn parent(rec: &InodeRecord) -> Ino {
    rec.parent()
}

pub(super) fn set_parent(rec: &mut InodeRecord, parent: Ino) {
    rec.set_parent(parent);
}

pub(super) fn set_permissions(rec: &mut InodeRecord, mode: u32) {
    rec.set_mode(rec.mode() & !MODE_BITS | mode & MODE_BITS);
}

pub(super) fn set_uid(rec: &mut InodeRecord, uid: u32) {
    rec.set_uid(uid);
}

pub(super) fn set_gid(rec: &mut InodeRecord, gid: u32) {
    rec.set_gid(gid);
}

pub(super) fn set_atime(rec: &mut InodeRecord, time: Timestamp) {
    rec.set_atime(to_media(time));
}

pub(super) fn set_mtime(rec: &mut InodeRecord, time: Timestamp) {
    rec.set_mtime(to_media(time));
}

pub(super) fn set_ctime(rec: &mut InodeRecord, time: Timestamp) {
    rec.set_ctime(to_media(time));
}

pub(super) fn btime(rec: &InodeRecord) -> Timestamp {
    from_media(rec.btime())
}

/// Content and attributes changed at this time.
pub(super) fn set_changed(rec: &mut InodeRecord, time: Timestamp) {
    set_mtime(rec, time);
    set_ctime(rec, time);
}

/// Access, modification and change time in nanoseconds since 1970.
pub(super) fn times_ns(rec: &InodeRecord) -> (i64, i64, i64) {
    (
        from_media(rec.atime()).to_nanos_clamped(),
        from_media(rec.mtime()).to_nanos_clamped(),
        from_media(rec.ctime()).to_nanos_clamped(),
    )
}

/// One more change of the record.
pub(super) fn bump_change(rec: &mut InodeRecord) {
    rec.set_change(rec.change().wrapping_add(1));
}

pub(super) fn entry_added(dir: &mut InodeRecord, name: &[u8]) {
    dir.set_size(dir.size().saturating_add(name.len() as u64 + ENTRY_BYTES));
}

pub(super) fn entry_removed(dir: &mut InodeRecord, name: &[u8]) {
    dir.set_size(dir.size().saturating_sub(name.len() as u64 + ENTRY_BYTES));
}

/// Whether the inline area is the root of a tree of extents.
pub(super) fn owns_extents(rec: &InodeRecord) -> Result<bool, FsError> {
    Ok(match kind(rec)? {
        Kind::File => true,
        Kind::Symlink => !fits_inline(rec),
        _ => false,
    })
}

fn fits_inline(rec: &InodeRecord) -> bool {
    rec.size() <= rec.inline_area().len() as u64
}

/// Puts a link's target into the record, if it has room.
pub(super) fn set_inline_target(rec: &mut InodeRecord, target: &[u8]) -> bool {
    let fits = fits_inline(rec);
    if fits {
        rec.inline_area_mut()[..target.len()].copy_from_slice(target);
    }
    fits
}

/// A link's target, if it is in the record.
pub(super) fn inline_target(rec: &InodeRecord) -> Option<&[u8]> {
    if fits_inline(rec) { rec.inline_area().get(..rec.size() as usize) } else { None }
}

/// The record of a new node, without links and without a target.
pub(super) fn new(ino: Ino, generation: u32, new: &NewNode<'_>, parent: Ino, now: Timestamp) -> InodeRecord {
    let kind = new.kind.kind();
    let mut rec = InodeRecord::new(ino, generation, kind.mode_bits() | new.mode & MODE_BITS);
    rec.set_uid(new.uid);
    rec.set_gid(new.gid);
    if let NewKind::CharDevice(number) | NewKind::BlockDevice(number) = new.kind {
        rec.set_rdev(number);
    }
    if kind == Kind::Directory {
        rec.set_parent(parent);
    }
    rec.set_atime(to_media(now));
    rec.set_mtime(to_media(now));
    rec.set_ctime(to_media(now));
    rec.set_btime(to_media(now));
    rec
}

/// What `stat` tells.
pub(super) fn to_attr(rec: &InodeRecord) -> Result<Attr, FsError> {
    Ok(Attr {
        ino: rec.ino(),
        generation: rec.generation(),
        kind: kind(rec)?,
        mode: rec.mode() & MODE_BITS,
        nlink: rec.nlink(),
        uid: rec.uid(),
        gid: rec.gid(),
        rdev: rec.rdev(),
        size: rec.size(),
        blocks: rec.blocks(),
        atime: from_media(rec.atime()),
        mtime: from_media(rec.mtime()),
        ctime: from_media(rec.ctime()),
        btime: from_media(rec.btime()),
        change: rec.change(),
    })
}

fn to_media(time: Timestamp) -> (i64, u32) {
    (time.seconds, time.nanos.min(999_999_999))
}

fn from_media((seconds, nanos): (i64, u32)) -> Timestamp {
    Timestamp { seconds, nanos }
}
