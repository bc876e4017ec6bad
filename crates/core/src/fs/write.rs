//! Writing and appending.
//!
//! The bytes come from the caller's memory, which may be a mapping of this very file; so every copy runs under Freeze
//! (shared) and Inode (exclusive) only. What stands at the place decides the way:
//!
//! * *Written*: copied in place. No transaction unless the file grows; the time stays in memory.
//! * *Hole*: blocks are reserved, which nobody else knows of; the bytes are copied there; then, under Invalidate, zero
//!   translations go and one transaction puts the blocks into the map together with size and time. If a fault allocated
//!   some of the pages meanwhile, the reserved blocks go back and the place is looked at again.
//! * *Unwritten*: where no mapping can fault on it (nothing is mapped, or it lies past the end), copied first and completed
//!   after, together with the size. Otherwise it is zeroed and completed first, then copied as written: a fault in
//!   between would zero it over the copy.
//!
//! A write is cut into pieces of one run. When space runs out after some pieces, they count: the result is short.

use order::{Held, level};

use super::Fs;
use super::inode::{Inode, Node};
use super::place::{PIECE_PAGES_MAX, lookup_in, offset_of};
use super::record;
use crate::dax::Invalidation;
use crate::error::FsError;
use crate::meta::extents::Mapped;
use crate::meta::{TxSize, extents};
use crate::types::{Block, FILE_SIZE_MAX, PAGE_BYTES, Run, RunState};

/// Pages that are zeroed and completed at once before a copy: 2 MiB.
const COMPLETE_PAGES_MAX: u64 = 512;

/// Where a write goes.
#[derive(Clone, Copy)]
enum Place {
    At(u64),
    End,
}

/// How far a write came.
struct Progress {
    start: u64,
    done: usize,
    end: Result<(), FsError>,
}

impl Progress {
    /// Bytes that were written count, whatever stopped the rest.
    fn result(self) -> Result<(u64, usize), FsError> {
        match self.end {
            Err(error) if self.done == 0 => Err(error),
            _ => Ok((self.start, self.done)),
        }
    }
}

impl Fs {
    /// Writes the bytes at `offset`; gives how many were written, which is fewer only if space ran out.
    ///
    /// The bytes are in the pool when this returns, and durable after `sync_node` (at once on a cpu-flush pool). Locks:
    /// Freeze (shared) and Inode (exclusive); for new blocks Invalidate (exclusive) and a transaction.
    ///
    /// # Errors
    /// `NoSpace`, `FileTooBig`, `ReadOnly`, `IsDirectory`, `Invalid` for what has no content.
    pub fn write(&self, node: &Node, offset: u64, from: &[u8]) -> Result<usize, FsError> {
        self.write_to(node, Place::At(offset), from).map(|(_, done)| done)
    }

    /// Writes the bytes at the end, wherever that is when the lock is held; gives the offset and how many were written.
    ///
    /// # Errors
    /// As of `write`.
    pub fn append(&self, node: &Node, from: &[u8]) -> Result<(u64, usize), FsError> {
        self.write_to(node, Place::End, from)
    }

    fn write_to(&self, node: &Node, place: Place, from: &[u8]) -> Result<(u64, usize), FsError> {
        self.demand_own(node)?;
        node.inode.demand_file()?;
        self.demand_writable()?;
        let first = self.write_once(&node.inode, place, from);
        let Err(FsError::NoSpace { pending: true }) = first.end else { return first.result() };
        // The rest goes where this part ended, even if others wrote in between.
        self.meta.sync(&mut order::unlocked())?;
        let rest = self.write_once(&node.inode, Place::At(first.start + first.done as u64), &from[first.done..]);
        Progress { start: first.start, done: first.done + rest.done, end: rest.end }.result()
    }

    fn write_once(&self, inode: &Inode, place: Place, from: &[u8]) -> Progress {
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.read(&mut held);
        let (_inode, mut held) = inode.lock.write(&mut held);
        let size = inode.size();
        let start = match place {
            Place::At(offset) => offset,
            Place::End => size,
        };
        let mut progress = Progress { start, done: 0, end: Ok(()) };
        if from.is_empty() {
            return progress;
        }
        if start >= FILE_SIZE_MAX {
            progress.end = Err(FsError::FileTooBig);
            return progress;
        }
        let len = (FILE_SIZE_MAX - start).min(from.len() as u64) as usize;
        if start > size {
            progress.end = self.zero_past_end(&mut held, inode, size, start);
        }
        while progress.end.is_ok() && progress.done < len {
            match self.write_piece(&mut held, inode, start + progress.done as u64, &from[progress.done..len]) {
                Ok(bytes) => progress.done += bytes,
                Err(error) => progress.end = Err(error),
            }
        }
        progress
    }

    /// Writes what one run takes of the bytes. 0 means: look at the place again.
    fn write_piece(
        &self,
        held: &mut Held<'_, level::Inode>,
        inode: &Inode,
        at: u64,
        from: &[u8],
    ) -> Result<usize, FsError> {
        let page = at / PAGE_BYTES;
        let run = self.run_at(held, inode, page)?;
        match run.state {
            RunState::Written(first) => self.write_in_place(held, inode, at, from, &run, first),
            RunState::Hole => self.write_hole(held, inode, at, from, &run),
            RunState::Unwritten(first) => {
                let past_end = self.granule_start(page) >= self.end_granule(inode.size());
                if past_end || !inode.dax.is_mapped(held) {
                    self.write_unwritten(held, inode, at, from, &run, first)
                } else {
                    let end = (at + from.len() as u64).div_ceil(PAGE_BYTES).min(page + COMPLETE_PAGES_MAX);
                    let end = end.min(run.end()).min(self.end_granule(inode.size()));
                    self.complete_before_write(held, inode, page, end)?;
                    Ok(0)
                }
            }
        }
    }

    fn write_in_place(
        &self,
        held: &mut Held<'_, level::Inode>,
        inode: &Inode,
        at: u64,
        from: &[u8],
        run: &Run,
        first: Block,
    ) -> Result<usize, FsError> {
        let len = (run.end() * PAGE_BYTES - at).min(from.len() as u64) as usize;
        self.store(held, offset_of(first) + at % PAGE_BYTES, &from[..len]);
        self.flush(offset_of(first) + at % PAGE_BYTES, len as u64);
        let end = at + len as u64;
        let now = self.now();
        if end <= inode.size() {
            inode.times.wrote(now);
            return Ok(len);
        }
        let (_invalidate, mut held) = inode.dax.invalidate.write(held);
        self.grow(&mut held, inode, end, |held, fs| {
            fs.change(held, inode, TxSize::Small, |_, _, rec| {
                record::set_size(rec, end);
                record::set_changed(rec, now);
                Ok(())
            })
        })?;
        Ok(len)
    }

    fn write_hole(
        &self,
        held: &mut Held<'_, level::Inode>,
        inode: &Inode,
        at: u64,
        from: &[u8],
        hole: &Run,
    ) -> Result<usize, FsError> {
        let first_page = self.granule_start(hole.page);
        let last_page = (at + from.len() as u64).div_ceil(PAGE_BYTES).min(hole.end());
        let wanted = first_page..self.granule_end(last_page);
        let reserved = {
            let (rec, mut held) = inode.map.read(held);
            let want = self.want(&*self.meta, &rec, &wanted)?;
            self.meta.reserve(&mut held, &want)?
        };
        let blocks = reserved.run();
        let pages = first_page..first_page + u64::from(blocks.len).min(wanted.end - wanted.start);
        let len = (pages.end * PAGE_BYTES - at).min(from.len() as u64) as usize;
        self.fill_granules(held, offset_of(blocks.first), &pages, at, &from[..len]);

        let (_invalidate, mut held) = inode.dax.invalidate.write(held);
        let still = self.run_at(&mut held, inode, pages.start)?;
        if still.state != RunState::Hole || still.end() < pages.end {
            return Ok(0);
        }
        self.dax.invalidate(&mut held, &inode.dax, &self.block_map(inode), pages.clone(), Invalidation::MOVE)?;
        let (end, now) = (at + len as u64, self.now());
        self.grow(&mut held, inode, end, |held, fs| {
            fs.change(held, inode, TxSize::Small, |tx, held, rec| {
                let run = tx.adopt(reserved);
                extents::map_range(tx, held, rec, pages.start, run, Mapped::Written)?;
                record::set_size(rec, record::size(rec).max(end));
                record::set_changed(rec, now);
                Ok(())
            })
        })?;
        Ok(len)
    }

    fn write_unwritten(
        &self,
        held: &mut Held<'_, level::Inode>,
        inode: &Inode,
        at: u64,
        from: &[u8],
        run: &Run,
        first: Block,
    ) -> Result<usize, FsError> {
        let first_page = self.granule_start(run.page);
        let first = Block(first.0 - (run.page - first_page));
        let last_page = (at + from.len() as u64).div_ceil(PAGE_BYTES).min(run.end());
        let pages = first_page..self.granule_end(last_page).min(first_page + PIECE_PAGES_MAX);
        let len = (pages.end * PAGE_BYTES - at).min(from.len() as u64) as usize;
        self.fill_granules(held, offset_of(first), &pages, at, &from[..len]);

        let (_invalidate, mut held) = inode.dax.invalidate.write(held);
        self.dax.invalidate(&mut held, &inode.dax, &self.block_map(inode), pages.clone(), Invalidation::MOVE)?;
        let (end, now) = (at + len as u64, self.now());
        self.grow(&mut held, inode, end, |held, fs| {
            fs.change(held, inode, TxSize::Small, |tx, held, rec| {
                extents::convert(tx, held, rec, pages.clone(), Mapped::Written)?;
                record::set_size(rec, record::size(rec).max(end));
                record::set_changed(rec, now);
                Ok(())
            })
        })?;
        Ok(len)
    }

    /// Makes unwritten pages inside a mapped file written zeros, so that the copy goes in place.
    fn complete_before_write(
        &self,
        held: &mut Held<'_, level::Inode>,
        inode: &Inode,
        start: u64,
        end: u64,
    ) -> Result<(), FsError> {
        let pages = self.granule_start(start)..self.granule_end(end);
        let (_invalidate, mut held) = inode.dax.invalidate.write(held);
        self.dax.invalidate(&mut held, &inode.dax, &self.block_map(inode), pages.clone(), Invalidation::MOVE)?;
        self.change(&mut held, inode, TxSize::Small, |tx, held, rec| {
            let run = lookup_in(tx, rec, pages.start)?;
            let pages = pages.start..pages.end.min(run.end());
            if let RunState::Unwritten(first) = run.state {
                self.pool.zero(offset_of(first), (pages.end - pages.start) * PAGE_BYTES);
                self.flush(offset_of(first), (pages.end - pages.start) * PAGE_BYTES);
                extents::convert(tx, held, rec, pages, Mapped::Written)?;
            }
            Ok(())
        })
    }

    /// Runs a transaction that may make the file longer, and tells mappings of the new pages. The caller holds
    /// Invalidate exclusively.
    pub(super) fn grow(
        &self,
        held: &mut Held<'_, level::Invalidate>,
        inode: &Inode,
        end: u64,
        transaction: impl FnOnce(&mut Held<'_, level::Invalidate>, &Fs) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let old_pages = inode.size().div_ceil(PAGE_BYTES);
        transaction(held, self)?;
        self.dax.grown(held, &inode.dax, old_pages..end.div_ceil(PAGE_BYTES).max(old_pages))
    }

    /// Fills whole granules that nobody can see yet: zeros, the caller's bytes from `at` on, zeros.
    fn fill_granules(
        &self,
        held: &mut Held<'_, level::Inode>,
        offset: u64,
        pages: &std::ops::Range<u64>,
        at: u64,
        from: &[u8],
    ) {
        let head = at - pages.start * PAGE_BYTES;
        let tail = pages.end * PAGE_BYTES - (at + from.len() as u64);
        if head > 0 {
            self.pool.zero(offset, head);
        }
        self.store(held, offset + head, from);
        if tail > 0 {
            self.pool.zero(offset + head + from.len() as u64, tail);
        }
        self.flush(offset, (pages.end - pages.start) * PAGE_BYTES);
    }

    /// Copies the caller's bytes into the pool, around the cache if they are many.
    fn store(&self, held: &mut Held<'_, level::Inode>, offset: u64, from: &[u8]) {
        let _copy = order::in_copy(held);
        self.pool.write_stream(offset, from);
    }
}
