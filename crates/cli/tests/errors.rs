//! When it goes wrong: each case has its message and its exit code, and leaves everything as it was.

mod common;

use common::{Place, patch};

#[test]
fn a_pool_too_small_or_too_large_is_refused_and_nothing_is_left() {
    let place = Place::new();
    place.daxle(&["create", "pool", "--size", "1M"]).fails(6, "16 MiB");
    place.daxle(&["create", "pool", "--size", "17T"]).fails(6, "16 TiB");
    place.daxle(&["create", "pool", "--size", "lots"]).fails_usage();
    assert!(place.names().is_empty());
}

trait Usage {
    fn fails_usage(self);
}

impl Usage for common::Done {
    /// clap's own message and code.
    #[track_caller]
    fn fails_usage(self) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.err.contains("Usage") || self.err.contains("--help"), "{self:?}");
    }
}

#[test]
fn a_file_that_exists_is_never_taken_for_a_new_pool() {
    let place = Place::new();
    std::fs::write(place.path("mine"), "precious").unwrap();
    place.daxle(&["create", "mine", "--size", "32M"]).fails(15, "mine");
    assert_eq!(std::fs::read(place.path("mine")).unwrap(), b"precious");
    std::fs::create_dir(place.path("mnt")).unwrap();
    place.daxle(&["mount", "mine", "mnt", "--create", "32M"]).fails(15, "exists");
    assert_eq!(std::fs::read(place.path("mine")).unwrap(), b"precious");
}

#[test]
fn what_is_no_pool_is_told_so() {
    let place = Place::new();
    std::fs::write(place.path("text"), "just text").unwrap();
    std::fs::write(place.path("zeros"), vec![0; 32 << 20]).unwrap();
    for file in ["text", "zeros"] {
        place.daxle(&["info", file]).fails(9, "no Daxle pool");
        place.daxle(&["check", file]).fails(9, "no Daxle pool");
    }
    place.daxle(&["info", "nothing"]).fails(3, "nothing");
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let place = Place::with_pool();
    let version = std::mem::offset_of!(format::Superblock, version) as u64;
    patch(&place.path("pool"), version, &99_u32.to_le_bytes());
    place.daxle(&["info", "pool"]).fails(10, "newer");
    place.daxle(&["ls", "pool:/"]).fails(10, "newer");
}

#[test]
fn a_damaged_superblock_is_named_by_every_command_and_by_check() {
    let place = Place::with_pool();
    let label = std::mem::offset_of!(format::Superblock, label) as u64;
    patch(&place.path("pool"), label, b"?");
    place.daxle(&["ls", "pool:/"]).fails(4, "superblock");
    let check = place.daxle(&["check", "pool"]);
    assert_eq!(check.code, 4, "{check:?}");
    assert!(check.out.contains("superblock") && check.out.contains("its backup is sound"), "{check:?}");
    let repair = place.daxle(&["check", "--repair", "pool"]);
    assert!(repair.code == 0 && repair.out.contains(": clean;"), "{repair:?}");
    place.daxle(&["ls", "pool:/"]).ok();
    assert!(place.daxle(&["check", "--superblock", "pool"]).out.contains("name_salt"));
    assert!(place.daxle(&["check", "--journal", "pool"]).out.contains("journal header in block 1"));
    assert!(place.daxle(&["check", "--group", "0", "pool"]).out.contains("active: true"));
}

#[test]
fn a_pool_in_use_names_its_owner_and_is_left_alone() {
    let place = Place::with_pool();
    let owner = daxle::Pool::open(place.path("pool")).unwrap();
    let pid = std::process::id().to_string();
    place.daxle(&["ls", "pool:/"]).fails(7, &pid);
    place.daxle(&["check", "pool"]).fails(8, &pid);
    owner.create_file("still works").unwrap();
    owner.close().unwrap();
    assert!(place.daxle(&["ls", "pool:/"]).ok().contains("still works"));
}

#[test]
fn a_mount_point_that_is_missing_or_no_directory_is_told_and_the_pool_stays_clean() {
    let place = Place::with_pool();
    place.daxle(&["mount", "pool", "nowhere", "--background"]).fails(11, "nowhere");
    std::fs::write(place.path("file"), "").unwrap();
    place.daxle(&["mount", "pool", "file", "--background"]).fails(11, "file");
    place.daxle(&["umount", "nowhere"]).fails(11, "nowhere");
    place.daxle(&["mount", "new", "nowhere", "--create", "32M"]).fails(11, "nowhere");
    assert!(!place.path("new").exists());
    place.daxle(&["check", "pool"]).ok();
}

#[test]
fn no_permission_is_told_with_what_is_not_permitted() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix_is_root() {
        println!("not root: nothing to take away");
        return;
    }
    let place = Place::with_pool();
    std::fs::set_permissions(place.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    place.daxle_as_nobody(&["info", "pool"]).fails(12, "pool");
    place.daxle_as_nobody(&["create", "other", "--size", "32M"]).fails(12, "other");
    assert_eq!(place.names(), ["pool"]);
}

fn rustix_is_root() -> bool {
    std::process::Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n")
}

#[test]
fn a_full_pool_is_told_and_loses_nothing() {
    let place = Place::with_pool();
    std::fs::write(place.path("small"), "kept").unwrap();
    std::fs::write(place.path("large"), vec![1; 64 << 20]).unwrap();
    place.daxle(&["cp", "small", "pool:/small"]).ok();
    place.daxle(&["cp", "large", "pool:/large"]).fails(5, "space");
    assert_eq!(place.daxle(&["cat", "pool:/small"]).ok(), "kept");
    place.daxle(&["check", "pool"]).ok();
}

#[test]
fn names_that_are_not_there_and_calls_that_make_no_sense_have_their_codes() {
    let place = Place::with_pool();
    place.daxle(&["ls", "pool:/nope"]).fails(3, "nope");
    place.daxle(&["cat", "pool:/nope"]).fails(3, "nope");
    place.daxle(&["rm", "pool:/nope"]).fails(3, "nope");
    place.daxle(&["mkdir", "pool:/a/b"]).fails(3, "a/b");
    place.daxle(&["frobnicate"]).fails_usage();
    place.daxle(&["fsx"]).fails_usage();
}
