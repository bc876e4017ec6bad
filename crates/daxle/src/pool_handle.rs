//! An open pool.
//!
//! The handle is cheap to clone. Files, directories and mappings keep the pool open; it is closed in order when the
//! last of them is dropped, or by [`Pool::close`], which tells whether that worked.

use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use engine::fs::Fs;
use engine::types::Statfs;
use mmu::window::{CounterValues, Limits, WindowMmu};
use pool::Durability;

use crate::dir::Dir;
use crate::error::{Doing, Error, Result};
use crate::listen::{ChangeListener, Listeners, Listening};
use crate::options::{PoolOptions, Size};

/// An open pool, and the root of its files: all of [`Dir`]'s operations work on it.
///
/// ```
/// # fn main() -> Result<(), daxle::Error> {
/// let pool = daxle::Pool::memory("32MiB")?;
/// pool.create_dir("a")?;
/// pool.write("a/b", b"bytes")?;
/// assert_eq!(pool.read("a/b")?, b"bytes");
/// assert_eq!(pool.durability(), daxle::Durability::Volatile);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pool {
    root: Dir,
}

/// What a pool is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolInfo {
    /// Its path, or what it is called.
    pub name: String,
    /// The label given when it was made.
    pub label: String,
    /// Its identity.
    pub uuid: [u8; 16],
    /// Length in bytes.
    pub len_bytes: u64,
    /// Bytes that are translated as one: 4096, or 2 MiB on huge pages.
    pub page_bytes: u64,
    /// What its content survives.
    pub durability: Durability,
    /// Whether it is open for reading only.
    pub read_only: bool,
    /// Journal records that recovery replayed when it was opened.
    pub recovered_records: u64,
    /// Files without a name that recovery removed.
    pub recovered_orphans: u64,
}

/// What all handles of a pool share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub fs: Arc<Fs>,
    pub listeners: Arc<Listeners>,
    /// Owner and group of what is created.
    pub owner: (u32, u32),
    /// Mappings that are alive.
    pub mappings: AtomicUsize,
    limits: Limits,
    windows: OnceLock<WindowMmu>,
    closed: AtomicBool,
}

impl Pool {
    /// Opens an existing pool for reading and writing. See [`PoolOptions::open`] for errors.
    pub fn open(path: impl AsRef<Path>) -> Result<Pool> {
        PoolOptions::new().open(path)
    }

    /// Makes a new pool in a file; sparse, so that it takes space as it fills.
    ///
    /// # Errors
    /// The file exists and has content; the size is below 16 MiB or above 16 TiB; no permission.
    pub fn create(path: impl AsRef<Path>, size: impl Into<Size>) -> Result<Pool> {
        PoolOptions::new().create_new(true).size(size).open(path)
    }

    /// Makes a pool in memory that lives as long as its handles.
    pub fn memory(size: impl Into<Size>) -> Result<Pool> {
        PoolOptions::new().size(size).memory()
    }

    /// Options for everything else.
    pub fn options() -> PoolOptions {
        PoolOptions::new()
    }

    /// The library's view of a file system that was opened otherwise, over memory of another kind, say. Its files can
    /// be mapped if that memory has a file behind it.
    ///
    /// # Errors
    /// The root directory cannot be read.
    pub fn from_fs(fs: Arc<Fs>) -> Result<Pool> {
        Pool::new(fs, Limits::default())
    }

    pub(crate) fn new(fs: Arc<Fs>, limits: Limits) -> Result<Pool> {
        let root = fs.root().doing("find the root directory")?;
        let inner = Inner {
            fs,
            listeners: Arc::default(),
            owner: owner_of_process(),
            mappings: AtomicUsize::new(0),
            limits,
            windows: OnceLock::new(),
            closed: AtomicBool::new(false),
        };
        Ok(Pool { root: Dir::new(Arc::new(inner), root) })
    }

    fn inner(&self) -> &Arc<Inner> {
        self.root.pool()
    }

    /// The file system behind it, for serving it in another way as well (a mount).
    pub fn fs(&self) -> &Arc<Fs> {
        &self.inner().fs
    }

    /// The root directory.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// What a completed sync survives.
    pub fn durability(&self) -> Durability {
        self.fs().pool().durability()
    }

    /// What the pool is.
    pub fn info(&self) -> PoolInfo {
        let (fs, memory) = (self.fs(), self.fs().pool());
        let recovered = fs.recovered();
        PoolInfo {
            name: memory.name(),
            label: fs.meta().label(),
            uuid: fs.meta().uuid(),
            len_bytes: memory.len(),
            page_bytes: memory.page_size(),
            durability: memory.durability(),
            read_only: memory.access() == pool::Access::ReadOnly,
            recovered_records: recovered.records,
            recovered_orphans: recovered.orphans.len() as u64,
        }
    }

    /// Space in it: all, free, and how many files.
    pub fn statfs(&self) -> Statfs {
        self.fs().statfs()
    }

    /// Makes everything that was done so far durable, as far as the pool's class goes.
    ///
    /// # Errors
    /// The device failed. That is final: the pool is read-only until it is opened again.
    pub fn sync(&self) -> Result<()> {
        self.fs().sync().doing("sync the pool")
    }

    /// Closes the pool: everything durable, and marked so that the next open has nothing to recover.
    ///
    /// Other handles of it become useless for changes. Dropping the last handle does the same and tells nothing.
    ///
    /// # Errors
    /// [`Error::Mapped`] while mappings are alive. The device failed.
    pub fn close(self) -> Result<()> {
        let inner = self.inner();
        match inner.mappings.load(SeqCst) {
            0 => {}
            alive => return Err(Error::Mapped(alive)),
        }
        inner.closed.store(true, SeqCst);
        inner.fs.close().doing("close the pool")
    }

    /// Tells `listener` of every change made through the library, until what this returns is dropped.
    #[must_use = "dropping it ends the listening"]
    pub fn listen(&self, listener: Arc<dyn ChangeListener>) -> Listening {
        self.inner().listeners.add(listener)
    }

    /// What the page faults of its mappings came to so far; zeros while nothing was mapped.
    pub fn fault_counters(&self) -> CounterValues {
        self.inner().windows.get().map(WindowMmu::counters).unwrap_or_default()
    }

    /// Translations that its mappings use at the moment: each is a mapping of the kernel's, of which a process may have
    /// `vm.max_map_count`.
    pub fn translations(&self) -> u64 {
        self.inner().windows.get().map_or(0, WindowMmu::translations)
    }
}

impl Deref for Pool {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.root
    }
}

impl Inner {
    /// The windows of this pool's files, made at the first mapping.
    pub(crate) fn windows(&self) -> Result<&WindowMmu> {
        if let Some(windows) = self.windows.get() {
            return Ok(windows);
        }
        let new = WindowMmu::new(self.limits)?;
        // Of two threads that get here at once one keeps its own; the other's threads end.
        Ok(self.windows.get_or_init(|| new))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            // Nobody is left to be told; the next open recovers if it failed.
            let _ = self.fs.close();
        }
    }
}

/// Effective owner and group of this process; root's if they cannot be read.
pub(crate) fn owner_of_process() -> (u32, u32) {
    std::fs::metadata("/proc/self").map_or((0, 0), |metadata| (metadata.uid(), metadata.gid()))
}
