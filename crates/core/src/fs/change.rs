//! Transactions on inode records: the frame that every change runs in.
//!
//! One record: [`Fs::change`]. Several: [`Fs::change_many`], which takes their `ExtentMaps` at once, in order of their numbers,
//! and gives the closure a [`Records`]. In both, lazy times are taken along, the records are set, the transaction commits,
//! and only then do memory's copies change. If anything fails nothing has changed, in memory or in the pool.

use format::InodeRecord;
use order::sync::Arc;
use order::sync::atomic::Ordering::SeqCst;
use order::{Before, Held, level};

use super::Fs;
use super::inode::{Inode, Taken};
use super::record;
use crate::error::FsError;
use crate::meta::{Tx, TxSize};

/// The records that one transaction changes, by inode.
pub(super) struct Records<'i> {
    fs: &'i Fs,
    parts: Vec<Part<'i>>,
}

struct Part<'i> {
    inode: &'i Arc<Inode>,
    rec: InodeRecord,
    taken: Taken,
    fate: Fate,
}

/// What becomes of an inode when the transaction has committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// The last link went; someone has it open, or it has blocks to free.
    Orphaned,
    /// The last link went, nobody has it open, and nothing belongs to it: its slot is freed at once.
    Freed,
}

impl Records<'_> {
    /// The record of an inode that the transaction was begun for.
    pub(super) fn of(&mut self, inode: &Inode) -> &mut InodeRecord {
        let part = self.parts.iter_mut().find(|part| part.inode.ino == inode.ino);
        &mut part.expect("only inodes given to change_many are asked for").rec
    }

    /// Takes `links` links away. At none left the inode becomes an orphan, or is freed in this transaction when the
    /// caller's reference is the only one and it owns no blocks.
    pub(super) fn drop_links(&mut self, tx: &mut Tx<'_>, inode: &Inode, links: u32) -> Result<(), FsError> {
        let fs = self.fs;
        let part = self.parts.iter_mut().find(|part| part.inode.ino == inode.ino);
        let part = part.expect("only inodes given to change_many are asked for");
        let left = record::nlink(&part.rec).checked_sub(links);
        let left = left.ok_or(FsError::Inconsistent { ino: inode.ino.0, why: "fewer links than names" })?;
        record::set_nlink(&mut part.rec, left);
        if left == 0 {
            if record::blocks(&part.rec) == 0 && fs.table.kill_if_sole(part.inode) {
                part.fate = Fate::Freed;
            } else {
                part.fate = Fate::Orphaned;
                tx.add_orphan(inode.ino);
            }
        }
        Ok(())
    }
}

impl Drop for Records<'_> {
    /// Without a commit the inodes that were to be freed live on.
    fn drop(&mut self) {
        for part in self.parts.iter().filter(|part| part.fate == Fate::Freed) {
            self.fs.table.revive(part.inode);
        }
    }
}

impl Fs {
    /// Changes one record in one transaction.
    pub(super) fn change<R, P: Before<level::Transaction>>(
        &self,
        held: &mut Held<'_, P>,
        inode: &Inode,
        size: TxSize,
        work: impl FnOnce(&mut Tx<'_>, &mut Held<'_, level::ExtentMap>, &mut InodeRecord) -> Result<R, FsError>,
    ) -> Result<R, FsError> {
        let (mut tx, mut held) = self.meta.begin(held, size)?;
        let (mut map, mut held) = inode.map.write(&mut held);
        let mut rec = *map;
        let taken = inode.times.fold(&mut rec);
        let result = work(&mut tx, &mut held, &mut rec)?;
        record::bump_change(&mut rec);
        tx.set_inode(&rec);
        tx.commit(&mut held)?;
        *map = rec;
        inode.size.store(record::size(&rec), SeqCst);
        inode.times.settle(taken);
        Ok(result)
    }

    /// Changes several records in one transaction. The same inode may be named twice.
    pub(super) fn change_many<'i, R, P: Before<level::Transaction>>(
        &'i self,
        held: &mut Held<'_, P>,
        inodes: &[&'i Arc<Inode>],
        size: TxSize,
        work: impl FnOnce(&mut Tx<'_>, &mut Held<'_, level::ExtentMap>, &mut Records<'i>) -> Result<R, FsError>,
    ) -> Result<R, FsError> {
        let mut distinct: Vec<&'i Arc<Inode>> = Vec::with_capacity(inodes.len());
        for inode in inodes {
            if !distinct.iter().any(|known| Arc::ptr_eq(known, inode)) {
                distinct.push(inode);
            }
        }
        let locks: Vec<_> = distinct.iter().map(|inode| (inode.ino.0, &inode.map)).collect();
        // Declared before the guards: what it does when dropped takes leaves only, and works under them too.
        let mut records = Records { fs: self, parts: Vec::with_capacity(distinct.len()) };
        let (mut tx, mut held) = self.meta.begin(held, size)?;
        let (mut maps, mut held) = order::write_set(&locks, &mut held);
        for (i, inode) in distinct.iter().enumerate() {
            let mut rec = *maps.get(i);
            let taken = inode.times.fold(&mut rec);
            records.parts.push(Part { inode, rec, taken, fate: Fate::Stays });
        }
        let result = work(&mut tx, &mut held, &mut records)?;
        for part in &mut records.parts {
            record::bump_change(&mut part.rec);
            if part.fate == Fate::Freed {
                tx.free_inode(part.inode.ino);
            } else {
                tx.set_inode(&part.rec);
            }
        }
        tx.commit(&mut held)?;
        for (i, part) in records.parts.iter_mut().enumerate() {
            *maps.get_mut(i) = part.rec;
            part.inode.size.store(record::size(&part.rec), SeqCst);
            part.inode.times.settle(part.taken);
            match std::mem::replace(&mut part.fate, Fate::Stays) {
                Fate::Stays => {}
                Fate::Orphaned => part.inode.unlinked.store(true, SeqCst),
                Fate::Freed => {
                    part.inode.unlinked.store(true, SeqCst);
                    self.table.remove(part.inode);
                }
            }
        }
        Ok(result)
    }
}
