//! Signals that ask a program to end, taken as events instead of interruptions.
//!
//! They are blocked in the calling thread and in all threads it starts later, and arrive at a descriptor. So a
//! server needs no handler, which could do next to nothing, and ends in order. Blocked signals are inherited by programs
//! that are started without `std::process`, which unblocks them.

use core::mem::MaybeUninit;
use core::ptr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

use crate::Result;

/// The signals: interrupt (Ctrl-C), end, and the terminal's going away.
const ASKING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Requests to end, from [`EndRequests::take_over`] on.
#[derive(Debug)]
pub struct EndRequests(OwnedFd);

impl EndRequests {
    /// Takes the signals over. Call it before other threads are started.
    ///
    /// # Errors
    /// The kernel's: too many descriptors.
    pub fn take_over() -> Result<EndRequests> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: (1) `set` is valid for writes and `sigemptyset` fills it; (2) it is a set from then on; (3) changing
        // the thread's mask has no memory effects; (4) a descriptor that `signalfd` returns belongs to nobody else.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in ASKING {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
            if error != 0 {
                return Err(Errno::from_raw_os_error(error));
            }
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(Errno::from_raw_os_error(*libc::__errno_location()));
            }
            Ok(EndRequests(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Waits for the next request, at most this long. Whether one came.
    pub fn wait(&self, timeout_ms: u32) -> Result<bool> {
        let timeout =
            Timespec { tv_sec: i64::from(timeout_ms / 1000), tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000 };
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let mut message = [0; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(self.0.as_fd(), &mut message) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_an_event_and_does_not_end_the_program() {
        // The mask is the thread's own, so other tests notice nothing.
        let requests = EndRequests::take_over().unwrap();
        assert_eq!(requests.wait(0), Ok(false));
        let thread = rustix::thread::gettid();
        // SAFETY: a signal to our own thread, in which it is blocked.
        let sent = unsafe { libc::syscall(libc::SYS_tkill, thread.as_raw_nonzero().get(), libc::SIGTERM) };
        assert_eq!(sent, 0);
        assert_eq!(requests.wait(5000), Ok(true));
        assert_eq!(requests.wait(0), Ok(false));
    }
}
