//! The table of inodes in memory: finding them, and what happens when the last reference goes.
//!
//! The table has shards, each a leaf lock around a map from inode number to inode. References rise from 0 only under a
//! shard's lock, so the decision "nobody has it" and its consequence (out of the table, or dead) are one step.
//!
//! A record is read from `meta` with no shard lock held. In between, somebody else could put the inode in, change its
//! record and take it out again; each removal therefore moves the shard's epoch, and a reader who finds another epoch
//! than before reads the record again.
//!
//! An inode that is to be freed is marked dead under the shard lock and stays in the table until its slot is free on the
//! medium. So the number alone never leads to it, and a new inode in the same slot replaces it in the table.

use format::{Ino, InodeRecord};
use order::sync::Arc;
use order::sync::atomic::Ordering::SeqCst;
use order::{Mutex, level};

use super::Fs;
use super::inode::{Inode, Node, Pinned};
use super::record;
use crate::error::FsError;
use crate::meta::NumberMap;

const SHARDS: usize = 16;

#[derive(Default)]
struct Shard {
    inodes: NumberMap<Arc<Inode>>,
    epoch: u64,
}

impl Shard {
    fn holds(&self, inode: &Arc<Inode>) -> bool {
        self.inodes.get(&inode.ino.0).is_some_and(|found| Arc::ptr_eq(found, inode))
    }

    fn remove(&mut self, inode: &Arc<Inode>) {
        if self.holds(inode) {
            self.inodes.remove(&inode.ino.0);
            self.epoch += 1;
        }
    }
}

/// All inodes that someone refers to.
pub(super) struct InodeTable {
    shards: Vec<Mutex<level::InodeTable, Shard>>,
}

/// What is to be done when the last reference went.
enum Last {
    Nothing,
    Settle,
    Free,
}

impl InodeTable {
    pub(super) fn new() -> InodeTable {
        InodeTable { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, ino: Ino) -> &Mutex<level::InodeTable, Shard> {
        // Consecutive numbers lie in one inode block; mix so that they spread.
        let mixed = (ino.0 ^ (ino.0 >> 3)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        &self.shards[mixed as usize % SHARDS]
    }

    /// The inode with one more reference. `load` gives its record if it is not here.
    fn get(&self, ino: Ino, load: impl Fn() -> Result<InodeRecord, FsError>) -> Result<Arc<Inode>, FsError> {
        loop {
            let epoch = {
                let shard = self.shard(ino).leaf();
                if let Some(inode) = shard.inodes.get(&ino.0) {
                    return if inode.dead.load(SeqCst) {
                        Err(FsError::Stale)
                    } else {
                        inode.refs.fetch_add(1, SeqCst);
                        Ok(inode.clone())
                    };
                }
                shard.epoch
            };
            let rec = load()?;
            if record::nlink(&rec) == 0 {
                return Err(FsError::Stale); // an orphan that nobody has open is only waiting to be freed
            }
            let new = Arc::new(Inode::new(&rec)?);
            let mut shard = self.shard(ino).leaf();
            if shard.epoch == epoch && !shard.inodes.contains_key(&ino.0) {
                shard.inodes.insert(ino.0, new.clone());
                return Ok(new);
            }
        }
    }

    /// Puts a new inode in, with one reference. A dead one under the same number gives way.
    fn insert(&self, new: Arc<Inode>) -> Arc<Inode> {
        let mut shard = self.shard(new.ino).leaf();
        if let Some(there) = shard.inodes.get(&new.ino.0)
            && !there.dead.load(SeqCst)
        {
            there.refs.fetch_add(1, SeqCst);
            return there.clone();
        }
        shard.inodes.insert(new.ino.0, new.clone());
        new
    }

    /// Marks the inode dead if the caller's reference is the only one and no mapping left entries behind.
    pub(super) fn kill_if_sole(&self, inode: &Arc<Inode>) -> bool {
        let _shard = self.shard(inode.ino).leaf();
        let sole = inode.refs.load(SeqCst) == 1 && !inode.mapped.load(SeqCst);
        if sole {
            inode.dead.store(true, SeqCst);
        }
        sole
    }

    /// Takes `kill_if_sole` back.
    pub(super) fn revive(&self, inode: &Arc<Inode>) {
        let _shard = self.shard(inode.ino).leaf();
        inode.dead.store(false, SeqCst);
    }

    /// Takes an inode out.
    pub(super) fn remove(&self, inode: &Arc<Inode>) {
        self.shard(inode.ino).leaf().remove(inode);
    }

    fn last_reference_went(&self, inode: &Arc<Inode>, settle: bool) -> Last {
        let mut shard = self.shard(inode.ino).leaf();
        if inode.refs.load(SeqCst) > 0 || inode.dead.load(SeqCst) || !shard.holds(inode) {
            Last::Nothing
        } else if inode.unlinked.load(SeqCst) {
            inode.dead.store(true, SeqCst);
            Last::Free
        } else if settle && (inode.times.pending() || inode.mapped.load(SeqCst)) {
            inode.refs.fetch_add(1, SeqCst);
            Last::Settle
        } else {
            shard.remove(inode);
            Last::Nothing
        }
    }

    /// All inodes, each with one more reference, for work on every one of them.
    fn all(&self) -> Vec<Arc<Inode>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.leaf();
            for inode in shard.inodes.values().filter(|inode| !inode.dead.load(SeqCst)) {
                inode.refs.fetch_add(1, SeqCst);
                all.push(inode.clone());
            }
        }
        all
    }
}

impl Fs {
    /// The node with this number.
    ///
    /// # Errors
    /// `Stale` if there is none or its last name is gone and nobody has it open.
    pub fn node(self: &Arc<Self>, ino: Ino) -> Result<Node, FsError> {
        let node = self.pinned(ino)?.into_node(self);
        self.work_off();
        Ok(node)
    }

    /// The node with this number, if it is still the one of that generation.
    ///
    /// # Errors
    /// `Stale` if there is none or another.
    pub fn node_of_generation(self: &Arc<Self>, ino: Ino, generation: u32) -> Result<Node, FsError> {
        let node = self.node(ino)?;
        if node.generation() == generation { Ok(node) } else { Err(FsError::Stale) }
    }

    /// The inode with this number, for use inside an operation; takes leaves only.
    pub(super) fn pinned(&self, ino: Ino) -> Result<Pinned<'_>, FsError> {
        let inode = self.table.get(ino, || self.meta.inode(ino).map(|rec| *rec))?;
        Ok(Pinned::counted(self, inode))
    }

    /// The inode of a record that was just committed.
    pub(super) fn pin_new(&self, inode: Inode) -> Pinned<'_> {
        Pinned::counted(self, self.table.insert(Arc::new(inode)))
    }

    /// Every inode in memory.
    pub(super) fn pin_all(&self) -> Vec<Pinned<'_>> {
        self.table.all().into_iter().map(|inode| Pinned::counted(self, inode)).collect()
    }

    /// The last reference went while locks were held: remember to call `release`.
    pub(super) fn release_later(&self, inode: Arc<Inode>) {
        self.released.leaf().push(inode);
        self.released_any.store(true, SeqCst);
    }

    /// Releases what operations let go while they held locks. Call with no lock held.
    pub(super) fn work_off(&self) {
        while self.released_any.load(SeqCst) {
            let batch = {
                let mut released = self.released.leaf();
                self.released_any.store(false, SeqCst);
                std::mem::take(&mut *released)
            };
            for inode in &batch {
                self.release(inode);
            }
        }
    }

    /// The last reference went: log its times and drop its entries, or free it if it has no name, and forget it. Call with
    /// no lock held.
    pub(super) fn release(&self, inode: &Arc<Inode>) {
        let mut settle = self.may_write();
        loop {
            match self.table.last_reference_went(inode, settle) {
                Last::Nothing => return,
                Last::Settle => {
                    // Once: after an error, or a change in between, what is left is lost with the memory.
                    settle = self.log_times(inode).and_then(|()| self.drop_entries(inode)).is_ok();
                    if inode.refs.fetch_sub(1, SeqCst) != 1 {
                        return;
                    }
                }
                Last::Free => {
                    if let Err(error) = self.reclaim(inode) {
                        // It stays on the orphan list: the next open frees it.
                        tracing::warn!(ino = inode.ino.0, %error, "an unlinked inode could not be freed");
                    }
                    self.table.remove(inode);
                    return;
                }
            }
        }
    }
}
