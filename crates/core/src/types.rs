//! The words that the engine's parts and its users share: numbers, times, attributes, modes of operations, block runs.
//!
//! Plain data without locks and without I/O. What has several ways is an enum, not a flag argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use format::{Block, Ino};

/// Bytes in a block and in a page of a file.
pub const PAGE_BYTES: u64 = 4096;
/// Longest name of a directory entry, in bytes.
pub const NAME_MAX_BYTES: usize = 255;
/// Longest target of a symbolic link, in bytes.
pub const TARGET_MAX_BYTES: usize = 4095;
/// Most links to one inode (a directory counts its subdirectories).
pub const LINKS_MAX: u32 = u32::MAX - 8;
/// Largest size of a file in bytes: page numbers fit an extent key, offsets an `i64`.
pub const FILE_SIZE_MAX: u64 = (i64::MAX as u64) & !(PAGE_BYTES - 1);
/// The bits of a mode that `chmod` can set.
pub const MODE_BITS: u32 = 0o7777;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// The type bits of a Unix mode (`S_IFMT`).
    pub fn mode_bits(self) -> u32 {
        match self {
            Kind::Fifo => 0o010_000,
            Kind::CharDevice => 0o020_000,
            Kind::Directory => 0o040_000,
            Kind::BlockDevice => 0o060_000,
            Kind::File => 0o100_000,
            Kind::Symlink => 0o120_000,
            Kind::Socket => 0o140_000,
        }
    }

    /// The kind in a Unix mode; nothing for type bits that mean none.
    pub fn from_mode(mode: u32) -> Option<Kind> {
        [Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice]
            .into_iter()
            .find(|kind| kind.mode_bits() == mode & 0o170_000)
    }

    /// The byte in a directory entry (`DT_*`).
    pub fn entry_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }

    /// The kind in a directory entry's byte; nothing if the byte means none.
    pub fn from_entry_type(byte: u8) -> Option<Kind> {
        Kind::from_mode(u32::from(byte) << 12)
    }
}

/// A point in time: seconds since 1970 and nanoseconds below one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z; negative before it.
    pub seconds: i64,
    /// 0 ..= 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// The clock's time now.
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }

    /// Nanoseconds since 1970, clamped to what an `i64` holds (about the years 1677 to 2262).
    pub fn to_nanos_clamped(self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(self.nanos))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let (seconds, nanos) = (before.as_secs() as i64, before.subsec_nanos());
                if nanos == 0 {
                    Timestamp { seconds: -seconds, nanos: 0 }
                } else {
                    Timestamp { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos }
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> SystemTime {
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        let base = if time.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        base.and_then(|base| base.checked_add(Duration::from_nanos(u64::from(time.nanos)))).unwrap_or(UNIX_EPOCH)
    }
}

/// A time to set: a given one, or the clock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOrNow {
    /// This time.
    Time(Timestamp),
    /// The time of the change.
    Now,
}

impl TimeOrNow {
    /// The time meant, when the clock shows `now`.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            TimeOrNow::Time(time) => time,
            TimeOrNow::Now => now,
        }
    }
}

/// What `stat` tells of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Tells two uses of one number apart.
    pub generation: u32,
    /// What the file is.
    pub kind: Kind,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Links; a directory counts 2 and one for each subdirectory.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file.
    pub rdev: u32,
    /// Bytes; of a symbolic link, its target's; of a directory, what its entries take.
    pub size: u64,
    /// 4 KiB blocks that the file owns, its tree's nodes included.
    pub blocks: u64,
    /// Last read.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of content or attributes.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// Grows with every change of the file that was logged.
    pub change: u64,
}

impl Attr {
    /// Units of 512 bytes, as `st_blocks` counts.
    pub fn sectors(&self) -> u64 {
        self.blocks.saturating_mul(PAGE_BYTES / 512)
    }
}

/// Attributes to change; what is `None` stays. Permissions are the caller's matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// Permission bits (`0o7777`); how set-user-id bits are cleared as well.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes: truncates, or extends with a hole.
    pub size: Option<u64>,
    /// Last read.
    pub atime: Option<TimeOrNow>,
    /// Last change of the content.
    pub mtime: Option<TimeOrNow>,
    /// Last change of attributes; the time of the change itself if `None`.
    pub ctime: Option<Timestamp>,
}

/// What a new node is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKind<'a> {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target: 1 to 4095 bytes, no NUL.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device with this number.
    CharDevice(u32),
    /// A block device with this number.
    BlockDevice(u32),
}

impl NewKind<'_> {
    /// The kind without its data.
    pub fn kind(&self) -> Kind {
        match self {
            NewKind::File => Kind::File,
            NewKind::Directory => Kind::Directory,
            NewKind::Symlink(_) => Kind::Symlink,
            NewKind::Fifo => Kind::Fifo,
            NewKind::Socket => Kind::Socket,
            NewKind::CharDevice(_) => Kind::CharDevice,
            NewKind::BlockDevice(_) => Kind::BlockDevice,
        }
    }
}

/// A node to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNode<'a> {
    /// What it is.
    pub kind: NewKind<'a>,
    /// Permission bits, after the caller's umask.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl NewNode<'static> {
    /// An empty regular file.
    pub fn file(mode: u32) -> NewNode<'static> {
        NewNode { kind: NewKind::File, mode, uid: 0, gid: 0 }
    }

    /// An empty directory.
    pub fn directory(mode: u32) -> NewNode<'static> {
        NewNode { kind: NewKind::Directory, mode, uid: 0, gid: 0 }
    }
}

impl<'a> NewNode<'a> {
    /// A symbolic link.
    pub fn symlink(target: &'a [u8]) -> NewNode<'a> {
        NewNode { kind: NewKind::Symlink(target), mode: 0o777, uid: 0, gid: 0 }
    }
}

/// One name in a directory, as `read_dir` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Give this to go on after this entry; stays right while other names come and go.
    pub cookie: u64,
    /// What it names.
    pub ino: Ino,
    /// What that is.
    pub kind: Kind,
    /// The name; no NUL, no slash.
    pub name: &'a [u8],
}

/// What the pool holds and what is free, in blocks of 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statfs {
    /// Bytes in a block.
    pub block_bytes: u32,
    /// All blocks that files could use.
    pub blocks: u64,
    /// Free blocks, those that wait for a sync included.
    pub blocks_free: u64,
    /// Free blocks without those kept back for metadata.
    pub blocks_available: u64,
    /// Inodes there could be.
    pub files: u64,
    /// Inodes that could still be made.
    pub files_free: u64,
    /// Longest name in bytes.
    pub name_max_bytes: u32,
}

/// What `rename` does with a name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it, atomically.
    Replace,
    /// Fails with `Exists`.
    NoReplace,
    /// Swaps the two, whatever they are.
    Exchange,
}

/// The ways of `fallocate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallocate {
    /// Blocks for the range; the size grows to its end.
    Allocate,
    /// Blocks for the range, also past the end; the size stays.
    AllocateKeepSize,
    /// A hole; the size stays.
    Punch,
    /// Zeros with blocks behind them; the size grows to its end.
    Zero,
    /// Zeros with blocks behind them; the size stays.
    ZeroKeepSize,
    /// Takes the range out; what follows moves down. Whole blocks only.
    Collapse,
    /// Opens a hole; what follows moves up. Whole blocks only.
    Insert,
}

/// What `seek` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The next offset that has data.
    Data,
    /// The next offset in a hole; the end of the file is one.
    Hole,
}

/// How much of a file `sync_node` makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// The content and what is needed to read it (`fdatasync`).
    Data,
    /// All, times included (`fsync`).
    All,
}

/// What a pool is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing in the pool is changed. A pool that needs recovery is recovered in memory only.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// What a new pool is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeOptions {
    /// A name for people, at most 31 bytes.
    pub label: String,
    /// The pool's identity; a random one if `None`.
    pub uuid: Option<[u8; 16]>,
    /// The time stamp of the root directory; the clock's if `None`.
    pub now: Option<Timestamp>,
    /// Permission bits of the root directory.
    pub root_mode: u32,
    /// Owner of the root directory.
    pub root_uid: u32,
    /// Group of the root directory.
    pub root_gid: u32,
}

impl Default for MakeOptions {
    fn default() -> MakeOptions {
        MakeOptions { label: String::new(), uuid: None, now: None, root_mode: 0o755, root_uid: 0, root_gid: 0 }
    }
}

/// What lies behind pages of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Nothing: reads give zeros.
    Hole,
    /// Blocks from this one on whose bytes mean nothing: reads give zeros.
    Unwritten(Block),
    /// Blocks from this one on.
    Written(Block),
}

/// Consecutive pages of a file with consecutive blocks, or none, behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First page.
    pub page: u64,
    /// How many, at least 1.
    pub pages: u64,
    /// What lies behind them.
    pub state: RunState,
    /// The pages became written in this very call: zero translations of them elsewhere must go.
    pub fresh: bool,
}

impl Run {
    /// A hole.
    pub fn hole(page: u64, pages: u64) -> Run {
        Run { page, pages, state: RunState::Hole, fresh: false }
    }

    /// Blocks that were never written.
    pub fn unwritten(page: u64, pages: u64, first: Block) -> Run {
        Run { page, pages, state: RunState::Unwritten(first), fresh: false }
    }

    /// Blocks with content.
    pub fn written(page: u64, pages: u64, first: Block) -> Run {
        Run { page, pages, state: RunState::Written(first), fresh: false }
    }

    /// The page after the last.
    pub fn end(&self) -> u64 {
        self.page + self.pages
    }

    /// The block behind `page`, if there is one.
    pub fn block_at(&self, page: u64) -> Option<Block> {
        match self.state {
            RunState::Hole => None,
            RunState::Unwritten(first) | RunState::Written(first) => Some(Block(first.0 + (page - self.page))),
        }
    }

    /// The part of this run from `page` on, at most `pages_max` pages. `page` must lie in the run.
    #[must_use]
    pub fn part(&self, page: u64, pages_max: u64) -> Run {
        debug_assert!((self.page..self.end()).contains(&page));
        let skip = page - self.page;
        let state = match self.state {
            RunState::Hole => RunState::Hole,
            RunState::Unwritten(first) => RunState::Unwritten(Block(first.0 + skip)),
            RunState::Written(first) => RunState::Written(Block(first.0 + skip)),
        };
        Run { page, pages: (self.pages - skip).min(pages_max), state, fresh: self.fresh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_survives_the_way_there_and_back() {
        let time = Timestamp { seconds: -2, nanos: 250_000_000 };
        assert_eq!(Timestamp::from(SystemTime::from(time)), time);
    }

    #[test]
    fn a_kind_survives_mode_and_entry_byte() {
        for kind in [Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice] {
            assert_eq!(Kind::from_mode(kind.mode_bits() | 0o755), Some(kind));
            assert_eq!(Kind::from_entry_type(kind.entry_type()), Some(kind));
        }
        assert_eq!(Kind::from_mode(0), None);
    }

    #[test]
    fn a_part_of_a_run_keeps_page_and_block_together() {
        let part = Run::written(10, 5, Block(100)).part(12, 2);
        assert_eq!(part, Run::written(12, 2, Block(102)));
        assert_eq!(part.block_at(13), Some(Block(103)));
    }
}
