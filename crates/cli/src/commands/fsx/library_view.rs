//! A file of the library as a view: its calls, and, if asked for, loads and stores through its mapping.

use daxle::{Error, File, MapOptions, Mapping};
use engine::types::Fallocate;
use oracle::fsx::{View, ViewError};
use order::level;
use std::sync::Arc;

/// The view.
#[derive(Debug)]
pub struct LibraryView {
    file: File,
    len_max: u64,
    mapping: Option<order::Mutex<level::Oracle, Arc<Mapping>>>,
}

impl LibraryView {
    /// The library's calls alone.
    pub fn calls(file: File) -> LibraryView {
        LibraryView { file, len_max: 0, mapping: None }
    }

    /// Maps `len_max` bytes of the file, however long it is now.
    pub fn mapped(file: File, len_max: u64) -> Result<LibraryView, Error> {
        let mapping = Some(order::Mutex::new(Arc::new(map(&file, len_max)?)));
        Ok(LibraryView { file, len_max, mapping })
    }

    fn mapping(&self) -> Result<Arc<Mapping>, ViewError> {
        let slot = self.mapping.as_ref().ok_or_else(|| ViewError::unsupported("this view does not map"))?;
        Ok(Arc::clone(&slot.leaf()))
    }
}

fn map(file: &File, len_max: u64) -> Result<Mapping, Error> {
    file.map_with(&MapOptions::new().len(len_max))
}

fn failed(what: &str) -> impl Fn(Error) -> ViewError + '_ {
    move |error| ViewError::new(error.errno(), format!("{what}: {error}"))
}

impl View for LibraryView {
    fn name(&self) -> &'static str {
        if self.mapping.is_some() { "map" } else { "api" }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, ViewError> {
        self.file.read_at(into, offset).map_err(failed("read_at"))
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<usize, ViewError> {
        self.file.write_at(from, offset).map_err(failed("write_at"))
    }

    fn mapped_read(&self, offset: u64, into: &mut [u8]) -> Result<(), ViewError> {
        self.mapping()?.read_at(into, offset as usize).map_err(failed("load"))
    }

    fn mapped_write(&self, offset: u64, from: &[u8]) -> Result<(), ViewError> {
        self.mapping()?.write_at(from, offset as usize).map_err(failed("store"))
    }

    fn truncate(&self, size: u64) -> Result<(), ViewError> {
        self.file.set_len(size).map_err(failed("set_len"))
    }

    fn fallocate(&self, mode: Fallocate, offset: u64, len: u64) -> Result<(), ViewError> {
        match mode {
            Fallocate::Allocate => self.file.allocate(offset, len),
            Fallocate::AllocateKeepSize => self.file.allocate_keep_size(offset, len),
            Fallocate::Punch => self.file.punch_hole(offset, len),
            Fallocate::Zero => self.file.zero_range(offset, len),
            Fallocate::ZeroKeepSize => self.file.zero_range_keep_size(offset, len),
            Fallocate::Collapse => self.file.collapse_range(offset, len),
            Fallocate::Insert => self.file.insert_range(offset, len),
        }
        .map_err(failed("allocate"))
    }

    fn msync(&self, offset: u64, len: u64) -> Result<(), ViewError> {
        self.mapping()?.flush(offset as usize..(offset + len) as usize).map_err(failed("flush"))
    }

    fn fsync(&self) -> Result<(), ViewError> {
        self.file.sync_all().map_err(failed("sync_all"))
    }

    fn reopen(&self) -> Result<(), ViewError> {
        let Some(slot) = &self.mapping else { return Ok(()) };
        let fresh = Arc::new(map(&self.file, self.len_max).map_err(failed("map"))?);
        let old = std::mem::replace(&mut *slot.leaf(), fresh);
        drop(old);
        Ok(())
    }

    fn size(&self) -> Result<u64, ViewError> {
        Ok(self.file.len())
    }
}
