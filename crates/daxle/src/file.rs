//! Open files.
//!
//! Reading and writing copy between the caller's memory and the pool's; there is no system call and no cache.
//! A handle keeps the file alive, also when it has lost its last name.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use engine::fs::Node;
use engine::types::{self, Fallocate, Ino, SetAttr, SyncKind, TimeOrNow};

use crate::error::{Doing, Error, Result};
use crate::map::{MapOptions, Mapping};
use crate::metadata::Metadata;
use crate::pool_handle::Inner;

/// What a handle was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub read: bool,
    pub write: bool,
}

/// An open file.
#[derive(Clone)]
pub struct File {
    pool: Arc<Inner>,
    node: Node,
    rights: Rights,
}

/// Times to set with [`File::set_times`]; what is not set stays.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct FileTimes {
    accessed: Option<SystemTime>,
    modified: Option<SystemTime>,
}

/// A file with a position, for `std::io`.
#[derive(Clone, Debug)]
pub struct Cursor {
    file: File,
    position: u64,
}

impl File {
    pub(crate) fn new(pool: Arc<Inner>, node: Node, rights: Rights) -> File {
        File { pool, node, rights }
    }

    pub(crate) fn for_all(pool: Arc<Inner>, node: Node) -> File {
        File::new(pool, node, Rights { read: true, write: true })
    }

    pub(crate) fn pool(&self) -> &Arc<Inner> {
        &self.pool
    }

    pub(crate) fn rights(&self) -> Rights {
        self.rights
    }

    /// The engine's name for it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its inode number.
    pub fn ino(&self) -> Ino {
        self.node.ino()
    }

    fn for_reading(&self, action: &'static str) -> Result<()> {
        if self.rights.read { Ok(()) } else { Err(Error::Handle { action, needed: "reading" }) }
    }

    fn for_writing(&self, action: &'static str) -> Result<()> {
        if self.rights.write { Ok(()) } else { Err(Error::Handle { action, needed: "writing" }) }
    }

    /// Copies bytes from `offset` on into `buffer` and gives how many: fewer only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.for_reading("read")?;
        self.pool.fs.read(&self.node, offset, buffer).doing("read")
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// [`Error::Short`] if the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let done = self.read_at(buffer, offset)?;
        if done < buffer.len() {
            return Err(Error::Short { action: "read", done, wanted: buffer.len() });
        }
        Ok(())
    }

    /// All of it.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            // The size may change between the question and the copy.
            let want = usize::try_from(self.len().saturating_sub(all.len() as u64)).unwrap_or(usize::MAX).min(64 << 20);
            let start = all.len();
            all.resize(start + want.max(1), 0);
            let done = self.read_at(&mut all[start..], start as u64)?;
            all.truncate(start + done);
            if done == 0 {
                return Ok(all);
            }
        }
    }

    /// Copies `bytes` to `offset` on and gives how many: fewer only if space ran out midway. Grows the file as needed.
    ///
    /// Others see all of it or nothing of it, as far as they use `read_at`. Durable after [`File::sync_data`].
    ///
    /// # Errors
    /// No space, file too large, the pool is read-only; nothing has changed then.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.for_writing("write")?;
        let range = offset..offset.saturating_add(bytes.len() as u64);
        self.about_to_change(&range);
        let done = self.pool.fs.write(&self.node, offset, bytes).doing("write")?;
        self.changed(range);
        Ok(done)
    }

    /// Copies all of `bytes`.
    ///
    /// # Errors
    /// As [`File::write_at`]; a part may have been written if space ran out.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write_at(&bytes[done..], offset + done as u64)? {
                0 => return Err(Error::Short { action: "write", done, wanted: bytes.len() }),
                step => done += step,
            }
        }
        Ok(())
    }

    /// Copies `bytes` to the end, in one step with finding it, and gives where they are.
    ///
    /// # Errors
    /// As [`File::write_at`]. [`Error::Short`] if space ran out midway.
    pub fn append(&self, bytes: &[u8]) -> Result<u64> {
        self.for_writing("append")?;
        self.about_to_change(&(self.len()..u64::MAX));
        let (offset, done) = self.pool.fs.append(&self.node, bytes).doing("append")?;
        self.changed(offset..offset + done as u64);
        if done < bytes.len() {
            return Err(Error::Short { action: "append", done, wanted: bytes.len() });
        }
        Ok(offset)
    }

    /// Size in bytes. Takes no lock.
    #[allow(clippy::len_without_is_empty)] // a file, not a collection
    pub fn len(&self) -> u64 {
        self.node.size()
    }

    /// Attributes.
    pub fn metadata(&self) -> Result<Metadata> {
        self.pool.fs.attr(&self.node).doing("stat").map(Metadata::new)
    }

    /// Cuts the file, or extends it with a hole.
    ///
    /// Mappings past the new end raise SIGBUS from then on.
    pub fn set_len(&self, bytes: u64) -> Result<()> {
        self.for_writing("set the length")?;
        self.set_attributes(&SetAttr { size: Some(bytes), ..SetAttr::default() }).map(drop)
    }

    /// Sets permission bits (`0o7777`).
    pub fn set_permissions(&self, mode: u32) -> Result<()> {
        self.set_attributes(&SetAttr { mode: Some(mode), ..SetAttr::default() }).map(drop)
    }

    /// Sets owner, group, or both.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.set_attributes(&SetAttr { uid, gid, ..SetAttr::default() }).map(drop)
    }

    /// Sets times.
    pub fn set_times(&self, times: FileTimes) -> Result<()> {
        let time = |time: SystemTime| TimeOrNow::Time(time.into());
        let (atime, mtime) = (times.accessed.map(time), times.modified.map(time));
        self.set_attributes(&SetAttr { atime, mtime, ..SetAttr::default() }).map(drop)
    }

    pub(crate) fn set_attributes(&self, set: &SetAttr) -> Result<Metadata> {
        let old = self.len();
        let cut = set.size.map(|size| size.min(old)..u64::MAX);
        if let Some(cut) = &cut {
            self.about_to_change(cut);
        }
        let attr = self.pool.fs.set_attr(&self.node, set).doing("change attributes")?;
        match cut {
            Some(cut) => self.changed(cut),
            None => self.pool.listeners.tell(|listener| listener.attr_changed(self.ino())),
        }
        Ok(Metadata::new(attr))
    }

    /// Gets space for a range, so that writing and storing there cannot fail for want of it. It reads as zeros where
    /// nothing was written. The file grows to the range's end.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        self.fallocate(Fallocate::Allocate, offset, len, "allocate space")
    }

    /// As [`File::allocate`]; the size stays.
    pub fn allocate_keep_size(&self, offset: u64, len: u64) -> Result<()> {
        self.fallocate(Fallocate::AllocateKeepSize, offset, len, "allocate space")
    }

    /// Gives the space of a range back; it reads as zeros. The size stays. What mappings stored there is gone, private
    /// copies stay.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        self.fallocate(Fallocate::Punch, offset, len, "punch a hole")
    }

    /// Makes a range read as zeros and keeps, or gets, space for it. The file grows to the range's end.
    pub fn zero_range(&self, offset: u64, len: u64) -> Result<()> {
        self.fallocate(Fallocate::Zero, offset, len, "zero a range")
    }

    /// As [`File::zero_range`]; the size stays.
    pub fn zero_range_keep_size(&self, offset: u64, len: u64) -> Result<()> {
        self.fallocate(Fallocate::ZeroKeepSize, offset, len, "zero a range")
    }

    /// Takes a range out; what follows moves down. Whole blocks, and not up to the end of the file.
    pub fn collapse_range(&self, offset: u64, len: u64) -> Result<()> {
        self.fallocate(Fallocate::Collapse, offset, len, "collapse a range")
    }

    /// Opens a hole at `offset`; what follows moves up. Whole blocks, inside the file.
    pub fn insert_range(&self, offset: u64, len: u64) -> Result<()> {
        self.fallocate(Fallocate::Insert, offset, len, "insert a range")
    }

    fn fallocate(&self, how: Fallocate, offset: u64, len: u64, action: &'static str) -> Result<()> {
        self.for_writing(action)?;
        let end = match how {
            Fallocate::Collapse | Fallocate::Insert => u64::MAX,
            _ => offset.saturating_add(len),
        };
        self.about_to_change(&(offset..end));
        self.pool.fs.allocate(&self.node, how, offset, len).doing(action)?;
        self.changed(offset..end);
        Ok(())
    }

    /// The next offset from `offset` on that holds data; nothing if there is none.
    pub fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        self.seek(offset, types::Seek::Data)
    }

    /// The next offset from `offset` on that lies in a hole, the end of the file at the latest; nothing past the end.
    pub fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        self.seek(offset, types::Seek::Hole)
    }

    fn seek(&self, offset: u64, what: types::Seek) -> Result<Option<u64>> {
        match self.pool.fs.seek(&self.node, offset, what) {
            Err(engine::FsError::PastEnd) => Ok(None),
            found => found.doing("look for data").map(Some),
        }
    }

    /// Makes content and attributes durable, stores through mappings included.
    ///
    /// # Errors
    /// The device failed. That is final: the pool is read-only until it is opened again.
    pub fn sync_all(&self) -> Result<()> {
        self.pool.fs.sync_node(&self.node, SyncKind::All).doing("sync")
    }

    /// Makes content durable, and what is needed to read it.
    ///
    /// # Errors
    /// As [`File::sync_all`].
    pub fn sync_data(&self) -> Result<()> {
        self.pool.fs.sync_node(&self.node, SyncKind::Data).doing("sync")
    }

    /// Maps the whole file; shared and writable if the handle is for writing, else for reading.
    ///
    /// # Errors
    /// See [`File::map_with`].
    pub fn map(&self) -> Result<Mapping> {
        self.map_with(&MapOptions::new())
    }

    /// Maps a part of the file.
    ///
    /// # Errors
    /// [`Error::Map`] if page faults cannot be trapped here (it says what to change) or the pool is no file;
    /// [`Error::Handle`] if the handle is not for this; `Busy` while a mount has the file open through its page cache.
    pub fn map_with(&self, options: &MapOptions) -> Result<Mapping> {
        Mapping::new(self, options)
    }

    /// The file with a position, for `std::io`.
    pub fn cursor(&self) -> Cursor {
        Cursor { file: self.clone(), position: 0 }
    }

    fn about_to_change(&self, bytes: &Range<u64>) {
        self.pool.listeners.tell(|listener| listener.about_to_change(self.ino(), bytes.clone()));
    }

    fn changed(&self, bytes: Range<u64>) {
        self.pool.listeners.tell(|listener| listener.changed(self.ino(), bytes.clone()));
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("ino", &self.ino()).field("rights", &self.rights).finish_non_exhaustive()
    }
}

impl FileTimes {
    /// Nothing set yet.
    pub fn new() -> FileTimes {
        FileTimes::default()
    }

    /// When it was read last.
    pub fn set_accessed(mut self, time: SystemTime) -> Self {
        self.accessed = Some(time);
        self
    }

    /// When its content was changed last.
    pub fn set_modified(mut self, time: SystemTime) -> Self {
        self.modified = Some(time);
        self
    }
}

impl Cursor {
    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let done = self.file.read_at(buffer, self.position)?;
        self.position += done as u64;
        Ok(done)
    }
}

impl Write for Cursor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.file.write_at(bytes, self.position)?;
        self.position += done as u64;
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.file.len().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
