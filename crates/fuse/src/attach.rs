//! Making the mount: by ourselves where we may, through `fusermount3` where we may not.
//!
//! By ourselves (root): open the device, make the file system and a mount of it that is not yet anywhere (`fsopen`,
//! `fsmount`), shake hands with the kernel, and only then put the mount into the tree. So whoever sees the mount sees one
//! that is served, and a failure leaves nothing behind. The kernel's type is "fuse", without a subtype, as test suites
//! and `mount -t` expect.

use crate::error::MountError;
use crate::options::{MountOptions, OnDeath, SpecialFiles, Users};
use crate::server::Server;
use engine::types::Access;
use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, move_mount,
};
use std::io;
use std::path::{Path, PathBuf};

const DEVICE: &str = "/dev/fuse";

/// Which way the mount was made, and so how it must be unmade.
#[derive(Debug)]
pub(crate) enum Way {
    /// With our own system calls.
    Own,
    /// Through `fusermount3`. The unmounter is what keeps the helper that waits for our death, if there is one.
    Helper(#[allow(dead_code)] SessionUnmounter),
}

/// A mount that is there and not yet served.
pub(crate) struct Attached {
    pub(crate) session: Session<Server>,
    pub(crate) way: Way,
}

/// Checks the mount point; gives back its canonical path.
pub(crate) fn check_point(dir: &Path) -> Result<PathBuf, MountError> {
    let path = dir.to_owned();
    match std::fs::metadata(dir) {
        Ok(facts) if facts.is_dir() => {}
        Ok(_) => return Err(MountError::NotADirectory { path }),
        Err(error) => {
            return Err(match error.kind() {
                io::ErrorKind::NotFound => MountError::MountPointMissing { path },
                io::ErrorKind::NotADirectory => MountError::NotADirectory { path },
                io::ErrorKind::NotConnected => MountError::DeadMount { path },
                io::ErrorKind::PermissionDenied => MountError::NoPermission {
                    action: "look at the mount point",
                    hint: format!("{} cannot be reached by this user", dir.display()),
                },
                _ => MountError::failed(format!("look at {}", dir.display()), error),
            });
        }
    }
    dir.canonicalize().map_err(|error| MountError::failed(format!("resolve {}", dir.display()), error))
}

/// Mounts at `point` (canonical).
pub(crate) fn attach(
    server: Server,
    point: &Path,
    access: Access,
    options: &MountOptions,
) -> Result<Attached, MountError> {
    let root = rustix::process::geteuid().is_root();
    let acl = match options.users {
        Users::Usual if root => SessionACL::All,
        Users::Usual | Users::Owner => SessionACL::Owner,
        Users::All => SessionACL::All,
    };
    let device = open_device()?;
    if options.on_death == OnDeath::Stay {
        match open_context() {
            Ok(context) => return attach_ourselves(server, point, access, options, acl, device, &context),
            Err(Errno::PERM) => {}
            Err(error) => return Err(MountError::failed("make a FUSE mount", error)),
        }
    }
    drop(device);
    attach_by_helper(server, point, access, options, acl)
}

fn open_device() -> Result<OwnedFd, MountError> {
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(device) => Ok(device),
        Err(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Err(MountError::DeviceMissing),
        Err(Errno::ACCESS | Errno::PERM) => Err(MountError::NoPermission {
            action: "open /dev/fuse",
            hint: "it must be readable and writable for this user (mode 0666 is usual); in a container, allow the \
                   device"
                .to_owned(),
        }),
        Err(error) => Err(MountError::failed("open /dev/fuse", error)),
    }
}

fn open_context() -> Result<OwnedFd, Errno> {
    fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)
}

fn config(options: &MountOptions, acl: SessionACL) -> Config {
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(options.threads());
    config.clone_fd = true;
    config
}

fn attach_ourselves(
    server: Server,
    point: &Path,
    access: Access,
    options: &MountOptions,
    acl: SessionACL,
    device: OwnedFd,
    context: &OwnedFd,
) -> Result<Attached, MountError> {
    let mount = configure(context, &device, access, options, acl).map_err(|error| refused(context, error))?;
    // The handshake, on a mount that nobody can see yet. If it fails, dropping both undoes all.
    let session = Session::from_fd(server, device, acl, config(options, acl))
        .map_err(|error| MountError::failed("agree with the kernel on the FUSE protocol", error))?;
    move_mount(&mount, "", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|error| refused(context, error))?;
    Ok(Attached { session, way: Way::Own })
}

fn configure(
    context: &OwnedFd,
    device: &OwnedFd,
    access: Access,
    options: &MountOptions,
    acl: SessionACL,
) -> Result<OwnedFd, Errno> {
    let context = context.as_fd();
    fsconfig_set_string(context, "source", options.name())?;
    fsconfig_set_string(context, "fd", device.as_raw_fd().to_string())?;
    fsconfig_set_string(context, "rootmode", "40000")?;
    fsconfig_set_string(context, "user_id", rustix::process::getuid().as_raw().to_string())?;
    fsconfig_set_string(context, "group_id", rustix::process::getgid().as_raw().to_string())?;
    fsconfig_set_flag(context, "default_permissions")?;
    if acl == SessionACL::All {
        fsconfig_set_flag(context, "allow_other")?;
    }
    let mut attributes = MountAttrFlags::empty();
    if access == Access::ReadOnly {
        fsconfig_set_flag(context, "ro")?;
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    if options.special_files == SpecialFiles::Inert {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The kernel's refusal, with what it says about it where it says something.
fn refused(context: &OwnedFd, error: Errno) -> MountError {
    if error == Errno::PERM || error == Errno::ACCESS {
        return MountError::NoPermission {
            action: "mount",
            hint: "mounting needs root (CAP_SYS_ADMIN), or the package fuse3 for other users".to_owned(),
        };
    }
    let mut text = [0; 512];
    let said = rustix::io::read(context, &mut text).map_or(0, |n| n);
    let said = String::from_utf8_lossy(&text[..said]).trim().to_owned();
    let action = if said.is_empty() { "make a FUSE mount".to_owned() } else { format!("make a FUSE mount ({said})") };
    MountError::failed(action, error)
}

fn attach_by_helper(
    server: Server,
    point: &Path,
    access: Access,
    options: &MountOptions,
    acl: SessionACL,
) -> Result<Attached, MountError> {
    if !helper_is_there() {
        return Err(MountError::FusermountMissing);
    }
    if options.special_files == SpecialFiles::Honoured && !rustix::process::geteuid().is_root() {
        return Err(MountError::NoPermission {
            action: "honour set-user-id bits and device files",
            hint: "only root can mount so".to_owned(),
        });
    }
    if options.on_death == OnDeath::Unmount && acl != SessionACL::All {
        return Err(MountError::AllowOtherRefused);
    }
    let mut config = config(options, acl);
    // A comma separates options; the helper takes a backslash before one that does not.
    let name = options.name().replace('\\', "\\\\").replace(',', "\\,");
    config.mount_options = vec![MountOption::FSName(name), MountOption::DefaultPermissions];
    if access == Access::ReadOnly {
        config.mount_options.push(MountOption::RO);
    }
    if options.special_files == SpecialFiles::Inert {
        config.mount_options.extend([MountOption::NoSuid, MountOption::NoDev]);
    }
    if options.on_death == OnDeath::Unmount {
        config.mount_options.push(MountOption::AutoUnmount);
    }
    let mut session = Session::new(server, point, &config).map_err(helper_refused)?;
    let way = Way::Helper(session.unmount_callable());
    Ok(Attached { session, way })
}

fn helper_is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/bin", "/usr/bin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).any(|dir| dir.join("fusermount3").exists())
}

fn helper_refused(error: io::Error) -> MountError {
    let text = error.to_string();
    if text.contains("user_allow_other") {
        MountError::AllowOtherRefused
    } else if text.contains("ermission") || text.contains("no write access") || text.contains("not permitted") {
        MountError::NoPermission { action: "mount", hint: text.trim().to_owned() }
    } else {
        MountError::failed("mount through fusermount3", error)
    }
}
