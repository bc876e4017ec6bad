//! Pools for tests: on a disk file, on tmpfs, in memory. And a limit on how long a test program may run.
#![allow(dead_code)] // each test program uses its part

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use daxle::{File, Mapping, Pool, PoolOptions};

pub const PAGE: u64 = 4096;

/// Ends the program if its tests hang: a fault that nobody answers cannot be interrupted otherwise.
pub fn watchdog() {
    static START: Once = Once::new();
    START.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(120));
            eprintln!("a test hangs: two minutes are over");
            std::process::abort();
        });
    });
}

/// A directory that goes with the test, on the disk that the build uses.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Whether files can be mapped here; says so if not.
pub fn can_map() -> bool {
    watchdog();
    if !Mapping::is_possible() {
        println!("skipped: page faults cannot be trapped here (see vm.unprivileged_userfaultfd)");
        return false;
    }
    true
}

/// Runs a test on a pool of every kind that needs no preparation.
pub fn on_every_pool(options: &PoolOptions, test: impl Fn(&Pool)) {
    if !can_map() {
        return;
    }
    let disk = directory();
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let places = [Some(disk.path()), memory.as_ref().map(tempfile::TempDir::path), None];
    for place in places.into_iter().enumerate().filter_map(|(at, place)| (at == 2 || place.is_some()).then_some(place))
    {
        let pool = make(options, place);
        println!("on {} ({})", pool.info().name, pool.durability());
        test(&pool);
        pool.close().unwrap();
    }
}

fn make(options: &PoolOptions, place: Option<&Path>) -> Pool {
    match place {
        Some(place) => options.clone().create_new(true).open(place.join("pool")).unwrap(),
        None => options.memory().unwrap(),
    }
}

pub fn options() -> PoolOptions {
    PoolOptions::new().size("64MiB")
}

/// A file of so many pages, all holes.
pub fn sparse(pool: &Pool, name: &str, pages: u64) -> File {
    let file = pool.create_file(name).unwrap();
    file.set_len(pages * PAGE).unwrap();
    file
}

/// A file of so many pages, each holding its number in every word.
pub fn numbered(pool: &Pool, name: &str, pages: u64) -> File {
    let file = pool.create_file(name).unwrap();
    let bytes: Vec<u8> = (0..pages).flat_map(|page| page.to_ne_bytes().repeat(512)).collect();
    file.write_all_at(&bytes, 0).unwrap();
    file
}

/// The first word of a page, as the file has it.
pub fn word_of(file: &File, page: u64) -> u64 {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, page * PAGE).unwrap();
    u64::from_ne_bytes(word)
}

/// The first word of a page, as the mapping has it.
pub fn load(map: &Mapping, page: u64) -> u64 {
    map.load_u64((page * PAGE) as usize)
}

pub fn store(map: &Mapping, page: u64, value: u64) {
    map.store_u64((page * PAGE) as usize, value);
}

/// Stores without dying.
pub fn try_store(map: &Mapping, page: u64, value: u64) -> daxle::Result<()> {
    map.write_at(&value.to_ne_bytes(), (page * PAGE) as usize)
}

/// Loads without dying.
pub fn try_load(map: &Mapping, page: u64) -> daxle::Result<u64> {
    let mut word = [0; 8];
    map.read_at(&mut word, (page * PAGE) as usize)?;
    Ok(u64::from_ne_bytes(word))
}

/// Numbers that look random and come again for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
