//! Where pages lie: runs, granules, and where new blocks are to go.
//!
//! A *granule* is the unit of allocation and of the written state: one block, or the 2 MiB of a huge page where the pool
//! has such pages. All granule arithmetic is here.
//!
//! Placement: a new run follows the block of the page before it, so that files are contiguous. From the second 2 MiB of a
//! file on, and for large writes, regions of 512 pages go to aligned 2 MiB of the pool, which one huge translation can
//! show; a run that begins in the middle of such a region ends with it, so that the next one starts aligned.

use std::ops::Range;

use order::{Before, Held, level};

use super::Fs;
use super::inode::Inode;
use crate::error::FsError;
use crate::meta::{Align, NodeStore, Purpose, Want, extents};
use crate::types::{Block, PAGE_BYTES, Run, RunState};

/// Pages of the largest translation.
pub(super) const HUGE_PAGES: u64 = 512;
/// Pages that one transaction maps or converts at most: 64 MiB.
pub(super) const PIECE_PAGES_MAX: u64 = 16_384;

/// The pool offset of a block.
pub(super) fn offset_of(block: Block) -> u64 {
    block.0 * PAGE_BYTES
}

/// The run that begins at `page`, from a record.
pub(super) fn lookup_in<S: NodeStore + ?Sized>(
    store: &S,
    rec: &format::InodeRecord,
    page: u64,
) -> Result<Run, FsError> {
    extents::lookup(store, rec, page)
}

impl Fs {
    /// The first page of the granule that `page` lies in.
    pub(super) fn granule_start(&self, page: u64) -> u64 {
        page - page % self.unit_pages
    }

    /// The page after the granules that reach up to `page` (exclusive).
    pub(super) fn granule_end(&self, page: u64) -> u64 {
        page.next_multiple_of(self.unit_pages)
    }

    /// Bytes of a granule.
    pub(super) fn granule_bytes(&self) -> u64 {
        self.unit_pages * PAGE_BYTES
    }

    /// The page after the granule in which a file of `size` bytes ends; 0 for an empty file.
    pub(super) fn end_granule(&self, size: u64) -> u64 {
        self.granule_end(size.div_ceil(PAGE_BYTES))
    }

    /// The run that begins at `page`. Takes `ExtentMap` shared.
    pub(super) fn run_at<P: Before<level::ExtentMap>>(
        &self,
        held: &mut Held<'_, P>,
        inode: &Inode,
        page: u64,
    ) -> Result<Run, FsError> {
        let (rec, _held) = inode.map.read(held);
        lookup_in(&*self.meta, &rec, page)
    }

    /// The first mapped run that ends beyond `page`, cut to begin at `page` or later. Takes `ExtentMap` shared.
    pub(super) fn next_mapped<P: Before<level::ExtentMap>>(
        &self,
        held: &mut Held<'_, P>,
        inode: &Inode,
        page: u64,
    ) -> Result<Option<Run>, FsError> {
        let (rec, _held) = inode.map.read(held);
        extents::next(&*self.meta, &rec, page)
    }

    /// What to ask the allocator for to fill `pages` of a hole. `pages` consists of whole granules. The run may be
    /// shorter than the range.
    pub(super) fn want<S: NodeStore + ?Sized>(
        &self,
        store: &S,
        rec: &format::InodeRecord,
        pages: &Range<u64>,
    ) -> Result<Want, FsError> {
        let mut blocks = (pages.end - pages.start).min(PIECE_PAGES_MAX);
        let into_region = pages.start % HUGE_PAGES;
        let large = pages.start + blocks > HUGE_PAGES;
        if large && into_region != 0 {
            blocks = blocks.min(HUGE_PAGES - into_region);
        }
        let goal = match pages.start.checked_sub(1) {
            Some(before) => lookup_in(store, rec, before)?.block_at(before).map(|block| Block(block.0 + 1)),
            None => None,
        };
        let huge = self.unit_pages > 1 || (into_region == 0 && (large || blocks >= HUGE_PAGES));
        Ok(Want {
            blocks: blocks as u32,
            min_blocks: self.unit_pages as u32,
            align: if huge { Align::Huge } else { Align::Block },
            goal,
            purpose: Purpose::Data,
        })
    }

    /// Puts zeros into those bytes of the range that have written blocks. Holes and unwritten blocks are zeros anyway.
    pub(super) fn zero_written<P: Before<level::ExtentMap>>(
        &self,
        held: &mut Held<'_, P>,
        inode: &Inode,
        bytes: Range<u64>,
    ) -> Result<(), FsError> {
        let mut at = bytes.start;
        while at < bytes.end {
            let page = at / PAGE_BYTES;
            let run = self.run_at(held, inode, page)?;
            let end = run.end().saturating_mul(PAGE_BYTES).min(bytes.end);
            if let RunState::Written(first) = run.state {
                let offset = offset_of(first) + at % PAGE_BYTES;
                self.pool.zero(offset, end - at);
                self.flush(offset, end - at);
            }
            at = end;
        }
        Ok(())
    }

    /// Before a file grows from `size` to `new_size`: zeros from the old end to the end of its granule, as far as they
    /// will be seen (invariant 5 of the module).
    pub(super) fn zero_past_end<P: Before<level::ExtentMap>>(
        &self,
        held: &mut Held<'_, P>,
        inode: &Inode,
        size: u64,
        new_size: u64,
    ) -> Result<(), FsError> {
        let granule_end = size.next_multiple_of(self.granule_bytes());
        self.zero_written(held, inode, size..new_size.min(granule_end))
    }
}
