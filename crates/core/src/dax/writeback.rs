//! Making stores durable, and knowing which are not.
//!
//! Two ways, by the pool's durability class. *Kernel*: the kernel knows which pages were stored to
//! (or nothing has to be flushed at all); the pool's own sync covers mapped stores, windows may be
//! writable from the start, and there is nothing to do here. *Marks*: the processor's caches must be
//! flushed line by line, so dirty pages are marked. A mark is set, under the entry's lock, before
//! a translation becomes writable, and cleared, under the same lock, after every window was write-protected
//! over the whole region and after the flush. So at every moment every store that is not flushed
//! lies under a mark, in whatever order faults and syncs come.
//!
//! Cleaning needs nothing above `Entry`, so a sync may run inside a fault. It handles one entry at a
//! time. The second of two syncs waits for the first at the entry, since a locked entry counts as
//! dirty.

use std::ops::Range;

use order::{Before, Held, level};

use super::Dax;
use super::bits::{Bits512, REGION_PAGES};
use super::block_map::{BlockMap, intersection};
use super::entries::Which;
use super::invalidate::{mmu_failed, regions_of};
use super::state::{Event, Slot, Span};
use super::windows::FileDax;
use crate::error::FsError;
use crate::types::{PAGE_BYTES, RunState};

/// Who knows which pages are dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// The entries' marks.
    Marks,
    /// The kernel, or nobody needs to.
    Kernel,
}

impl Dax {
    /// Makes all stores that completed before the call, through any window to `pages`, durable.
    ///
    /// Does nothing with [`Tracking::Kernel`]: there the pool's sync does it. Takes, for one region
    /// after the other, `Entry`, `ReverseMap` (shared), `Window`, and what `get_block` takes.
    ///
    /// # Errors
    /// A window, the block map or the pool failed; what was not flushed is still marked.
    pub fn writeback<P: Before<level::Entry>>(
        &self,
        held: &mut Held<'_, P>,
        file: &FileDax,
        map: &dyn BlockMap,
        pages: Range<u64>,
    ) -> Result<(), FsError> {
        let regions = regions_of(&pages);
        for region in self.entries.regions(file.ino(), regions, Which::Dirty) {
            self.entries.with(held, file.key(region), |slot, held| self.clean(held, file, map, region, slot))?;
        }
        Ok(())
    }

    /// Write-protects a region in all windows, flushes what was stored, and clears the marks, in this
    /// order.
    pub(super) fn clean(
        &self,
        held: &mut Held<'_, level::Entry>,
        file: &FileDax,
        map: &dyn BlockMap,
        region: u64,
        slot: &mut Slot,
    ) -> Result<(), FsError> {
        let dirty = slot.dirty();
        if dirty.is_empty() {
            return Ok(());
        }
        let first = region * REGION_PAGES;
        let whole = first..first + REGION_PAGES;
        self.counters.write_protections.add(1);
        file.write_protect(held, &whole).map_err(mmu_failed)?;
        for run in dirty.runs() {
            self.flush(held, map, first + run.start..first + run.end)?;
        }
        self.pool.fence();
        self.counters.pages_flushed.add(u64::from(dirty.count()));
        slot.apply(Event::Clean, Span::Region, &Bits512::ALL);
        Ok(())
    }

    /// Writes the cache lines of the blocks of `pages` back. Pages without blocks have nothing to lose.
    fn flush(&self, held: &mut Held<'_, level::Entry>, map: &dyn BlockMap, pages: Range<u64>) -> Result<(), FsError> {
        let mut rest = pages.clone();
        while !rest.is_empty() {
            let run = map.get_block(held, rest.start, rest.end - rest.start)?;
            if let RunState::Written(block) = run.state {
                let bytes = intersection(&(run.page..run.end()), &pages);
                let len = (bytes.end - bytes.start) * PAGE_BYTES;
                self.pool.flush(block.0 * PAGE_BYTES, len);
            }
            rest.start = run.end();
        }
        Ok(())
    }
}
