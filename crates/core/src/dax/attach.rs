//! Windows come and go.
//!
//! A new window joins the reverse map first and is translated after: from the moment on in which it
//! could show something, every revocation finds it. It is translated eagerly, since a fault costs
//! tens of microseconds: region by region, each under its entry's lock, as a fault would. What does not
//! fit the budget of translations stays a trap, and so does what could not be read or translated: the
//! access will fault, and the fault will tell.
//!
//! A window that leaves is taken from the list under `ReverseMap` exclusive. When that is done no
//! install can reach it any more, and its address range can be used for something else.

use std::ops::Range;

use order::sync::Arc;
use order::{Before, Held, level};

use super::Dax;
use super::bits::{Bits512, REGION_PAGES};
use super::block_map::{BlockMap, intersection};
use super::fault::{Access, FaultError, span_of};
use super::mmu::{Becomes, Mmu, PrivateCopies, Target, WindowKind};
use super::state::{Event, Slot};
use super::windows::{FileDax, WindowId};
use crate::types::{PAGE_BYTES, Run, RunState};

/// How much of a new window is translated at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eager {
    /// Translations at most; neighbouring pages with neighbouring blocks are one. The kernel limits a
    /// process to 65,530 of them. 0: every page traps.
    pub translations_max: u32,
}

/// Holes that are translated at once. Each costs a system call, a page table and an entry, so a vast sparse file is
/// better served by faults.
const HOLES_MAX: u32 = 64;

/// A window that is being translated.
struct Attaching<'a> {
    file: &'a FileDax,
    id: WindowId,
    /// Translations that may still be made.
    left: u32,
    /// Holes that may still be.
    holes_left: u32,
    /// Where the last one ended, and what would continue it.
    end: Option<(u64, Target)>,
}

impl Dax {
    /// Adds a window onto `file` and translates what the budget allows.
    ///
    /// The caller holds `Invalidate` shared. Pages past the end of the file become `PastEnd`, written
    /// blocks and holes are translated, the rest traps. In marks mode blocks are read-only at first.
    /// Takes `ReverseMap` (exclusive, then shared), `Entry`, what `get_block` takes, and `Window`.
    ///
    /// # Errors
    /// The pages past the end could not be made to raise SIGBUS; the window is not attached.
    pub fn attach(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        file: &FileDax,
        map: &dyn BlockMap,
        window: Arc<dyn Mmu>,
        eager: Eager,
    ) -> Result<WindowId, FaultError> {
        let covered = window.pages();
        let file_pages = map.size(held).div_ceil(PAGE_BYTES);
        let inside = intersection(&covered, &(0..file_pages));
        let past_end = inside.end.max(covered.start)..covered.end;
        let id = file.add(held, window);
        if let Err(error) = mark_past_end(held, file, id, past_end) {
            drop(self.detach(held, file, id));
            return Err(error);
        }
        let mut attaching = Attaching { file, id, left: eager.translations_max, holes_left: HOLES_MAX, end: None };
        let mut page = inside.start;
        while page < inside.end && attaching.left > 0 {
            let region = page / REGION_PAGES;
            let pages = page..((region + 1) * REGION_PAGES).min(inside.end);
            page = self
                .entries
                .with(held, file.key(region), |slot, held| self.translate(held, map, &mut attaching, slot, pages));
        }
        Ok(id)
    }

    /// Takes a window out of the reverse map. When it has returned, nobody changes the window's
    /// translations any more. Takes `ReverseMap` exclusive.
    ///
    /// Gives the window, so that it is dropped where no lock is held; nothing if it is gone already.
    pub fn detach<P: Before<level::ReverseMap>>(
        &self,
        held: &mut Held<'_, P>,
        file: &FileDax,
        id: WindowId,
    ) -> Option<Arc<dyn Mmu>> {
        file.remove(held, id)
    }

    /// Translates the pages of one region, run by run, until the budget is spent or something fails. Gives the page to go
    /// on from, which lies behind the region if a hole does that need not be translated.
    fn translate(
        &self,
        held: &mut Held<'_, level::Entry>,
        map: &dyn BlockMap,
        attaching: &mut Attaching<'_>,
        slot: &mut Slot,
        pages: Range<u64>,
    ) -> u64 {
        let mut page = pages.start;
        while page < pages.end {
            let Ok(run) = map.get_block(held, page, pages.end - page) else {
                return pages.end;
            };
            if !matches!(run.state, RunState::Written(_)) {
                match attaching.holes_left.checked_sub(1) {
                    Some(left) => attaching.holes_left = left,
                    // How far it goes is true under this entry's lock only, and all that hangs on it is what faults.
                    None => return map.get_block(held, page, u64::MAX).map_or(pages.end, |hole| hole.end()),
                }
            }
            if self.translate_run(held, attaching, slot, &run).is_none() {
                return pages.end;
            }
            page = run.end();
        }
        page
    }

    /// Translates one run; nothing if the budget is spent or the window does not take it.
    fn translate_run(
        &self,
        held: &mut Held<'_, level::Entry>,
        attaching: &mut Attaching<'_>,
        slot: &mut Slot,
        run: &Run,
    ) -> Option<()> {
        let (windows, mut held) = attaching.file.windows.read(held);
        let window = windows.get(attaching.id)?;
        let (event, to) = self.eager_event(run, window.mmu.kind());
        attaching.spend(run, to)?;
        let bits = Bits512::of_region(run.page / REGION_PAGES, &(run.page..run.end()));
        let span = span_of(run);
        // Stale zeros would have to go from all windows first: a fault does that.
        if !slot.stale(event, span, &bits).is_empty() {
            return Some(());
        }
        let (_streak, mut held) = window.lock.lock(&mut held);
        slot.apply(event, span, &bits);
        window.mmu.install(&mut held, run.page..run.end(), to).ok()?;
        self.counters.pages_eager.add(run.pages);
        Some(())
    }

    /// A block as a load would have it, a hole as zeros. An attached window has stored nothing yet, so
    /// nothing is dirty.
    fn eager_event(&self, run: &Run, kind: WindowKind) -> (Event, Target) {
        match run.state {
            RunState::Written(first) => self.block_event(first, kind, Access::Read),
            RunState::Hole | RunState::Unwritten(_) => (Event::Zero, Target::Zero),
        }
    }
}

/// Makes the pages past the end of the file raise SIGBUS.
fn mark_past_end(
    held: &mut Held<'_, level::Invalidate>,
    file: &FileDax,
    id: WindowId,
    pages: Range<u64>,
) -> Result<(), FaultError> {
    if pages.is_empty() {
        return Ok(());
    }
    let (windows, mut held) = file.windows.read(held);
    let window = windows.get(id).ok_or(FaultError::Gone)?;
    let (_streak, mut held) = window.lock.lock(&mut held);
    let becomes = Becomes::PastEnd;
    Ok(window.mmu.revoke(&mut held, pages, PrivateCopies::Keep, becomes)?)
}

impl Attaching<'_> {
    /// Takes one translation from the budget, unless the run continues the last one.
    fn spend(&mut self, run: &Run, to: Target) -> Option<()> {
        let continues = self.end == Some((run.page, to));
        if !continues {
            self.left = self.left.checked_sub(1)?;
        }
        self.end = Some((run.end(), to.after(run.pages)));
        Some(())
    }
}

impl Target {
    /// What the page after `pages` pages would be translated to in the same translation.
    fn after(self, pages: u64) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::Block { first, writable } => Self::Block { first: format::Block(first.0 + pages), writable },
        }
    }
}
