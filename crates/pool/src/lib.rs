//! The pool's memory.
//!
//! A pool is one stretch of memory that outlives the process: a plain file, a
//! file of tmpfs or hugetlbfs, a memory file; for tests the heap. The engine
//! sees it through [`Pool`] and knows three things about it: its length, the
//! granule in which it can be translated, and its [`Durability`].
//!
//! Reading and writing never fail: a pool is mapped whole when it is opened.
//! What can fail is getting space ([`Pool::back`]) and getting durable
//! ([`Pool::sync`]). Before the first store to a range its space is backed, so
//! that a full disk is an error in the allocator and not a SIGBUS in a store.
//!
//! A range outside the pool, or a store into one opened read-only, is a broken
//! invariant of the caller and panics.
//!
//! No method takes a lock, so pools may be used under any.

#![forbid(unsafe_code)]

use std::fmt;

pub mod crashlog;
mod error;
mod file;
mod heap;
pub mod size;

pub use error::{PoolError, Result};
pub use file::{CreateOptions, FilePool, Huge, MemfdPool, Preallocate};
pub use heap::HeapPool;
pub use size::{format_size, parse_size};
pub use sys::BorrowedFd;

/// Smallest pool that is created or opened from a file, in bytes.
pub const LEN_BYTES_MIN: u64 = 16 << 20;

/// Largest pool, in bytes.
pub const LEN_BYTES_MAX: u64 = 16 << 40;

/// Space is backed in pieces of this many bytes.
pub const CHUNK_BYTES: u64 = 2 << 20;

/// What a pool's content survives, and by which means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Survives processes, not power. Syncing does nothing.
    Volatile,
    /// Survives power after a sync, which is the kernel's `fdatasync`; before
    /// it the kernel may write any page at any time.
    Msync,
    /// Survives power once its cache lines are flushed and fenced.
    CpuFlush,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Durability::Volatile => "volatile",
            Durability::Msync => "msync",
            Durability::CpuFlush => "cpu-flush",
        })
    }
}

/// How a pool is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Alone, for reading and writing.
    ReadWrite,
    /// Together with other readers.
    ReadOnly,
}

/// The file behind a pool, for translating parts of it into a window.
#[derive(Clone, Copy, Debug)]
pub struct WindowSource<'p> {
    /// The file.
    pub fd: BorrowedFd<'p>,
    /// Where in the file the pool begins, in bytes; a multiple of 2 MiB.
    pub base: u64,
}

/// The memory of a pool. Offsets and lengths are bytes from the pool's start.
pub trait Pool: Send + Sync + fmt::Debug {
    /// Length in bytes, a multiple of [`Pool::page_size`].
    fn len(&self) -> u64;
    /// False: no pool is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// What its content survives.
    fn durability(&self) -> Durability;
    /// How it was opened.
    fn access(&self) -> Access;
    /// Granule of translation in bytes: 4096, or 2 MiB on huge pages.
    fn page_size(&self) -> u64;
    /// What people call it: a path, mostly.
    fn name(&self) -> String;

    /// Copies bytes out.
    fn read(&self, offset: u64, into: &mut [u8]);
    /// Copies bytes in, through the cache. Durable after [`Pool::flush`] and
    /// [`Pool::fence`] on cpu-flush, after [`Pool::sync`] on msync.
    fn write(&self, offset: u64, from: &[u8]);
    /// As [`Pool::write`], around the cache where that is faster: for data that
    /// nobody reads soon. Needs the same steps to become durable.
    fn write_stream(&self, offset: u64, from: &[u8]);
    /// Sets bytes to zero; else as [`Pool::write`].
    fn zero(&self, offset: u64, len: u64);
    /// Copies bytes within the pool; the ranges may overlap. Else as
    /// [`Pool::write`].
    fn copy(&self, from: u64, to: u64, len: u64);
    /// Loads a little-endian word at a multiple of 8 in one go (acquire).
    fn load_u64(&self, offset: u64) -> u64;
    /// Stores a little-endian word at a multiple of 8 in one go (release).
    fn store_u64(&self, offset: u64, value: u64);
    /// Whether the bytes at `offset` equal `other`.
    fn equal(&self, offset: u64, other: &[u8]) -> bool;

    /// Pushes a range out of the cache, durable after the next fence. Only
    /// cpu-flush pools do anything.
    fn flush(&self, offset: u64, len: u64);
    /// Orders earlier flushes before later stores. Only cpu-flush pools do
    /// anything.
    fn fence(&self);
    /// Makes everything stored so far durable as far as the class goes:
    /// `fdatasync` of the whole file on msync, a fence on cpu-flush, nothing
    /// on volatile. A failed sync is final: what was dirty may be lost though
    /// its pages are called clean, so every later sync fails as well.
    fn sync(&self) -> Result<()>;

    /// Gets memory or disk space for a range, in pieces of 2 MiB, so that
    /// later stores cannot fail for want of it. Cheap when already done.
    /// Errors: no space, or the kernel's.
    fn back(&self, offset: u64, len: u64) -> Result<()>;
    /// As [`Pool::back`] for no more than the pages that the range touches,
    /// which costs the same each time: for structures that lie far apart.
    fn back_pages(&self, offset: u64, len: u64) -> Result<()> {
        self.back(offset, len)
    }
    /// Gives the space of the whole pages inside a range back; they read as
    /// zeros afterwards and must be backed again before a store.
    fn give_back(&self, offset: u64, len: u64) -> Result<()>;

    /// The file to translate windows from; `None` where there is none.
    fn window_source(&self) -> Option<WindowSource<'_>>;
    /// Equal across two openings only if what the first stored, unsynced, is
    /// surely still there. Constant on volatile and cpu-flush pools; on msync
    /// pools made of the kernel's run, the mount and the file; on heap pools
    /// different for every object.
    fn witness(&self) -> [u8; 32];
}
