//! Making the descriptor and agreeing on features.
//!
//! The device `/dev/userfaultfd` comes first: its mode decides who may trap
//! faults that are taken inside system calls. Where it is missing or closed
//! the system call is tried, which asks for `CAP_SYS_PTRACE` or for
//! `vm.unprivileged_userfaultfd`.

use super::UFFDIO;
use crate::{Errno, Result};
use core::ffi::c_void;
use linux_raw_sys::general::{
    _UFFDIO_API, UFFD_API, UFFD_FEATURE_EVENT_REMAP, UFFD_FEATURE_EXACT_ADDRESS, UFFD_FEATURE_PAGEFAULT_FLAG_WP,
    UFFD_FEATURE_POISON, UFFD_FEATURE_THREAD_ID, UFFD_FEATURE_WP_ASYNC, UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
    UFFD_FEATURE_WP_UNPOPULATED, uffdio_api,
};
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode, Updater, opcode};
use rustix::mm::UserfaultfdFlags;
use thiserror::Error;

/// Which faults are caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of programs and those inside system calls.
    EveryFault,
    /// Those of programs; a system call that touches a trap fails with EFAULT.
    /// Every user may have this.
    ProgramsOnly,
}

/// Why there are no traps.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UffdError {
    /// This user may not.
    #[error(
        "no permission to trap page faults: run as root, give read access to /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1"
    )]
    NotPermitted,
    /// The kernel was built without.
    #[error("this kernel has no userfaultfd (CONFIG_USERFAULTFD)")]
    NoSupport,
    /// The kernel lacks features.
    #[error("this kernel's userfaultfd lacks features {0:#x}; Linux 6.7 or newer has them")]
    FeaturesMissing(u64),
    /// Anything else.
    #[error("cannot make a userfaultfd: {0}")]
    Kernel(Errno),
}

/// What traps need.
pub(super) const TRAP_FEATURES: u64 = (UFFD_FEATURE_PAGEFAULT_FLAG_WP
    | UFFD_FEATURE_EVENT_REMAP
    | UFFD_FEATURE_THREAD_ID
    | UFFD_FEATURE_EXACT_ADDRESS
    | UFFD_FEATURE_WP_UNPOPULATED
    | UFFD_FEATURE_POISON) as u64;

/// What finding written pages needs.
pub(super) const TRACK_FEATURES: u64 = (UFFD_FEATURE_PAGEFAULT_FLAG_WP
    | UFFD_FEATURE_WP_HUGETLBFS_SHMEM
    | UFFD_FEATURE_WP_UNPOPULATED
    | UFFD_FEATURE_WP_ASYNC) as u64;

/// A non-blocking descriptor that has the features.
pub(super) fn with_features(reach: Reach, features: u64) -> std::result::Result<OwnedFd, UffdError> {
    let fd = descriptor(reach)?;
    match agree(&fd, features) {
        Ok(_) => Ok(fd),
        // One handshake a descriptor: ask a second one what there is.
        Err(Errno::INVAL) => {
            let has = agree(&descriptor(reach)?, 0).map_err(UffdError::Kernel)?;
            Err(UffdError::FeaturesMissing(features & !has))
        }
        Err(errno) => Err(UffdError::Kernel(errno)),
    }
}

fn descriptor(reach: Reach) -> std::result::Result<OwnedFd, UffdError> {
    let flags = match reach {
        Reach::EveryFault => UserfaultfdFlags::empty(),
        Reach::ProgramsOnly => UserfaultfdFlags::from_bits_retain(linux_raw_sys::general::UFFD_USER_MODE_ONLY),
    } | UserfaultfdFlags::CLOEXEC
        | UserfaultfdFlags::NONBLOCK;
    if reach == Reach::EveryFault
        && let Ok(fd) = from_device(flags)
    {
        return Ok(fd);
    }
    // SAFETY: a new descriptor without any registered range traps nothing.
    match unsafe { rustix::mm::userfaultfd(flags) } {
        Ok(fd) => Ok(fd),
        Err(Errno::PERM | Errno::ACCESS) => Err(UffdError::NotPermitted),
        Err(Errno::NOSYS) => Err(UffdError::NoSupport),
        Err(errno) => Err(UffdError::Kernel(errno)),
    }
}

fn from_device(flags: UserfaultfdFlags) -> Result<OwnedFd> {
    let device = rustix::fs::open("/dev/userfaultfd", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: `New` describes this ioctl as the kernel has it.
    unsafe { ioctl::ioctl(&device, New(flags)) }
}

/// `USERFAULTFD_IOC_NEW`: takes flags by value, answers a new descriptor.
struct New(UserfaultfdFlags);

// SAFETY: (1) the argument is a number and no pointer; (2) the kernel writes
// no memory; (3) the answer is a new descriptor that nobody else owns.
unsafe impl Ioctl for New {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::none(UFFDIO, 0)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        core::ptr::without_provenance_mut(self.0.bits() as usize)
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<OwnedFd> {
        // SAFETY: the call succeeded, so the number is a descriptor of ours.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

/// The handshake; gives the features of the kernel.
fn agree(fd: &OwnedFd, features: u64) -> Result<u64> {
    const OP: Opcode = opcode::read_write::<uffdio_api>(UFFDIO, _UFFDIO_API as u8);
    let mut arg = uffdio_api { api: u64::from(UFFD_API), features, ioctls: 0 };
    // SAFETY: the opcode takes a pointer to this struct.
    unsafe { ioctl::ioctl(fd, Updater::<OP, _>::new(&mut arg)) }?;
    Ok(arg.features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_no_kernel_has_is_reported_missing() {
        match with_features(Reach::EveryFault, TRAP_FEATURES | 1 << 63) {
            Err(UffdError::FeaturesMissing(missing)) => assert_eq!(missing, 1 << 63),
            Err(UffdError::NotPermitted) => println!("skipped: no permission for userfaultfd"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_message_about_permissions_says_what_to_do() {
        let text = UffdError::NotPermitted.to_string();
        assert!(text.contains("vm.unprivileged_userfaultfd") && text.contains("/dev/userfaultfd"));
    }
}
