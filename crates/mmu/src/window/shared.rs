//! Windows that show the file itself.
//!
//! Each operation holds the window's leaf lock over the system call and the record of it, so that
//! an eviction, which no engine lock orders, never comes between the two.

use std::ops::Range;

use engine::dax::{Becomes, MmuError, Target, WindowKind, Writable};
use format::Block;
use sys::Errno;
use sys::window::{Sharing, TrapMode};

use super::state::{State, What};
use super::{PAGE, REGION, Window, widened};

impl Window {
    pub(super) fn install_shared(&self, pages: &Range<u64>, to: Target) -> Result<(), MmuError> {
        let mut state = self.state.leaf();
        let done = match to {
            Target::Block { first, writable } => self.install_block(&mut state, pages, first, writable),
            Target::Zero => self.install_zero(&mut state, pages),
        };
        self.stamp(&mut state, pages);
        done
    }

    fn install_block(
        &self,
        state: &mut State,
        pages: &Range<u64>,
        first: Block,
        writable: Writable,
    ) -> Result<(), MmuError> {
        if self.kind == WindowKind::SharedWrite && writable == Writable::No {
            // A store to a read-only file mapping is SIGSEGV and no fault: `Window::new` keeps such pools out.
            return Err(MmuError::System(Errno::OPNOTSUPP.raw_os_error()));
        }
        if state.segments.is(pages, What::Block(first)) {
            return Ok(());
        }
        let pages_all = widened(pages, self.granule);
        let first = Block(first.0 - (pages.start - pages_all.start));
        let source = self.pool.window_source().ok_or(MmuError::Gone)?;
        self.reservation
            .map_file(
                self.bytes(&pages_all),
                source.fd,
                source.base + first.0 * PAGE,
                self.protection(),
                Sharing::Shared,
            )
            .map_err(mmu_error)?;
        self.note(state, &pages_all, What::Block(first));
        Ok(())
    }

    fn install_zero(&self, state: &mut State, pages: &Range<u64>) -> Result<(), MmuError> {
        if state.segments.is(pages, What::Zero) {
            return Ok(());
        }
        self.free_huge(state, pages).map_err(mmu_error)?;
        self.reservation
            .trap(self.service.uffd(), self.bytes(pages), TrapMode::HoleReads, self.protection())
            .map_err(mmu_error)?;
        self.note(state, pages, What::Zero);
        Ok(())
    }

    /// Makes the huge translations that `pages` would cut traps, since they go as a whole or not at all.
    fn free_huge(&self, state: &mut State, pages: &Range<u64>) -> sys::Result<()> {
        if self.granule == 1 {
            return Ok(());
        }
        for run in state.segments.runs_of(&widened(pages, self.granule), |what| matches!(what, What::Block(_))) {
            self.put_trap(&run)?;
            self.note(state, &run, What::Trap);
        }
        Ok(())
    }

    pub(super) fn revoke_shared(&self, pages: &Range<u64>, becomes: Becomes) -> Result<(), MmuError> {
        let mut state = self.state.leaf();
        state.epoch += 1;
        let what = match becomes {
            Becomes::Trap => What::Trap,
            Becomes::PastEnd => What::PastEnd,
        };
        if state.segments.is(pages, what) {
            return Ok(());
        }
        self.free_huge(&mut state, pages).map_err(mmu_error)?;
        match becomes {
            Becomes::Trap => self.put_trap(pages),
            Becomes::PastEnd => self.reservation.past_end(self.bytes(pages)),
        }
        .map_err(mmu_error)?;
        self.note(&mut state, pages, what);
        Ok(())
    }

    /// Stores to read-only translations of files cannot be trapped, so what is writable is revoked.
    pub(super) fn write_protect_shared(&self, pages: &Range<u64>) -> Result<(), MmuError> {
        if self.kind == WindowKind::SharedRead {
            return Ok(());
        }
        let mut state = self.state.leaf();
        let pages = widened(pages, self.granule);
        for run in state.segments.runs_of(&pages, |what| matches!(what, What::Block(_))) {
            self.put_trap(&run).map_err(mmu_error)?;
            self.note(&mut state, &run, What::Trap);
        }
        Ok(())
    }

    /// Fills the page tables of pages that are translated to blocks, all at once: a tenth of what it costs the program to
    /// touch them one by one. Does nothing if some were revoked meanwhile: the kernel would fault on our behalf.
    pub(super) fn touch(&self, pages: &Range<u64>) {
        let state = self.state.leaf();
        if state.segments.pieces(pages).all(|(_, what)| matches!(what, What::Block(_))) {
            // It is an offer. What is not filled is filled by the program's own access.
            let _ = self.reservation.populate(self.bytes(pages), self.protection());
        }
    }

    /// Notes that regions were translated now, and queues those that are not queued yet for eviction.
    fn stamp(&self, state: &mut State, pages: &Range<u64>) {
        for region in pages.start / REGION..pages.end.div_ceil(REGION) {
            let turn = self.budget.next_turn();
            if state.turns.insert(region, turn).is_none() {
                state.unqueued.push((region, turn));
            }
        }
    }

    /// Makes the translations of a region traps if it was not translated after `turn`.
    ///
    /// Gives the later turn otherwise. Needs no lock of the engine: an absent translation only faults.
    pub(super) fn evict(&self, region: u64, turn: u64) -> Option<u64> {
        let mut state = self.state.leaf();
        let last = state.turns.get(&region).copied()?;
        if last != turn {
            return Some(last);
        }
        state.turns.remove(&region);
        let first = region * REGION;
        let pages = first.max(self.pages.start)..(first + REGION).min(self.pages.end);
        for run in state.segments.runs_of(&pages, |what| matches!(what, What::Zero | What::Block(_))) {
            if self.put_trap(&run).is_ok() {
                self.note(&mut state, &run, What::Trap);
            }
        }
        None
    }
}

/// Sorts a kernel error.
pub(super) fn mmu_error(errno: Errno) -> MmuError {
    match errno {
        Errno::NOMEM => MmuError::NoMemory,
        other => MmuError::System(other.raw_os_error()),
    }
}
