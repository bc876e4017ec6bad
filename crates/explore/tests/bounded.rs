//! The scheduler on models whose answers are known.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use explore::bounded::{Beyond, ReplayError, fail, survey};
use explore::{Config, explore, replay};
use shuttle::scheduler::{DfsScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Condvar, Mutex, RwLock};
use shuttle::thread;

fn to(bound: u32) -> Config {
    Config { bound, ..Config::default() }
}

/// Two threads under a mutex and a read-write lock.
fn small_model() {
    let mutex = Arc::new(Mutex::new(0));
    let rwlock = Arc::new(RwLock::new(0));
    let (m, r) = (Arc::clone(&mutex), Arc::clone(&rwlock));
    let other = thread::spawn(move || {
        *m.lock().unwrap() += 1;
        *r.write().unwrap() += 1;
    });
    let seen = *rwlock.read().unwrap();
    *mutex.lock().unwrap() += seen;
    other.join().unwrap();
}

/// Shuttle's own exhaustive search, with a count of the preemptions of each schedule.
struct Counting {
    inner: DfsScheduler,
    preemptions: u32,
    counts: Rc<RefCell<HashMap<u32, u64>>>,
    begun: bool,
}

impl Scheduler for Counting {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.begun {
            *self.counts.borrow_mut().entry(self.preemptions).or_default() += 1;
        }
        self.begun = true;
        self.preemptions = 0;
        self.inner.new_execution()
    }

    fn next_task(&mut self, ready: &[&Task], now: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let next = self.inner.next_task(ready, now, yields);
        let goes_on = now.is_some_and(|n| ready.iter().any(|t| t.id() == n));
        if goes_on && !yields && next != now {
            self.preemptions += 1;
        }
        next
    }

    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}

#[test]
fn the_number_of_schedules_is_that_of_an_independent_count() {
    let counts = Rc::new(RefCell::new(HashMap::new()));
    let scheduler =
        Counting { inner: DfsScheduler::new(None, false), preemptions: 0, counts: Rc::clone(&counts), begun: false };
    let total = shuttle::Runner::new(scheduler, shuttle::Config::new()).run(small_model) as u64;
    let counts = counts.borrow();
    assert_eq!(counts.values().sum::<u64>(), total);
    for bound in 0..4 {
        let expected: u64 = counts.iter().filter(|(n, _)| **n <= bound).map(|(_, c)| *c).sum();
        let outcome = explore(&to(bound), small_model);
        assert_eq!((outcome.schedules, outcome.bound), (expected, bound));
        assert!(outcome.complete && outcome.failure.is_none());
        assert!(!outcome.exhausted, "bound {bound} is not all there is");
    }
    let all = explore(&to(100), small_model);
    assert_eq!(all.schedules, total);
    assert!(all.exhausted);
}

fn ab_ba() {
    let a = Arc::new(Mutex::new(()));
    let b = Arc::new(Mutex::new(()));
    let (a2, b2) = (Arc::clone(&a), Arc::clone(&b));
    let other = thread::spawn(move || {
        let _a = a2.lock().unwrap();
        let _b = b2.lock().unwrap();
    });
    {
        let _b = b.lock().unwrap();
        let _a = a.lock().unwrap();
    }
    other.join().unwrap();
}

#[test]
fn an_ab_ba_deadlock_is_found_with_one_preemption_and_replays() {
    assert!(explore(&to(0), ab_ba).failure.is_none(), "without a preemption there is none");
    let outcome = explore(&to(3), ab_ba);
    let failure = outcome.failure.expect("a deadlock");
    assert_eq!((failure.class.as_str(), failure.preemptions), ("deadlock", 1));
    assert_eq!((outcome.bound, outcome.complete), (1, false));
    let again = replay(&failure.schedule, ab_ba).unwrap().expect("the same deadlock");
    assert_eq!(again.class, "deadlock");
    assert_eq!(again.steps, failure.steps);
    assert_eq!(again.schedule, failure.schedule);
}

fn lost_update() {
    let counter = Arc::new(AtomicUsize::new(0));
    let add = |counter: &AtomicUsize| {
        let seen = counter.load(Ordering::SeqCst);
        counter.store(seen + 1, Ordering::SeqCst);
    };
    let theirs = Arc::clone(&counter);
    let other = thread::spawn(move || add(&theirs));
    add(&counter);
    other.join().unwrap();
    assert_eq!(counter.load(Ordering::SeqCst), 2, "an update is lost");
}

#[test]
fn a_panic_becomes_a_failure_with_its_place_and_replays() {
    let failure = explore(&to(2), lost_update).failure.expect("a lost update");
    assert_eq!((failure.class.as_str(), failure.preemptions), ("panic", 1));
    assert!(failure.message.contains("an update is lost"), "{}", failure.message);
    assert!(failure.message.contains("bounded.rs"), "{}", failure.message);
    assert!(failure.trace.threads() >= 2);
    let again = replay(&failure.schedule, lost_update).unwrap();
    assert_eq!(again.expect("the same panic").message, failure.message);
}

#[test]
fn a_schedule_of_another_scenario_does_not_fit() {
    let wrong = replay("dx1-a2c", lost_update).unwrap_err();
    assert!(matches!(wrong, ReplayError::DoesNotFit { .. }), "{wrong}");
    assert!(matches!(replay("nonsense", lost_update), Err(ReplayError::Decode(_))));
}

#[test]
fn a_loop_that_never_ends_is_a_failure() {
    let config = Config { max_steps: 500, ..to(0) };
    let failure = explore(&config, || {
        let flag = AtomicUsize::new(0);
        while flag.load(Ordering::SeqCst) == 0 {}
    })
    .failure;
    assert_eq!(failure.expect("it does not end").class, "endless");
}

#[test]
fn a_spinning_wait_with_a_yield_ends() {
    let outcome = explore(&to(2), || {
        let flag = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&flag);
        thread::spawn(move || theirs.store(1, Ordering::SeqCst));
        while flag.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    });
    assert!(outcome.failure.is_none() && outcome.complete);
}

#[test]
fn a_lost_wakeup_is_a_deadlock() {
    let failure = explore(&to(2), || {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&pair);
        let other = thread::spawn(move || {
            theirs.1.notify_one();
            *theirs.0.lock().unwrap() = true;
        });
        let mut ready = pair.0.lock().unwrap();
        while !*ready {
            ready = pair.1.wait(ready).unwrap();
        }
        drop(ready);
        other.join().unwrap();
    })
    .failure;
    assert_eq!(failure.expect("nobody wakes it").class, "deadlock");
}

#[test]
fn a_survey_goes_on_after_a_failure_and_keeps_one_of_each_class() {
    let (outcome, failures) = survey(&to(1), || {
        let turn = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&turn);
        let other = thread::spawn(move || theirs.store(1, Ordering::SeqCst));
        if turn.load(Ordering::SeqCst) == 1 {
            fail("late", "the other was first");
        }
        if turn.load(Ordering::SeqCst) == 1 {
            fail("between", "the other came between");
        }
        other.join().unwrap();
    });
    assert!(outcome.complete);
    let mut classes: Vec<_> = failures.iter().map(|f| f.class.as_str()).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["between", "late"]);
}

/// Fails only in an order that takes several preemptions.
fn needs_many_preemptions() {
    let turn = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&turn);
    let other = thread::spawn(move || {
        for _ in 0..6 {
            theirs.fetch_add(1, Ordering::SeqCst);
        }
    });
    let seen: Vec<usize> = (0..4).map(|_| turn.load(Ordering::SeqCst)).collect();
    other.join().unwrap();
    assert!(seen != [1, 2, 3, 5], "a rare order");
}

#[test]
fn chance_goes_beyond_the_bound_and_its_finding_replays() {
    let config = Config {
        beyond: Some(Beyond { time: std::time::Duration::from_secs(20), max_schedules: 200_000, seed: 7, changes: 3 }),
        ..to(1)
    };
    let outcome = explore(&config, needs_many_preemptions);
    assert!(outcome.complete && outcome.random > 0);
    let failure = outcome.failure.expect("chance finds it");
    assert!(failure.preemptions > 1, "{}", failure.preemptions);
    let again = replay(&failure.schedule, needs_many_preemptions).unwrap();
    assert_eq!(again.expect("the same").message, failure.message);
}

#[test]
fn the_limit_of_runs_is_kept_and_told() {
    let config = Config { max_schedules: Some(5), ..to(3) };
    let outcome = explore(&config, small_model);
    assert_eq!((outcome.runs, outcome.complete), (5, false));
}
