//! Linux 4.7: entry locks.
//!
//! # Lock rules
//! - `i_mmap_sem` (ext4, since 4.5; XFS had its own before): shared around the handler, exclusive
//!   around all of truncate and punch.
//! - Entry: one lock for each page of the file. It is the lock bit of the entry, or, where a hole page
//!   is in the cache, the lock of that page. A fault takes it before it asks `get_block`.
//! - Transaction: inside `get_block`, under the entry. The file system zeroes new blocks in it.
//! - `i_mmap_rwsem`: only around unmapping; a fault asks the file system nothing under it.
//! - A private write fault returns with the entry or the page locked, and each has its own reply.
//! - fsync flushes what is marked dirty, under the entry lock; marks are never cleared.
//! - Order: `i_mutex` > `i_mmap_sem` > entry or page lock > transaction > `i_mmap_rwsem`.
//!
//! # What it relies on
//! Nothing that was looked up before the entry lock is used after it. write(2) allocates first and
//! takes entries out afterwards, waiting for their locks: a fault that saw the hole is through by
//! then, and its zero page goes. It takes out dirty entries just as well, and that is a mistake.

use super::locks::{Lock, Words};
use super::mm::{self, Access, Reply};
use super::thread::{Discard, Thread, Zeroing};
use super::world::{Entry, Extent};
use super::{Known, Protocol};
use crate::trace::Mode;

/// The protocol.
pub struct Linux47;

/// What locks one page of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grabbed {
    /// The entry.
    Entry,
    /// The hole page in its place.
    Page(usize),
}

impl Protocol for Linux47 {
    fn name(&self) -> &'static str {
        "4.7"
    }

    fn title(&self) -> &'static str {
        "Linux 4.7: the entry is locked before the block map is asked"
    }

    fn words(&self) -> Words {
        Words::Linux
    }

    fn known(&self) -> Known {
        Known { listed: &[], besides: &[25], unnumbered: &[] }
    }

    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply {
        thread.lock(Lock::Invalidate, Mode::Shared);
        let reply = handle(thread, access, index);
        thread.unlock(Lock::Invalidate, Mode::Shared);
        reply
    }

    fn truncate(&self, thread: &Thread, pages: usize) {
        truncate(thread, pages);
    }

    fn punch(&self, thread: &Thread, index: usize) {
        punch(thread, index);
    }

    fn write(&self, thread: &Thread, index: usize, value: u32) {
        thread.lock(Lock::Inode, Mode::Exclusive);
        if thread.allocate(index, Zeroing::Inside).is_ok() {
            thread.copy_in(index, value);
            invalidate(thread, index, Discard::All);
            thread.written(index, value);
        }
        thread.unlock(Lock::Inode, Mode::Exclusive);
    }

    fn reclaim(&self, thread: &Thread, index: usize) {
        mm::reclaim(thread, index);
    }

    fn fsync(&self, thread: &Thread) {
        for index in Thread::all_pages() {
            if thread.is_dirty(index) {
                thread.lock_entry(index);
                thread.flush(index);
                thread.unlock_entry(index);
            }
        }
    }
}

/// `__dax_fault` of 4.7.
fn handle(thread: &Thread, access: Access, index: usize) -> Reply {
    if !thread.within_size(index) {
        return Reply::Sigbus;
    }
    let grabbed = grab(thread, index);
    let Ok(mut extent) = thread.look_up(index) else {
        return release(thread, grabbed, index, Reply::Sigbus);
    };
    if access == Access::Private {
        thread.remark("copies the block into a private page");
        return match grabbed {
            Grabbed::Page(page) => Reply::Locked(Some(page)),
            Grabbed::Entry => Reply::EntryLocked(index),
        };
    }
    if !matches!(extent, Extent::Written(_)) {
        if access == Access::Read {
            return Reply::Locked(Some(load_hole(thread, grabbed, index)));
        }
        match thread.allocate(index, Zeroing::Inside) {
            Ok(new) => extent = new,
            Err(_) => return release(thread, grabbed, index, Reply::Sigbus),
        }
    }
    insert_entry(thread, grabbed, index);
    if let Some(block) = extent.block() {
        thread.publish(index, block, access == Access::Write);
    }
    thread.unlock_entry(index);
    Reply::NoPage
}

/// Locks the hole page, or the entry where there is none.
pub(super) fn grab(thread: &Thread, index: usize) -> Grabbed {
    loop {
        if let Some(page) = thread.find_lock_page(index) {
            return Grabbed::Page(page);
        }
        if thread.lock_entry(index).is_none() {
            return Grabbed::Entry;
        }
        thread.unlock_entry(index);
    }
}

/// Unlocks what `grab` has locked.
pub(super) fn release(thread: &Thread, grabbed: Grabbed, index: usize, reply: Reply) -> Reply {
    match grabbed {
        Grabbed::Page(page) => thread.unlock_page(page),
        Grabbed::Entry => thread.unlock_entry(index),
    }
    reply
}

/// Puts a hole page in the place of the entry; it is locked on return, and the entry is not.
pub(super) fn load_hole(thread: &Thread, grabbed: Grabbed, index: usize) -> usize {
    match grabbed {
        Grabbed::Page(page) => page,
        Grabbed::Entry => {
            let page = thread.make_page(index);
            thread.unlock_entry(index);
            page
        }
    }
}

/// Puts an entry in the place of a hole page; the entry is locked on return, and the page is gone.
pub(super) fn insert_entry(thread: &Thread, grabbed: Grabbed, index: usize) {
    if let Grabbed::Page(page) = grabbed {
        mm::unmap(thread, index..index + 1);
        thread.lock_entry(index);
        thread.delete_page(index, page);
        thread.unlock_page(page);
    }
}

/// truncate(2) from 4.5 on.
pub(super) fn truncate(thread: &Thread, pages: usize) {
    thread.lock(Lock::Inode, Mode::Exclusive);
    thread.lock(Lock::Invalidate, Mode::Exclusive);
    thread.set_size(pages);
    let gone = pages..Thread::all_pages().end;
    for index in gone.clone() {
        drop_entry(thread, index);
    }
    mm::unmap_and_free(thread, gone);
    thread.truncated();
    thread.unlock(Lock::Invalidate, Mode::Exclusive);
    thread.unlock(Lock::Inode, Mode::Exclusive);
}

/// The punch of a hole from 4.5 on.
pub(super) fn punch(thread: &Thread, index: usize) {
    thread.lock(Lock::Inode, Mode::Exclusive);
    thread.lock(Lock::Invalidate, Mode::Exclusive);
    drop_entry(thread, index);
    mm::unmap_and_free(thread, index..index + 1);
    thread.unlock(Lock::Invalidate, Mode::Exclusive);
    thread.unlock(Lock::Inode, Mode::Exclusive);
}

/// Takes out a hole page or an entry, for a block that is about to go.
fn drop_entry(thread: &Thread, index: usize) {
    let grabbed = grab(thread, index);
    match grabbed {
        Grabbed::Page(page) => {
            mm::unmap(thread, index..index + 1);
            thread.delete_page(index, page);
        }
        Grabbed::Entry => thread.set_entry(index, Entry::None),
    }
    release(thread, grabbed, index, Reply::NoPage);
}

/// Takes out a hole page or an entry on behalf of write(2).
pub(super) fn invalidate(thread: &Thread, index: usize, discard: Discard) {
    let grabbed = grab(thread, index);
    match grabbed {
        Grabbed::Page(page) => {
            mm::unmap(thread, index..index + 1);
            thread.delete_page(index, page);
        }
        Grabbed::Entry => thread.discard_entry(index, discard),
    }
    release(thread, grabbed, index, Reply::NoPage);
}
