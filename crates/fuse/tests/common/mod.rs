//! A mount for a test, with what keeps the machine safe from it: it is unmounted on every way out, panics too, and a
//! watchdog cuts the connection after a minute, so that nothing can wait for ever on a server that does not answer.
#![allow(dead_code)] // each test file uses a part

use engine::fs::Fs;
use engine::types::{Access, MakeOptions};
use mount::{MountOptions, Mounted};
use pool::{Durability, HeapPool, Pool};
use rustix::mount::UnmountFlags;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A pool in memory with a new file system.
pub fn new_pool(len: u64) -> Arc<dyn Pool> {
    let pool = HeapPool::new(len, Durability::Volatile).unwrap();
    Fs::make(&pool, &MakeOptions::default()).unwrap();
    Arc::new(pool)
}

pub fn new_fs() -> Arc<Fs> {
    Fs::open(new_pool(128 << 20), Access::ReadWrite).unwrap()
}

/// Fails every request and takes the mount away. The system call and not `umount(8)`, which looks at the mount first.
fn cut(point: &Path) {
    let flags = UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    let _ = rustix::mount::unmount(point, flags);
}

/// Cuts a connection if the test has not ended in time.
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    pub fn over(point: &Path) -> Watchdog {
        let (alive, watched) = channel::<()>();
        let point = point.to_owned();
        std::thread::spawn(move || {
            if watched.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("the watchdog cuts the mount at {}", point.display());
                cut(&point);
            }
        });
        Watchdog { _alive: alive }
    }
}

/// A mounted file system in a directory of its own.
pub struct Place {
    pub fs: Arc<Fs>,
    pub mounted: Option<Mounted>,
    pub dir: PathBuf,
    _watchdog: Watchdog,
    _temp: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place::with(new_fs(), &MountOptions::default())
    }

    pub fn with(fs: Arc<Fs>, options: &MountOptions) -> Place {
        let temp = tempfile::tempdir().unwrap();
        open_to_all(temp.path());
        let dir = temp.path().join("mnt");
        std::fs::create_dir(&dir).unwrap();
        let watchdog = Watchdog::over(&dir);
        let mounted = Some(mount::mount(Arc::clone(&fs), &dir, options).unwrap());
        Place { fs, mounted, dir, _watchdog: watchdog, _temp: temp }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs a shell script with the mount as its directory; it must succeed. Gives back what it printed.
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.status.success(), "`{script}`: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn try_sh(&self, script: &str) -> Output {
        Command::new("bash").args(["-euc", script]).current_dir(&self.dir).env("LC_ALL", "C").output().unwrap()
    }

    /// The same as a user with no rights and no groups.
    pub fn try_sh_as_nobody(&self, script: &str) -> Output {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "bash", "-euc", script]);
        command.current_dir(&self.dir).env("LC_ALL", "C").output().unwrap()
    }

    pub fn unmount(&mut self) {
        self.mounted.take().unwrap().unmount().unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the directory goes, and whatever the test left open.
        drop(self.mounted.take());
        if std::fs::read_dir(&self.dir).is_err() {
            cut(&self.dir);
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

pub fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The error number of a failed call.
pub fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.expect_err("must fail").raw_os_error().expect("an error of the system")
}

/// Bytes that are not all alike.
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n as u8).wrapping_mul(31) ^ (n >> 8) as u8 ^ seed | 1).collect()
}
