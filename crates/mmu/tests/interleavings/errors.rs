//! Errors at each step (rule 13; 7 and 41): no lock stays, nothing half published, no waiter lost, and the
//! access goes through when the cause is gone.

use engine::dax::FaultError;
use engine::dax::WindowKind::{Private, SharedRead, SharedWrite};
use mmu::soft::{AccessError, Operation};
use order::sync::Arc;
use pool::Durability::{CpuFlush, Volatile};

use crate::body;
use crate::mini::MiniFs;
use crate::runner::{Reach, run, set_up, together};
use crate::subject::{AccessBits, Mapping, Subject, assert_sound};
use crate::watched::BLOCK_BYTES as PAGE;

fn with_hole(pages: u64) -> Arc<MiniFs> {
    let file = MiniFs::new(CpuFlush, pages + 16);
    file.truncate(pages * PAGE);
    file
}

#[test]
fn i07_a_huge_fault_whose_lookup_fails_leaves_nothing_locked() {
    run("i07 (small map)", Reach::Huge, || {
        let (file, map) = set_up(|| {
            let file = with_hole(512);
            let map = Mapping::new(&file, SharedRead, 0..512);
            file.spoil(0);
            (file, map)
        });
        together(vec![
            body!(map => assert!(map.load(0).is_err())),
            body!(map => {
                // A fault of another page of the region asks for the whole region too.
                let _ = map.load(PAGE);
            }),
        ]);
        file.punch(0..1);
        assert_eq!((map.load(0).byte(), map.load(PAGE).byte()), (0, 0));
        assert_sound(&file, &[&map]);
    });
}

#[test]
fn i41_a_media_error_reaches_every_mapping_and_ends_with_a_punch() {
    run("i41 (small map)", Reach::Deep, || {
        let (file, a, b) = set_up(|| {
            let file = with_hole(1);
            file.write(0, &[1]);
            let a = Mapping::new(&file, SharedWrite, 0..1);
            let b = Mapping::new(&file, Private, 0..1);
            file.spoil(0);
            (file, a, b)
        });
        for map in [&a, &b] {
            let error = map.store(0, 1).expect_err("the page is lost");
            let media = matches!(error, AccessError::Bus(FaultError::Media { .. }));
            assert!(media, "{error}");
        }
        together(vec![
            body!(a => {
                let _ = a.load(0);
            }),
            body!(file => file.punch(0..1)),
        ]);
        a.store(0, 2).done();
        assert_eq!(b.load(0).byte(), 2);
        assert_sound(&file, &[&a, &b]);
    });
}

/// Each operation of a window fails once, at any moment of two faults and a sync or a punch.
fn a_failure_of(operation: Operation) {
    let (file, a, b) = set_up(|| {
        let file = with_hole(4);
        let a = Mapping::new(&file, SharedWrite, 0..4);
        let b = Mapping::new(&file, SharedWrite, 0..4);
        b.load(0).byte();
        a.store(3 * PAGE, 3).done();
        for map in [&a, &b] {
            map.window.fail(operation);
        }
        (file, a, b)
    });
    together(vec![
        body!(a => {
            let _ = a.store(0, 1);
        }),
        body!(b => {
            let _ = b.store(1, 2);
        }),
    ]);
    assert_sound(&file, &[]);
    // The failures that are left over come here.
    for _ in 0..4 {
        let _ = (a.store(0, 1), b.store(1, 2), file.try_sync(), a.load(PAGE));
    }
    a.store(0, 1).done();
    b.store(1, 2).done();
    assert_eq!(file.read(0, 2), [1, 2]);
    assert_eq!((a.load(1).byte(), b.load(0).byte()), (2, 1));
    assert_eq!(b.load(3 * PAGE).byte(), 3);
    assert_sound(&file, &[&a, &b]);
    file.sync();
    assert!(crate::subject::all_flushed(&file));
}

#[test]
fn a_failing_install_leaves_a_trap() {
    run("failing install", Reach::Deep, || a_failure_of(Operation::Install));
}

#[test]
fn a_failing_revocation_of_zeros_publishes_nothing() {
    run("failing revoke", Reach::Deep, || a_failure_of(Operation::Revoke));
}

#[test]
fn a_failing_write_protection_keeps_the_marks() {
    run("failing write-protect", Reach::Deep, || {
        a_failure_of(Operation::WriteProtect);
    });
}

#[test]
fn a_failing_private_copy_is_made_the_next_time() {
    run("failing private copy", Reach::Deep, || {
        let (file, map) = set_up(|| {
            let file = MiniFs::new(Volatile, 16);
            file.write(0, &[1; 8]);
            let map = Mapping::new(&file, Private, 0..1);
            map.window.fail(Operation::CopyPrivate);
            (file, map)
        });
        together(vec![
            body!(map => {
                let _ = map.store(0, 2);
            }),
            body!(map => {
                let _ = map.store(1, 3);
            }),
        ]);
        map.store(0, 2).done();
        map.store(1, 3).done();
        let seen: Vec<u8> = (0..3).map(|at| map.load(at).byte()).collect();
        assert_eq!(seen, [2, 3, 1]);
        assert_sound(&file, &[&map]);
    });
}

/// A punch that cannot revoke changes nothing, and nothing is forgotten: it works the second time.
#[test]
fn a_punch_that_cannot_revoke_leaves_the_file_as_it_was() {
    run("failing punch", Reach::Deep, || {
        let (file, map) = set_up(|| {
            let file = with_hole(2);
            let map = Mapping::new(&file, SharedWrite, 0..2);
            map.store(0, 1).done();
            map.load(PAGE).byte();
            map.window.fail(Operation::Revoke);
            (file, map)
        });
        together(vec![body!(map => map.store(1, 2).done()), body!(file => file.punch(0..2))]);
        assert_eq!(file.read(0, 2), [1, 2]);
        assert_sound(&file, &[&map]);
        map.store(PAGE, 3).done();
        assert_eq!(map.load(PAGE).byte(), 3);
        file.punch(0..2);
        assert_eq!(file.read(0, 2), [0, 0]);
        assert_sound(&file, &[&map]);
    });
}
