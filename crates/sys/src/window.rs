//! Reserved address ranges, made of traps and translations.
//!
//! A [`Reservation`] is a stretch of addresses that belongs to one mapping of
//! a file. Each page of it is one of: plain empty memory (before the first
//! trap), a *trap*, a *hole* (loads give zeros, the first store traps), a
//! translation of a piece of the pool, a private page, or *past the end* (any
//! access is SIGBUS). The calls here change what a range is in one step: no
//! other thread can find the range in between, so no store is ever lost.
//!
//! The step is always one `mmap` or `mremap` with a fixed target. Making a
//! trap the plain way, by mapping empty memory and registering it, takes two,
//! and stores between them land in memory that nobody knows; that is why traps
//! are prepared elsewhere and moved in (see `uffd/stage.rs`).
//!
//! Ranges are byte offsets into the reservation, whole pages; anything else is
//! a broken invariant and panics. Revocations ([`Reservation::trap`],
//! [`Reservation::past_end`]) do not fail for want of mappings (see
//! `ballast.rs`); translations may (ENOMEM at `vm.max_map_count`).

use crate::file::{self, MemoryPages};
use crate::memory::{Protection, reserve_aligned};
use crate::pagemap::{Looking, Pagemap};
use crate::uffd::{PageFill, Tracker, Uffd};
use crate::{PAGE_BYTES, Result, ballast};
use core::ffi::c_void;
use core::ops::Range;
use core::ptr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::mm::{self, Advice, MapFlags, MprotectFlags};
use std::sync::OnceLock;

/// What a trapped range does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapMode {
    /// Every access sends a message.
    Every,
    /// Loads give zeros without one; the first store to a page sends one.
    /// Costs a page table for each 2 MiB. In a read-only range no access
    /// sends anything.
    HoleReads,
}

/// Who sees stores to a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody: they reach the file.
    Shared,
    /// This process: the kernel copies the page first.
    Private,
}

/// A reserved range of addresses, given back when dropped. Starts at a
/// multiple of 2 MiB.
#[derive(Debug)]
pub struct Reservation {
    start: usize,
    len: usize,
}

impl Reservation {
    /// Reserves `len` bytes (whole pages) of empty memory.
    pub fn new(len: usize) -> Result<Reservation> {
        if len == 0 || !len.is_multiple_of(PAGE_BYTES) {
            return Err(rustix::io::Errno::INVAL);
        }
        let (base, start) = reserve_aligned(len)?;
        let reservation = Reservation { start, len };
        // SAFETY: the range is ours; children do not need it.
        unsafe { mm::madvise(base.as_ptr().cast(), len, Advice::LinuxDontFork)? };
        Ok(reservation)
    }

    /// Address of the first byte.
    #[inline]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// False: no reservation is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte, for handing the window to code that wants a pointer.
    /// Such code may be raced by everybody who has the file open.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start as *mut u8
    }

    /// The addresses of a range of offsets.
    pub fn addresses(&self, range: &Range<usize>) -> Range<usize> {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "range {range:?} outside a reservation of {} bytes",
            self.len
        );
        self.start + range.start..self.start + range.end
    }

    /// The offset of an address, if it lies inside.
    pub fn offset_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        (offset < self.len).then_some(offset)
    }

    fn pages(&self, range: &Range<usize>) -> Range<usize> {
        assert!(
            range.start.is_multiple_of(PAGE_BYTES) && range.end.is_multiple_of(PAGE_BYTES),
            "range {range:?} is no whole pages"
        );
        self.addresses(range)
    }

    /// Translates a range to a file from `offset` on. Replaces whatever was
    /// there in one step; whoever sleeps at a trap there must be woken by the
    /// caller ([`Uffd::wake`]). Children do not inherit it. Errors: ENOMEM at the
    /// limit of mappings; the range may be translated then.
    pub fn map_file(
        &self,
        range: Range<usize>,
        fd: BorrowedFd<'_>,
        offset: u64,
        protection: Protection,
        sharing: Sharing,
    ) -> Result<()> {
        let addresses = self.pages(&range);
        let sharing = match sharing {
            Sharing::Shared => MapFlags::SHARED,
            Sharing::Private => MapFlags::PRIVATE | MapFlags::NORESERVE,
        };
        // SAFETY: (1) the range is ours; (2) nobody has references into it.
        unsafe { map_fixed(&addresses, fd, offset, protection, sharing) }?;
        // A child could keep a translation that is revoked here, so it gets none.
        // SAFETY: as above; children do not need the range.
        unsafe { mm::madvise(addresses.start as *mut c_void, addresses.len(), Advice::LinuxDontFork) }
    }

    /// Makes a range a trap in one step: what was translated there is gone,
    /// private pages too, and the next access sends a message to `uffd`.
    ///
    /// Returns when that message's reader has taken note, so it must not be
    /// called by the reader (EDEADLK) and the reader must be running.
    pub fn trap(&self, uffd: &Uffd, range: Range<usize>, mode: TrapMode, protection: Protection) -> Result<()> {
        let addresses = self.pages(&range);
        if addresses.is_empty() {
            return Ok(());
        }
        match (mode, protection) {
            // Nothing can be stored there, so there is nothing to trap.
            (TrapMode::HoleReads, Protection::Read) => ballast::spend(|| {
                // SAFETY: (1) the range is ours; (2) nobody has references.
                unsafe { map_zeros(&addresses) }
            }),
            (TrapMode::HoleReads, Protection::ReadWrite) => uffd.put(&addresses, PageFill::Zeros, protection, self),
            (TrapMode::Every, _) => uffd.put(&addresses, PageFill::Trap, protection, self),
        }
    }

    /// Makes every access to a range raise SIGBUS (EFAULT in system calls),
    /// in one step.
    pub fn past_end(&self, range: Range<usize>) -> Result<()> {
        let addresses = self.pages(&range);
        let nothing = empty_file()?;
        // Offsets differ by place, so that neighbours merge into one mapping.
        let offset = range.start as u64;
        ballast::spend(|| {
            // SAFETY: (1) the range is ours; (2) nobody has references into it.
            unsafe { map_fixed(&addresses, nothing.as_fd(), offset, Protection::ReadWrite, MapFlags::SHARED) }
        })
    }

    /// Changes what may be done with a range.
    pub fn protect(&self, range: Range<usize>, protection: Protection) -> Result<()> {
        let addresses = self.pages(&range);
        let flags = match protection {
            Protection::Read => MprotectFlags::READ,
            Protection::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        // SAFETY: the range is ours; no references exist.
        unsafe { mm::mprotect(addresses.start as *mut c_void, addresses.len(), flags) }
    }

    /// Drops the pages of a range: private pages are gone and trap again (the
    /// trap stays), translations are looked up again.
    pub fn discard(&self, range: Range<usize>) -> Result<()> {
        let addresses = self.pages(&range);
        // SAFETY: the range is ours; no references exist.
        unsafe { mm::madvise(addresses.start as *mut c_void, addresses.len(), Advice::LinuxDontNeed) }
    }

    /// Fills the page tables of a translated range, so that later accesses do
    /// not fault one by one.
    pub fn populate(&self, range: Range<usize>, protection: Protection) -> Result<()> {
        let addresses = self.pages(&range);
        let advice = match protection {
            Protection::Read => Advice::LinuxPopulateRead,
            Protection::ReadWrite => Advice::LinuxPopulateWrite,
        };
        // SAFETY: the range is ours; populating changes no value.
        unsafe { mm::madvise(addresses.start as *mut c_void, addresses.len(), advice) }
    }

    /// Begins to note which pages of a translated range are stored to. Ends
    /// where the range is translated anew.
    pub fn track(&self, tracker: &Tracker, range: Range<usize>) -> Result<()> {
        let addresses = self.pages(&range);
        // SAFETY: the range is ours and mapped.
        unsafe { tracker.begin(&addresses) }
    }

    /// Finds pages: those stored to in a tracked range, or this process's own
    /// copies. Gives ranges of offsets, ascending. Protected empty pages of a
    /// trap count as private, so ask about [`Looking::Private`] only where
    /// empty pages are never protected.
    pub fn find(&self, range: Range<usize>, looking: Looking) -> Result<Vec<Range<usize>>> {
        let addresses = self.pages(&range);
        let found = Pagemap::open()?.scan(&addresses, looking)?;
        Ok(found.into_iter().map(|found| found.start - self.start..found.end - self.start).collect())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours. Whoever kept an address gets SIGSEGV.
        let _ = unsafe { mm::munmap(self.start as *mut c_void, self.len) };
    }
}

impl Uffd {
    /// Puts traps over addresses of a reservation.
    fn put(&self, addresses: &Range<usize>, fill: PageFill, protection: Protection, owner: &Reservation) -> Result<()> {
        self.check_not_reader()?;
        debug_assert!(owner.start <= addresses.start && addresses.end <= owner.start + owner.len);
        // SAFETY: the range is whole pages of the owner, whose content may go.
        unsafe { self.stages.put(self.descriptor(), addresses, fill, protection) }
    }
}

/// # Safety
/// The range belongs to the caller, and nobody has references into it.
unsafe fn map_fixed(
    addresses: &Range<usize>,
    fd: BorrowedFd<'_>,
    offset: u64,
    protection: Protection,
    sharing: MapFlags,
) -> Result<()> {
    let flags = sharing | MapFlags::FIXED;
    let start = ptr::without_provenance_mut(addresses.start);
    // SAFETY: the caller's promise.
    unsafe { mm::mmap(start, addresses.len(), protection.flags(), flags, fd, offset) }.map(drop)
}

/// Maps memory that reads as zeros and cannot be written.
///
/// # Safety
/// The range belongs to the caller, and nobody has references into it.
unsafe fn map_zeros(addresses: &Range<usize>) -> Result<()> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    let start = ptr::without_provenance_mut(addresses.start);
    // SAFETY: the caller's promise.
    unsafe { mm::mmap_anonymous(start, addresses.len(), Protection::Read.flags(), flags) }.map(drop)
}

/// The empty file that ranges past the end are translated to.
fn empty_file() -> Result<&'static OwnedFd> {
    static EMPTY: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(fd) = EMPTY.get() {
        return Ok(fd);
    }
    let fd = file::memfd("daxle-past-the-end", MemoryPages::Small)?;
    Ok(EMPTY.get_or_init(|| fd))
}
