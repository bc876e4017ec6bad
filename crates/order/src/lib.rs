//! The lock model: which lock may be taken while which other is held.
//!
//! The order stands in one table ([`table`]).  From it come three checks that cannot drift apart:
//!
//! * *The compiler.*  A [`Held<L>`](Held) is proof that `L` is the innermost level that the thread
//!   holds.  Taking a lock borrows the outer proof mutably and gives an inner one, and it needs
//!   `Outer: Before<Inner>`.  So a lock out of order, a second lock of the same level, and the use
//!   of an outer proof while an inner guard lives do not compile.
//! * *The run-time check* of debug and test builds.  Each thread has a stack of what it holds and
//!   where it took it.  It covers what types cannot see: leaves taken without a proof, a second
//!   [`unlocked`] on the same thread, and the keys of locks taken as a set.
//! * *The observed nestings* ([`observed`]), compared with the table by the test suite.
//!
//! This is the only crate that uses the locks of `std::sync`, or, with `--cfg shuttle`, those of the
//! model checker; the [`sync`] module passes on what else a crate needs to run under it.  Poisoning
//! is dropped: a panic with a lock held is a broken invariant, and what it left is no worse guarded
//! by a second panic.
//!
//! In release builds a proof, a section and the bookkeeping of a guard have no size and no code.

#![forbid(unsafe_code)]

pub mod chart;
mod level_traits;
mod locks;
mod seen;
mod sets;
pub mod sync;
pub mod table;
mod token;

#[cfg(any(debug_assertions, test, feature = "check"))]
#[path = "checked.rs"]
mod frame;
#[cfg(not(any(debug_assertions, test, feature = "check")))]
#[path = "unchecked.rs"]
mod frame;

pub use level_traits::{Before, Leaf, Level, Several, level};
pub use locks::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use seen::{observed, observed_beyond_table, unexercised_edges};
pub use sets::{LockSet, ReadSet, SET_MAX, WriteSet, read_set, write_set};
pub use token::{CopyScope, Held, Section, enter, fault_root, in_copy, unlocked};
