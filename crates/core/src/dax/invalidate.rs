//! The other direction: a change of the block map takes entries and translations away.
//!
//! The file system calls [`Dax::invalidate`] with `Invalidate` held exclusively, before the
//! transaction that changes the map. No fault runs, so nothing comes back behind it, and the blocks may
//! be freed once it has returned. Entries go first, one at a time; a writeback, which needs nothing
//! above `Entry`, is waited for there. Then the translations go, once for the whole range.
//!
//! What becomes of stores that were made depends on why the map changes ([`Contents`]). When the
//! content stays (collapse and insert move blocks, a write publishes beside them), it is flushed here,
//! after it was write-protected and under the entry's lock: a store before is flushed, a store after
//! faults and waits for `Invalidate`. There is no time between in which one could be lost.
//!
//! If a translation cannot be revoked, the caller must leave the map as it is. The entries that were
//! dropped are put back as suspect, so that nothing that may stand is forgotten. A sync that runs just between
//! the drop and the failed revocation of contents that were to be discarded may miss their stores; they are marked
//! again, and the next sync has them.

use std::ops::Range;

use order::{Held, level};

use super::Dax;
use super::bits::{Bits512, REGION_PAGES};
use super::block_map::BlockMap;
use super::entries::Which;
use super::mmu::{Becomes, MmuError, PrivateCopies};
use super::state::{Event, Span};
use super::windows::FileDax;
use crate::error::FsError;

/// What becomes of the stores made through the translations that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// They count: the blocks stay the file's.
    Kept,
    /// The content goes with the blocks.
    Discarded,
}

/// How a range is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// What happens to private copies.
    pub private: PrivateCopies,
    /// What the next access does.
    pub becomes: Becomes,
    /// What happens to stores made so far.
    pub contents: Contents,
}

impl Invalidation {
    /// The file ends before the range.
    pub const TRUNCATE: Self =
        Self { private: PrivateCopies::Drop, becomes: Becomes::PastEnd, contents: Contents::Discarded };
    /// The range reads as zeros from now on: punch, zero range.
    pub const PUNCH: Self =
        Self { private: PrivateCopies::Keep, becomes: Becomes::Trap, contents: Contents::Discarded };
    /// Blocks get another place or appear in holes: collapse, insert, the publication of a write.
    pub const MOVE: Self = Self { private: PrivateCopies::Keep, becomes: Becomes::Trap, contents: Contents::Kept };
}

impl Dax {
    /// Drops all entries of `pages` and revokes their translations in every window.
    ///
    /// `pages.end` may be `u64::MAX` for everything. The caller holds `Invalidate` of the file
    /// exclusively and changes the block map after. Takes `Entry`, for kept contents `ExtentMap`
    /// (through `map`), then `ReverseMap` (shared) and `Window`.
    ///
    /// # Errors
    /// A flush, the block map or a revocation failed. The caller must not change the map; nothing is
    /// lost, and it may try again.
    pub fn invalidate(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        file: &FileDax,
        map: &dyn BlockMap,
        pages: Range<u64>,
        how: Invalidation,
    ) -> Result<(), FsError> {
        if pages.is_empty() {
            return Ok(());
        }
        let regions = regions_of(&pages);
        let found = self.entries.regions(file.ino(), regions, Which::Any);
        let mut dropped = Ok(());
        let mut count = 0;
        for &region in &found {
            count += 1;
            dropped = self.drop_entry(held, file, map, region, &pages, how.contents);
            if dropped.is_err() {
                break;
            }
        }
        let revoked = dropped.and_then(|()| {
            self.counters.revocations.add(1);
            file.revoke(held, &pages, how.private, how.becomes).map_err(mmu_failed)
        });
        if revoked.is_err() {
            self.put_back(held, file, &found[..count], &pages);
        }
        revoked
    }

    /// The file has grown over `pages`: accesses there fault again instead of raising SIGBUS.
    ///
    /// Called under `Invalidate` exclusive, after the new size is set. Takes `ReverseMap` (shared) and
    /// `Window`.
    ///
    /// # Errors
    /// A window could not be changed; it goes on raising SIGBUS there.
    pub fn grown(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        file: &FileDax,
        pages: Range<u64>,
    ) -> Result<(), FsError> {
        if pages.is_empty() {
            return Ok(());
        }
        file.revoke(held, &pages, PrivateCopies::Keep, Becomes::Trap).map_err(mmu_failed)
    }

    fn drop_entry(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        file: &FileDax,
        map: &dyn BlockMap,
        region: u64,
        pages: &Range<u64>,
        contents: Contents,
    ) -> Result<(), FsError> {
        let bits = Bits512::of_region(region, pages);
        let span = if bits == Bits512::ALL { Span::Region } else { Span::Pages };
        self.entries.with(held, file.key(region), |slot, held| {
            if contents == Contents::Kept {
                self.clean(held, file, map, region, slot)?;
            }
            slot.apply(Event::Drop, span, &bits);
            Ok(())
        })
    }

    /// Names again whatever may still be translated, after a failed revocation.
    fn put_back(&self, held: &mut Held<'_, level::Invalidate>, file: &FileDax, regions: &[u64], pages: &Range<u64>) {
        for &region in regions {
            let bits = Bits512::of_region(region, pages);
            self.entries.with(held, file.key(region), |slot, _| slot.suspect(&bits));
        }
    }
}

/// The regions that `pages` touch.
pub(super) fn regions_of(pages: &Range<u64>) -> Range<u64> {
    pages.start / REGION_PAGES..pages.end.div_ceil(REGION_PAGES)
}

/// A failed change of a translation, as the file system's caller sees it.
pub(super) fn mmu_failed(error: MmuError) -> FsError {
    FsError::Io(format!("address translation: {error}"))
}
