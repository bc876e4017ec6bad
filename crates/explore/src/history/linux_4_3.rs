//! Linux 4.3 as released: the scheme of 4.3-rc taken back.
//!
//! # Lock rules
//! - The handler is that of 4.2: `i_mmap_rwsem` is *read* around {check of the size, zeroing,
//!   mapping}, and a private write fault without a hole page returns holding it for reading.
//! - The caller of the private fault is still that of 4.3-rc: it *write*-unlocks.
//! - A 2 MiB fault asks `get_block` first and reads `i_mmap_rwsem` afterwards.
//!
//! # What it relies on
//! On a convention between two functions four calls apart, of which the revert reached only one. And
//! with the lock scheme of 4.2 its data races are back.

use super::linux_4_2;
use super::locks::{Lock, Words};
use super::mm::{self, Access, Reply};
use super::thread::{Thread, Zeroing};
use super::world::Invariant;
use super::{Known, Marks, Protocol};
use crate::trace::Mode;

/// The protocol.
pub struct Linux43;

impl Protocol for Linux43 {
    fn name(&self) -> &'static str {
        "4.3"
    }

    fn title(&self) -> &'static str {
        "Linux 4.3 as released: the handler of 4.2, the caller of 4.3-rc"
    }

    fn words(&self) -> Words {
        Words::Linux
    }

    fn known(&self) -> Known {
        Known { listed: &[9, 10], besides: &[2, 11, 12, 18], unnumbered: &[Invariant::WriteStays] }
    }

    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply {
        linux_4_2::fault(thread, access, index)
    }

    fn huge_fault(&self, thread: &Thread) -> Reply {
        if !thread.within_size(0) || thread.allocate(0, Zeroing::Later).is_err() {
            return Reply::Sigbus;
        }
        thread.lock(Lock::ReverseMap, Mode::Shared);
        thread.remark("the block is smaller than 2 MiB");
        thread.unlock(Lock::ReverseMap, Mode::Shared);
        Reply::Fallback
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
