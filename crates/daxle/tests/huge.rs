//! Pools of huge pages: translations are of whole 2 MiB, states of files too.
//!
//! The test reserves the pages that it needs and gives them back; where it may not, it says so and ends.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{PAGE, can_map, load, sparse, store, try_load, try_store, word_of};
use daxle::{MapMode, MapOptions, Pool, PoolOptions};

const RESERVED: &str = "/proc/sys/vm/nr_hugepages";
const HUGE: u64 = 2 << 20;
/// A pool of 48 MiB, and a little more.
const PAGES: u64 = 26;

/// Reserved huge pages; dropping it restores the number.
struct Reserve {
    before: u64,
}

impl Reserve {
    fn take() -> Option<Reserve> {
        let count = || fs::read_to_string(RESERVED).ok()?.trim().parse::<u64>().ok();
        let before = count()?;
        let reserve = Reserve { before };
        fs::write(RESERVED, (before + PAGES).to_string()).ok()?;
        (count()? >= before + PAGES).then_some(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let _ = fs::write(RESERVED, self.before.to_string());
    }
}

/// A mounted hugetlbfs; dropping it unmounts.
struct Mount<'d>(&'d Path);

impl Mount<'_> {
    fn new(at: &Path) -> Option<Mount<'_>> {
        let mount = Command::new("mount").args(["-t", "hugetlbfs", "-o", "pagesize=2M", "none"]).arg(at).status();
        mount.is_ok_and(|status| status.success()).then_some(Mount(at))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn files_on_huge_pages_are_mapped_in_units_of_2_mib() {
    if !can_map() {
        return;
    }
    let Some(_reserve) = Reserve::take() else {
        println!("skipped: {PAGES} huge pages cannot be reserved here; as root: echo {PAGES} > {RESERVED}");
        return;
    };
    let options = PoolOptions::new().size("48MiB");
    let memory = options.clone().huge_pages(true).memory().unwrap();
    exercise(&memory);
    memory.close().unwrap();

    let dir = common::directory();
    let Some(mount) = Mount::new(dir.path()) else {
        println!("skipped in part: hugetlbfs cannot be mounted here");
        return;
    };
    let path = dir.path().join("pool");
    let pool = options.create_new(true).open(&path).unwrap();
    exercise(&pool);
    pool.close().unwrap();
    let pool = Pool::open(&path).unwrap();
    assert_eq!(word_of(&pool.open_file("kept").unwrap(), 700), 700);
    drop(pool);
    drop(mount);
}

fn exercise(pool: &Pool) {
    assert_eq!(pool.info().page_bytes, HUGE);
    let file = sparse(pool, "kept", 1024);
    let map = file.map().unwrap();
    assert_eq!(map.as_ptr() as u64 % HUGE, 0);
    let reader = file.map_with(&MapOptions::new().mode(MapMode::Read)).unwrap();
    assert_eq!((0..1024).map(|page| load(&reader, page) + load(&map, page)).sum::<u64>(), 0);

    store(&map, 700, 700);
    store(&map, 701, 701);
    assert_eq!((load(&reader, 700), load(&reader, 701), load(&reader, 702)), (700, 701, 0));
    assert_eq!(word_of(&file, 700), 700);
    file.write_all_at(&900_u64.to_ne_bytes(), 900 * PAGE).unwrap();
    assert_eq!((load(&map, 900), load(&reader, 900)), (900, 900));
    let bytes = file.metadata().unwrap().allocated_bytes();
    assert!((HUGE..HUGE + 64 * PAGE).contains(&bytes), "one unit of two, not {bytes}");

    // Past the end: on the unit in which the file ends at the latest.
    file.set_len(600 * PAGE).unwrap();
    assert!(try_load(&map, 1023).is_err() || load(&map, 1023) == 0);
    let long = file.map_with(&MapOptions::new().len(2048 * PAGE)).unwrap();
    assert!(try_load(&long, 1024).is_err());
    let _ = try_store(&long, 650, 1);
    file.set_len(2048 * PAGE).unwrap();
    for page in [650, 700, 900, 1023, 1024, 2047] {
        assert_eq!((load(&long, page), word_of(&file, page)), (0, 0), "page {page}");
    }

    // Punching gives whole units back and zeroes the rest.
    for page in (0..2048).step_by(100) {
        store(&long, page, page + 1);
    }
    file.punch_hole(450 * PAGE, 700 * PAGE).unwrap();
    for page in (0..2048).step_by(100) {
        let gone = (450..1150).contains(&page);
        assert_eq!(load(&long, page), if gone { 0 } else { page + 1 }, "page {page}");
        assert_eq!(word_of(&file, page), load(&long, page));
    }

    // Private copies are of 4 KiB all the same.
    let private = file.map_with(&MapOptions::new().mode(MapMode::Private)).unwrap();
    store(&private, 100, 5);
    assert_eq!((load(&private, 100), load(&private, 200), load(&long, 100)), (5, 201, 101));

    store(&long, 700, 700);
    long.flush(..).unwrap();

    // More threads than one on a unit that is not there.
    let fresh = sparse(pool, "fresh", 512);
    let map = fresh.map().unwrap();
    std::thread::scope(|scope| {
        for who in 0..8 {
            let map = &map;
            scope.spawn(move || (0..64).for_each(|n| store(map, who * 64 + n, who + 1)));
        }
    });
    assert!((0..512).all(|page| word_of(&fresh, page) == page / 64 + 1));
}
