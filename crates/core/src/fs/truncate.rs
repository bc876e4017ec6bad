//! Changing the size.
//!
//! Down: translations behind the new end go first, then one transaction sets the size and takes extents out of the map.
//! If they are more than one transaction holds, that first one also puts the inode on the orphan list, further ones take
//! the rest, and the last takes it off; a crash in between leaves the new size, and the next open goes on.
//! The tail of the last granule is zeroed after that, for mappings that show it: before, a crash could
//! leave the old size with zeros in it.
//!
//! Up: the bytes from the old end to the end of its granule are zeroed first, then the size is set. The rest is a hole.

use format::InodeRecord;
use order::sync::atomic::Ordering::SeqCst;
use order::{Held, level};

use super::inode::Inode;
use super::remove::EXTENTS_PER_TX_MAX;
use super::{Fs, record};
use crate::dax::Invalidation;
use crate::error::FsError;
use crate::meta::{TxSize, extents};
use crate::types::PAGE_BYTES;

impl Fs {
    /// Sets the size, and what else `also` changes in the record, in one transaction.
    pub(super) fn set_size(
        &self,
        held: &mut Held<'_, level::Inode>,
        inode: &Inode,
        size: u64,
        also: impl FnOnce(&mut InodeRecord),
    ) -> Result<(), FsError> {
        let (_invalidate, mut held) = inode.dax.invalidate.write(held);
        let old = inode.size();
        if size >= old {
            self.zero_past_end(&mut held, inode, old, size)?;
            return self.grow(&mut held, inode, size, |held, fs| {
                fs.change(held, inode, TxSize::Small, |_, _, rec| {
                    record::set_size(rec, size);
                    also(rec);
                    Ok(())
                })
            });
        }
        self.truncate(&mut held, inode, size, also)
    }

    fn truncate(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        size: u64,
        also: impl FnOnce(&mut InodeRecord),
    ) -> Result<(), FsError> {
        let end_page = size.div_ceil(PAGE_BYTES);
        self.dax.invalidate(held, &inode.dax, &self.block_map(inode), end_page..u64::MAX, Invalidation::TRUNCATE)?;
        let keep = self.end_granule(size);
        let more = self.change(held, inode, TxSize::Large, |tx, held, rec| {
            record::set_size(rec, size);
            also(rec);
            let last = extents::last(tx, rec)?.map_or(0, |run| run.page + run.pages);
            if last <= keep {
                return Ok(false);
            }
            let done = extents::unmap_range(tx, held, rec, keep..last, EXTENTS_PER_TX_MAX)?;
            if done.next.is_some() {
                tx.add_orphan(inode.ino);
            }
            Ok(done.next.is_some())
        })?;
        if more {
            self.unmap_past_end(held, inode, keep)?;
        }
        // Only translations to the granule that stays could show these bytes.
        self.zero_written(held, inode, size..keep * PAGE_BYTES)
    }

    /// Takes what lies behind `keep` out of the map, transaction by transaction, and the inode off the orphan list.
    fn unmap_past_end(&self, held: &mut Held<'_, level::Invalidate>, inode: &Inode, keep: u64) -> Result<(), FsError> {
        loop {
            let more = self.change(held, inode, TxSize::Large, |tx, held, rec| {
                let last = extents::last(tx, rec)?.map_or(keep, |run| run.page + run.pages);
                if last > keep {
                    let done = extents::unmap_range(tx, held, rec, keep..last, EXTENTS_PER_TX_MAX)?;
                    if done.next.is_some() {
                        return Ok(true);
                    }
                }
                tx.remove_orphan(inode.ino);
                Ok(false)
            })?;
            if !more {
                return Ok(());
            }
        }
    }

    /// At open: a truncation that a crash cut short goes on.
    pub(super) fn finish_truncate(&self, inode: &Inode) -> Result<(), FsError> {
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.read(&mut held);
        let (_inode, mut held) = inode.lock.write(&mut held);
        let (_invalidate, mut held) = inode.dax.invalidate.write(&mut held);
        self.unmap_past_end(&mut held, inode, self.end_granule(inode.size.load(SeqCst)))
    }
}
