//! Proofs of what a thread holds, and the places where the first proof comes from.
//!
//! There are two roots.  [`unlocked`] is for every entry point: the thread holds nothing.
//! [`fault_root`] is for page faults.  A fault may come alone, or inside a copy from or to the
//! caller's memory, where the same thread holds `Freeze` and `Inode` already: the memory may be a
//! window onto the same file.  The copy says so with [`in_copy`], and the token of the fault, level
//! `Fault`, stands between `Inode` and `FaultGate`: it permits what may follow an inode's lock, but no
//! other inode's.

use std::fmt;
use std::marker::PhantomData;

use crate::frame::{self, Frame};
use crate::{Before, Level, level};

/// Proof that `L` is the innermost level that this thread holds.
///
/// It has no size, stays on its thread and is not `Clone`.  It borrows the outer proof mutably, so
/// the outer one cannot be used while it lives.
pub struct Held<'t, L: Level> {
    outer: PhantomData<&'t mut ()>,
    level: PhantomData<fn() -> L>,
    thread: PhantomData<*mut ()>,
}

impl<L: Level> Held<'_, L> {
    pub(crate) const fn new() -> Self {
        Self { outer: PhantomData, level: PhantomData, thread: PhantomData }
    }

    /// The same proof as if the inner level `M` were held too.  It only takes permissions away, and
    /// serves to call a method of a trait object, which names one level.
    pub const fn narrow<M: Level>(&mut self) -> Held<'_, M>
    where
        L: Before<M>,
    {
        Held::new()
    }
}

impl<L: Level> fmt::Debug for Held<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held<{}>", L::NAME)
    }
}

/// The root proof of an entry point: this thread holds nothing.
///
/// # Panics
/// Checked builds panic if the thread does hold something, and say what and where it was taken.
#[track_caller]
pub fn unlocked() -> Held<'static, level::Unlocked> {
    frame::assert_unlocked();
    Held::new()
}

/// The root proof of a page fault: this thread holds nothing, or is inside a [`CopyScope`].
///
/// # Panics
/// Checked builds panic if the innermost thing held is anything but a `CopyScope`.
#[track_caller]
pub fn fault_root() -> Held<'static, level::Fault> {
    frame::assert_fault_may_start();
    Held::new()
}

/// While it lives, the thread copies from or to the caller's memory, and may fault.
#[must_use = "faults may start only while the scope lives"]
#[derive(Debug)]
pub struct CopyScope<'a> {
    _frame: Frame<'a>,
}

/// Says that this thread now copies from or to the caller's memory under an inode's lock.
///
/// Nothing can be taken through the proof while the scope lives.
#[track_caller]
pub fn in_copy<'a>(_held: &'a mut Held<'_, level::Inode>) -> CopyScope<'a> {
    CopyScope { _frame: Frame::copying() }
}

/// A logical lock that is held: it takes part in the order like a real one, until dropped.
#[must_use = "the level counts as held only while the section lives"]
pub struct Section<'a, L: Level> {
    _frame: Frame<'a>,
    level: PhantomData<fn() -> L>,
}

impl<L: Level> fmt::Debug for Section<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Section<{}>", L::NAME)
    }
}

/// Enters the level `L` for a logical lock, one that is a bit in a table rather than a `Mutex`.
///
/// `key` tells one lock of the level from another in reports.  Enter before the bit is waited for,
/// and drop the section after the bit is cleared.
///
/// # Panics
/// Checked builds panic if `L` may not follow what the thread holds, above all if it holds `L`.
#[track_caller]
pub fn enter<'a, L: Level, P: Before<L>>(held: &'a mut Held<'_, P>, key: u64) -> (Section<'a, L>, Held<'a, L>) {
    (Section { _frame: Frame::push(L::RANK, key), level: PhantomData }, held.narrow())
}
