//! Each operation on files and names through a real mount, by system calls.

mod common;

use common::{Place, errno, pattern};
use rustix::fs::{CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn what_is_written_is_read_back_at_every_size() {
    let place = Place::new();
    for (n, len) in [0, 1, 4095, 4096, 4097, 131_072, 1 << 20, (3 << 20) + 17].into_iter().enumerate() {
        let (path, bytes) = (place.path(&format!("f{n}")), pattern(len, n as u8));
        fs::write(&path, &bytes).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), len as u64);
        assert!(fs::read(&path).unwrap() == bytes, "{len} bytes");
    }
}

#[test]
fn overwrites_appends_and_reads_past_the_end() {
    let place = Place::new();
    let path = place.path("f");
    fs::write(&path, b"hello world").unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.write_all_at(b"W", 6).unwrap();
    let mut append = OpenOptions::new().append(true).open(&path).unwrap();
    append.write_all(b"!").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hello World!");
    let mut bytes = [9; 10];
    assert_eq!(file.read_at(&mut bytes, 10).unwrap(), 2);
    assert_eq!(file.read_at(&mut bytes, 100).unwrap(), 0);
    file.write_all_at(b"x", 10_000).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_001);
    let read = fs::read(&path).unwrap();
    assert!(read[12..10_000].iter().all(|byte| *byte == 0) && read[10_000] == b'x');
}

#[test]
fn direct_io_and_synchronous_writes_work() {
    let place = Place::new();
    let path = place.path("f");
    let flags = (OFlags::DIRECT | OFlags::SYNC).bits() as i32;
    let file = OpenOptions::new().read(true).write(true).create(true).custom_flags(flags).open(&path);
    let file = file.unwrap();
    let bytes = pattern(8192 * 3, 5);
    file.write_all_at(&bytes, 0).unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn truncate_cuts_and_what_comes_back_is_zeros() {
    let place = Place::new();
    let path = place.path("f");
    fs::write(&path, pattern(10_000, 1)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.set_len(5000).unwrap();
    file.set_len(20_000).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes[..5000], pattern(10_000, 1)[..5000]);
    assert_eq!(bytes.len(), 20_000);
    assert!(bytes[5000..].iter().all(|byte| *byte == 0));
    drop(OpenOptions::new().write(true).truncate(true).open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn fallocate_does_what_the_protocol_can_carry_and_refuses_the_rest() {
    let place = Place::new();
    let path = place.path("f");
    fs::write(&path, pattern(20_000, 1)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let call = |flags, offset, len| rustix::fs::fallocate(&file, flags, offset, len);
    call(FallocateFlags::empty(), 0, 40_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 40_000);
    call(FallocateFlags::KEEP_SIZE, 0, 80_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 40_000);
    call(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 100, 8192).unwrap();
    call(FallocateFlags::ZERO_RANGE, 39_000, 3000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 42_000);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes[..100], pattern(20_000, 1)[..100]);
    assert!(bytes[100..8292].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[8292..20_000], pattern(20_000, 1)[8292..]);
    assert!(bytes[20_000..].iter().all(|byte| *byte == 0));
    // The kernel itself refuses these two on FUSE.
    let refused = call(FallocateFlags::COLLAPSE_RANGE, 0, 4096).unwrap_err();
    assert_eq!(refused, rustix::io::Errno::OPNOTSUPP);
    assert_eq!(call(FallocateFlags::empty(), 0, 0).unwrap_err(), rustix::io::Errno::INVAL);
}

#[test]
fn seek_finds_data_and_holes() {
    let place = Place::new();
    let path = place.path("f");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(1 << 20).unwrap();
    file.write_all_at(&[1; 4096], 65_536).unwrap();
    let seek = |from| rustix::fs::seek(&file, from);
    assert_eq!(seek(SeekFrom::Data(0)).unwrap(), 65_536);
    assert_eq!(seek(SeekFrom::Hole(0)).unwrap(), 0);
    assert_eq!(seek(SeekFrom::Hole(65_536)).unwrap(), 69_632);
    assert_eq!(seek(SeekFrom::Data(69_632)).unwrap_err(), rustix::io::Errno::NXIO);
    assert_eq!(seek(SeekFrom::Hole(1 << 20)).unwrap_err(), rustix::io::Errno::NXIO);
}

#[test]
fn copy_file_range_copies_between_files() {
    let place = Place::new();
    fs::write(place.path("a"), pattern(3_000_000, 7)).unwrap();
    let (from, to) = (File::open(place.path("a")).unwrap(), File::create(place.path("b")).unwrap());
    let (mut at, mut to_at) = (1000, 5);
    while at < 2_900_000 {
        let left = (2_900_000 - at) as usize;
        let n = rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut to_at), left).unwrap();
        assert!(n > 0);
    }
    let bytes = fs::read(place.path("b")).unwrap();
    assert!(bytes[5..] == pattern(3_000_000, 7)[1000..2_900_000]);
}

#[test]
fn links_and_link_counts() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    fs::write(place.path("f"), b"x").unwrap();
    fs::hard_link(place.path("f"), place.path("d/g")).unwrap();
    let (f, g) = (fs::metadata(place.path("f")).unwrap(), fs::metadata(place.path("d/g")).unwrap());
    assert_eq!((f.ino(), f.nlink(), g.nlink()), (g.ino(), 2, 2));
    fs::remove_file(place.path("f")).unwrap();
    assert_eq!(fs::metadata(place.path("d/g")).unwrap().nlink(), 1);
    symlink("d/g", place.path("s")).unwrap();
    assert_eq!(fs::read_link(place.path("s")).unwrap().to_str(), Some("d/g"));
    assert_eq!(fs::read(place.path("s")).unwrap(), b"x");
    let long = "t".repeat(4000);
    symlink(&long, place.path("long")).unwrap();
    assert_eq!(fs::read_link(place.path("long")).unwrap().to_str(), Some(&*long));
    assert_eq!(fs::metadata(place.path("d")).unwrap().nlink(), 2);
    fs::create_dir(place.path("d/e")).unwrap();
    assert_eq!(fs::metadata(place.path("d")).unwrap().nlink(), 3);
}

#[test]
fn rename_in_all_its_ways() {
    let place = Place::new();
    let rename = |from: &str, to: &str, flags| {
        rustix::fs::renameat_with(CWD, place.path(from), CWD, place.path(to), flags).map_err(std::io::Error::from)
    };
    let read = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    fs::create_dir(place.path("d")).unwrap();
    for name in ["a", "b", "d/c"] {
        fs::write(place.path(name), name).unwrap();
    }
    assert_eq!(errno(rename("a", "b", RenameFlags::NOREPLACE)), 17);
    rename("a", "b", RenameFlags::empty()).unwrap();
    assert_eq!(read("b"), "a");
    assert!(!place.path("a").exists());
    rename("b", "d/c", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((read("b"), read("d/c")), ("d/c".to_owned(), "a".to_owned()));
    rename("d", "b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((read("d"), read("b/c")), ("d/c".to_owned(), "a".to_owned()));
    assert_eq!(errno(rename("b", "b/x", RenameFlags::empty())), 22);
    assert_eq!(errno(rename("d", "b", RenameFlags::empty())), 21);
    assert_eq!(errno(rename("b", "d", RenameFlags::empty())), 20);
    assert_eq!(errno(rename("gone", "x", RenameFlags::empty())), 2);
    fs::create_dir(place.path("e")).unwrap();
    assert_eq!(errno(rename("e", "b", RenameFlags::empty())), 39);
    rename("b", "e", RenameFlags::NOREPLACE).expect_err("e is there");
    rename("b", "e", RenameFlags::empty()).unwrap();
    assert_eq!(read("e/c"), "a");
}

#[test]
fn an_unlinked_open_file_lives_until_its_last_close() {
    let place = Place::new();
    let path = place.path("f");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all(b"before").unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(errno(fs::metadata(&path)), 2);
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.write_all(b" and after").unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before and after");
    fs::write(&path, b"another").unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), file.metadata().unwrap().ino());
}

#[test]
fn a_removed_directory_that_is_open_takes_no_names() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    let dir = File::open(place.path("d")).unwrap();
    fs::remove_dir(place.path("d")).unwrap();
    let made = rustix::fs::openat(&dir, "x", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU);
    assert_eq!(made.unwrap_err(), rustix::io::Errno::NOENT);
}

#[test]
fn pipes_sockets_and_devices_are_kept() {
    let place = Place::new();
    let node = |name: &str, kind, dev| rustix::fs::mknodat(CWD, place.path(name), kind, Mode::from(0o640), dev);
    node("p", FileType::Fifo, 0).unwrap();
    node("s", FileType::Socket, 0).unwrap();
    node("c", FileType::CharacterDevice, rustix::fs::makedev(1, 3)).unwrap();
    node("b", FileType::BlockDevice, rustix::fs::makedev(7, 300)).unwrap();
    let facts = |name: &str| fs::symlink_metadata(place.path(name)).unwrap();
    assert!(facts("p").file_type().is_fifo() && facts("s").file_type().is_socket());
    assert!(facts("c").file_type().is_char_device() && facts("b").file_type().is_block_device());
    assert_eq!((facts("c").rdev(), facts("b").rdev()), (rustix::fs::makedev(1, 3), rustix::fs::makedev(7, 300)));
    assert_eq!(facts("p").mode() & 0o7777, 0o640);
    // Devices of a pool mean nothing unless asked for.
    assert_eq!(errno(File::open(place.path("c"))), 13);
}

#[test]
fn times_are_kept_to_the_nanosecond_and_move_with_changes() {
    let place = Place::new();
    let path = place.path("f");
    fs::write(&path, b"x").unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for time in [UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789), UNIX_EPOCH - Duration::new(10, 5)] {
        file.set_times(fs::FileTimes::new().set_accessed(time).set_modified(time)).unwrap();
        let facts = fs::metadata(&path).unwrap();
        assert_eq!((facts.accessed().unwrap(), facts.modified().unwrap()), (time, time));
    }
    let old = fs::metadata(&path).unwrap();
    file.write_all_at(b"y", 0).unwrap();
    let new = fs::metadata(&path).unwrap();
    assert!(new.modified().unwrap() > old.modified().unwrap() && new.ctime() >= old.ctime());
    let before = fs::metadata(&place.dir).unwrap().modified().unwrap();
    fs::write(place.path("g"), b"").unwrap();
    assert!(fs::metadata(&place.dir).unwrap().modified().unwrap() > before);
}

#[test]
fn reading_moves_the_access_time_as_relatime_says() {
    let place = Place::new();
    let path = place.path("f");
    fs::write(&path, b"x").unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1000);
    file.set_times(fs::FileTimes::new().set_accessed(old).set_modified(old)).unwrap();
    drop(file);
    // Past the page cache, so that the server sees the read.
    let direct = OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(&path).unwrap();
    assert_eq!(direct.read_at(&mut [0; 1], 0).unwrap(), 1);
    assert!(fs::metadata(&path).unwrap().accessed().unwrap() > old);
}

#[test]
fn errors_have_the_numbers_of_linux() {
    let place = Place::new();
    fs::write(place.path("f"), b"x").unwrap();
    fs::create_dir_all(place.path("d/e")).unwrap();
    assert_eq!(errno(File::open(place.path("no"))), 2);
    assert_eq!(errno(File::open(place.path("f/x"))), 20);
    assert_eq!(errno(fs::create_dir(place.path("d"))), 17);
    assert_eq!(errno(OpenOptions::new().write(true).create_new(true).open(place.path("f"))), 17);
    assert_eq!(errno(fs::remove_dir(place.path("d"))), 39);
    assert_eq!(errno(fs::remove_dir(place.path("f"))), 20);
    assert_eq!(errno(fs::remove_file(place.path("d"))), 21);
    assert_eq!(errno(OpenOptions::new().write(true).open(place.path("d"))), 21);
    assert_eq!(errno(File::create(place.path(&"n".repeat(256)))), 36);
    fs::write(place.path(&"n".repeat(255)), b"").unwrap();
    assert_eq!(errno(fs::hard_link(place.path("d"), place.path("x"))), 1);
    assert_eq!(errno(fs::read_link(place.path("f"))), 22);
    assert_eq!(errno(OpenOptions::new().write(true).open(place.path("f")).unwrap().set_len(u64::MAX >> 1)), 27);
    symlink("loop", place.path("loop")).unwrap();
    assert_eq!(errno(File::open(place.path("loop"))), 40);
    let set = rustix::fs::setxattr(place.path("f"), "user.a", b"1", rustix::fs::XattrFlags::empty());
    assert_eq!(set.unwrap_err(), rustix::io::Errno::OPNOTSUPP);
    let mut buffer = [0; 10];
    assert_eq!(rustix::fs::getxattr(place.path("f"), "user.a", &mut buffer).unwrap_err(), rustix::io::Errno::OPNOTSUPP);
}

#[test]
fn statfs_tells_of_space_that_files_take() {
    let place = Place::new();
    let free = || rustix::fs::statvfs(&place.dir).unwrap();
    let before = free();
    assert!(before.f_bsize == 4096 && before.f_namemax == 255 && before.f_blocks > 0);
    assert!(before.f_bavail <= before.f_bfree && before.f_bfree <= before.f_blocks && before.f_files > 0);
    fs::write(place.path("f"), pattern(8 << 20, 1)).unwrap();
    assert!(free().f_bfree <= before.f_bfree - 2048);
    assert_eq!(fs::metadata(place.path("f")).unwrap().blocks() / 8, 2048);
}

#[test]
fn fsync_of_files_and_directories_works() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    let file = File::create(place.path("d/f")).unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    File::open(place.path("d")).unwrap().sync_all().unwrap();
    rustix::fs::syncfs(&file).unwrap();
}
