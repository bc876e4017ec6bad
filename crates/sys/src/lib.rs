//! Linux, in one place.
//!
//! Every system call and every raw pointer of Daxle lives here; the other
//! crates (but for `format`) forbid unsafe code. What leaves this crate is safe
//! to call with any argument: offsets are checked against what the object
//! owns, descriptors are owned or borrowed, and shared memory is never seen
//! through a reference, since other processes may write it at any time.
//!
//! - [`cpu`]: what the processor can do about cache lines.
//! - [`memory`]: a mapping of a whole pool, read and written by offset.
//! - [`file`]: files, locks, and the facts about where they live.
//! - [`uffd`]: traps (userfaultfd).
//! - [`window`]: reserved address ranges made of traps and translations.
//! - [`access`]: loads and stores through a window, with or without SIGBUS.
//! - [`fixup`]: the SIGBUS handler behind the latter.
//! - [`signals`]: requests to end, as events.
//!
//! The crate has no locks and starts no threads.

pub mod access;
pub mod cpu;
pub mod file;
pub mod fixup;
pub mod memory;
pub mod pagemap;
pub mod signals;
pub mod uffd;
pub mod window;

mod ballast;

pub use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
pub use rustix::io::Errno;

/// The page of the processor, in bytes. Daxle's block has the same size.
pub const PAGE_BYTES: usize = 4096;

/// The huge page, in bytes: what one page-middle-directory entry maps.
pub const HUGE_BYTES: usize = 2 << 20;

/// What a system call of this crate gives back.
pub type Result<T> = core::result::Result<T, Errno>;
