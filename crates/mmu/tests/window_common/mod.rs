//! A file for windows without a file system: a block map in a table, over a pool of memory, behind the
//! engine's own fault path. `None` from [`Bed::new`] means that page faults cannot be trapped here; the test says so
//! and ends.
#![allow(dead_code)] // each test uses its part

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use engine::FsError;
use engine::dax::{BlockMap, Dax, Eager, FileDax, Invalidation, WindowId, WindowKind};
use engine::types::Run;
use format::{Block, Ino};
use mmu::window::{Limits, Place, Window, WindowError, WindowMmu};
use order::{Held, Mutex, RwLock, level};
use pool::{Huge, MemfdPool, Pool};

pub const PAGE: u64 = 4096;
const POOL_BYTES: u64 = 64 << 20;

/// Blocks of a file: page to block, taken from the pool one after the other and never given back.
#[derive(Debug)]
pub struct Table {
    pool: Arc<dyn Pool>,
    size: AtomicU64,
    blocks: Mutex<level::Oracle, BTreeMap<u64, u64>>,
    next: AtomicU64,
    /// Blocks between two that follow each other.
    pub stride: AtomicU64,
    pub full: AtomicBool,
}

impl BlockMap for Table {
    fn size(&self, _: &mut Held<'_, level::Invalidate>) -> u64 {
        self.size.load(SeqCst)
    }

    fn get_block(&self, _: &mut Held<'_, level::Entry>, page: u64, pages_max: u64) -> Result<Run, FsError> {
        let blocks = self.blocks.leaf();
        let Some(&first) = blocks.get(&page) else {
            let next = blocks.range(page..).next().map_or(u64::MAX, |(next, _)| *next);
            return Ok(Run::hole(page, (next - page).min(pages_max)));
        };
        let pages = (1..pages_max).take_while(|n| blocks.get(&(page + n)) == Some(&(first + n))).count();
        Ok(Run::written(page, pages as u64 + 1, Block(first)))
    }

    fn get_block_for_write(
        &self,
        held: &mut Held<'_, level::Entry>,
        page: u64,
        pages_max: u64,
    ) -> Result<Run, FsError> {
        let run = self.get_block(held, page, pages_max)?;
        if run.block_at(page).is_some() {
            return Ok(run);
        }
        if self.full.load(SeqCst) {
            return Err(FsError::NO_SPACE);
        }
        let block = self.next.fetch_add(self.stride.load(SeqCst), SeqCst);
        self.pool.back(block * PAGE, PAGE)?;
        self.pool.zero(block * PAGE, PAGE);
        self.blocks.leaf().insert(page, block);
        Ok(Run { fresh: true, ..Run::written(page, 1, Block(block)) })
    }
}

/// A file, and what windows onto it need.
pub struct Bed {
    pub pool: Arc<dyn Pool>,
    pub mmu: WindowMmu,
    pub dax: Dax,
    pub file: FileDax,
    pub table: Table,
    gate: RwLock<level::FaultGate, ()>,
}

/// A window that serves its faults through a [`Bed`].
pub struct Mapped {
    pub window: Arc<Window>,
    pub id: WindowId,
    bed: Arc<Bed>,
}

impl Bed {
    pub fn new(bytes: u64, limits: Limits) -> Option<Arc<Bed>> {
        let pool: Arc<dyn Pool> = Arc::new(MemfdPool::create("window-test", POOL_BYTES, Huge::No).unwrap());
        let mmu = match WindowMmu::new(limits) {
            Err(WindowError::Traps(why)) => {
                println!("skipped: {why}");
                return None;
            }
            mmu => mmu.unwrap(),
        };
        Some(Arc::new(Bed {
            mmu,
            dax: Dax::new(Arc::clone(&pool)),
            file: FileDax::new(Ino(17)),
            table: Table {
                pool: Arc::clone(&pool),
                size: AtomicU64::new(bytes),
                blocks: Mutex::default(),
                next: AtomicU64::new(512),
                stride: AtomicU64::new(1),
                full: AtomicBool::new(false),
            },
            gate: RwLock::default(),
            pool,
        }))
    }

    /// Maps pages; translates nothing before it is touched.
    pub fn map(self: &Arc<Bed>, pages: Range<u64>, kind: WindowKind) -> Mapped {
        let window = self.mmu.window(&self.pool, &Place { pages, kind, near: None }).unwrap();
        let id = {
            let mut held = order::unlocked();
            let (_invalidate, mut held) = self.file.invalidate.read(&mut held);
            let eager = Eager { translations_max: 0 };
            self.dax.attach(&mut held, &self.file, &self.table, window.clone(), eager).unwrap()
        };
        let bed = Arc::downgrade(self);
        window.serve_with(Box::new(move |page, access| {
            let bed = bed.upgrade().ok_or(engine::dax::FaultError::Gone)?;
            let mut held = order::fault_root();
            let (_gate, mut held) = bed.gate.read(&mut held);
            bed.dax.fault(&mut held, &bed.file, &bed.table, id, page, access)
        }));
        Mapped { window, id, bed: Arc::clone(self) }
    }

    /// Takes translations away, and with `forget` the blocks.
    pub fn invalidate(&self, pages: Range<u64>, how: Invalidation) {
        let mut held = order::unlocked();
        let (_exclusive, mut held) = self.file.invalidate.write(&mut held);
        self.dax.invalidate(&mut held, &self.file, &self.table, pages.clone(), how).unwrap();
        if how != Invalidation::MOVE {
            self.table.blocks.leaf().retain(|page, _| !pages.contains(page));
        }
    }

    pub fn truncate(&self, bytes: u64) {
        let old = self.table.size.load(SeqCst).div_ceil(PAGE);
        let new = bytes.div_ceil(PAGE);
        let mut held = order::unlocked();
        let (_exclusive, mut held) = self.file.invalidate.write(&mut held);
        if new < old {
            let how = Invalidation::TRUNCATE;
            self.dax.invalidate(&mut held, &self.file, &self.table, new..u64::MAX, how).unwrap();
            self.table.blocks.leaf().retain(|page, _| *page < new);
        }
        self.table.size.store(bytes, SeqCst);
        if new > old {
            self.dax.grown(&mut held, &self.file, old..new).unwrap();
        }
    }

    /// The word at the start of a page, in the pool.
    pub fn stored(&self, page: u64) -> Option<u64> {
        let block = *self.table.blocks.leaf().get(&page)?;
        Some(self.pool.load_u64(block * PAGE))
    }
}

impl Mapped {
    pub fn load(&self, page: u64) -> u64 {
        self.window.reservation().load_u64(self.window.offset_bytes(page))
    }

    pub fn store(&self, page: u64, value: u64) {
        self.window.reservation().store_u64(self.window.offset_bytes(page), value);
    }

    pub fn try_store(&self, page: u64, value: u64) -> Result<(), sys::access::BusError> {
        self.window.reservation().try_copy_in(self.window.offset_bytes(page), &value.to_ne_bytes())
    }

    pub fn try_load(&self, page: u64) -> Result<u64, sys::access::BusError> {
        let mut word = [0; 8];
        self.window.reservation().try_copy_out(self.window.offset_bytes(page), &mut word)?;
        Ok(u64::from_ne_bytes(word))
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let mut held = order::unlocked();
        drop(self.bed.dax.detach(&mut held, &self.bed.file, self.id));
    }
}

/// Ends the test program if a test hangs: a fault that nobody answers cannot be interrupted otherwise.
pub fn watchdog() {
    std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_secs(120));
        eprintln!("a test of windows hangs");
        std::process::abort();
    });
}
