//! 21 to 25: in marks mode no store goes unflushed without a mark, in whatever order faults and syncs
//! come. (26 to 28 concern shared blocks and synchronous mappings, which this version does not have.)

use engine::dax::WindowKind::SharedWrite;
use order::sync::Arc;
use pool::Durability::CpuFlush;

use crate::runner::{set_up, together};
use crate::subject::{AccessBits, Mapping, Subject, all_flushed, assert_sound};
use crate::watched::BLOCK_BYTES as PAGE;
use crate::{body, interleavings};

interleavings! {
    i21_no_translation_is_writable_without_a_mark: Deep;
    i22_a_sync_takes_write_permission_from_a_huge_translation: Huge;
    i23_a_sync_reaches_a_mapping_of_a_part_of_the_entry: Huge;
    i24_a_second_sync_waits_for_the_flush_of_the_first: Deep;
    i25_a_write_call_drops_no_mark: Deep;
}

fn written<S: Subject>(pages: u64) -> Arc<S> {
    let file = S::new(CpuFlush, pages + 16);
    file.allocate(0..pages);
    file.write(0, &vec![1; (pages * PAGE) as usize]);
    file
}

/// A sync at the end leaves nothing unflushed, and no store can follow without a fault.
fn assert_clean<S: Subject>(file: &Arc<S>, maps: &[&Mapping<S>]) {
    assert_sound(file, maps);
    file.sync();
    assert!(all_flushed(file));
    assert_sound(file, maps);
}

fn i21_no_translation_is_writable_without_a_mark<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = written::<S>(1);
        let map = Mapping::new(&file, SharedWrite, 0..1);
        (file, map)
    });
    together(vec![
        body!(map => {
            map.store(0, 1).done();
            map.store(1, 2).done();
        }),
        body!(file => file.sync()),
    ]);
    assert_sound(&file, &[&map]);
    map.store(2, 3).done();
    assert_clean(&file, &[&map]);
}

fn i22_a_sync_takes_write_permission_from_a_huge_translation<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = written::<S>(512);
        let map = Mapping::new(&file, SharedWrite, 0..512);
        map.store(0, 2).done();
        (file, map)
    });
    together(vec![body!(map => map.store(300 * PAGE, 3).done()), body!(file => file.sync())]);
    assert_sound(&file, &[&map]);
    map.store(400 * PAGE, 4).done();
    assert_clean(&file, &[&map]);
}

fn i23_a_sync_reaches_a_mapping_of_a_part_of_the_entry<S: Subject>() {
    let (file, all, part) = set_up(|| {
        let file = written::<S>(512);
        let all = Mapping::new(&file, SharedWrite, 0..512);
        let part = Mapping::new(&file, SharedWrite, 100..101);
        all.store(0, 2).done();
        part.store(100 * PAGE, 2).done();
        (file, all, part)
    });
    together(vec![
        body!(part => part.store(100 * PAGE + 1, 3).done()),
        body!(all => all.store(PAGE, 3).done()),
        body!(file => file.sync()),
    ]);
    assert_sound(&file, &[&all, &part]);
    part.store(100 * PAGE + 2, 4).done();
    assert_clean(&file, &[&all, &part]);
}

fn i24_a_second_sync_waits_for_the_flush_of_the_first<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = written::<S>(2);
        let map = Mapping::new(&file, SharedWrite, 0..2);
        map.store(0, 2).done();
        map.store(PAGE, 2).done();
        (file, map)
    });
    // Both stores came before either sync, so each has them flushed when it returns.
    together(vec![
        body!(file => {
            file.sync();
            assert!(all_flushed(&file));
        }),
        body!(file => {
            file.sync();
            assert!(all_flushed(&file));
        }),
    ]);
    assert_sound(&file, &[&map]);
}

/// The write publishes a block beside a dirty page, in the same entry, and over it.
fn i25_a_write_call_drops_no_mark<S: Subject>() {
    let (file, map) = set_up(|| {
        let file = written::<S>(1);
        file.truncate(3 * PAGE);
        let map = Mapping::new(&file, SharedWrite, 0..3);
        map.store(0, 2).done();
        (file, map)
    });
    together(vec![body!(map => map.store(1, 3).done()), body!(file => file.write(PAGE - 1, &[7; 2]))]);
    assert_eq!(file.read(0, 2), [2, 3]);
    assert_clean(&file, &[&map]);
}
