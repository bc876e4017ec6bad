//! Waiters of entries, with threads, and with every schedule when built for the model checker.

use order::sync::atomic::{AtomicU64, Ordering};
use order::sync::{Arc, thread};

use super::*;
use crate::dax::bits::Bits512;
use crate::dax::state::{Event, Span};

const KEY: Key = Key { ino: Ino(8), region: 3 };

/// Many rounds with real threads, or many schedules with the model checker's.
fn rounds(body: impl Fn() + Send + Sync + 'static) {
    #[cfg(not(shuttle))]
    for _ in 0..200 {
        body();
    }
    #[cfg(shuttle)]
    {
        let body = std::sync::Arc::new(body);
        let pct = std::sync::Arc::clone(&body);
        shuttle::check_random(move || body(), 2000);
        shuttle::check_pct(move || pct(), 2000, 3);
    }
}

/// A body with one thread.
fn alone(body: impl Fn() + Send + Sync + 'static) {
    #[cfg(not(shuttle))]
    body();
    #[cfg(shuttle)]
    shuttle::check_random(body, 1);
}

fn put(slot: &mut Slot) {
    slot.apply(Event::Map, Span::Pages, &Bits512::of(0..1));
}

fn take(slot: &mut Slot) {
    slot.apply(Event::Drop, Span::Region, &Bits512::ALL);
}

/// Runs the closures as threads on one table, and waits for them all.
fn together(bodies: Vec<fn(&Entries)>) {
    rounds(move || {
        let entries = Arc::new(Entries::new());
        let threads: Vec<_> = bodies
            .iter()
            .map(|&body| {
                let entries = Arc::clone(&entries);
                thread::spawn(move || body(&entries))
            })
            .collect();
        for thread in threads {
            thread.join().expect("the thread ends");
        }
        assert!(entries.is_quiet());
    });
}

#[test]
fn only_one_thread_has_the_entry() {
    rounds(|| {
        let entries = Arc::new(Entries::new());
        let inside = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (entries, inside) = (Arc::clone(&entries), Arc::clone(&inside));
                thread::spawn(move || {
                    entries.with(&mut order::unlocked(), KEY, |slot, _| {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        put(slot);
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("the thread ends");
        }
        assert!(entries.is_quiet());
        assert_eq!(entries.regions(KEY.ino, 0..9, Which::Any), [KEY.region]);
    });
}

/// One replaces the kind of the entry while two wait: both go on.
#[test]
fn i29_both_waiters_go_on_when_an_entry_changes_its_kind() {
    fn change(entries: &Entries) {
        entries.with(&mut order::unlocked(), KEY, |slot, _| {
            slot.apply(Event::Zero, Span::Region, &Bits512::ALL);
        });
        entries.with(&mut order::unlocked(), KEY, |slot, _| put(slot));
    }
    fn wait(entries: &Entries) {
        entries.with(&mut order::unlocked(), KEY, |_, _| ());
    }
    together(vec![change, wait, wait]);
}

/// Three want to drop the entry. The first deletes it, the second finds nothing and passes the wake on.
#[test]
fn i30_of_three_invalidators_none_is_left_waiting() {
    fn drop_it(entries: &Entries) {
        for _ in entries.regions(KEY.ino, 0..4, Which::Any) {
            entries.with(&mut order::unlocked(), KEY, |slot, _| take(slot));
        }
    }
    fn put_and_drop(entries: &Entries) {
        entries.with(&mut order::unlocked(), KEY, |slot, _| put(slot));
        drop_it(entries);
    }
    together(vec![put_and_drop, drop_it, drop_it]);
}

/// A fault of one page and one of 2 MiB in the same region meet at the same entry.
#[test]
fn i31_a_huge_and_a_small_fault_wait_at_one_entry() {
    rounds(|| {
        let entries = Arc::new(Entries::new());
        let huge = {
            let entries = Arc::clone(&entries);
            thread::spawn(move || {
                entries.with(&mut order::unlocked(), KEY, |slot, _| {
                    slot.apply(Event::Map, Span::Region, &Bits512::ALL);
                });
            })
        };
        entries.with(&mut order::unlocked(), KEY, |slot, _| put(slot));
        huge.join().expect("the thread ends");
        entries.with(&mut order::unlocked(), KEY, |slot, _| {
            assert_eq!(slot.pages().present, Bits512::ALL);
        });
        assert!(entries.is_quiet());
    });
}

/// The table outlives whoever waits in it; the key alone names the entry, no file is touched.
#[test]
fn i33_a_woken_waiter_needs_the_table_only() {
    fn one(entries: &Entries) {
        let file = Box::new(KEY);
        let key = *file;
        entries.with(&mut order::unlocked(), key, |slot, _| {
            put(slot);
            take(slot);
            drop(file);
        });
    }
    together(vec![one, one, one]);
}

#[test]
fn a_panic_inside_leaves_the_entry_unlocked() {
    alone(|| {
        let entries = Entries::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            entries.with(&mut order::unlocked(), KEY, |slot, _| {
                put(slot);
                std::panic::resume_unwind(Box::new("stopped in the middle"));
            });
        }));
        assert!(result.is_err());
        assert!(entries.is_quiet());
        entries.with(&mut order::unlocked(), KEY, |slot, _| {
            assert_ne!(*slot, Slot::Empty);
        });
    });
}

#[test]
fn a_scan_for_dirty_entries_names_locked_ones() {
    alone(|| {
        let entries = Entries::new();
        entries.with(&mut order::unlocked(), KEY, |slot, _| {
            slot.apply(Event::Dirty, Span::Pages, &Bits512::of(0..1));
            assert_eq!(entries.regions(KEY.ino, 0..4, Which::Dirty), [KEY.region]);
            assert_eq!(entries.dirty_files(), [KEY.ino]);
            slot.apply(Event::Clean, Span::Region, &Bits512::ALL);
        });
        assert!(entries.regions(KEY.ino, 0..4, Which::Dirty).is_empty());
        assert!(entries.dirty_files().is_empty());
        assert_eq!(entries.regions(KEY.ino, 0..u64::MAX, Which::Any), [3]);
        assert!(entries.regions(Ino(16), 0..u64::MAX, Which::Any).is_empty());
    });
}
