//! A few mappings to let go of when there are too many.
//!
//! A process may have 65,530 mappings (`vm.max_map_count`). At the limit
//! `mmap` and `mremap` fail with ENOMEM, even those that would lower the
//! number, and `mremap` fails some six short of it. A translation that cannot
//! be made is an error which the engine answers with a smaller one; a
//! *revocation* that fails would leave a window on blocks that belong to
//! somebody else. So the process carries sixteen mappings that nobody uses.
//! When a revocation meets ENOMEM they are unmapped, it is tried again, and
//! the ballast is taken on again as soon as there is room.

use crate::{Errno, PAGE_BYTES, Result};
use core::ptr;
use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Mappings in the ballast: pages of alternating protection, so that the
/// kernel cannot merge them.
const MAPPINGS: usize = 16;
const LEN: usize = MAPPINGS * PAGE_BYTES;

/// Where the ballast lies, or 0.
static BALLAST: AtomicUsize = AtomicUsize::new(0);

/// Takes the ballast on unless it is there. Best effort.
pub(crate) fn take_on() {
    if BALLAST.load(Ordering::Acquire) != 0 {
        return;
    }
    if let Ok(start) = map() {
        let taken = BALLAST.compare_exchange(0, start, Ordering::AcqRel, Ordering::Acquire);
        if taken.is_err() {
            unmap(start);
        }
    }
}

/// Runs a call; when it meets the limit of mappings, lets the ballast go and
/// runs it again.
pub(crate) fn spend<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    match call() {
        Err(Errno::NOMEM) => {}
        answer => return answer,
    }
    match BALLAST.swap(0, Ordering::AcqRel) {
        0 => {}
        start => unmap(start),
    }
    let answer = call();
    take_on();
    answer
}

fn map() -> Result<usize> {
    // SAFETY: a new mapping at a place of the kernel's choice.
    let start = unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        mm::mmap_anonymous(ptr::null_mut(), LEN, ProtFlags::empty(), flags)
    }?;
    for page in (1..MAPPINGS).step_by(2) {
        // SAFETY: the page is ours and unused.
        let split =
            unsafe { mm::mprotect(start.wrapping_byte_add(page * PAGE_BYTES), PAGE_BYTES, MprotectFlags::READ) };
        if let Err(error) = split {
            unmap(start as usize);
            return Err(error);
        }
    }
    Ok(start as usize)
}

fn unmap(start: usize) {
    // SAFETY: the range was mapped by `map`, is unused, and `start` was taken
    // out of the static by this thread alone.
    let _ = unsafe { mm::munmap(start as *mut _, LEN) };
}
