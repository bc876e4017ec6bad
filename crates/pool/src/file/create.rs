//! Creating and opening pool files.
//!
//! A file that this call made is removed again when a later step fails, and an
//! empty file that was there before is emptied again. The lock is taken before
//! anything is changed, and what was seen before the lock is looked at again
//! under it.

use std::path::{Path, PathBuf};

use sys::file::{self, Backing, FileKind, LockKind, Locked, MemoryPages, OpenMode};
use sys::{AsFd, Errno, OwnedFd};

use super::{CreateOptions, FileMemory, Huge, Preallocate};
use crate::{Access, LEN_BYTES_MAX, LEN_BYTES_MIN, Pool, PoolError, Result};

pub(super) fn create(path: &Path, len: u64, options: CreateOptions) -> Result<FileMemory> {
    check_len(len)?;
    let fail = |action, errno| PoolError::of_path(path, action, errno);
    let (fd, mut undo) = match file::open(path, OpenMode::CreateNew) {
        Ok(fd) => (fd, Undo(Remains::Remove(path.to_owned()))),
        Err(Errno::EXIST) => {
            (file::open(path, OpenMode::ReadWrite).map_err(|errno| fail("open", errno))?, Undo(Remains::Nothing))
        }
        Err(errno) => return Err(fail("create", errno)),
    };
    check_kind(path, &fd)?;
    if let Err(in_use) = lock(path, &fd, LockKind::Exclusive) {
        // Whoever was quicker owns the file now.
        undo.keep();
        return Err(in_use);
    }
    if file::facts(fd.as_fd()).map_err(|errno| fail("ask about", errno))?.len != 0 {
        return Err(PoolError::Exists(path.to_owned()));
    }
    if matches!(undo.0, Remains::Nothing) {
        let copy = fd.try_clone().map_err(|_| fail("open", Errno::MFILE))?;
        undo = Undo(Remains::Empty(copy));
    }
    let len = len.next_multiple_of(page_of(path, &fd)?);
    file::set_len(fd.as_fd(), len).map_err(|errno| fail("set the size of", errno))?;
    let made = FileMemory::new(fd, path.display().to_string(), len, Access::ReadWrite)?;
    let first = match options.preallocate {
        Preallocate::No => crate::CHUNK_BYTES,
        Preallocate::Yes => len,
    };
    match made.back(0, first) {
        Err(PoolError::Io { source: Errno::OPNOTSUPP | Errno::NOSYS, .. }) => {
            return Err(PoolError::NoReserve(path.to_owned()));
        }
        backed => backed?,
    }
    file::sync_directory_of(path).map_err(|errno| fail("sync the directory of", errno))?;
    undo.keep();
    Ok(made)
}

pub(super) fn open(path: &Path, access: Access) -> Result<FileMemory> {
    let fail = |action, errno| PoolError::of_path(path, action, errno);
    let (mode, kind) = match access {
        Access::ReadWrite => (OpenMode::ReadWrite, LockKind::Exclusive),
        Access::ReadOnly => (OpenMode::Read, LockKind::Shared),
    };
    let fd = file::open(path, mode).map_err(|errno| fail("open", errno))?;
    check_kind(path, &fd)?;
    lock(path, &fd, kind)?;
    let len = file::facts(fd.as_fd()).map_err(|errno| fail("ask about", errno))?.len;
    check_len(len)?;
    let page = page_of(path, &fd)?;
    if !len.is_multiple_of(page) {
        return Err(PoolError::Ragged { path: path.to_owned(), len, page });
    }
    FileMemory::new(fd, path.display().to_string(), len, access)
}

pub(super) fn create_memfd(name: &str, len: u64, huge: Huge) -> Result<FileMemory> {
    check_len(len)?;
    let fail = |action, errno| PoolError::of_name(name, action, errno);
    let (pages, page) = match huge {
        Huge::No => (MemoryPages::Small, sys::PAGE_BYTES),
        Huge::Yes => (MemoryPages::Huge, sys::HUGE_BYTES),
    };
    let fd = file::memfd(name, pages).map_err(|errno| fail("create", errno))?;
    let len = len.next_multiple_of(page as u64);
    file::set_len(fd.as_fd(), len).map_err(|errno| fail("set the size of", errno))?;
    FileMemory::new(fd, name.to_owned(), len, Access::ReadWrite)
}

/// What is to be undone if creating fails.
enum Remains {
    Nothing,
    Remove(PathBuf),
    Empty(OwnedFd),
}

/// Undoes it when dropped.
struct Undo(Remains);

impl Undo {
    fn keep(mut self) {
        self.0 = Remains::Nothing;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // An error is on its way already; this one could add nothing to it.
        let _ = match &self.0 {
            Remains::Nothing => Ok(()),
            Remains::Remove(path) => file::remove(path),
            Remains::Empty(fd) => file::set_len(fd.as_fd(), 0),
        };
    }
}

fn check_len(len: u64) -> Result<()> {
    match len {
        0..LEN_BYTES_MIN => Err(PoolError::TooSmall(len)),
        LEN_BYTES_MIN..=LEN_BYTES_MAX => Ok(()),
        _ => Err(PoolError::TooLarge(len)),
    }
}

fn check_kind(path: &Path, fd: &OwnedFd) -> Result<()> {
    let facts = file::facts(fd.as_fd()).map_err(|errno| PoolError::of_path(path, "ask about", errno))?;
    let what = match facts.kind {
        FileKind::Regular => return Ok(()),
        FileKind::Directory => "a directory",
        FileKind::CharDevice => "a character device of an unknown kind",
        FileKind::BlockDevice => "a block device, which cannot be mapped directly",
        FileKind::Other => "a pipe or a socket",
    };
    Err(PoolError::NotAPoolFile { path: path.to_owned(), what })
}

fn lock(path: &Path, fd: &OwnedFd, kind: LockKind) -> Result<()> {
    match file::try_lock(fd.as_fd(), kind).map_err(|errno| PoolError::of_path(path, "lock", errno))? {
        Locked::Yes => Ok(()),
        Locked::No(owner) => Err(PoolError::InUse {
            path: path.to_owned(),
            pid: owner.as_ref().map(|owner| owner.pid),
            comm: owner.map(|owner| owner.comm).unwrap_or_default(),
        }),
    }
}

fn page_of(path: &Path, fd: &OwnedFd) -> Result<u64> {
    match file::backing(fd.as_fd()).map_err(|errno| PoolError::of_path(path, "ask about", errno))? {
        Backing::HugePages { page_bytes } if page_bytes != sys::HUGE_BYTES as u64 => {
            Err(PoolError::HugePageSize { path: path.to_owned(), page: page_bytes })
        }
        Backing::HugePages { page_bytes } => Ok(page_bytes),
        Backing::PageCache | Backing::SharedMemory => Ok(sys::PAGE_BYTES as u64),
    }
}
