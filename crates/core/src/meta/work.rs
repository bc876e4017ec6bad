//! What a transaction gathers, in memory that is used again.
//!
//! An operation takes a microsecond or two, and a dozen allocations would be a good part of that. So the lists, the record
//! and a few nodes' memory outlive the transaction: they wait in `Works` for the next one.
//!
//! Invariant: a `Work` that waits is empty but for its memory.

use format::{Block, Ino, InodeRecord, RecordBuilder};
use order::sync::Arc;
use order::{Mutex, level};

use super::diff::Runs;
use super::tree::slots::Touched;
use super::tx::{BlockRun, Orphan};
use super::view::Node;

/// Works kept: more threads than this are rarely in a transaction at once.
const WORKS_MAX: usize = 16;
/// Nodes whose memory is kept with a work.
const NODES_MAX: usize = 6;

/// A node as a transaction sees it.
pub(super) struct NodeEdit {
    pub block: Block,
    pub new: Arc<Node>,
    /// What differs from the view; nothing if the block is new, was zeros before, and differs as a whole.
    pub touched: Option<Touched>,
}

/// An inode record as a transaction sees it.
pub(super) struct InodeEdit {
    pub ino: Ino,
    /// What the view has; nothing if the record's block is new.
    pub base: Option<Arc<InodeRecord>>,
    pub new: Arc<InodeRecord>,
}

/// A transaction's changes.
#[derive(Default)]
pub(super) struct Work {
    pub nodes: Vec<NodeEdit>,
    pub inodes: Vec<InodeEdit>,
    pub allocated: Runs,
    pub freed: Runs,
    /// Allocated and freed again in this transaction.
    pub released: Vec<BlockRun>,
    pub freed_nodes: Vec<Block>,
    pub inode_blocks: Vec<Block>,
    /// Slots taken, and free slots of inode blocks made here.
    pub taken: Vec<Ino>,
    pub spare: Vec<Ino>,
    pub orphans: Vec<(Ino, Orphan)>,
    pub record: RecordBuilder,
    /// Memory of nodes that nobody looks at any more.
    memory: Vec<Arc<Node>>,
}

impl Work {
    /// A copy of a node, which nobody else holds.
    pub fn copy_of(&mut self, base: &Arc<Node>) -> Arc<Node> {
        if let Some(mut copy) = self.memory.pop()
            && let Some(node) = Arc::get_mut(&mut copy)
        {
            node.bytes_mut().copy_from_slice(base.bytes());
            return copy;
        }
        let mut copy = Arc::clone(base);
        Arc::make_mut(&mut copy);
        copy
    }

    /// Keeps the memory of a node if nobody else holds it.
    pub fn keep(&mut self, mut node: Arc<Node>) {
        if self.memory.len() < NODES_MAX && Arc::get_mut(&mut node).is_some() {
            self.memory.push(node);
        }
    }

    fn clear(&mut self) {
        self.nodes.clear();
        self.inodes.clear();
        self.allocated.clear();
        self.freed.clear();
        self.released.clear();
        self.freed_nodes.clear();
        self.inode_blocks.clear();
        self.taken.clear();
        self.spare.clear();
        self.orphans.clear();
        self.record.clear();
    }
}

/// Works that wait for a transaction.
pub(super) struct Works {
    waiting: Mutex<level::JournalState, Vec<Work>>,
}

impl Works {
    pub fn new() -> Works {
        Works { waiting: Mutex::new(Vec::new()) }
    }

    /// An empty work.
    pub fn take(&self) -> Work {
        self.waiting.leaf().pop().unwrap_or_default()
    }

    /// Takes a work back.
    pub fn put(&self, mut work: Work) {
        work.clear();
        let mut waiting = self.waiting.leaf();
        if waiting.len() < WORKS_MAX {
            waiting.push(work);
        }
    }
}
