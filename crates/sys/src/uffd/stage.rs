//! Where traps wait until they are put.
//!
//! A stage is anonymous memory that nobody touches, registered once. `mremap`
//! with `DONTUNMAP` moves its (empty) pages over the target, the registration
//! with them, and leaves the stage as it was, ready for the next use: one
//! system call puts a trap, in one step for every other thread.
//!
//! There are three. Two catch everything, one for windows that may be written
//! and one for those that may not (protection moves along). The third gives
//! zeros to loads and catches stores; its pages must be protected before each
//! use, as the marks move along too, so it is cut into slots, each used by one
//! thread at a time.
//!
//! Stages are not inherited by children, and neither are the traps made from
//! them: a child that touches one gets SIGSEGV instead of silent zeros.

use super::{Catch, Stores, register, write_protect};
use crate::memory::{Protection, reserve_aligned};
use crate::{Errno, HUGE_BYTES, PAGE_BYTES, Result, ballast};
use core::ffi::c_void;
use core::ops::Range;
use rustix::fd::OwnedFd;
use rustix::mm::{self, Advice, MprotectFlags, MremapFlags};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that one call puts. Costs address space only.
const STAGE_BYTES: usize = 1 << 30;

/// Slots of the stage of holes, each of 2 MiB.
const SLOTS: usize = 64;

/// What loads of an empty page get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageFill {
    /// A message.
    Trap,
    /// Zeros.
    Zeros,
}

#[derive(Debug)]
pub(crate) struct Stages {
    writable: Stage,
    read_only: Stage,
    holes: Stage,
    /// One bit for each slot in use.
    slots: AtomicU64,
}

#[derive(Debug)]
struct Stage {
    start: usize,
    len: usize,
}

impl Stages {
    pub(super) fn new(fd: &OwnedFd) -> Result<Stages> {
        Ok(Stages {
            writable: Stage::new(fd, STAGE_BYTES, Protection::ReadWrite, Catch::All)?,
            read_only: Stage::new(fd, STAGE_BYTES, Protection::Read, Catch::All)?,
            holes: Stage::new(fd, SLOTS * HUGE_BYTES, Protection::ReadWrite, Catch::Protected)?,
            slots: AtomicU64::new(0),
        })
    }

    /// Puts traps over a range of addresses.
    ///
    /// # Safety
    /// The range is whole pages of a reservation that the caller owns, whose
    /// content may go.
    pub(crate) unsafe fn put(
        &self,
        fd: &OwnedFd,
        target: &Range<usize>,
        fill: PageFill,
        protection: Protection,
    ) -> Result<()> {
        let step = match fill {
            PageFill::Trap => STAGE_BYTES,
            PageFill::Zeros => HUGE_BYTES,
        };
        let mut start = target.start;
        while start < target.end {
            // Steps end at multiples of their size, so that whole page tables move.
            let end = (start + 1).next_multiple_of(step).min(target.end);
            // SAFETY: the piece is part of the caller's range.
            unsafe {
                match (fill, protection) {
                    (PageFill::Trap, Protection::ReadWrite) => self.writable.put(0, start, end - start)?,
                    (PageFill::Trap, Protection::Read) => self.read_only.put(0, start, end - start)?,
                    (PageFill::Zeros, _) => self.put_holes(fd, start, end - start)?,
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Puts at most 2 MiB of holes.
    ///
    /// # Safety
    /// As for [`Stages::put`].
    unsafe fn put_holes(&self, fd: &OwnedFd, target: usize, len: usize) -> Result<()> {
        let slot = self.claim();
        let offset = slot * HUGE_BYTES + target % HUGE_BYTES;
        let start = self.holes.start + offset;
        let put = write_protect(fd, &(start..start + len), Stores::Trapped)
            // SAFETY: the caller's promise.
            .and_then(|()| unsafe { self.holes.put(offset, target, len) });
        self.slots.fetch_and(!(1 << slot), Ordering::Release);
        put
    }

    /// Takes a slot; more than 64 threads at once wait for each other.
    fn claim(&self) -> usize {
        loop {
            let used = self.slots.load(Ordering::Relaxed);
            let free = used.trailing_ones() as usize;
            let taken = free < SLOTS
                && self.slots.compare_exchange(used, used | 1 << free, Ordering::Acquire, Ordering::Relaxed).is_ok();
            if taken {
                return free;
            }
            rustix::thread::sched_yield();
        }
    }
}

impl Stage {
    fn new(fd: &OwnedFd, len: usize, protection: Protection, catch: Catch) -> Result<Stage> {
        let (base, start) = reserve_aligned(len)?;
        let stage = Stage { start, len };
        let base: *mut c_void = base.as_ptr().cast();
        // SAFETY: (1) the range is the stage's own and untouched; (2) dropping
        // the stage unmaps it.
        unsafe {
            mm::madvise(base, len, Advice::LinuxDontFork)?;
            match mm::madvise(base, len, Advice::LinuxNoHugepage) {
                // A kernel without huge pages of this kind.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno),
            }
            if protection == Protection::Read {
                mm::mprotect(base, len, MprotectFlags::READ)?;
            }
            register(fd, &(start..start + len), catch)?;
        }
        Ok(stage)
    }

    /// Moves the stage's pages from `offset` over the target.
    ///
    /// # Safety
    /// The target is whole pages of the caller's reservation.
    unsafe fn put(&self, offset: usize, target: usize, len: usize) -> Result<()> {
        assert!(offset + len <= self.len && len.is_multiple_of(PAGE_BYTES), "a piece of the stage");
        let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
        ballast::spend(|| {
            // SAFETY: (1) the source is the stage's own, which stays mapped;
            // (2) the target is the caller's, and nobody holds a reference
            // into a window.
            unsafe { mm::mremap_fixed((self.start + offset) as *mut c_void, len, len, flags, target as *mut c_void) }
        })?;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // SAFETY: the stage's own range, which nobody touches.
        let _ = unsafe { mm::munmap(self.start as *mut c_void, self.len) };
    }
}
