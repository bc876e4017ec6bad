//! An inode in memory, and the handles that keep it there.
//!
//! An [`Inode`] is in the table as long as someone refers to it. The count of references is not that of `Arc`: the
//! last reference to an *unlinked* inode frees its blocks, which takes transactions, and those must not start inside
//! some guard's drop. So there are two kinds of reference:
//!
//! * [`Node`], the public one. Dropping the last one does the work at once; it must be dropped with no lock held.
//! * [`Pinned`], used inside operations, under any lock. Dropping the last one puts the inode on a list, and the
//!   operation works that list off when it has dropped its locks.
//!
//! What guards what: `lock` (Inode) the content as reads and writes see it, a directory's entries, growth; `dax.invalidate`
//! (Invalidate) shrinking and every change of the block map that mappings must learn of; `map` (`ExtentMap`) the record
//! and the tree below it. `size` mirrors the record's size so that a fault can read it without `ExtentMap`: it
//! is stored while Inode is held exclusively, and shrinks only while Invalidate is.
//!
//! Times that an overwrite or a read changes are kept in [`LazyTimes`] and reach the record with the next transaction on
//! the inode, with a sync, or when its last reference goes. So an overwrite in place starts no transaction.

use std::fmt;

use format::{Ino, InodeRecord};
use order::sync::Arc;
use order::sync::atomic::Ordering::SeqCst;
use order::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};
use order::{RwLock, level};

use super::{Fs, record};
use crate::dax::FileDax;
use crate::error::FsError;
use crate::types::{Kind, Timestamp};

/// One inode in memory.
pub(super) struct Inode {
    pub(super) ino: Ino,
    pub(super) generation: u32,
    pub(super) kind: Kind,
    /// References by `Node`, `Pinned` and attached windows. Rises from 0 only under the table's shard lock.
    pub(super) refs: AtomicU32,
    /// Set under the shard lock when the inode is about to be freed: nobody gets a reference any more.
    pub(super) dead: AtomicBool,
    /// The last link went, by a transaction that is committed.
    pub(super) unlinked: AtomicBool,
    /// Made without a name and never linked: `link` may give it one.
    pub(super) unnamed: AtomicBool,
    pub(super) lock: RwLock<level::Inode, ()>,
    pub(super) map: RwLock<level::ExtentMap, InodeRecord>,
    pub(super) size: AtomicU64,
    pub(super) times: LazyTimes,
    pub(super) dax: FileDax,
    /// A window was attached since the inode came into memory: there may be entries, which must not outlive it.
    pub(super) mapped: AtomicBool,
    /// Direct views if positive, cached views if negative.
    pub(super) views: AtomicI64,
}

impl Inode {
    /// The inode of a record, with one reference.
    pub(super) fn new(rec: &InodeRecord) -> Result<Inode, FsError> {
        let ino = record::ino(rec);
        Ok(Inode {
            ino,
            generation: record::generation(rec),
            kind: record::kind(rec)?,
            refs: AtomicU32::new(1),
            dead: AtomicBool::new(false),
            unlinked: AtomicBool::new(record::nlink(rec) == 0),
            unnamed: AtomicBool::new(false),
            lock: RwLock::new(()),
            map: RwLock::new(*rec),
            size: AtomicU64::new(record::size(rec)),
            times: LazyTimes::new(),
            dax: FileDax::new(ino),
            mapped: AtomicBool::new(false),
            views: AtomicI64::new(0),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(SeqCst)
    }

    /// `Ok` for a regular file.
    pub(super) fn demand_file(&self) -> Result<(), FsError> {
        match self.kind {
            Kind::File => Ok(()),
            Kind::Directory => Err(FsError::IsDirectory),
            _ => Err(FsError::Invalid("not a regular file")),
        }
    }

    /// `Ok` for a directory.
    pub(super) fn demand_directory(&self) -> Result<(), FsError> {
        if self.kind == Kind::Directory { Ok(()) } else { Err(FsError::NotDirectory) }
    }
}

/// Times in memory that no record has yet, in nanoseconds since 1970.
pub(super) struct LazyTimes {
    atime: AtomicI64,
    /// Also the ctime: a write changes both.
    mtime: AtomicI64,
}

/// What of the lazy times a transaction took along.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    atime: i64,
    mtime: i64,
}

const NO_TIME: i64 = i64::MIN;
const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

impl LazyTimes {
    fn new() -> LazyTimes {
        LazyTimes { atime: AtomicI64::new(NO_TIME), mtime: AtomicI64::new(NO_TIME) }
    }

    /// The content changed.
    pub(super) fn wrote(&self, now: Timestamp) {
        self.mtime.store(now.to_nanos_clamped(), SeqCst);
    }

    /// The content was read. The time is kept only if the one known is not newer than the last change, or a day old.
    /// `coarse_ns` is a recent time; `now` is asked only if a time is to be kept.
    pub(super) fn read(&self, rec: &InodeRecord, coarse_ns: i64, now: impl FnOnce() -> Timestamp) {
        let (atime, mtime, ctime) = record::times_ns(rec);
        let atime = atime.max(self.atime.load(SeqCst));
        let changed = mtime.max(ctime).max(self.mtime.load(SeqCst));
        if atime <= changed || coarse_ns.saturating_sub(atime) > DAY_NS {
            self.atime.store(now().to_nanos_clamped(), SeqCst);
        }
    }

    /// Whether there is something for the record.
    pub(super) fn pending(&self) -> bool {
        self.atime.load(SeqCst) != NO_TIME || self.mtime.load(SeqCst) != NO_TIME
    }

    /// Puts the times into a copy of the record.
    pub(super) fn fold(&self, rec: &mut InodeRecord) -> Taken {
        let taken = Taken { atime: self.atime.load(SeqCst), mtime: self.mtime.load(SeqCst) };
        if taken.atime != NO_TIME {
            record::set_atime(rec, from_nanos(taken.atime));
        }
        if taken.mtime != NO_TIME {
            record::set_mtime(rec, from_nanos(taken.mtime));
            record::set_ctime(rec, from_nanos(taken.mtime));
        }
        taken
    }

    /// What was taken is in a committed record now; what came since stays.
    pub(super) fn settle(&self, taken: Taken) {
        // A failed exchange means a newer time, which is for the next transaction.
        let _ = self.atime.compare_exchange(taken.atime, NO_TIME, SeqCst, SeqCst);
        let _ = self.mtime.compare_exchange(taken.mtime, NO_TIME, SeqCst, SeqCst);
    }
}

fn from_nanos(ns: i64) -> Timestamp {
    Timestamp { seconds: ns.div_euclid(1_000_000_000), nanos: ns.rem_euclid(1_000_000_000) as u32 }
}

/// A reference to a node of the file system: a file, directory, link or device.
///
/// Keeps the inode, also when its last name is gone; the last reference to an unlinked one frees it. Must be dropped
/// with no lock held. Cloning is one atomic step.
pub struct Node {
    pub(super) fs: Arc<Fs>,
    pub(super) inode: Arc<Inode>,
}

impl Node {
    /// Inode number.
    pub fn ino(&self) -> Ino {
        self.inode.ino
    }

    /// Tells two uses of one inode number apart.
    pub fn generation(&self) -> u32 {
        self.inode.generation
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.inode.kind
    }

    /// Size in bytes, as of this moment; takes no lock.
    pub fn size(&self) -> u64 {
        self.inode.size()
    }

    /// Whether a window was attached since the inode came into memory, even if it is gone again: stores may then have
    /// come that nobody was told of, so a cache of the content from before is worth nothing.
    pub fn was_mapped(&self) -> bool {
        self.inode.mapped.load(SeqCst)
    }

    /// The file system it belongs to.
    pub fn fs(&self) -> &Arc<Fs> {
        &self.fs
    }

    /// Whether both mean one inode.
    pub fn same(&self, other: &Node) -> bool {
        Arc::ptr_eq(&self.inode, &other.inode)
    }
}

impl Clone for Node {
    fn clone(&self) -> Node {
        self.inode.refs.fetch_add(1, SeqCst);
        Node { fs: self.fs.clone(), inode: self.inode.clone() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.inode.refs.fetch_sub(1, SeqCst) == 1 {
            self.fs.release(&self.inode);
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("ino", &self.inode.ino.0).field("kind", &self.inode.kind).finish_non_exhaustive()
    }
}

/// A reference for use inside an operation; may be dropped under any lock.
pub(super) struct Pinned<'f> {
    fs: &'f Fs,
    inode: Option<Arc<Inode>>,
}

impl<'f> Pinned<'f> {
    /// Takes over one reference that is counted already.
    pub(super) fn counted(fs: &'f Fs, inode: Arc<Inode>) -> Pinned<'f> {
        Pinned { fs, inode: Some(inode) }
    }

    /// The same reference as a `Node`.
    pub(super) fn into_node(mut self, fs: &Arc<Fs>) -> Node {
        let inode = self.inode.take().expect("taken only here, where self ends");
        Node { fs: fs.clone(), inode }
    }
}

impl std::ops::Deref for Pinned<'_> {
    type Target = Arc<Inode>;
    fn deref(&self) -> &Arc<Inode> {
        self.inode.as_ref().expect("taken only by into_node, where self ends")
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Some(inode) = self.inode.take()
            && inode.refs.fetch_sub(1, SeqCst) == 1
        {
            self.fs.release_later(inode);
        }
    }
}
