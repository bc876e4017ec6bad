//! Many at once: threads, files, users.

mod common;

use common::{Place, pattern, text};
use mount::MountOptions;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::thread;

#[test]
fn threads_with_trees_of_their_own_do_not_disturb_each_other() {
    let place = Place::with(common::new_fs(), &MountOptions { threads: Some(4), ..MountOptions::default() });
    thread::scope(|scope| {
        for n in 0..6_u8 {
            let dir = place.path(&format!("t{n}"));
            scope.spawn(move || {
                fs::create_dir(&dir).unwrap();
                for round in 0..60 {
                    let (path, bytes) = (dir.join(format!("f{}", round % 7)), pattern(1000 * (round + 1), n));
                    fs::write(&path, &bytes).unwrap();
                    assert!(fs::read(&path).unwrap() == bytes);
                    fs::rename(&path, dir.join("moved")).unwrap();
                    assert_eq!(fs::read(dir.join("moved")).unwrap().len(), bytes.len());
                }
                fs::remove_dir_all(&dir).unwrap();
            });
        }
    });
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 0);
}

#[test]
fn threads_in_one_directory_and_one_file() {
    let place = Place::new();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(place.path("f")).unwrap();
    thread::scope(|scope| {
        for n in 0..4_u64 {
            let (file, place) = (&file, &place);
            scope.spawn(move || {
                for round in 0..100_u64 {
                    file.write_all_at(&pattern(1000, n as u8), (round * 4 + n) * 1000).unwrap();
                    fs::write(place.path(&format!("n{n}-{round}")), b"").unwrap();
                    let _ = fs::read_dir(&place.dir).unwrap().count();
                    if round % 2 == 0 {
                        fs::remove_file(place.path(&format!("n{n}-{round}"))).unwrap();
                    }
                }
            });
        }
    });
    let bytes = fs::read(place.path("f")).unwrap();
    assert_eq!(bytes.len(), 400_000);
    assert!(bytes.chunks(1000).enumerate().all(|(n, piece)| piece == pattern(1000, (n % 4) as u8)));
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 201);
}

#[test]
fn a_directory_is_listed_right_while_others_change_it() {
    let place = Place::new();
    for n in 0..500 {
        fs::write(place.path(&format!("stay{n}")), b"").unwrap();
    }
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..400 {
                fs::write(place.path(&format!("come{n}")), b"").unwrap();
                fs::remove_file(place.path(&format!("come{n}"))).unwrap();
            }
        });
        while !writer.is_finished() {
            let names: Vec<_> = fs::read_dir(&place.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            let unique: BTreeSet<_> = names.iter().collect();
            assert_eq!(unique.len(), names.len(), "a name was listed twice");
            let stayed = names.iter().filter(|name| name.to_string_lossy().starts_with("stay")).count();
            assert_eq!(stayed, 500);
        }
    });
}

#[test]
fn permissions_hold_for_other_users() {
    let place = Place::new();
    fs::write(place.path("secret"), b"x").unwrap();
    fs::set_permissions(place.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(place.path("public"), b"y").unwrap();
    fs::create_dir(place.path("open")).unwrap();
    fs::set_permissions(place.path("open"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(place.path("open/root"), b"z").unwrap();
    let denied = |script: &str| {
        let output = place.try_sh_as_nobody(script);
        assert!(!output.status.success(), "`{script}` must fail");
        text(&output.stderr)
    };
    assert!(denied("cat secret").contains("Permission denied"));
    assert!(denied("echo > public").contains("Permission denied"));
    assert!(denied("touch new").contains("Permission denied"));
    assert!(denied("chmod 777 public").contains("not permitted"));
    assert!(denied("chown 65534 public").contains("not permitted"));
    assert!(denied("rm -f open/root").contains("not permitted"), "the sticky bit");
    let allowed =
        place.try_sh_as_nobody("cat public; umask 027; echo mine > open/mine; mkdir open/dir; cd open; mv mine ours");
    assert!(allowed.status.success(), "{}", text(&allowed.stderr));
    let facts = fs::metadata(place.path("open/ours")).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (65534, 65534, 0o640));
    assert_eq!(fs::metadata(place.path("open/dir")).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn set_id_bits_go_when_another_user_writes_and_groups_are_inherited() {
    let place = Place::new();
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().mode() & 0o7777;
    for name in ["w", "t", "c"] {
        fs::write(place.path(name), b"data").unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o6777)).unwrap();
        assert_eq!(mode(name), 0o6777);
    }
    let script = "echo more >> w; truncate -s 1 t";
    let output = place.try_sh_as_nobody(script);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!((mode("w"), mode("t")), (0o777, 0o777));
    std::os::unix::fs::chown(place.path("c"), Some(5), Some(6)).unwrap();
    assert_eq!(mode("c"), 0o777);
    fs::create_dir(place.path("g")).unwrap();
    std::os::unix::fs::chown(place.path("g"), None, Some(77)).unwrap();
    fs::set_permissions(place.path("g"), fs::Permissions::from_mode(0o2777)).unwrap();
    let output = place.try_sh_as_nobody("mkdir g/d; touch g/f");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let facts = |name: &str| fs::metadata(place.path(name)).unwrap();
    assert_eq!((facts("g/d").gid(), facts("g/f").gid()), (77, 77));
    assert_eq!(mode("g/d") & 0o2000, 0o2000);
}

#[test]
fn a_file_handle_by_number_outlives_the_kernel_s_memory() {
    let place = Place::new();
    // The kernel drops what it can; what is looked up again must still be the same files.
    for n in 0..50 {
        fs::write(place.path(&format!("f{n}")), format!("{n}")).unwrap();
    }
    let before: Vec<u64> = (0..50).map(|n| fs::metadata(place.path(&format!("f{n}"))).unwrap().ino()).collect();
    let _ = fs::write("/proc/sys/vm/drop_caches", "2");
    let after: Vec<u64> = (0..50).map(|n| fs::metadata(place.path(&format!("f{n}"))).unwrap().ino()).collect();
    assert_eq!(before, after);
    assert!((0..50).all(|n| fs::read_to_string(place.path(&format!("f{n}"))).unwrap() == n.to_string()));
}
