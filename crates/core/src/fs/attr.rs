//! Attributes: reading them, setting them, and the target of a symbolic link.
//!
//! Reading takes `ExtentMap` only, so `stat` does not wait for a long write. Setting several attributes, the size among
//! them, is one transaction.

use format::InodeRecord;

use super::inode::Node;
use super::place::{lookup_in, offset_of};
use super::{Fs, record};
use crate::error::FsError;
use crate::meta::TxSize;
use crate::types::{Attr, FILE_SIZE_MAX, Kind, RunState, SetAttr, TARGET_MAX_BYTES, Timestamp};

impl Fs {
    /// The attributes, with times that no record has yet. Locks: `ExtentMap` (shared).
    pub fn attr(&self, node: &Node) -> Result<Attr, FsError> {
        self.demand_own(node)?;
        let mut held = order::unlocked();
        let (rec, _held) = node.inode.map.read(&mut held);
        let mut rec = *rec;
        node.inode.times.fold(&mut rec);
        record::to_attr(&rec)
    }

    /// Changes attributes; gives them as they are then. A new size truncates, or extends with a hole.
    ///
    /// Whether the caller may is not asked here, and set-user-id bits are not cleared by themselves. Locks: Freeze
    /// (shared), Inode (exclusive), for a size Invalidate (exclusive).
    ///
    /// # Errors
    /// `FileTooBig`, `IsDirectory` and `Invalid` for the size of what has none to set, `NoSpace`, `ReadOnly`.
    pub fn set_attr(&self, node: &Node, set: &SetAttr) -> Result<Attr, FsError> {
        self.demand_own(node)?;
        if let Some(size) = set.size {
            node.inode.demand_file()?;
            if size > FILE_SIZE_MAX {
                return Err(FsError::FileTooBig);
            }
        }
        self.demand_writable()?;
        let now = self.now();
        self.operation(|| {
            let mut held = order::unlocked();
            let (_freeze, mut held) = self.freeze.read(&mut held);
            let (_inode, mut held) = node.inode.lock.write(&mut held);
            match set.size {
                Some(size) => self.set_size(&mut held, &node.inode, size, |rec| apply(rec, set, now)),
                None => self.change(&mut held, &node.inode, TxSize::Small, |_, _, rec| {
                    apply(rec, set, now);
                    Ok(())
                }),
            }
        })?;
        self.attr(node)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `Invalid` if it is none.
    pub fn read_link(&self, node: &Node) -> Result<Vec<u8>, FsError> {
        self.demand_own(node)?;
        if node.kind() != Kind::Symlink {
            return Err(FsError::Invalid("not a symbolic link"));
        }
        let mut held = order::unlocked();
        let (rec, _held) = node.inode.map.read(&mut held);
        if let Some(target) = record::inline_target(&rec) {
            return Ok(target.to_vec());
        }
        let bad = |why| FsError::Inconsistent { ino: node.ino().0, why };
        let len = record::size(&rec);
        if len > TARGET_MAX_BYTES as u64 {
            return Err(bad("a symbolic link's target is too long"));
        }
        let RunState::Written(block) = lookup_in(&*self.meta, &rec, 0)?.state else {
            return Err(bad("a symbolic link without its target's block"));
        };
        let mut target = vec![0; len as usize];
        self.pool.read(offset_of(block), &mut target);
        Ok(target)
    }
}

fn apply(rec: &mut InodeRecord, set: &SetAttr, now: Timestamp) {
    if let Some(mode) = set.mode {
        record::set_permissions(rec, mode);
    }
    if let Some(uid) = set.uid {
        record::set_uid(rec, uid);
    }
    if let Some(gid) = set.gid {
        record::set_gid(rec, gid);
    }
    if set.size.is_some() {
        record::set_mtime(rec, now);
    }
    if let Some(atime) = set.atime {
        record::set_atime(rec, atime.resolve(now));
    }
    if let Some(mtime) = set.mtime {
        record::set_mtime(rec, mtime.resolve(now));
    }
    record::set_ctime(rec, set.ctime.unwrap_or(now));
}
