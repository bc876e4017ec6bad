//! Traps: userfaultfd.
//!
//! A range of anonymous memory that is registered here *traps*: a thread that
//! touches it sleeps, a message tells of it, and the thread goes on when the
//! page is there, or tries again when it is woken. Faults taken inside system
//! calls trap alike.
//!
//! The binding is our own: the crate of that name knows none of the features
//! that windows rest on, which are
//! - `EVENT_REMAP`: a registration survives `mremap`, which is how a trap is
//!   put over a live translation in one step (see [`crate::window`]);
//! - `WP_UNPOPULATED`: empty pages can be write-protected, so that holes read
//!   as zeros without a message while first stores send one;
//! - `EXACT_ADDRESS` and `THREAD_ID`: who touched what.
//!
//! # The reader
//! One thread must read the messages of a [`Uffd`] at all times and must never
//! wait for a thread that puts traps: `mremap` returns only after its message
//! was read, and until then filling calls answer EAGAIN (they try again here).
//! The reader itself must not put traps; [`crate::window::Reservation::trap`]
//! refuses that with EDEADLK.
//!
//! Only [`crate::window`] registers ranges, and only ranges that it owns, so
//! no call of this module can reach memory that is not a window's.

mod create;
mod message;
mod stage;

use crate::{Errno, PAGE_BYTES, Result, ballast};
use core::ops::Range;
use linux_raw_sys::general::{
    _UFFDIO_COPY, _UFFDIO_POISON, _UFFDIO_REGISTER, _UFFDIO_WAKE, _UFFDIO_WRITEPROTECT, _UFFDIO_ZEROPAGE,
    UFFDIO_COPY_MODE_WP, UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP, uffdio_copy, uffdio_poison,
    uffdio_range, uffdio_register, uffdio_writeprotect, uffdio_zeropage,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::ioctl::{self, Opcode, Setter, Updater, opcode};
use rustix::time::Timespec;
use std::sync::atomic::{AtomicI32, Ordering};

pub use create::{Reach, UffdError};
pub use message::{Fault, FaultKind, Message, Touch};
pub(crate) use stage::{PageFill, Stages};

/// The number that all userfaultfd ioctls carry.
const UFFDIO: u8 = 0xAA;

/// `UFFDIO_WRITEPROTECT_MODE_WP`, which linux-raw-sys lacks.
const WRITEPROTECT_MODE_WP: u64 = 1;

/// A source of traps, and the messages of those touched.
#[derive(Debug)]
pub struct Uffd {
    fd: OwnedFd,
    pub(crate) stages: Stages,
    /// The thread that read messages last, or 0.
    reader: AtomicI32,
}

/// Whether stores to a filled page go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// They do.
    Allowed,
    /// The first one sends a [`FaultKind::WriteProtect`] message.
    Trapped,
}

/// How much of a range was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// All of it.
    All,
    /// So many bytes; the page after them has content already.
    UpTo(usize),
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There are messages.
    Messages,
    /// The bell was rung.
    Bell,
    /// The time is up.
    Timeout,
}

/// Which accesses a registration catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Catch {
    /// Touching an empty page; stores to protected ones.
    All,
    /// Stores to protected pages only; empty ones read as zeros.
    Protected,
}

impl Uffd {
    /// Makes a source of traps. See [`UffdError`] for what can be missing.
    pub fn new(reach: Reach) -> std::result::Result<Uffd, UffdError> {
        let fd = create::with_features(reach, create::TRAP_FEATURES)?;
        ballast::take_on();
        let stages = Stages::new(&fd).map_err(UffdError::Kernel)?;
        Ok(Uffd { fd, stages, reader: AtomicI32::new(0) })
    }

    /// Waits for messages or the bell, at most `timeout_ms`.
    pub fn wait(&self, bell: &Bell, timeout_ms: Option<u32>) -> Result<Woken> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN), PollFd::new(&bell.0, PollFlags::IN)];
        let timeout =
            timeout_ms.map(|ms| Timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(Woken::Timeout),
            Ok(_) if fds[0].revents().contains(PollFlags::IN) => Ok(Woken::Messages),
            Ok(_) if !fds[1].revents().is_empty() => Ok(Woken::Bell),
            Ok(_) => Err(Errno::IO),
            Err(errno) => Err(errno),
        }
    }

    /// Appends the messages that are there to `into`; does not wait. Gives how
    /// many. The calling thread becomes the reader.
    pub fn read(&self, into: &mut Vec<Message>) -> Result<usize> {
        self.reader.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        let mut bytes = [0; message::BYTES * 16];
        let got = match rustix::io::read(&self.fd, &mut bytes) {
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => return Err(errno),
        };
        let messages = bytes[..got].chunks_exact(message::BYTES);
        into.extend(messages.map(Message::parse));
        Ok(got / message::BYTES)
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.fd
    }

    /// Refuses what the reader must not do.
    pub(crate) fn check_not_reader(&self) -> Result<()> {
        if self.reader.load(Ordering::Relaxed) == rustix::thread::gettid().as_raw_nonzero().get() {
            return Err(Errno::DEADLK);
        }
        Ok(())
    }

    /// Wakes the threads that sleep in a range of addresses; they try again.
    pub fn wake(&self, addresses: Range<usize>) -> Result<()> {
        const OP: Opcode = opcode::read::<uffdio_range>(UFFDIO, _UFFDIO_WAKE as u8);
        // SAFETY: the opcode takes a pointer to this struct and writes none.
        unsafe { ioctl::ioctl(&self.fd, Setter::<OP, _>::new(range_of(&addresses))) }
    }

    /// Fills empty trapped pages at `to` with bytes and wakes who sleeps there.
    /// Both `to` and the length are whole pages. Errors: ENOENT if the range
    /// is not trapped by this source.
    pub fn copy(&self, to: usize, from: &[u8], stores: Stores) -> Result<Filled> {
        const OP: Opcode = opcode::read_write::<uffdio_copy>(UFFDIO, _UFFDIO_COPY as u8);
        let mode = match stores {
            Stores::Allowed => 0,
            Stores::Trapped => u64::from(UFFDIO_COPY_MODE_WP),
        };
        fill(from.len(), |done| {
            let mut arg = uffdio_copy {
                dst: (to + done) as u64,
                src: from[done..].as_ptr() as u64,
                len: (from.len() - done) as u64,
                mode,
                copy: 0,
            };
            // SAFETY: (1) the opcode takes a pointer to this struct; (2) the
            // source is live for the call; (3) the kernel writes empty pages
            // of registered ranges only, and those are windows.
            let answer = unsafe { ioctl::ioctl(&self.fd, Updater::<OP, _>::new(&mut arg)) };
            (answer, arg.copy)
        })
    }

    /// Fills empty trapped pages with zeros and wakes who sleeps there. On
    /// protected empty pages it gives [`Filled::UpTo`].
    pub fn zero(&self, addresses: Range<usize>) -> Result<Filled> {
        const OP: Opcode = opcode::read_write::<uffdio_zeropage>(UFFDIO, _UFFDIO_ZEROPAGE as u8);
        fill(addresses.len(), |done| {
            let range = range_of(&(addresses.start + done..addresses.end));
            let mut arg = uffdio_zeropage { range, mode: 0, zeropage: 0 };
            // SAFETY: (1) the opcode takes a pointer to this struct; (2) as in
            // `copy`, only empty pages of windows can change.
            let answer = unsafe { ioctl::ioctl(&self.fd, Updater::<OP, _>::new(&mut arg)) };
            (answer, arg.zeropage)
        })
    }

    /// Makes pages raise SIGBUS (EFAULT in system calls), as broken memory
    /// does, and wakes who sleeps there. The pages must be empty.
    pub fn poison(&self, addresses: Range<usize>) -> Result<Filled> {
        const OP: Opcode = opcode::read_write::<uffdio_poison>(UFFDIO, _UFFDIO_POISON as u8);
        fill(addresses.len(), |done| {
            let range = range_of(&(addresses.start + done..addresses.end));
            let mut arg = uffdio_poison { range, mode: 0, updated: 0 };
            // SAFETY: as in `zero`.
            let answer = unsafe { ioctl::ioctl(&self.fd, Updater::<OP, _>::new(&mut arg)) };
            (answer, arg.updated)
        })
    }

    /// Allows stores to a trapped range, or traps them; allowing wakes who
    /// sleeps there.
    pub fn set_stores(&self, addresses: Range<usize>, stores: Stores) -> Result<()> {
        write_protect(&self.fd, &addresses, stores)
    }
}

/// Runs a filling call until all is filled or a page has content.
fn fill(len: usize, mut call: impl FnMut(usize) -> (Result<()>, i64)) -> Result<Filled> {
    let mut done = 0;
    while done < len {
        let (answer, step) = call(done);
        match answer {
            Ok(()) => done = len,
            // A positive step was done before the error and the call is to be
            // repeated from there; the field holds the error otherwise.
            Err(Errno::AGAIN | Errno::INTR) if step > 0 => done += step as usize,
            // A remap is in flight; its message is about to be read.
            Err(Errno::AGAIN | Errno::INTR) => rustix::thread::sched_yield(),
            Err(Errno::EXIST) => return Ok(Filled::UpTo(done)),
            Err(errno) => return Err(errno),
        }
    }
    Ok(Filled::All)
}

fn range_of(addresses: &Range<usize>) -> uffdio_range {
    uffdio_range { start: addresses.start as u64, len: addresses.len() as u64 }
}

/// Registers a range of addresses.
///
/// # Safety
/// The range is mapped and belongs to the caller: whoever touches it sleeps
/// until the reader answers.
pub(crate) unsafe fn register(fd: &OwnedFd, addresses: &Range<usize>, catch: Catch) -> Result<()> {
    const OP: Opcode = opcode::read_write::<uffdio_register>(UFFDIO, _UFFDIO_REGISTER as u8);
    let mode = match catch {
        Catch::All => UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
        Catch::Protected => UFFDIO_REGISTER_MODE_WP,
    };
    let mut arg = uffdio_register { range: range_of(addresses), mode: u64::from(mode), ioctls: 0 };
    // SAFETY: the opcode takes a pointer to this struct; the rest is the
    // caller's promise.
    unsafe { ioctl::ioctl(fd, Updater::<OP, _>::new(&mut arg)) }
}

/// Protects a registered range against stores, or lifts that.
pub(crate) fn write_protect(fd: &OwnedFd, addresses: &Range<usize>, stores: Stores) -> Result<()> {
    const OP: Opcode = opcode::read_write::<uffdio_writeprotect>(UFFDIO, _UFFDIO_WRITEPROTECT as u8);
    let mode = match stores {
        Stores::Trapped => WRITEPROTECT_MODE_WP,
        Stores::Allowed => 0,
    };
    loop {
        let mut arg = uffdio_writeprotect { range: range_of(addresses), mode };
        // SAFETY: the opcode takes a pointer to this struct; no value of
        // memory changes, and only registered ranges are touched.
        match unsafe { ioctl::ioctl(fd, Updater::<OP, _>::new(&mut arg)) } {
            Err(Errno::AGAIN | Errno::INTR) => rustix::thread::sched_yield(),
            answer => return answer,
        }
    }
}

/// Finds the pages of files and of memory that were stored to, without any
/// message: the kernel notes the first store to each page after a reset. Works
/// on mappings of every file system.
#[derive(Debug)]
pub struct Tracker {
    fd: OwnedFd,
}

impl Tracker {
    /// Makes a tracker.
    pub fn new() -> std::result::Result<Tracker, UffdError> {
        let fd = create::with_features(Reach::EveryFault, create::TRACK_FEATURES)?;
        Ok(Tracker { fd })
    }

    /// Begins to note stores into a mapped range.
    ///
    /// # Safety
    /// The range is mapped and belongs to the caller.
    pub(crate) unsafe fn begin(&self, addresses: &Range<usize>) -> Result<()> {
        // SAFETY: the caller's promise; this mode never makes anybody sleep.
        unsafe { register(&self.fd, addresses, Catch::Protected)? };
        write_protect(&self.fd, addresses, Stores::Trapped)
    }
}

/// Ends another thread's wait.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent bell.
    pub fn new() -> Result<Bell> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Bell)
    }

    /// Rings; every wait ends from now on, until [`Bell::hush`].
    pub fn ring(&self) {
        // It fails only when rung 2^64 times, and then it rings already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it silent again.
    pub fn hush(&self) {
        let mut count = [0; 8];
        // Nothing to read: it is silent.
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const _: () = assert!(PAGE_BYTES == 4096, "ranges are given in pages of 4096 bytes");
