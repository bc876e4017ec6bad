//! From the errors of the layers below to one message and one exit code.
//!
//! The layers' own texts already say what is wrong and what to do; here the name of the thing is put in front, and the
//! exit code is chosen. This is the only place that chooses one by error.

use std::fmt::Display;
use std::io;

use crate::exit::Exit;
use engine::FsError;
use engine::dax::FaultError;
use mount::MountError;
use pool::PoolError;
use sys::uffd::UffdError;

/// Why a command failed: what standard error says, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One line, or a few, without the program's name.
    pub message: String,
}

/// What commands give back.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with its own text.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// The same failure, with what it is about in front.
    #[must_use]
    pub fn about(self, what: impl Display) -> Failure {
        Failure { message: format!("{what}: {}", self.message), ..self }
    }
}

/// Says in front of an error what it is about.
pub trait Context<T> {
    /// `what: error`.
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Into<Failure>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| error.into().about(what))
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Failure {
        let exit = match error {
            PoolError::InUse { .. } => Exit::InUse,
            PoolError::NotFound(_) => Exit::NotFound,
            PoolError::NotAPoolFile { .. } | PoolError::Ragged { .. } => Exit::NoPool,
            PoolError::Exists(_) => Exit::Exists,
            PoolError::TooSmall(_) | PoolError::TooLarge(_) => Exit::PoolSize,
            PoolError::NoSpace { .. } | PoolError::NoHugePages { .. } => Exit::NoSpace,
            PoolError::Permission(_) | PoolError::ReadOnly { .. } => Exit::NoPermission,
            PoolError::HugePageSize { .. }
            | PoolError::NoReserve(_)
            | PoolError::SyncFailed { .. }
            | PoolError::Io { .. } => Exit::Other,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Failure {
        let (exit, hint) = match error {
            FsError::NotFound | FsError::Stale => (Exit::NotFound, ""),
            FsError::Exists => (Exit::Exists, ""),
            FsError::NoSpace { .. } => (Exit::NoSpace, "; remove something, or make a larger pool"),
            FsError::Busy(_) => (Exit::InUse, ""),
            FsError::ReadOnly | FsError::NotPermitted(_) => (Exit::NoPermission, ""),
            FsError::Damaged(_) | FsError::Inconsistent { .. } => (Exit::Wrong, "; run `daxle check` on it"),
            _ => (Exit::Other, ""),
        };
        Failure::new(exit, format!("{error}{hint}"))
    }
}

impl From<daxle::Error> for Failure {
    fn from(error: daxle::Error) -> Failure {
        let text = error.to_string();
        match error {
            daxle::Error::Pool(error) => error.into(),
            daxle::Error::Path { source, .. } | daxle::Error::Operation { source, .. } => {
                Failure { message: text, ..Failure::from(source) }
            }
            daxle::Error::Map(_) if !daxle::Mapping::is_possible() => Failure::new(Exit::NoUserfaultfd, text),
            _ => Failure::new(Exit::Other, text),
        }
    }
}

impl From<FaultError> for Failure {
    fn from(error: FaultError) -> Failure {
        match error {
            FaultError::Fs(error) => error.into(),
            FaultError::NoSpace { .. } => FsError::NO_SPACE.into(),
            other => Failure::new(Exit::Other, other.to_string()),
        }
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Failure {
        let exit = match error {
            MountError::MountPointMissing { .. } | MountError::NotADirectory { .. } | MountError::NotMounted { .. } => {
                Exit::NoMountPoint
            }
            MountError::DeviceMissing | MountError::FusermountMissing => Exit::NoFuse,
            MountError::NoPermission { .. } | MountError::AllowOtherRefused => Exit::NoPermission,
            MountError::Busy { .. } | MountError::DeadMount { .. } => Exit::InUse,
            _ => Exit::Other,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<UffdError> for Failure {
    fn from(error: UffdError) -> Failure {
        Failure::new(Exit::NoUserfaultfd, error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        let exit = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Exit::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::NoPermission,
            io::ErrorKind::AlreadyExists => Exit::Exists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoSpace,
            io::ErrorKind::ResourceBusy => Exit::InUse,
            _ => Exit::Other,
        };
        Failure::new(exit, describe(&error))
    }
}

/// The error's text without the number that the standard library adds.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_subject_and_has_a_code_of_its_own() {
        let failure = Err::<(), _>(FsError::NotFound).context("pool:/a").unwrap_err();
        assert_eq!(failure, Failure::new(Exit::NotFound, "pool:/a: no such file or directory"));
        let full = Failure::from(FsError::NO_SPACE);
        assert_eq!(full.exit, Exit::NoSpace);
        assert!(full.message.contains("remove something"));
    }

    #[test]
    fn system_errors_are_told_without_their_number() {
        let failure = Failure::from(io::Error::from_raw_os_error(13));
        assert_eq!(failure, Failure::new(Exit::NoPermission, "Permission denied"));
    }
}
