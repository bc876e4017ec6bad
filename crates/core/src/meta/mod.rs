//! Metadata: a private view, transactions, a journal, trees, allocation, recovery.
//!
//! The pool's metadata is never changed in place by an operation. It lives in a *view* in memory (`view`); an operation
//! gathers its changes in a *transaction* (`tx`), whose commit appends one redo record to the *journal* (`journal`) and then
//! publishes the changes to the view. Now and then a *checkpoint* (`checkpoint`) writes what changed to its place and
//! empties the journal. After a crash *recovery* replays the journal into the view (`recovery`).
//!
//! On top of that: *trees* whose roots lie in inode records (`tree`), the two things they hold, *extents* and *names*
//! (`extents`, `dir`), and the *allocator* of blocks and inode slots (`alloc`).
//!
//! Locks: a transaction holds `Transaction` shared; the allocator takes `AllocGroup`; a commit takes `JournalTail`; all else
//! are leaves, held for a few instructions. `ExtentMap` of an inode is the caller's and guards the inode's record and nodes.
//!
//! Errors: what a hostile or damaged image says becomes `Damaged` or `Inconsistent`. A sync that fails, or a checkpoint that
//! breaks off, shuts the pool down: from then on every change answers `Shutdown`, reading goes on.

pub(crate) mod alloc;
mod checkpoint;
mod diff;
pub mod dir;
pub mod extents;
mod journal;
mod make;
mod media;
mod record;
mod recovery;
#[cfg(test)]
mod tests;
pub mod tree;
mod tx;
mod view;
mod work;

use std::collections::BTreeSet;

use order::sync::atomic::{AtomicBool, Ordering};
use order::sync::{Arc, OnceLock};
use order::{Before, Held, Mutex, RwLock, level};
use pool::Pool;

pub use self::tree::NodeStore;
pub use self::tx::{Align, BlockRun, Purpose, Reserved, Seq, Tx, TxSize, Want};
pub use self::view::Node;
pub(crate) use self::view::{NumberMap, NumberSet};
pub use crate::types::{Access, MakeOptions};
pub use format::{Block, Geometry, Ino, InodeRecord, KIND_DIRECTORY, KIND_EXTENTS};

use self::alloc::{Context, Groups};
use self::checkpoint::Ending;
use self::journal::Journal;
use self::tx::Orphan;
use self::view::Cache;
use self::work::Works;
use crate::error::FsError;

/// Tree nodes kept in memory, about: 128 MiB.
const NODES_MAX: usize = 32_768;
/// Inode records kept in memory, about: 64 MiB.
const INODES_MAX: usize = 131_072;

/// What opening a pool found to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Journal records replayed; 0 after a clean close.
    pub records: u64,
    /// Inodes that had no name when the pool was last in use: to be freed.
    pub orphans: Vec<Ino>,
}

/// Space in blocks of 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaStatfs {
    /// All that files and metadata can use.
    pub blocks: u64,
    /// Not in use. Blocks that wait for a sync count as free.
    pub free_blocks: u64,
    /// Free, without those kept for metadata.
    pub available_blocks: u64,
    /// Inodes in use.
    pub inodes_used: u64,
    /// 4096.
    pub block_bytes: u32,
}

/// An open pool's metadata.
pub struct Meta {
    pool: Arc<dyn Pool>,
    geometry: Geometry,
    identity: media::Identity,
    access: Access,
    nodes: Cache<Node>,
    inodes: Cache<InodeRecord>,
    groups: Groups,
    journal: Journal,
    works: Works,
    transaction: RwLock<level::Transaction, ()>,
    orphans: Mutex<level::OrphanSet, BTreeSet<Ino>>,
    closed: AtomicBool,
    down: OnceLock<&'static str>,
}

impl std::fmt::Debug for Meta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meta").field("pool", &self.pool.name()).finish_non_exhaustive()
    }
}

impl Meta {
    /// Makes a pool empty: superblock, journal, groups, a root directory. What was in it is lost.
    pub fn make(pool: &dyn Pool, options: &MakeOptions) -> Result<(), FsError> {
        make::make(pool, options)
    }

    /// Opens a pool and recovers it. For reading only, recovery stays in memory.
    pub fn open(pool: Arc<dyn Pool>, access: Access) -> Result<(Arc<Meta>, Recovered), FsError> {
        Meta::open_with(pool, access, NODES_MAX, INODES_MAX)
    }

    fn open_with(
        pool: Arc<dyn Pool>,
        access: Access,
        nodes_max: usize,
        inodes_max: usize,
    ) -> Result<(Arc<Meta>, Recovered), FsError> {
        let (identity, geometry, openable) = media::read_superblock(&*pool)?;
        if access == Access::ReadWrite && openable == format::Openable::ReadOnly {
            return Err(FsError::NotSupported("writing a pool with features of a newer version"));
        }
        let ring = media::ring(&geometry);
        let groups = Groups::new(&geometry);
        let (nodes, inodes) = (Cache::new(nodes_max), Cache::new(inodes_max));
        let found = recovery::run(
            &recovery::Target {
                pool: &*pool,
                geometry: &geometry,
                uuid: identity.uuid,
                groups: &groups,
                nodes: &nodes,
                inodes: &inodes,
            },
            ring,
        )?;
        let orphans: Vec<Ino> = found.orphans.iter().copied().collect();
        let journal = Journal::new(ring, identity.uuid, found.header, found.resume);
        let meta = Arc::new(Meta {
            pool,
            geometry,
            identity,
            access,
            nodes,
            inodes,
            groups,
            journal,
            works: Works::new(),
            transaction: RwLock::new(()),
            orphans: Mutex::new(found.orphans),
            closed: AtomicBool::new(false),
            down: OnceLock::new(),
        });
        if access == Access::ReadWrite {
            meta.checkpoint(&mut order::unlocked())?;
        }
        Ok((meta, Recovered { records: found.records, orphans }))
    }

    /// Where things are in the pool.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The pool's memory.
    pub fn pool(&self) -> &Arc<dyn Pool> {
        &self.pool
    }

    /// The root directory.
    pub fn root(&self) -> Ino {
        self.identity.root
    }

    /// The pool's identity.
    pub fn uuid(&self) -> [u8; 16] {
        self.identity.uuid
    }

    /// The pool's name for people.
    pub fn label(&self) -> String {
        self.identity.label.clone()
    }

    /// Fails with `ReadOnly` or `Shutdown` where nothing may be changed.
    pub fn check_writable(&self) -> Result<(), FsError> {
        if let Some(why) = self.down.get() {
            return Err(FsError::Shutdown(why));
        }
        if self.access == Access::ReadOnly {
            return Err(FsError::ReadOnly);
        }
        if self.closed.load(Ordering::SeqCst) { Err(FsError::Shutdown("it was closed")) } else { Ok(()) }
    }

    /// Refuses every change from now on, until the pool is opened again. The first reason stays.
    pub fn shut_down(&self, why: &'static str) {
        if self.down.set(why).is_ok() {
            tracing::error!(pool = self.pool.name(), why, "shut down");
        }
    }

    /// Begins a transaction. Waits for a checkpoint, or runs one, when the journal has no room; takes `Transaction` shared.
    pub fn begin<'a, P: Before<level::Transaction>>(
        &'a self,
        held: &'a mut Held<'_, P>,
        size: TxSize,
    ) -> Result<(Tx<'a>, Held<'a, level::Transaction>), FsError> {
        self.check_writable()?;
        let mut reservation = self.journal.reserve(size);
        while reservation.is_none() {
            // Whoever has reserved and not begun yet must run: a checkpoint does not wait for him.
            order::sync::thread::yield_now();
            self.checkpoint_as(held, Ending::Open)?;
            reservation = self.journal.reserve(size);
        }
        let (guard, held) = self.transaction.read(held);
        let reservation = reservation.ok_or(FsError::Invalid("unreachable: space was reserved"))?;
        Ok((Tx::open(self, size, reservation, guard), held))
    }

    /// An inode as of the last commit. `Stale` if it is free or never was one.
    pub fn inode(&self, ino: Ino) -> Result<Arc<InodeRecord>, FsError> {
        let record = self.slot(ino)?;
        if media::is_free(&record) { Err(FsError::Stale) } else { Ok(record) }
    }

    /// A record of an inode block, in use or free.
    fn slot(&self, ino: Ino) -> Result<Arc<InodeRecord>, FsError> {
        if let Some(record) = self.inodes.get(ino.0) {
            return Ok(record);
        }
        if !recovery::is_inode_block(&*self.pool, &self.geometry, &self.groups, ino)? {
            return Err(FsError::Stale);
        }
        self.inodes.get_or_load(ino.0, || media::read_inode(&*self.pool, ino))
    }

    /// Takes blocks without a transaction, to be filled first and adopted by one later.
    pub fn reserve<P: Before<level::AllocGroup>>(
        &self,
        held: &mut Held<'_, P>,
        want: &Want,
    ) -> Result<Reserved<'_>, FsError> {
        self.check_writable()?;
        let run = self.with_context(|cx| self.groups.reserve(cx, held, want))?;
        Ok(Reserved::new(self, run))
    }

    /// Makes everything committed before the call durable, and on msync pools every store into the pool before it. If the
    /// pool's sync fails the pool shuts down.
    pub fn sync<P: Before<level::Transaction>>(&self, _held: &mut Held<'_, P>) -> Result<(), FsError> {
        if let Some(why) = self.down.get() {
            return Err(FsError::Shutdown(why));
        }
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        let synced = self.journal.sync(&*self.pool);
        if synced.is_err() {
            self.shut_down("a sync failed");
        }
        synced.map(|_| ())
    }

    /// Writes what changed to its place and empties the journal. Waits for open transactions.
    pub fn checkpoint<P: Before<level::Transaction>>(&self, held: &mut Held<'_, P>) -> Result<(), FsError> {
        self.checkpoint_as(held, Ending::Open)
    }

    /// The last checkpoint: marks the pool clean. Every later change fails with `Shutdown`.
    pub fn close<P: Before<level::Transaction>>(&self, held: &mut Held<'_, P>) -> Result<(), FsError> {
        if self.access == Access::ReadOnly || self.closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.checkpoint_as(held, Ending::Clean)
    }

    /// The newest record that would survive whatever the pool's class survives.
    pub fn durable(&self) -> Seq {
        self.journal.durable()
    }

    /// The newest record.
    pub fn committed(&self) -> Seq {
        self.journal.appended()
    }

    /// Space. Costs the same on any pool.
    pub fn statfs(&self) -> MetaStatfs {
        let taken = self.groups.used.load(Ordering::SeqCst) + self.groups.reserved.load(Ordering::SeqCst);
        let free_blocks = self.groups.total().saturating_sub(taken);
        MetaStatfs {
            blocks: self.groups.total(),
            free_blocks,
            available_blocks: free_blocks.saturating_sub(self.groups.spare()),
            inodes_used: self.groups.inodes.load(Ordering::SeqCst),
            block_bytes: 4096,
        }
    }

    /// The inodes that recovery would free.
    pub fn orphans(&self) -> Vec<Ino> {
        self.orphans.leaf().iter().copied().collect()
    }

    fn check_orphans(&self, changes: &[(Ino, Orphan)]) -> Result<(), FsError> {
        let added = changes.iter().filter(|(_, change)| *change == Orphan::Add).count();
        if added > 0 && self.orphans.leaf().len() + added > self.journal.orphans_max() {
            return Err(FsError::Busy("too many unlinked files are open"));
        }
        Ok(())
    }

    fn apply_orphans(&self, changes: &[(Ino, Orphan)]) {
        if changes.is_empty() {
            return;
        }
        let mut orphans = self.orphans.leaf();
        for (ino, change) in changes {
            match change {
                Orphan::Add => orphans.insert(*ino),
                Orphan::Remove => orphans.remove(ino),
            };
        }
    }

    fn with_context<R>(&self, body: impl FnOnce(&Context<'_>) -> R) -> R {
        let slot_is_free = |ino: Ino| match self.inodes.get(ino.0) {
            Some(record) => media::is_free(&record),
            None => media::peek_is_free(&*self.pool, ino),
        };
        body(&Context {
            pool: &*self.pool,
            geometry: &self.geometry,
            durable: self.journal.durable_counter(),
            slot_is_free: &slot_is_free,
        })
    }
}

impl NodeStore for Meta {
    fn node(&self, block: Block) -> Result<Arc<Node>, FsError> {
        if let Some(node) = self.nodes.get(block.0) {
            return Ok(node);
        }
        if !self.owns(block, 1) {
            return Err(media::damaged("tree", block, "a child is outside of the area for data"));
        }
        self.nodes.get_or_load(block.0, || media::read_node(&*self.pool, block))
    }

    fn name_salt(&self) -> u64 {
        self.identity.name_salt
    }

    fn owns(&self, first: Block, len: u64) -> bool {
        self.geometry.owns(first, len)
    }
}
