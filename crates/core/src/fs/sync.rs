//! Making things durable, and standing still.
//!
//! Stores through mappings are flushed by `dax` where nobody else knows of them (cpu-flush pools); the metadata's `sync`
//! covers everything else. Times that are only in memory are logged first when all of a file is asked for.

use order::sync::Arc;

use super::Fs;
use super::inode::{Inode, Node};
use crate::dax::Invalidation;
use crate::error::FsError;
use crate::meta::TxSize;
use crate::types::SyncKind;
use order::sync::atomic::Ordering::SeqCst;

impl Fs {
    /// Makes a file durable: what was written or stored before the call, and the metadata to find it.
    ///
    /// # Errors
    /// `Io` if the pool could not be synced: it is read-only from then on.
    pub fn sync_node(&self, node: &Node, kind: SyncKind) -> Result<(), FsError> {
        self.demand_own(node)?;
        if !self.may_write() {
            return self.demand_sound();
        }
        if kind == SyncKind::All && node.inode.times.pending() {
            self.operation(|| self.log_times(&node.inode))?;
        }
        let mut held = order::unlocked();
        // Without a window since the inode came into memory there is nothing that only a mapping knows of.
        if node.inode.mapped.load(SeqCst) {
            self.dax.writeback(&mut held, &node.inode.dax, &self.block_map(&node.inode), 0..u64::MAX)?;
        }
        self.meta.sync(&mut held)
    }

    /// Makes everything durable that was done before the call.
    ///
    /// # Errors
    /// As of `sync_node`.
    pub fn sync(&self) -> Result<(), FsError> {
        if !self.may_write() {
            return self.demand_sound();
        }
        self.operation(|| {
            for inode in self.pin_all() {
                if inode.times.pending() {
                    self.log_times(&inode)?;
                }
            }
            Ok(())
        })?;
        self.operation(|| {
            for ino in self.dax.dirty_files() {
                match self.pinned(ino) {
                    Ok(inode) => {
                        let map = self.block_map(&inode);
                        self.dax.writeback(&mut order::unlocked(), &inode.dax, &map, 0..u64::MAX)?;
                    }
                    Err(FsError::Stale | FsError::NotFound) => {} // gone meanwhile, and its blocks with it
                    Err(error) => return Err(error),
                }
            }
            self.meta.sync(&mut order::unlocked())
        })
    }

    /// Syncs, and keeps everything as it is while `work` runs. `work` must not change files: it would wait for itself.
    ///
    /// Locks: Freeze and `FaultGate` (exclusive).
    ///
    /// # Errors
    /// As of `sync`.
    pub fn frozen<R>(&self, work: impl FnOnce() -> R) -> Result<R, FsError> {
        self.sync()?;
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.write(&mut held);
        let (_gate, mut held) = self.fault_gate.write(&mut held);
        self.meta.sync(&mut held)?;
        Ok(work())
    }

    /// Logs the times that are only in memory. Call with no lock held.
    pub(super) fn log_times(&self, inode: &Inode) -> Result<(), FsError> {
        if !inode.times.pending() {
            return Ok(());
        }
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.read(&mut held);
        self.change(&mut held, inode, TxSize::Small, |_, _, _| Ok(()))
    }

    /// Drops what mappings left behind, flushed, before the inode leaves memory. Call with no lock held.
    pub(super) fn drop_entries(&self, inode: &Arc<Inode>) -> Result<(), FsError> {
        if !inode.mapped.load(SeqCst) {
            return Ok(());
        }
        let mut held = order::unlocked();
        let (_inode, mut held) = inode.lock.write(&mut held);
        let (_invalidate, mut held) = inode.dax.invalidate.write(&mut held);
        if inode.dax.is_mapped(&mut held) {
            return Ok(()); // attached again meanwhile
        }
        self.dax.invalidate(&mut held, &inode.dax, &self.block_map(inode), 0..u64::MAX, Invalidation::MOVE)?;
        inode.mapped.store(false, SeqCst);
        Ok(())
    }

    /// A pool that is open for reading has nothing to sync; one that has shut down cannot.
    fn demand_sound(&self) -> Result<(), FsError> {
        match self.demand_writable() {
            Err(FsError::ReadOnly) => Ok(()),
            other => other,
        }
    }
}
