//! Files: names, sizes, reads, writes and block maps, over the transactions of `meta`.
//!
//! Each module is one subject, and each operation reads from top to bottom: take the locks in the order of `order`'s
//! table, look again at what was looked up before them, change records and trees in one transaction, commit, publish
//! in memory, drop the locks.
//!
//! What all of them keep:
//!
//! 1. The record of an inode, in memory and in its transaction, changes only while its `ExtentMap` is held exclusively,
//!    from the first change until commit has returned.
//! 2. A change of the block map that a mapping could notice runs under Invalidate (exclusive), and `dax` drops entries
//!    and translations before the transaction that makes the change.
//! 3. The caller's memory is touched under Freeze (shared) and Inode only, with no transaction open: it may be a mapping
//!    of the same file, and the copy may fault.
//! 4. Data is in the pool before the record that shows it is appended.
//! 5. Granules (a block, or the 2 MiB unit of a huge page pool) that lie wholly past the end of a file are holes or
//!    unwritten. Bytes past the end inside the last granule may be anything: whoever makes the file longer zeroes them first.
//! 6. When space is short and freed blocks wait for a sync, the operation drops all locks, syncs, and tries once more.
#![allow(clippy::needless_pass_by_value)] // lock proofs and closures are passed on

mod allocate;
mod attr;
mod change;
mod create;
mod inode;
mod itable;
mod map;
mod names;
mod place;
mod read;
mod readdir;
mod record;
mod remove;
mod rename;
mod seek;
mod shift;
mod sync;
mod truncate;
mod views;
mod write;

#[cfg(all(test, not(shuttle)))]
mod tests;

use format::Ino;
use order::sync::Arc;
use order::sync::atomic::Ordering::SeqCst;
use order::sync::atomic::{AtomicBool, AtomicI64};
use order::{Mutex, RwLock, level};
use pool::{Durability, Pool};

pub use self::inode::Node;
pub use self::names::LastLink;
pub use self::views::View;
pub use crate::meta::Recovered;
pub use crate::types::Access;

use self::inode::Inode;
use self::itable::InodeTable;
use crate::dax::Dax;
use crate::error::FsError;
use crate::meta::Meta;
use crate::types::{MakeOptions, NAME_MAX_BYTES, PAGE_BYTES, Statfs, Timestamp};

/// An open pool as a file system.
pub struct Fs {
    meta: Arc<Meta>,
    pool: Arc<dyn Pool>,
    dax: Dax,
    access: Access,
    recovered: Recovered,
    /// Pages of a granule: 1, or 512 where data is allocated in huge pages.
    unit_pages: u64,
    /// Stores reach the medium only when flushed by the processor.
    flushes: bool,
    freeze: RwLock<level::Freeze, ()>,
    rename: Mutex<level::Rename, ()>,
    fault_gate: RwLock<level::FaultGate, ()>,
    table: InodeTable,
    /// Inodes whose last reference went while locks were held, and whether there are any.
    released: Mutex<level::HandleTable, Vec<Arc<Inode>>>,
    released_any: AtomicBool,
    /// A recent time in nanoseconds, for decisions that need no better one.
    coarse_ns: AtomicI64,
}

impl std::fmt::Debug for Fs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fs").field("pool", &self.pool).field("access", &self.access).finish_non_exhaustive()
    }
}

impl Fs {
    /// Makes an empty file system in a pool. What was in the pool is lost.
    pub fn make(pool: &dyn Pool, options: &MakeOptions) -> Result<(), FsError> {
        let mut options = options.clone();
        options.now.get_or_insert_with(Timestamp::now);
        options.uuid.get_or_insert_with(random_uuid);
        Meta::make(pool, &options)
    }

    /// Opens a pool: replays the journal, then frees what had lost its last name.
    pub fn open(pool: Arc<dyn Pool>, access: Access) -> Result<Arc<Fs>, FsError> {
        let (meta, recovered) = Meta::open(pool.clone(), access)?;
        let fs = Arc::new(Fs {
            unit_pages: u64::from(meta.geometry().unit_blocks()).max(1),
            flushes: pool.durability() == Durability::CpuFlush,
            dax: Dax::new(pool.clone()),
            meta,
            pool,
            access,
            recovered,
            freeze: RwLock::new(()),
            rename: Mutex::new(()),
            fault_gate: RwLock::new(()),
            table: InodeTable::new(),
            released: Mutex::new(Vec::new()),
            released_any: AtomicBool::new(false),
            coarse_ns: AtomicI64::new(0),
        });
        fs.now();
        if fs.may_write() {
            for ino in fs.recovered.orphans.clone() {
                fs.finish_orphan(ino)?;
            }
        }
        Ok(fs)
    }

    /// Makes everything durable and marks the pool as cleanly closed. Every later change fails.
    pub fn close(&self) -> Result<(), FsError> {
        if self.may_write() {
            self.sync()?;
        }
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.write(&mut held);
        self.meta.close(&mut held)
    }

    /// The root directory.
    pub fn root(self: &Arc<Self>) -> Result<Node, FsError> {
        self.node(self.meta.root())
    }

    /// What the pool is open for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// What the open found to do.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// The metadata below.
    pub fn meta(&self) -> &Arc<Meta> {
        &self.meta
    }

    /// The memory below.
    pub fn pool(&self) -> &Arc<dyn Pool> {
        &self.pool
    }

    /// The mappings' engine.
    pub fn dax(&self) -> &Dax {
        &self.dax
    }

    /// What the pool holds and what is free.
    pub fn statfs(&self) -> Statfs {
        let counts = self.meta.statfs();
        let files_free = counts.available_blocks.saturating_mul(8);
        Statfs {
            block_bytes: PAGE_BYTES as u32,
            blocks: counts.blocks,
            blocks_free: counts.free_blocks,
            blocks_available: counts.available_blocks,
            files: counts.inodes_used.saturating_add(files_free),
            files_free,
            name_max_bytes: NAME_MAX_BYTES as u32,
        }
    }

    /// The time, which is also kept as the coarse one.
    fn now(&self) -> Timestamp {
        #[cfg(not(shuttle))]
        let now = Timestamp::now();
        // Explored runs must be repeatable: a step a call.
        #[cfg(shuttle)]
        let now =
            Timestamp { seconds: 1_000_000 + self.coarse_ns.load(SeqCst) / 1_000_000_000 % 1_000_000 + 1, nanos: 0 };
        self.coarse_ns.store(now.to_nanos_clamped(), SeqCst);
        now
    }

    /// Whether changes are possible now.
    fn may_write(&self) -> bool {
        self.meta.check_writable().is_ok()
    }

    /// `Ok` if changes are possible.
    fn demand_writable(&self) -> Result<(), FsError> {
        self.meta.check_writable()
    }

    /// `Ok` if the node is of this file system.
    fn demand_own(&self, node: &Node) -> Result<(), FsError> {
        if std::ptr::eq(Arc::as_ptr(&node.fs), self) { Ok(()) } else { Err(FsError::CrossPool) }
    }

    /// Runs an operation that takes its own locks: once more after a sync when space waits for one; afterwards releases
    /// the inodes that it let go.
    fn operation<R>(&self, mut attempt: impl FnMut() -> Result<R, FsError>) -> Result<R, FsError> {
        let mut result = attempt();
        if matches!(result, Err(FsError::NoSpace { pending: true })) {
            result = self.meta.sync(&mut order::unlocked()).and_then(|()| attempt());
        }
        self.work_off();
        result
    }

    /// Makes bytes that were just stored as durable as the pool's class allows without a sync.
    fn flush(&self, offset: u64, len: u64) {
        if self.flushes {
            self.pool.flush(offset, len);
            self.pool.fence();
        }
    }

    /// The number of the root directory.
    fn root_ino(&self) -> Ino {
        self.meta.root()
    }
}

/// A version 4 UUID from the entropy that the standard library seeds its hash maps with.
fn random_uuid() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&RandomState::new().hash_one(Timestamp::now().nanos).to_le_bytes());
    uuid[8..].copy_from_slice(&RandomState::new().hash_one(Timestamp::now().seconds).to_le_bytes());
    uuid[6] = uuid[6] & 0x0F | 0x40;
    uuid[8] = uuid[8] & 0x3F | 0x80;
    uuid
}
