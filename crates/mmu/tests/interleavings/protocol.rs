//! 1 to 9: what was wrong with the locks of old fault paths. Here each must end, with nothing held.

use engine::dax::WindowKind::{Private, SharedWrite};
use order::sync::Arc;
use pool::Durability::Volatile;

use crate::runner::{set_up, together};
use crate::subject::{AccessBits, EAGER, Mapping, Subject, assert_sound};
use crate::watched::BLOCK_BYTES as PAGE;
use crate::{body, interleavings};

interleavings! {
    i01_reads_of_a_present_hole_leave_nothing_locked: Deep;
    i02_a_copy_on_write_fault_returns_with_nothing_held: Deep;
    i03_a_hole_that_appears_between_two_looks_changes_no_unlock: Wide;
    i04_a_fault_that_allocates_and_a_truncate_do_not_deadlock: Deep;
    i05_a_fault_and_a_writeback_and_a_new_mapping_do_not_deadlock: Wide;
    i06_translations_go_while_windows_come_and_go: Wide;
    i08_a_new_block_is_zeros_before_anybody_sees_it: Deep;
    i09_every_way_out_of_a_fault_releases_what_it_took: Wide;
}

/// A file with this many pages of hole.
fn with_hole<S: Subject>(pages: u64) -> Arc<S> {
    let file = S::new(Volatile, 16);
    file.truncate(pages * PAGE);
    file
}

/// A hole page is present; reads of it come and go; the next writer must get the locks.
fn i01_reads_of_a_present_hole_leave_nothing_locked<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(2);
        let map = Mapping::with(&file, SharedWrite, 0..2, EAGER);
        (file, map)
    });
    together(vec![
        body!(map => {
            assert_eq!(map.load(0).byte(), 0);
            map.load(1).byte();
        }),
        body!(map => map.store(1, 7).done()),
    ]);
    assert_eq!(map.load(1).byte(), 7);
    assert_sound(&file, &[&map]);
}

fn i02_a_copy_on_write_fault_returns_with_nothing_held<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(2);
        file.write(0, &[1; 10]);
        let map = Mapping::new(&file, Private, 0..2);
        (file, map)
    });
    together(vec![
        body!(map => {
            map.store(0, 9).done();
            map.store(PAGE, 9).done();
        }),
        body!(file => file.punch(0..1)),
    ]);
    assert_eq!(map.load(0).byte(), 9);
    assert_eq!(file.read(0, 1), [0]);
    assert_sound(&file, &[&map]);
}

/// T1 locks since there is no page, T2 installs zeros, T1 looks again.
fn i03_a_hole_that_appears_between_two_looks_changes_no_unlock<S: Subject>() {
    let (file, a, b) = set_up(|| {
        let file = with_hole::<S>(1);
        let a = Mapping::new(&file, SharedWrite, 0..1);
        let b = Mapping::new(&file, SharedWrite, 0..1);
        (file, a, b)
    });
    together(vec![
        body!(a => a.store(5, 3).done()),
        body!(b => {
            b.load(5).byte();
        }),
        body!(b => b.store(6, 4).done()),
    ]);
    assert_eq!((a.load(6).byte(), b.load(5).byte()), (4, 3));
    assert_sound(&file, &[&a, &b]);
}

fn i04_a_fault_that_allocates_and_a_truncate_do_not_deadlock<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(2);
        let map = Mapping::new(&file, SharedWrite, 0..2);
        (file, map)
    });
    together(vec![
        body!(map => {
            // Before the truncate, or past the end after it.
            let _ = map.store(PAGE, 1);
            map.store(0, 2).done();
        }),
        body!(file => file.truncate(PAGE)),
    ]);
    assert_eq!(map.load(0).byte(), 2);
    assert!(map.load(PAGE).is_err());
    assert_sound(&file, &[&map]);
}

fn i05_a_fault_and_a_writeback_and_a_new_mapping_do_not_deadlock<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = S::new(pool::Durability::CpuFlush, 16);
        file.truncate(2 * PAGE);
        let map = Mapping::new(&file, SharedWrite, 0..2);
        map.store(PAGE, 8).done();
        (file, map)
    });
    together(vec![
        body!(map => map.store(0, 1).done()),
        body!(file => file.sync()),
        body!(file => {
            let other = Mapping::with(&file, SharedWrite, 0..2, EAGER);
            assert_eq!(other.load(PAGE).byte(), 8);
            other.detach();
        }),
    ]);
    assert_eq!((map.load(0).byte(), map.load(PAGE).byte()), (1, 8));
    assert_sound(&file, &[&map]);
}

fn i06_translations_go_while_windows_come_and_go<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(2);
        file.write(0, &[1; PAGE as usize + 1]);
        let map = Mapping::with(&file, SharedWrite, 0..2, EAGER);
        (file, map)
    });
    let made = crate::runner::share(order::Mutex::<order::level::Oracle, _>::new(None));
    together(vec![
        body!(file => file.truncate(0)),
        body!(file, made => {
            let other = Mapping::with(&file, SharedWrite, 0..2, EAGER);
            *made.leaf() = Some(other);
        }),
        body!(map => map.detach()),
    ]);
    let other = made.leaf().take().expect("it was mapped");
    assert!(other.load(0).is_err());
    assert_sound(&file, &[&other]);
}

/// The small map hands out memory full of old bytes.
fn i08_a_new_block_is_zeros_before_anybody_sees_it<S: Subject>() {
    let (file, a, b) = set_up(|| {
        let file = with_hole::<S>(1);
        let a = Mapping::new(&file, SharedWrite, 0..1);
        let b = Mapping::new(&file, SharedWrite, 0..1);
        (file, a, b)
    });
    together(vec![
        body!(a => a.store(5, 3).done()),
        body!(b => {
            assert_eq!(b.load(4).byte(), 0);
            assert_eq!(b.load(4095).byte(), 0);
        }),
    ]);
    let mut page = vec![0; PAGE as usize];
    page[5] = 3;
    assert_eq!(file.read(0, PAGE as usize), page);
    assert_sound(&file, &[&a, &b]);
}

/// Faults of all kinds against everything that takes the same locks exclusively.
fn i09_every_way_out_of_a_fault_releases_what_it_took<S: Subject>() {
    let (file, shared, private) = set_up(|| {
        let file = with_hole::<S>(2);
        file.allocate(1..2);
        let shared = Mapping::new(&file, SharedWrite, 0..4);
        let private = Mapping::new(&file, Private, 0..4);
        (file, shared, private)
    });
    together(vec![
        body!(shared => {
            assert!(shared.store(3 * PAGE, 1).is_err());
            shared.store(PAGE, 1).done();
        }),
        body!(private => {
            assert!(private.load(3 * PAGE).is_err());
            private.store(0, 2).done();
        }),
        body!(file => file.zero(0..2)),
    ]);
    assert_eq!(private.load(0).byte(), 2);
    assert_sound(&file, &[&shared, &private]);
}
