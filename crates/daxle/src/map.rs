//! Mapped files.
//!
//! A [`Mapping`] owns a window (crate `mmu`) that is attached to the file in the engine. Its faults are served by
//! [`Fs::fault`](engine::fs::Fs::fault), on threads of the pool. Dropping it detaches the window first, so
//! that nothing translates any more, and gives the addresses back after.

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

use engine::FsError;
use engine::dax::{Eager, FaultError, Mmu, WindowId, WindowKind};
use engine::fs::Node;
use engine::types::PAGE_BYTES;
use mmu::window::{Handler, Place, Window};
use sys::memory::Protection;

use crate::error::{Doing, Error, Result};
use crate::file::File;
use crate::pool_handle::Inner;

/// Translations made at once when a file is mapped.
const EAGER_TRANSLATIONS: u32 = 1024;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapMode {
    /// Loads. A store is SIGSEGV.
    Read,
    /// Loads and stores of the file itself.
    Shared,
    /// Loads of the file; the first store to a page makes a copy that only this mapping sees. Whether a page that was
    /// not stored to follows later changes of the file is not specified, as in mmap(2): it does until it, or one near it,
    /// is loaded, and again after the file is punched or truncated there.
    Private,
}

/// Whether pages are touched when the file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Populate {
    /// They are touched when they are used.
    No,
    /// For loads: the first load of a page costs no fault.
    ForLoads,
    /// For stores, which allocates holes: neither does the first store.
    ForStores,
}

/// What is mapped, and how.
///
/// ```
/// # fn main() -> Result<(), daxle::Error> {
/// use daxle::{MapMode, MapOptions, Pool};
/// let pool = Pool::memory("32MiB")?;
/// let file = pool.create_file("f")?;
/// file.set_len(1 << 20)?;
/// let options = MapOptions::new().offset(8192).len(4096).mode(MapMode::Private);
/// # if !daxle::Mapping::is_possible() { return Ok(()) }
/// let map = file.map_with(&options)?;
/// map.write_at(b"mine", 0)?;
/// let mut in_file = [1; 4];
/// file.read_exact_at(&mut in_file, 8192)?;
/// assert_eq!(in_file, [0; 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct MapOptions {
    offset: u64,
    len: Option<u64>,
    mode: Option<MapMode>,
    populate: Populate,
    eager: u32,
}

/// A part of a file in the address space of the process.
///
/// # Access
/// Others may change the memory at any time, and truncation may take it away. So it is not shown as a slice. There are:
///
/// * copying accessors, [`read_at`](Mapping::read_at) and [`write_at`](Mapping::write_at): an access that cannot be
///   served is an error, and never ends the process;
/// * atomic accessors, such as [`load_u64`](Mapping::load_u64): as fast as a load, SIGBUS past the end;
/// * [`as_ptr`](Mapping::as_ptr) and [`as_mut_ptr`](Mapping::as_mut_ptr), with a contract.
///
/// # Semantics
/// As of mmap(2). A store to a hole allocates a block; if there is no space the access raises SIGBUS, and
/// [`last_error`](Mapping::last_error) tells. Past the end of the file accesses raise SIGBUS, and become possible when the
/// file grows. Stores are durable after [`flush`](Mapping::flush). The mapping keeps the file alive, and the pool
/// cannot be closed while it exists.
pub struct Mapping {
    id: WindowId,
    window: Arc<Window>,
    target: Arc<Target>,
    mode: MapMode,
    /// Where the mapping begins in the window's reservation.
    start: usize,
    len: usize,
    /// Byte of the file at which it begins.
    file_offset: u64,
}

/// What the fault handler needs. It holds it weakly: the window, which owns the handler, may be let go of under
/// locks, and a file may not.
struct Target {
    node: Node,
    pool: Arc<Inner>,
}

impl Default for MapOptions {
    fn default() -> MapOptions {
        MapOptions::new()
    }
}

impl MapOptions {
    /// The whole file, in the way the handle allows.
    pub fn new() -> MapOptions {
        MapOptions { offset: 0, len: None, mode: None, populate: Populate::No, eager: EAGER_TRANSLATIONS }
    }

    /// The byte of the file at which the mapping begins; any.
    pub fn offset(mut self, bytes: u64) -> Self {
        self.offset = bytes;
        self
    }

    /// Its length; up to the end of the file if not set. May reach past the end, for a file that will grow.
    pub fn len(mut self, bytes: u64) -> Self {
        self.len = Some(bytes);
        self
    }

    /// What it is for; shared if the handle is for writing, for loads otherwise, if not set.
    pub fn mode(mut self, mode: MapMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Whether its pages are touched at once.
    pub fn populate(mut self, populate: Populate) -> Self {
        self.populate = populate;
        self
    }

    /// How many translations are made at once; 1024 if not set. One covers all neighbouring pages whose blocks are
    /// neighbours. What is not translated faults when it is touched.
    pub fn eager_translations(mut self, translations: u32) -> Self {
        self.eager = translations;
        self
    }
}

impl Mapping {
    pub(crate) fn new(file: &File, options: &MapOptions) -> Result<Mapping> {
        let mode = checked_mode(file, options.mode)?;
        let len = options.len.unwrap_or_else(|| file.len().saturating_sub(options.offset));
        let bytes = options.offset..options.offset.checked_add(len).unwrap_or(options.offset);
        if bytes.is_empty() {
            let why = FsError::Invalid("the range is empty; extend the file with set_len, or give a length");
            return Err(why).doing("map");
        }
        let pages = engine::dax::pages_of(bytes);
        let kind = match mode {
            MapMode::Read => WindowKind::SharedRead,
            MapMode::Shared => WindowKind::SharedWrite,
            MapMode::Private => WindowKind::Private,
        };
        let pool = file.pool();
        let near = first_block(file, pages.start)?;
        let window = pool.windows()?.window(pool.fs.pool(), &Place { pages: pages.clone(), kind, near })?;

        // Copies for a private window are made when they are needed, and not before.
        let eager = if mode == MapMode::Private { 0 } else { options.eager };
        let eager = Eager { translations_max: eager };
        let id = pool.fs.attach(file.node(), window.clone(), eager).map_err(attach_error)?;
        let target = Arc::new(Target { node: file.node().clone(), pool: Arc::clone(pool) });
        window.serve_with(handler(&target, id));
        pool.mappings.fetch_add(1, SeqCst);

        let start = window.offset_bytes(pages.start) + (options.offset % PAGE_BYTES) as usize;
        let mapping = Mapping { id, window, target, mode, start, len: len as usize, file_offset: options.offset };
        mapping.populate(options.populate)?;
        Ok(mapping)
    }

    /// Whether files can be mapped here at all. When not, [`File::map`] says why and what to change.
    pub fn is_possible() -> bool {
        sys::uffd::Uffd::new(sys::uffd::Reach::EveryFault).is_ok()
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// False: no mapping is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it is for.
    pub fn mode(&self) -> MapMode {
        self.mode
    }

    /// The byte of the file at which it begins.
    pub fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// The address of its first byte.
    ///
    /// # Contract
    /// What the pointer is used for must hold for memory shared with other threads and programs: plain loads and
    /// slices are sound only while nobody changes the bytes, be it by stores, `write_at`, truncation or punching. An
    /// access past the end of the file, or one that cannot be served, raises SIGBUS. The pointer is good for
    /// `len()` bytes and until the mapping is dropped. It may be handed to system calls.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.as_mut_ptr()
    }

    /// The address of its first byte, for stores as well. Those into a mapping for loads are SIGSEGV. The contract is
    /// that of [`Mapping::as_ptr`].
    #[inline]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.window.reservation().as_ptr().wrapping_add(self.start)
    }

    /// Copies bytes from `offset` on out of the mapping.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::PastEnd`] past the end of the file, [`Error::Fault`] if a page could not be
    /// served. A part may have been copied.
    pub fn read_at(&self, buffer: &mut [u8], offset: usize) -> Result<()> {
        let at = self.place(offset, buffer.len())?;
        self.window.reservation().try_copy_out(at, buffer).map_err(|error| self.bus_error(&error))
    }

    /// Copies bytes to `offset` on into the mapping.
    ///
    /// # Errors
    /// As [`Mapping::read_at`], and [`Error::Handle`] if the mapping is for loads.
    pub fn write_at(&self, bytes: &[u8], offset: usize) -> Result<()> {
        if self.mode == MapMode::Read {
            return Err(Error::Handle { action: "store into the mapping", needed: "writing" });
        }
        let at = self.place(offset, bytes.len())?;
        self.window.reservation().try_copy_in(at, bytes).map_err(|error| self.bus_error(&error))
    }

    /// Makes what was stored into a range durable, with what is needed to find it again. Nothing to do for a private
    /// mapping. `flush(..)` is for all of it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]. The device failed; that is final: the pool is read-only until it is opened again.
    pub fn flush(&self, range: impl RangeBounds<usize>) -> Result<()> {
        let range = self.checked(range)?;
        if self.mode == MapMode::Private || range.is_empty() {
            return Ok(());
        }
        let bytes = self.file_offset + range.start as u64..self.file_offset + range.end as u64;
        let fs = &self.target.pool.fs;
        fs.msync(&self.target.node, engine::dax::pages_of(bytes)).doing("flush the mapping")
    }

    /// Checks the range and returns: the kernel writes stores back by itself in time, as it does after `MS_ASYNC`. Only
    /// [`Mapping::flush`] makes them durable.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn flush_async(&self, range: impl RangeBounds<usize>) -> Result<()> {
        self.checked(range).map(drop)
    }

    /// The last access that was answered with SIGBUS for another reason than the end of the file, if there was one since
    /// the last call. The pages concerned can be tried again after it.
    pub fn last_error(&self) -> Option<Error> {
        let failure = self.window.take_failure()?;
        let at = self.window.offset_bytes(failure.page);
        Some(Error::fault(at.saturating_sub(self.start) as u64, failure))
    }

    /// Touches pages, as far as the file reaches.
    fn populate(&self, populate: Populate) -> Result<()> {
        let protection = match populate {
            Populate::No => return Ok(()),
            Populate::ForStores if self.mode != MapMode::Read => Protection::ReadWrite,
            Populate::ForLoads | Populate::ForStores => Protection::Read,
        };
        let file_pages = self.target.node.size().div_ceil(PAGE_BYTES);
        let window = self.window.pages();
        let pages = window.start..window.end.min(file_pages);
        if pages.is_empty() {
            return Ok(());
        }
        let bytes = self.window.offset_bytes(pages.start)..self.window.offset_bytes(pages.end);
        let touched = self.window.reservation().populate(bytes, protection);
        match (touched, self.last_error()) {
            (_, Some(error)) => Err(error),
            // An error of the kernel and none of ours: the file was cut meanwhile, and accesses will tell.
            (Ok(()) | Err(sys::Errno::FAULT | sys::Errno::HWPOISON), None) => Ok(()),
            (Err(errno), None) => Err(FsError::Io(format!("touching pages failed: {errno}"))).doing("map"),
        }
    }

    /// Where a range stands in the reservation.
    #[inline]
    fn place(&self, offset: usize, len: usize) -> Result<usize> {
        if len > self.len || offset > self.len - len {
            return Err(self.out_of_range(offset, len));
        }
        Ok(self.start + offset)
    }

    #[cold]
    fn out_of_range(&self, offset: usize, len: usize) -> Error {
        Error::OutOfRange { offset: offset as u64, len: len as u64, mapping_len: self.len as u64 }
    }

    /// Where a word stands.
    #[inline]
    fn word(&self, offset: usize, size: usize) -> usize {
        assert!(
            offset <= self.len && size <= self.len - offset,
            "{size} bytes at {offset} lie outside a mapping of {} bytes",
            self.len
        );
        self.start + offset
    }

    fn checked(&self, range: impl RangeBounds<usize>) -> Result<Range<usize>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.len,
        };
        if start > end || end > self.len {
            return Err(self.out_of_range(start, end.saturating_sub(start)));
        }
        Ok(start..end)
    }

    fn bus_error(&self, error: &sys::access::BusError) -> Error {
        let offset = (error.offset - self.start) as u64;
        match self.window.take_failure() {
            Some(failure) => Error::fault(offset, failure),
            None => Error::PastEnd { offset },
        }
    }
}

/// Defines an atomic load and store of one width.
macro_rules! words {
    ($($load:ident $store:ident $type:ty),*) => {
        /// Words, in the processor's byte order, each in one go. The offset counts from the start of the mapping and the
        /// address that results must be a multiple of the word's size. Out of range and unaligned offsets panic. Past the end of
        /// the file, and if the page cannot be served, they raise SIGBUS; stores into a mapping for loads are SIGSEGV.
        impl Mapping {
            $(
                /// Loads a word (acquire).
                #[inline]
                pub fn $load(&self, offset: usize) -> $type {
                    self.window.reservation().$load(self.word(offset, size_of::<$type>()))
                }

                /// Stores a word (release).
                #[inline]
                pub fn $store(&self, offset: usize, value: $type) {
                    self.window.reservation().$store(self.word(offset, size_of::<$type>()), value);
                }
            )*

            /// Adds to a word and gives what it was (acquire and release).
            #[inline]
            pub fn fetch_add_u64(&self, offset: usize, value: u64) -> u64 {
                self.window.reservation().add_u64(self.word(offset, 8), value)
            }
        }
    };
}

words!(load_u8 store_u8 u8, load_u16 store_u16 u16, load_u32 store_u32 u32, load_u64 store_u64 u64);

impl Drop for Mapping {
    fn drop(&mut self) {
        drop(self.target.pool.fs.detach(&self.target.node, self.id));
        self.window.retire();
        self.target.pool.mappings.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("address", &self.as_ptr())
            .field("len", &self.len)
            .field("mode", &self.mode)
            .field("file_offset", &self.file_offset)
            .finish_non_exhaustive()
    }
}

/// The mode, if the handle and the pool allow it.
fn checked_mode(file: &File, asked: Option<MapMode>) -> Result<MapMode> {
    let rights = file.rights();
    let writable = rights.write && file.pool().fs.access() == engine::fs::Access::ReadWrite;
    let mode = asked.unwrap_or(if writable { MapMode::Shared } else { MapMode::Read });
    if !rights.read {
        return Err(Error::Handle { action: "map", needed: "reading" });
    }
    if mode == MapMode::Shared && !writable {
        return Err(Error::Handle { action: "map for stores", needed: "writing" });
    }
    Ok(mode)
}

/// The pool offset of the block behind a page, if it has one.
fn first_block(file: &File, page: u64) -> Result<Option<u64>> {
    let runs = file.pool().fs.runs(file.node(), page..page + 1).doing("map")?;
    let block = runs.first().and_then(|run| run.block_at(page));
    Ok(block.map(|block| block.0 * PAGE_BYTES))
}

fn handler(target: &Arc<Target>, id: WindowId) -> Handler {
    let target: Weak<Target> = Arc::downgrade(target);
    Box::new(move |page, access| {
        let target = target.upgrade().ok_or(FaultError::Gone)?;
        target.pool.fs.fault(&target.node, id, page, access)
    })
}

fn attach_error(error: FaultError) -> Error {
    match error {
        FaultError::Fs(source) => Error::Operation { action: "map", source },
        source => Error::Fault { offset: 0, source },
    }
}
