//! Files, locks, and the facts about where they live.
//!
//! A pool is one file. Which kind of memory it is follows from its file system:
//! tmpfs and hugetlbfs are memory that outlives processes, anything else is a
//! page-cached file. One process owns a pool: it holds an exclusive OFD lock on
//! the file, which goes with the open file. It ends when its owner closes the
//! file or dies, and not, as a POSIX lock would, when the owner happens to
//! close another descriptor of the same file.

use crate::{Errno, Result};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, FallocateFlags, MemfdFlags, Mode, OFlags, StatxFlags};
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    ReadWrite,
    /// For reading and writing; it must not exist.
    CreateNew,
}

/// Opens a file with close-on-exec. New files are readable and writable by
/// their owner only (mode 0600).
pub fn open(path: &Path, mode: OpenMode) -> Result<OwnedFd> {
    let flags = match mode {
        OpenMode::Read => OFlags::RDONLY,
        OpenMode::ReadWrite => OFlags::RDWR,
        OpenMode::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
    };
    fs::open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::RUSR | Mode::WUSR)
}

/// Removes a name.
pub fn remove(path: &Path) -> Result<()> {
    fs::unlink(path)
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A pipe, socket or anything else.
    Other,
}

/// Identity and size of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes.
    pub len: u64,
    /// Device number of its file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Space that it takes, in 512-byte units.
    pub sectors: u64,
}

/// Asks what a file is and how long.
pub fn facts(fd: BorrowedFd<'_>) -> Result<FileFacts> {
    let stat = fs::fstat(fd)?;
    let kind = match fs::FileType::from_raw_mode(stat.st_mode) {
        fs::FileType::RegularFile => FileKind::Regular,
        fs::FileType::Directory => FileKind::Directory,
        fs::FileType::CharacterDevice => FileKind::CharDevice,
        fs::FileType::BlockDevice => FileKind::BlockDevice,
        _ => FileKind::Other,
    };
    Ok(FileFacts { kind, len: stat.st_size as u64, dev: stat.st_dev, ino: stat.st_ino, sectors: stat.st_blocks as u64 })
}

/// The memory behind a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A page-cached file of an ordinary file system.
    PageCache,
    /// tmpfs, or a memfd.
    SharedMemory,
    /// hugetlbfs, or a huge memfd, with its page size in bytes.
    HugePages {
        /// Bytes of one huge page.
        page_bytes: u64,
    },
}

const TMPFS_MAGIC: u64 = 0x0102_1994;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// Asks what memory is behind a file.
pub fn backing(fd: BorrowedFd<'_>) -> Result<Backing> {
    let stat = fs::fstatfs(fd)?;
    Ok(match stat.f_type as u64 & 0xffff_ffff {
        TMPFS_MAGIC => Backing::SharedMemory,
        HUGETLBFS_MAGIC => Backing::HugePages { page_bytes: stat.f_bsize as u64 },
        _ => Backing::PageCache,
    })
}

/// Sets the size of a file, in bytes.
pub fn set_len(fd: BorrowedFd<'_>, len: u64) -> Result<()> {
    retry(|| fs::ftruncate(fd, len))
}

/// Reserves space for a range without changing bytes or size. ENOSPC: there
/// is none; EOPNOTSUPP: this file system cannot.
pub fn reserve(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<()> {
    retry(|| fs::fallocate(fd, FallocateFlags::KEEP_SIZE, offset, len))
}

/// Gives the space of a range back; it reads as zeros afterwards.
pub fn punch(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<()> {
    let flags = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE;
    retry(|| fs::fallocate(fd, flags, offset, len))
}

/// Makes the data of a file durable, mapped stores included.
pub fn sync_data(fd: BorrowedFd<'_>) -> Result<()> {
    retry(|| fs::fdatasync(fd))
}

/// Makes a file's name durable: syncs the directory that holds it.
pub fn sync_directory_of(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = fs::open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    retry(|| fs::fsync(&directory))
}

/// Page size of a memory file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryPages {
    /// 4 KiB.
    Small,
    /// 2 MiB, from the machine's reserve of huge pages.
    Huge,
}

/// Creates a file that lives in memory and has no name. `name` is shown in
/// `/proc/self/maps` only.
pub fn memfd(name: &str, pages: MemoryPages) -> Result<OwnedFd> {
    let mut flags = MemfdFlags::CLOEXEC;
    if pages == MemoryPages::Huge {
        flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    }
    fs::memfd_create(name, flags)
}

/// Which lock on a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// With other shared holders; the file is open for reading.
    Shared,
    /// Alone; the file is open for writing.
    Exclusive,
}

/// Whether a lock was had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is ours until the open file is closed.
    Yes,
    /// Somebody else has it; who, if that could be found out.
    No(Option<Owner>),
}

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process number.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
}

/// Tries to lock the whole file for this open file, without waiting.
pub fn try_lock(fd: BorrowedFd<'_>, kind: LockKind) -> Result<Locked> {
    let kind = match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    };
    match set_lock(fd, kind) {
        Ok(()) => Ok(Locked::Yes),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(Locked::No(lock_owner(fd))),
        Err(error) => Err(error),
    }
}

/// Gives the lock up. Closing does that as well, but only when the last copy
/// of the descriptor is closed, and a child between `fork` and `exec` has one.
pub fn unlock(fd: BorrowedFd<'_>) -> Result<()> {
    set_lock(fd, libc::F_UNLCK)
}

fn set_lock(fd: BorrowedFd<'_>, kind: libc::c_int) -> Result<()> {
    let request = libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: (1) the descriptor is open while it is borrowed; (2) `request`
    // is a complete `flock` that outlives the call, as this command wants.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
    if answer == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Finds who holds an OFD lock on the file. The kernel tells no process for
/// such locks (-1), so this looks through what `/proc` says of every open
/// file; processes of other users are hidden from an ordinary user.
pub fn lock_owner(fd: BorrowedFd<'_>) -> Option<Owner> {
    let facts = facts(fd).ok()?;
    let place = format!("{:02x}:{:02x}:{}", rustix::fs::major(facts.dev), rustix::fs::minor(facts.dev), facts.ino);
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(open_files) = std::fs::read_dir(process.path().join("fdinfo")) else { continue };
        let holds = open_files.flatten().any(|open_file| {
            let Ok(info) = std::fs::read_to_string(open_file.path()) else { return false };
            info.lines().any(|line| {
                line.starts_with("lock:")
                    && line.contains("OFDLCK")
                    && line.split_whitespace().any(|word| word == place)
            })
        });
        if holds {
            let comm = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Owner { pid, comm: comm.trim_end().to_owned() });
        }
    }
    None
}

/// The number of the mount that the file was reached by, never used twice in
/// one run of the kernel. `None` before Linux 6.8.
pub fn unique_mount_id(fd: BorrowedFd<'_>) -> Option<u64> {
    let unique = StatxFlags::from_bits_retain(linux_raw_sys::general::STATX_MNT_ID_UNIQUE);
    let answer = fs::statx(fd, c"", fs::AtFlags::EMPTY_PATH, unique).ok()?;
    (answer.stx_mask & unique.bits() != 0).then_some(answer.stx_mnt_id)
}

/// The random number of this run of the kernel.
pub fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

/// Sixteen random bytes.
pub fn random_bytes() -> Result<[u8; 16]> {
    let file = fs::open("/dev/urandom", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = [0; 16];
    let got = retry(|| rustix::io::read(&file, &mut bytes))?;
    if got == bytes.len() { Ok(bytes) } else { Err(Errno::IO) }
}

/// How many mappings a process may have (`vm.max_map_count`); 65,530 if it
/// cannot be read.
pub fn max_map_count() -> usize {
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65_530)
}

fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn a_lock_conflict_names_the_owner() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("locked");
        let first = open(&path, OpenMode::CreateNew).expect("create");
        assert_eq!(try_lock(first.as_fd(), LockKind::Exclusive), Ok(Locked::Yes));
        let second = open(&path, OpenMode::ReadWrite).expect("open");
        let Ok(Locked::No(Some(owner))) = try_lock(second.as_fd(), LockKind::Exclusive) else {
            panic!("the second lock must fail and know the owner");
        };
        assert_eq!(owner.pid, std::process::id());
        assert!(!owner.comm.is_empty());
        drop(first);
        assert_eq!(try_lock(second.as_fd(), LockKind::Exclusive), Ok(Locked::Yes));
    }

    #[test]
    fn readers_share_a_lock() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("shared");
        drop(open(&path, OpenMode::CreateNew).expect("create"));
        let a = open(&path, OpenMode::Read).expect("open");
        let b = open(&path, OpenMode::Read).expect("open");
        assert_eq!(try_lock(a.as_fd(), LockKind::Shared), Ok(Locked::Yes));
        assert_eq!(try_lock(b.as_fd(), LockKind::Shared), Ok(Locked::Yes));
        let w = open(&path, OpenMode::ReadWrite).expect("open");
        assert!(matches!(try_lock(w.as_fd(), LockKind::Exclusive), Ok(Locked::No(_))));
    }

    #[test]
    fn a_memory_file_is_shared_memory_and_punching_gives_its_space_back() {
        let fd = memfd("punched", MemoryPages::Small).expect("memfd");
        assert_eq!(backing(fd.as_fd()), Ok(Backing::SharedMemory));
        set_len(fd.as_fd(), 1 << 20).expect("size");
        reserve(fd.as_fd(), 0, 1 << 20).expect("reserve");
        assert_eq!(facts(fd.as_fd()).expect("facts").sectors, 2048);
        punch(fd.as_fd(), 4096, 8192).expect("punch");
        let facts = facts(fd.as_fd()).expect("facts");
        assert_eq!((facts.sectors, facts.len), (2048 - 16, 1 << 20));
    }

    #[test]
    fn the_boot_and_the_mount_have_stable_numbers() {
        let fd = memfd("numbers", MemoryPages::Small).expect("memfd");
        assert_eq!(boot_id(), boot_id());
        assert!(boot_id().is_some_and(|id| id != [0; 16]));
        assert_eq!(unique_mount_id(fd.as_fd()), unique_mount_id(fd.as_fd()));
        assert_ne!(random_bytes(), random_bytes());
        assert!(max_map_count() > 1000);
    }
}
