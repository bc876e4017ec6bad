//! Making and ending mounts, and what goes wrong with it.

mod common;

use common::{Place, Watchdog, errno, new_fs, new_pool, open_to_all, pattern, text};
use engine::fs::Fs;
use engine::types::{Access, SetAttr};
use mount::{MountError, MountOptions, OnDeath, Users};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

#[test]
fn a_missing_mount_point_or_a_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let missing = mount::mount(new_fs(), &dir.path().join("no"), &MountOptions::default()).unwrap_err();
    assert!(matches!(missing, MountError::MountPointMissing { .. }));
    assert!(missing.to_string().contains("/no does not exist"), "{missing}");
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let refused = mount::mount(new_fs(), &file, &MountOptions::default()).unwrap_err();
    assert!(matches!(refused, MountError::NotADirectory { .. }), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_was_written_is_there_after_the_next_mount() {
    let pool = new_pool(64 << 20);
    {
        let fs = Fs::open(Arc::clone(&pool), Access::ReadWrite).unwrap();
        let mut place = Place::with(Arc::clone(&fs), &MountOptions::default());
        fs::create_dir(place.path("d")).unwrap();
        fs::write(place.path("d/f"), pattern(1_000_000, 9)).unwrap();
        std::os::unix::fs::symlink("d/f", place.path("s")).unwrap();
        place.unmount();
        drop(place);
        fs.close().unwrap();
    }
    let fs = Fs::open(pool, Access::ReadWrite).unwrap();
    let place = Place::with(fs, &MountOptions::default());
    assert!(fs::read(place.path("s")).unwrap() == pattern(1_000_000, 9));
}

#[test]
fn a_busy_mount_says_so_and_stays() {
    let mut place = Place::new();
    let mut file = File::create(place.path("f")).unwrap();
    let busy = place.mounted.as_mut().unwrap().unmount().unwrap_err();
    assert!(matches!(busy, MountError::Busy { .. }), "{busy}");
    file.write_all(b"still here").unwrap();
    drop(file);
    place.unmount();
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 0);
}

#[test]
fn a_detached_mount_serves_those_who_have_files_open() {
    let mut place = Place::new();
    let mut file = File::create(place.path("f")).unwrap();
    place.mounted.as_ref().unwrap().detach().unwrap();
    assert!(!place.path("f").exists());
    file.write_all(b"on").unwrap();
    assert!(place.mounted.as_ref().unwrap().is_served());
    drop(file);
    place.mounted.as_mut().unwrap().wait();
    assert!(!place.mounted.as_ref().unwrap().is_served());
}

#[test]
fn dropping_a_mount_in_use_cuts_the_users_off_and_does_not_wait() {
    let mut place = Place::new();
    let mut file = File::create(place.path("f")).unwrap();
    drop(place.mounted.take());
    assert_eq!(errno(file.write_all(b"gone")), 107);
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 0);
}

#[test]
fn somebody_else_may_unmount_and_the_server_ends() {
    let mut place = Place::new();
    fs::write(place.path("f"), b"x").unwrap();
    mount::unmount_path(&place.dir).unwrap();
    place.mounted.as_mut().unwrap().wait();
    assert!(matches!(mount::unmount_path(&place.dir), Err(MountError::NotMounted { .. })));
    place.unmount();
}

#[test]
fn one_directory_can_be_mounted_again_and_again() {
    let fs = new_fs();
    let temp = tempfile::tempdir().unwrap();
    let _watchdog = Watchdog::over(temp.path());
    for round in 0..20 {
        let mut mounted = mount::mount(Arc::clone(&fs), temp.path(), &MountOptions::default()).unwrap();
        fs::write(temp.path().join(format!("f{round}")), b"x").unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), round + 1);
        mounted.unmount().unwrap();
    }
}

#[test]
fn the_name_and_the_options_show_in_the_mount_table() {
    let options = MountOptions { name: Some("my pool".to_owned()), ..MountOptions::default() };
    let place = Place::with(new_fs(), &options);
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(place.dir.to_str().unwrap())).unwrap();
    assert!(line.starts_with("my\\040pool ") && line.contains(" fuse "), "{line}");
    for option in ["nosuid", "nodev", "default_permissions", "allow_other"] {
        assert!(line.contains(option), "{option}: {line}");
    }
}

#[test]
fn a_pool_opened_for_reading_is_mounted_read_only() {
    let pool = new_pool(64 << 20);
    Fs::open(Arc::clone(&pool), Access::ReadWrite).unwrap().close().unwrap();
    let fs = Fs::open(pool, Access::ReadOnly).unwrap();
    let place = Place::with(fs, &MountOptions::default());
    assert_eq!(errno(File::create(place.path("f"))), 30);
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 0);
}

#[test]
fn only_the_owner_gets_in_when_asked_so() {
    let place = Place::with(new_fs(), &MountOptions { users: Users::Owner, ..MountOptions::default() });
    fs::write(place.path("f"), b"x").unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"])
        .arg(place.path("f"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("ermission denied"), "{}", text(&output.stderr));
}

/// The part of the two tests below that runs in a process of its own, as they say in the environment.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("DAXLE_TEST_MOUNT") else { return };
    let on_death = if std::env::var_os("DAXLE_TEST_DIE").is_some() { OnDeath::Unmount } else { OnDeath::Stay };
    let users = if on_death == OnDeath::Unmount { Users::All } else { Users::Usual };
    let options = MountOptions { on_death, users, ..MountOptions::default() };
    let fs = new_fs();
    let all = SetAttr { mode: Some(0o777), ..SetAttr::default() };
    fs.set_attr(&fs.root().unwrap(), &all).unwrap();
    let mut mounted = match mount::mount(fs, dir.as_ref(), &options) {
        Ok(mounted) => mounted,
        Err(error) => {
            println!("FAILED {error}");
            return;
        }
    };
    let file = std::path::Path::new(&dir).join("f");
    fs::write(&file, b"by a user").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"by a user");
    if on_death == OnDeath::Unmount {
        println!("READY");
        std::process::abort();
    }
    let held = File::open(&file).unwrap();
    assert!(matches!(mounted.unmount(), Err(MountError::Busy { .. })));
    drop(held);
    mounted.unmount().unwrap();
    println!("DONE by helper: {}", mounted.by_helper());
}

fn run_child(command: &mut Command, dir: &std::path::Path) -> String {
    let output = command.arg(std::env::current_exe().unwrap()).args(["--exact", "child", "--nocapture"]);
    // The trace of locks is a file of ours, which another user may not write.
    let output = output.env("DAXLE_TEST_MOUNT", dir).env_remove("DAXLE_LOCK_TRACE").output().unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn an_ordinary_user_mounts_through_the_helper() {
    let temp = tempfile::tempdir().unwrap();
    open_to_all(temp.path());
    let dir = temp.path().join("mine");
    fs::create_dir(&dir).unwrap();
    let _watchdog = Watchdog::over(&dir);
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    let refused = run_child(&mut as_nobody, &dir);
    let open_device = fs::metadata("/dev/fuse").unwrap().permissions().mode() & 0o006 == 0o006;
    if !open_device {
        // A machine whose device is root's alone: no user can mount, and is told why.
        assert!(refused.contains("FAILED no permission to open /dev/fuse: it must be readable"), "{refused}");
        return;
    }
    assert!(refused.contains("FAILED no permission to mount"), "not his directory: {refused}");
    std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    let said = run_child(&mut as_nobody, &dir);
    assert!(said.contains("DONE by helper: true"), "{said}");
    let mut without_helper = Command::new("setpriv");
    without_helper
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .env("DAXLE_TEST_DIE", "1");
    let refused = run_child(&mut without_helper, &dir);
    assert!(refused.contains("user_allow_other"), "{refused}");
}

#[test]
fn after_the_server_s_death_nothing_hangs_and_the_mount_goes_if_asked() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("mnt");
    fs::create_dir(&dir).unwrap();
    let _watchdog = Watchdog::over(&dir);
    let said = run_child(Command::new("env").env("DAXLE_TEST_DIE", "1"), &dir);
    assert!(said.contains("READY"), "{said}");
    // The helper works on its own time.
    let start = std::time::Instant::now();
    while fs::read_dir(&dir).is_err() {
        assert!(start.elapsed().as_secs() < 10, "the dead mount stayed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}
