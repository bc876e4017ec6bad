//! The fault protocols of history, as models that can be explored.
//!
//! Each protocol is a file that begins with its lock rules and then follows, step by step, the order
//! in which the code of that time did things. No protocol contains a defect as such: what goes wrong
//! follows from the order of the steps, and whether it goes wrong is decided by invariants that are
//! the same for all (see [`world`]). Scenarios, too, are the same for all (see [`scenario`]).
//!
//! What is left out: weak memory order, `mmap_sem`, several blocks in a page, the insides of the
//! radix tree, retries for lack of memory. What is simplified is said in the file where it is.

pub mod daxle;
pub mod linux_4_11;
pub mod linux_4_2;
pub mod linux_4_3;
pub mod linux_4_3_rc;
pub mod linux_4_3_rc_patched;
pub mod linux_4_7;
pub mod locks;
pub mod mm;
pub mod scenario;
pub mod table;
pub mod thread;
pub mod world;

use crate::trace::Mode;
use locks::Words;
use mm::{Access, Reply};
use thread::Thread;
use world::Invariant;

pub use scenario::{SCENARIOS, Scenario};
pub use table::{Table, table};

/// The interleavings of the locking model that a protocol has.
///
/// For people and for tests. The explorer does not look at it.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Those that it is known for.
    pub listed: &'static [u8],
    /// Those that its steps admit besides; `docs/history.md` says why.
    pub besides: &'static [u8],
    /// Broken invariants that have no number in the locking model.
    pub unnumbered: &'static [Invariant],
}

impl Known {
    /// All numbers, ascending.
    pub fn numbers(&self) -> Vec<u8> {
        let mut all: Vec<u8> = self.listed.iter().chain(self.besides).copied().collect();
        all.sort_unstable();
        all
    }
}

/// Whether a protocol keeps dirty marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Yes, so fsync can be held to them.
    Kept,
    /// No: a store through a mapping was on the media when the hardware saw fit (before 4.5).
    None,
}

/// The way one kernel serves faults and changes files under them.
pub trait Protocol: Sync {
    /// Short name, as given on the command line.
    fn name(&self) -> &'static str;
    /// One line.
    fn title(&self) -> &'static str;
    /// In whose words its locks are named.
    fn words(&self) -> Words;
    /// What it is known for.
    fn known(&self) -> Known;
    /// The handler of a fault on one page.
    fn fault(&self, thread: &Thread, access: Access, index: usize) -> Reply;
    /// The handler of a 2 MiB fault for a store; most have none, or fall back at once.
    fn huge_fault(&self, _thread: &Thread) -> Reply {
        Reply::Fallback
    }
    /// How the caller of a private fault unlocks the tree of mappings when told that no page is
    /// locked. `None` where no reply means that.
    fn cow_caller_unlocks(&self) -> Option<Mode> {
        None
    }
    /// truncate(2) to so many pages.
    fn truncate(&self, thread: &Thread, pages: usize);
    /// Punches a hole of one page.
    fn punch(&self, thread: &Thread, index: usize);
    /// write(2) of one page.
    fn write(&self, thread: &Thread, index: usize, value: u32);
    /// Memory is short: a hole page goes.
    fn reclaim(&self, thread: &Thread, index: usize);
    /// Whether stores through a mapping leave dirty marks for fsync (from 4.5 on).
    fn marks_stores(&self) -> Marks {
        Marks::Kept
    }
    /// fsync(2). Called only where marks are kept.
    fn fsync(&self, thread: &Thread);
}

/// All protocols, in the order of history.
pub static PROTOCOLS: [&dyn Protocol; 7] = [
    &linux_4_2::Linux42,
    &linux_4_3_rc::Linux43Rc,
    &linux_4_3_rc_patched::Linux43RcPatched,
    &linux_4_3::Linux43,
    &linux_4_7::Linux47,
    &linux_4_11::Linux411,
    &daxle::Daxle,
];

/// The protocol with this name.
pub fn protocol(name: &str) -> Option<&'static dyn Protocol> {
    PROTOCOLS.into_iter().find(|p| p.name().eq_ignore_ascii_case(name))
}

/// What the interleavings are, by their number in the locking model: those that a protocol of
/// history can be found to have.
pub fn interleaving(number: u8) -> &'static str {
    match number {
        1 => "a read of a hole unlocks a lock that it never took",
        2 => "a private write fault returns with the lock held; an absent page is the sign",
        3 => "the page that stands for \"not locked\" appears between lock and unlock",
        4 => "the file system is called under the reverse map; truncate nests them the other way",
        5 => "the page lock is taken under the reverse map; reclaim nests them the other way",
        6 => "the tree of mappings is walked without its lock",
        7 => "a 2 MiB fault returns on an error with the lock held",
        9 => "read-locked in one function, write-unlocked in another",
        10 => "two write faults zero the same block; a store is lost",
        11 => "a read fault maps zeros over a block that a write fault has allocated",
        12 => "a read fault maps zeros over a block that write(2) has allocated",
        17 => "truncate frees a block that a fault then maps",
        18 => "a punch frees a block that a fault then maps",
        20 => "a private copy is mapped after truncate has unmapped",
        21 => "a store is writable and clean at once; fsync misses it",
        25 => "write(2) drops a dirty entry; fsync misses the store",
        _ => "an interleaving that no protocol here is known for",
    }
}
