//! Loads and stores through a window.
//!
//! These are the accesses of programs that do not want pointers: by offset,
//! checked against the window, through raw copies and atomics, since the
//! memory is shared with everybody who has the file. They may sleep at traps.
//!
//! Past the end they raise SIGBUS, as any access does; the `try_` ones give
//! [`BusError`] instead.

use crate::fixup;
use crate::memory::copy_bytes;
use crate::window::Reservation;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use thiserror::Error;

/// An access met the end of the file or broken memory.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("bus error at offset {offset} of the window, {done} bytes into the access")]
pub struct BusError {
    /// Offset into the window of the first byte that was not reached.
    pub offset: usize,
    /// Bytes that were copied.
    pub done: usize,
}

/// Defines an atomic load and store of one width.
macro_rules! word {
    ($load:ident, $store:ident, $type:ty, $atomic:ty) => {
        /// Loads a word of the processor's byte order in one go (acquire).
        /// The offset is a multiple of its size.
        #[inline]
        pub fn $load(&self, offset: usize) -> $type {
            self.word::<$atomic>(offset).load(Ordering::Acquire)
        }

        /// Stores a word of the processor's byte order in one go (release).
        /// The offset is a multiple of its size. A store to a read-only range
        /// raises SIGSEGV.
        #[inline]
        pub fn $store(&self, offset: usize, value: $type) {
            self.word::<$atomic>(offset).store(value, Ordering::Release);
        }
    };
}

impl Reservation {
    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            len <= self.len() && offset <= self.len() - len,
            "{len} bytes at {offset} lie outside a window of {} bytes",
            self.len()
        );
        self.as_ptr().wrapping_add(offset)
    }

    #[inline]
    fn word<A>(&self, offset: usize) -> &A {
        assert!(offset.is_multiple_of(size_of::<A>()), "word at the unaligned offset {offset}");
        let word = self.at(offset, size_of::<A>()).cast::<A>();
        // SAFETY: (1) `A` is one of the four atomics below; (2) the place is
        // mapped, aligned, and lives as long as the reservation, which the
        // reference borrows; (3) atomics tolerate other writers, and a page
        // that changes under them is a fault that is served, or a signal.
        unsafe { &*word }
    }

    word!(load_u8, store_u8, u8, AtomicU8);
    word!(load_u16, store_u16, u16, AtomicU16);
    word!(load_u32, store_u32, u32, AtomicU32);
    word!(load_u64, store_u64, u64, AtomicU64);

    /// Adds to a word in one go and gives what it was.
    pub fn add_u64(&self, offset: usize, value: u64) -> u64 {
        self.word::<AtomicU64>(offset).fetch_add(value, Ordering::AcqRel)
    }

    /// Copies bytes out of the window.
    #[inline]
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: (1) the source is inside the window; (2) `into` is the
        // caller's exclusive memory.
        unsafe { copy_bytes(from, into.as_mut_ptr(), into.len()) };
    }

    /// Copies bytes into the window.
    #[inline]
    pub fn copy_in(&self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: (1) the target is inside the window; (2) `from` is ordinary
        // memory outside of it.
        unsafe { copy_bytes(from.as_ptr(), to, from.len()) };
    }

    /// Copies bytes out of the window; SIGBUS becomes an error.
    pub fn try_copy_out(&self, offset: usize, into: &mut [u8]) -> Result<(), BusError> {
        let from = self.at(offset, into.len());
        // SAFETY: as in `copy_out`.
        let left = unsafe { fixup::copy(into.as_mut_ptr(), from, into.len()) };
        outcome(offset, into.len(), left)
    }

    /// Copies bytes into the window; SIGBUS becomes an error.
    pub fn try_copy_in(&self, offset: usize, from: &[u8]) -> Result<(), BusError> {
        let to = self.at(offset, from.len());
        // SAFETY: as in `copy_in`.
        let left = unsafe { fixup::copy(to, from.as_ptr(), from.len()) };
        outcome(offset, from.len(), left)
    }
}

fn outcome(offset: usize, len: usize, left: usize) -> Result<(), BusError> {
    match left {
        0 => Ok(()),
        left => Err(BusError { offset: offset + len - left, done: len - left }),
    }
}
