//! How a pool is opened or made.

use std::path::Path;
use std::sync::Arc;

use engine::fs::{Access, Fs};
use engine::types::MakeOptions;
use mmu::window::Limits;
use pool::{CreateOptions, FilePool, MemfdPool, Preallocate};

use crate::error::{Doing, Error, Result};
use crate::pool_handle::{Pool, owner_of_process};

/// A size in bytes: a number, or a text such as `"512M"`, `"1G"`, `"16 MiB"` (powers of 1024).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size(Result<u64, pool::size::SizeError>);

impl From<u64> for Size {
    fn from(bytes: u64) -> Size {
        Size(Ok(bytes))
    }
}

impl From<&str> for Size {
    fn from(text: &str) -> Size {
        Size(pool::parse_size(text))
    }
}

/// Whether a missing pool is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Creation {
    Never,
    IfMissing,
    Always,
}

/// Options for opening or creating a pool.
///
/// ```
/// # fn main() -> Result<(), daxle::Error> {
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("demo.pool");
/// let pool = daxle::PoolOptions::new().create(true).size("32MiB").label("demo").open(&path)?;
/// pool.create_file("hello")?.write_all_at(b"hello", 0)?;
/// pool.close()?;
///
/// let pool = daxle::Pool::open(&path)?; // no size needed: it exists
/// assert_eq!(pool.info().label, "demo");
/// assert_eq!(pool.read("hello")?, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PoolOptions {
    size: Option<Size>,
    label: String,
    creation: Creation,
    access: Access,
    preallocate: Preallocate,
    huge: pool::Huge,
    limits: Limits,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions::new()
    }
}

impl PoolOptions {
    /// Opens an existing pool for reading and writing.
    pub fn new() -> PoolOptions {
        PoolOptions {
            size: None,
            label: String::new(),
            creation: Creation::Never,
            access: Access::ReadWrite,
            preallocate: Preallocate::No,
            huge: pool::Huge::No,
            limits: Limits::default(),
        }
    }

    /// The size of a new pool: 16 MiB to 16 TiB. An existing pool keeps its own.
    pub fn size(mut self, size: impl Into<Size>) -> Self {
        self.size = Some(size.into());
        self
    }

    /// A name for people, at most 31 bytes, for a new pool.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Whether a pool that does not exist is made. It needs a size.
    pub fn create(mut self, create: bool) -> Self {
        self.creation = if create { Creation::IfMissing } else { Creation::Never };
        self
    }

    /// Whether the pool must be a new one.
    pub fn create_new(mut self, create_new: bool) -> Self {
        self.creation = if create_new { Creation::Always } else { Creation::Never };
        self
    }

    /// Whether the pool is opened for reading only; other readers may have it open at once.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
        self
    }

    /// Whether all space of a new pool is reserved at once, rather than as it is needed.
    pub fn preallocate(mut self, preallocate: bool) -> Self {
        self.preallocate = if preallocate { Preallocate::Yes } else { Preallocate::No };
        self
    }

    /// Whether a pool made by [`PoolOptions::memory`] lies in huge pages of 2 MiB, which must be reserved.
    pub fn huge_pages(mut self, huge_pages: bool) -> Self {
        self.huge = if huge_pages { pool::Huge::Yes } else { pool::Huge::No };
        self
    }

    /// The most translations that mappings of this pool may have at once. The kernel limits a process to 65,530 mappings
    /// (`vm.max_map_count`), of which three quarters are used at most. Beyond it old translations give way and fault again.
    pub fn translations_max(mut self, translations: u32) -> Self {
        self.limits = Limits { translations_max: Some(translations) };
        self
    }

    /// Opens the pool at `path`, or makes it.
    ///
    /// A pool that was not closed is recovered first. When making one fails, no file is left behind.
    ///
    /// # Errors
    /// [`Error::Pool`]: in use (with the process that has it), not found, too small, no permission. [`Error::Path`] with
    /// `Damaged`: the file is no pool, or a damaged one, or one of a newer format.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Pool> {
        let path = path.as_ref();
        let make = match self.creation {
            Creation::Never => false,
            Creation::IfMissing => is_missing(path),
            Creation::Always => true,
        };
        if make {
            return self.make_at(path);
        }
        let access = match self.access {
            Access::ReadWrite => pool::Access::ReadWrite,
            Access::ReadOnly => pool::Access::ReadOnly,
        };
        let memory = FilePool::open(path, access)?;
        self.finish(Arc::new(memory), path)
    }

    /// Makes a pool in memory that lives as long as its handles; nothing can open it again.
    ///
    /// # Errors
    /// The size is missing or out of bounds; no memory, or too few huge pages.
    pub fn memory(&self) -> Result<Pool> {
        let path = Path::new("memory");
        let memory = MemfdPool::create("daxle-pool", self.bytes(path)?, self.huge)?;
        self.format(&memory, path)?;
        self.finish(Arc::new(memory), path)
    }

    fn make_at(&self, path: &Path) -> Result<Pool> {
        let existed = path.exists();
        let options = CreateOptions { preallocate: self.preallocate };
        let memory = FilePool::create(path, self.bytes(path)?, options)?;
        let opened = self.format(&memory, path).and_then(|()| self.finish(Arc::new(memory), path));
        if opened.is_err() && !existed {
            // The pool's own error says more than one about the removal could.
            let _ = std::fs::remove_file(path);
        }
        opened
    }

    fn bytes(&self, path: &Path) -> Result<u64> {
        let size = self.size.clone().ok_or_else(|| Error::NoSize(path.to_owned()))?;
        Ok(size.0?)
    }

    fn format(&self, memory: &dyn pool::Pool, path: &Path) -> Result<()> {
        let (uid, gid) = owner_of_process();
        let make = MakeOptions { label: self.label.clone(), root_uid: uid, root_gid: gid, ..MakeOptions::default() };
        Fs::make(memory, &make).doing_to("make a file system in", path)
    }

    fn finish(&self, memory: Arc<dyn pool::Pool>, path: &Path) -> Result<Pool> {
        let fs = Fs::open(memory, self.access).doing_to("open", path)?;
        Pool::new(fs, self.limits)
    }
}

/// Whether there is nothing to open: no file, or an empty one.
fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |metadata| metadata.is_file() && metadata.len() == 0,
    )
}
