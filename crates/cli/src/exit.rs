//! Exit codes: one number for each way in which a command can end.
//!
//! A script can tell "in use" from "no space" without reading text. `check` keeps to the codes of fsck, so 4 and 8 mean
//! the same everywhere. The numbers never change; new ones are added at the end.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// Another failure; the message says which.
    Other = 1,
    /// The command line makes no sense. (clap ends with it too.)
    Usage = 2,
    /// A file, directory or pool is not there.
    NotFound = 3,
    /// The pool is damaged, or a test found something wrong.
    Wrong = 4,
    /// No space left, in the pool or under it.
    NoSpace = 5,
    /// Too small, or too large, to be a pool.
    PoolSize = 6,
    /// Somebody else uses the pool, the file or the mount.
    InUse = 7,
    /// `check` could not run.
    CouldNotCheck = 8,
    /// The file is no Daxle pool.
    NoPool = 9,
    /// The pool was made by a newer version.
    NewerFormat = 10,
    /// There is no such mount point, or nothing is mounted there.
    NoMountPoint = 11,
    /// This user may not do that.
    NoPermission = 12,
    /// FUSE is missing: /dev/fuse or fusermount3.
    NoFuse = 13,
    /// Page faults cannot be trapped: userfaultfd is not permitted or not there.
    NoUserfaultfd = 14,
    /// The name is taken.
    Exists = 15,
}

impl Exit {
    const ALL: [Exit; 16] = [
        Exit::Done,
        Exit::Other,
        Exit::Usage,
        Exit::NotFound,
        Exit::Wrong,
        Exit::NoSpace,
        Exit::PoolSize,
        Exit::InUse,
        Exit::CouldNotCheck,
        Exit::NoPool,
        Exit::NewerFormat,
        Exit::NoMountPoint,
        Exit::NoPermission,
        Exit::NoFuse,
        Exit::NoUserfaultfd,
        Exit::Exists,
    ];

    /// The end with this code; `Other` for codes that mean nothing.
    pub fn from_code(code: u8) -> Exit {
        Exit::ALL.get(usize::from(code)).copied().unwrap_or(Exit::Other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The part of `--help` about them.
pub const HELP: &str = "\
Exit codes:
   0  done (check: the pool is clean)
   1  another failure; the message says which
   2  the command line makes no sense
   3  a file, directory or pool is not there
   4  damage or a difference was found (check, fsx, demo, explore; any command on a damaged pool)
   5  no space left, in the pool or under it
   6  too small or too large to be a pool
   7  in use: another process has the pool, or programs use the mount
   8  check could not run
   9  the file is no Daxle pool
  10  the pool was made by a newer version
  11  there is no such mount point, or nothing is mounted there
  12  no permission
  13  FUSE is missing (/dev/fuse or fusermount3)
  14  userfaultfd is not permitted or not there
  15  the name is taken

A failed command leaves everything as it was. Set DAXLE_LOG=info (or debug) for a log on standard error.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_the_way_there_and_back_and_help_names_it() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit as u8), exit);
            assert!(HELP.contains(&format!("\n{:>4}  ", exit as u8)), "{exit:?}");
        }
        assert_eq!(Exit::from_code(200), Exit::Other);
    }
}
