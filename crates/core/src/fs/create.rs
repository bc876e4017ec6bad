//! New nodes and new names: create, nodes without a name, hard links.
//!
//! A new inode is not reachable before its transaction has committed, so only the directory is locked. The directory must
//! still have a link: one that was removed while someone had it open takes no new names.

use format::InodeRecord;
use order::sync::atomic::Ordering::SeqCst;
use order::{Held, level};

use super::inode::{Inode, Node};
use super::names::{check_name, is_dot};
use super::place::offset_of;
use super::{Fs, record};
use crate::error::FsError;
use crate::meta::extents::Mapped;
use crate::meta::{Align, Purpose, Tx, TxSize, Want, dir, extents};
use crate::types::{Ino, Kind, LINKS_MAX, NewKind, NewNode, TARGET_MAX_BYTES};

impl Fs {
    /// Makes a node and gives it a name.
    ///
    /// One small transaction; durable with the next sync. Locks: Freeze (shared), the directory's Inode (exclusive).
    ///
    /// # Errors
    /// `Exists`, `NotFound` (the directory was removed, an empty name or target), `NotDirectory`, `NameTooLong`,
    /// `TooManyLinks`, `NoSpace`, `ReadOnly`.
    pub fn create(&self, dir: &Node, name: &[u8], new: &NewNode<'_>) -> Result<Node, FsError> {
        self.demand_own(dir)?;
        dir.inode.demand_directory()?;
        check_name(name)?;
        if is_dot(name) {
            return Err(FsError::Exists);
        }
        check_target(new)?;
        self.demand_writable()?;
        self.operation(|| {
            let mut held = order::unlocked();
            let (_freeze, mut held) = self.freeze.read(&mut held);
            let (_dir, mut held) = dir.inode.lock.write(&mut held);
            let rec = self.change(&mut held, &dir.inode, TxSize::Small, |tx, held, dir_rec| {
                demand_linked(dir_rec)?;
                let rec = self.new_record(tx, held, dir.ino(), new, 1)?;
                let kind = new.kind.kind();
                dir::insert(tx, held, dir_rec, name, record::ino(&rec), kind.entry_type())?;
                if kind == Kind::Directory {
                    add_links(dir_rec, 1)?;
                }
                record::entry_added(dir_rec, name);
                record::set_changed(dir_rec, record::btime(&rec));
                tx.set_inode(&rec);
                Ok(rec)
            })?;
            Ok(self.pin_new(Inode::new(&rec)?).into_node(&dir.fs))
        })
    }

    /// Makes a node without a name in the directory's pool. It goes with its last reference unless `link` names it.
    ///
    /// # Errors
    /// As of `create`; `Invalid` for anything but a regular file.
    pub fn create_unnamed(&self, dir: &Node, new: &NewNode<'_>) -> Result<Node, FsError> {
        self.demand_own(dir)?;
        dir.inode.demand_directory()?;
        if new.kind.kind() != Kind::File {
            return Err(FsError::Invalid("only a regular file can be without a name"));
        }
        self.demand_writable()?;
        self.operation(|| {
            let mut held = order::unlocked();
            let (_freeze, mut held) = self.freeze.read(&mut held);
            let (mut tx, mut held) = self.meta.begin(&mut held, TxSize::Small)?;
            let rec = self.new_record(&mut tx, &mut held, dir.ino(), new, 0)?;
            tx.set_inode(&rec);
            tx.add_orphan(record::ino(&rec));
            tx.commit(&mut held)?;
            let inode = Inode::new(&rec)?;
            inode.unnamed.store(true, SeqCst);
            Ok(self.pin_new(inode).into_node(&dir.fs))
        })
    }

    /// Gives a node one more name.
    ///
    /// # Errors
    /// `Exists`, `NotPermitted` for a directory, `TooManyLinks`, `NotFound` if the node or the directory was removed,
    /// `NoSpace`.
    pub fn link(&self, node: &Node, dir: &Node, name: &[u8]) -> Result<(), FsError> {
        self.demand_own(dir)?;
        self.demand_own(node)?;
        dir.inode.demand_directory()?;
        check_name(name)?;
        if is_dot(name) {
            return Err(FsError::Exists);
        }
        if node.kind() == Kind::Directory {
            return Err(FsError::NotPermitted("a directory has one name"));
        }
        self.demand_writable()?;
        let now = self.now();
        self.operation(|| {
            let mut held = order::unlocked();
            let (_freeze, mut held) = self.freeze.read(&mut held);
            let (_dir, mut held) = dir.inode.lock.write(&mut held);
            let inodes = [&dir.inode, &node.inode];
            self.change_many(&mut held, &inodes, TxSize::Small, |tx, held, records| {
                let dir_rec = records.of(&dir.inode);
                demand_linked(dir_rec)?;
                dir::insert(tx, held, dir_rec, name, node.ino(), node.kind().entry_type())?;
                record::entry_added(dir_rec, name);
                record::set_changed(dir_rec, now);
                let rec = records.of(&node.inode);
                if record::nlink(rec) == 0 {
                    if !node.inode.unnamed.load(SeqCst) {
                        return Err(FsError::NotFound);
                    }
                    tx.remove_orphan(node.ino());
                }
                add_links(rec, 1)?;
                record::set_ctime(rec, now);
                Ok(())
            })?;
            // Under the directory's lock still: nobody can unlink the new name before these are set.
            node.inode.unlinked.store(false, SeqCst);
            node.inode.unnamed.store(false, SeqCst);
            Ok(())
        })
    }

    /// The record of a new node, its slot allocated, its target stored.
    fn new_record<P: order::Before<level::AllocGroup>>(
        &self,
        tx: &mut Tx<'_>,
        held: &mut Held<'_, P>,
        near: Ino,
        new: &NewNode<'_>,
        links: u32,
    ) -> Result<InodeRecord, FsError> {
        let (ino, generation) = tx.alloc_inode(held, near)?;
        let mut rec = record::new(ino, generation, new, near, self.now());
        record::set_nlink(&mut rec, if new.kind.kind() == Kind::Directory { 2 } else { links });
        if let NewKind::Symlink(target) = new.kind {
            record::set_size(&mut rec, target.len() as u64);
            if !record::set_inline_target(&mut rec, target) {
                self.store_target(tx, held, &mut rec, target)?;
            }
        }
        Ok(rec)
    }

    /// A target that is too long for the record: into a data block.
    fn store_target<P: order::Before<level::AllocGroup>>(
        &self,
        tx: &mut Tx<'_>,
        held: &mut Held<'_, P>,
        rec: &mut InodeRecord,
        target: &[u8],
    ) -> Result<(), FsError> {
        let blocks = self.unit_pages as u32;
        let align = if blocks > 1 { Align::Huge } else { Align::Block };
        let want = Want { blocks, min_blocks: blocks, align, goal: None, purpose: Purpose::Data };
        let run = tx.alloc(held, &want)?;
        let offset = offset_of(run.first);
        self.pool.write(offset, target);
        self.pool.zero(offset + target.len() as u64, self.granule_bytes() - target.len() as u64);
        self.flush(offset, self.granule_bytes());
        extents::map_range(tx, held, rec, 0, run, Mapped::Written)
    }
}

fn check_target(new: &NewNode<'_>) -> Result<(), FsError> {
    match new.kind {
        NewKind::Symlink(b"") => Err(FsError::NotFound),
        NewKind::Symlink(target) if target.len() > TARGET_MAX_BYTES => Err(FsError::NameTooLong),
        NewKind::Symlink(target) if target.contains(&0) => Err(FsError::Invalid("a link target with a NUL")),
        _ => Ok(()),
    }
}

/// `Ok` if the directory still has a name.
pub(super) fn demand_linked(dir: &InodeRecord) -> Result<(), FsError> {
    if record::nlink(dir) == 0 { Err(FsError::NotFound) } else { Ok(()) }
}

/// Adds links, up to the limit.
pub(super) fn add_links(rec: &mut InodeRecord, links: u32) -> Result<(), FsError> {
    let sum = record::nlink(rec).checked_add(links).filter(|sum| *sum <= LINKS_MAX);
    record::set_nlink(rec, sum.ok_or(FsError::TooManyLinks)?);
    Ok(())
}
