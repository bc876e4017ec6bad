//! The library's one error type.
//!
//! It says what was tried, on what, and what to do. [`Error::errno`] and [`Error::kind`] sort it for programs.

use std::io;
use std::path::{Path, PathBuf};

use engine::FsError;
use engine::dax::FaultError;
use mmu::window::{Failure, WindowError};
use pool::PoolError;
use pool::size::SizeError;

/// What the library's calls give back.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a name.
    #[error("cannot {action} {}: {source}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// On what, in the pool.
        path: PathBuf,
        /// Why it failed.
        source: FsError,
    },
    /// An operation on an open file or a pool.
    #[error("cannot {action}: {source}")]
    Operation {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: FsError,
    },
    /// The pool's memory: it is in use, too small, no pool, not permitted, ...
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A size that is none.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A file cannot be mapped here.
    #[error(transparent)]
    Map(#[from] WindowError),
    /// A page fault of a mapping could not be served.
    #[error("access to a mapping failed at byte {offset}: {source}")]
    Fault {
        /// Byte offset in the mapping.
        offset: u64,
        /// Why.
        source: FaultError,
    },
    /// An access to a mapping past the end of the file.
    #[error("byte {offset} of the mapping lies past the end of the file; extend the file with set_len first")]
    PastEnd {
        /// Byte offset in the mapping.
        offset: u64,
    },
    /// A range outside of a mapping.
    #[error("{len} bytes at {offset} lie outside the mapping of {mapping_len} bytes")]
    OutOfRange {
        /// Byte offset asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Bytes there are.
        mapping_len: u64,
    },
    /// The handle was opened for less.
    #[error("cannot {action}: the file was not opened for {needed}")]
    Handle {
        /// What was tried.
        action: &'static str,
        /// What it takes: reading or writing.
        needed: &'static str,
    },
    /// The end of the file came before the buffer was full, or space ran out before it was written.
    #[error("cannot {action}: only {done} of {wanted} bytes")]
    Short {
        /// What was tried.
        action: &'static str,
        /// Bytes done.
        done: usize,
        /// Bytes wanted.
        wanted: usize,
    },
    /// A pool cannot be closed while files of it are mapped.
    #[error("cannot close the pool: {0} mappings of its files are alive; drop them first")]
    Mapped(usize),
    /// A new pool needs a size.
    #[error("{} does not exist and no size was given to create it; set PoolOptions::size", .0.display())]
    NoSize(PathBuf),
}

impl Error {
    /// The Linux error number that fits best.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Path { source, .. } | Error::Operation { source, .. } => source.errno(),
            Error::Pool(error) => error.errno(),
            Error::Map(error) => error.errno(),
            Error::Fault { source, .. } => fault_errno(source),
            Error::PastEnd { .. } => FsError::PastEnd.errno(),
            Error::OutOfRange { .. } | Error::Size(_) | Error::NoSize(_) => FsError::Invalid("").errno(),
            Error::Handle { .. } => EBADF,
            Error::Short { .. } => FsError::Io(String::new()).errno(),
            Error::Mapped(_) => FsError::Busy("").errno(),
        }
    }

    /// The class that `std::io` sorts it into.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Error::Short { action, .. } if action.starts_with("read") => io::ErrorKind::UnexpectedEof,
            Error::Short { .. } => io::ErrorKind::WriteZero,
            other => io::Error::from_raw_os_error(other.errno()).kind(),
        }
    }

    /// Whether a name or a pool was not found.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    pub(crate) fn fault(offset: u64, failure: Failure) -> Error {
        match failure.error {
            FaultError::PastEnd => Error::PastEnd { offset },
            source => Error::Fault { offset, source },
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

const EBADF: i32 = 9;

fn fault_errno(error: &FaultError) -> i32 {
    match error {
        FaultError::PastEnd => FsError::PastEnd.errno(),
        FaultError::Fs(error) => error.errno(),
        FaultError::Denied => FsError::NotPermitted("").errno(),
        FaultError::Media { offset } => FsError::Media { offset: *offset }.errno(),
        FaultError::NoSpace { .. } => FsError::NO_SPACE.errno(),
        FaultError::Gone | FaultError::Mmu(_) => FsError::Io(String::new()).errno(),
    }
}

/// Names the operation in an error of the file system.
pub(crate) trait Doing<T> {
    /// The operation.
    fn doing(self, action: &'static str) -> Result<T>;
    /// The operation and the name.
    fn doing_to(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, FsError> {
    fn doing(self, action: &'static str) -> Result<T> {
        self.map_err(|source| Error::Operation { action, source })
    }

    fn doing_to(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Path { action, path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_path_and_keeps_its_number_through_std() {
        let error = Err::<(), _>(FsError::NotFound).doing_to("open", Path::new("a/b")).unwrap_err();
        assert_eq!(error.to_string(), "cannot open a/b: no such file or directory");
        assert_eq!(error.errno(), 2);
        let io = io::Error::from(error);
        assert_eq!(io.kind(), io::ErrorKind::NotFound);
        assert_eq!(io.get_ref().unwrap().downcast_ref::<Error>().unwrap().errno(), 2);
    }
}
