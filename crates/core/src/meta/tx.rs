//! Transactions: changes gathered privately, then logged as one record and published.
//!
//! `Tx` holds the `Transaction` lock shared, so that a checkpoint sees no half of it, and a reservation of journal space,
//! so that a commit never waits for space. Its changes live in an overlay of private copies. A commit compares each copy
//! with what the view holds and logs the bytes that differ; allocation is logged as ranges of bits. What can fail comes
//! before the record; after it everything is bound to succeed.
//!
//! The stages are types: a `Tx` is open; `log` turns it into `Logged`, whose `publish` puts the changes into the view. A
//! checkpoint writes them in place only with `Durable` in hand, and moves the journal's tail only with `Applied`
//! (`checkpoint`).
//!
//! Dropping a `Tx` gives its blocks and inode slots back through leaf locks only, so that it may be dropped anywhere.
//!
//! Invariant: an object that a transaction changes is guarded by a lock that the caller holds until the commit has
//! returned (`ExtentMap` of its inode), so no two transactions change one object at a time.

use format::{BitmapKind, Block, Entry};
use order::sync::Arc;
use order::sync::atomic::Ordering;
use order::{Before, Held, RwLockReadGuard, level};

use super::alloc::{Bits, SlotEnd, SlotFound};
use super::journal::Reservation;
use super::media;
use super::record;
use super::tree::NodeStore;
use super::tree::slots::{PageMut, Touched};
use super::view::Node;
use super::work::{InodeEdit, NodeEdit, Work};
use super::{Ino, InodeRecord, Meta};
use crate::error::FsError;

/// Blocks next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockRun {
    /// The first.
    pub first: Block,
    /// How many; at least 1.
    pub len: u32,
}

/// Where blocks should start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Anywhere.
    Block,
    /// At a multiple of 512 blocks, so that a 2 MiB translation fits. With `min_blocks` below 512 it falls back to any
    /// place when no region is free.
    Huge,
}

/// What blocks are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Content of files. Leaves a few blocks of the pool to metadata.
    Data,
    /// Tree nodes and inode blocks.
    Meta,
}

/// A request for blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Most of use. On pools of 2 MiB units the answer may be longer: whole units.
    pub blocks: u32,
    /// Fewest of use.
    pub min_blocks: u32,
    /// Where to start.
    pub align: Align,
    /// Best place: taken if it is free.
    pub goal: Option<Block>,
    /// What for.
    pub purpose: Purpose,
}

/// Number of a journal record; later ones are higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// How much a transaction may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxSize {
    /// An operation on names or a few extents: at most 24 nodes and inodes.
    Small,
    /// A step of a long operation: at most 96.
    Large,
}

impl TxSize {
    pub(super) fn objects_max(self) -> usize {
        match self {
            TxSize::Small => 24,
            TxSize::Large => 96,
        }
    }
}

/// Blocks taken from the allocator that nothing refers to yet. Dropping gives them back.
pub struct Reserved<'m> {
    meta: &'m Meta,
    run: Option<BlockRun>,
}

impl<'m> Reserved<'m> {
    pub(super) fn new(meta: &'m Meta, run: BlockRun) -> Reserved<'m> {
        Reserved { meta, run: Some(run) }
    }

    /// The blocks.
    pub fn run(&self) -> BlockRun {
        self.run.unwrap_or(BlockRun { first: Block(0), len: 0 })
    }

    /// Keeps the first `at` blocks and returns the others; 0 < `at` < length.
    #[must_use]
    pub fn split_off(&mut self, at: u32) -> Reserved<'m> {
        let run = self.run();
        assert!(at > 0 && at < run.len, "both parts of a split have blocks");
        self.run = Some(BlockRun { len: at, ..run });
        Reserved::new(self.meta, BlockRun { first: Block(run.first.0 + u64::from(at)), len: run.len - at })
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.meta.groups.unreserve(&self.meta.geometry, run);
        }
    }
}

/// An open transaction.
pub struct Tx<'m> {
    meta: &'m Meta,
    objects_max: usize,
    work: Work,
    /// Why this cannot be committed.
    broken: Option<FsError>,
    // Fields drop in order: the space and the lock last.
    reservation: Reservation<'m>,
    _guard: RwLockReadGuard<'m, level::Transaction, ()>,
}

/// A change of the set of inodes without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orphan {
    Add,
    Remove,
}

impl<'m> Tx<'m> {
    pub(super) fn open(
        meta: &'m Meta,
        size: TxSize,
        reservation: Reservation<'m>,
        guard: RwLockReadGuard<'m, level::Transaction, ()>,
    ) -> Tx<'m> {
        Tx { meta, objects_max: size.objects_max(), work: meta.works.take(), broken: None, reservation, _guard: guard }
    }

    /// How many more objects may change.
    pub fn room(&self) -> usize {
        self.objects_max.saturating_sub(self.work.nodes.len() + self.work.inodes.len())
    }

    /// An inode as this transaction sees it. `Stale` if it is free.
    pub fn inode(&self, ino: Ino) -> Result<Arc<InodeRecord>, FsError> {
        match self.work.inodes.iter().find(|edit| edit.ino == ino) {
            Some(edit) if media::is_free(&edit.new) => Err(FsError::Stale),
            Some(edit) => Ok(Arc::clone(&edit.new)),
            None => self.meta.inode(ino),
        }
    }

    /// Changes an inode to `rec`. The caller holds its `ExtentMap` exclusively until the commit has returned.
    pub fn set_inode(&mut self, rec: &InodeRecord) {
        self.put_inode(rec.ino(), rec);
    }

    fn put_inode(&mut self, ino: Ino, rec: &InodeRecord) {
        let new = Arc::new(*rec);
        if let Some(edit) = self.work.inodes.iter_mut().find(|edit| edit.ino == ino) {
            edit.new = new;
            return;
        }
        let is_new = self.work.inode_blocks.contains(&ino.block());
        let base = if is_new { Ok(None) } else { self.meta.slot(ino).map(Some) };
        match base {
            Ok(base) => self.work.inodes.push(InodeEdit { ino, base, new }),
            // What must be logged depends on what is there.
            Err(error) => self.broken = Some(error),
        }
    }

    /// Takes a free inode slot: its number and the generation that the new inode is to have.
    pub fn alloc_inode<P: Before<level::AllocGroup>>(
        &mut self,
        held: &mut Held<'_, P>,
        near: Ino,
    ) -> Result<(Ino, u32), FsError> {
        let generation = (self.meta.journal.appended().0 as u32).wrapping_add(1).max(1);
        if let Some(ino) = self.work.spare.pop() {
            self.work.taken.push(ino);
            return Ok((ino, generation));
        }
        let found = self.meta.with_context(|cx| self.meta.groups.find_slot(cx, held, near.block()))?;
        let ino = match found {
            SlotFound::Old(ino) => ino,
            SlotFound::New(run) => {
                self.work.allocated.add(run);
                self.work.inode_blocks.push(run.first);
                let first = run.first.0 << 3;
                self.work.spare.extend((first + 1..first + 8).rev().map(Ino));
                Ino(first)
            }
        };
        self.work.taken.push(ino);
        Ok((ino, generation))
    }

    /// Makes an inode's slot free. Its tree must be empty.
    pub fn free_inode(&mut self, ino: Ino) {
        self.put_inode(ino, &InodeRecord::zeroed());
    }

    /// Takes blocks.
    pub fn alloc<P: Before<level::AllocGroup>>(
        &mut self,
        held: &mut Held<'_, P>,
        want: &Want,
    ) -> Result<BlockRun, FsError> {
        let run = self.meta.with_context(|cx| self.meta.groups.reserve(cx, held, want))?;
        self.work.allocated.add(run);
        Ok(run)
    }

    /// Makes reserved blocks this transaction's.
    pub fn adopt(&mut self, mut reserved: Reserved<'_>) -> BlockRun {
        let run = reserved.run();
        if reserved.run.take().is_some() {
            self.work.allocated.add(run);
        }
        run
    }

    /// Frees blocks. They can be taken again once the record of this is durable.
    pub fn free(&mut self, run: BlockRun) -> Result<(), FsError> {
        if run.len == 0 || !self.meta.owns(run.first, u64::from(run.len)) {
            return Err(media::damaged("block", run.first, "it is freed and is no block for data"));
        }
        if self.work.freed.overlaps(run) {
            return Err(media::damaged("block", run.first, "it is freed twice"));
        }
        if !self.work.allocated.overlaps(run) {
            self.work.freed.add(run);
            return Ok(());
        }
        let (own, others) = self.work.allocated.subtract(run);
        self.work.released.extend(own);
        for run in others {
            self.work.freed.add(run);
        }
        Ok(())
    }

    /// Notes that an inode has no name any more (or none yet) but is in use: recovery frees it.
    pub fn add_orphan(&mut self, ino: Ino) {
        self.work.orphans.push((ino, Orphan::Add));
    }

    /// Takes the note back.
    pub fn remove_orphan(&mut self, ino: Ino) {
        self.work.orphans.push((ino, Orphan::Remove));
    }

    /// A node to change. `FileTooBig` when the transaction is full.
    pub(super) fn node_mut(&mut self, block: Block) -> Result<PageMut<'_>, FsError> {
        let at = if let Some(at) = self.work.nodes.iter().position(|edit| edit.block == block) {
            at
        } else {
            self.check_room()?;
            let base = self.meta.node(block)?;
            let new = self.work.copy_of(&base);
            self.work.nodes.push(NodeEdit { block, new, touched: Some(Touched::default()) });
            self.work.nodes.len() - 1
        };
        let edit = &mut self.work.nodes[at];
        // Copies only if a reader of this transaction holds the node.
        Ok(PageMut::of_node(Arc::make_mut(&mut edit.new).bytes_mut(), edit.touched.as_mut()))
    }

    /// An empty node in a block of its own.
    pub(super) fn new_node<P: Before<level::AllocGroup>>(
        &mut self,
        held: &mut Held<'_, P>,
        owner: Ino,
        kind: u8,
        level: u8,
        near: Option<Block>,
    ) -> Result<Block, FsError> {
        self.check_room()?;
        let goal = near.unwrap_or(owner.block());
        let want = Want {
            blocks: 1,
            min_blocks: 1,
            align: Align::Block,
            goal: Some(Block(goal.0 + 1)),
            purpose: Purpose::Meta,
        };
        let block = self.alloc(held, &want)?.first;
        let new = Arc::new(media::empty_node(owner, kind, level, block));
        self.work.nodes.push(NodeEdit { block, new, touched: None });
        Ok(block)
    }

    /// Frees a node's block.
    pub(super) fn free_node(&mut self, block: Block) -> Result<(), FsError> {
        self.free(BlockRun { first: block, len: 1 })?;
        self.work.nodes.retain(|edit| edit.block != block);
        self.work.freed_nodes.push(block);
        Ok(())
    }

    fn check_room(&self) -> Result<(), FsError> {
        if self.room() == 0 { Err(FsError::FileTooBig) } else { Ok(()) }
    }

    /// Logs the changes as one record and publishes them. On an error nothing has changed.
    pub fn commit<P: Before<level::JournalTail>>(self, held: &mut Held<'_, P>) -> Result<Seq, FsError> {
        self.meta.check_writable()?;
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let logged = self.log(held)?;
        Ok(logged.publish())
    }

    fn log<P: Before<level::JournalTail>>(mut self, held: &mut Held<'_, P>) -> Result<Logged<'m>, FsError> {
        if self.work.nodes.len() + self.work.inodes.len() > self.objects_max {
            return Err(FsError::FileTooBig);
        }
        let meta = self.meta;
        meta.with_context(|cx| {
            self.work.allocated.iter().try_for_each(|run| meta.groups.check_bits(cx, run, Bits::Clear))?;
            self.work.freed.iter().try_for_each(|run| meta.groups.check_bits(cx, run, Bits::Set))
        })?;
        self.fill_record();
        let inodes = self.inodes_gained();
        if inodes != 0 {
            self.work.record.push(&Entry::Count { inodes });
        }
        let seq = if self.work.record.is_empty() {
            meta.journal.appended()
        } else {
            meta.check_orphans(&self.work.orphans)?;
            meta.journal.append(&*meta.pool, held, &self.reservation, &mut self.work.record)?
        };
        Ok(Logged { tx: self, seq, inodes })
    }

    fn fill_record(&mut self) {
        let geometry = &self.meta.geometry;
        let Work { nodes, inodes, allocated, freed, inode_blocks, orphans, record, .. } = &mut self.work;
        for run in allocated.iter() {
            record::set_bits(record, geometry, BitmapKind::Used, run);
        }
        for block in inode_blocks.iter() {
            record::set_bits(record, geometry, BitmapKind::Inodes, BlockRun { first: *block, len: 1 });
        }
        for edit in nodes.iter() {
            record::node(record, edit);
        }
        for edit in inodes.iter() {
            record::inode(record, edit);
        }
        for run in freed.iter() {
            record::clear_bits(record, geometry, run);
        }
        for (ino, change) in orphans.iter() {
            record::orphan(record, *ino, *change);
        }
    }

    fn inodes_gained(&self) -> i64 {
        let live = |rec: &InodeRecord| i64::from(!media::is_free(rec));
        self.work.inodes.iter().map(|edit| live(&edit.new) - edit.base.as_ref().map_or(0, |base| live(base))).sum()
    }

    /// Gives back what no record names. With nothing logged that is all.
    fn give_back(&mut self) {
        let groups = &self.meta.groups;
        let Work { allocated, released, inode_blocks, taken, .. } = &mut self.work;
        for run in allocated.drain().chain(released.drain(..)) {
            groups.unreserve(&self.meta.geometry, run);
        }
        for ino in taken.drain(..).filter(|ino| !inode_blocks.contains(&ino.block())) {
            groups.end_slot(&self.meta.geometry, ino, SlotEnd::Free);
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.give_back();
        self.meta.works.put(std::mem::take(&mut self.work));
    }
}

impl NodeStore for Tx<'_> {
    fn node(&self, block: Block) -> Result<Arc<Node>, FsError> {
        match self.work.nodes.iter().find(|edit| edit.block == block) {
            Some(edit) => Ok(Arc::clone(&edit.new)),
            None => self.meta.node(block),
        }
    }

    fn name_salt(&self) -> u64 {
        self.meta.name_salt()
    }

    fn owns(&self, first: Block, len: u64) -> bool {
        self.meta.owns(first, len)
    }
}

/// A transaction whose record is in the journal: it can only succeed now.
struct Logged<'m> {
    tx: Tx<'m>,
    seq: Seq,
    inodes: i64,
}

impl Logged<'_> {
    /// Puts the changes into the view and the allocator.
    fn publish(mut self) -> Seq {
        let meta = self.tx.meta;
        let work = &mut self.tx.work;
        // A freed node leaves the view before its block can be handed out again.
        while let Some(block) = work.freed_nodes.pop() {
            drop(meta.nodes.forget(block.0));
        }
        while let Some(edit) = work.nodes.pop() {
            if let Some(old) = meta.nodes.publish(edit.block.0, edit.new) {
                work.keep(old);
            }
        }
        self.publish_inodes();
        let work = &mut self.tx.work;
        for run in work.allocated.drain() {
            meta.groups.mark_used(&meta.geometry, BitmapKind::Used, run);
        }
        for block in work.inode_blocks.drain(..) {
            meta.groups.mark_used(&meta.geometry, BitmapKind::Inodes, BlockRun { first: block, len: 1 });
        }
        for run in work.freed.drain() {
            meta.groups.mark_free(&meta.geometry, run, self.seq.0);
        }
        // What became free, now that its block is an inode block for everybody.
        for ino in work.spare.drain(..) {
            meta.groups.end_slot(&meta.geometry, ino, SlotEnd::Free);
        }
        for edit in work.inodes.drain(..).filter(|edit| media::is_free(&edit.new)) {
            meta.groups.end_slot(&meta.geometry, edit.ino, SlotEnd::Free);
        }
        meta.apply_orphans(&work.orphans);
        if self.inodes != 0 {
            let count = |old: u64| Some(old.saturating_add_signed(self.inodes));
            let _ = meta.groups.inodes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        }
        self.seq
    }

    fn publish_inodes(&mut self) {
        let meta = self.tx.meta;
        let Work { inodes, inode_blocks, taken, spare, .. } = &mut self.tx.work;
        // All slots of a new inode block are in the view before others can see that it is one.
        for ino in inode_blocks.iter().flat_map(|block| (block.0 << 3..(block.0 + 1) << 3).map(Ino)) {
            if !inodes.iter().any(|edit| edit.ino == ino) {
                drop(meta.inodes.publish(ino.0, Arc::new(InodeRecord::zeroed())));
            }
        }
        for edit in inodes.iter() {
            drop(meta.inodes.publish(edit.ino.0, Arc::clone(&edit.new)));
            if !media::is_free(&edit.new) {
                taken.retain(|ino| *ino != edit.ino);
                spare.retain(|ino| *ino != edit.ino);
                meta.groups.end_slot(&meta.geometry, edit.ino, SlotEnd::Used);
            }
        }
    }
}
