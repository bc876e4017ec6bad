//! Mapped files on pools of every kind: what loads and stores meet, and what the file has afterwards.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;

use common::{PAGE, can_map, load, numbered, on_every_pool, options, sparse, store, try_load, try_store, word_of};
use daxle::engine::fs::{Access, Fs};
use daxle::engine::types::MakeOptions;
use daxle::{Error, MapMode, MapOptions, Pool, Populate};

#[test]
fn stores_are_in_the_file_and_writes_are_in_the_mapping() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 40);
        let map = file.map().unwrap();
        assert!((0..40).all(|page| load(&map, page) == page));
        store(&map, 7, 70);
        assert_eq!(word_of(&file, 7), 70);
        file.write_all_at(&80_u64.to_ne_bytes(), 8 * PAGE).unwrap();
        assert_eq!(load(&map, 8), 80);
        // Beyond the first word nothing has changed.
        assert_eq!(map.load_u64((7 * PAGE) as usize + 8), 7);
    });
}

#[test]
fn holes_unwritten_and_written_pages_are_loaded_and_stored() {
    on_every_pool(&options(), |pool| {
        let file = sparse(pool, "f", 2048);
        file.allocate(100 * PAGE, 100 * PAGE).unwrap();
        file.write_all_at(&vec![9; 50 * PAGE as usize], 120 * PAGE).unwrap();
        let map = file.map().unwrap();
        let nines = u64::from_ne_bytes([9; 8]);
        for page in [0, 99, 100, 119, 170, 199, 200, 1023, 1024, 2047] {
            assert_eq!(load(&map, page), 0, "page {page}");
        }
        assert!((120..170).all(|page| load(&map, page) == nines));
        let before = file.metadata().unwrap().allocated_bytes();
        for page in [0, 5, 99, 100, 101, 130, 180, 200, 511, 512, 2047] {
            store(&map, page, page + 1);
        }
        for page in [0, 5, 99, 100, 101, 130, 180, 200, 511, 512, 2047] {
            assert_eq!(word_of(&file, page), page + 1);
        }
        assert_eq!(word_of(&file, 6), 0);
        assert!(file.metadata().unwrap().allocated_bytes() > before, "holes got blocks");
        // Both directions again, after everything is translated.
        file.write_all_at(&1_u64.to_ne_bytes(), 6 * PAGE).unwrap();
        assert_eq!(load(&map, 6), 1);
    });
}

#[test]
fn a_write_into_a_hole_shows_in_mappings_that_have_read_it_as_zeros() {
    on_every_pool(&options(), |pool| {
        let file = sparse(pool, "f", 1024);
        let (one, two) = (file.map().unwrap(), file.map_with(&MapOptions::new().mode(MapMode::Read)).unwrap());
        assert_eq!((0..1024).map(|page| load(&one, page) + load(&two, page)).sum::<u64>(), 0);
        file.write_all_at(&5_u64.to_ne_bytes(), 3 * PAGE).unwrap();
        store(&one, 600, 6);
        assert_eq!((load(&one, 3), load(&two, 3), load(&two, 600)), (5, 5, 6));
    });
}

#[test]
fn the_end_of_the_file_is_an_error_and_moves() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 20);
        let map = file.map_with(&MapOptions::new().len(64 * PAGE)).unwrap();
        assert!(matches!(try_load(&map, 20), Err(Error::PastEnd { offset }) if offset == 20 * PAGE));
        assert_eq!(try_load(&map, 19).unwrap(), 19);

        file.set_len(10 * PAGE + 100).unwrap();
        assert_eq!(try_load(&map, 10).unwrap(), 10, "a partly covered page is there");
        assert_eq!(map.load_u64((10 * PAGE) as usize + 104), 0, "and zeros behind the end");
        for page in [11, 12, 19, 40] {
            assert!(matches!(try_load(&map, page), Err(Error::PastEnd { .. })), "page {page}");
            assert!(matches!(try_store(&map, page, 1), Err(Error::PastEnd { .. })), "page {page}");
        }

        file.set_len(50 * PAGE).unwrap();
        for page in [11, 12, 19, 40] {
            assert_eq!(try_load(&map, page).unwrap(), 0, "what was cut is gone for good");
        }
        try_store(&map, 49, 7).unwrap();
        assert_eq!(word_of(&file, 49), 7);
        assert!(try_store(&map, 50, 7).is_err());
        file.write_all_at(b"x", 63 * PAGE).unwrap();
        assert_eq!(try_load(&map, 63).unwrap() & 0xff, u64::from(b'x'));
    });
}

#[test]
fn punched_and_zeroed_ranges_read_as_zeros_under_a_live_mapping() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 1100);
        let map = file.map().unwrap();
        (0..1100).for_each(|page| store(&map, page, page + 1));
        file.punch_hole(10 * PAGE, 20 * PAGE).unwrap();
        file.zero_range(500 * PAGE, 100 * PAGE).unwrap();
        for page in 0..1100 {
            let gone = (10..30).contains(&page) || (500..600).contains(&page);
            assert_eq!(load(&map, page), if gone { 0 } else { page + 1 }, "page {page}");
        }
        store(&map, 15, 1);
        store(&map, 550, 2);
        assert_eq!((word_of(&file, 15), word_of(&file, 16), word_of(&file, 550)), (1, 0, 2));
    });
}

#[test]
fn collapse_and_insert_move_what_was_stored_before() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 1024);
        let map = file.map_with(&MapOptions::new().len(1200 * PAGE)).unwrap();
        (0..1024).for_each(|page| store(&map, page, 1000 + page));
        file.collapse_range(512 * PAGE, 512 / 2 * PAGE).unwrap();
        assert_eq!(load(&map, 511), 1511);
        assert_eq!(load(&map, 512), 1768);
        assert!(try_load(&map, 768).is_err());
        file.insert_range(0, 512 * PAGE).unwrap();
        assert_eq!((load(&map, 0), load(&map, 511), load(&map, 512), load(&map, 1023)), (0, 0, 1000, 1511));
        store(&map, 3, 3);
        store(&map, 600, 4);
        assert_eq!((word_of(&file, 3), word_of(&file, 600)), (3, 4));
    });
}

#[test]
fn private_mappings_follow_mmap() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 64);
        let shared = file.map().unwrap();
        let private = file.map_with(&MapOptions::new().mode(MapMode::Private)).unwrap();
        let other = file.map_with(&MapOptions::new().mode(MapMode::Private)).unwrap();
        assert_eq!(load(&private, 5), 5);
        store(&private, 5, 500);
        store(&private, 6, 600); // never read before
        assert_eq!((load(&private, 5), load(&private, 6), private.load_u64((6 * PAGE) as usize + 8)), (500, 600, 6));
        assert_eq!((load(&shared, 5), load(&other, 5), word_of(&file, 6)), (5, 5, 6), "nobody else sees it");
        private.flush(..).unwrap();
        assert_eq!(word_of(&file, 5), 5);

        store(&shared, 5, 50);
        store(&shared, 40, 90);
        assert_eq!(
            (load(&private, 5), load(&private, 40)),
            (500, 90),
            "the copy stays, an untouched page follows the file"
        );

        file.punch_hole(5 * PAGE, 3 * PAGE).unwrap();
        assert_eq!((load(&private, 5), load(&private, 7), load(&other, 5)), (500, 0, 0), "punching spares copies");
        file.set_len(4 * PAGE).unwrap();
        assert!(try_load(&private, 5).is_err(), "truncation does not");
        file.set_len(64 * PAGE).unwrap();
        assert_eq!(load(&private, 5), 0);

        let hole = sparse(pool, "hole", 8);
        let private = hole.map_with(&MapOptions::new().mode(MapMode::Private)).unwrap();
        store(&private, 1, 1);
        assert_eq!((load(&private, 1), load(&private, 0)), (1, 0));
        assert_eq!(hole.metadata().unwrap().allocated_bytes(), 0, "a private store allocates nothing");
    });
}

#[test]
fn system_calls_touch_pages_first() {
    on_every_pool(&options(), |pool| {
        let file = sparse(pool, "f", 64);
        let map = file.map().unwrap();
        let len = 20 * PAGE as usize + 100;
        let source: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        let mut outside = tempfile::tempfile().unwrap();
        outside.write_all(&source).unwrap();
        std::io::Seek::rewind(&mut outside).unwrap();
        // SAFETY: the range is mapped, and nobody else touches the file meanwhile.
        let buffer = unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().add(3 * PAGE as usize + 5), len) };
        outside.read_exact(buffer).unwrap();
        let mut back = vec![0; len];
        file.read_exact_at(&mut back, 3 * PAGE + 5).unwrap();
        assert!(back == source, "read(2) into a mapped hole");
        drop(map);

        let map = file.map_with(&MapOptions::new().eager_translations(0)).unwrap();
        // SAFETY: as above.
        let buffer = unsafe { std::slice::from_raw_parts(map.as_ptr().add(3 * PAGE as usize + 5), len) };
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(buffer).unwrap());
            let mut back = vec![0; len];
            reader.read_exact(&mut back).unwrap();
            assert!(back == source, "write(2) from pages that were never touched");
        });
    });
}

#[test]
fn the_buffer_of_a_write_may_be_a_mapping_of_the_same_page() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 16);
        let map = file.map_with(&MapOptions::new().eager_translations(0)).unwrap();
        // SAFETY: single-threaded; the bytes change only inside `write_at`, which copies page by page from and to
        // different pages, but for the last call, which writes a page onto itself.
        let page = |n: u64| unsafe { std::slice::from_raw_parts(map.as_ptr().add((n * PAGE) as usize), PAGE as usize) };
        file.write_all_at(page(3), 4 * PAGE).unwrap();
        assert_eq!(load(&map, 4), 3);
        file.write_all_at(page(5), 40 * PAGE).unwrap(); // into a hole, past the end
        assert_eq!(word_of(&file, 40), 5);
        file.write_all_at(page(9), 9 * PAGE).unwrap();
        assert_eq!(load(&map, 9), 9);
    });
}

#[test]
fn few_translations_suffice_for_a_scattered_file() {
    on_every_pool(&options().translations_max(32), |pool| {
        let file = sparse(pool, "f", 8192);
        for page in (0..8192_u64).step_by(200) {
            file.write_all_at(&page.to_ne_bytes(), page * PAGE).unwrap();
            // A second file takes the block after it, so that no two of the first are neighbours.
            pool.open_options().append(true).create(true).open("spacer").unwrap().append(&[1; PAGE as usize]).unwrap();
        }
        let map = file.map().unwrap();
        for round in 1..=3 {
            for page in (0..8192).step_by(200) {
                let old = load(&map, page);
                assert_eq!(old, page + round - 1);
                store(&map, page, old + 1);
                store(&map, page + 1, round);
            }
            assert!(pool.translations() <= 48, "{} translations", pool.translations());
        }
        assert!(pool.fault_counters().evicted > 0);
    });
}

#[test]
fn want_of_space_is_an_error_and_passes() {
    on_every_pool(&options().size("16MiB"), |pool| {
        let hog = pool.create_file("hog").unwrap();
        let mut size = 0;
        let full = loop {
            match hog.append(&vec![7; 64 << 10]) {
                Ok(_) => size += 64 << 10,
                Err(error) => break error,
            }
            assert!(size < 16 << 20);
        };
        println!("full after {size}: {full}");
        let file = sparse(pool, "f", 4096);
        let map = file.map().unwrap();
        let mut stored = 0;
        let error = loop {
            match try_store(&map, stored, 1) {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.errno(), 28, "{error}");
        pool.remove_file("hog").unwrap();
        drop(hog);
        for page in 0..stored + 100 {
            try_store(&map, page, page).unwrap();
        }
        assert_eq!(word_of(&file, stored + 99), stored + 99);
    });
}

#[test]
fn populating_leaves_nothing_to_fault() {
    on_every_pool(&options(), |pool| {
        let file = sparse(pool, "f", 1024);
        let map = file.map_with(&MapOptions::new().populate(Populate::ForStores)).unwrap();
        let faults = pool.fault_counters().served;
        (0..1024).for_each(|page| store(&map, page, page));
        assert_eq!(pool.fault_counters().served, faults);
        assert!(file.metadata().unwrap().allocated_bytes() >= 1024 * PAGE);
    });
}

#[test]
fn a_part_may_begin_anywhere_and_ranges_are_checked() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 8);
        let map = file.map_with(&MapOptions::new().offset(2 * PAGE + 16).len(PAGE)).unwrap();
        assert_eq!((map.load_u64(0), map.load_u64(PAGE as usize - 8)), (2, 3));
        assert_eq!(map.len(), PAGE as usize);
        assert!(matches!(map.read_at(&mut [0; 2], PAGE as usize - 1), Err(Error::OutOfRange { .. })));
        assert!(matches!(map.flush(..=PAGE as usize), Err(Error::OutOfRange { .. })));
        map.flush(10..20).unwrap();
        map.flush_async(..).unwrap();
        assert!(file.map_with(&MapOptions::new().offset(8 * PAGE)).is_err(), "nothing is left to map there");
    });
}

#[test]
fn flushed_stores_are_there_after_reopening() {
    if !can_map() {
        return;
    }
    let dir = common::directory();
    let path = dir.path().join("pool");
    let pool = Pool::create(&path, "32MiB").unwrap();
    {
        let file = sparse(&pool, "f", 100);
        let map = file.map().unwrap();
        (0..100).step_by(3).for_each(|page| store(&map, page, page + 1));
        map.flush(..).unwrap();
        assert!(matches!(pool.clone().close(), Err(Error::Mapped(1))));
    }
    pool.close().unwrap();
    let pool = Pool::open(&path).unwrap();
    assert_eq!(pool.info().recovered_records, 0, "it was closed in order");
    let map = pool.open_file("f").unwrap().map().unwrap();
    assert_eq!(map.mode(), MapMode::Read, "the handle was for reading");
    for page in 0..100 {
        assert_eq!(load(&map, page), if page % 3 == 0 { page + 1 } else { 0 });
    }
    assert!(matches!(try_store(&map, 0, 1), Err(Error::Handle { .. })));
}

#[test]
fn an_unlinked_file_lives_while_it_is_mapped() {
    on_every_pool(&options(), |pool| {
        let free = pool.statfs().blocks_free;
        let map = numbered(pool, "f", 256).map().unwrap();
        pool.remove_file("f").unwrap();
        store(&map, 9, 99);
        assert_eq!((load(&map, 9), load(&map, 200)), (99, 200));
        drop(map);
        pool.sync().unwrap();
        assert!(pool.statfs().blocks_free + 8 >= free, "its blocks came back");
    });
}

#[test]
fn heap_memory_cannot_be_mapped_and_says_so() {
    if !can_map() {
        return;
    }
    let memory = pool::HeapPool::new(32 << 20, pool::Durability::Volatile).unwrap();
    Fs::make(&memory, &MakeOptions::default()).unwrap();
    let pool = Pool::from_fs(Fs::open(Arc::new(memory), Access::ReadWrite).unwrap()).unwrap();
    let file = numbered(&pool, "f", 4);
    assert_eq!(word_of(&file, 3), 3);
    let error = file.map().unwrap_err();
    assert!(error.to_string().contains("without a file behind it"), "{error}");
    assert_eq!(error.errno(), 95);
}

#[test]
fn children_do_not_inherit_translations() {
    on_every_pool(&options(), |pool| {
        let file = numbered(pool, "f", 64);
        let map = file.map().unwrap();
        assert_eq!(load(&map, 9), 9);
        let hole = sparse(pool, "hole", 8).map().unwrap();
        store(&hole, 1, 1);
        for (map, page) in [(&map, 9), (&hole, 1), (&hole, 5)] {
            let address = map.as_ptr() as usize + page * PAGE as usize;
            assert!(flags_at(address).contains(" dc"), "kept from children at page {page}: {}", flags_at(address));
        }
    });
}

/// The kernel's flags of the mapping at an address.
fn flags_at(address: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((start, end)) = range
            && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            inside = (start..end).contains(&address);
        }
        if inside && line.starts_with("VmFlags:") {
            return line.to_owned();
        }
    }
    panic!("{address:#x} is not mapped");
}

#[test]
fn a_vast_sparse_file_is_mapped_without_looking_at_each_of_its_pages() {
    on_every_pool(&options(), |pool| {
        let file = sparse(pool, "f", (8 << 40) / PAGE);
        let places = [0, 511, 512, 1 << 20, 1 << 30, (8 << 40) / PAGE - 1];
        file.write_all_at(&7_u64.to_ne_bytes(), (1 << 30) * PAGE).unwrap();
        let map = file.map().unwrap();
        assert!(pool.translations() < 500, "{} translations", pool.translations());
        let faults = pool.fault_counters().served;
        assert_eq!(load(&map, 1 << 30), 7);
        assert_eq!(pool.fault_counters().served, faults, "the one written page, behind so many holes, was translated");
        for page in places {
            store(&map, page, page + 1);
        }
        for page in places {
            assert_eq!((load(&map, page), word_of(&file, page)), (page + 1, page + 1));
        }
        file.set_len(0).unwrap();
        assert!(try_load(&map, 0).is_err());
    });
}
