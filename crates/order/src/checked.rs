//! The bookkeeping of checked builds: what each thread holds, and where it took it.
//!
//! Each thread has a stack.  A new lock is checked against the top alone: every lock was checked
//! against the one below it and the order is transitive, so the top is the innermost.  That stays true
//! when guards are dropped in any order, since a chain with a member left out is still a chain.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::panic::Location;

use crate::seen;
use crate::sync::thread_local;
use crate::table::{LEVELS, Several};
use crate::{Level, level};

include!(concat!(env!("OUT_DIR"), "/reach.rs"));

thread_local! {
    static STACK: RefCell<Stack> = const { RefCell::new(Stack { entries: Vec::new(), next: 0 }) };
}

struct Stack {
    entries: Vec<Entry>,
    /// The number of the next frame on this thread.
    next: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    number: u64,
    rank: u16,
    key: u64,
    place: &'static Location<'static>,
}

/// The trace of one lock held; leaves the stack when dropped.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    number: u64,
    borrow: PhantomData<(&'a mut (), *mut ())>,
}

/// How a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Alone,
    /// As a further member of a set.
    NextOfSet,
}

impl Frame<'_> {
    /// A lock is about to be waited for.
    #[track_caller]
    pub(crate) fn push(rank: u16, key: u64) -> Self {
        Self::take(rank, key, Taken::Alone)
    }

    /// A further lock of a set is about to be waited for.
    #[track_caller]
    pub(crate) fn push_next(rank: u16, key: u64) -> Self {
        Self::take(rank, key, Taken::NextOfSet)
    }

    /// A copy from or to the caller's memory begins.
    #[track_caller]
    pub(crate) fn copying() -> Self {
        Self::take(level::Fault::RANK, 0, Taken::Alone)
    }

    #[track_caller]
    fn take(rank: u16, key: u64, taken: Taken) -> Self {
        let place = Location::caller();
        let new = Entry { number: 0, rank, key, place };
        let number = with_stack(|stack| {
            check(stack, &new, taken)?;
            stack.next += 1;
            stack.entries.push(Entry { number: stack.next, ..new });
            Ok(stack.next)
        })
        .unwrap_or_else(|report: String| panic!("{report}"));
        Self { number, borrow: PhantomData }
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        // Outside of an execution the model checker has no thread-local values, and no stack to keep.
        #[cfg(shuttle)]
        if shuttle::current::try_get_current_task().is_none() {
            return;
        }
        // A thread that ends may have lost its stack already.
        let _ = STACK.try_with(|stack| {
            stack.borrow_mut().entries.retain(|entry| entry.number != self.number);
        });
    }
}

/// Panics if this thread holds anything.
#[track_caller]
pub(crate) fn assert_unlocked() {
    let place = Location::caller();
    with_stack(|stack| match stack.entries.as_slice() {
        [] => Ok(()),
        entries => Err(format!("lock order: unlocked() called at {place}\n  while this thread holds{}", list(entries))),
    })
    .unwrap_or_else(|report| panic!("{report}"));
}

/// Panics if this thread holds anything but may fault.
#[track_caller]
pub(crate) fn assert_fault_may_start() {
    let place = Location::caller();
    with_stack(|stack| match stack.entries.as_slice() {
        [] => Ok(()),
        [.., outer, top] if top.rank == level::Fault::RANK => {
            seen::record(outer.rank, top.rank);
            Ok(())
        }
        entries => Err(format!(
            "lock order: a fault starts at {place}\n  outside of a copy, while this thread holds{}",
            list(entries)
        )),
    })
    .unwrap_or_else(|report| panic!("{report}"));
}

fn with_stack<R>(f: impl FnOnce(&mut Stack) -> R) -> R {
    STACK.with(|stack| f(&mut stack.borrow_mut()))
}

/// Whether `new` may follow the top of the stack; if not, the report.
fn check(stack: &Stack, new: &Entry, taken: Taken) -> Result<(), String> {
    let Some(top) = stack.entries.last() else {
        seen::record(level::Unlocked::RANK, new.rank);
        return Ok(());
    };
    if taken == Taken::NextOfSet {
        assert!(LEVELS[usize::from(new.rank)].several == Several::ByKey);
        assert!(top.rank == new.rank && top.key < new.key, "a set is taken in the order of its keys");
        return Ok(());
    }
    if REACH[usize::from(top.rank)] & (1 << new.rank) == 0 {
        return Err(report(stack, top, new));
    }
    // A copy is a nesting only once a fault starts in it.
    if new.rank != level::Fault::RANK {
        seen::record(top.rank, new.rank);
    }
    Ok(())
}

/// The report of a violation: both places, and all that is held.
fn report(stack: &Stack, top: &Entry, new: &Entry) -> String {
    format!(
        "lock order: `{}` may not be taken while `{}` is held\n  \
         taking {} {:#x} at {}\n  \
         holding {} {:#x} since {}\n  \
         this thread holds{}\n  \
         the lock order is in crates/order/src/table.rs",
        name(new),
        name(top),
        name(new),
        new.key,
        new.place,
        name(top),
        top.key,
        top.place,
        list(&stack.entries)
    )
}

fn list(entries: &[Entry]) -> String {
    let mut text = String::from(", outermost first:");
    for entry in entries {
        let _ = write!(text, "\n    {} {:#x} taken at {}", name(entry), entry.key, entry.place);
    }
    text
}

fn name(entry: &Entry) -> &'static str {
    LEVELS[usize::from(entry.rank)].name
}
