//! Between the words of the protocol and those of the engine.

use engine::FsError;
use engine::types::{Attr, Fallocate, Kind, RenameMode, Seek, TimeOrNow, Timestamp};
use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags};
use std::time::{SystemTime, UNIX_EPOCH};

/// The engine's error as the number that the program sees. Failures of the pool are logged, since a number says little.
pub(crate) fn errno(error: &FsError) -> Errno {
    if matches!(
        error,
        FsError::Io(_)
            | FsError::Media { .. }
            | FsError::Damaged(_)
            | FsError::Inconsistent { .. }
            | FsError::Shutdown(_)
    ) {
        tracing::error!(%error, "the pool failed a request of the mount");
    }
    Errno::from_i32(error.errno())
}

pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// Attributes for the kernel, which also takes the number in them as the node's.
pub(crate) fn file_attr(number: INodeNo, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: number,
        size: attr.size,
        blocks: attr.sectors(),
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: attr.btime.into(),
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: 4096,
        flags: 0,
    }
}

/// "There is no such name, and you may remember that."
pub(crate) fn no_entry() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// A time that the kernel sent. The protocol's library reads a time before 1970 wrongly: it takes the nanoseconds, which
/// count forwards, off the seconds. Both can be read back from what it makes of them.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            Timestamp { seconds: (before.as_secs() as i64).wrapping_neg(), nanos: before.subsec_nanos() }
        }
    }
}

pub(crate) fn time(time: fuser::TimeOrNow) -> TimeOrNow {
    match time {
        fuser::TimeOrNow::SpecificTime(time) => TimeOrNow::Time(timestamp(time)),
        fuser::TimeOrNow::Now => TimeOrNow::Now,
    }
}

pub(crate) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    if flags == RenameFlags::empty() {
        Some(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Some(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Some(RenameMode::Exchange)
    } else {
        None
    }
}

/// The mode of `fallocate(2)`; nothing for a mixture that means none.
pub(crate) fn fallocate(mode: i32) -> Option<Fallocate> {
    const KEEP_SIZE: i32 = 0x01;
    const PUNCH_HOLE: i32 = 0x02;
    const COLLAPSE: i32 = 0x08;
    const ZERO: i32 = 0x10;
    const INSERT: i32 = 0x20;
    const PUNCH: i32 = PUNCH_HOLE | KEEP_SIZE;
    const ZERO_KEEP_SIZE: i32 = ZERO | KEEP_SIZE;
    match mode {
        0 => Some(Fallocate::Allocate),
        KEEP_SIZE => Some(Fallocate::AllocateKeepSize),
        PUNCH => Some(Fallocate::Punch),
        ZERO => Some(Fallocate::Zero),
        ZERO_KEEP_SIZE => Some(Fallocate::ZeroKeepSize),
        COLLAPSE => Some(Fallocate::Collapse),
        INSERT => Some(Fallocate::Insert),
        _ => None,
    }
}

/// `SEEK_DATA` and `SEEK_HOLE`; the kernel does the other ways itself.
pub(crate) fn seek(whence: i32) -> Option<Seek> {
    match whence {
        3 => Some(Seek::Data),
        4 => Some(Seek::Hole),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_of_fallocate_has_its_number_and_no_other() {
        let modes: Vec<i32> = (0..0x80).filter(|&mode| fallocate(mode).is_some()).collect();
        assert_eq!(modes, [0x00, 0x01, 0x03, 0x08, 0x10, 0x11, 0x20]);
    }

    #[test]
    fn a_rename_with_two_flags_is_none_that_we_know() {
        assert_eq!(rename_mode(RenameFlags::RENAME_EXCHANGE), Some(RenameMode::Exchange));
        assert_eq!(rename_mode(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE), None);
        assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT), None);
    }
}
