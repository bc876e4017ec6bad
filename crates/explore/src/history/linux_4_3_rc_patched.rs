//! Linux 4.3-rc with the patch that the mail reviews.
//!
//! # Lock rules
//! Those of 4.3-rc (see `linux_4_3_rc.rs`) with one change: a read of a hole unlocks `i_mmap_rwsem`
//! only where it found no page, that is, only where it had taken it.
//!
//! # What it relies on
//! On the same equation of "no page" and "locked" as before. The patch repairs one of the places
//! that rely on it. The reviewer's answer was that he could not tell how the rest is meant to work;
//! the explorer's answer is the rest of the column.

use super::linux_4_2;
use super::linux_4_3_rc::{self, HoleUnlock};
use super::locks::Words;
use super::mm::{self, Access, Reply};
use super::thread::Thread;
use super::world::Invariant;
use super::{Known, Marks, Protocol};
use crate::trace::Mode;

/// The protocol.
pub struct Linux43RcPatched;

impl Protocol for Linux43RcPatched {
    fn name(&self) -> &'static str {
        "4.3-rc-patched"
    }

    fn title(&self) -> &'static str {
        "Linux 4.3-rc with the patch under review"
    }

    fn words(&self) -> Words {
        Words::Linux
    }

    fn known(&self) -> Known {
        Known { listed: &[2, 3, 4, 5, 7], besides: &[10, 11, 12, 17, 18], unnumbered: &[Invariant::WriteStays] }
    }

    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply {
        linux_4_3_rc::fault(thread, access, index, HoleUnlock::WithoutPage)
    }

    fn huge_fault(&self, thread: &Thread) -> Reply {
        linux_4_3_rc::huge_fault(thread)
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
