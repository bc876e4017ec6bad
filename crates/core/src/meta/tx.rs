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

use format::{BitmapKind, Block, Entry, RecordBuilder};
use order::sync::Arc;
use order::sync::atomic::Ordering;
use order::{Before, Held, RwLockReadGuard, level};

use super::alloc::{Bits, SlotEnd, SlotFound};
use super::diff::{Runs, changed_ranges};
use super::journal::Reservation;
use super::media;
use super::record;
use super::tree::NodeStore;
use super::view::Node;
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

struct NodeEdit {
    block: Block,
    /// Nothing: the block is new and counts as zeros.
    base: Option<Arc<Node>>,
    new: Arc<Node>,
}

struct InodeEdit {
    ino: Ino,
    base: Option<Arc<InodeRecord>>,
    new: Arc<InodeRecord>,
}

/// An open transaction.
pub struct Tx<'m> {
    meta: &'m Meta,
    objects_max: usize,
    nodes: Vec<NodeEdit>,
    inodes: Vec<InodeEdit>,
    allocated: Runs,
    freed: Runs,
    /// Allocated and freed again in this transaction.
    released: Vec<BlockRun>,
    freed_nodes: Vec<Block>,
    inode_blocks: Vec<Block>,
    /// Slots taken, and free slots of inode blocks made here.
    taken: Vec<Ino>,
    spare: Vec<Ino>,
    orphans: Vec<(Ino, Orphan)>,
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
        Tx {
            meta,
            objects_max: size.objects_max(),
            nodes: Vec::new(),
            inodes: Vec::new(),
            allocated: Runs::default(),
            freed: Runs::default(),
            released: Vec::new(),
            freed_nodes: Vec::new(),
            inode_blocks: Vec::new(),
            taken: Vec::new(),
            spare: Vec::new(),
            orphans: Vec::new(),
            broken: None,
            reservation,
            _guard: guard,
        }
    }

    /// How many more objects may change.
    pub fn room(&self) -> usize {
        self.objects_max.saturating_sub(self.nodes.len() + self.inodes.len())
    }

    /// An inode as this transaction sees it. `Stale` if it is free.
    pub fn inode(&self, ino: Ino) -> Result<Arc<InodeRecord>, FsError> {
        match self.inodes.iter().find(|edit| edit.ino == ino) {
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
        if let Some(edit) = self.inodes.iter_mut().find(|edit| edit.ino == ino) {
            edit.new = new;
            return;
        }
        let is_new = self.inode_blocks.contains(&ino.block());
        let base = if is_new { Ok(None) } else { self.meta.slot(ino).map(Some) };
        match base {
            Ok(base) => self.inodes.push(InodeEdit { ino, base, new }),
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
        if let Some(ino) = self.spare.pop() {
            self.taken.push(ino);
            return Ok((ino, generation));
        }
        let found = self.meta.with_context(|cx| self.meta.groups.find_slot(cx, held, near.block()))?;
        let ino = match found {
            SlotFound::Old(ino) => ino,
            SlotFound::New(run) => {
                self.allocated.add(run);
                self.inode_blocks.push(run.first);
                let first = run.first.0 << 3;
                self.spare.extend((first + 1..first + 8).rev().map(Ino));
                Ino(first)
            }
        };
        self.taken.push(ino);
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
        self.allocated.add(run);
        Ok(run)
    }

    /// Makes reserved blocks this transaction's.
    pub fn adopt(&mut self, mut reserved: Reserved<'_>) -> BlockRun {
        let run = reserved.run();
        if reserved.run.take().is_some() {
            self.allocated.add(run);
        }
        run
    }

    /// Frees blocks. They can be taken again once the record of this is durable.
    pub fn free(&mut self, run: BlockRun) -> Result<(), FsError> {
        if run.len == 0 || !self.meta.owns(run.first, u64::from(run.len)) {
            return Err(media::damaged("block", run.first, "it is freed and is no block for data"));
        }
        if self.freed.overlaps(run) {
            return Err(media::damaged("block", run.first, "it is freed twice"));
        }
        let (own, others) = self.allocated.subtract(run);
        self.released.extend(own);
        for run in others {
            self.freed.add(run);
        }
        Ok(())
    }

    /// Notes that an inode has no name any more (or none yet) but is in use: recovery frees it.
    pub fn add_orphan(&mut self, ino: Ino) {
        self.orphans.push((ino, Orphan::Add));
    }

    /// Takes the note back.
    pub fn remove_orphan(&mut self, ino: Ino) {
        self.orphans.push((ino, Orphan::Remove));
    }

    /// A node to change. `FileTooBig` when the transaction is full.
    pub(super) fn node_mut(&mut self, block: Block) -> Result<&mut Node, FsError> {
        let at = if let Some(at) = self.nodes.iter().position(|edit| edit.block == block) {
            at
        } else {
            self.check_room()?;
            let base = self.meta.node(block)?;
            // `make_mut` below makes the copy, since the base is shared.
            self.nodes.push(NodeEdit { block, base: Some(Arc::clone(&base)), new: base });
            self.nodes.len() - 1
        };
        Ok(Arc::make_mut(&mut self.nodes[at].new))
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
        self.nodes.push(NodeEdit { block, base: None, new });
        Ok(block)
    }

    /// Frees a node's block.
    pub(super) fn free_node(&mut self, block: Block) -> Result<(), FsError> {
        self.free(BlockRun { first: block, len: 1 })?;
        self.nodes.retain(|edit| edit.block != block);
        self.freed_nodes.push(block);
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

    fn log<P: Before<level::JournalTail>>(self, held: &mut Held<'_, P>) -> Result<Logged<'m>, FsError> {
        if self.room() == 0 && self.nodes.len() + self.inodes.len() > self.objects_max {
            return Err(FsError::FileTooBig);
        }
        let meta = self.meta;
        meta.with_context(|cx| {
            self.allocated.iter().try_for_each(|run| meta.groups.check_bits(cx, run, Bits::Clear))?;
            self.freed.iter().try_for_each(|run| meta.groups.check_bits(cx, run, Bits::Set))
        })?;
        let mut record = meta.journal.builder();
        for run in self.allocated.iter() {
            record::set_bits(&mut record, &meta.geometry, BitmapKind::Used, run);
        }
        for block in &self.inode_blocks {
            let run = BlockRun { first: *block, len: 1 };
            record::set_bits(&mut record, &meta.geometry, BitmapKind::Inodes, run);
        }
        self.log_objects(&mut record);
        for run in self.freed.iter() {
            record::clear_bits(&mut record, &meta.geometry, run);
        }
        for (ino, change) in &self.orphans {
            record::orphan(&mut record, *ino, *change);
        }
        let inodes = self.inodes_gained();
        if inodes != 0 {
            record.push(&Entry::Count { inodes });
        }
        if record.is_empty() {
            let seq = meta.journal.appended();
            return Ok(Logged { tx: self, seq, inodes });
        }
        meta.check_orphans(&self.orphans)?;
        let seq = meta.journal.append(&*meta.pool, held, &self.reservation, &mut record)?;
        meta.journal.keep(record);
        Ok(Logged { tx: self, seq, inodes })
    }

    fn log_objects(&self, record: &mut RecordBuilder) {
        let nothing = &media::ZEROS;
        for edit in &self.nodes {
            let base = edit.base.as_ref().map_or(nothing, |base| base.bytes());
            let start = edit.block.offset();
            changed_ranges(base, edit.new.bytes(), |range| {
                record.push(&Entry::Bytes { offset: start + range.start as u64, data: &edit.new.bytes()[range] });
            });
        }
        for edit in &self.inodes {
            let base = edit.base.as_ref().map_or(&nothing[..format::INODE_BYTES], |base| base.as_bytes());
            let new = edit.new.as_bytes();
            let start = edit.ino.offset();
            changed_ranges(base, new, |range| {
                record.push(&Entry::Bytes { offset: start + range.start as u64, data: &new[range] });
            });
        }
    }

    fn inodes_gained(&self) -> i64 {
        let live = |rec: &InodeRecord| i64::from(!media::is_free(rec));
        self.inodes.iter().map(|edit| live(&edit.new) - edit.base.as_ref().map_or(0, |base| live(base))).sum()
    }

    /// Gives back what no record names. With nothing logged that is all.
    fn give_back(&mut self) {
        let groups = &self.meta.groups;
        for run in self.allocated.drain().chain(self.released.drain(..)) {
            groups.unreserve(&self.meta.geometry, run);
        }
        let made = std::mem::take(&mut self.inode_blocks);
        for ino in self.taken.drain(..).filter(|ino| !made.contains(&ino.block())) {
            groups.end_slot(&self.meta.geometry, ino, SlotEnd::Free);
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl NodeStore for Tx<'_> {
    fn node(&self, block: Block) -> Result<Arc<Node>, FsError> {
        match self.nodes.iter().find(|edit| edit.block == block) {
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
        let tx = &mut self.tx;
        let meta = tx.meta;
        // A freed node leaves the view before its block can be handed out again.
        for block in tx.freed_nodes.drain(..) {
            meta.nodes.forget(block.0);
        }
        for edit in tx.nodes.drain(..) {
            meta.nodes.publish(edit.block.0, edit.new);
        }
        // All slots of a new inode block are in the view before others can see that it is one.
        for ino in tx.inode_blocks.iter().flat_map(|block| (block.0 << 3..(block.0 + 1) << 3).map(Ino)) {
            if !tx.inodes.iter().any(|edit| edit.ino == ino) {
                meta.inodes.publish(ino.0, Arc::new(InodeRecord::zeroed()));
            }
        }
        let mut freed = Vec::new();
        for edit in tx.inodes.drain(..) {
            if media::is_free(&edit.new) {
                freed.push(edit.ino);
            } else {
                tx.taken.retain(|ino| *ino != edit.ino);
                tx.spare.retain(|ino| *ino != edit.ino);
                freed.retain(|ino| *ino != edit.ino);
            }
            meta.inodes.publish(edit.ino.0, Arc::clone(&edit.new));
            if !media::is_free(&edit.new) {
                meta.groups.end_slot(&meta.geometry, edit.ino, SlotEnd::Used);
            }
        }
        for run in tx.allocated.drain() {
            meta.groups.mark_used(&meta.geometry, BitmapKind::Used, run);
        }
        for block in std::mem::take(&mut tx.inode_blocks) {
            meta.groups.mark_used(&meta.geometry, BitmapKind::Inodes, BlockRun { first: block, len: 1 });
        }
        for run in tx.freed.drain() {
            meta.groups.mark_free(&meta.geometry, run, self.seq.0);
        }
        for ino in freed.into_iter().chain(tx.spare.drain(..)) {
            meta.groups.end_slot(&meta.geometry, ino, SlotEnd::Free);
        }
        meta.apply_orphans(&tx.orphans);
        let count = |old: u64| Some(old.saturating_add_signed(self.inodes));
        let _ = meta.groups.inodes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        self.seq
    }
}
