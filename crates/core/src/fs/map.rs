//! Mappings: the block map as the fault path sees it, and the operations on windows.
//!
//! A fault takes neither Freeze nor Inode: it may come from inside a copy that holds both. It holds `FaultGate` and Invalidate
//! shared, so blocks may appear and be completed under it, but nothing moves and nothing goes.
//!
//! Attaching takes Inode shared. So a write, which holds it exclusively, can rely on "nothing is mapped" for as long as it
//! copies. An attached window counts as a reference to the inode and as a direct view.

use std::ops::Range;

use order::sync::Arc;
use order::sync::atomic::Ordering::SeqCst;
use order::{Held, level};

use super::inode::{Inode, Node, Pinned};
use super::place::{lookup_in, offset_of};
use super::views::ViewKind;
use super::{Fs, record};
use crate::dax::{self, BlockMap, Eager, FaultError, Mmu, Served, WindowId};
use crate::error::FsError;
use crate::meta::extents::Mapped;
use crate::meta::{TxSize, extents};
use crate::types::{PAGE_BYTES, Run, RunState};

/// The block map of one inode.
pub(super) struct InodeMap<'f> {
    fs: &'f Fs,
    inode: &'f Inode,
}

impl Fs {
    pub(super) fn block_map<'f>(&'f self, inode: &'f Inode) -> InodeMap<'f> {
        InodeMap { fs: self, inode }
    }

    /// Adds a window onto a file and translates what its budget allows.
    ///
    /// The window counts as a reference to the file and as a direct view until `detach`.
    ///
    /// # Errors
    /// `Fs(Busy)` while the file is open through a cache; `Fs(Invalid)` for what is no regular file.
    pub fn attach(&self, node: &Node, window: Arc<dyn Mmu>, eager: Eager) -> Result<WindowId, FaultError> {
        self.demand_own(node).map_err(FaultError::Fs)?;
        node.inode.demand_file().map_err(FaultError::Fs)?;
        node.inode.enter_view(ViewKind::Direct).map_err(FaultError::Fs)?;
        let inode = &*node.inode;
        let attached = {
            let mut held = order::unlocked();
            let (_inode, mut held) = inode.lock.read(&mut held);
            let (_invalidate, mut held) = inode.dax.invalidate.read(&mut held);
            inode.mapped.store(true, SeqCst);
            self.dax.attach(&mut held, &inode.dax, &self.block_map(inode), window, eager)
        };
        match &attached {
            Ok(_) => {
                inode.refs.fetch_add(1, SeqCst);
            }
            Err(_) => inode.leave_view(ViewKind::Direct),
        }
        attached
    }

    /// Takes a window away; gives it back, to be dropped by the caller. Nothing if it is not attached.
    pub fn detach(&self, node: &Node, id: WindowId) -> Option<Arc<dyn Mmu>> {
        let window = self.dax.detach(&mut order::unlocked(), &node.inode.dax, id)?;
        node.inode.leave_view(ViewKind::Direct);
        drop(Pinned::counted(self, node.inode.clone()));
        self.work_off();
        Some(window)
    }

    /// Serves a fault of a window: looks the block up, allocates and zeroes it if the access needs one, translates.
    ///
    /// May be called from inside a copy that a read or write of this thread makes. If space waits for a sync, it syncs and
    /// tries once more. Locks: `FaultGate` and Invalidate (shared), Entry, and below.
    ///
    /// # Errors
    /// `PastEnd`, `NoSpace`, `Media`, `Gone` and others: see [`FaultError`].
    pub fn fault(&self, node: &Node, id: WindowId, page: u64, access: dax::Access) -> Result<Served, FaultError> {
        self.demand_own(node).map_err(FaultError::Fs)?;
        let first = self.fault_once(&node.inode, id, page, access);
        if !matches!(first, Err(FaultError::NoSpace { pending: true })) {
            return first;
        }
        self.meta.sync(&mut order::fault_root()).map_err(FaultError::Fs)?;
        self.fault_once(&node.inode, id, page, access)
    }

    fn fault_once(&self, inode: &Inode, id: WindowId, page: u64, access: dax::Access) -> Result<Served, FaultError> {
        let mut held = order::fault_root();
        let (_gate, mut held) = self.fault_gate.read(&mut held);
        self.dax.fault(&mut held, &inode.dax, &self.block_map(inode), id, page, access)
    }

    /// Makes what was stored into these pages through mappings durable, with the metadata to find it.
    ///
    /// # Errors
    /// As of `sync_node`.
    pub fn msync(&self, node: &Node, pages: Range<u64>) -> Result<(), FsError> {
        self.demand_own(node)?;
        if !self.may_write() {
            return Ok(());
        }
        let mut held = order::unlocked();
        self.dax.writeback(&mut held, &node.inode.dax, &self.block_map(&node.inode), pages)?;
        self.meta.sync(&mut held)
    }
}

impl BlockMap for InodeMap<'_> {
    fn size(&self, _held: &mut Held<'_, level::Invalidate>) -> u64 {
        self.inode.size()
    }

    fn get_block(&self, held: &mut Held<'_, level::Entry>, page: u64, pages_max: u64) -> Result<Run, FsError> {
        Ok(self.fs.run_at(held, self.inode, page)?.part(page, pages_max))
    }

    fn get_block_for_write(
        &self,
        held: &mut Held<'_, level::Entry>,
        page: u64,
        pages_max: u64,
    ) -> Result<Run, FsError> {
        let fs = self.fs;
        let there = fs.run_at(held, self.inode, page)?;
        self.inode.times.wrote(fs.now());
        if matches!(there.state, RunState::Written(_)) {
            return Ok(there.part(page, pages_max));
        }
        let run = fs.change(held, self.inode, TxSize::Small, |tx, held, rec| {
            // Only the fault that holds this entry changes these pages; others may have changed the tree around them.
            let first_page = fs.granule_start(page);
            let run = lookup_in(tx, rec, first_page)?;
            let last_page = fs.granule_end(page.saturating_add(pages_max)).min(fs.end_granule(record::size(rec)));
            let pages = first_page..run.end().min(last_page.max(fs.granule_end(page + 1)));
            match run.state {
                RunState::Written(_) => Ok(run),
                RunState::Unwritten(first) => {
                    fs.zero_blocks(offset_of(first), pages.end - pages.start);
                    extents::convert(tx, held, rec, pages.clone(), Mapped::Written)?;
                    Ok(Run { fresh: true, ..Run::written(first_page, pages.end - pages.start, first) })
                }
                RunState::Hole => {
                    let want = fs.want(tx, rec, &pages)?;
                    let blocks = tx.alloc(held, &want)?;
                    fs.zero_blocks(offset_of(blocks.first), u64::from(blocks.len));
                    extents::map_range(tx, held, rec, first_page, blocks, Mapped::Written)?;
                    Ok(Run { fresh: true, ..Run::written(first_page, u64::from(blocks.len), blocks.first) })
                }
            }
        })?;
        // Made written just now: all of it, for zero translations of every page of the granule must go.
        Ok(if run.fresh { run } else { run.part(page, pages_max) })
    }
}

impl Fs {
    fn zero_blocks(&self, offset: u64, pages: u64) {
        self.pool.zero(offset, pages * PAGE_BYTES);
        self.flush(offset, pages * PAGE_BYTES);
    }
}
