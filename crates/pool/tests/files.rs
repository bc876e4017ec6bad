//! Pools on the file systems of this machine: the disk, tmpfs, hugetlbfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daxle_pool as pool;
use pool::{
    Access, CHUNK_BYTES, CreateOptions, Durability, FilePool, Huge, LEN_BYTES_MAX, LEN_BYTES_MIN, MemfdPool, Pool,
    PoolError, Preallocate,
};

const LEN: u64 = 32 << 20;

fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory")
}

fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("directory")
}

fn create(path: &Path) -> pool::Result<FilePool> {
    FilePool::create(path, LEN, CreateOptions::default())
}

fn sectors(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).expect("stat").blocks()
}

/// What every kind of pool does alike.
fn exercise(pool: &dyn Pool) {
    let data: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    pool.back(5 << 20, 3 << 20).expect("back");
    pool.write((5 << 20) + 7, &data);
    pool.write_stream((6 << 20) + 3, &data);
    assert!(pool.equal((6 << 20) + 3, &data));
    pool.copy((5 << 20) + 7, (7 << 20) + 1, 1000);
    pool.zero((7 << 20) + 1, 10);
    let mut back = [1; 20];
    pool.read((7 << 20) + 1, &mut back);
    assert_eq!((&back[..10], &back[10..]), (&[0; 10][..], &data[10..20]));
    pool.store_u64(5 << 20, 99);
    assert_eq!(pool.load_u64(5 << 20), 99);
    pool.flush(5 << 20, 3 << 20);
    pool.fence();
    pool.sync().expect("sync");
    pool.give_back(6 << 20, 2 << 20).expect("give back");
    assert!(pool.equal(6 << 20, &[0; 4096]));
    pool.back(6 << 20, 2 << 20).expect("back again");
    pool.write(6 << 20, &data);
    let source = pool.window_source().expect("a file");
    assert_eq!(source.base, 0);
}

#[test]
fn a_plain_file_is_an_msync_pool_and_keeps_its_bytes() {
    let directory = on_disk();
    let path = directory.path().join("pool");
    let first = create(&path).expect("create");
    assert_eq!((first.len(), first.page_size(), first.durability()), (LEN, 4096, Durability::Msync));
    exercise(&first);
    first.write(0, b"kept");
    let witness = first.witness();
    drop(first);
    let again = FilePool::open(&path, Access::ReadWrite).expect("open");
    assert!(again.equal(0, b"kept"));
    assert_eq!(again.witness(), witness, "the page cache still has it");
}

#[test]
fn a_file_on_tmpfs_is_a_volatile_pool() {
    let directory = in_memory();
    let path = directory.path().join("pool");
    let pool = create(&path).expect("create");
    assert_eq!((pool.page_size(), pool.durability()), (4096, Durability::Volatile));
    exercise(&pool);
    drop(pool);
    assert_eq!(FilePool::open(&path, Access::ReadWrite).expect("open").load_u64(5 << 20), 99);
}

#[test]
fn a_memory_file_is_a_volatile_pool() {
    let pool = MemfdPool::create("test", LEN + 1, Huge::No).expect("create");
    assert_eq!((pool.len(), pool.durability()), (LEN + 4096, Durability::Volatile));
    exercise(&pool);
}

#[test]
fn space_is_taken_as_it_is_backed_and_given_back() {
    for directory in [on_disk(), in_memory()] {
        let path = directory.path().join("pool");
        let pool = create(&path).expect("create");
        let before = sectors(&path);
        assert!(before <= CHUNK_BYTES / 512 + 64, "sparse: {before}");
        pool.back(8 << 20, 8 << 20).expect("back");
        let backed = sectors(&path);
        assert!(backed >= before + (8 << 20) / 512, "{before} to {backed}");
        pool.give_back(8 << 20, 8 << 20).expect("give back");
        assert!(sectors(&path) <= before + 64);
        drop(pool);
        fs::remove_file(&path).expect("remove");
        let all = CreateOptions { preallocate: Preallocate::Yes };
        let pool = FilePool::create(&path, LEN, all).expect("create");
        assert!(sectors(&path) >= LEN / 512);
        drop(pool);
    }
}

#[test]
fn one_process_owns_a_pool_and_readers_share() {
    let directory = on_disk();
    let path = directory.path().join("pool");
    let owner = create(&path).expect("create");
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let error = FilePool::open(&path, access).expect_err("in use");
        assert!(
            matches!(&error, PoolError::InUse { pid: Some(pid), comm, .. } if *pid == std::process::id() && !comm.is_empty()),
            "{error:?}"
        );
        assert_eq!(error.errno(), 16);
    }
    assert!(matches!(create(&path), Err(PoolError::InUse { .. })));
    drop(owner);
    let one = FilePool::open(&path, Access::ReadOnly).expect("read");
    let two = FilePool::open(&path, Access::ReadOnly).expect("read");
    assert!(one.equal(0, &[0; 8]) && two.equal(0, &[0; 8]));
    one.sync().expect("nothing to sync");
    assert!(matches!(one.back(0, 1), Err(PoolError::ReadOnly { .. })));
    assert!(matches!(FilePool::open(&path, Access::ReadWrite), Err(PoolError::InUse { .. })));
}

#[test]
#[should_panic(expected = "read-only")]
fn a_store_into_a_pool_opened_for_reading_is_refused() {
    let directory = on_disk();
    let path = directory.path().join("pool");
    drop(create(&path).expect("create"));
    FilePool::open(&path, Access::ReadOnly).expect("open").write(0, &[1]);
}

#[test]
fn what_cannot_be_a_pool_says_so() {
    let directory = on_disk();
    let place = |name: &str| directory.path().join(name);
    let open = |path: &Path| FilePool::open(path, Access::ReadWrite).expect_err("refused");
    assert!(matches!(open(&place("absent")), PoolError::NotFound(_)));
    assert!(matches!(open(directory.path()), PoolError::NotAPoolFile { what: "a directory", .. }));
    assert!(matches!(open(Path::new("/dev/null")), PoolError::NotAPoolFile { .. }));
    fs::write(place("short"), [0; 4096]).expect("write");
    assert_eq!(open(&place("short")), PoolError::TooSmall(4096));
    let ragged = fs::File::create(place("ragged")).expect("create");
    ragged.set_len(LEN + 5).expect("size");
    assert!(matches!(open(&place("ragged")), PoolError::Ragged { len, page: 4096, .. } if len == LEN + 5));
}

#[test]
fn creating_refuses_what_exists_and_bad_lengths_and_leaves_nothing() {
    let directory = on_disk();
    let path = directory.path().join("pool");
    for (len, errno) in [(LEN_BYTES_MIN - 1, 22), (LEN_BYTES_MAX + 1, 22), (0, 22)] {
        let error = FilePool::create(&path, len, CreateOptions::default()).expect_err("refused");
        assert_eq!(error.errno(), errno);
        assert!(!path.exists());
    }
    fs::write(&path, b"content").expect("write");
    assert_eq!(create(&path).expect_err("refused"), PoolError::Exists(path.clone()));
    assert_eq!(fs::read(&path).expect("read"), b"content");
    fs::write(&path, b"").expect("empty");
    drop(create(&path).expect("an empty file may become a pool"));
    assert!(matches!(create(&path.join("below")), Err(PoolError::NotFound(_))));
}

#[test]
fn the_largest_pool_is_sparse() {
    let directory = in_memory();
    let path = directory.path().join("pool");
    let pool = FilePool::create(&path, LEN_BYTES_MAX, CreateOptions::default()).expect("create");
    pool.back(LEN_BYTES_MAX - 4096, 4096).expect("back");
    pool.write(LEN_BYTES_MAX - 3, b"end");
    assert!(pool.equal(LEN_BYTES_MAX - 3, b"end"));
}

#[test]
fn backing_pages_takes_only_those_and_a_store_between_them_asks_again() {
    for directory in [on_disk(), in_memory()] {
        let path = directory.path().join("pool");
        let pool = create(&path).expect("create");
        let before = sectors(&path);
        pool.back_pages((10 << 20) + 4095, 2).expect("back");
        assert_eq!(sectors(&path) - before, 16, "two pages");
        pool.write((10 << 20) + 4095, b"ab");
        pool.back(10 << 20, CHUNK_BYTES).expect("back all");
        assert_eq!(sectors(&path) - before, CHUNK_BYTES / 512, "the chunk was taken for backed");
        assert!(pool.equal((10 << 20) + 4094, b"\0ab\0"));
    }
}

/// A mount that goes when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, options: &str) -> Option<Mount> {
        let path = on_disk().keep();
        let done = Command::new("mount").args(["-t", kind, "-o", options, "none"]).arg(&path).output();
        match done {
            Ok(output) if output.status.success() => Some(Mount(path)),
            other => {
                println!("SKIPPED: cannot mount {kind} ({options}): {other:?}");
                fs::remove_dir(&path).expect("remove");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_full_file_system_is_an_error_and_not_a_signal() {
    let Some(mount) = Mount::new("tmpfs", "size=24M") else { return };
    let path = mount.0.join("pool");
    let all = CreateOptions { preallocate: Preallocate::Yes };
    let error = FilePool::create(&path, LEN, all).expect_err("full");
    assert!(matches!(error, PoolError::NoSpace { .. }), "{error}");
    assert!(!path.exists(), "nothing is left behind");
    let pool = create(&path).expect("sparse");
    pool.back(0, 20 << 20).expect("there is so much");
    let error = pool.back(20 << 20, 12 << 20).expect_err("full");
    assert_eq!(error.errno(), 28);
    pool.give_back(0, 8 << 20).expect("give back");
    pool.back(24 << 20, 4 << 20).expect("room again");
    drop(pool);
    fs::write(&path, b"").expect("empty it");
    FilePool::create(&path, LEN, all).expect_err("full");
    assert_eq!(fs::metadata(&path).expect("stat").len(), 0, "an empty file is empty again");
}

/// Huge pages reserved on top of those that are; given back when dropped.
struct HugePages(u64);

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

fn huge_pages() -> u64 {
    fs::read_to_string(NR_HUGEPAGES).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

impl HugePages {
    fn reserve(count: u64) -> Option<HugePages> {
        let before = huge_pages();
        let guard = HugePages(before);
        let written = fs::write(NR_HUGEPAGES, (before + count).to_string());
        if written.is_err() || huge_pages() < before + count {
            println!("SKIPPED: cannot reserve {count} huge pages ({written:?}, now {})", huge_pages());
            return None;
        }
        Some(guard)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(NR_HUGEPAGES, self.0.to_string());
    }
}

// One test, since the machine's reserve is one.
#[test]
fn huge_pages_make_a_pool_of_2_mib_pages_or_say_how_many_are_missing() {
    let Some(mount) = Mount::new("hugetlbfs", "pagesize=2M") else { return };
    let path = mount.0.join("pool");
    let needed = LEN / (2 << 20);
    let far_too_long = LEN_BYTES_MAX;
    let error = FilePool::create(&path, far_too_long, CreateOptions::default()).expect_err("too few");
    assert!(matches!(error, PoolError::NoHugePages { needed, .. } if needed == far_too_long >> 21), "{error}");
    assert!(!path.exists());
    let Some(_pages) = HugePages::reserve(needed + 1) else { return };
    let pool = FilePool::create(&path, LEN - 5, CreateOptions::default()).expect("create");
    assert_eq!((pool.len(), pool.page_size(), pool.durability()), (LEN, 2 << 20, Durability::Volatile));
    exercise(&pool);
    drop(pool);
    let again = FilePool::open(&path, Access::ReadWrite).expect("open");
    assert_eq!(again.load_u64(5 << 20), 99);
    drop(again);
    fs::remove_file(&path).expect("remove");
    let memory = MemfdPool::create("huge", LEN, Huge::Yes).expect("create");
    assert_eq!(memory.page_size(), 2 << 20);
    exercise(&memory);
}
