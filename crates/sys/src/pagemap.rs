//! Asking which pages of a range are there, written, or private copies.
//!
//! `PAGEMAP_SCAN` (Linux 6.7) walks the page tables and answers ranges, about
//! 0.15 ms for 64 MiB; it can protect what it reports again in the same step,
//! so that no store falls between the question and the next round.

use crate::{Errno, PAGE_BYTES, Result};
use core::ops::Range;
use linux_raw_sys::general::{page_region, pm_scan_arg};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode, opcode};

const WRITTEN: u64 = 1 << 1;
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZERO_PAGE: u64 = 1 << 5;

/// Pages of files and the kernel's page of zeros.
const NOT_OWN: u64 = FILE | ZERO_PAGE;

const PROTECT_FOUND: u64 = 1 << 0;

/// Which pages are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looking {
    /// Stored to since tracking began or the last [`Looking::WrittenAndReset`].
    /// For tracked ranges; in others empty pages count as written.
    Written,
    /// The same; what is reported counts as not written from then on.
    WrittenAndReset,
    /// Memory that belongs to this process alone: private copies.
    Private,
    /// Of these, the ones to which stores are allowed: filled with
    /// [`crate::uffd::Stores::Trapped`] and not opened since are left out.
    PrivateWritable,
}

/// An open `/proc/self/pagemap`.
#[derive(Debug)]
pub(crate) struct Pagemap {
    fd: OwnedFd,
}

impl Pagemap {
    pub(crate) fn open() -> Result<Pagemap> {
        let fd = rustix::fs::open("/proc/self/pagemap", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Pagemap { fd })
    }

    /// The address ranges found in `addresses`, ascending and disjoint.
    pub(crate) fn scan(&self, addresses: &Range<usize>, looking: Looking) -> Result<Vec<Range<usize>>> {
        let mut found = Vec::new();
        let mut regions = [page_region { start: 0, end: 0, categories: 0 }; 256];
        let mut start = addresses.start;
        while start < addresses.end {
            let mut scan = Scan(question(start..addresses.end, looking, &mut regions));
            // SAFETY: `Scan` describes this ioctl, and `regions` outlives it.
            let count = match unsafe { ioctl::ioctl(&self.fd, &mut scan) } {
                Err(Errno::INTR) => continue,
                answer => answer?,
            };
            let reached = scan.0.walk_end as usize;
            if reached <= start {
                return Err(Errno::IO);
            }
            start = reached;
            found.extend(regions[..count].iter().map(|region| region.start as usize..region.end as usize));
        }
        Ok(found)
    }
}

fn question(addresses: Range<usize>, looking: Looking, into: &mut [page_region]) -> pm_scan_arg {
    let (flags, inverted, all_of, any_of) = match looking {
        Looking::Written => (0, 0, WRITTEN, 0),
        Looking::WrittenAndReset => (PROTECT_FOUND, 0, WRITTEN, 0),
        Looking::Private => (0, NOT_OWN, NOT_OWN, PRESENT | SWAPPED),
        Looking::PrivateWritable => (0, NOT_OWN, NOT_OWN | WRITTEN, PRESENT | SWAPPED),
    };
    pm_scan_arg {
        size: size_of::<pm_scan_arg>() as u64,
        flags,
        start: addresses.start as u64,
        end: addresses.end.next_multiple_of(PAGE_BYTES) as u64,
        walk_end: 0,
        vec: into.as_mut_ptr() as u64,
        vec_len: into.len() as u64,
        max_pages: 0,
        category_inverted: inverted,
        category_mask: all_of,
        category_anyof_mask: any_of,
        return_mask: all_of | any_of,
    }
}

/// `PAGEMAP_SCAN`: answers how many regions it wrote.
struct Scan(pm_scan_arg);

// SAFETY: (1) the opcode takes a pointer to this struct and updates it;
// (2) `vec` points to `vec_len` regions that outlive the call.
unsafe impl Ioctl for &mut Scan {
    type Output = usize;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<pm_scan_arg>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut core::ffi::c_void) -> Result<usize> {
        Ok(out as usize)
    }
}
