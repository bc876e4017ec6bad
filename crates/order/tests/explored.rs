//! The locks under the model checker.  Run with `RUSTFLAGS="--cfg shuttle"`.

#![cfg(shuttle)]

use order::sync::{Arc, thread};
use order::{Condvar, Mutex, enter, level, unlocked};

/// A logical lock as the entry table has it: a bit in a shard, and waiters.
struct Entry {
    locked: Mutex<level::EntryShard, bool>,
    unlocked: Condvar,
    count: Mutex<level::Window, u32>,
}

impl Entry {
    fn new() -> Self {
        Self { locked: Mutex::new(false), unlocked: Condvar::new(), count: Mutex::new(0) }
    }

    fn lock(&self) {
        let mut locked = self.locked.leaf();
        while *locked {
            locked = self.unlocked.wait(locked);
        }
        *locked = true;
    }

    fn unlock(&self) {
        *self.locked.leaf() = false;
        self.unlocked.notify_one();
    }

    /// Reads and writes the count in two steps, so that only the entry's lock keeps them together.
    fn add_one(&self) {
        let mut held = unlocked();
        let (_section, mut held) = enter::<level::Entry, _>(&mut held, 0);
        self.lock();
        let seen = *self.count.lock(&mut held).0;
        *self.count.lock(&mut held).0 = seen + 1;
        self.unlock();
    }
}

fn three_threads_add_one() {
    let entry = Arc::new(Entry::new());
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let entry = Arc::clone(&entry);
            thread::spawn(move || entry.add_one())
        })
        .collect();
    entry.add_one();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    assert_eq!(*entry.count.lock(&mut unlocked()).0, 3);
}

#[test]
fn a_logical_lock_excludes_in_every_schedule_tried() {
    shuttle::check_random(three_threads_add_one, 500);
    shuttle::check_pct(three_threads_add_one, 500, 3);
}

#[test]
#[should_panic(expected = "`EntryShard` may not be taken while `WaitQueue` is held")]
fn a_wrong_order_is_reported_in_an_execution() {
    shuttle::check_random(
        || {
            let shard = Mutex::<level::EntryShard, ()>::new(());
            let queue = Mutex::<level::WaitQueue, ()>::new(());
            let _queue = queue.leaf();
            drop(shard.leaf());
        },
        1,
    );
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wake_up_is_found() {
    shuttle::check_random(
        || {
            let entry = Entry::new();
            entry.lock();
            // Nobody is left to unlock it.
            entry.add_one();
        },
        1,
    );
}
