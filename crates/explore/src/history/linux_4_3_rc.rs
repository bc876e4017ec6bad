//! Linux 4.3-rc: the scheme that the mail reviews.
//!
//! # Lock rules
//! - As 4.2, except for `i_mmap_rwsem`: a fault that finds no hole page *writes* it from before the
//!   first `get_block` to the end; a fault that finds one holds the page lock instead, and does not
//!   take it at all.
//! - So `get_block`, its transaction, and `complete_unwritten` run inside `i_mmap_rwsem`; truncate
//!   takes the two the other way round.
//! - The page lock is taken inside `i_mmap_rwsem` where a write fault looks for a hole page again;
//!   reclaim takes them the other way round.
//! - Unmapping takes `i_mmap_rwsem` itself, also when the fault that calls it holds it already.
//! - A private write fault that found no page returns holding `i_mmap_rwsem` for writing.
//! - A 2 MiB fault takes it before `get_block`.
//!
//! # What it relies on
//! "There is no page" is meant to say "I hold the lock", at the beginning, in the middle and at the
//! end. But whether there is a page is asked twice, and the answers may differ.

use super::linux_4_2;
use super::locks::{Lock, Words};
use super::mm::{self, Access, Reply};
use super::thread::{Thread, Zeroing};
use super::world::{Extent, Invariant, Pte};
use super::{Known, Marks, Protocol};
use crate::trace::Mode;

/// When the read of a hole unlocks `i_mmap_rwsem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoleUnlock {
    /// Always: the code before the patch.
    Always,
    /// When there was no page: the code with the patch.
    WithoutPage,
}

/// The protocol.
pub struct Linux43Rc;

impl Protocol for Linux43Rc {
    fn name(&self) -> &'static str {
        "4.3-rc"
    }

    fn title(&self) -> &'static str {
        "Linux 4.3-rc: i_mmap_rwsem written around the whole fault, unless there is a hole page"
    }

    fn words(&self) -> Words {
        Words::Linux
    }

    fn known(&self) -> Known {
        Known { listed: &[1, 2, 3, 4, 5, 7], besides: &[10, 11, 12, 17, 18], unnumbered: &[Invariant::WriteStays] }
    }

    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply {
        fault(thread, access, index, HoleUnlock::Always)
    }

    fn huge_fault(&self, thread: &Thread) -> Reply {
        huge_fault(thread)
    }

    fn cow_caller_unlocks(&self) -> Option<Mode> {
        Some(Mode::Exclusive)
    }

    fn truncate(&self, thread: &Thread, pages: usize) {
        linux_4_2::truncate(thread, pages);
    }

    fn punch(&self, thread: &Thread, index: usize) {
        linux_4_2::punch(thread, index);
    }

    fn write(&self, thread: &Thread, index: usize, value: u32) {
        linux_4_2::write(thread, index, value);
    }

    fn reclaim(&self, thread: &Thread, index: usize) {
        mm::reclaim(thread, index);
    }

    fn marks_stores(&self) -> Marks {
        Marks::None
    }

    fn fsync(&self, thread: &Thread) {
        thread.remark("there are no dirty marks to follow");
    }
}

/// `__dax_fault` of 4.3-rc.
pub(super) fn fault(thread: &Thread, access: Access, index: usize, hole: HoleUnlock) -> Reply {
    if !thread.within_size(index) {
        return Reply::Sigbus;
    }
    let mut page = thread.find_lock_page(index);
    if page.is_none() {
        thread.lock(Lock::ReverseMap, Mode::Exclusive);
    }
    if !thread.within_size(index) {
        return leave(thread, page, Reply::Sigbus);
    }
    let Ok(mut extent) = thread.look_up(index) else {
        return leave(thread, page, Reply::Sigbus);
    };
    let mut major = false;
    if extent == Extent::Hole && access != Access::Private {
        if access == Access::Read {
            if hole == HoleUnlock::Always || page.is_none() {
                thread.unlock(Lock::ReverseMap, Mode::Exclusive);
            }
            return linux_4_2::load_hole(thread, page, index);
        }
        match thread.allocate(index, Zeroing::Later) {
            Ok(new) => extent = new,
            Err(_) => return leave(thread, page, Reply::Sigbus),
        }
        major = true;
    }
    if access == Access::Private {
        thread.remark("copies the block into a private page");
        return Reply::Locked(page);
    }
    if page.is_none() && major {
        page = thread.find_lock_page(index);
    }
    if let Some(page) = page {
        mm::unmap(thread, index..index + 1);
        thread.delete_page(index, page);
        thread.unlock_page(page);
    }
    let reply = insert_mapping(thread, index, extent);
    if matches!(extent, Extent::Unwritten(_)) {
        thread.convert(index);
    }
    if page.is_none() {
        thread.unlock(Lock::ReverseMap, Mode::Exclusive);
    }
    reply
}

/// Unlocks what the presence of the page says is locked.
fn leave(thread: &Thread, page: Option<usize>, reply: Reply) -> Reply {
    match page {
        Some(page) => thread.unlock_page(page),
        None => thread.unlock(Lock::ReverseMap, Mode::Exclusive),
    }
    reply
}

/// `dax_insert_mapping` without a lock of its own: it relies on the caller's.
fn insert_mapping(thread: &Thread, index: usize, extent: Extent) -> Reply {
    if !thread.within_size(index) {
        return Reply::Sigbus;
    }
    if let Some(block) = extent.block() {
        if matches!(extent, Extent::Unwritten(_)) {
            thread.zero(extent);
        }
        thread.map(index, Pte::Block { block, writable: true });
    }
    Reply::NoPage
}

/// `__dax_pmd_fault` of 4.3-rc for a store.
pub(super) fn huge_fault(thread: &Thread) -> Reply {
    thread.lock(Lock::ReverseMap, Mode::Exclusive);
    if !thread.within_size(0) {
        thread.unlock(Lock::ReverseMap, Mode::Exclusive);
        return Reply::Sigbus;
    }
    if thread.allocate(0, Zeroing::Later).is_err() {
        return Reply::Sigbus;
    }
    thread.remark("the block is smaller than 2 MiB");
    thread.unlock(Lock::ReverseMap, Mode::Exclusive);
    Reply::Fallback
}
