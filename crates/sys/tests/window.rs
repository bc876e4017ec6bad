//! What a window promises, each tried on memory files and on the disk.

#![allow(clippy::single_range_in_vec_init)] // lists of one range are meant

mod common;

use daxle_sys as sys;

use common::{Place, Served};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use sys::memory::Protection::{Read as ReadOnly, ReadWrite};
use sys::pagemap::Looking;
use sys::uffd::{Filled, Message, Stores, Tracker, UffdError};
use sys::window::{Reservation, Sharing, TrapMode};
use sys::{AsFd, Errno, HUGE_BYTES, PAGE_BYTES};

const LEN: usize = 4 * HUGE_BYTES;
const PLACES: [Place; 2] = [Place::Memory, Place::Disk];

fn served(place: Place) -> Option<Served> {
    let served = Served::new(LEN, place)?;
    served.window.trap(&served.uffd, 0..LEN, TrapMode::Every, ReadWrite).expect("trap");
    Some(served)
}

#[test]
fn a_touched_trap_is_served_once_and_the_store_reaches_the_file() {
    for place in PLACES {
        let Some(s) = served(place) else { return };
        s.window.store_u64(8 * PAGE_BYTES + 8, 77);
        assert_eq!(s.window.load_u64(8 * PAGE_BYTES + 8), 77);
        assert_eq!((s.missing(), s.protected()), (1, 0));
        assert_eq!(s.file_word(8 * PAGE_BYTES + 8), 77);
    }
}

#[test]
fn a_trap_over_a_translation_traps_again_and_loses_nothing() {
    for place in PLACES {
        let Some(s) = served(place) else { return };
        for round in 1..=20 {
            s.window.store_u64(0, round);
            s.window.trap(&s.uffd, 0..PAGE_BYTES, TrapMode::Every, ReadWrite).expect("trap");
            assert_eq!(s.file_word(0), round);
        }
        assert_eq!(s.missing(), 20);
    }
}

#[test]
fn a_system_call_that_touches_a_trap_is_served() {
    let Some(s) = served(Place::Disk) else { return };
    let mut zeros = std::fs::File::open("/dev/zero").expect("open");
    s.window.store_u64(PAGE_BYTES, u64::MAX);
    s.window.trap(&s.uffd, 0..LEN, TrapMode::Every, ReadWrite).expect("trap");
    // SAFETY: the slice lives for this call only, and the test has the window
    // to itself.
    let target = unsafe { std::slice::from_raw_parts_mut(s.window.as_ptr().add(PAGE_BYTES), 8) };
    zeros.read_exact(target).expect("read");
    assert_eq!(s.file_word(PAGE_BYTES), 0);
}

#[test]
fn holes_read_as_zeros_without_a_message_and_the_first_store_sends_one() {
    for place in PLACES {
        let Some(s) = served(place) else { return };
        // Twice, so that the second use finds the stage used.
        for _ in 0..2 {
            let before = (s.missing(), s.protected());
            let range = PAGE_BYTES..3 * HUGE_BYTES + 5 * PAGE_BYTES;
            s.window.trap(&s.uffd, range.clone(), TrapMode::HoleReads, ReadWrite).expect("holes");
            for page in range.step_by(7 * PAGE_BYTES) {
                assert_eq!(s.window.load_u64(page), 0);
            }
            assert_eq!((s.missing(), s.protected()), before);
            s.window.store_u64(8 * PAGE_BYTES, 5); // read before
            s.window.store_u64(HUGE_BYTES + 3 * PAGE_BYTES, 6); // not read before
            assert_eq!((s.missing(), s.protected()), (before.0, before.1 + 2));
            assert_eq!(s.file_word(8 * PAGE_BYTES), 5);
            assert_eq!(s.file_word(HUGE_BYTES + 3 * PAGE_BYTES), 6);
        }
    }
}

#[test]
fn a_read_only_window_reads_holes_as_zeros_and_traps_loads() {
    let Some(s) = Served::new(LEN, Place::Memory) else { return };
    s.window.trap(&s.uffd, 0..LEN, TrapMode::Every, ReadOnly).expect("trap");
    assert_eq!(s.window.load_u8(17), 0);
    assert_eq!(s.missing(), 1);
    s.window.trap(&s.uffd, 0..LEN, TrapMode::HoleReads, ReadOnly).expect("holes");
    assert_eq!(s.window.load_u8(17), 0);
    assert_eq!(s.missing(), 1);
}

#[test]
fn no_store_is_lost_while_traps_are_put_under_hammering_threads() {
    for (place, mode) in [
        (Place::Memory, TrapMode::Every),
        (Place::Memory, TrapMode::HoleReads),
        (Place::Disk, TrapMode::Every),
        (Place::Disk, TrapMode::HoleReads),
    ] {
        let Some(s) = served(place) else { return };
        let stop = Arc::new(AtomicBool::new(false));
        let hammers: Vec<_> = (0..2)
            .map(|n| {
                let (window, stop) = (s.window.clone(), stop.clone());
                std::thread::spawn(move || {
                    let mut stores = 0_u64;
                    while !stop.load(SeqCst) {
                        window.add_u64(3 * PAGE_BYTES + n * 8, 1);
                        stores += 1;
                    }
                    stores
                })
            })
            .collect();
        let faults = || s.missing() + s.protected();
        // Put traps until many were met; the deadline only ends a broken run.
        let deadline = Instant::now() + Duration::from_secs(20);
        while faults() < 300 && Instant::now() < deadline {
            s.window.trap(&s.uffd, 0..8 * PAGE_BYTES, mode, ReadWrite).expect("trap");
        }
        stop.store(true, SeqCst);
        let stored: Vec<u64> = hammers.into_iter().map(|h| h.join().expect("hammer")).collect();
        let kept: Vec<u64> = (0..2).map(|n| s.file_word(3 * PAGE_BYTES + n * 8)).collect();
        assert_eq!(kept, stored, "{place:?} {mode:?}");
        assert!(faults() >= 300, "{place:?} {mode:?}: only {} faults", faults());
    }
}

#[test]
fn many_threads_may_put_holes_at_once() {
    let Some(s) = served(Place::Memory) else { return };
    std::thread::scope(|scope| {
        for n in 0..4 {
            let s = &s;
            scope.spawn(move || {
                let range = n * HUGE_BYTES..(n + 1) * HUGE_BYTES;
                for round in 1..30 {
                    s.window.trap(&s.uffd, range.clone(), TrapMode::HoleReads, ReadWrite).expect("holes");
                    assert_eq!(s.window.load_u64(range.start), 0);
                    s.window.store_u64(range.start + 8, round);
                    assert_eq!(s.file_word(range.start + 8), round);
                }
            });
        }
    });
    assert_eq!((s.missing(), s.protected()), (0, 4 * 29));
}

#[test]
fn past_the_end_is_a_bus_error_and_the_bytes_before_it_are_copied() {
    for place in PLACES {
        let Some(s) = served(place) else { return };
        s.window.past_end(2 * PAGE_BYTES..LEN).expect("past end");
        s.window.copy_in(2 * PAGE_BYTES - 5, b"hello");
        let mut out = [0; 10];
        let error = s.window.try_copy_out(2 * PAGE_BYTES - 5, &mut out).expect_err("bus error");
        assert_eq!((error.offset, error.done), (2 * PAGE_BYTES, 5));
        assert_eq!(&out[..5], b"hello");
        let error = s.window.try_copy_in(LEN - 3, b"abc").expect_err("bus error");
        assert_eq!((error.offset, error.done), (LEN - 3, 0));
        s.window.try_copy_in(PAGE_BYTES, b"fine").expect("before the end");
        // The file grows: traps again.
        s.window.trap(&s.uffd, 2 * PAGE_BYTES..LEN, TrapMode::Every, ReadWrite).expect("trap");
        s.window.try_copy_in(LEN - 3, b"abc").expect("grown");
    }
}

#[test]
fn private_pages_are_copied_kept_and_discarded() {
    let Some(uffd) = common::traps() else { return };
    let window = Reservation::new(HUGE_BYTES).expect("reserve");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let bell = sys::uffd::Bell::new().expect("bell");
            let mut messages = Vec::new();
            while messages.is_empty() {
                uffd.wait(&bell, None).expect("wait");
                uffd.read(&mut messages).expect("read");
            }
            messages
        });
        window.trap(&uffd, 0..HUGE_BYTES, TrapMode::Every, ReadWrite).expect("trap");
        let messages = reader.join().expect("reader");
        assert_eq!(messages, [Message::Put { to: window.start(), len: HUGE_BYTES }]);
    });
    let page = [9; PAGE_BYTES];
    assert_eq!(uffd.copy(window.start(), &page, Stores::Trapped), Ok(Filled::All));
    assert_eq!(uffd.copy(window.start() + PAGE_BYTES, &page, Stores::Allowed), Ok(Filled::All));
    assert_eq!(uffd.copy(window.start(), &page, Stores::Allowed), Ok(Filled::UpTo(0)));
    assert_eq!(window.load_u8(5), 9);
    window.store_u8(PAGE_BYTES, 1);
    assert_eq!(window.find(0..HUGE_BYTES, Looking::PrivateWritable), Ok(vec![PAGE_BYTES..2 * PAGE_BYTES]));
    assert_eq!(window.find(0..HUGE_BYTES, Looking::Private), Ok(vec![0..2 * PAGE_BYTES]));
    uffd.set_stores(window.addresses(&(0..PAGE_BYTES)), Stores::Allowed).expect("allow");
    window.store_u8(0, 2);
    assert_eq!(window.find(0..HUGE_BYTES, Looking::PrivateWritable), Ok(vec![0..2 * PAGE_BYTES]));
    window.discard(0..PAGE_BYTES).expect("discard");
    assert_eq!(window.find(0..HUGE_BYTES, Looking::Private), Ok(vec![PAGE_BYTES..2 * PAGE_BYTES]));
    // The trap is still there: filling needs a registered empty page.
    assert_eq!(uffd.zero(window.addresses(&(0..PAGE_BYTES))), Ok(Filled::All));
    assert_eq!(window.load_u8(0), 0);
    assert_eq!(uffd.poison(window.addresses(&(4096..12_288))), Ok(Filled::UpTo(0)));
    assert_eq!(uffd.poison(window.addresses(&(8192..12_288))), Ok(Filled::All));
    assert_eq!(window.try_copy_out(8192, &mut [0; 4]).expect_err("poison").offset, 8192);
}

#[test]
fn the_kernels_private_copies_are_found() {
    let window = Reservation::new(HUGE_BYTES).expect("reserve");
    let file = common::pool(HUGE_BYTES, Place::Disk);
    window.map_file(0..HUGE_BYTES, file.as_fd(), 0, ReadWrite, Sharing::Private).expect("translate");
    assert_eq!(window.load_u8(3 * PAGE_BYTES), 0);
    window.store_u8(7 * PAGE_BYTES, 1);
    let found = window.find(0..HUGE_BYTES, Looking::Private).expect("scan");
    assert_eq!(found, vec![7 * PAGE_BYTES..8 * PAGE_BYTES]);
}

#[test]
fn written_pages_of_a_translation_are_found_and_reset() {
    let tracker = match Tracker::new() {
        Err(UffdError::NotPermitted) => return println!("SKIPPED: {}", UffdError::NotPermitted),
        tracker => tracker.expect("tracker"),
    };
    for place in PLACES {
        let window = Reservation::new(LEN).expect("reserve");
        let file = common::pool(LEN, place);
        window.map_file(0..LEN, file.as_fd(), 0, ReadWrite, Sharing::Shared).expect("translate");
        window.populate(0..LEN, ReadWrite).expect("populate");
        window.track(&tracker, 0..LEN).expect("track");
        assert_eq!(window.find(0..LEN, Looking::Written), Ok(vec![]), "{place:?}");
        window.store_u8(5 * PAGE_BYTES, 1);
        window.store_u8(6 * PAGE_BYTES, 1);
        window.store_u8(LEN - 1, 1);
        let written = vec![5 * PAGE_BYTES..7 * PAGE_BYTES, LEN - PAGE_BYTES..LEN];
        assert_eq!(window.find(0..LEN, Looking::WrittenAndReset), Ok(written), "{place:?}");
        assert_eq!(window.find(0..LEN, Looking::Written), Ok(vec![]), "{place:?}");
        window.store_u8(5 * PAGE_BYTES, 2);
        let written = vec![5 * PAGE_BYTES..6 * PAGE_BYTES];
        assert_eq!(window.find(0..LEN, Looking::Written), Ok(written), "{place:?}");
    }
}

#[test]
fn the_reader_is_refused_to_put_traps() {
    let Some(uffd) = common::traps() else { return };
    let window = Reservation::new(HUGE_BYTES).expect("reserve");
    assert_eq!(uffd.read(&mut Vec::new()), Ok(0));
    let put = window.trap(&uffd, 0..PAGE_BYTES, TrapMode::Every, ReadWrite);
    assert_eq!(put, Err(Errno::DEADLK));
}

#[test]
#[should_panic(expected = "whole pages")]
fn a_range_of_parts_of_pages_is_refused() {
    let window = Reservation::new(HUGE_BYTES).expect("reserve");
    let _ = window.past_end(0..100);
}

#[test]
#[should_panic(expected = "outside")]
fn a_range_outside_of_the_reservation_is_refused() {
    let window = Reservation::new(HUGE_BYTES).expect("reserve");
    let _ = window.discard(0..2 * HUGE_BYTES);
}
