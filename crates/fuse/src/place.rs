//! Where a mount is, and how it is taken away.
//!
//! Nothing here touches the mounted file system itself, whose server may not answer: the table of mounts is asked, and the
//! unmount goes by the mount point.

use crate::error::MountError;
use crate::mountinfo;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How a mount is taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Not while it is in use.
    Polite,
    /// Out of the tree now, gone when the last user is.
    Lazy,
    /// Out of the tree now, and every request fails.
    Forced,
}

/// A mount point, and the connection of the mount that is meant.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Canonical.
    pub(crate) point: PathBuf,
    /// The connection's number; `None` if it could not be found out, and then nothing is taken to be ours.
    pub(crate) minor: Option<u32>,
}

impl Place {
    /// The mount that is at this point now.
    pub(crate) fn of(point: PathBuf) -> Place {
        let minor = mountinfo::at(&point).filter(mountinfo::is_fuse).map(|line| line.minor);
        Place { point, minor }
    }

    /// Whether the topmost mount at the point is the one that is meant.
    pub(crate) fn is_ours(&self) -> bool {
        mountinfo::at(&self.point).is_some_and(|line| mountinfo::is_fuse(&line) && Some(line.minor) == self.minor)
    }

    /// Takes away the topmost mount at the point.
    pub(crate) fn unmount(&self, manner: Manner) -> Result<(), MountError> {
        let flags = match manner {
            Manner::Polite => UnmountFlags::NOFOLLOW,
            Manner::Lazy => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
            Manner::Forced => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH | UnmountFlags::FORCE,
        };
        match unmount(&self.point, flags) {
            // EINVAL: somebody else was faster.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(Errno::BUSY) => Err(MountError::Busy { path: self.point.clone() }),
            Err(Errno::PERM) => self.unmount_by_helper(manner),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn unmount_by_helper(&self, manner: Manner) -> Result<(), MountError> {
        let mut command = Command::new("fusermount3");
        command
            .arg(if manner == Manner::Polite { "-u" } else { "-uz" })
            .arg("--")
            .arg(&self.point)
            .stdin(Stdio::null());
        let output = command.output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => MountError::FusermountMissing,
            _ => MountError::failed("run fusermount3", error),
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            Ok(())
        } else if said.contains("busy") {
            Err(MountError::Busy { path: self.point.clone() })
        } else {
            Err(self.failed(io::Error::other(said.trim().to_owned())))
        }
    }

    /// Ends the connection whatever waits on it, and takes the mount out of the tree.
    pub(crate) fn cut(&self) {
        if let Some(minor) = self.minor {
            // Works for the mounting user too, where the control file system is mounted.
            let _ = std::fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), "1");
        }
        if self.is_ours() && self.unmount(Manner::Forced).is_err() {
            tracing::warn!(point = %self.point.display(), "the mount could not be detached");
        }
    }

    fn failed(&self, error: impl Into<io::Error>) -> MountError {
        MountError::failed(format!("unmount {}", self.point.display()), error)
    }
}
