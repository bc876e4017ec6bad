//! A file in any directory as a view: `pread`, `pwrite`, a real shared mapping, `fallocate`.
//!
//! With it the tool can be tried on ext4 and tmpfs, and it is the view through a mount. The mapping covers the largest
//! size that the run may reach, so it need not move when the file grows.

use super::view::{View, ViewError};
use engine::types::{Fallocate, PAGE_BYTES};
use order::level;
use rustix::fd::AsFd;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use sys::memory::{Mapping, Protection};

/// Whether other views have a cache of their own, next to the kernel's page cache that this view goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caches {
    /// All views of the file go through the same page cache.
    One,
    /// Others do not see a store through the mapping before it is synced.
    Several,
}

/// A view of one file by its path.
#[derive(Debug)]
pub struct DirView {
    name: String,
    path: PathBuf,
    mapping_bytes: u64,
    caches: Caches,
    open: order::Mutex<level::Oracle, Arc<OpenFile>>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// The mapping, or the error number that mapping the file gave.
    mapping: Result<Mapping, i32>,
}

impl DirView {
    /// Opens the file at `path`, and creates it if it is not there. `len_max` is the largest size of the run.
    pub fn open(name: &str, path: &Path, len_max: u64, caches: Caches) -> io::Result<DirView> {
        let mapping_bytes = len_max.max(1).next_multiple_of(PAGE_BYTES);
        let open = order::Mutex::new(Arc::new(OpenFile::open(path, mapping_bytes)?));
        Ok(DirView { name: name.to_owned(), path: path.to_owned(), mapping_bytes, caches, open })
    }

    /// What is open now. The lock is not held when this returns.
    fn now(&self) -> Arc<OpenFile> {
        Arc::clone(&self.open.leaf())
    }
}

impl Drop for OpenFile {
    /// Where a FUSE file system is served by this very process, unmapping dirty pages can hang: `munmap` holds the lock of
    /// the address space while it waits for the server to write them, and the server's own page faults wait for that lock.
    fn drop(&mut self) {
        const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
        let on_fuse = rustix::fs::fstatfs(&self.file).is_ok_and(|facts| facts.f_type == FUSE_SUPER_MAGIC);
        if let (true, Ok(mapping)) = (on_fuse, &self.mapping) {
            let _ = mapping.sync_range(0, mapping.len());
        }
    }
}

impl OpenFile {
    fn open(path: &Path, mapping_bytes: u64) -> io::Result<OpenFile> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mapping =
            Mapping::of_file(file.as_fd(), mapping_bytes, Protection::ReadWrite).map_err(sys::Errno::raw_os_error);
        Ok(OpenFile { file, mapping })
    }

    /// The mapping, with all of the file that is there now. A kernel that caches the size of a file that others change
    /// learns of growth when it is asked for the size, and a page past what it knows raises SIGBUS; so a program that has
    /// not grown the file itself asks first.
    fn mapping(&self, caches: Caches) -> Result<&Mapping, ViewError> {
        if caches == Caches::Several {
            self.file.metadata().map_err(failed("fstat"))?;
        }
        self.mapping.as_ref().map_err(|&errno| ViewError::new(errno, "mmap"))
    }
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> ViewError + '_ {
    move |error| ViewError::new(error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()), what)
}

fn errno(what: &str) -> impl FnOnce(rustix::io::Errno) -> ViewError + '_ {
    move |errno| ViewError::new(errno.raw_os_error(), what)
}

/// The flags of `fallocate(2)` for a mode.
pub(super) fn flags(mode: Fallocate) -> FallocateFlags {
    match mode {
        Fallocate::Allocate => FallocateFlags::empty(),
        Fallocate::AllocateKeepSize => FallocateFlags::KEEP_SIZE,
        Fallocate::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Fallocate::Zero => FallocateFlags::ZERO_RANGE,
        Fallocate::ZeroKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        Fallocate::Collapse => FallocateFlags::COLLAPSE_RANGE,
        Fallocate::Insert => FallocateFlags::INSERT_RANGE,
    }
}

impl View for DirView {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, ViewError> {
        let open = self.now();
        let mut done = 0;
        while done < into.len() {
            match open.file.read_at(&mut into[done..], offset + done as u64).map_err(failed("pread"))? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<usize, ViewError> {
        self.now().file.write_all_at(from, offset).map_err(failed("pwrite"))?;
        Ok(from.len())
    }

    fn mapped_read(&self, offset: u64, into: &mut [u8]) -> Result<(), ViewError> {
        self.now().mapping(self.caches)?.read(offset, into);
        Ok(())
    }

    fn mapped_write(&self, offset: u64, from: &[u8]) -> Result<(), ViewError> {
        let open = self.now();
        let mapping = open.mapping(self.caches)?;
        mapping.write(offset, from);
        match self.caches {
            Caches::One => Ok(()),
            Caches::Several => mapping.sync_range(offset, from.len() as u64).map_err(errno("msync")),
        }
    }

    fn truncate(&self, size: u64) -> Result<(), ViewError> {
        self.now().file.set_len(size).map_err(failed("ftruncate"))
    }

    fn fallocate(&self, mode: Fallocate, offset: u64, len: u64) -> Result<(), ViewError> {
        fallocate(&self.now().file, flags(mode), offset, len).map_err(errno("fallocate"))
    }

    fn msync(&self, offset: u64, len: u64) -> Result<(), ViewError> {
        self.now().mapping(self.caches)?.sync_range(offset, len).map_err(errno("msync"))
    }

    fn fsync(&self) -> Result<(), ViewError> {
        self.now().file.sync_all().map_err(failed("fsync"))
    }

    fn reopen(&self) -> Result<(), ViewError> {
        let fresh = Arc::new(OpenFile::open(&self.path, self.mapping_bytes).map_err(failed("open"))?);
        let old = std::mem::replace(&mut *self.open.leaf(), fresh);
        drop(old);
        Ok(())
    }

    fn size(&self) -> Result<u64, ViewError> {
        Ok(self.now().file.metadata().map_err(failed("fstat"))?.len())
    }

    fn granule_bytes(&self) -> u64 {
        match self.caches {
            Caches::One => 1,
            Caches::Several => PAGE_BYTES,
        }
    }
}
