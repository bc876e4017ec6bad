//! Linux 4.2.
//!
//! # Lock rules
//! - `i_mutex`: truncate, punch and write(2); a fault never takes it.
//! - Page lock of a hole page: a fault takes it when it finds a hole page, and holds it to the end; a
//!   fault that finds none holds nothing at first.
//! - Transaction: inside `get_block` and `complete_unwritten`, under a page lock or nothing.
//! - `i_mmap_rwsem`: the fault *reads* around {check of the size, zeroing, mapping}; unmapping writes.
//! - A private write fault that found no page returns holding `i_mmap_rwsem` for reading; the reply
//!   says "a page is locked", and the absent page is the sign of it (since 4.0).
//! - Order: `i_mutex` > page lock > transaction > `i_mmap_rwsem`.
//!
//! # What it relies on
//! Truncate writes the size before it unmaps; the fault reads it and maps under one hold of
//! `i_mmap_rwsem`. So either the fault sees the new size, or the unmapping sees the translation. For
//! a punch the size does not change, and the argument has nothing to stand on. Two write faults on
//! one page are held apart by nothing, and both take "unwritten" for "mine to zero".

use super::locks::{Lock, Words};
use super::mm::{self, Access, Reply};
use super::thread::{Thread, Zeroing};
use super::world::{Extent, Invariant, Pte};
use super::{Known, Marks, Protocol};
use crate::trace::Mode;

/// The protocol.
pub struct Linux42;

impl Protocol for Linux42 {
    fn name(&self) -> &'static str {
        "4.2"
    }

    fn title(&self) -> &'static str {
        "Linux 4.2: i_mmap_rwsem read around the mapping"
    }

    fn words(&self) -> Words {
        Words::Linux
    }

    fn known(&self) -> Known {
        Known { listed: &[10, 11, 18], besides: &[2, 12], unnumbered: &[Invariant::WriteStays] }
    }

    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply {
        fault(thread, access, index)
    }

    fn cow_caller_unlocks(&self) -> Option<Mode> {
        Some(Mode::Shared)
    }

    fn truncate(&self, thread: &Thread, pages: usize) {
        truncate(thread, pages);
    }

    fn punch(&self, thread: &Thread, index: usize) {
        punch(thread, index);
    }

    fn write(&self, thread: &Thread, index: usize, value: u32) {
        write(thread, index, value);
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

/// `__dax_fault` of 4.2 and of 4.3.
pub(super) fn fault(thread: &Thread, access: Access, index: usize) -> Reply {
    if !thread.within_size(index) {
        return Reply::Sigbus;
    }
    let mut page = thread.find_lock_page(index);
    if page.is_some() && !thread.within_size(index) {
        return give_up(thread, page);
    }
    let Ok(mut extent) = thread.look_up(index) else {
        return give_up(thread, page);
    };
    let mut major = false;
    if extent == Extent::Hole && access != Access::Private {
        if access == Access::Read {
            return load_hole(thread, page, index);
        }
        match thread.allocate(index, Zeroing::Later) {
            Ok(new) => extent = new,
            Err(_) => return give_up(thread, page),
        }
        major = true;
    }
    if access == Access::Private {
        thread.remark("copies the block into a private page");
        if page.is_none() {
            thread.lock(Lock::ReverseMap, Mode::Shared);
            if !thread.within_size(index) {
                thread.unlock(Lock::ReverseMap, Mode::Shared);
                return Reply::Sigbus;
            }
        }
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
    reply
}

fn give_up(thread: &Thread, page: Option<usize>) -> Reply {
    if let Some(page) = page {
        thread.unlock_page(page);
    }
    Reply::Sigbus
}

/// `dax_load_hole`: returns with the hole page locked.
pub(super) fn load_hole(thread: &Thread, page: Option<usize>, index: usize) -> Reply {
    let page = page.unwrap_or_else(|| thread.make_page(index));
    if !thread.within_size(index) {
        thread.unlock_page(page);
        return Reply::Sigbus;
    }
    Reply::Locked(Some(page))
}

/// `dax_insert_mapping`: the size is read again under the lock that unmapping takes.
fn insert_mapping(thread: &Thread, index: usize, extent: Extent) -> Reply {
    thread.lock(Lock::ReverseMap, Mode::Shared);
    let within = thread.within_size(index);
    if let (true, Some(block)) = (within, extent.block()) {
        if matches!(extent, Extent::Unwritten(_)) {
            thread.zero(extent);
        }
        thread.map(index, Pte::Block { block, writable: true });
    }
    thread.unlock(Lock::ReverseMap, Mode::Shared);
    if within { Reply::NoPage } else { Reply::Sigbus }
}

/// truncate(2) as it was up to 4.3.
pub(super) fn truncate(thread: &Thread, pages: usize) {
    thread.lock(Lock::Inode, Mode::Exclusive);
    thread.set_size(pages);
    let gone = pages..Thread::all_pages().end;
    for index in gone.clone() {
        mm::drop_hole_page(thread, index);
    }
    mm::unmap_and_free(thread, gone);
    thread.truncated();
    thread.unlock(Lock::Inode, Mode::Exclusive);
}

/// The punch of a hole, up to 4.3.
pub(super) fn punch(thread: &Thread, index: usize) {
    thread.lock(Lock::Inode, Mode::Exclusive);
    mm::drop_hole_page(thread, index);
    mm::unmap_and_free(thread, index..index + 1);
    thread.unlock(Lock::Inode, Mode::Exclusive);
}

/// write(2) of one page, up to 4.7: allocate, copy, and then take out the hole page.
pub(super) fn write(thread: &Thread, index: usize, value: u32) {
    thread.lock(Lock::Inode, Mode::Exclusive);
    if thread.allocate(index, Zeroing::Inside).is_ok() {
        thread.copy_in(index, value);
        mm::drop_hole_page(thread, index);
        thread.written(index, value);
    }
    thread.unlock(Lock::Inode, Mode::Exclusive);
}
