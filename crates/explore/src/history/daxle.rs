//! Daxle, in the words of the same world.
//!
//! This is a model like the others, so that the table has a column to compare with. The engine
//! itself is explored by its own tests; what is shown here is that the *protocol* holds.
//!
//! # Lock rules
//! - Inode (exclusive) > Invalidate (exclusive): truncate, punch, and the publication of a write.
//! - Invalidate (shared) > Entry: every fault, and never Inode.
//! - Entry > Transaction: the block map is asked, and changed, under the entry lock. A new block is
//!   zeroed inside the transaction; fault code never zeroes.
//! - Entry > `ReverseMap`: translations are revoked under the entry, never around a call of the file
//!   system. `ReverseMap` and Transaction are never held together.
//! - Truncate and punch drop entries and translations first, and only then begin the transaction that
//!   frees the blocks.
//! - No reply says that something is locked. A private copy is mapped under the entry.
//! - Dirty and writable change together under the entry; clean is: write-protect, flush, clear.
//! - write(2) copies holding Inode only: in place where there is data; for a hole into a block that
//!   nobody sees yet, which is put into the map afterwards, under Invalidate.
//!
//! # What it relies on
//! Information flows one way: block map, entry, translation. Who takes something out of the map, or
//! puts data into it, holds Invalidate, so that no fault is under way; who fills a hole with zeros in
//! a fault holds the entry, and revokes translations of zeros before the block is in the map.

use super::linux_4_11::write_back;
use super::locks::{Lock, Words};
use super::mm::{self, Access, Reply};
use super::thread::{Thread, Zeroing};
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
        if let Ok(extent) = thread.look_up(index) {
            write_to(thread, index, extent, value);
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
    let mut asked = thread.look_up(index);
    if access == Access::Write && matches!(asked, Ok(Extent::Hole | Extent::Unwritten(_))) {
        revoke_zeros(thread, index);
        asked = thread.allocate(index, Zeroing::Inside);
    }
    let Ok(extent) = asked else {
        return Reply::Sigbus;
    };
    match (access, extent) {
        (Access::Private, _) => {
            thread.map(index, Pte::Private);
            Reply::DoneCow
        }
        (_, Extent::Written(block)) => {
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

/// Removes translations to zeros, before a block appears behind them. After would be too late: write(2)
/// could find the block, copy into it and return, while somebody still saw zeros.
fn revoke_zeros(thread: &Thread, index: usize) {
    thread.lock(Lock::ReverseMap, Mode::Exclusive);
    thread.zap(index..index + 1);
    thread.unlock(Lock::ReverseMap, Mode::Exclusive);
}

/// write(2) by what stands at the place. The inode is locked by the caller, so no block leaves it.
fn write_to(thread: &Thread, index: usize, extent: Extent, value: u32) {
    match extent {
        Extent::Written(_) => thread.copy_in(index, value),
        Extent::Hole => {
            let block = thread.copy_aside(index, value);
            if !publish(thread, index, block) {
                thread.copy_in(index, value);
            }
        }
        Extent::Unwritten(_) => {
            thread.lock(Lock::Invalidate, Mode::Exclusive);
            invalidate(thread, index..index + 1);
            let completed = thread.allocate(index, Zeroing::Inside);
            thread.unlock(Lock::Invalidate, Mode::Exclusive);
            if completed.is_ok() {
                thread.copy_in(index, value);
            }
        }
    }
}

/// Puts a block that holds the data into a hole. False when a fault has filled the hole meanwhile; the
/// reserved block goes back then.
fn publish(thread: &Thread, index: usize, block: usize) -> bool {
    thread.lock(Lock::Invalidate, Mode::Exclusive);
    let still_hole = thread.look_up(index) == Ok(Extent::Hole);
    if still_hole {
        invalidate(thread, index..index + 1);
        thread.lock(Lock::Transaction, Mode::Exclusive);
        thread.put_into_map(index, block);
        thread.unlock(Lock::Transaction, Mode::Exclusive);
    }
    thread.unlock(Lock::Invalidate, Mode::Exclusive);
    still_hole
}

/// Entries, then translations. Invalidate is held exclusively, so that none comes back.
fn invalidate(thread: &Thread, pages: std::ops::Range<usize>) {
    for index in pages.clone() {
        thread.lock_entry(index);
        thread.set_entry(index, Entry::None);
        thread.unlock_entry(index);
    }
    mm::unmap(thread, pages);
}

/// Entries and translations, and then, in a transaction, the blocks.
fn remove(thread: &Thread, pages: std::ops::Range<usize>) {
    invalidate(thread, pages.clone());
    thread.lock(Lock::Transaction, Mode::Exclusive);
    thread.free(pages);
    thread.unlock(Lock::Transaction, Mode::Exclusive);
}
