//! A pool that knows which blocks hold stores of programs that were not flushed.
//!
//! The engine and the windows see the same memory through two objects. What is stored through the
//! window's side is unflushed until the engine's side flushes it: the processor's caches, block by
//! block.

use std::sync::atomic::{AtomicBool, Ordering};

use order::sync::Arc;
use pool::{Access, Durability, HeapPool, Pool, WindowSource};

pub const BLOCK_BYTES: u64 = 4096;

/// The memory and its caches.
#[derive(Debug)]
pub struct Memory {
    heap: HeapPool,
    /// By block. Atomics of `std`: no scheduling points.
    unflushed: Box<[AtomicBool]>,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Engine,
    Program,
}

/// One side's view.
#[derive(Debug)]
struct Watched {
    memory: Arc<Memory>,
    side: Side,
}

impl Memory {
    pub fn new(blocks: u64, durability: Durability) -> Arc<Self> {
        Arc::new(Self {
            heap: HeapPool::new(blocks * BLOCK_BYTES, durability).expect("memory for a pool"),
            unflushed: (0..blocks).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// The pool, for the engine.
    pub fn for_engine(self: &Arc<Self>) -> Arc<dyn Pool> {
        self.side(Side::Engine)
    }

    /// The pool, for the windows.
    pub fn for_programs(self: &Arc<Self>) -> Arc<dyn Pool> {
        self.side(Side::Program)
    }

    fn side(self: &Arc<Self>, side: Side) -> Arc<dyn Pool> {
        let memory = Arc::clone(self);
        Arc::new(Watched { memory, side })
    }

    /// Whether the block holds a program's store that was not flushed.
    pub fn is_unflushed(&self, block: u64) -> bool {
        self.unflushed[block as usize].load(Ordering::SeqCst)
    }

    fn note(&self, offset: u64, len: u64, unflushed: bool) {
        for block in offset / BLOCK_BYTES..(offset + len).div_ceil(BLOCK_BYTES) {
            self.unflushed[block as usize].store(unflushed, Ordering::SeqCst);
        }
    }
}

impl Pool for Watched {
    fn len(&self) -> u64 {
        self.memory.heap.len()
    }
    fn durability(&self) -> Durability {
        self.memory.heap.durability()
    }
    fn access(&self) -> Access {
        self.memory.heap.access()
    }
    fn page_size(&self) -> u64 {
        self.memory.heap.page_size()
    }
    fn name(&self) -> String {
        self.memory.heap.name()
    }
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.memory.heap.read(offset, into);
    }
    fn write(&self, offset: u64, from: &[u8]) {
        self.memory.heap.write(offset, from);
        if self.side == Side::Program {
            self.memory.note(offset, from.len() as u64, true);
        }
    }
    fn write_stream(&self, offset: u64, from: &[u8]) {
        self.memory.heap.write_stream(offset, from);
    }
    fn zero(&self, offset: u64, len: u64) {
        self.memory.heap.zero(offset, len);
    }
    fn copy(&self, from: u64, to: u64, len: u64) {
        self.memory.heap.copy(from, to, len);
    }
    fn load_u64(&self, offset: u64) -> u64 {
        self.memory.heap.load_u64(offset)
    }
    fn store_u64(&self, offset: u64, value: u64) {
        self.memory.heap.store_u64(offset, value);
    }
    fn equal(&self, offset: u64, other: &[u8]) -> bool {
        self.memory.heap.equal(offset, other)
    }
    fn flush(&self, offset: u64, len: u64) {
        self.memory.note(offset, len, false);
        self.memory.heap.flush(offset, len);
    }
    fn fence(&self) {
        self.memory.heap.fence();
    }
    fn sync(&self) -> pool::Result<()> {
        self.memory.heap.sync()
    }
    fn back(&self, offset: u64, len: u64) -> pool::Result<()> {
        self.memory.heap.back(offset, len)
    }
    fn give_back(&self, offset: u64, len: u64) -> pool::Result<()> {
        self.memory.heap.give_back(offset, len)
    }
    fn window_source(&self) -> Option<WindowSource<'_>> {
        None
    }
    fn witness(&self) -> [u8; 32] {
        self.memory.heap.witness()
    }
}
