//! What the engine asks of address translation.
//!
//! A *window* is one mapping of one range of one file in one process.  The engine decides, under the
//! entry's lock, what each page of it may be translated to; the implementation makes it so.  There
//! are two: the simulated windows that tests and exploration use, and the real ones over userfaultfd.
//!
//! What an implementation promises, and the engine's proofs rest on:
//!
//! * An access through a translation (the check and the load or store) is one step with respect to
//!   `revoke` and `write_protect`: when they return, no store can follow through what they took away,
//!   and every store that came before has reached the block.
//! * A page that the process has a private copy of is left alone by `install` and `copy_private`.
//!   Otherwise the second of two threads that fault on it would take away what the first stored.
//! * After an error of `install` or `copy_private` some of the pages may be translated as asked and the
//!   others are as before; nothing else is possible.  After an error of `revoke` or `write_protect` the
//!   engine does not go on to give the blocks away.
//! * No method calls the engine or the file system.

use std::fmt;
use std::ops::Range;

use format::Block;
use order::{Held, level};
use thiserror::Error;

/// What a window may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// Loads of the file's own blocks.
    SharedRead,
    /// Loads and stores to the file's own blocks.
    SharedWrite,
    /// Loads of the file's blocks; the first store to a page makes a copy of the process's own.
    Private,
}

/// Whether stores go through a translation without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// They do.
    Yes,
    /// The first store faults.
    No,
}

/// What pages are translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The first page to `first`, the next to the block after it, and so on.
    Block {
        /// The block of the first page.
        first: Block,
        /// Whether stores go through.
        writable: Writable,
    },
    /// Loads give zeros without a fault; the first store faults.
    Zero,
}

/// What happens to private copies when translations are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateCopies {
    /// They stay: the file's blocks go, the process's own pages do not (punch).
    Keep,
    /// They go as well (truncate).
    Drop,
}

/// What a revoked page does on the next access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It faults.
    Trap,
    /// It raises SIGBUS: the file does not reach there.
    PastEnd,
}

/// A translation could not be changed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MmuError {
    /// The kernel gave no memory for page tables, or the process has too many mappings.
    #[error("no memory for translations")]
    NoMemory,
    /// The process or the mapping is gone.
    #[error("the window is gone")]
    Gone,
    /// A system call failed.
    #[error("changing a translation failed with error number {0}")]
    System(i32),
}

/// One mapping of one file range in one process.
pub trait Mmu: Send + Sync + fmt::Debug {
    /// The pages of the file that it covers; they never change.
    fn pages(&self) -> Range<u64>;

    /// What it may do; it never changes.
    fn kind(&self) -> WindowKind;

    /// Translates `pages`, which lie inside the window, except those of which the process has a
    /// private copy.  Whatever was translated there is replaced in one step per page.
    ///
    /// # Errors
    /// Some pages may be translated as asked, the others are as before.
    fn install(&self, held: &mut Held<'_, level::Window>, pages: Range<u64>, to: Target) -> Result<(), MmuError>;

    /// Gives the process its own writable copy of the block (of zeros if `None`) at `page`, unless it
    /// has one there already.
    ///
    /// # Errors
    /// The page is as before.
    fn copy_private(&self, held: &mut Held<'_, level::Window>, page: u64, from: Option<Block>) -> Result<(), MmuError>;

    /// Takes the translations of `pages`, which lie inside the window, away.
    ///
    /// # Errors
    /// Some pages may still be translated.
    fn revoke(
        &self,
        held: &mut Held<'_, level::Window>,
        pages: Range<u64>,
        private: PrivateCopies,
        becomes: Becomes,
    ) -> Result<(), MmuError>;

    /// Makes the next store to each of `pages` fault; private copies stay writable.
    ///
    /// # Errors
    /// Some pages may still be writable.
    fn write_protect(&self, held: &mut Held<'_, level::Window>, pages: Range<u64>) -> Result<(), MmuError>;
}
