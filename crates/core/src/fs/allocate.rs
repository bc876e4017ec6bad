//! `fallocate`: blocks ahead of writing, holes, zeros. Collapse and insert are in `shift`.
//!
//! Whole granules change their state in the map; the parts of granules at the edges are zeroed in place. Blocks that are
//! allocated ahead are unwritten: they read as zeros without being touched. Zeroing a range turns its written blocks
//! into unwritten ones, so it costs no memory traffic either.
//!
//! Each transaction takes a bounded piece, so a crash (or a full pool) may leave a range partly done: each granule is as
//! before or as asked, and a new size is set only when all before it is there.

use std::ops::Range;

use order::{Held, level};

use super::inode::{Inode, Node};
use super::place::lookup_in;
use super::remove::EXTENTS_PER_TX_MAX;
use super::{Fs, record};
use crate::dax::Invalidation;
use crate::error::FsError;
use crate::meta::extents::Mapped;
use crate::meta::{TxSize, extents};
use crate::types::{FILE_SIZE_MAX, Fallocate, PAGE_BYTES, RunState};

/// Runs that one transaction converts at most.
const RUNS_PER_TX_MAX: u32 = 128;

impl Fs {
    /// Changes how a range of a file is backed; see [`Fallocate`].
    ///
    /// Locks: Freeze (shared), Inode and (but for plain allocation inside the size) Invalidate (exclusive).
    ///
    /// # Errors
    /// `Invalid` for an empty range, or one that collapse and insert cannot take; `FileTooBig`, `NoSpace`, `IsDirectory`,
    /// `ReadOnly`.
    pub fn allocate(&self, node: &Node, how: Fallocate, offset: u64, len: u64) -> Result<(), FsError> {
        self.demand_own(node)?;
        node.inode.demand_file()?;
        if len == 0 {
            return Err(FsError::Invalid("an empty range"));
        }
        let end = offset.checked_add(len).filter(|end| *end <= FILE_SIZE_MAX).ok_or(FsError::FileTooBig)?;
        self.demand_writable()?;
        self.operation(|| {
            let mut held = order::unlocked();
            let (_freeze, mut held) = self.freeze.read(&mut held);
            let (_inode, mut held) = node.inode.lock.write(&mut held);
            let (_invalidate, mut held) = node.inode.dax.invalidate.write(&mut held);
            let inode = &*node.inode;
            match how {
                Fallocate::Allocate => {
                    self.fill_holes(&mut held, inode, offset..end)?;
                    self.extend_to(&mut held, inode, end)
                }
                Fallocate::AllocateKeepSize => {
                    self.fill_holes(&mut held, inode, offset..end)?;
                    self.touch(&mut held, inode)
                }
                Fallocate::Punch => self.punch(&mut held, inode, offset..end),
                Fallocate::Zero => {
                    self.zero_range(&mut held, inode, offset..end)?;
                    self.extend_to(&mut held, inode, end)
                }
                Fallocate::ZeroKeepSize => {
                    self.zero_range(&mut held, inode, offset..end)?;
                    self.touch(&mut held, inode)
                }
                Fallocate::Collapse => self.collapse(&mut held, inode, offset..end),
                Fallocate::Insert => self.insert(&mut held, inode, offset, len),
            }
        })
    }

    /// Makes the file reach to `end` at least, and notes the change.
    fn extend_to(&self, held: &mut Held<'_, level::Invalidate>, inode: &Inode, end: u64) -> Result<(), FsError> {
        let (size, now) = (inode.size(), self.now());
        if end > size {
            self.zero_past_end(held, inode, size, end)?;
        }
        let new_size = size.max(end);
        self.grow(held, inode, new_size, |held, fs| {
            fs.change(held, inode, TxSize::Small, |_, _, rec| {
                record::set_size(rec, new_size);
                record::set_changed(rec, now);
                Ok(())
            })
        })
    }

    /// Notes a change that left the size alone.
    fn touch(&self, held: &mut Held<'_, level::Invalidate>, inode: &Inode) -> Result<(), FsError> {
        let now = self.now();
        self.change(held, inode, TxSize::Small, |_, _, rec| {
            record::set_changed(rec, now);
            Ok(())
        })
    }

    /// The granules that the bytes lie in, the partly covered ones included.
    fn granules_around(&self, bytes: &Range<u64>) -> Range<u64> {
        self.granule_start(bytes.start / PAGE_BYTES)..self.granule_end(bytes.end.div_ceil(PAGE_BYTES))
    }

    /// The granules that the bytes cover whole; empty if there are none.
    fn granules_within(&self, bytes: &Range<u64>) -> Range<u64> {
        let start = self.granule_end(bytes.start.div_ceil(PAGE_BYTES));
        let end = self.granule_start(bytes.end / PAGE_BYTES);
        start..end.max(start)
    }

    /// Unwritten blocks for the holes of the range.
    fn fill_holes(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        bytes: Range<u64>,
    ) -> Result<(), FsError> {
        let pages = self.granules_around(&bytes);
        let own = {
            let (rec, _held) = inode.map.read(held);
            record::blocks(&rec)
        };
        if pages.end - pages.start > self.meta.statfs().available_blocks.saturating_add(own) {
            return Err(FsError::NO_SPACE); // rather than fill the pool first
        }
        let mut page = pages.start;
        while page < pages.end {
            let run = self.run_at(held, inode, page)?;
            if run.state != RunState::Hole {
                page = run.end();
                continue;
            }
            let hole = page..run.end().min(pages.end);
            page = self.change(held, inode, TxSize::Small, |tx, held, rec| {
                let want = self.want(tx, rec, &hole)?;
                let run = tx.alloc(held, &want)?;
                extents::map_range(tx, held, rec, hole.start, run, Mapped::Unwritten)?;
                Ok(hole.start + u64::from(run.len))
            })?;
        }
        Ok(())
    }

    /// Zeros at the edges that whole granules do not cover.
    fn zero_edges(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        bytes: &Range<u64>,
        within: &Range<u64>,
    ) -> Result<(), FsError> {
        if within.is_empty() {
            return self.zero_written(held, inode, bytes.clone());
        }
        self.zero_written(held, inode, bytes.start..within.start * PAGE_BYTES)?;
        self.zero_written(held, inode, within.end * PAGE_BYTES..bytes.end)
    }

    fn punch(&self, held: &mut Held<'_, level::Invalidate>, inode: &Inode, bytes: Range<u64>) -> Result<(), FsError> {
        // Up to the end of the file, the last granule counts as covered whole: nobody sees what is behind.
        let reaches_end = bytes.end >= inode.size();
        let end = if reaches_end { bytes.end.next_multiple_of(self.granule_bytes()) } else { bytes.end };
        let within = self.granules_within(&(bytes.start..end));
        self.zero_edges(held, inode, &bytes, &within)?;
        if !within.is_empty() {
            let map = self.block_map(inode);
            self.dax.invalidate(held, &inode.dax, &map, within.clone(), Invalidation::PUNCH)?;
        }
        self.unmap(held, inode, within)?;
        self.touch(held, inode)
    }

    /// Takes whole granules out of the map. The caller has invalidated them.
    pub(super) fn unmap(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        pages: Range<u64>,
    ) -> Result<(), FsError> {
        let mut end = pages.end;
        while end > pages.start {
            let rest = pages.start..end;
            let next = self.change(held, inode, TxSize::Large, |tx, held, rec| {
                extents::unmap_range(tx, held, rec, rest, EXTENTS_PER_TX_MAX).map(|done| done.next)
            })?;
            end = next.unwrap_or(pages.start);
        }
        Ok(())
    }

    fn zero_range(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        bytes: Range<u64>,
    ) -> Result<(), FsError> {
        let within = self.granules_within(&bytes);
        self.zero_edges(held, inode, &bytes, &within)?;
        if !within.is_empty() {
            let map = self.block_map(inode);
            self.dax.invalidate(held, &inode.dax, &map, within.clone(), Invalidation::PUNCH)?;
        }
        let mut page = within.start;
        while page < within.end {
            page = self.change(held, inode, TxSize::Large, |tx, held, rec| {
                let end = runs_end(tx, rec, page, within.end)?;
                extents::convert(tx, held, rec, page..end, Mapped::Unwritten)?;
                Ok(end)
            })?;
        }
        self.fill_holes(held, inode, bytes)
    }
}

/// The end of so many runs from `page` on as one transaction takes.
fn runs_end<S: crate::meta::NodeStore + ?Sized>(
    store: &S,
    rec: &format::InodeRecord,
    page: u64,
    end: u64,
) -> Result<u64, FsError> {
    let mut at = page;
    for _ in 0..RUNS_PER_TX_MAX {
        if at >= end {
            break;
        }
        at = lookup_in(store, rec, at)?.end();
    }
    Ok(at.min(end))
}
