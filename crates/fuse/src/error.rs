//! Why a mount could not be made or undone, and what to do about it.

use std::io;
use std::path::PathBuf;

/// What `mount` and `unmount` can answer. Each text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The directory to mount on is not there.
    #[error("mount point {} does not exist: create the directory first", path.display())]
    MountPointMissing {
        /// As given.
        path: PathBuf,
    },
    /// Something else than a directory is there.
    #[error("mount point {} is not a directory", path.display())]
    NotADirectory {
        /// As given.
        path: PathBuf,
    },
    /// A mount whose server has died is still there.
    #[error("a dead mount is left at {0}: remove it with `umount -l {0}` or `fusermount3 -uz {0}`", path.display())]
    DeadMount {
        /// As given.
        path: PathBuf,
    },
    /// There is no FUSE device.
    #[error(
        "/dev/fuse is missing: load the kernel module (`modprobe fuse`); in a container, pass the device in \
         (`--device /dev/fuse`)"
    )]
    DeviceMissing,
    /// This user may not do it.
    #[error("no permission to {action}: {hint}")]
    NoPermission {
        /// What was tried.
        action: &'static str,
        /// What would help.
        hint: String,
    },
    /// The program that mounts for ordinary users is missing.
    #[error("fusermount3 is missing, and only root can mount without it: install the package fuse3")]
    FusermountMissing,
    /// Other users were to be let in, and this user may not allow that.
    #[error("other users may be let in only if /etc/fuse.conf has the line `user_allow_other`, or by root")]
    AllowOtherRefused,
    /// Files below the mount point are in use.
    #[error("{} is busy: some program has a file open or its working directory there", path.display())]
    Busy {
        /// The mount point.
        path: PathBuf,
    },
    /// Nothing of ours is mounted there.
    #[error("nothing is mounted at {}", path.display())]
    NotMounted {
        /// As given.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {action}: {source}")]
    Failed {
        /// What was tried.
        action: String,
        /// What the system said.
        source: io::Error,
    },
}

impl MountError {
    pub(crate) fn failed(action: impl Into<String>, source: impl Into<io::Error>) -> MountError {
        MountError::Failed { action: action.into(), source: source.into() }
    }
}
