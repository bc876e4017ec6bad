//! Linux 4.11: the block map is asked before the entry is locked.
//!
//! # Lock rules
//! - `i_mmap_sem`, entry, transaction and `i_mmap_rwsem` as in 4.7, and in the same order.
//! - `iomap_begin` looks up, and allocates for a write, *before* the entry is locked. (So that a
//!   transaction would not have to be started under the entry.)
//! - A private write fault maps its copy itself, under the entry (4.10); nothing is held on return.
//! - The dirty mark and the right to write change together under the entry, and so do flush and
//!   clearing (4.10).
//! - write(2) allocates, then takes entries out, except dirty ones, then copies.
//!
//! # What it relies on
//! That what `iomap_begin` has said is still so when the entry is locked. Between the two anybody may
//! allocate, take entries out, find none there, and be done.

use super::linux_4_7::{self, grab, insert_entry, invalidate, load_hole, release};
use super::locks::{Lock, Words};
use super::mm::{self, Access, Reply};
use super::thread::{Discard, Thread, Zeroing};
use super::world::{Extent, Pte};
use super::{Known, Protocol};
use crate::trace::Mode;

/// The protocol.
pub struct Linux411;

impl Protocol for Linux411 {
    fn name(&self) -> &'static str {
        "4.11"
    }

    fn title(&self) -> &'static str {
        "Linux 4.11: the block map is asked before the entry is locked"
    }

    fn words(&self) -> Words {
        Words::Linux
    }

    fn known(&self) -> Known {
        Known { listed: &[12], besides: &[11], unnumbered: &[] }
    }

    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply {
        thread.lock(Lock::Invalidate, Mode::Shared);
        let reply = handle(thread, access, index);
        thread.unlock(Lock::Invalidate, Mode::Shared);
        reply
    }

    fn truncate(&self, thread: &Thread, pages: usize) {
        linux_4_7::truncate(thread, pages);
    }

    fn punch(&self, thread: &Thread, index: usize) {
        linux_4_7::punch(thread, index);
    }

    fn write(&self, thread: &Thread, index: usize, value: u32) {
        thread.lock(Lock::Inode, Mode::Exclusive);
        if thread.allocate(index, Zeroing::Inside).is_ok() {
            invalidate(thread, index, Discard::KeepDirty);
            thread.copy_in(index, value);
            thread.written(index, value);
        }
        thread.unlock(Lock::Inode, Mode::Exclusive);
    }

    fn reclaim(&self, thread: &Thread, index: usize) {
        mm::reclaim(thread, index);
    }

    fn fsync(&self, thread: &Thread) {
        write_back(thread);
    }
}

/// `dax_iomap_pte_fault` of 4.11.
fn handle(thread: &Thread, access: Access, index: usize) -> Reply {
    if !thread.within_size(index) {
        return Reply::Sigbus;
    }
    let asked = match access {
        Access::Write => thread.allocate(index, Zeroing::Inside),
        Access::Read | Access::Private => thread.look_up(index),
    };
    let Ok(extent) = asked else {
        return Reply::Sigbus;
    };
    let grabbed = grab(thread, index);
    if access == Access::Private {
        thread.map(index, Pte::Private);
        return release(thread, grabbed, index, Reply::DoneCow);
    }
    if !matches!(extent, Extent::Written(_)) {
        return Reply::Locked(Some(load_hole(thread, grabbed, index)));
    }
    insert_entry(thread, grabbed, index);
    if let Some(block) = extent.block() {
        thread.publish(index, block, access == Access::Write);
    }
    thread.unlock_entry(index);
    Reply::NoPage
}

/// Writeback from 4.10 on: write-protect, flush, clear, all under the entry.
pub(super) fn write_back(thread: &Thread) {
    for index in Thread::all_pages() {
        if !thread.is_dirty(index) {
            continue;
        }
        thread.lock_entry(index);
        thread.lock(Lock::ReverseMap, Mode::Shared);
        thread.write_protect(index);
        thread.unlock(Lock::ReverseMap, Mode::Shared);
        thread.flush(index);
        thread.clear_dirty(index);
        thread.unlock_entry(index);
    }
}
