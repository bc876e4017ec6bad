//! 10 to 20, 39, 40: no store is lost, no old byte shows, no freed block stays mapped.

use engine::dax::WindowKind::{Private, SharedRead, SharedWrite};
use order::sync::Arc;
use pool::Durability::{CpuFlush, Volatile};

use crate::mini::MiniFs;
use crate::runner::{Reach, run, set_up, together};
use crate::subject::{AccessBits, Mapping, Subject, assert_sound};
use crate::watched::BLOCK_BYTES as PAGE;
use crate::{body, interleavings};

interleavings! {
    i10_two_write_faults_on_a_hole_keep_both_stores: Deep;
    i10_two_write_faults_on_an_unwritten_page_keep_both_stores: Deep;
    i10_two_private_write_faults_keep_both_stores: Deep;
    i11_a_read_fault_leaves_no_zeros_over_a_new_block: Deep;
    i12_a_write_call_onto_a_fresh_block_is_seen_through_every_mapping: Deep;
    i12_a_write_call_into_a_hole_is_seen_through_the_mapping: Deep;
    i13_huge_zeros_do_not_survive_a_write_call: Huge;
    i14_small_zeros_do_not_survive_a_larger_write_fault: Deep;
    i15_a_private_copy_stays_when_a_huge_translation_comes: Huge;
    i16_a_huge_translation_leaves_the_private_copy_of_another_thread: Huge;
    i17_no_freed_block_is_mapped_after_a_truncate: Deep;
    i17_a_truncated_block_goes_to_another_page: Wide;
    i18_no_freed_block_is_mapped_after_a_punch: Deep;
    i18_a_store_after_a_punch_is_there: Wide;
    i19_collapse_loses_no_mapped_store: Deep;
    i19_insert_loses_no_mapped_store: Deep;
    i20_no_private_copy_outlives_a_truncate: Deep;
    i40_bytes_past_the_end_are_zeros_when_the_file_grows: Deep;
}

fn with_hole<S: Subject>(pages: u64) -> Arc<S> {
    let file = S::new(Volatile, 16);
    file.truncate(pages * PAGE);
    file
}

/// Two processes store to one page at once.
fn two_stores<S: Subject>(file: &Arc<S>) {
    let (a, b) = set_up(|| {
        let a = Mapping::new(file, SharedWrite, 0..1);
        let b = Mapping::new(file, SharedWrite, 0..1);
        (a, b)
    });
    together(vec![body!(a => a.store(1, 11).done()), body!(b => b.store(2, 22).done())]);
    assert_eq!(file.read(0, 4), [0, 11, 22, 0]);
    assert_eq!((a.load(2).byte(), b.load(1).byte()), (22, 11));
    assert_sound(file, &[&a, &b]);
}

fn i10_two_write_faults_on_a_hole_keep_both_stores<S: Subject>() {
    two_stores(&set_up(|| with_hole::<S>(1)));
}

/// The worst case of old: a block that is there but unwritten looked new to both.
fn i10_two_write_faults_on_an_unwritten_page_keep_both_stores<S: Subject>() {
    let file = set_up(|| {
        let file = with_hole::<S>(1);
        file.allocate(0..1);
        file
    });
    two_stores(&file);
}

/// Two threads of one process: the second fault must not copy over the first one's store.
fn i10_two_private_write_faults_keep_both_stores<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(1);
        file.write(0, &[5; 4]);
        let map = Mapping::new(&file, Private, 0..1);
        (file, map)
    });
    together(vec![body!(map => map.store(1, 11).done()), body!(map => map.store(2, 22).done())]);
    let seen: Vec<u8> = (0..4).map(|at| map.load(at).byte()).collect();
    assert_eq!(seen, [5, 11, 22, 5]);
    assert_eq!(file.read(0, 4), [5; 4]);
    assert_sound(&file, &[&map]);
}

fn i11_a_read_fault_leaves_no_zeros_over_a_new_block<S: Subject>() {
    let (file, a, b) = set_up(|| {
        let file = with_hole::<S>(1);
        let a = Mapping::new(&file, SharedWrite, 0..1);
        let b = Mapping::new(&file, SharedRead, 0..1);
        (file, a, b)
    });
    together(vec![
        body!(a => a.store(0, 1).done()),
        body!(b => {
            b.load(0).byte();
        }),
    ]);
    assert_eq!(b.load(0).byte(), 1);
    assert_sound(&file, &[&a, &b]);
}

fn i12_a_write_call_into_a_hole_is_seen_through_the_mapping<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(1);
        let map = Mapping::new(&file, SharedWrite, 0..1);
        (file, map)
    });
    together(vec![
        body!(file => file.write(3, &[7, 8])),
        body!(map => {
            map.load(3).byte();
        }),
    ]);
    assert_eq!((map.load(3).byte(), map.load(4).byte()), (7, 8));
    assert_sound(&file, &[&map]);
}

fn i12_a_write_call_onto_a_fresh_block_is_seen_through_every_mapping<S: Subject>() {
    let (file, a, b) = set_up(|| {
        let file = with_hole::<S>(1);
        let a = Mapping::new(&file, SharedWrite, 0..1);
        let b = Mapping::new(&file, SharedRead, 0..1);
        b.load(3).byte();
        (file, a, b)
    });
    together(vec![
        body!(a => a.store(0, 1).done()),
        body!(file, b => {
            file.write(3, &[7]);
            assert_eq!(b.load(3).byte(), 7);
        }),
    ]);
    assert_eq!((b.load(0).byte(), b.load(3).byte()), (1, 7));
    assert_sound(&file, &[&a, &b]);
}

fn i13_huge_zeros_do_not_survive_a_write_call<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(512);
        let map = Mapping::new(&file, SharedRead, 0..512);
        (file, map)
    });
    together(vec![
        body!(file => file.write(100 * PAGE, &[9])),
        body!(map => {
            map.load(0).byte();
        }),
    ]);
    assert_eq!(map.load(100 * PAGE).byte(), 9);
    assert_eq!(map.load(101 * PAGE).byte(), 0);
    assert_sound(&file, &[&map]);
}

/// The writer's second fault makes a run of pages writable, of which another process has zeros.
fn i14_small_zeros_do_not_survive_a_larger_write_fault<S: Subject>() {
    let (file, a, b) = set_up(|| {
        let file = with_hole::<S>(8);
        let a = Mapping::new(&file, SharedWrite, 0..8);
        let b = Mapping::new(&file, SharedRead, 3..5);
        a.store(0, 1).done();
        (file, a, b)
    });
    together(vec![
        body!(a => {
            a.store(PAGE, 1).done();
            a.store(3 * PAGE, 3).done();
        }),
        body!(b => {
            b.load(3 * PAGE).byte();
        }),
    ]);
    assert_eq!(b.load(3 * PAGE).byte(), 3);
    assert_sound(&file, &[&a, &b]);
}

/// A file of one aligned piece of 2 MiB, and a private window onto it.
fn huge_and_private<S: Subject>() -> (Arc<S>, Mapping<S>) {
    let file = S::new(Volatile, 600);
    file.truncate(512 * PAGE);
    file.allocate(0..512);
    file.write(0, &vec![4; 512 * PAGE as usize]);
    let map = Mapping::new(&file, Private, 0..512);
    (file, map)
}

fn i15_a_private_copy_stays_when_a_huge_translation_comes<S: Subject>() {
    let (file, map) = set_up(huge_and_private::<S>);
    together(vec![body!(map => map.store(5 * PAGE, 6).done()), body!(map => assert_eq!(map.load(9 * PAGE).byte(), 4))]);
    assert_eq!(map.load(5 * PAGE).byte(), 6);
    assert_eq!(map.load(5 * PAGE + 1).byte(), 4);
    assert_eq!(file.read(5 * PAGE, 1), [4]);
    assert_sound(&file, &[&map]);
}

fn i16_a_huge_translation_leaves_the_private_copy_of_another_thread<S: Subject>() {
    let (file, map) = set_up(huge_and_private::<S>);
    together(vec![
        body!(map => assert_eq!(map.load(0).byte(), 4)),
        body!(map => {
            map.store(5 * PAGE, 6).done();
            assert_eq!(map.load(5 * PAGE).byte(), 6);
        }),
        body!(map => map.store(5 * PAGE + 1, 7).done()),
    ]);
    assert_eq!(map.load(5 * PAGE).byte(), 6);
    assert_eq!(map.load(5 * PAGE + 1).byte(), 7);
    assert_sound(&file, &[&map]);
}

fn i17_no_freed_block_is_mapped_after_a_truncate<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(2);
        file.write(0, &vec![3; 2 * PAGE as usize]);
        let map = Mapping::new(&file, SharedWrite, 0..2);
        (file, map)
    });
    together(vec![
        body!(map => {
            let _ = map.store(PAGE, 1);
        }),
        body!(file => file.truncate(PAGE)),
    ]);
    assert!(map.load(PAGE).is_err());
    assert_sound(&file, &[&map]);
}

/// The block is used again at once: a store through a translation that outlived the truncate would
/// show up there.
fn i17_a_truncated_block_goes_to_another_page<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(4);
        file.write(3 * PAGE, &[3; 8]);
        let map = Mapping::new(&file, SharedWrite, 0..4);
        (file, map)
    });
    together(vec![
        body!(map => {
            let _ = map.store(3 * PAGE + 1, 1);
        }),
        body!(file => {
            file.truncate(PAGE);
            file.write(0, &[2; 8]);
        }),
    ]);
    assert_eq!(file.read(0, 8), [2; 8]);
    assert_eq!(map.load(1).byte(), 2);
    assert_sound(&file, &[&map]);
}

fn i18_no_freed_block_is_mapped_after_a_punch<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(2);
        file.write(0, &[3; 8]);
        let map = Mapping::new(&file, SharedWrite, 0..2);
        (file, map)
    });
    together(vec![
        body!(map => {
            let seen = map.load(0).byte();
            assert!(seen == 3 || seen == 0, "{seen}");
        }),
        body!(file => {
            file.punch(0..1);
            file.write(PAGE, &[6; 8]);
        }),
    ]);
    assert_eq!((map.load(0).byte(), map.load(PAGE).byte()), (0, 6));
    assert_sound(&file, &[&map]);
}

fn i18_a_store_after_a_punch_is_there<S: Subject>() {
    let (file, a, b) = set_up(|| {
        let file = with_hole::<S>(2);
        file.write(0, &[3; 8]);
        let a = Mapping::new(&file, SharedWrite, 0..2);
        let b = Mapping::new(&file, SharedWrite, 0..2);
        (file, a, b)
    });
    together(vec![
        body!(a => {
            a.store(PAGE, 5).done();
            a.store(PAGE + 1, 6).done();
        }),
        body!(b => {
            b.load(0).byte();
        }),
        body!(file, a => {
            file.punch(0..1);
            a.store(1, 9).done();
        }),
    ]);
    assert_eq!(file.read(0, 3), [0, 9, 0]);
    assert_eq!(file.read(PAGE, 2), [5, 6]);
    assert_eq!(b.load(1).byte(), 9);
    assert_sound(&file, &[&a, &b]);
}

/// The store comes before the blocks move, or faults and comes after.
fn i19_collapse_loses_no_mapped_store<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = S::new(CpuFlush, 16);
        file.write(0, &vec![1; 3 * PAGE as usize]);
        let map = Mapping::new(&file, SharedWrite, 0..3);
        map.store(PAGE, 2).done();
        (file, map)
    });
    together(vec![body!(map => map.store(PAGE + 1, 9).done()), body!(file => file.collapse(0..1))]);
    let before = file.read(1, 1) == [9];
    let after = file.read(PAGE + 1, 1) == [9];
    assert!(before != after, "the store is there, once");
    assert_eq!(file.read(0, 1), [2]);
    assert_sound(&file, &[&map]);
    file.sync();
    assert!(crate::subject::all_flushed(&file));
}

fn i19_insert_loses_no_mapped_store<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = S::new(CpuFlush, 16);
        file.write(0, &vec![1; 2 * PAGE as usize]);
        let map = Mapping::new(&file, SharedWrite, 0..3);
        map.store(0, 2).done();
        (file, map)
    });
    together(vec![body!(map => map.store(1, 9).done()), body!(file => file.insert(0..1))]);
    let before = file.read(PAGE + 1, 1) == [9];
    let after = file.read(1, 1) == [9];
    assert!(before != after, "the store is there, once");
    assert_eq!(file.read(PAGE, 1), [2]);
    assert_sound(&file, &[&map]);
    file.sync();
    assert!(crate::subject::all_flushed(&file));
}

/// A private copy that is there at the end was made from what the file was after the truncate.
fn i20_no_private_copy_outlives_a_truncate<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = with_hole::<S>(2);
        file.write(PAGE, &vec![b'a'; PAGE as usize]);
        let map = Mapping::new(&file, Private, 0..2);
        (file, map)
    });
    together(vec![
        body!(map => {
            let _ = map.store(PAGE + 1, b'b');
        }),
        body!(file => {
            file.truncate(PAGE);
            file.truncate(2 * PAGE);
        }),
    ]);
    assert_eq!(map.load(PAGE).byte(), 0);
    assert!([0, b'b'].contains(&map.load(PAGE + 1).byte()));
    assert_sound(&file, &[&map]);
}

/// A store past the end, in the last page, is allowed, and is gone when the file grows over it.
fn i40_bytes_past_the_end_are_zeros_when_the_file_grows<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = S::new(Volatile, 16);
        file.write(0, &[1; 100]);
        let map = Mapping::new(&file, SharedWrite, 0..2);
        map.store(200, 5).done();
        (file, map)
    });
    together(vec![
        body!(map => {
            let seen = map.load(200).byte();
            assert!(seen == 5 || seen == 0, "{seen}");
            map.store(50, 2).done();
        }),
        body!(file => file.truncate(PAGE + 10)),
    ]);
    assert_eq!((map.load(200).byte(), map.load(50).byte()), (0, 2));
    assert_eq!(file.read(100, 200), [0; 200]);
    assert_sound(&file, &[&map]);
}

/// The bytes of a write come from a window onto the very page that is written: the copy faults while
/// this thread holds the inode, against a truncate that wants it.
fn i39_the_buffer_of_a_write_is_a_mapping_of_the_same_page_scenario() {
    let (file, map) = set_up(|| {
        let file = with_hole::<MiniFs>(1);
        file.write(0, &[1, 2, 3, 4]);
        let map = Mapping::new(&file, SharedWrite, 0..1);
        (file, map)
    });
    together(vec![
        body!(file, map => file.write_from(4, 4, &|copy| {
            for (at, byte) in copy.iter_mut().enumerate() {
                *byte = map.load(at as u64).byte();
            }
        })),
        body!(file => file.zero(0..1)),
        body!(map => map.store(100, 7).done()),
    ]);
    let tail = file.read(4, 4);
    assert!([[0, 0, 0, 0], [1, 2, 3, 4]].iter().any(|whole| tail == whole), "{tail:?}");
    assert_sound(&file, &[&map]);
}

#[test]
fn i39_the_buffer_of_a_write_is_a_mapping_of_the_same_page() {
    run(
        "i39_the_buffer_of_a_write_is_a_mapping_of_the_same_page (small map)",
        Reach::Wide,
        i39_the_buffer_of_a_write_is_a_mapping_of_the_same_page_scenario,
    );
}
