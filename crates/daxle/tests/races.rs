//! Threads that store, while others take the blocks away.
//!
//! Every value that is stored says which page of which file it is for. So a load that gives anything but zero or
//! a value of its own page has seen a block that the file does not own there.

mod common;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use common::{PAGE, Random, load, on_every_pool, options, sparse, try_load, try_store, word_of};
use daxle::{File, MapMode, MapOptions, Mapping};

/// Pages that are only stored to: each store must be there at the end.
const SAFE: u64 = 24;
/// All pages; those after the safe ones are punched and cut.
const ALL: u64 = 96;
const ROUNDS: u64 = 1_500;
const MOVES: u64 = 40;

fn tag(file: u64, page: u64, round: u64) -> u64 {
    file << 56 | page << 32 | round
}

fn check(file: u64, page: u64, value: u64, where_from: &str) {
    assert!(
        value == 0 || value >> 32 == file << 24 | page,
        "{where_from} of page {page} of file {file} gave {value:#x}"
    );
}

/// Adds to words of the safe pages; gives how many additions.
fn add(map: &Mapping, who: u64, seed: u64) -> Vec<u64> {
    let mut random = Random(seed);
    let mut counts = vec![0; SAFE as usize];
    for _ in 0..ROUNDS {
        let page = random.below(SAFE);
        map.fetch_add_u64((page * PAGE + 512 + 8 * who) as usize, 1);
        counts[page as usize] += 1;
    }
    counts
}

/// Stores and loads tagged values where pages come and go.
fn scribble(map: &Mapping, file: u64, seed: u64) {
    let mut random = Random(seed);
    for round in 1..ROUNDS {
        let page = SAFE + random.below(ALL - SAFE);
        if random.below(2) == 0 {
            // Past the end at the moment: fine.
            let _ = try_store(map, page, tag(file, page, round));
        } else if let Ok(value) = try_load(map, page) {
            check(file, page, value, "a load");
        }
    }
}

/// Punches, cuts, grows and writes the pages after the safe ones until told to stop.
fn disturb(file: &File, number: u64, seed: u64, stop: &AtomicBool) {
    let mut random = Random(seed);
    while !stop.load(SeqCst) {
        let page = SAFE + random.below(ALL - SAFE);
        let pages = 1 + random.below(ALL - page);
        match random.below(6) {
            0 | 1 => file.punch_hole(page * PAGE, pages * PAGE).unwrap(),
            2 => file.set_len(page * PAGE).unwrap(),
            3 => file.set_len(ALL * PAGE).unwrap(),
            4 => file.zero_range_keep_size(page * PAGE, pages * PAGE).unwrap(),
            _ => file.write_all_at(&tag(number, page, 0).to_ne_bytes(), page * PAGE).unwrap(),
        }
    }
}

#[test]
fn no_store_is_lost_and_no_foreign_block_is_seen() {
    on_every_pool(&options(), |pool| {
        let files = [sparse(pool, "one", ALL), sparse(pool, "two", ALL)];
        let maps: Vec<Mapping> = files.iter().map(|file| file.map().unwrap()).collect();
        let watch: Vec<Mapping> =
            files.iter().map(|file| file.map_with(&MapOptions::new().mode(MapMode::Read)).unwrap()).collect();
        let stop = AtomicBool::new(false);
        let mut added = Vec::new();
        std::thread::scope(|scope| {
            let disturbers: Vec<_> = (0..2)
                .map(|n: u64| {
                    let (file, stop) = (&files[n as usize], &stop);
                    scope.spawn(move || disturb(file, n + 1, 100 + n, stop))
                })
                .collect();
            let scribblers: Vec<_> = (0..2)
                .map(|n: u64| {
                    let (map, watch) = (&maps[n as usize], &watch[n as usize]);
                    scope.spawn(move || {
                        scribble(map, n + 1, 200 + n);
                        for page in SAFE..ALL {
                            if let Ok(value) = try_load(watch, page) {
                                check(n + 1, page, value, "the other mapping");
                            }
                        }
                    })
                })
                .collect();
            let adders: Vec<_> = (0..3)
                .map(|who| {
                    let map = &maps[0];
                    scope.spawn(move || add(map, who, 300 + who))
                })
                .collect();
            added = adders.into_iter().map(|adder| adder.join().unwrap()).collect();
            for scribbler in scribblers {
                scribbler.join().unwrap();
            }
            stop.store(true, SeqCst);
            for disturber in disturbers {
                disturber.join().unwrap();
            }
        });
        for (who, counts) in added.iter().enumerate() {
            for (page, count) in counts.iter().enumerate() {
                let at = page * PAGE as usize + 512 + 8 * who;
                let mut word = [0; 8];
                files[0].read_exact_at(&mut word, at as u64).unwrap();
                assert_eq!(u64::from_ne_bytes(word), *count, "additions of thread {who} to page {page}");
            }
        }
        for (n, file) in files.iter().enumerate() {
            file.set_len(ALL * PAGE).unwrap();
            for page in SAFE..ALL {
                let value = word_of(file, page);
                check(n as u64 + 1, page, value, "a read");
                assert_eq!(load(&maps[n], page), value);
                assert_eq!(load(&watch[n], page), value);
            }
        }
    });
}

#[test]
fn many_threads_store_first_to_the_same_page() {
    on_every_pool(&options(), |pool| {
        let file = sparse(pool, "f", 512);
        let map = file.map().unwrap();
        std::thread::scope(|scope| {
            for who in 0..8 {
                let map = &map;
                scope.spawn(move || {
                    for page in 0..64 {
                        map.store_u64((page * 8 * PAGE) as usize + 8 * who, page + 1);
                    }
                });
            }
        });
        for page in 0..64 {
            for who in 0..8 {
                assert_eq!(map.load_u64((page * 8 * PAGE) as usize + 8 * who), page + 1, "page {page} thread {who}");
            }
        }
    });
}

#[test]
fn stores_stay_while_the_file_is_collapsed_and_opened_again() {
    on_every_pool(&options(), |pool| {
        let file = sparse(pool, "f", 64);
        // Page 40 is page 40 of the original or, after the collapse, page 56. Pages that go are holes.
        let map = file.map().unwrap();
        let stop = AtomicBool::new(false);
        let added: Vec<u64> = std::thread::scope(|scope| {
            let adders: Vec<_> = (0..2)
                .map(|who| {
                    let (map, stop) = (&map, &stop);
                    scope.spawn(move || {
                        let mut count = 0;
                        while !stop.load(SeqCst) {
                            map.fetch_add_u64((40 * PAGE) as usize + 8 * who, 1);
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            for _ in 0..MOVES {
                file.collapse_range(0, 16 * PAGE).unwrap();
                file.insert_range(0, 16 * PAGE).unwrap();
            }
            stop.store(true, SeqCst);
            adders.into_iter().map(|adder| adder.join().unwrap()).collect()
        });
        for (who, added) in added.into_iter().enumerate() {
            let sum: u64 = (0..64).map(|page| map.load_u64((page * PAGE) as usize + 8 * who)).sum();
            assert_eq!(sum, added, "additions of thread {who}");
        }
    });
}
