//! What stands between a program and a fault handler: the memory manager's part.
//!
//! A program loads or stores; where the translation does not allow it, the handler of the protocol is
//! called, and its reply is acted on; then the access is tried again. This is the caller that the
//! mail says one has to read "four function calls higher up the stack" to learn what it unlocks.

use super::Protocol;
use super::locks::Lock;
use super::thread::Thread;
use super::world::Pte;
use crate::trace::Mode;

/// What kind of access faulted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store through a shared mapping.
    Write,
    /// A store through a private mapping: the handler fills a page of the program's own.
    Private,
}

/// What a handler tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Done, or let the program try again.
    NoPage,
    /// This hole page is locked; or, where there is no page, something else may be. Which is the point.
    Locked(Option<usize>),
    /// The entry of this page of the file is locked (its own return code, from 4.7 on).
    EntryLocked(usize),
    /// The private copy is in place.
    DoneCow,
    /// Past the end, or an error.
    Sigbus,
    /// Not at this size: fault a small page.
    Fallback,
}

/// Who called the handler for a private store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The function that was written together with the handler, and knows.
    Knowing,
    /// One that goes by the reply alone: what is named as locked is unlocked, nothing else.
    ByReply,
}

/// An access is tried so often; every protocol here needs fewer.
const ATTEMPTS: usize = 8;

/// A load from a page.
pub fn load(thread: &Thread, protocol: &dyn Protocol, index: usize) {
    for _ in 0..ATTEMPTS {
        if thread.load(index) {
            return;
        }
        thread.remark(&format!("read fault on page {index}"));
        match protocol.fault(thread, Access::Read, index) {
            Reply::Locked(Some(page)) => {
                thread.map(index, Pte::Zero);
                thread.unlock_page(page);
            }
            Reply::Sigbus => {
                thread.remark("SIGBUS");
                return;
            }
            _ => {}
        }
        thread.returned("the read fault");
    }
}

/// A store to a page.
pub fn store(thread: &Thread, protocol: &dyn Protocol, index: usize, value: u32) {
    for _ in 0..ATTEMPTS {
        if thread.store(index, value) {
            return;
        }
        thread.remark(&format!("write fault on page {index}"));
        let reply = protocol.fault(thread, Access::Write, index);
        thread.returned("the write fault");
        if reply == Reply::Sigbus {
            thread.remark("SIGBUS");
            return;
        }
    }
}

/// A store that a 2 MiB fault is tried for first.
pub fn store_huge(thread: &Thread, protocol: &dyn Protocol, value: u32) {
    thread.remark("2 MiB write fault");
    let reply = protocol.huge_fault(thread);
    thread.returned("the 2 MiB fault");
    match reply {
        Reply::Sigbus => thread.remark("SIGBUS"),
        _ => store(thread, protocol, 0, value),
    }
}

/// A store through a private mapping.
pub fn store_private(thread: &Thread, protocol: &dyn Protocol, index: usize, caller: Caller) {
    thread.remark(&format!("private write fault on page {index}"));
    match protocol.fault(thread, Access::Private, index) {
        Reply::Locked(Some(page)) => {
            thread.map(index, Pte::Private);
            thread.unlock_page(page);
        }
        Reply::Locked(None) => {
            thread.map(index, Pte::Private);
            if let (Caller::Knowing, Some(mode)) = (caller, protocol.cow_caller_unlocks()) {
                thread.unlock(Lock::ReverseMap, mode);
            }
        }
        Reply::EntryLocked(index) => {
            thread.map(index, Pte::Private);
            thread.unlock_entry(index);
        }
        Reply::Sigbus => thread.remark("SIGBUS"),
        _ => {}
    }
    thread.returned("the private write fault");
}

/// `unmap_mapping_range`: removes translations under the lock of the tree of mappings.
pub fn unmap(thread: &Thread, pages: std::ops::Range<usize>) {
    thread.lock(Lock::ReverseMap, Mode::Exclusive);
    thread.zap(pages);
    thread.unlock(Lock::ReverseMap, Mode::Exclusive);
}

/// Takes one hole page out: locks it, unmaps it, deletes it.
pub fn drop_hole_page(thread: &Thread, index: usize) {
    if let Some(page) = thread.find_lock_page(index) {
        unmap(thread, index..index + 1);
        thread.delete_page(index, page);
        thread.unlock_page(page);
    }
}

/// Reclaim: as `drop_hole_page`, but it walks the tree of mappings as a reader.
pub fn reclaim(thread: &Thread, index: usize) {
    if let Some(page) = thread.find_lock_page(index) {
        thread.lock(Lock::ReverseMap, Mode::Shared);
        thread.zap(index..index + 1);
        thread.unlock(Lock::ReverseMap, Mode::Shared);
        thread.delete_page(index, page);
        thread.unlock_page(page);
    }
}

/// Unmaps pages and frees their blocks in one transaction: the file system keeps its transaction open
/// while it unmaps. No chart of 2015 said that it may not, and that is the mail's question.
pub fn unmap_and_free(thread: &Thread, pages: std::ops::Range<usize>) {
    thread.lock(Lock::Transaction, Mode::Exclusive);
    unmap(thread, pages.clone());
    thread.free(pages);
    thread.unlock(Lock::Transaction, Mode::Exclusive);
}
