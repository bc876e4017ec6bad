//! Daxle, in the words of the same world.
//!
//! This is a model like the others, so that the table has a column to compare with. The engine
//! itself is explored by its own tests; what is shown here is that the *protocol* holds.
//!
//! # Lock rules
//! - Inode (exclusive) > Invalidate (exclusive): truncate and punch. Inode (exclusive) alone: write(2).
//! - Invalidate (shared) > Entry: every fault, and never Inode.
//! - Entry > Transaction: the block map is asked, and changed, under the entry lock. A new block is
//!   zeroed inside the transaction; fault code never zeroes.
//! - Entry > `ReverseMap`: translations are revoked under the entry, never around a call of the file
//!   system. `ReverseMap` and Transaction are never held together.
//! - Truncate and punch drop entries and translations first, and only then begin the transaction that
//!   frees the blocks.
//! - No reply says that something is locked. A private copy is mapped under the entry.
//! - Dirty and writable change together under the entry; clean is: write-protect, flush, clear.
//! - write(2) allocates, then invalidates (waiting for the entry), then copies holding Inode only.
//!
//! # What it relies on
//! Information flows one way: block map, entry, translation. Who changes the map invalidates
//! afterwards; who reads it holds the entry, so the invalidation waits for him.

use super::linux_4_11::write_back;
use super::locks::{Lock, Words};
use super::mm::{self, Access, Reply};
use super::thread::{Discard, Thread, Zeroing};
use super::world::{Entry, Extent, Pte};
use super::{Known, Protocol};
use crate::trace::Mode;

/// The protocol.
pub struct Daxle;

impl Protocol for Daxle {
    fn name(&self) -> &'static str {
        "daxle"
    }

    fn title(&self) -> &'static str {
        "Daxle: entry before block map, nothing held on return"
    }

    fn words(&self) -> Words {
        Words::Daxle
    }

    fn known(&self) -> Known {
        Known { listed: &[], besides: &[], unnumbered: &[] }
    }

    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply {
        thread.lock(Lock::Invalidate, Mode::Shared);
        let reply = if thread.within_size(index) {
            thread.lock_entry(index);
            let reply = under_entry(thread, access, index);
            thread.unlock_entry(index);
            reply
        } else {
            Reply::Sigbus
        };
        thread.unlock(Lock::Invalidate, Mode::Shared);
        reply
    }

    fn truncate(&self, thread: &Thread, pages: usize) {
        thread.lock(Lock::Inode, Mode::Exclusive);
        thread.lock(Lock::Invalidate, Mode::Exclusive);
        thread.set_size(pages);
        remove(thread, pages..Thread::all_pages().end);
        thread.truncated();
        thread.unlock(Lock::Invalidate, Mode::Exclusive);
        thread.unlock(Lock::Inode, Mode::Exclusive);
    }

    fn punch(&self, thread: &Thread, index: usize) {
        thread.lock(Lock::Inode, Mode::Exclusive);
        thread.lock(Lock::Invalidate, Mode::Exclusive);
        remove(thread, index..index + 1);
        thread.unlock(Lock::Invalidate, Mode::Exclusive);
        thread.unlock(Lock::Inode, Mode::Exclusive);
    }

    fn write(&self, thread: &Thread, index: usize, value: u32) {
        thread.lock(Lock::Inode, Mode::Exclusive);
        if thread.allocate(index, Zeroing::Inside).is_ok() {
            thread.lock_entry(index);
            thread.discard_entry(index, Discard::KeepDirty);
            revoke_zeros(thread, index);
            thread.unlock_entry(index);
            thread.copy_in(index, value);
            thread.written(index, value);
        }
        thread.unlock(Lock::Inode, Mode::Exclusive);
    }

    fn reclaim(&self, thread: &Thread, _index: usize) {
        thread.remark("there are no hole pages to reclaim");
    }

    fn fsync(&self, thread: &Thread) {
        write_back(thread);
    }
}

/// The fault, with the entry locked by the caller.
fn under_entry(thread: &Thread, access: Access, index: usize) -> Reply {
    let asked = match access {
        Access::Write => thread.allocate(index, Zeroing::Inside),
        Access::Read | Access::Private => thread.look_up(index),
    };
    let Ok(extent) = asked else {
        return Reply::Sigbus;
    };
    match (access, extent.block()) {
        (Access::Private, _) => {
            thread.map(index, Pte::Private);
            Reply::DoneCow
        }
        (_, Some(block)) if extent != Extent::Unwritten(block) => {
            revoke_zeros(thread, index);
            thread.publish(index, block, access == Access::Write);
            Reply::NoPage
        }
        _ => {
            thread.set_entry(index, Entry::Zero);
            thread.map(index, Pte::Zero);
            Reply::NoPage
        }
    }
}

/// Removes translations to zeros that a block is about to take the place of.
fn revoke_zeros(thread: &Thread, index: usize) {
    thread.lock(Lock::ReverseMap, Mode::Exclusive);
    thread.zap(index..index + 1);
    thread.unlock(Lock::ReverseMap, Mode::Exclusive);
}

/// Entries, then translations, and then, in a transaction, the blocks.
fn remove(thread: &Thread, pages: std::ops::Range<usize>) {
    for index in pages.clone() {
        thread.lock_entry(index);
        thread.set_entry(index, Entry::None);
        thread.unlock_entry(index);
    }
    mm::unmap(thread, pages.clone());
    thread.lock(Lock::Transaction, Mode::Exclusive);
    thread.free(pages);
    thread.unlock(Lock::Transaction, Mode::Exclusive);
}
