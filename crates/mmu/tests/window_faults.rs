//! Real windows over a memory pool: what each access meets, and what stays right while translations go.

mod window_common;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use engine::dax::{FaultError, FaultKind, Invalidation, WindowKind};
use mmu::window::Limits;
use window_common::{Bed, PAGE, watchdog};

#[test]
fn a_store_to_a_hole_reaches_a_new_block() {
    watchdog();
    let Some(bed) = Bed::new(100 * PAGE, Limits::default()) else { return };
    let map = bed.map(0..100, WindowKind::SharedWrite);
    assert_eq!(bed.stored(7), None);
    map.store(7, 42);
    assert_eq!(bed.stored(7), Some(42));
    assert_eq!(map.load(7), 42);
    assert_eq!(bed.dax.counters().faults(FaultKind::HoleWrite), 1);
}

#[test]
fn a_hole_reads_as_zeros_and_its_first_store_still_faults() {
    watchdog();
    let Some(bed) = Bed::new(64 * PAGE, Limits::default()) else { return };
    let map = bed.map(0..64, WindowKind::SharedWrite);
    assert_eq!((0..16).map(|page| map.load(page)).sum::<u64>(), 0);
    let reads = bed.dax.counters().faults(FaultKind::HoleRead);
    assert!(reads <= 2, "16 pages were translated around the first fault, not {reads} times one");
    map.store(3, 9);
    map.store(9, 8);
    assert_eq!((bed.stored(3), bed.stored(9), bed.stored(4)), (Some(9), Some(8), None));
    assert_eq!(map.load(4), 0);
}

#[test]
fn a_block_that_appears_shows_in_the_other_window_that_read_the_hole() {
    watchdog();
    let Some(bed) = Bed::new(64 * PAGE, Limits::default()) else { return };
    let (one, two) = (bed.map(0..64, WindowKind::SharedWrite), bed.map(2..60, WindowKind::SharedRead));
    assert_eq!(two.load(5), 0);
    one.store(5, 77);
    assert_eq!(two.load(5), 77);
}

#[test]
fn an_access_past_the_end_raises_sigbus_and_growing_heals_it() {
    watchdog();
    let Some(bed) = Bed::new(10 * PAGE, Limits::default()) else { return };
    let map = bed.map(0..20, WindowKind::SharedWrite);
    map.store(9, 1);
    assert!(map.try_store(10, 1).is_err());
    bed.truncate(5 * PAGE);
    assert!(map.try_load(9).is_err(), "the block is gone and the window must not show it");
    assert!(map.try_load(4).is_ok());
    bed.truncate(20 * PAGE);
    assert_eq!(map.try_load(9), Ok(0));
    map.store(19, 3);
    assert_eq!(bed.stored(19), Some(3));
}

#[test]
fn want_of_space_is_sigbus_with_a_reason_and_is_tried_again_later() {
    watchdog();
    let Some(bed) = Bed::new(10 * PAGE, Limits::default()) else { return };
    let map = bed.map(0..10, WindowKind::SharedWrite);
    bed.table.full.store(true, SeqCst);
    assert!(map.try_store(2, 1).is_err());
    assert_eq!(bed.mmu.counters().failed, 1);
    bed.table.full.store(false, SeqCst);
    let failure = map.window.take_failure().unwrap();
    assert_eq!(failure.page, 2);
    assert!(matches!(failure.error, FaultError::NoSpace { .. }), "{:?}", failure.error);
    map.store(2, 5);
    assert_eq!(bed.stored(2), Some(5));
}

#[test]
fn a_private_window_keeps_what_it_stored_and_shows_the_rest_of_the_file() {
    watchdog();
    let Some(bed) = Bed::new(32 * PAGE, Limits::default()) else { return };
    let shared = bed.map(0..32, WindowKind::SharedWrite);
    for page in 0..32 {
        shared.store(page, 100 + page);
    }
    let private = bed.map(0..32, WindowKind::Private);
    assert_eq!(private.load(3), 103);
    private.store(3, 1);
    private.store(20, 2); // never read before
    assert_eq!((private.load(3), private.load(20), private.load(4)), (1, 2, 104));
    assert_eq!((shared.load(3), shared.load(20)), (103, 120), "the file does not see private stores");

    bed.invalidate(0..8, Invalidation::PUNCH);
    assert_eq!(private.load(3), 1, "a punch leaves private copies alone");
    assert_eq!(private.load(4), 0, "and takes what was only read");

    bed.truncate(2 * PAGE);
    assert!(private.try_load(3).is_err(), "truncation takes private copies as well");
    bed.truncate(32 * PAGE);
    assert_eq!((private.load(3), private.load(20)), (0, 0));
}

/// Revocations, while two threads store.
const REVOCATIONS: u64 = 400;

#[test]
fn no_store_is_lost_while_translations_come_and_go() {
    watchdog();
    let Some(bed) = Bed::new(16 * PAGE, Limits::default()) else { return };
    let map = bed.map(0..16, WindowKind::SharedWrite);
    let place = |page: u64, who: u64| map.window.offset_bytes(page) + 8 * who as usize;
    let stop = AtomicBool::new(false);
    let added: Vec<u64> = std::thread::scope(|scope| {
        let adders: Vec<_> = (0..2)
            .map(|who| {
                let (map, stop) = (&map, &stop);
                scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(SeqCst) {
                        map.window.reservation().add_u64(place(count % 4, who), 1);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..REVOCATIONS {
            bed.invalidate(0..4, Invalidation::MOVE);
            std::thread::yield_now();
        }
        stop.store(true, SeqCst);
        adders.into_iter().map(|adder| adder.join().unwrap()).collect()
    });
    for (who, added) in (0..).zip(added) {
        let sum: u64 = (0..4).map(|page| map.window.reservation().load_u64(place(page, who))).sum();
        assert_eq!(sum, added, "stores of thread {who}");
    }
}

#[test]
fn a_system_call_may_be_the_first_to_touch_a_page() {
    watchdog();
    let Some(bed) = Bed::new(16 * PAGE, Limits::default()) else { return };
    let map = bed.map(0..16, WindowKind::SharedWrite);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&77_u64.to_ne_bytes()).unwrap();
    let place = map.window.reservation().as_ptr().wrapping_add(map.window.offset_bytes(6));
    // SAFETY: eight mapped bytes that nobody else uses during the call.
    let buffer = unsafe { std::slice::from_raw_parts_mut(place, 8) };
    reader.read_exact(buffer).unwrap();
    assert_eq!(bed.stored(6), Some(77));

    bed.invalidate(0..16, Invalidation::MOVE);
    writer.write_all(buffer).unwrap();
    let mut back = [0; 8];
    reader.read_exact(&mut back).unwrap();
    assert_eq!(u64::from_ne_bytes(back), 77);
}

#[test]
fn with_few_translations_old_regions_give_way_and_nothing_is_lost() {
    watchdog();
    let limits = Limits { translations_max: Some(24) };
    let Some(bed) = Bed::new(8192 * PAGE, limits) else { return };
    bed.table.stride.store(3, SeqCst); // no two blocks are neighbours
    let map = bed.map(0..8192, WindowKind::SharedWrite);
    let pages: Vec<u64> = (0..16).flat_map(|region| (0..4).map(move |n| region * 512 + n * 7)).collect();
    for round in 1..=2 {
        for &page in &pages {
            map.store(page, page + round);
        }
        assert!(bed.mmu.translations() <= 24 + 8, "{} translations", bed.mmu.translations());
    }
    for &page in &pages {
        assert_eq!(map.load(page), page + 2);
    }
    assert!(bed.mmu.counters().evicted > 0);
}

#[test]
fn more_faults_at_once_than_workers_at_the_start_are_served() {
    watchdog();
    let Some(bed) = Bed::new(64 * PAGE, Limits::default()) else { return };
    let map = bed.map(0..64, WindowKind::SharedWrite);
    std::thread::scope(|scope| {
        for who in 0..16 {
            let map = &map;
            scope.spawn(move || (0..4).for_each(|n| map.store(who * 4 + n, who + 1)));
        }
    });
    assert!((0..64).all(|page| bed.stored(page) == Some(page / 4 + 1)));
}
