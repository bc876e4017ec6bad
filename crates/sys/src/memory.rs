//! A mapping of a whole pool, read and written by offset.
//!
//! The memory behind a [`Mapping`] is shared: other processes, windows and
//! the kernel may write it while we look. A `&[u8]` into it would be a promise
//! that nobody keeps, so there is none: bytes are copied out and in through
//! raw pointers, and words that several parties look at are atomics.
//!
//! Copies race with other writers of the same bytes as they do in any shared
//! memory program: a reader may see a mixture of old and new bytes, and the
//! layers above hold locks where that matters or check sums where they cannot.
//!
//! Every method checks its range; a range outside the mapping is a broken
//! invariant of the caller and panics. A mapping of a file whose size was cut
//! by somebody else raises SIGBUS; pools hold a lock on their file and never
//! cut it.

use crate::cpu::{self, LINE_BYTES};
use crate::{HUGE_BYTES, PAGE_BYTES, Result};
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use std::sync::atomic::{AtomicU64, Ordering};

/// What may be done with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Loads only; a store is a panic here and SIGSEGV through a window.
    Read,
    /// Loads and stores.
    ReadWrite,
}

impl Protection {
    pub(crate) fn flags(self) -> ProtFlags {
        match self {
            Protection::Read => ProtFlags::READ,
            Protection::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        }
    }
}

/// An owned mapping, unmapped when dropped. Its start is aligned to 2 MiB.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
    protection: Protection,
}

// SAFETY: (1) the mapping is plain memory with no thread affinity; (2) it is
// only reached through raw copies and atomics, never through references.
unsafe impl Send for Mapping {}
// SAFETY: as above; every method takes `&self` and tolerates racing writers.
unsafe impl Sync for Mapping {}

/// Copies shorter than this gain nothing from bypassing the cache.
const STREAM_BYTES_MIN: usize = 1024;

impl Mapping {
    /// Maps `len` bytes of the file from its start, shared. `len` is a whole
    /// number of pages (of the file's own page size on hugetlbfs).
    pub fn of_file(fd: BorrowedFd<'_>, len: u64, protection: Protection) -> Result<Mapping> {
        let len = checked_len(len)?;
        let (base, _) = reserve_aligned(len)?;
        // SAFETY: (1) the range was just reserved by us and nobody knows it,
        // so replacing it harms nobody; (2) the descriptor is borrowed for the
        // call and the mapping keeps its own reference to the file.
        let mapped = unsafe {
            mm::mmap(base.as_ptr().cast(), len, protection.flags(), MapFlags::SHARED | MapFlags::FIXED, fd, 0)
        };
        match mapped {
            Ok(_) => Ok(Mapping { base, len, protection }),
            Err(error) => {
                // SAFETY: the reservation is ours and unused.
                let _ = unsafe { mm::munmap(base.as_ptr().cast(), len) };
                Err(error)
            }
        }
    }

    /// Anonymous zeroed memory of `len` bytes (a whole number of pages): the
    /// heap of tests.
    pub fn anonymous(len: u64) -> Result<Mapping> {
        let len = checked_len(len)?;
        let (base, _) = reserve_aligned(len)?;
        Ok(Mapping { base, len, protection: Protection::ReadWrite })
    }

    /// Bytes mapped.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// False: a mapping is never empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the first byte, for those who must not overlap it.
    pub fn address(&self) -> usize {
        self.base.as_ptr() as usize
    }

    #[inline]
    fn at(&self, offset: u64, len: usize) -> *mut u8 {
        match usize::try_from(offset) {
            Ok(offset) if len <= self.len && offset <= self.len - len => {
                // SAFETY: the range lies inside the mapping, just checked.
                unsafe { self.base.as_ptr().add(offset) }
            }
            _ => out_of_bounds(offset, len as u64, self.len as u64),
        }
    }

    #[inline]
    fn writable_at(&self, offset: u64, len: usize) -> *mut u8 {
        assert!(self.protection == Protection::ReadWrite, "store into a read-only mapping");
        self.at(offset, len)
    }

    /// Copies the bytes at `offset` into `into`.
    #[inline]
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: (1) the source is mapped for its whole length; (2) `into` is
        // the caller's exclusive memory, so the two do not overlap.
        unsafe { copy_bytes(from, into.as_mut_ptr(), into.len()) };
    }

    /// Copies `from` to `offset` through the cache.
    #[inline]
    pub fn write(&self, offset: u64, from: &[u8]) {
        let to = self.writable_at(offset, from.len());
        // SAFETY: (1) the target is mapped writable for its whole length;
        // (2) `from` is ordinary memory of this process, outside the mapping.
        unsafe { copy_bytes(from.as_ptr(), to, from.len()) };
    }

    /// Copies `from` to `offset` around the cache and fences, so that the
    /// bytes are in memory when the call returns, but for the unaligned head
    /// and tail (less than a line each), which go through the cache, as does
    /// all of a copy shorter than 1 KiB.
    pub fn write_stream(&self, offset: u64, from: &[u8]) {
        if from.len() < STREAM_BYTES_MIN {
            return self.write(offset, from);
        }
        let to = self.writable_at(offset, from.len());
        let head = to.align_offset(LINE_BYTES).min(from.len());
        let lines = (from.len() - head) / LINE_BYTES;
        let tail = head + lines * LINE_BYTES;
        self.write(offset, &from[..head]);
        // SAFETY: (1) `head + lines * 64` bytes lie in both ranges; (2) the
        // target is aligned to a line; (3) the two do not overlap.
        unsafe { stream_lines(from.as_ptr().add(head), to.add(head), lines) };
        self.write(offset + tail as u64, &from[tail..]);
        cpu::fence();
    }

    /// Sets `len` bytes at `offset` to zero.
    #[inline]
    pub fn zero(&self, offset: u64, len: u64) {
        let len = len_of(offset, len, self.len);
        let to = self.writable_at(offset, len);
        // SAFETY: the target is mapped writable for its whole length.
        unsafe { ptr::write_bytes(to, 0, len) };
    }

    /// Copies `len` bytes from one place of the mapping to another; the two
    /// may overlap.
    pub fn copy_within(&self, from: u64, to: u64, len: u64) {
        let len = len_of(from.max(to), len, self.len);
        let source = self.at(from, len);
        let target = self.writable_at(to, len);
        // SAFETY: both ranges are mapped, and `copy` allows an overlap.
        unsafe { ptr::copy(source, target, len) };
    }

    /// Loads the little-endian word at `offset` (a multiple of 8) in one go,
    /// ordered after what its storer stored before it.
    #[inline]
    pub fn load_u64(&self, offset: u64) -> u64 {
        u64::from_le(self.atomic(offset).load(Ordering::Acquire))
    }

    /// Stores the little-endian word at `offset` (a multiple of 8) in one go,
    /// after all earlier stores of this thread.
    #[inline]
    pub fn store_u64(&self, offset: u64, value: u64) {
        assert!(self.protection == Protection::ReadWrite, "store into a read-only mapping");
        self.atomic(offset).store(value.to_le(), Ordering::Release);
    }

    #[inline]
    fn atomic(&self, offset: u64) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "word at the unaligned offset {offset}");
        #[allow(clippy::cast_ptr_alignment)] // asserted above
        let word = self.at(offset, 8).cast::<u64>();
        // SAFETY: (1) the word is mapped and aligned; (2) it lives as long as
        // the mapping, whose lifetime bounds the reference; (3) an atomic
        // tolerates other writers; a read-only page is only ever loaded.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Whether the bytes at `offset` equal `other`.
    pub fn equal(&self, offset: u64, other: &[u8]) -> bool {
        let _ = self.at(offset, other.len());
        let mut piece = [0; PAGE_BYTES];
        other.chunks(PAGE_BYTES).zip(0_u64..).all(|(expected, n)| {
            let piece = &mut piece[..expected.len()];
            self.read(offset + n * PAGE_BYTES as u64, piece);
            piece == expected
        })
    }

    /// Panics if the range lies outside the mapping.
    #[inline]
    pub fn check(&self, offset: u64, len: u64) {
        let _ = self.at(offset, len_of(offset, len, self.len));
    }

    /// Flushes the cache lines of a range; durable after the next
    /// [`cpu::fence`]. Does nothing where the processor has no such
    /// instruction.
    pub fn flush_lines(&self, offset: u64, len: u64) {
        let len = len_of(offset, len, self.len);
        let start = self.at(offset, len);
        // SAFETY: the range is mapped, just checked.
        unsafe { cpu::flush_lines(start, len) };
    }

    /// Fills the page tables of a range for writing, so that later stores do
    /// not fault one by one. The range is widened to whole pages.
    pub fn populate_write(&self, offset: u64, len: u64) -> Result<()> {
        let (start, len) = self.pages(offset, len);
        // SAFETY: populating changes no value; the pages are our own.
        unsafe { mm::madvise(start, len, Advice::LinuxPopulateWrite) }
    }

    /// Starts to write the pages of a range of a file back and waits for it
    /// (`msync(MS_SYNC)`).
    pub fn sync_range(&self, offset: u64, len: u64) -> Result<()> {
        let (start, len) = self.pages(offset, len);
        // SAFETY: syncing changes no value; the pages are our own.
        unsafe { mm::msync(start, len, mm::MsyncFlags::SYNC) }
    }

    fn pages(&self, offset: u64, len: u64) -> (*mut c_void, usize) {
        let len = len_of(offset, len, self.len);
        let _ = self.at(offset, len);
        let first = offset as usize & !(PAGE_BYTES - 1);
        let end = (offset as usize + len).next_multiple_of(PAGE_BYTES).min(self.len);
        (self.at(first as u64, end - first).cast(), end - first)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and no pointer into it outlives `self`.
        let unmapped = unsafe { mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of an owned range: {unmapped:?}");
    }
}

/// Pieces of this length are copied by vector instructions in any C library.
const PIECE_BYTES: usize = 2048;

/// `ptr::copy_nonoverlapping`, but never slow.
///
/// C libraries copy a page and more by `rep movsb`. Where the target lies less
/// than a line after the source, modulo the page, processors do that byte by
/// byte: 1,600 ns for 4 KiB instead of 60. And so it is with every page that
/// is copied into a large heap buffer, which starts 16 bytes into a page.
///
/// # Safety
/// As of `ptr::copy_nonoverlapping`.
#[inline]
pub(crate) unsafe fn copy_bytes(from: *const u8, to: *mut u8, len: usize) {
    let ahead = (to as usize).wrapping_sub(from as usize) % PAGE_BYTES;
    if len <= PIECE_BYTES || ahead == 0 || ahead >= LINE_BYTES {
        // SAFETY: the caller's.
        return unsafe { ptr::copy_nonoverlapping(from, to, len) };
    }
    let mut done = 0;
    while done < len {
        let piece = PIECE_BYTES.min(len - done);
        // SAFETY: a part of both ranges, for which the caller vouches.
        unsafe { ptr::copy_nonoverlapping(from.add(done), to.add(done), piece) };
        done += piece;
    }
}

#[cold]
#[inline(never)]
fn out_of_bounds(offset: u64, len: u64, all: u64) -> ! {
    panic!("range of {len} bytes at {offset} lies outside a mapping of {all} bytes")
}

#[inline]
fn len_of(offset: u64, len: u64, all: usize) -> usize {
    match usize::try_from(len) {
        Ok(len) if len <= all => len,
        _ => out_of_bounds(offset, len, all as u64),
    }
}

fn checked_len(len: u64) -> Result<usize> {
    let len = usize::try_from(len).map_err(|_| Errno::OVERFLOW)?;
    if len == 0 || !len.is_multiple_of(PAGE_BYTES) {
        return Err(Errno::INVAL);
    }
    Ok(len)
}

/// Reserves `len` bytes of anonymous memory that start at a multiple of 2 MiB.
/// Gives the start and its address.
pub(crate) fn reserve_aligned(len: usize) -> Result<(NonNull<u8>, usize)> {
    let wide = len.checked_add(HUGE_BYTES).ok_or(Errno::NOMEM)?;
    // SAFETY: a new mapping at an address of the kernel's choice touches
    // nothing that exists.
    let start = unsafe {
        mm::mmap_anonymous(
            ptr::null_mut(),
            wide,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    }?
    .cast::<u8>();
    let head = start.align_offset(HUGE_BYTES);
    let base = start.wrapping_add(head);
    // SAFETY: (1) both pieces are part of the mapping just made and unused;
    // (2) failing to give them back costs address space only.
    unsafe {
        if head > 0 {
            let _ = mm::munmap(start.cast(), head);
        }
        if head < HUGE_BYTES {
            let _ = mm::munmap(base.wrapping_add(len).cast(), HUGE_BYTES - head);
        }
    }
    let base = NonNull::new(base).ok_or(Errno::NOMEM)?;
    Ok((base, base.as_ptr() as usize))
}

/// Copies whole lines around the cache.
///
/// # Safety
/// Both ranges hold `lines * 64` bytes and do not overlap; `to` is aligned to
/// 64 bytes.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_ptr_alignment)] // loads are unaligned ones, `to` is aligned
unsafe fn stream_lines(from: *const u8, to: *mut u8, lines: usize) {
    use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    let from = from.cast::<__m128i>();
    let to = to.cast::<__m128i>();
    for line in 0..lines {
        // SAFETY: (1) line `line` lies inside both ranges by the contract;
        // (2) loads may be unaligned, the streamed stores are aligned;
        // (3) SSE2 is part of x86-64.
        unsafe {
            let (source, target) = (from.add(line * 4), to.add(line * 4));
            let a = _mm_loadu_si128(source);
            let b = _mm_loadu_si128(source.add(1));
            let c = _mm_loadu_si128(source.add(2));
            let d = _mm_loadu_si128(source.add(3));
            _mm_stream_si128(target, a);
            _mm_stream_si128(target.add(1), b);
            _mm_stream_si128(target.add(2), c);
            _mm_stream_si128(target.add(3), d);
        }
    }
}

/// Copies whole lines (this processor has no streamed stores that we know).
///
/// # Safety
/// Both ranges hold `lines * 64` bytes and do not overlap.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn stream_lines(from: *const u8, to: *mut u8, lines: usize) {
    // SAFETY: as the contract says.
    unsafe { ptr::copy_nonoverlapping(from, to, lines * LINE_BYTES) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use rustix::fd::AsFd;

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    #[test]
    fn what_was_written_is_read_and_the_neighbours_are_not_touched() {
        let memory = Mapping::anonymous(1 << 20).expect("map");
        let data = pattern(5000);
        memory.write(4095, &data);
        let mut back = vec![0xff; 5002];
        memory.read(4094, &mut back);
        assert_eq!(back[0], 0);
        assert_eq!(&back[1..5001], &data[..]);
        assert_eq!(back[5001], 0);
        assert!(memory.equal(4095, &data));
        assert!(!memory.equal(4096, &data));
    }

    #[test]
    fn a_streamed_copy_is_the_same_at_every_alignment() {
        let memory = Mapping::anonymous(1 << 20).expect("map");
        for start in [0_usize, 1, 7, 15, 16, 63, 64, 65, 4095] {
            for len in [0_usize, 1, 100, 1023, 1024, 1025, 4096, 10_007] {
                memory.zero(0, 32_768);
                let data = pattern(len);
                memory.write_stream(start as u64 + 64, &data);
                let mut all = vec![0; 32_768];
                memory.read(0, &mut all);
                assert_eq!(&all[start + 64..start + 64 + len], &data[..], "{start}+{len}");
                assert!(all[..start + 64].iter().all(|b| *b == 0));
                assert!(all[start + 64 + len..].iter().all(|b| *b == 0));
            }
        }
    }

    #[test]
    fn copying_within_allows_an_overlap() {
        let memory = Mapping::anonymous(64 << 10).expect("map");
        let data = pattern(9000);
        memory.write(100, &data);
        memory.copy_within(100, 200, 9000);
        assert!(memory.equal(200, &data));
        memory.zero(200, 9000);
        assert!(memory.equal(200, &vec![0; 9000]));
    }

    #[test]
    fn words_are_little_endian() {
        let memory = Mapping::anonymous(4096).expect("map");
        memory.store_u64(16, 0x0102_0304_0506_0708);
        assert_eq!(memory.load_u64(16), 0x0102_0304_0506_0708);
        assert!(memory.equal(16, &[8, 7, 6, 5, 4, 3, 2, 1]));
    }

    #[test]
    #[should_panic(expected = "lies outside")]
    fn a_range_past_the_end_is_refused() {
        Mapping::anonymous(4096).expect("map").write(4095, &[1, 2]);
    }

    #[test]
    #[should_panic(expected = "lies outside")]
    fn a_range_whose_end_overflows_is_refused() {
        Mapping::anonymous(4096).expect("map").zero(u64::MAX, 4);
    }

    #[test]
    #[should_panic(expected = "unaligned")]
    fn an_unaligned_word_is_refused() {
        Mapping::anonymous(4096).expect("map").load_u64(4);
    }

    #[test]
    fn two_mappings_of_one_file_are_the_same_memory() {
        let fd = file::memfd("two-mappings", file::MemoryPages::Small).expect("memfd");
        file::set_len(fd.as_fd(), 1 << 20).expect("size");
        let a = Mapping::of_file(fd.as_fd(), 1 << 20, Protection::ReadWrite).expect("map");
        let b = Mapping::of_file(fd.as_fd(), 1 << 20, Protection::Read).expect("map");
        assert!(a.address().is_multiple_of(HUGE_BYTES));
        a.populate_write(5000, 100_000).expect("populate");
        a.write(12_345, b"shared");
        a.flush_lines(12_345, 6);
        cpu::fence();
        assert!(b.equal(12_345, b"shared"));
        a.sync_range(12_345, 6).expect("msync");
    }
}
