//! Pools in files: plain files, tmpfs, hugetlbfs, and memory files.
//!
//! Which kind a path is follows from its file system and decides the class:
//! memory is volatile, everything else msync. The file is locked for as long
//! as the pool is open, mapped whole, and sparse: space is taken in pieces of
//! 2 MiB as the engine asks ([`Pool::back`]), and a bitmap remembers the pieces
//! that surely have theirs, so that asking again costs one load.
//!
//! hugetlbfs reserves all its pages when the file is mapped, so that a pool
//! which opens cannot run short later.

mod create;

use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use sys::file::{self, Backing};
use sys::memory::{Mapping, Protection};
use sys::{AsFd, Errno, OwnedFd, cpu};

use crate::{Access, CHUNK_BYTES, Durability, Pool, PoolError, Result, WindowSource};

/// Whether all space is taken when a pool is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocate {
    /// As it is needed.
    #[default]
    No,
    /// At once; creating fails if there is not enough.
    Yes,
}

/// How a pool file is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Whether all space is taken at once.
    pub preallocate: Preallocate,
}

/// Page size of a memory pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Huge {
    /// Pages of 4 KiB.
    #[default]
    No,
    /// Pages of 2 MiB from the machine's reserve.
    Yes,
}

/// A pool in a file.
#[derive(Debug)]
pub struct FilePool(FileMemory);

/// A pool in a memory file without a name; gone when closed.
#[derive(Debug)]
pub struct MemfdPool(FileMemory);

impl FilePool {
    /// Creates a pool of `len` bytes, rounded up to whole pages, at a path that
    /// is free or an empty file. Nothing is left behind on an error.
    pub fn create(path: &Path, len: u64, options: CreateOptions) -> Result<FilePool> {
        create::create(path, len, options).map(FilePool)
    }

    /// Opens an existing pool file and locks it.
    pub fn open(path: &Path, access: Access) -> Result<FilePool> {
        create::open(path, access).map(FilePool)
    }
}

impl MemfdPool {
    /// Creates a zeroed pool of `len` bytes, rounded up to whole pages.
    pub fn create(name: &str, len: u64, huge: Huge) -> Result<MemfdPool> {
        create::create_memfd(name, len, huge).map(MemfdPool)
    }
}

/// What both kinds are made of.
#[derive(Debug)]
struct FileMemory {
    fd: OwnedFd,
    memory: Mapping,
    name: String,
    backing: Backing,
    access: Access,
    witness: [u8; 32],
    /// One bit for each piece of 2 MiB that surely has its space.
    backed: Box<[AtomicU64]>,
    /// The error of the first failed sync, or 0.
    sync_error: AtomicI32,
}

impl FileMemory {
    /// Maps an open and locked file of the right size.
    fn new(fd: OwnedFd, name: String, len: u64, access: Access) -> Result<FileMemory> {
        let fail = |action, errno| PoolError::of_name(&name, action, errno);
        let backing = file::backing(fd.as_fd()).map_err(|errno| fail("ask about", errno))?;
        let protection = match access {
            Access::ReadWrite => Protection::ReadWrite,
            Access::ReadOnly => Protection::Read,
        };
        let memory = match Mapping::of_file(fd.as_fd(), len, protection) {
            Ok(memory) => memory,
            Err(Errno::NOMEM) if matches!(backing, Backing::HugePages { .. }) => {
                let needed = len / sys::HUGE_BYTES as u64;
                return Err(PoolError::NoHugePages { name, needed });
            }
            Err(errno) => return Err(fail("map", errno)),
        };
        let witness = witness_of(&fd, backing).map_err(|errno| fail("identify", errno))?;
        let words = len.div_ceil(CHUNK_BYTES).div_ceil(64);
        let backed = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(FileMemory { fd, memory, name, backing, access, witness, backed, sync_error: AtomicI32::new(0) })
    }

    /// Gets the space of one piece, the bit of which is still clear.
    #[cold]
    fn back_chunk(&self, chunk: u64) -> Result<()> {
        let offset = chunk * CHUNK_BYTES;
        self.take_space(offset, CHUNK_BYTES.min(self.memory.len() - offset))?;
        self.backed[(chunk / 64) as usize].fetch_or(1 << (chunk % 64), Ordering::Relaxed);
        Ok(())
    }

    /// Gets the space of whole pages.
    fn take_space(&self, offset: u64, len: u64) -> Result<()> {
        // In memory, filling the page tables takes the pages as well, in one go instead of two, and saves a fault for
        // each. When it fails (no space, or a kernel that cannot do it), `reserve` succeeds or tells why.
        if self.backing != Backing::PageCache && self.memory.populate_write(offset, len).is_ok() {
            return Ok(());
        }
        file::reserve(self.fd.as_fd(), offset, len)
            .map_err(|errno| PoolError::of_name(&self.name, "reserve space in", errno))
    }

    fn check_writable(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(PoolError::ReadOnly { name: self.name.clone() }),
        }
    }
}

impl Drop for FileMemory {
    /// The next owner need not wait for a child that was just forked to close its copy of the descriptor.
    fn drop(&mut self) {
        let _ = file::unlock(self.fd.as_fd());
    }
}

/// See [`Pool::witness`].
fn witness_of(fd: &OwnedFd, backing: Backing) -> sys::Result<[u8; 32]> {
    let mut witness = [0; 32];
    if backing != Backing::PageCache {
        witness.fill(0x56);
        return Ok(witness);
    }
    let facts = file::facts(fd.as_fd())?;
    match (file::boot_id(), file::unique_mount_id(fd.as_fd())) {
        (Some(boot), Some(mount)) => {
            witness[..16].copy_from_slice(&boot);
            witness[16..24].copy_from_slice(&mount.to_le_bytes());
        }
        // Without both numbers nothing can be known, so never equal.
        _ => witness[..16].copy_from_slice(&file::random_bytes()?),
    }
    let place = facts.ino ^ facts.dev.rotate_left(32);
    witness[24..].copy_from_slice(&place.to_le_bytes());
    Ok(witness)
}

impl Pool for FileMemory {
    fn len(&self) -> u64 {
        self.memory.len()
    }
    fn durability(&self) -> Durability {
        match self.backing {
            Backing::PageCache => Durability::Msync,
            Backing::SharedMemory | Backing::HugePages { .. } => Durability::Volatile,
        }
    }
    fn access(&self) -> Access {
        self.access
    }
    fn page_size(&self) -> u64 {
        match self.backing {
            Backing::HugePages { page_bytes } => page_bytes,
            _ => sys::PAGE_BYTES as u64,
        }
    }
    fn name(&self) -> String {
        self.name.clone()
    }
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.memory.read(offset, into);
    }
    fn write(&self, offset: u64, from: &[u8]) {
        self.memory.write(offset, from);
    }
    fn write_stream(&self, offset: u64, from: &[u8]) {
        self.memory.write_stream(offset, from);
    }
    fn zero(&self, offset: u64, len: u64) {
        self.memory.zero(offset, len);
    }
    fn copy(&self, from: u64, to: u64, len: u64) {
        self.memory.copy_within(from, to, len);
    }
    fn load_u64(&self, offset: u64) -> u64 {
        self.memory.load_u64(offset)
    }
    fn store_u64(&self, offset: u64, value: u64) {
        self.memory.store_u64(offset, value);
    }
    fn equal(&self, offset: u64, other: &[u8]) -> bool {
        self.memory.equal(offset, other)
    }

    fn flush(&self, offset: u64, len: u64) {
        match self.durability() {
            Durability::CpuFlush => self.memory.flush_lines(offset, len),
            Durability::Volatile | Durability::Msync => self.memory.check(offset, len),
        }
    }

    fn fence(&self) {
        if self.durability() == Durability::CpuFlush {
            cpu::fence();
        }
    }

    fn sync(&self) -> Result<()> {
        if self.access == Access::ReadOnly || self.durability() != Durability::Msync {
            self.fence();
            return Ok(());
        }
        let failed = |errno| PoolError::SyncFailed { name: self.name.clone(), source: errno };
        match self.sync_error.load(Ordering::Acquire) {
            0 => {}
            earlier => return Err(failed(Errno::from_raw_os_error(earlier))),
        }
        file::sync_data(self.fd.as_fd()).map_err(|errno| {
            self.sync_error.store(errno.raw_os_error(), Ordering::Release);
            failed(errno)
        })
    }

    fn back(&self, offset: u64, len: u64) -> Result<()> {
        self.memory.check(offset, len);
        if len == 0 {
            return Ok(());
        }
        for chunk in offset / CHUNK_BYTES..=(offset + len - 1) / CHUNK_BYTES {
            let word = self.backed[(chunk / 64) as usize].load(Ordering::Relaxed);
            if word & (1 << (chunk % 64)) == 0 {
                self.check_writable()?;
                self.back_chunk(chunk)?;
            }
        }
        Ok(())
    }

    fn back_pages(&self, offset: u64, len: u64) -> Result<()> {
        self.memory.check(offset, len);
        self.check_writable()?;
        let page = self.page_size();
        let first = offset / page * page;
        self.take_space(first, (offset + len).next_multiple_of(page) - first)
    }

    fn give_back(&self, offset: u64, len: u64) -> Result<()> {
        self.check_writable()?;
        self.memory.check(offset, len);
        let page = self.page_size();
        let (first, end) = (offset.next_multiple_of(page), (offset + len) / page * page);
        if first >= end {
            return Ok(());
        }
        // The bits go first: a store after this must ask again.
        for chunk in first / CHUNK_BYTES..=(end - 1) / CHUNK_BYTES {
            self.backed[(chunk / 64) as usize].fetch_and(!(1 << (chunk % 64)), Ordering::Relaxed);
        }
        file::punch(self.fd.as_fd(), first, end - first)
            .map_err(|errno| PoolError::of_name(&self.name, "give space back from", errno))
    }

    fn window_source(&self) -> Option<WindowSource<'_>> {
        Some(WindowSource { fd: self.fd.as_fd(), base: 0 })
    }

    fn witness(&self) -> [u8; 32] {
        self.witness
    }
}

/// Forwards the trait to the field.
macro_rules! forward {
    ($type:ty) => {
        impl Pool for $type {
            fn len(&self) -> u64 {
                self.0.len()
            }
            fn durability(&self) -> Durability {
                self.0.durability()
            }
            fn access(&self) -> Access {
                self.0.access()
            }
            fn page_size(&self) -> u64 {
                self.0.page_size()
            }
            fn name(&self) -> String {
                self.0.name()
            }
            fn read(&self, offset: u64, into: &mut [u8]) {
                self.0.read(offset, into);
            }
            fn write(&self, offset: u64, from: &[u8]) {
                self.0.write(offset, from);
            }
            fn write_stream(&self, offset: u64, from: &[u8]) {
                self.0.write_stream(offset, from);
            }
            fn zero(&self, offset: u64, len: u64) {
                self.0.zero(offset, len);
            }
            fn copy(&self, from: u64, to: u64, len: u64) {
                self.0.copy(from, to, len);
            }
            fn load_u64(&self, offset: u64) -> u64 {
                self.0.load_u64(offset)
            }
            fn store_u64(&self, offset: u64, value: u64) {
                self.0.store_u64(offset, value);
            }
            fn equal(&self, offset: u64, other: &[u8]) -> bool {
                self.0.equal(offset, other)
            }
            fn flush(&self, offset: u64, len: u64) {
                self.0.flush(offset, len);
            }
            fn fence(&self) {
                self.0.fence();
            }
            fn sync(&self) -> Result<()> {
                self.0.sync()
            }
            fn back(&self, offset: u64, len: u64) -> Result<()> {
                self.0.back(offset, len)
            }
            fn back_pages(&self, offset: u64, len: u64) -> Result<()> {
                self.0.back_pages(offset, len)
            }
            fn give_back(&self, offset: u64, len: u64) -> Result<()> {
                self.0.give_back(offset, len)
            }
            fn window_source(&self) -> Option<WindowSource<'_>> {
                self.0.window_source()
            }
            fn witness(&self) -> [u8; 32] {
                self.0.witness()
            }
        }
    };
}

forward!(FilePool);
forward!(MemfdPool);
