//! What can go wrong with a pool, each with what to do about it.

use std::path::{Path, PathBuf};
use sys::Errno;
use thiserror::Error;

use crate::size::format_size;
use crate::{LEN_BYTES_MAX, LEN_BYTES_MIN};

/// What pool operations give back.
pub type Result<T> = std::result::Result<T, PoolError>;

/// Why a pool could not be created, opened, backed or synced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PoolError {
    /// Another process has the pool.
    #[error("{} is in use{}; unmount it or end that process first", path.display(), by(*pid, comm))]
    InUse {
        /// The pool.
        path: PathBuf,
        /// Who has it, if that could be found out.
        pid: Option<u32>,
        /// The short name of that process, or nothing.
        comm: String,
    },
    /// There is no such file.
    #[error("{} does not exist; check the path, or create a pool there", .0.display())]
    NotFound(PathBuf),
    /// The path is something that cannot be a pool.
    #[error("{} cannot be a pool: it is {what}; give the path of a file", path.display())]
    NotAPoolFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A pool is to be created over a file with content.
    #[error("{} exists and is not empty; remove it or choose another name", .0.display())]
    Exists(PathBuf),
    /// Shorter than the smallest pool.
    #[error("a pool of {} is too small; the least is {}", format_size(*.0), format_size(LEN_BYTES_MIN))]
    TooSmall(u64),
    /// Longer than the largest pool.
    #[error("a pool of {} is too large; the most is {}", format_size(*.0), format_size(LEN_BYTES_MAX))]
    TooLarge(u64),
    /// The length of a file is not a whole number of pages.
    #[error("{} is {len} bytes long, which is no whole number of {page}-byte pages; it was cut or is not a pool", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The page in bytes.
        page: u64,
    },
    /// The disk or the memory is full.
    #[error("no space left for {name}; free some on its file system")]
    NoSpace {
        /// The pool.
        name: String,
    },
    /// Not enough huge pages are reserved.
    #[error(
        "not enough huge pages for {name}: it needs {needed} of 2 MiB; reserve them with `echo {needed} > /proc/sys/vm/nr_hugepages` (plus those in use)"
    )]
    NoHugePages {
        /// The pool.
        name: String,
        /// Huge pages that it needs.
        needed: u64,
    },
    /// The huge pages of this file system are not of 2 MiB.
    #[error("{} has huge pages of {page} bytes; mount hugetlbfs with pagesize=2M", path.display())]
    HugePageSize {
        /// The path.
        path: PathBuf,
        /// Its page in bytes.
        page: u64,
    },
    /// The user may not.
    #[error("no permission for {}; check its owner and mode", .0.display())]
    Permission(PathBuf),
    /// A change of a pool that is open for reading.
    #[error("{name} is open for reading only")]
    ReadOnly {
        /// The pool.
        name: String,
    },
    /// The file system cannot reserve space.
    #[error("the file system of {} cannot reserve space (fallocate); choose another, ext4, xfs, btrfs or tmpfs for example", .0.display())]
    NoReserve(PathBuf),
    /// A sync failed, now or earlier.
    #[error(
        "syncing {name} failed ({source}); what was written since the last good sync may be lost: close it, check the device, open it again"
    )]
    SyncFailed {
        /// The pool.
        name: String,
        /// The kernel's error.
        source: Errno,
    },
    /// Anything else that the kernel reports.
    #[error("cannot {action} {name}: {source}")]
    Io {
        /// The pool.
        name: String,
        /// What was tried.
        action: &'static str,
        /// The kernel's error.
        source: Errno,
    },
}

fn by(pid: Option<u32>, comm: &str) -> String {
    match pid {
        Some(pid) => format!(" by process {pid} ({comm})"),
        None => " by another process".to_owned(),
    }
}

impl PoolError {
    /// The errno that says the same.
    pub fn errno(&self) -> i32 {
        let errno = match self {
            PoolError::InUse { .. } => Errno::BUSY,
            PoolError::NotFound(_) => Errno::NOENT,
            PoolError::NotAPoolFile { .. }
            | PoolError::TooSmall(_)
            | PoolError::TooLarge(_)
            | PoolError::Ragged { .. }
            | PoolError::HugePageSize { .. } => Errno::INVAL,
            PoolError::Exists(_) => Errno::EXIST,
            PoolError::NoSpace { .. } => Errno::NOSPC,
            PoolError::NoHugePages { .. } => Errno::NOMEM,
            PoolError::Permission(_) => Errno::ACCESS,
            PoolError::ReadOnly { .. } => Errno::ROFS,
            PoolError::NoReserve(_) => Errno::OPNOTSUPP,
            PoolError::SyncFailed { .. } => Errno::IO,
            PoolError::Io { source, .. } => *source,
        };
        errno.raw_os_error()
    }

    /// Sorts a kernel error about a path.
    pub(crate) fn of_path(path: &Path, action: &'static str, source: Errno) -> PoolError {
        match source {
            Errno::NOENT | Errno::NOTDIR => PoolError::NotFound(path.to_owned()),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => PoolError::Permission(path.to_owned()),
            Errno::NXIO => {
                PoolError::NotAPoolFile { path: path.to_owned(), what: "a pipe, a socket or an absent device" }
            }
            Errno::ISDIR => PoolError::NotAPoolFile { path: path.to_owned(), what: "a directory" },
            other => PoolError::of_name(&path.display().to_string(), action, other),
        }
    }

    /// Sorts a kernel error about an open pool.
    pub(crate) fn of_name(name: &str, action: &'static str, source: Errno) -> PoolError {
        match source {
            Errno::NOSPC | Errno::DQUOT => PoolError::NoSpace { name: name.to_owned() },
            source => PoolError::Io { name: name.to_owned(), action, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let path = PathBuf::from("/pools/a");
        let in_use = PoolError::InUse { path: path.clone(), pid: Some(17), comm: "daxle".into() };
        assert_eq!(
            in_use.to_string(),
            "/pools/a is in use by process 17 (daxle); unmount it or end that process first"
        );
        assert_eq!(in_use.errno(), 16);
        let small = PoolError::TooSmall(4096);
        assert_eq!(small.to_string(), "a pool of 4 KiB is too small; the least is 16 MiB");
        let full = PoolError::of_path(&path, "reserve", Errno::NOSPC);
        assert_eq!(full.errno(), 28);
        let huge = PoolError::NoHugePages { name: "h".into(), needed: 8 };
        assert!(huge.to_string().contains("echo 8 > /proc/sys/vm/nr_hugepages"));
    }
}
