//! Mappings through the kernel's page cache, and what direct mappings mean for the mount.

mod common;

use common::{Place, errno, pattern};
use engine::FsError;
use rustix::fd::AsFd;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};
use sys::memory::{Mapping, Protection};

fn open(place: &Place, name: &str) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(place.path(name)).unwrap()
}

/// A mapping that is synced before it goes. The server is in this process: `munmap` would hold the lock of the address
/// space while it waits for the server to write dirty pages, and a page fault of the server would wait for that lock.
struct Synced(Mapping);

impl std::ops::Deref for Synced {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.0
    }
}

impl Drop for Synced {
    fn drop(&mut self) {
        self.0.sync_range(0, self.0.len()).unwrap();
    }
}

fn map(file: &File, len: u64) -> Synced {
    Synced(Mapping::of_file(file.as_fd(), len, Protection::ReadWrite).unwrap())
}

#[test]
fn stores_through_a_shared_mapping_reach_the_file() {
    let place = Place::new();
    let file = open(&place, "f");
    file.set_len(64 << 10).unwrap();
    let mapping = map(&file, 64 << 10);
    mapping.write(5000, b"stored");
    let mut bytes = [0; 6];
    file.read_at(&mut bytes, 5000).unwrap();
    assert_eq!(&bytes, b"stored");
    let before = file.metadata().unwrap();
    mapping.sync_range(0, 64 << 10).unwrap();
    let node = place.fs.lookup(&place.fs.root().unwrap(), b"f").unwrap();
    let mut bytes = [0; 6];
    place.fs.read(&node, 5000, &mut bytes).unwrap();
    assert_eq!(&bytes, b"stored");
    // The kernel was told that blocks and times are others now.
    let after = file.metadata().unwrap();
    assert!(after.blocks() > before.blocks() && after.modified().unwrap() > before.modified().unwrap());
}

/// Names the file for the process that `closing_a_mapping_without_msync_loses_nothing` starts.
const CHILD_FILE: &str = "DAXLE_TEST_CHILD_FILE";

#[test]
fn child_that_stores_and_ends_without_msync() {
    let Some(path) = std::env::var_os(CHILD_FILE) else { return };
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mapping = Mapping::of_file(file.as_fd(), 12 << 10, Protection::ReadWrite).unwrap();
    assert!(mapping.equal(0, &pattern(10_000, 1)));
    file.write_all_at(b"new", 4094).unwrap();
    assert!(mapping.equal(4094, b"new"));
    mapping.write(9000, b"late");
}

#[test]
fn closing_a_mapping_without_msync_loses_nothing() {
    let place = Place::new();
    let file = open(&place, "f");
    file.write_all_at(&pattern(10_000, 1), 0).unwrap();
    drop(file);
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_stores_and_ends_without_msync"])
        .env(CHILD_FILE, place.path("f"))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", common::text(&child.stdout));
    let flags = OFlags::DIRECT.bits() as i32;
    let direct = OpenOptions::new().read(true).custom_flags(flags).open(place.path("f")).unwrap();
    let mut bytes = vec![0; 4096];
    direct.read_at(&mut bytes, 8192).unwrap();
    assert_eq!(&bytes[808..812], b"late");
}

#[test]
fn a_mapping_follows_truncate_and_punch() {
    let place = Place::new();
    let file = open(&place, "f");
    file.write_all_at(&pattern(5 * 4096, 3), 0).unwrap();
    let mapping = map(&file, 5 * 4096);
    assert!(mapping.equal(0, &pattern(5 * 4096, 3)));
    let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, punch, 4096, 4096).unwrap();
    assert!(mapping.equal(4096, &[0; 4096]));
    file.set_len(9000).unwrap();
    file.set_len(5 * 4096).unwrap();
    assert!(mapping.equal(9000, &vec![0; 5 * 4096 - 9000]));
}

#[test]
fn while_a_file_is_open_through_the_mount_it_cannot_be_mapped_directly() {
    let place = Place::new();
    let file = open(&place, "f");
    let node = place.fs.lookup(&place.fs.root().unwrap(), b"f").unwrap();
    assert!(matches!(place.fs.direct_view(&node), Err(FsError::Busy(_))));
    drop(file);
    // The kernel tells of the close a moment after it.
    let start = Instant::now();
    while place.fs.direct_view(&node).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the close never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn while_a_file_is_mapped_directly_the_mount_shows_every_byte_at_once() {
    let place = Place::new();
    let root = place.fs.root().unwrap();
    let node = place.fs.create(&root, b"f", &engine::types::NewNode::file(0o644)).unwrap();
    place.fs.write(&node, 0, &pattern(8192, 1)).unwrap();
    let view = place.fs.direct_view(&node).unwrap();
    let file = open(&place, "f");
    let mut bytes = [0; 4];
    file.read_at(&mut bytes, 100).unwrap();
    // Nobody is told of this write: a page cache would go on showing the old bytes.
    place.fs.write(&node, 100, b"DAX!").unwrap();
    file.read_at(&mut bytes, 100).unwrap();
    assert_eq!(&bytes, b"DAX!");
    file.write_all_at(b"back", 100).unwrap();
    place.fs.read(&node, 100, &mut bytes).unwrap();
    assert_eq!(&bytes, b"back");
    // A shared mapping through the kernel would be a second cache: the kernel refuses it.
    let refused = Mapping::of_file(file.as_fd(), 4096, Protection::ReadWrite).unwrap_err();
    assert_eq!(refused, rustix::io::Errno::NODEV);
    drop(view);
    // Opens from now on are cached again, and mappable.
    let again = open(&place, "f");
    assert!(map(&again, 8192).equal(100, b"back"));
    assert_eq!(errno(fs::read_dir(place.path("f"))), 20);
}
