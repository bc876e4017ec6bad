//! Windows with private copies.
//!
//! All pages are anonymous memory. One that was read holds a copy of the block and is *clean*: the first
//! store to it traps. One that was stored to is the process's *own*. A clean page is given up by
//! dropping it, upon which it traps again in the same step; nothing can have been stored there.

use std::ops::Range;

use engine::dax::{Becomes, MmuError, PrivateCopies, Target};
use format::Block;
use sys::Errno;
use sys::uffd::{Filled, Stores};

use super::shared::mmu_error;
use super::state::{State, What};
use super::{PAGE, Window};

impl Window {
    pub(super) fn install_private(&self, pages: &Range<u64>, to: Target) -> Result<(), MmuError> {
        let mut state = self.state.leaf();
        for page in pages.clone() {
            let from = match to {
                Target::Block { first, .. } => Some(Block(first.0 + (page - pages.start))),
                Target::Zero => None,
            };
            self.fill(&mut state, page, from, Stores::Trapped)?;
        }
        Ok(())
    }

    pub(super) fn copy_page(&self, page: u64, from: Option<Block>) -> Result<(), MmuError> {
        let mut state = self.state.leaf();
        self.fill(&mut state, page, from, Stores::Allowed)
    }

    /// Fills a page with a copy, unless the process has its own there.
    fn fill(&self, state: &mut State, page: u64, from: Option<Block>, stores: Stores) -> Result<(), MmuError> {
        if state.own.contains(page) {
            return Ok(());
        }
        let one = page..page + 1;
        if state.clean.contains(page) {
            self.reservation.discard(self.bytes(&one)).map_err(mmu_error)?;
            state.clean.remove(&one);
        }
        if state.segments.at(page) != What::Trap {
            self.put_trap(&one).map_err(mmu_error)?;
            self.note(state, &one, What::Trap);
        }
        let mut bytes = [0; PAGE as usize];
        if let Some(block) = from {
            self.pool.read(block.0 * PAGE, &mut bytes);
        }
        match self.service.uffd().copy(self.addresses(&one).start, &bytes, stores) {
            Ok(Filled::All) => {}
            Ok(Filled::UpTo(_)) => return Err(MmuError::System(Errno::EXIST.raw_os_error())),
            Err(errno) => return Err(mmu_error(errno)),
        }
        match stores {
            Stores::Trapped => state.clean.insert(page),
            Stores::Allowed => state.own.insert(page),
        }
        Ok(())
    }

    pub(super) fn revoke_private(
        &self,
        pages: &Range<u64>,
        private: PrivateCopies,
        becomes: Becomes,
    ) -> Result<(), MmuError> {
        let mut state = self.state.leaf();
        state.epoch += 1;
        match (private, becomes) {
            (PrivateCopies::Drop, _) => self.drop_all(&mut state, pages, becomes),
            (PrivateCopies::Keep, Becomes::PastEnd) => {
                let gaps = state.own.gaps_within(pages);
                gaps.iter().try_for_each(|gap| self.drop_all(&mut state, gap, becomes))
            }
            (PrivateCopies::Keep, Becomes::Trap) => self.drop_clean(&mut state, pages),
        }
        .map_err(mmu_error)
    }

    /// Drops clean pages and own ones.
    fn drop_all(&self, state: &mut State, pages: &Range<u64>, becomes: Becomes) -> sys::Result<()> {
        let what = match becomes {
            Becomes::Trap => {
                self.put_trap(pages)?;
                What::Trap
            }
            Becomes::PastEnd => {
                self.reservation.past_end(self.bytes(pages))?;
                What::PastEnd
            }
        };
        state.clean.remove(pages);
        state.own.remove(pages);
        self.note(state, pages, what);
        Ok(())
    }

    /// Drops clean pages, and makes what raised SIGBUS trap.
    fn drop_clean(&self, state: &mut State, pages: &Range<u64>) -> sys::Result<()> {
        for run in state.clean.runs_within(pages) {
            self.reservation.discard(self.bytes(&run))?;
            state.clean.remove(&run);
        }
        for run in state.segments.runs_of(pages, |what| what != What::Trap) {
            self.put_trap(&run)?;
            self.note(state, &run, What::Trap);
        }
        Ok(())
    }
}
