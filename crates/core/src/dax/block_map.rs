//! What a fault asks the file system: which block stands at a page of the file.
//!
//! The information flows one way, block map to entry to translation.  So each method demands a proof
//! of the level from which it may be asked, and that proof cannot exist under `ReverseMap` or
//! `Window`: a file-system call under the reverse map, the deadlock that the old fault paths had, does
//! not compile.  Nothing that was learnt before the entry was locked may be used after it, which is
//! why the methods that tell blocks want `Entry`.

use std::ops::Range;

use order::{Held, level};

use crate::error::FsError;
use crate::types::Run;

/// The block map of one file, as the fault path sees it.
pub trait BlockMap {
    /// The size of the file, in bytes.
    ///
    /// It cannot shrink while `Invalidate` is held, shared or exclusive.
    fn size(&self, held: &mut Held<'_, level::Invalidate>) -> u64;

    /// The run that begins at `page`, at most `pages_max` (at least 1) pages long, of one state.
    ///
    /// A page past the end of the file is a hole or unwritten.  Takes `ExtentMap` shared.
    ///
    /// # Errors
    /// Damaged metadata, a failed read; the map is as before.
    fn get_block(&self, held: &mut Held<'_, level::Entry>, page: u64, pages_max: u64) -> Result<Run, FsError>;

    /// Makes the pages from `page` on writable in place, and gives the written run that begins there,
    /// 1 to `pages_max` pages long.
    ///
    /// A hole gets new blocks, an unwritten run is completed; in both cases the bytes are zeros in
    /// the pool before the block is in the map, inside the same transaction.  The fault path never
    /// zeroes.  A run that is written already is given as it is, however often it is asked for.
    /// Where blocks come in units of 2 MiB (huge pages), a fresh run is the whole unit around `page`.
    /// Takes `Transaction`, `ExtentMap` exclusive and what is below them.
    ///
    /// # Errors
    /// No space, damaged metadata, a pool that is read-only; the map is as before.
    fn get_block_for_write(&self, held: &mut Held<'_, level::Entry>, page: u64, pages_max: u64)
    -> Result<Run, FsError>;
}

/// The pages of both ranges; empty (and beginning in `a`) if there are none.
pub(crate) fn intersection(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}
