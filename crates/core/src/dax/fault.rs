//! A page fault, from the question to the translation.
//!
//! [`Dax::fault`] reads from top to bottom in the order of the locks. What each step holds is what
//! the functions above it hold, and nothing outlives the function that took it:
//!
//! 1. `Invalidate`, shared: the size and the block map cannot shrink while the fault uses them.
//! 2. The window and the size are looked at.
//! 3. `Entry`: from here on the region is ours.
//! 4. The block map is asked, for the first time. For a store to a hole or an unwritten block,
//!    translations of zeros go from all windows, and only then the file system allocates and zeroes, in
//!    one transaction, which ends before step 5. In the other order a write call could find the block,
//!    copy into it and return, while a window still showed zeros.
//! 5. `ReverseMap`, shared, and each `Window`: what else is stale goes from all other windows;
//!    the slot is changed (dirty before writable); the translation is installed.
//!
//! When a step fails: before 4 nothing has happened. In 4, if zeros could not be revoked, the map is as it
//! was and the slot still names them; if the allocation fails, the file system undoes its own, or the block
//! stays, written with zeros, as if the store had come and stored a zero. In 5, if a stale translation
//! could not be revoked, the slot still names it and nobody was given a way to store to the block; if
//! the installation fails, what it left is revoked, or else the slot names it as suspect. An absent
//! translation only faults again. The locks are guards and a closure, released on every path.

use std::ops::Range;

use format::Block;
use order::{Held, level};
use thiserror::Error;

use super::Dax;
use super::bits::{Bits512, REGION_PAGES};
use super::block_map::{BlockMap, intersection};
use super::counters::FaultKind;
use super::mmu::{Becomes, MmuError, PrivateCopies, Target, WindowKind, Writable};
use super::state::{Event, Shape, Slot, Span};
use super::windows::{Ahead, FileDax, Window, WindowId};
use super::writeback::Tracking;
use crate::error::FsError;
use crate::types::{PAGE_BYTES, Run, RunState};

/// What the faulting instruction wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store through a shared window.
    Write,
    /// A store through a private window.
    PrivateWrite,
}

/// A fault that was served: the access goes through when it is tried again, unless something took
/// the translation away meanwhile, in which case it faults again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The pages that were translated, the faulting one among them.
    pub pages: Range<u64>,
    /// What the fault met.
    pub kind: FaultKind,
}

/// A fault that cannot be served.
#[derive(Clone, Debug, Error)]
pub enum FaultError {
    /// The file does not reach there: SIGBUS.
    #[error("access past the end of the file")]
    PastEnd,
    /// No block for a store to a hole: SIGBUS.
    #[error("no space left in the pool")]
    NoSpace {
        /// Freed blocks wait for a sync: sync, then try once more.
        pending: bool,
    },
    /// The memory under the page is lost: SIGBUS.
    #[error("media error at pool offset {offset}")]
    Media {
        /// Byte offset in the pool.
        offset: u64,
    },
    /// A store through a window that only reads, or a shared store through a private one: SIGSEGV.
    #[error("the window does not allow this access")]
    Denied,
    /// The window was detached: the mapping is being taken down.
    #[error("the window is gone")]
    Gone,
    /// The file system failed.
    #[error(transparent)]
    Fs(FsError),
    /// The translation could not be changed.
    #[error(transparent)]
    Mmu(#[from] MmuError),
}

impl From<FsError> for FaultError {
    fn from(error: FsError) -> Self {
        match error {
            FsError::NoSpace { pending } => Self::NoSpace { pending },
            FsError::Media { offset } => Self::Media { offset },
            FsError::PastEnd => Self::PastEnd,
            other => Self::Fs(other),
        }
    }
}

/// A fault, as far as it is known before the entry is locked. All of it is about the window, nothing
/// about blocks.
#[derive(Debug)]
struct Request {
    window: WindowId,
    kind: WindowKind,
    access: Access,
    page: u64,
    ahead: Ahead,
    /// What the window covers.
    covered: Range<u64>,
    /// Where it may translate: inside the window, the region and the file.
    within: Range<u64>,
}

/// The answer of the block map, put as what to do with the entry and the translation.
#[derive(Clone, Debug)]
struct Plan {
    /// What is translated for the faulting window.
    pages: Range<u64>,
    /// What the answer is about: more than `pages` only if a unit of 2 MiB was just written around them.
    about: Range<u64>,
    event: Event,
    span: Span,
    to: Target,
    kind: FaultKind,
}

impl Dax {
    /// Serves a fault on `page` of `file` through `window`.
    ///
    /// Takes and releases `Invalidate` (shared), `Entry`, what the block map takes, `ReverseMap`
    /// (shared) and `Window`. May be called for the same page by any number of threads; the caller then
    /// tries the access again.
    ///
    /// # Errors
    /// See [`FaultError`]. The state is consistent after every one of them, no lock is held, and the
    /// fault may be tried again.
    pub fn fault(
        &self,
        held: &mut Held<'_, level::FaultGate>,
        file: &FileDax,
        map: &dyn BlockMap,
        window: WindowId,
        page: u64,
        access: Access,
    ) -> Result<Served, FaultError> {
        let outcome = self.serve(held, file, map, window, page, access);
        match &outcome {
            Ok(served) => {
                self.counters.fault(served.kind);
                let pages = served.pages.end - served.pages.start;
                self.counters.pages_served.add(pages);
            }
            Err(FaultError::PastEnd) => self.counters.fault(FaultKind::PastEnd),
            Err(_) => self.counters.failed.add(1),
        }
        outcome
    }

    fn serve(
        &self,
        held: &mut Held<'_, level::FaultGate>,
        file: &FileDax,
        map: &dyn BlockMap,
        window: WindowId,
        page: u64,
        access: Access,
    ) -> Result<Served, FaultError> {
        let (_shared, mut held) = file.invalidate.read(held);

        let file_pages = map.size(&mut held).div_ceil(PAGE_BYTES);
        let unit_pages = self.pool.page_size() / PAGE_BYTES;
        let request = Request::new(&mut held, file, window, page, access, file_pages)?.of_whole_units(unit_pages);

        let key = file.key(page / REGION_PAGES);
        self.entries.with(&mut held, key, |slot, held| {
            if access == Access::PrivateWrite {
                return copy_private(held, file, map, &request);
            }
            let plan = match self.plan_huge(held, map, slot, &request)? {
                Some(plan) => plan,
                None => self.plan(held, file, map, slot, &request)?,
            };
            self.publish(held, file, slot, &request, &plan)?;
            Ok(Served { pages: plan.pages, kind: plan.kind })
        })
    }

    /// Asks the block map for the page and what follows it.
    fn plan(
        &self,
        held: &mut Held<'_, level::Entry>,
        file: &FileDax,
        map: &dyn BlockMap,
        slot: &mut Slot,
        request: &Request,
    ) -> Result<Plan, FaultError> {
        let page = request.page;
        let ahead = |pages: u64| pages.min(request.within.end - page);
        let run = map.get_block(held, page, ahead(request.ahead.pages))?;
        let (run, kind) = match (request.access, run.state) {
            (Access::Read, RunState::Written(_)) => (run, FaultKind::WrittenRead),
            (Access::Read, _) => (run, FaultKind::HoleRead),
            (_, RunState::Written(_)) => (run, FaultKind::WrittenWrite),
            (_, RunState::Unwritten(_)) => {
                self.uncover(held, file, slot, &(page..run.end()))?;
                let run = map.get_block_for_write(held, page, run.pages)?;
                (run, FaultKind::UnwrittenWrite)
            }
            (_, RunState::Hole) => {
                let pages = ahead(request.ahead.new_pages).min(run.pages);
                self.uncover(held, file, slot, &(page..page + pages))?;
                let run = map.get_block_for_write(held, page, pages)?;
                (run, FaultKind::HoleWrite)
            }
        };
        self.plan_for(request, &run, kind)
    }

    /// Takes translations of zeros away from all windows, the faulting one among them, before a block can
    /// appear behind them. Where blocks come in units of 2 MiB, one appears behind the whole region.
    fn uncover(
        &self,
        held: &mut Held<'_, level::Entry>,
        file: &FileDax,
        slot: &mut Slot,
        pages: &Range<u64>,
    ) -> Result<(), FaultError> {
        let region = pages.start / REGION_PAGES;
        let units = self.pool.page_size() > PAGE_BYTES;
        let bits = if units { Bits512::ALL } else { Bits512::of_region(region, pages) };
        let zeros = slot.pages().zero.common(&bits);
        for run in zeros.runs() {
            let first = region * REGION_PAGES;
            self.counters.revocations.add(1);
            file.revoke(held, &(first + run.start..first + run.end), PrivateCopies::Keep, Becomes::Trap)?;
        }
        // What may be translated to a block as well stays named.
        let gone = zeros.without(&slot.pages().present);
        if !gone.is_empty() {
            let span = if gone == Bits512::ALL { Span::Region } else { Span::Pages };
            slot.apply(Event::Drop, span, &gone);
        }
        Ok(())
    }

    /// If the region is one piece of 2 MiB, and nothing of it is translated page by page, the plan to
    /// translate it whole.
    fn plan_huge(
        &self,
        held: &mut Held<'_, level::Entry>,
        map: &dyn BlockMap,
        slot: &Slot,
        request: &Request,
    ) -> Result<Option<Plan>, FaultError> {
        let whole = request.within.end - request.within.start == REGION_PAGES;
        if !whole || slot.shape() == Shape::Pages {
            return Ok(None);
        }
        let run = map.get_block(held, request.within.start, REGION_PAGES)?;
        let kind = match (request.access, run.state) {
            _ if span_of(&run) == Span::Pages => return Ok(None),
            (Access::Read, RunState::Written(_)) => FaultKind::WrittenRead,
            (Access::Read, _) => FaultKind::HoleRead,
            (_, RunState::Written(_)) => FaultKind::WrittenWrite,
            (_, _) => return Ok(None),
        };
        self.plan_for(request, &run, kind).map(Some)
    }

    fn plan_for(&self, request: &Request, whole: &Run, kind: FaultKind) -> Result<Plan, FaultError> {
        let pages = intersection(&(whole.page..whole.end()), &request.within);
        let run = &whole.part(pages.start, pages.end - pages.start);
        let (event, to) = match (run.state, request.access) {
            (RunState::Written(first), access) => self.block_event(first, request.kind, access),
            (_, Access::Read) => (Event::Zero, Target::Zero),
            _ => {
                return Err(FaultError::Fs(FsError::Invalid("the block map gave no block for a store")));
            }
        };
        Ok(Plan { pages, about: whole.page..whole.end(), event, span: span_of(run), to, kind })
    }

    /// Whether a block becomes writable, and dirty: in marks mode the two are one.
    pub(super) fn block_event(&self, first: Block, kind: WindowKind, access: Access) -> (Event, Target) {
        let (event, writable) = match (self.tracking, kind, access) {
            (Tracking::Marks, WindowKind::SharedWrite, Access::Write) => (Event::Dirty, Writable::Yes),
            (Tracking::Kernel, WindowKind::SharedWrite, _) => (Event::Map, Writable::Yes),
            _ => (Event::Map, Writable::No),
        };
        (event, Target::Block { first, writable })
    }

    /// Makes the plan true: for all windows, the slot, and the faulting window.
    fn publish(
        &self,
        held: &mut Held<'_, level::Entry>,
        file: &FileDax,
        slot: &mut Slot,
        request: &Request,
        plan: &Plan,
    ) -> Result<(), FaultError> {
        let region = request.page / REGION_PAGES;
        let bits = Bits512::of_region(region, &plan.pages);
        let stale = slot.stale(plan.event, plan.span, &Bits512::of_region(region, &plan.about));

        let (windows, mut held) = file.windows.read(held);
        for run in stale.runs() {
            let first = region * REGION_PAGES;
            let pages = first + run.start..first + run.end;
            self.counters.revocations.add(1);
            windows.each_over(&mut held, &pages, Some(request.window), |window, part, held| {
                window.mmu.revoke(held, part, PrivateCopies::Keep, Becomes::Trap)
            })?;
        }

        let window = windows.get(request.window).ok_or(FaultError::Gone)?;
        let (mut streak, mut held) = window.lock.lock(&mut held);
        slot.apply(plan.event, plan.span, &bits);
        install(&mut held, window, slot, &bits, plan)?;
        streak.served(request.ahead, plan.pages.end);
        if plan.span == Span::Region {
            self.counters.huge.add(1);
        }
        Ok(())
    }
}

impl Request {
    fn new(
        held: &mut Held<'_, level::Invalidate>,
        file: &FileDax,
        id: WindowId,
        page: u64,
        access: Access,
        file_pages: u64,
    ) -> Result<Self, FaultError> {
        let (windows, mut held) = file.windows.read(held);
        let window = windows.get(id).ok_or(FaultError::Gone)?;
        let kind = window.mmu.kind();
        let covered = window.mmu.pages();
        let allowed = match access {
            Access::Read => true,
            Access::Write => kind == WindowKind::SharedWrite,
            Access::PrivateWrite => kind == WindowKind::Private,
        };
        if !allowed || !covered.contains(&page) {
            return Err(FaultError::Denied);
        }
        if page >= file_pages {
            return Err(FaultError::PastEnd);
        }
        let first = page / REGION_PAGES * REGION_PAGES;
        let region = first..(first + REGION_PAGES).min(file_pages);
        let (streak, _held) = window.lock.lock(&mut held);
        let (ahead, within) = (streak.ahead(page), intersection(&covered, &region));
        Ok(Self { window: id, kind, access, page, ahead, covered, within })
    }

    /// Where the pool is translated 2 MiB at a time, a fault of a shared window is about the whole region, up to its end
    /// even if the file ends before: its pages have one state, and a translation of one is a translation of
    /// all, so stale zeros must go for all of them.
    fn of_whole_units(mut self, unit_pages: u64) -> Self {
        if unit_pages > 1 && self.kind != WindowKind::Private {
            let first = self.page / REGION_PAGES * REGION_PAGES;
            self.within = intersection(&self.covered, &(first..first + REGION_PAGES));
            self.page = self.within.start;
            self.ahead = Ahead { pages: REGION_PAGES, new_pages: REGION_PAGES };
        }
        self
    }
}

/// Whether a run is a region in one piece; a block must then be aligned as well.
pub(super) fn span_of(run: &Run) -> Span {
    let aligned = match run.state {
        RunState::Hole | RunState::Unwritten(_) => true,
        RunState::Written(first) => first.0.is_multiple_of(REGION_PAGES),
    };
    let whole = run.pages == REGION_PAGES && run.page.is_multiple_of(REGION_PAGES);
    if whole && aligned { Span::Region } else { Span::Pages }
}

/// Installs the translation; if that fails, sees to it that the slot names whatever may stand there.
fn install(
    held: &mut Held<'_, level::Window>,
    window: &Window,
    slot: &mut Slot,
    bits: &Bits512,
    plan: &Plan,
) -> Result<(), MmuError> {
    let Err(error) = window.mmu.install(held, plan.pages.clone(), plan.to) else {
        return Ok(());
    };
    let pages = plan.pages.clone();
    let undone = window.mmu.revoke(held, pages, PrivateCopies::Keep, Becomes::Trap);
    if undone.is_err() {
        slot.suspect(bits);
    }
    Err(error)
}

/// Serves a store through a private window: a copy of the process's own.
///
/// The block is looked up and copied under one hold of `Invalidate` and `Entry`, so truncate comes
/// before (and the copy is of what it left) or after (and drops the copy), never between. The slot
/// does not change: no translation of the file's block appears.
fn copy_private(
    held: &mut Held<'_, level::Entry>,
    file: &FileDax,
    map: &dyn BlockMap,
    request: &Request,
) -> Result<Served, FaultError> {
    let page = request.page;
    let from = match map.get_block(held, page, 1)?.state {
        RunState::Written(block) => Some(block),
        RunState::Hole | RunState::Unwritten(_) => None,
    };
    let (windows, mut held) = file.windows.read(held);
    let window = windows.get(request.window).ok_or(FaultError::Gone)?;
    let (_streak, mut held) = window.lock.lock(&mut held);
    window.mmu.copy_private(&mut held, page, from)?;
    Ok(Served { pages: page..page + 1, kind: FaultKind::PrivateCopy })
}
