//! Collapse and insert: taking a range out of a file, or opening one in it, without copying.
//!
//! Both move every block behind the range, so every translation from there on goes first, with the stores made
//! through it kept. The move itself is one transaction: it is there whole after a crash, or not at all. (If so many extents
//! lie in a range to be taken out that one transaction cannot hold them, they are punched before it.)

use std::ops::Range;

use order::{Held, level};

use super::Fs;
use super::inode::Inode;
use super::record;
use super::remove::EXTENTS_PER_TX_MAX;
use crate::dax::Invalidation;
use crate::error::FsError;
use crate::meta::{TxSize, extents};
use crate::types::{FILE_SIZE_MAX, PAGE_BYTES};

impl Fs {
    pub(super) fn collapse(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        bytes: Range<u64>,
    ) -> Result<(), FsError> {
        self.demand_aligned(bytes.start, bytes.end - bytes.start)?;
        let size = inode.size();
        if bytes.end >= size {
            return Err(FsError::Invalid("the range to be taken out reaches the end of the file"));
        }
        let pages = bytes.start / PAGE_BYTES..bytes.end / PAGE_BYTES;
        let count = pages.end - pages.start;
        let new_size = size - count * PAGE_BYTES;
        let new_end = new_size.div_ceil(PAGE_BYTES);
        let map = self.block_map(inode);
        self.dax.invalidate(held, &inode.dax, &map, pages.start..new_end, Invalidation::MOVE)?;
        self.dax.invalidate(
            held,
            &inode.dax,
            &map,
            new_end..u64::MAX,
            Invalidation { contents: crate::dax::Contents::Kept, ..Invalidation::TRUNCATE },
        )?;
        let mut rest = pages.clone();
        loop {
            let now = self.now();
            let next = self.change(held, inode, TxSize::Large, |tx, held, rec| {
                let done = extents::unmap_range(tx, held, rec, rest.clone(), EXTENTS_PER_TX_MAX)?;
                if done.next.is_none() {
                    extents::shift(tx, held, rec, pages.end, -(count as i64))?;
                    record::set_size(rec, new_size);
                }
                record::set_changed(rec, now);
                Ok(done.next)
            })?;
            match next {
                Some(end) => rest.end = end,
                None => return Ok(()),
            }
        }
    }

    pub(super) fn insert(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        offset: u64,
        len: u64,
    ) -> Result<(), FsError> {
        self.demand_aligned(offset, len)?;
        let size = inode.size();
        if offset >= size {
            return Err(FsError::Invalid("nothing to be moved behind the end of the file"));
        }
        let new_size = size.checked_add(len).filter(|size| *size <= FILE_SIZE_MAX).ok_or(FsError::FileTooBig)?;
        let page = offset / PAGE_BYTES;
        self.dax.invalidate(held, &inode.dax, &self.block_map(inode), page..u64::MAX, Invalidation::MOVE)?;
        let now = self.now();
        let old_pages = size.div_ceil(PAGE_BYTES);
        self.change(held, inode, TxSize::Large, |tx, held, rec| {
            extents::shift(tx, held, rec, page, (len / PAGE_BYTES) as i64)?;
            record::set_size(rec, new_size);
            record::set_changed(rec, now);
            Ok(())
        })?;
        self.dax.grown(held, &inode.dax, old_pages..new_size.div_ceil(PAGE_BYTES))
    }

    fn demand_aligned(&self, offset: u64, len: u64) -> Result<(), FsError> {
        let granule = self.granule_bytes();
        if offset.is_multiple_of(granule) && len.is_multiple_of(granule) {
            Ok(())
        } else {
            Err(FsError::Invalid("collapse and insert take whole blocks"))
        }
    }
}
