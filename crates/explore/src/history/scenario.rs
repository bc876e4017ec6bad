//! The scenarios: what two or three threads do to one file, the same for every protocol.
//!
//! A scenario says nothing about what might go wrong. What did go wrong is told by the broken
//! invariant; together with the operations that took part it is given its number in the locking
//! model, here, after the fact.

use shuttle::sync::Arc;
use shuttle::thread;

use super::mm::{self, Caller};
use super::thread::{Thread, World};
use super::world::{Extent, Invariant, PAGES, State};
use super::{Marks, Protocol, interleaving};
use crate::bounded::{self, Config, Failure, Outcome, ReplayError, set_uninterrupted, uninterrupted};
use crate::trace;

/// What a thread does. Pages are pages of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Loads from page 0 through its mapping.
    Load,
    /// Stores to page 0 through its mapping.
    Store,
    /// Stores to page 0, by a 2 MiB fault if it can be had.
    StoreHuge,
    /// Stores to page 0 through a private mapping.
    StorePrivate(Caller),
    /// truncate(2) to nothing.
    Truncate,
    /// Punches page 0.
    Punch,
    /// write(2) to page 0.
    Write,
    /// Reclaims the hole page of page 0.
    Reclaim,
    /// fsync(2).
    Fsync,
}

impl Op {
    fn title(self) -> &'static str {
        match self {
            Op::Load => "load",
            Op::Store => "store",
            Op::StoreHuge => "store (2 MiB)",
            Op::StorePrivate(Caller::Knowing) => "private store",
            Op::StorePrivate(Caller::ByReply) => "private store, caller goes by the reply",
            Op::Truncate => "truncate",
            Op::Punch => "punch",
            Op::Write => "write(2)",
            Op::Reclaim => "reclaim",
            Op::Fsync => "fsync",
        }
    }
}

/// A file, and threads that do something to it.
#[derive(Debug)]
pub struct Scenario {
    /// Short name, as it stands in a replay string.
    pub name: &'static str,
    /// What page 0 is at the beginning. (Block numbers in it do not matter.)
    pub page: Extent,
    /// Every `get_block` fails.
    pub failing: bool,
    /// What each thread does, in order.
    pub threads: &'static [&'static [Op]],
}

const HOLE: Extent = Extent::Hole;
const UNWRITTEN: Extent = Extent::Unwritten(0);
const WRITTEN: Extent = Extent::Written(0);

const fn on(name: &'static str, page: Extent, threads: &'static [&'static [Op]]) -> Scenario {
    Scenario { name, page, failing: false, threads }
}

const fn failing(name: &'static str, threads: &'static [&'static [Op]]) -> Scenario {
    Scenario { name, page: HOLE, failing: true, threads }
}

const PRIVATE: Op = Op::StorePrivate(Caller::Knowing);
const PRIVATE_BY_REPLY: Op = Op::StorePrivate(Caller::ByReply);

/// All scenarios.
pub static SCENARIOS: &[Scenario] = &[
    on("load+load:hole", HOLE, &[&[Op::Load], &[Op::Load]]),
    on("load+store:hole", HOLE, &[&[Op::Load], &[Op::Store]]),
    on("store+store:hole", HOLE, &[&[Op::Store], &[Op::Store]]),
    on("store+store:unwritten", UNWRITTEN, &[&[Op::Store], &[Op::Store]]),
    on("load,store+store:hole", HOLE, &[&[Op::Load, Op::Store], &[Op::Store]]),
    on("private:hole", HOLE, &[&[PRIVATE]]),
    on("private:written", WRITTEN, &[&[PRIVATE]]),
    on("private-by-reply:hole", HOLE, &[&[PRIVATE_BY_REPLY]]),
    on("private+private:written", WRITTEN, &[&[PRIVATE], &[PRIVATE]]),
    on("private+store:hole", HOLE, &[&[PRIVATE], &[Op::Store]]),
    on("private+truncate:written", WRITTEN, &[&[PRIVATE], &[Op::Truncate]]),
    on("load+truncate:hole", HOLE, &[&[Op::Load], &[Op::Truncate]]),
    on("load+truncate:written", WRITTEN, &[&[Op::Load], &[Op::Truncate]]),
    on("store+truncate:hole", HOLE, &[&[Op::Store], &[Op::Truncate]]),
    on("load,store+truncate:hole", HOLE, &[&[Op::Load, Op::Store], &[Op::Truncate]]),
    on("load+punch:written", WRITTEN, &[&[Op::Load], &[Op::Punch]]),
    on("store+punch:hole", HOLE, &[&[Op::Store], &[Op::Punch]]),
    on("load+write:hole", HOLE, &[&[Op::Load], &[Op::Write]]),
    on("store+write:hole", HOLE, &[&[Op::Store], &[Op::Write]]),
    on("write+truncate:hole", HOLE, &[&[Op::Write], &[Op::Truncate]]),
    on("store+load,reclaim:hole", HOLE, &[&[Op::Store], &[Op::Load, Op::Reclaim]]),
    failing("store-fails", &[&[Op::Store]]),
    failing("huge-store-fails", &[&[Op::StoreHuge]]),
    on("huge-store:hole", HOLE, &[&[Op::StoreHuge]]),
    on("store+fsync:hole", HOLE, &[&[Op::Store], &[Op::Fsync]]),
    on("store,fsync+store:hole", HOLE, &[&[Op::Store, Op::Fsync], &[Op::Store]]),
    on("store,fsync+write:hole", HOLE, &[&[Op::Store, Op::Fsync], &[Op::Write]]),
    on("load+store+punch:hole", HOLE, &[&[Op::Load], &[Op::Store], &[Op::Punch]]),
    on("load+store+write:hole", HOLE, &[&[Op::Load], &[Op::Store], &[Op::Write]]),
];

/// The scenario with this name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|s| s.name == name)
}

impl Scenario {
    /// Whether the protocol has all the operations.
    pub fn suits(&self, protocol: &dyn Protocol) -> bool {
        !self.has(Op::Fsync) || protocol.marks_stores() == Marks::Kept
    }

    fn has(&self, op: Op) -> bool {
        self.threads.iter().any(|ops| ops.contains(&op))
    }

    fn has_private(&self) -> bool {
        self.has(PRIVATE) || self.has(PRIVATE_BY_REPLY)
    }

    /// What it is, for people.
    pub fn title(&self) -> String {
        let page = match self.page {
            Extent::Hole => "a hole",
            Extent::Unwritten(_) => "a preallocated block",
            Extent::Written(_) => "a block with data",
        };
        let threads: Vec<String> = self.threads.iter().map(|ops| title_of(ops)).collect();
        let failing = if self.failing { ", get_block fails" } else { "" };
        format!("Page 0 is {page}{failing}. {}", threads.join(", beside it: "))
    }

    /// The number, in the locking model, of a broken invariant in this scenario.
    pub fn interleaving(&self, invariant: Invariant) -> Option<u8> {
        let shrinks = if self.has(Op::Punch) { 18 } else { 17 };
        let number = match invariant {
            Invariant::UnlockHeld => 1,
            Invariant::NothingKept if self.has_private() => 2,
            Invariant::NothingKept if self.has(Op::StoreHuge) => 7,
            Invariant::NothingKept | Invariant::NoSelfWait => 3,
            Invariant::NoCircleWithTransaction => 4,
            Invariant::NoCircleWithPage => 5,
            Invariant::WalkLocked => 6,
            Invariant::UnlockMode => 9,
            Invariant::StoreStays => 10,
            Invariant::StoreSeen => 11,
            Invariant::WriteSeen => 12,
            Invariant::BlockOwned | Invariant::WithinSize => shrinks,
            Invariant::PrivateWithinSize => 20,
            Invariant::StoreFlushed if self.has(Op::Write) => 25,
            Invariant::StoreFlushed => 21,
            Invariant::WriteStays | Invariant::NoCircle => return None,
        };
        Some(number)
    }

    /// Runs the scenario once; the explorer calls this again and again.
    fn run(&'static self, protocol: &'static dyn Protocol) {
        uninterrupted(|| {
            let mut extents = [Extent::Hole; PAGES];
            extents[0] = self.page;
            let mut state = State::new(protocol.words(), extents, self.threads.len());
            state.failing = self.failing;
            let world = World::new(state);
            for (id, ops) in self.threads.iter().enumerate() {
                trace::title(id, || format!("T{}: {}", id + 1, title_of(ops)));
                let theirs = Arc::clone(&world);
                let worker = thread::spawn(move || self.work(protocol, &Thread::new(&theirs, id), id));
                world.keep(worker);
            }
        });
        // This task ends here, so that which worker begins is a choice that costs nothing. What is
        // left of it changes nothing and is no decision.
        set_uninterrupted(true);
    }

    fn work(&self, protocol: &dyn Protocol, thread: &Thread, id: usize) {
        for (nth, op) in self.threads[id].iter().enumerate() {
            let value = (10 * (id + 1) + nth) as u32;
            run_op(protocol, thread, *op, value);
            thread.returned(op.title());
        }
        thread.end();
    }

    /// Explores this scenario under a protocol to the end of the bound.
    pub fn survey(&'static self, protocol: &'static dyn Protocol, config: &Config) -> (Outcome, Vec<Finding>) {
        let (outcome, failures) = bounded::survey(config, move || self.run(protocol));
        let findings = failures.into_iter().map(|f| self.finding(protocol, f)).collect();
        (outcome, findings)
    }

    /// Runs one schedule.
    pub fn replay(
        &'static self,
        protocol: &'static dyn Protocol,
        schedule: &str,
    ) -> Result<Option<Finding>, ReplayError> {
        let failure = bounded::replay(schedule, move || self.run(protocol))?;
        Ok(failure.map(|f| self.finding(protocol, f)))
    }

    fn finding(&'static self, protocol: &'static dyn Protocol, mut failure: Failure) -> Finding {
        let number = Invariant::of_class(&failure.class).and_then(|i| self.interleaving(i));
        let what = match number {
            Some(number) => format!("interleaving {number}: {}", interleaving(number)),
            None => failure.class.clone(),
        };
        failure.title = format!("{}\n{what}\n{}", protocol.title(), self.title());
        failure.schedule = format!("{}/{}/{}", protocol.name(), self.name, failure.schedule);
        Finding { protocol: protocol.name(), scenario: self, interleaving: number, failure }
    }
}

/// A failure of one scenario under one protocol.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The protocol's name.
    pub protocol: &'static str,
    /// The scenario.
    pub scenario: &'static Scenario,
    /// Its number in the locking model; `None` for one that is not in it.
    pub interleaving: Option<u8>,
    /// How it fails. The schedule begins with protocol and scenario.
    pub failure: Failure,
}

fn title_of(ops: &[Op]) -> String {
    let titles: Vec<&str> = ops.iter().map(|op| op.title()).collect();
    titles.join(", then ")
}

fn run_op(protocol: &dyn Protocol, thread: &Thread, op: Op, value: u32) {
    match op {
        Op::Load => mm::load(thread, protocol, 0),
        Op::Store => mm::store(thread, protocol, 0, value),
        Op::StoreHuge => mm::store_huge(thread, protocol, value),
        Op::StorePrivate(caller) => mm::store_private(thread, protocol, 0, caller),
        Op::Truncate => protocol.truncate(thread, 0),
        Op::Punch => protocol.punch(thread, 0),
        Op::Write => protocol.write(thread, 0, value),
        Op::Reclaim => protocol.reclaim(thread, 0),
        Op::Fsync => {
            let owed = thread.owed();
            protocol.fsync(thread);
            thread.paid(&owed);
        }
    }
}
