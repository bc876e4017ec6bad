//! The engine's one error type and the one place where errors become Linux error numbers.
//!
//! An error says what the caller may do about it: choose another name, free space, run `check`, give up. It is `Clone`
//! because one failure (a pool that has shut down) is answered to many callers. The numbers are Linux's, written out
//! here, since this crate knows no system interface.

use format::FormatError;
use pool::PoolError;

/// What an operation of the engine can answer instead of a result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// No such name, or an empty one.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("file exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory cannot be used so.
    #[error("is a directory")]
    IsDirectory,
    /// A directory with entries cannot be removed or replaced.
    #[error("directory not empty")]
    NotEmpty,
    /// No free blocks. With `pending`, blocks wait for a sync to become free: sync and try once more.
    #[error("no space left in the pool")]
    NoSpace {
        /// Freed blocks wait for their record to become durable.
        pending: bool,
    },
    /// A name over 255 bytes or a symbolic link's target over 4095.
    #[error("name too long")]
    NameTooLong,
    /// The arguments make no sense together; the text says which.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// The link count is at its limit.
    #[error("too many links")]
    TooManyLinks,
    /// Too many symbolic links on a path.
    #[error("too many levels of symbolic links")]
    Loop,
    /// The pool was opened for reading.
    #[error("pool is open for reading only")]
    ReadOnly,
    /// Past the largest file or offset.
    #[error("file too large")]
    FileTooBig,
    /// Somebody uses it in a way that excludes this use; the text says which.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// The inode that this handle or number meant is gone.
    #[error("stale file handle")]
    Stale,
    /// The operation is not for this kind of file, or not offered.
    #[error("not supported: {0}")]
    NotSupported(&'static str),
    /// An offset at which there is nothing more (seek for data or holes past the end).
    #[error("past the end of the file")]
    PastEnd,
    /// Metadata on the medium is not what it must be. `daxle check` says more.
    #[error("damaged pool: {0}")]
    Damaged(#[from] FormatError),
    /// Metadata that is well formed block by block and contradicts itself.
    #[error("damaged pool: inode {ino}: {why}")]
    Inconsistent {
        /// The inode at which it was seen.
        ino: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The pool's memory or device failed.
    #[error("I/O error: {0}")]
    Io(String),
    /// The memory under a block is lost (a media error).
    #[error("media error at pool offset {offset}")]
    Media {
        /// Byte offset in the pool.
        offset: u64,
    },
    /// An earlier failure made the pool read-only until it is opened again.
    #[error("pool has shut down: {0}")]
    Shutdown(&'static str),
    /// Two handles belong to two pools.
    #[error("the two files are in different pools")]
    CrossPool,
    /// The process may not do this.
    #[error("operation not permitted: {0}")]
    NotPermitted(&'static str),
}

impl FsError {
    /// Space is short now; nothing waits to be freed.
    pub const NO_SPACE: FsError = FsError::NoSpace { pending: false };

    /// The Linux error number (x86 and arm64 have the same) that a system call would give.
    pub fn errno(&self) -> i32 {
        match self {
            FsError::NotPermitted(_) => errno::EPERM,
            FsError::NotFound => errno::ENOENT,
            FsError::Io(_) | FsError::Media { .. } | FsError::Shutdown(_) => errno::EIO,
            FsError::Busy(_) => errno::EBUSY,
            FsError::Exists => errno::EEXIST,
            FsError::CrossPool => errno::EXDEV,
            FsError::NotDirectory => errno::ENOTDIR,
            FsError::IsDirectory => errno::EISDIR,
            FsError::Invalid(_) => errno::EINVAL,
            FsError::FileTooBig => errno::EFBIG,
            FsError::NoSpace { .. } => errno::ENOSPC,
            FsError::ReadOnly => errno::EROFS,
            FsError::TooManyLinks => errno::EMLINK,
            FsError::NameTooLong => errno::ENAMETOOLONG,
            FsError::NotEmpty => errno::ENOTEMPTY,
            FsError::Loop => errno::ELOOP,
            FsError::PastEnd => errno::ENXIO,
            FsError::NotSupported(_) => errno::EOPNOTSUPP,
            FsError::Stale => errno::ESTALE,
            FsError::Damaged(_) | FsError::Inconsistent { .. } => errno::EUCLEAN,
        }
    }
}

impl From<PoolError> for FsError {
    fn from(error: PoolError) -> FsError {
        match error {
            PoolError::NoSpace { .. } => FsError::NO_SPACE,
            PoolError::ReadOnly { .. } => FsError::ReadOnly,
            other => FsError::Io(other.to_string()),
        }
    }
}

/// Linux error numbers, as far as the engine answers them.
pub mod errno {
    #![allow(missing_docs)] // each name is its own documentation: see errno(3)
    pub const EPERM: i32 = 1;
    pub const ENOENT: i32 = 2;
    pub const EIO: i32 = 5;
    pub const ENXIO: i32 = 6;
    pub const EBUSY: i32 = 16;
    pub const EEXIST: i32 = 17;
    pub const EXDEV: i32 = 18;
    pub const ENOTDIR: i32 = 20;
    pub const EISDIR: i32 = 21;
    pub const EINVAL: i32 = 22;
    pub const EFBIG: i32 = 27;
    pub const ENOSPC: i32 = 28;
    pub const EROFS: i32 = 30;
    pub const EMLINK: i32 = 31;
    pub const ENAMETOOLONG: i32 = 36;
    pub const ENOTEMPTY: i32 = 39;
    pub const ELOOP: i32 = 40;
    pub const EOPNOTSUPP: i32 = 95;
    pub const ESTALE: i32 = 116;
    pub const EUCLEAN: i32 = 117;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_the_numbers_of_linux() {
        let rows = [
            (FsError::NotFound, 2),
            (FsError::NotEmpty, 39),
            (FsError::NO_SPACE, 28),
            (FsError::PastEnd, 6),
            (FsError::Stale, 116),
            (FsError::Inconsistent { ino: 1, why: "x" }, 117),
        ];
        for (error, number) in rows {
            assert_eq!(error.errno(), number, "{error}");
        }
    }
}
