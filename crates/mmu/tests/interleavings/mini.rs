//! A file system of one file, made to exercise the fault path: a block map in memory with its own
//! allocation, behind the real levels `Transaction`, `ExtentMap`, `AllocGroup` and `JournalTail`.
//!
//! It frees at once and hands the lowest free block out first, so that a block that is freed too early
//! is used again at once. New blocks come with old bytes in them, which only the allocation's zeroing
//! removes. Errors can be asked for.

use std::collections::BTreeMap;
use std::ops::Range;

use engine::FsError;
use engine::dax::{Access, BlockMap, Dax, Eager, FaultError, FileDax, Invalidation, Mmu, Served, WindowId};
use engine::types::{Block, Ino, Run, RunState};
use order::sync::Arc;
use order::{Before, Held, Mutex, RwLock, level};
use pool::{Durability, Pool};

use crate::subject::{Behind, Subject};
use crate::watched::{BLOCK_BYTES, Memory};

/// What fresh memory holds: the bytes of somebody's old file.
const OLD: u8 = 0xEE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unwritten,
    Written,
}

#[derive(Debug, Default)]
struct Map {
    size: u64,
    pages: BTreeMap<u64, (Block, State)>,
    /// The next lookups of this page fail.
    bad_page: Option<u64>,
}

pub struct MiniFs {
    memory: Arc<Memory>,
    pool: Arc<dyn Pool>,
    dax: Dax,
    file: FileDax,
    inode: RwLock<level::Inode, ()>,
    gate: RwLock<level::FaultGate, ()>,
    transaction: RwLock<level::Transaction, ()>,
    map: RwLock<level::ExtentMap, Map>,
    used: Mutex<level::AllocGroup, Vec<bool>>,
    committed: Mutex<level::JournalTail, u64>,
}

impl MiniFs {
    /// From now on the page cannot be looked up: its memory is lost. Cleared when it is punched.
    pub fn spoil(&self, page: u64) {
        let mut held = order::unlocked();
        let (mut map, _held) = self.map.write(&mut held);
        map.bad_page = Some(page);
    }

    /// A sync that may fail.
    pub fn try_sync(&self) -> Result<(), FsError> {
        let mut held = order::unlocked();
        self.dax.writeback(&mut held, &self.file, self, 0..u64::MAX)
    }

    /// As `write`, with the bytes from `source`, which may fault: it runs under the inode's lock only.
    pub fn write_from(&self, at: u64, len: usize, source: &dyn Fn(&mut [u8])) {
        let mut held = order::unlocked();
        let (_inode, mut held) = self.inode.write(&mut held);
        let mut bytes = vec![0; len];
        {
            let _copy = order::in_copy(&mut held);
            source(&mut bytes);
        }
        let pages = at / BLOCK_BYTES..(at + len as u64).div_ceil(BLOCK_BYTES);
        self.publish(&mut held, &pages, at + len as u64);
        let mut rest = &bytes[..];
        for page in pages {
            let within = if page == at / BLOCK_BYTES { at % BLOCK_BYTES } else { 0 };
            let (part, after) = rest.split_at(rest.len().min((BLOCK_BYTES - within) as usize));
            let block = self.block_now(&mut held, page);
            self.pool.write(block.0 * BLOCK_BYTES + within, part);
            rest = after;
        }
    }

    /// Makes the pages written and the size at least `size`. Zeroed blocks appear, then the bytes.
    fn publish(&self, held: &mut Held<'_, level::Inode>, pages: &Range<u64>, size: u64) {
        let (_exclusive, mut held) = self.file.invalidate.write(held);
        let old_size = BlockMap::size(self, &mut held);
        self.dax.invalidate(&mut held, &self.file, self, pages.clone(), Invalidation::MOVE).expect("invalidate");
        self.zero_tail(&mut held, old_size, size);
        self.change(&mut held, |fs, map, held| {
            for page in pages.clone() {
                fs.make_written(map, held, page);
            }
            map.size = map.size.max(size);
        });
        self.grow(&mut held, old_size, size);
    }

    /// One transaction: the change is made under `ExtentMap` and committed before that is released.
    fn change<P: Before<level::Transaction>, R>(
        &self,
        held: &mut Held<'_, P>,
        f: impl FnOnce(&Self, &mut Map, &mut Held<'_, level::ExtentMap>) -> R,
    ) -> R {
        let (_tx, mut held) = self.transaction.read(held);
        let (mut map, mut held) = self.map.write(&mut held);
        let result = f(self, &mut map, &mut held);
        let (mut committed, _held) = self.committed.lock(&mut held);
        *committed += 1;
        result
    }

    fn make_written(&self, map: &mut Map, held: &mut Held<'_, level::ExtentMap>, page: u64) {
        let block = match map.pages.get(&page) {
            Some((_, State::Written)) => return,
            Some((block, State::Unwritten)) => *block,
            None => self.allocate_block(held),
        };
        self.pool.zero(block.0 * BLOCK_BYTES, BLOCK_BYTES);
        map.pages.insert(page, (block, State::Written));
    }

    fn allocate_block(&self, held: &mut Held<'_, level::ExtentMap>) -> Block {
        let (mut used, _held) = self.used.lock(held);
        let free = used.iter().position(|used| !used).expect("a free block");
        used[free] = true;
        Block(free as u64)
    }

    /// Takes pages out of the map and frees their blocks, at once.
    fn unmap(&self, map: &mut Map, held: &mut Held<'_, level::ExtentMap>, pages: Range<u64>) {
        let gone: Vec<u64> = map.pages.range(pages).map(|(page, _)| *page).collect();
        for page in gone {
            let (block, _) = map.pages.remove(&page).expect("it is there");
            let (mut used, _held) = self.used.lock(held);
            used[block.0 as usize] = false;
        }
    }

    /// The bytes past the end in the last block are zeros before the file reaches over them.
    fn zero_tail(&self, held: &mut Held<'_, level::Invalidate>, size: u64, new_size: u64) {
        let within = size % BLOCK_BYTES;
        if new_size == size || within == 0 {
            return;
        }
        let (map, _held) = self.map.read(held);
        if let Some((block, State::Written)) = map.pages.get(&(size / BLOCK_BYTES)) {
            let from = block.0 * BLOCK_BYTES + within;
            self.pool.zero(from, BLOCK_BYTES - within);
            self.pool.flush(from, BLOCK_BYTES - within);
        }
    }

    fn grow(&self, held: &mut Held<'_, level::Invalidate>, old: u64, new: u64) {
        let pages = old.div_ceil(BLOCK_BYTES)..new.div_ceil(BLOCK_BYTES);
        self.dax.grown(held, &self.file, pages).expect("grown");
    }

    fn block_now<P: Before<level::ExtentMap>>(&self, held: &mut Held<'_, P>, page: u64) -> Block {
        let (map, _held) = self.map.read(held);
        map.pages.get(&page).expect("the page is written").0
    }

    /// The change of a block map behind an invalidation.
    fn rearrange(
        &self,
        pages: Range<u64>,
        how: Invalidation,
        f: impl FnOnce(&Self, &mut Map, &mut Held<'_, level::ExtentMap>),
    ) {
        let mut held = order::unlocked();
        let (_inode, mut held) = self.inode.write(&mut held);
        let (_exclusive, mut held) = self.file.invalidate.write(&mut held);
        if self.dax.invalidate(&mut held, &self.file, self, pages, how).is_ok() {
            self.change(&mut held, f);
        }
    }
}

impl BlockMap for MiniFs {
    fn size(&self, held: &mut Held<'_, level::Invalidate>) -> u64 {
        let (map, _held) = self.map.read(held);
        map.size
    }

    fn get_block(&self, held: &mut Held<'_, level::Entry>, page: u64, pages_max: u64) -> Result<Run, FsError> {
        let (map, _held) = self.map.read(held);
        map.run(page, pages_max)
    }

    fn get_block_for_write(
        &self,
        held: &mut Held<'_, level::Entry>,
        page: u64,
        pages_max: u64,
    ) -> Result<Run, FsError> {
        self.change(held, |fs, map, held| {
            let run = map.run(page, pages_max)?;
            for page in run.page..run.end() {
                fs.make_written(map, held, page);
            }
            map.run(page, run.pages)
        })
    }
}

impl Map {
    fn state(&self, page: u64) -> RunState {
        match self.pages.get(&page) {
            None => RunState::Hole,
            Some((block, State::Unwritten)) => RunState::Unwritten(*block),
            Some((block, State::Written)) => RunState::Written(*block),
        }
    }

    fn run(&self, page: u64, pages_max: u64) -> Result<Run, FsError> {
        if self.bad_page == Some(page) {
            let offset = page * BLOCK_BYTES;
            return Err(FsError::Media { offset });
        }
        let first = Run { page, pages: 1, state: self.state(page), fresh: false };
        let pages = (1..pages_max)
            .take_while(|&n| {
                let expected = match first.state {
                    RunState::Hole => RunState::Hole,
                    RunState::Unwritten(block) => RunState::Unwritten(Block(block.0 + n)),
                    RunState::Written(block) => RunState::Written(Block(block.0 + n)),
                };
                self.bad_page != Some(page + n) && self.state(page + n) == expected
            })
            .count();
        Ok(Run { pages: 1 + pages as u64, ..first })
    }

    /// Moves the pages from `from` on by `delta`.
    fn shift(&mut self, from: u64, delta: i64) {
        let moved = self.pages.split_off(&from);
        let moved = moved.into_iter();
        self.pages.extend(moved.map(|(page, what)| (page.wrapping_add_signed(delta), what)));
    }
}

impl Subject for MiniFs {
    fn new(durability: Durability, blocks: u64) -> Arc<Self> {
        let memory = Memory::new(blocks, durability);
        let pool = memory.for_engine();
        pool.write(0, &vec![OLD; (blocks * BLOCK_BYTES).min(1 << 20) as usize]);
        Arc::new(Self {
            dax: Dax::new(Arc::clone(&pool)),
            memory,
            pool,
            file: FileDax::new(Ino(8)),
            inode: RwLock::default(),
            gate: RwLock::default(),
            transaction: RwLock::default(),
            map: RwLock::default(),
            used: Mutex::new(vec![false; blocks as usize]),
            committed: Mutex::default(),
        })
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut held = order::unlocked();
        let (_inode, mut held) = self.inode.read(&mut held);
        let (map, _held) = self.map.read(&mut held);
        let bytes = at..(at + len as u64).min(map.size);
        bytes
            .map(|at| match map.state(at / BLOCK_BYTES) {
                RunState::Written(block) => {
                    let mut byte = [0];
                    let offset = block.0 * BLOCK_BYTES + at % BLOCK_BYTES;
                    self.pool.read(offset, &mut byte);
                    byte[0]
                }
                _ => 0,
            })
            .collect()
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.write_from(at, bytes.len(), &|copy| copy.copy_from_slice(bytes));
    }

    fn truncate(&self, size: u64) {
        let mut held = order::unlocked();
        let (_inode, mut held) = self.inode.write(&mut held);
        let (_exclusive, mut held) = self.file.invalidate.write(&mut held);
        let old = BlockMap::size(self, &mut held);
        self.zero_tail(&mut held, old.min(size), old.max(size));
        let gone = size.div_ceil(BLOCK_BYTES)..u64::MAX;
        if size < old {
            let how = Invalidation::TRUNCATE;
            self.dax.invalidate(&mut held, &self.file, self, gone.clone(), how).expect("invalidate");
        }
        self.change(&mut held, |fs, map, held| {
            map.size = size;
            if size < old {
                fs.unmap(map, held, gone);
            }
        });
        self.grow(&mut held, old, size);
    }

    fn punch(&self, pages: Range<u64>) {
        self.rearrange(pages.clone(), Invalidation::PUNCH, |fs, map, held| {
            if map.bad_page.is_some_and(|page| pages.contains(&page)) {
                map.bad_page = None;
            }
            fs.unmap(map, held, pages);
        });
    }

    fn collapse(&self, pages: Range<u64>) {
        let from = pages.start..u64::MAX;
        self.rearrange(from, Invalidation::MOVE, |fs, map, held| {
            let count = pages.end - pages.start;
            fs.unmap(map, held, pages.clone());
            map.shift(pages.end, -(count as i64));
            map.size -= count * BLOCK_BYTES;
        });
    }

    fn insert(&self, pages: Range<u64>) {
        let mut held = order::unlocked();
        let (_inode, mut held) = self.inode.write(&mut held);
        let (_exclusive, mut held) = self.file.invalidate.write(&mut held);
        let from = pages.start..u64::MAX;
        self.dax.invalidate(&mut held, &self.file, self, from, Invalidation::MOVE).expect("invalidate");
        let count = pages.end - pages.start;
        let old = self.change(&mut held, |_, map, _| {
            map.shift(pages.start, count as i64);
            map.size += count * BLOCK_BYTES;
            map.size - count * BLOCK_BYTES
        });
        self.grow(&mut held, old, old + count * BLOCK_BYTES);
    }

    fn zero(&self, pages: Range<u64>) {
        self.rearrange(pages.clone(), Invalidation::PUNCH, |_, map, _| {
            for (_, (_, state)) in map.pages.range_mut(pages) {
                *state = State::Unwritten;
            }
        });
    }

    fn allocate(&self, pages: Range<u64>) {
        let mut held = order::unlocked();
        let (_inode, mut held) = self.inode.write(&mut held);
        self.change(&mut held, |fs, map, held| {
            for page in pages {
                map.pages.entry(page).or_insert_with(|| (fs.allocate_block(held), State::Unwritten));
            }
        });
    }

    fn sync(&self) {
        self.try_sync().expect("writeback");
    }

    fn attach(&self, window: Arc<dyn Mmu>, eager: Eager) -> Result<WindowId, FaultError> {
        let mut held = order::unlocked();
        let (_shared, mut held) = self.file.invalidate.read(&mut held);
        self.dax.attach(&mut held, &self.file, self, window, eager)
    }

    fn detach(&self, id: WindowId) {
        drop(self.dax.detach(&mut order::unlocked(), &self.file, id));
    }

    fn fault(&self, id: WindowId, page: u64, access: Access) -> Result<Served, FaultError> {
        let mut held = order::fault_root();
        let (_gate, mut held) = self.gate.read(&mut held);
        self.dax.fault(&mut held, &self.file, self, id, page, access)
    }

    fn size(&self) -> u64 {
        let mut held = order::unlocked();
        let (map, _held) = self.map.read(&mut held);
        map.size
    }

    fn behind(&self, page: u64) -> Behind {
        let mut held = order::unlocked();
        let (map, _held) = self.map.read(&mut held);
        match map.state(page) {
            RunState::Hole => Behind::Hole,
            RunState::Unwritten(block) => Behind::Unwritten(block.0),
            RunState::Written(block) => Behind::Written(block.0),
        }
    }

    fn is_marked(&self, page: u64) -> bool {
        let ino = self.file.ino();
        self.dax.is_marked(&mut order::unlocked(), ino, page)
    }

    fn assert_sound(&self) {
        assert!(self.dax.is_quiet(), "an entry is locked or waited for");
        let mut held = order::unlocked();
        let (_inode, mut held) = self.inode.try_write(&mut held).expect("Inode is free");
        let (_gate, mut held) = self.gate.try_write(&mut held).expect("FaultGate is free");
        let invalidate = self.file.invalidate.try_write(&mut held);
        let (_exclusive, mut held) = invalidate.expect("Invalidate is free");
        let (_tx, mut held) = self.transaction.try_write(&mut held).expect("Transaction is free");
        let (map, mut held) = self.map.try_write(&mut held).expect("ExtentMap is free");
        let (used, _held) = self.used.lock(&mut held);
        let mut owned: Vec<u64> = map.pages.values().map(|(block, _)| block.0).collect();
        owned.sort_unstable();
        let taken = used.iter().enumerate().filter(|(_, used)| **used);
        let taken: Vec<u64> = taken.map(|(block, _)| block as u64).collect();
        assert_eq!(owned, taken, "the block map and the bitmap differ");
    }
}
