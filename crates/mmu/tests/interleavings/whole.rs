//! The engine's own file system as the subject: its block map, transactions, allocation and journal.
//!
//! Its space of schedules is larger, so it is searched less far than that of the small map.

use std::ops::Range;

use engine::dax::{Access, Eager, FaultError, Mmu, Served, WindowId};
use engine::fs::{Access as Opened, Fs, Node};
use engine::types::{Fallocate, MakeOptions, NewNode, RunState, SetAttr, SyncKind, Timestamp};
use order::sync::Arc;
use pool::Durability;

use crate::subject::{Behind, Subject};
use crate::watched::{BLOCK_BYTES, Memory};

/// Blocks that the file system takes for itself, with room to spare.
const OWN_BLOCKS: u64 = 4096;

/// One file of a file system.
#[derive(Debug)]
pub struct WholeFs {
    memory: Arc<Memory>,
    fs: Arc<Fs>,
    node: Node,
    /// Free blocks when the file had none.
    free_at_start: u64,
}

impl WholeFs {
    fn resize(&self, size: u64) {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        self.fs.set_attr(&self.node, &set).expect("set_attr");
    }

    fn change(&self, how: Fallocate, pages: Range<u64>) {
        let len = (pages.end - pages.start) * BLOCK_BYTES;
        self.fs
            .allocate(&self.node, how, pages.start * BLOCK_BYTES, len)
            .unwrap_or_else(|error| panic!("{how:?}: {error}"));
    }
}

impl Subject for WholeFs {
    fn new(durability: Durability, blocks: u64) -> Arc<Self> {
        let memory = Memory::new(OWN_BLOCKS + blocks.next_multiple_of(512), durability);
        let pool = memory.for_engine();
        let options = MakeOptions { uuid: Some([7; 16]), now: Some(Timestamp::default()), ..MakeOptions::default() };
        Fs::make(&*pool, &options).expect("make");
        let fs = Fs::open(pool, Opened::ReadWrite).expect("open");
        let root = fs.root().expect("root");
        let node = fs.create(&root, b"file", &NewNode::file(0o644)).expect("create");
        Arc::new(Self { free_at_start: fs.statfs().blocks_free, memory, fs, node })
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let count = self.fs.read(&self.node, at, &mut bytes).expect("read");
        bytes.truncate(count);
        bytes
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let count = self.fs.write(&self.node, at, bytes).expect("write");
        assert_eq!(count, bytes.len(), "there is space");
    }

    fn truncate(&self, size: u64) {
        self.resize(size);
    }

    fn punch(&self, pages: Range<u64>) {
        self.change(Fallocate::Punch, pages);
    }

    fn collapse(&self, pages: Range<u64>) {
        self.change(Fallocate::Collapse, pages);
    }

    fn insert(&self, pages: Range<u64>) {
        self.change(Fallocate::Insert, pages);
    }

    fn zero(&self, pages: Range<u64>) {
        self.change(Fallocate::ZeroKeepSize, pages);
    }

    fn allocate(&self, pages: Range<u64>) {
        self.change(Fallocate::AllocateKeepSize, pages);
    }

    fn sync(&self) {
        self.fs.sync_node(&self.node, SyncKind::Data).expect("sync");
    }

    fn attach(&self, window: Arc<dyn Mmu>, eager: Eager) -> Result<WindowId, FaultError> {
        self.fs.attach(&self.node, window, eager)
    }

    fn detach(&self, id: WindowId) {
        drop(self.fs.detach(&self.node, id));
    }

    fn fault(&self, id: WindowId, page: u64, access: Access) -> Result<Served, FaultError> {
        self.fs.fault(&self.node, id, page, access)
    }

    fn size(&self) -> u64 {
        self.node.size()
    }

    fn behind(&self, page: u64) -> Behind {
        let runs = self.fs.runs(&self.node, page..page + 1).expect("runs");
        match runs.first().map(|run| run.state) {
            None | Some(RunState::Hole) => Behind::Hole,
            Some(RunState::Unwritten(block)) => Behind::Unwritten(block.0),
            Some(RunState::Written(block)) => Behind::Written(block.0),
        }
    }

    fn is_marked(&self, page: u64) -> bool {
        let ino = self.node.ino();
        self.fs.dax().is_marked(&mut order::unlocked(), ino, page)
    }

    fn assert_sound(&self) {
        assert!(self.fs.dax().is_quiet(), "an entry is locked or waited for");
        // Freeze and FaultGate exclusively: nobody holds them.
        self.fs.frozen(|| ()).expect("freeze");
        let owned = self.fs.attr(&self.node).expect("attr").blocks;
        let free = self.fs.statfs().blocks_free;
        assert_eq!(owned + free, self.free_at_start, "the block map and the bitmap differ");
    }
}
