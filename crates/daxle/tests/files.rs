//! Names, attributes and content through the library.

mod common;

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use common::{PAGE, directory, watchdog};
use daxle::{ChangeListener, Error, FileTimes, Ino, Pool, PoolOptions, RenameMode};
use order::{Mutex, level};

fn pool() -> Pool {
    watchdog();
    Pool::memory("64MiB").unwrap()
}

#[test]
fn names_come_and_go_as_in_std() {
    let pool = pool();
    pool.create_dir_all("a/b/c").unwrap();
    pool.create_dir_all("a/b/c").unwrap();
    assert_eq!(pool.create_dir("a").unwrap_err().errno(), 17);
    pool.write("a/b/c/f", b"content").unwrap();
    pool.hard_link("a/b/c/f", "a/g").unwrap();
    assert_eq!(pool.metadata("a/g").unwrap().nlink(), 2);
    pool.symlink("b/c", "a/s").unwrap();
    assert_eq!(pool.read("a/s/f").unwrap(), b"content");
    assert_eq!(pool.read_link("a/s").unwrap().to_str(), Some("b/c"));
    assert!(pool.symlink_metadata("a/s").unwrap().is_symlink() && pool.metadata("a/s").unwrap().is_dir());

    assert_eq!(pool.rename_with("a/g", "a/b/c/f", RenameMode::NoReplace).unwrap_err().errno(), 17);
    pool.write("a/h", b"other").unwrap();
    pool.rename_with("a/h", "a/b/c/f", RenameMode::Exchange).unwrap();
    assert_eq!((pool.read("a/h").unwrap(), pool.read("a/b/c/f").unwrap()), (b"content".to_vec(), b"other".to_vec()));

    let mut names: Vec<_> =
        pool.read_dir("a").unwrap().map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["b", "g", "h", "s"]);
    assert_eq!(pool.remove_dir("a").unwrap_err().errno(), 39);
    pool.remove_dir_all("a").unwrap();
    assert!(!pool.exists("a") && pool.read_dir("").unwrap().next().is_none());
    assert!(pool.open_file("a").unwrap_err().is_not_found());
}

#[test]
fn a_large_directory_is_listed_once_and_completely() {
    let pool = pool();
    pool.create_dir("d").unwrap();
    let dir = pool.open_dir("d").unwrap();
    for n in 0..1000 {
        dir.create_file(format!("f{n}")).unwrap();
    }
    let mut names: Vec<_> = dir.read_dir("").unwrap().map(|entry| entry.unwrap().name_bytes().to_vec()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1000);
    pool.remove_dir_all("d").unwrap();
}

#[test]
fn files_are_opened_as_asked() {
    let pool = pool();
    let opened = pool.open_options().read(true).open("f");
    assert!(opened.unwrap_err().is_not_found());
    let file = pool.open_options().write(true).create_new(true).mode(0o600).open("f").unwrap();
    assert_eq!(file.metadata().unwrap().mode(), 0o600);
    assert!(matches!(file.read_at(&mut [0], 0), Err(Error::Handle { .. })));
    assert_eq!(pool.open_options().write(true).create_new(true).open("f").unwrap_err().errno(), 17);
    assert_eq!(pool.open_options().open("f").unwrap_err().errno(), 22);
    file.write_all_at(b"12345", 0).unwrap();
    assert_eq!(pool.open_options().write(true).truncate(true).open("f").unwrap().len(), 0);
    assert!(matches!(pool.open_file("f").unwrap().write_at(b"x", 0), Err(Error::Handle { .. })));
    pool.symlink("target", "dangling").unwrap();
    pool.write("dangling", b"through").unwrap();
    assert_eq!(pool.read("target").unwrap(), b"through");
    pool.create_dir("d").unwrap();
    assert_eq!(pool.open_file("d").unwrap_err().errno(), 21);
    assert_eq!(pool.open_dir("f").unwrap_err().errno(), 20);
}

#[test]
fn content_is_read_written_allocated_and_searched() {
    let pool = pool();
    let file = pool.create_file("f").unwrap();
    file.write_all_at(b"abc", 100 * PAGE).unwrap();
    assert_eq!(file.len(), 100 * PAGE + 3);
    assert_eq!((file.seek_data(0).unwrap(), file.seek_hole(0).unwrap()), (Some(100 * PAGE), Some(0)));
    assert_eq!(file.seek_data(file.len()).unwrap(), None);
    file.allocate(0, 10 * PAGE).unwrap();
    assert!(file.metadata().unwrap().allocated_bytes() >= 11 * PAGE);
    file.allocate_keep_size(200 * PAGE, PAGE).unwrap();
    assert_eq!(file.len(), 100 * PAGE + 3);
    file.punch_hole(0, 200 * PAGE).unwrap();
    assert_eq!(file.seek_data(0).unwrap(), None);
    let at = file.append(b"tail").unwrap();
    assert_eq!(at, 100 * PAGE + 3);
    assert!(matches!(file.read_exact_at(&mut [0; 8], at), Err(Error::Short { done: 4, .. })));

    let mut cursor = pool.create_file("g").unwrap().cursor();
    cursor.write_all(b"hello world").unwrap();
    cursor.seek(SeekFrom::Start(6)).unwrap();
    let mut text = String::new();
    cursor.read_to_string(&mut text).unwrap();
    assert_eq!(text, "world");
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    cursor.file().set_times(FileTimes::new().set_modified(time)).unwrap();
    cursor.file().set_owner(Some(7), None).unwrap();
    let metadata = cursor.file().metadata().unwrap();
    assert_eq!((metadata.modified(), metadata.uid()), (time, 7));
}

#[test]
fn a_file_without_a_name_gets_one_or_goes() {
    let pool = pool();
    let file = pool.create_unnamed().unwrap();
    file.write_all_at(b"late", 0).unwrap();
    pool.link_file(&file, "named").unwrap();
    drop(file);
    assert_eq!(pool.read("named").unwrap(), b"late");
    let free = pool.statfs().files_free;
    drop(pool.create_unnamed().unwrap());
    assert_eq!(pool.statfs().files_free, free);
}

/// What a listener heard.
#[derive(Default)]
struct Heard(Mutex<level::Oracle, Vec<String>>);

impl ChangeListener for Heard {
    fn changed(&self, _: Ino, bytes: Range<u64>) {
        self.0.leaf().push(format!("bytes {}..{}", bytes.start, bytes.end));
    }
    fn attr_changed(&self, _: Ino) {
        self.0.leaf().push("attributes".to_owned());
    }
    fn entry_changed(&self, _: Ino, name: &[u8]) {
        self.0.leaf().push(format!("name {}", String::from_utf8_lossy(name)));
    }
}

#[test]
fn listeners_hear_of_changes_until_they_go() {
    let pool = pool();
    let heard = Arc::new(Heard::default());
    let listening = pool.listen(heard.clone());
    let file = pool.create_file("f").unwrap();
    file.write_all_at(b"12345", 10).unwrap();
    file.set_permissions(0o600).unwrap();
    file.set_len(3).unwrap();
    pool.rename("f", "g").unwrap();
    drop(listening);
    pool.remove_file("g").unwrap();
    let expected = ["name f", "bytes 10..15", "attributes", &format!("bytes 3..{}", u64::MAX), "name f", "name g"];
    assert_eq!(*heard.0.leaf(), expected);
}

#[test]
fn pools_tell_what_is_wrong_and_leave_everything_as_it_was() {
    watchdog();
    let dir = directory();
    let path = dir.path().join("pool");
    let error = Pool::open(&path).unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("create a pool"), "{error}");
    let error = PoolOptions::new().create(true).open(&path).unwrap_err();
    assert!(matches!(error, Error::NoSize(_)), "{error}");
    let error = Pool::create(&path, "1M").unwrap_err();
    assert!(error.to_string().contains("too small"), "{error}");
    let error = Pool::create(&path, "many").unwrap_err();
    assert!(error.to_string().contains("no size"), "{error}");
    assert!(!path.exists());

    std::fs::write(&path, vec![7; 16 << 20]).unwrap();
    let error = Pool::open(&path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 16 << 20], "{error}");
    assert_eq!(Pool::create(&path, "16M").unwrap_err().errno(), 17);
    std::fs::remove_file(&path).unwrap();

    let pool = Pool::create(&path, "16M").unwrap();
    let error = Pool::open(&path).unwrap_err();
    assert!(error.errno() == 16 && error.to_string().contains("in use"), "{error}");
    pool.write("f", b"kept").unwrap();
    drop(pool);
    let (one, two) = (PoolOptions::new().read_only(true), PoolOptions::new().read_only(true));
    let (one, two) = (one.open(&path).unwrap(), two.open(&path).unwrap());
    assert_eq!((one.read("f").unwrap(), two.read("f").unwrap()), (b"kept".to_vec(), b"kept".to_vec()));
    assert_eq!(one.write("f", b"changed").unwrap_err().errno(), 30);
    assert!(one.info().read_only);
}
