//! The run-time check, on the cases that types cannot see.
//!
//! Two proofs made before the first lock stand for code that has lost its proof.

#![cfg(all(not(shuttle), any(debug_assertions, feature = "check")))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use order::{Condvar, Mutex, RwLock, enter, fault_root, in_copy, level, read_set, unlocked, write_set};

/// What a panic of `f` says.
fn report_of(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("the check panics");
    panic.downcast_ref::<String>().expect("the report is formatted").clone()
}

/// The position `file:line` of a line of this file, as the report writes it.
fn at(line: u32) -> String {
    format!("{}:{line}:", file!().rsplit('/').next().expect("a path has a last part"))
}

#[test]
fn a_violation_names_both_places_and_all_that_is_held() {
    let freeze = RwLock::<level::Freeze, ()>::new(());
    let window = Mutex::<level::Window, ()>::new(());
    let inode = RwLock::<level::Inode, ()>::new(());
    let (mut one, mut two) = (unlocked(), unlocked());
    let (_freeze, mut held) = freeze.read(&mut one);
    let (window_line, (_window, _held)) = (line!(), window.lock(&mut held));
    let inode_line = line!() + 2;
    let report = report_of(|| {
        let _ = inode.read(&mut two);
    });
    assert!(report.contains("`Inode` may not be taken while `Window` is held"), "{report}");
    assert!(report.contains(&at(window_line)), "{report}");
    assert!(report.contains(&at(inode_line)), "{report}");
    assert!(report.contains("Freeze"), "{report}");
}

#[test]
fn the_same_level_is_not_taken_twice() {
    let inodes = [const { RwLock::<level::Inode, ()>::new(()) }; 2];
    let (mut one, mut two) = (unlocked(), unlocked());
    let (_guard, _held) = inodes[0].read(&mut one);
    let report = report_of(|| {
        let _ = inodes[1].read(&mut two);
    });
    assert!(report.contains("`Inode` may not be taken while `Inode` is held"), "{report}");
}

#[test]
fn a_leaf_under_a_leaf_panics() {
    let queue = Mutex::<level::WaitQueue, ()>::new(());
    let statistics = RwLock::<level::Statistics, ()>::new(());
    let _queue = queue.leaf();
    let report = report_of(|| drop(statistics.read_leaf()));
    assert!(report.contains("`Statistics` may not be taken while `WaitQueue` is held"), "{report}");
}

#[test]
fn a_lock_under_a_leaf_panics() {
    let shard = RwLock::<level::EntryShard, ()>::new(());
    let group = Mutex::<level::AllocGroup, ()>::new(());
    let mut held = unlocked();
    let _shard = shard.write_leaf();
    let report = report_of(|| drop(group.lock(&mut held)));
    assert!(report.contains("`AllocGroup` may not be taken while `EntryShard` is held"), "{report}");
}

#[test]
fn a_second_entry_panics() {
    let (mut one, mut two) = (unlocked(), unlocked());
    let (_section, _held) = enter::<level::Entry, _>(&mut one, 7);
    let report = report_of(|| drop(enter::<level::Entry, _>(&mut two, 9)));
    assert!(report.contains("taking Entry 0x9"), "{report}");
    assert!(report.contains("holding Entry 0x7"), "{report}");
}

#[test]
fn a_second_root_with_a_lock_held_panics() {
    let freeze = RwLock::<level::Freeze, ()>::new(());
    let mut held = unlocked();
    let (line, (_freeze, _held)) = (line!(), freeze.read(&mut held));
    let report = report_of(|| {
        let _ = unlocked();
    });
    assert!(report.contains("Freeze") && report.contains(&at(line)), "{report}");
}

#[test]
fn a_proof_does_not_count_what_another_thread_holds() {
    let freeze = RwLock::<level::Freeze, ()>::new(());
    let mut held = unlocked();
    let (_freeze, _held) = freeze.read(&mut held);
    thread::scope(|scope| {
        scope.spawn(|| drop(freeze.read(&mut unlocked())));
    });
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let freeze = RwLock::<level::Freeze, ()>::new(());
    let inode = RwLock::<level::Inode, ()>::new(());
    let invalidate = RwLock::<level::Invalidate, ()>::new(());
    {
        let mut held = unlocked();
        let (freeze, mut held) = freeze.read(&mut held);
        let (inode, mut held) = inode.write(&mut held);
        drop(freeze);
        let (invalidate, mut held) = invalidate.write(&mut held);
        drop(inode);
        let section = enter::<level::Entry, _>(&mut held, 0);
        drop(invalidate);
        drop(section);
    }
    let _ = unlocked();
}

#[test]
fn a_panic_leaves_nothing_on_the_stack_and_no_poison() {
    let count = Mutex::<level::Window, u32>::new(0);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let mut held = unlocked();
        let (mut guard, _held) = count.lock(&mut held);
        *guard += 1;
        panic!("on purpose");
    }));
    assert!(panic.is_err());
    let mut held = unlocked();
    assert_eq!(*count.lock(&mut held).0, 1);
}

#[test]
fn a_set_is_indexed_as_given_and_takes_a_lock_once() {
    let inodes = [10u64, 20, 30].map(RwLock::<level::Inode, u64>::new);
    let given = [(30, &inodes[2]), (10, &inodes[0]), (30, &inodes[2]), (20, &inodes[1])];
    let mut held = unlocked();
    {
        let (mut set, _held) = write_set(&given, &mut held);
        assert_eq!((0..set.len()).map(|i| *set.get(i)).collect::<Vec<_>>(), [30, 10, 30, 20]);
        *set.get_mut(0) += 1;
        assert_eq!(*set.get(2), 31);
    }
    let (set, _held) = read_set(&given, &mut held);
    assert_eq!(*set.get(2), 31);
}

#[test]
fn two_sets_of_the_same_locks_never_deadlock() {
    let inodes = [0u64, 0].map(RwLock::<level::Inode, u64>::new);
    let bump = |first: usize, second: usize| {
        for _ in 0..1000 {
            let mut held = unlocked();
            let locks = [(first as u64, &inodes[first]), (second as u64, &inodes[second])];
            let (mut set, _held) = write_set(&locks, &mut held);
            *set.get_mut(0) += 1;
            *set.get_mut(1) += 1;
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| bump(0, 1));
        scope.spawn(|| bump(1, 0));
    });
    assert_eq!(inodes.map(RwLock::into_inner), [2000, 2000]);
}

#[test]
fn a_set_under_a_lock_of_its_level_panics() {
    let inodes = [const { RwLock::<level::Inode, ()>::new(()) }; 2];
    let (mut one, mut two) = (unlocked(), unlocked());
    let (_guard, _held) = inodes[0].read(&mut one);
    let report = report_of(|| drop(write_set(&[(1, &inodes[1])], &mut two)));
    assert!(report.contains("`Inode` may not be taken while `Inode` is held"), "{report}");
}

#[test]
#[should_panic(expected = "two Inode locks have key 5")]
fn two_locks_with_one_key_panic() {
    let inodes = [const { RwLock::<level::Inode, ()>::new(()) }; 2];
    let _ = write_set(&[(5, &inodes[0]), (5, &inodes[1])], &mut unlocked());
}

#[test]
fn a_fault_may_start_in_a_copy_and_nowhere_else_under_a_lock() {
    let inode = RwLock::<level::Inode, ()>::new(());
    let gate = RwLock::<level::FaultGate, ()>::new(());
    let fault = || {
        let mut held = fault_root();
        let (_gate, mut held) = gate.read(&mut held);
        drop(enter::<level::Entry, _>(&mut held, 0));
    };
    fault();
    let mut held = unlocked();
    let (_inode, mut held) = inode.write(&mut held);
    {
        let _copy = in_copy(&mut held);
        fault();
        let report = report_of(|| {
            let _ = unlocked();
        });
        assert!(report.contains("Inode"), "{report}");
    }
    let report = report_of(fault);
    assert!(report.contains("outside of a copy") && report.contains("Inode"), "{report}");
}

#[test]
fn an_inode_in_a_fault_in_a_copy_panics() {
    let inodes = [const { RwLock::<level::Inode, ()>::new(()) }; 2];
    let (mut one, mut two) = (unlocked(), unlocked());
    let (_guard, mut held) = inodes[0].read(&mut one);
    let _copy = in_copy(&mut held);
    let report = report_of(|| drop(inodes[1].read(&mut two)));
    assert!(report.contains("`Inode` may not be taken while `Fault` is held"), "{report}");
}

#[test]
fn try_write_gives_up_and_leaves_nothing_on_the_stack() {
    let inode = RwLock::<level::Inode, ()>::new(());
    let (locked, wait_locked) = mpsc::channel();
    let (done, wait_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let inode = &inode;
        scope.spawn(move || {
            let mut held = unlocked();
            let (_guard, _held) = inode.read(&mut held);
            locked.send(()).expect("the other thread waits");
            wait_done.recv().expect("the other thread lets go");
        });
        wait_locked.recv().expect("the other thread locks");
        assert!(inode.try_write(&mut unlocked()).is_none());
        let _ = unlocked();
        done.send(()).expect("the other thread waits");
    });
    assert!(inode.try_write(&mut unlocked()).is_some());
}

#[test]
fn a_waiter_is_woken() {
    let ready = Mutex::<level::WaitQueue, bool>::new(false);
    let changed = Condvar::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut guard = ready.leaf();
            while !*guard {
                guard = changed.wait(guard);
            }
            drop(guard);
            let _ = unlocked();
        });
        *ready.leaf() = true;
        changed.notify_all();
    });
}

#[test]
fn a_proof_can_be_narrowed_for_a_method_that_names_one_level() {
    fn get_block(held: &mut order::Held<'_, level::Entry>, map: &RwLock<level::ExtentMap, u64>) -> u64 {
        *map.read(held).0
    }
    let map = RwLock::new(3);
    assert_eq!(get_block(&mut unlocked().narrow(), &map), 3);
}
