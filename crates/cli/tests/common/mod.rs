//! Runs the program, with a limit on its time.
#![allow(dead_code)] // each test file uses a part

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No call of the program takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a call did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// The call must have ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The call must have failed with this code, and a message with this in it.
    #[track_caller]
    pub fn fails(self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(text), "{self:?}");
        assert!(self.err.starts_with("daxle: ") && !self.err.contains("panicked"), "{self:?}");
    }
}

/// A folder for a test, gone with it, whatever is mounted in it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `daxle` in the folder.
    pub fn daxle(&self, args: &[&str]) -> Done {
        run(Command::new(env!("CARGO_BIN_EXE_daxle")).args(args).current_dir(self.dir.path()))
    }

    /// The same as a user with no rights.
    pub fn daxle_as_nobody(&self, args: &[&str]) -> Done {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        run(command.arg(env!("CARGO_BIN_EXE_daxle")).args(args).current_dir(self.dir.path()))
    }

    /// A pool of 32 MiB.
    pub fn with_pool() -> Place {
        let place = Place::new();
        place.daxle(&["create", "pool", "--size", "32M"]).ok();
        place
    }

    /// Names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = self.dir.path().to_str().unwrap_or("/nowhere");
        for point in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|point| point.starts_with(below)) {
            let _ = Command::new("umount").args(["-l", point]).stdin(Stdio::null()).status();
        }
    }
}

fn run(command: &mut Command) -> Done {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(dir.path().join(name)).unwrap();
    let read = |name: &str| String::from_utf8_lossy(&std::fs::read(dir.path().join(name)).unwrap()).into_owned();
    let mut child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("{command:?} did not end: {}", read("err"));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Done { code: status.code().unwrap_or(-1), out: read("out"), err: read("err") }
}

/// A pool's bytes at an offset, changed by hand.
pub fn patch(pool: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::OpenOptions::new().write(true).open(pool).unwrap().write_all_at(bytes, at).unwrap();
}
