//! Names go: unlink and rmdir; and inodes go: freeing what has no name and no reference left.
//!
//! Unlink locks the directory only; the file's link count is guarded by its `ExtentMap`, so a long write to the file does not
//! hold up its removal. Rmdir locks the removed directory too: it must stay empty until it has no name.
//!
//! With its last link an inode becomes an orphan in the same transaction; when the last reference goes, its blocks are
//! freed in transactions of bounded size, the last of which frees the slot and takes it off the orphan list. A crash
//! anywhere between leaves an orphan, and the next open goes on. An inode that owns no blocks and that nobody has open
//! is freed in the unlinking transaction itself.

use order::sync::Arc;

use super::create::demand_linked;
use super::inode::{Inode, Node, Pinned};
use super::names::{check_name, is_dot};
use super::{Fs, record};
use crate::dax::Invalidation;
use crate::error::FsError;
use crate::meta::{TxSize, dir, extents};
use crate::types::{Ino, Kind};

/// Extents that one transaction takes out of a map at most.
pub(super) const EXTENTS_PER_TX_MAX: u32 = 512;

impl Fs {
    /// Removes a name of anything but a directory. The file goes with its last name and last reference.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `NotDirectory`, `ReadOnly`.
    pub fn unlink(&self, dir: &Node, name: &[u8]) -> Result<(), FsError> {
        self.demand_own(dir)?;
        dir.inode.demand_directory()?;
        check_name(name)?;
        if is_dot(name) {
            return Err(FsError::IsDirectory);
        }
        self.demand_writable()?;
        let now = self.now();
        self.operation(|| {
            let mut held = order::unlocked();
            let (_freeze, mut held) = self.freeze.read(&mut held);
            let (_dir, mut held) = dir.inode.lock.write(&mut held);
            let file = self.find(&mut held, &dir.inode, name)?.ok_or(FsError::NotFound)?;
            if file.kind == Kind::Directory {
                return Err(FsError::IsDirectory);
            }
            self.change_many(&mut held, &[&dir.inode, &file], TxSize::Small, |tx, held, records| {
                let dir_rec = records.of(&dir.inode);
                let found = dir::find(tx, dir_rec, name)?.ok_or(FsError::NotFound)?;
                dir::remove(tx, held, dir_rec, found.key)?;
                record::entry_removed(dir_rec, name);
                record::set_changed(dir_rec, now);
                record::set_ctime(records.of(&file), now);
                records.drop_links(tx, &file, 1)
            })
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotEmpty`, `NotFound`, `NotDirectory`, `Invalid` for ".", `ReadOnly`.
    pub fn rmdir(&self, dir: &Node, name: &[u8]) -> Result<(), FsError> {
        self.demand_own(dir)?;
        dir.inode.demand_directory()?;
        check_name(name)?;
        match name {
            b"." => return Err(FsError::Invalid("a directory cannot be removed from inside")),
            b".." => return Err(FsError::NotEmpty),
            _ => {}
        }
        self.demand_writable()?;
        loop {
            let looked = self.operation(|| self.peek(&mut order::unlocked(), &dir.inode, name));
            let child = looked?.ok_or(FsError::NotFound)?;
            let done = child.demand_directory().and_then(|()| self.operation(|| self.rmdir_locked(dir, name, &child)));
            drop(child);
            self.work_off();
            if done? == Attempt::Done {
                return Ok(());
            }
        }
    }

    fn rmdir_locked(&self, dir: &Node, name: &[u8], child: &Pinned<'_>) -> Result<Attempt, FsError> {
        let now = self.now();
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.read(&mut held);
        let locks = [(dir.ino().0, &dir.inode.lock), (child.ino.0, &child.lock)];
        let (_dirs, mut held) = order::write_set(&locks, &mut held);
        match self.find(&mut held, &dir.inode, name)? {
            Some(found) if Arc::ptr_eq(&found, child) => {}
            Some(_) => return Ok(Attempt::Changed),
            None => return Err(FsError::NotFound),
        }
        self.change_many(&mut held, &[&dir.inode, child], TxSize::Small, |tx, held, records| {
            if !dir::is_empty(tx, records.of(child))? {
                return Err(FsError::NotEmpty);
            }
            let dir_rec = records.of(&dir.inode);
            let found = dir::find(tx, dir_rec, name)?.ok_or(FsError::NotFound)?;
            dir::remove(tx, held, dir_rec, found.key)?;
            record::entry_removed(dir_rec, name);
            record::set_changed(dir_rec, now);
            demand_linked(dir_rec)?;
            lose_subdirectory(dir_rec)?;
            let child_rec = records.of(child);
            record::set_ctime(child_rec, now);
            let links = record::nlink(child_rec);
            records.drop_links(tx, child, links)
        })?;
        Ok(Attempt::Done)
    }

    /// Frees an inode that has no name and that nobody refers to. Call with no lock held.
    pub(super) fn reclaim(&self, inode: &Inode) -> Result<(), FsError> {
        let result = self.reclaim_once(inode);
        if matches!(result, Err(FsError::NoSpace { pending: true })) {
            self.meta.sync(&mut order::unlocked())?;
            return self.reclaim_once(inode);
        }
        result
    }

    fn reclaim_once(&self, inode: &Inode) -> Result<(), FsError> {
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.read(&mut held);
        let (_inode, mut held) = inode.lock.write(&mut held);
        let (_invalidate, mut held) = inode.dax.invalidate.write(&mut held);
        let everything = 0..u64::MAX;
        self.dax.invalidate(&mut held, &inode.dax, &self.block_map(inode), everything, Invalidation::TRUNCATE)?;
        loop {
            let (mut tx, mut held) = self.meta.begin(&mut held, TxSize::Large)?;
            let (mut map, mut held) = inode.map.write(&mut held);
            let mut rec = *map;
            if record::owns_extents(&rec)? {
                let last = extents::last(&tx, &rec)?.map_or(0, |run| run.page + run.pages);
                let done = extents::unmap_range(&mut tx, &mut held, &mut rec, 0..last, EXTENTS_PER_TX_MAX)?;
                if done.next.is_some() {
                    tx.set_inode(&rec);
                    tx.commit(&mut held)?;
                    *map = rec;
                    continue;
                }
            }
            tx.remove_orphan(inode.ino);
            tx.free_inode(inode.ino);
            tx.commit(&mut held)?;
            return Ok(());
        }
    }

    /// At open: an orphan that a crash left is freed, or, if it has a name, cut to its size.
    pub(super) fn finish_orphan(&self, ino: Ino) -> Result<(), FsError> {
        let rec = match self.meta.inode(ino) {
            Ok(rec) => *rec,
            Err(FsError::Stale | FsError::NotFound) => {
                return Err(FsError::Inconsistent { ino: ino.0, why: "the orphan list names a free inode" });
            }
            Err(error) => return Err(error),
        };
        let inode = Inode::new(&rec)?;
        if record::nlink(&rec) == 0 { self.reclaim(&inode) } else { self.finish_truncate(&inode) }
    }
}

/// Whether an operation that looked up before it locked found the same under the locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Done,
    Changed,
}

/// A directory has one subdirectory less.
pub(super) fn lose_subdirectory(dir: &mut format::InodeRecord) -> Result<(), FsError> {
    let left = record::nlink(dir).checked_sub(1).filter(|left| *left >= 2);
    let why = "a directory counts fewer subdirectories than it has";
    record::set_nlink(dir, left.ok_or(FsError::Inconsistent { ino: record::ino(dir).0, why })?);
    Ok(())
}
