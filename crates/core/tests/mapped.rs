//! Files that are mapped, written, cut and moved at the same time, one step after the other, against an array of bytes.
//!
//! Two windows show the whole file; every load through either must give what the array holds, whatever came before:
//! a store through the other, a write, a truncation, a punch, a move of blocks.

use engine::FsError;
use engine::dax::{Eager, FaultError, WindowId, WindowKind};
use engine::fs::{Access, Fs, Node};
use engine::types::{Fallocate, MakeOptions, NewNode, Seek, SetAttr, SyncKind};
use mmu::soft::{AccessError, SoftWindow};
use order::sync::Arc;
use pool::{Durability, HeapPool, Pool};

const MIB: u64 = 1 << 20;
const WINDOW_PAGES: u64 = 2048;

struct Mapped {
    fs: Arc<Fs>,
    node: Node,
    windows: Vec<(WindowId, Arc<SoftWindow>)>,
}

impl Mapped {
    fn new(pool: HeapPool) -> Mapped {
        let pool: Arc<dyn Pool> = Arc::new(pool);
        Fs::make(&*pool, &MakeOptions::default()).expect("a new file system");
        let fs = Fs::open(pool, Access::ReadWrite).expect("it opens");
        let root = fs.root().expect("a root");
        let node = fs.create(&root, b"file", &NewNode::file(0o644)).expect("a new file");
        Mapped { fs, node, windows: Vec::new() }
    }

    fn attach(&mut self, kind: WindowKind, translations_max: u32) -> usize {
        let window = SoftWindow::new(self.fs.pool().clone(), 0..WINDOW_PAGES, kind);
        let id = self.fs.attach(&self.node, window.clone(), Eager { translations_max }).expect("a window");
        self.windows.push((id, window));
        self.windows.len() - 1
    }

    fn load(&self, window: usize, at: u64) -> Result<u8, AccessError> {
        let (id, window) = &self.windows[window];
        window.load(at, &|page, access| self.fs.fault(&self.node, *id, page, access))
    }

    fn store(&self, window: usize, at: u64, byte: u8) -> Result<(), AccessError> {
        let (id, window) = &self.windows[window];
        window.store(at, byte, &|page, access| self.fs.fault(&self.node, *id, page, access))
    }

    fn detach_all(&mut self) {
        for (id, window) in self.windows.drain(..) {
            drop(self.fs.detach(&self.node, id).expect("it was attached"));
            drop(window);
        }
    }

    fn set_size(&self, size: u64) {
        self.fs.set_attr(&self.node, &SetAttr { size: Some(size), ..SetAttr::default() }).expect("a truncation");
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn change(mapped: &Mapped, model: &mut Vec<u8>, random: &mut Random, granule: usize) {
    let size = model.len() as u64;
    let at = random.below(WINDOW_PAGES * 4096 - 100_000) as usize;
    let len = random.below(60_000) as usize + 1;
    match random.below(8) {
        0 | 1 => {
            let bytes: Vec<u8> = (0..len).map(|_| random.below(255) as u8 + 1).collect();
            assert_eq!(mapped.fs.write(&mapped.node, at as u64, &bytes).expect("a write"), len);
            model.resize(model.len().max(at + len), 0);
            model[at..at + len].copy_from_slice(&bytes);
        }
        2 => {
            mapped.set_size(at as u64);
            model.resize(at, 0);
        }
        3 => {
            mapped.fs.allocate(&mapped.node, Fallocate::Punch, at as u64, len as u64).expect("a punch");
            let end = model.len().min(at + len);
            model.get_mut(at..end).unwrap_or_default().fill(0);
        }
        4 => {
            mapped.fs.allocate(&mapped.node, Fallocate::Zero, at as u64, len as u64).expect("zeros");
            model.resize(model.len().max(at + len), 0);
            model[at..at + len].fill(0);
        }
        5 if size > 3 * granule as u64 => {
            let at = granule * random.below(size / granule as u64 - 2) as usize;
            mapped.fs.allocate(&mapped.node, Fallocate::Collapse, at as u64, granule as u64).expect("a collapse");
            model.drain(at..at + granule);
        }
        6 if size > granule as u64 && size < WINDOW_PAGES * 4096 - granule as u64 => {
            let at = granule * random.below(size / granule as u64) as usize;
            mapped.fs.allocate(&mapped.node, Fallocate::Insert, at as u64, granule as u64).expect("an insertion");
            model.splice(at..at, std::iter::repeat_n(0, granule));
        }
        _ => mapped.fs.sync_node(&mapped.node, SyncKind::All).expect("a sync"),
    }
}

fn run_against_an_array(pool: HeapPool, granule: usize, seed: u64) {
    let mut mapped = Mapped::new(pool);
    mapped.attach(WindowKind::SharedWrite, 0);
    mapped.attach(WindowKind::SharedWrite, 100);
    let (mut model, mut random) = (Vec::new(), Random(seed));
    for step in 0..400 {
        change(&mapped, &mut model, &mut random, granule);
        for _ in 0..20 {
            let window = random.below(2) as usize;
            let at = random.below(model.len() as u64 + 5000);
            // Where pages are of 2 MiB, the whole of the last one is there.
            let size = model.len() as u64;
            let (near_end, past_end) = (at >= size.next_multiple_of(4096), at >= size.next_multiple_of(granule as u64));
            if random.below(3) == 0 {
                let byte = random.below(255) as u8 + 1;
                match mapped.store(window, at, byte) {
                    Ok(()) => assert!(!past_end, "step {step}: a store at {at} of {}", model.len()),
                    Err(AccessError::Bus(FaultError::PastEnd)) => assert!(near_end, "step {step}"),
                    Err(error) => panic!("step {step}: {error}"),
                }
                if let Some(place) = model.get_mut(at as usize) {
                    *place = byte;
                }
            } else {
                match mapped.load(window, at) {
                    Ok(byte) => {
                        assert!(!past_end, "step {step}: a load at {at} of {}", model.len());
                        let wanted = model.get(at as usize).copied().unwrap_or(byte);
                        assert_eq!(byte, wanted, "step {step}: at {at} of {}", model.len());
                    }
                    Err(AccessError::Bus(FaultError::PastEnd)) => assert!(near_end, "step {step}"),
                    Err(error) => panic!("step {step}: {error}"),
                }
            }
        }
        if step % 20 == 0 {
            let mut bytes = vec![0; model.len() + 1];
            let len = mapped.fs.read(&mapped.node, 0, &mut bytes).expect("a read");
            assert!(bytes[..len] == model, "step {step}");
        }
    }
    mapped.detach_all();
    assert!(mapped.fs.dax().is_quiet());
}

#[test]
fn loads_through_two_windows_see_every_change() {
    for (seed, class) in [Durability::Volatile, Durability::Msync, Durability::CpuFlush].into_iter().enumerate() {
        let pool = HeapPool::new(64 * MIB, class).expect("memory for a test pool");
        run_against_an_array(pool, 4096, seed as u64);
    }
}

#[test]
fn loads_through_two_windows_see_every_change_in_a_pool_of_huge_pages() {
    let pool = HeapPool::new_huge(128 * MIB, Durability::Volatile).expect("memory for a test pool");
    run_against_an_array(pool, 2 << 20, 7);
}

#[test]
fn a_mapped_store_makes_data_that_seek_and_a_crash_find() {
    let mut mapped = Mapped::new(HeapPool::new(32 * MIB, Durability::CpuFlush).expect("memory"));
    mapped.set_size(MIB);
    mapped.attach(WindowKind::SharedWrite, 10);
    assert_eq!(mapped.load(0, 500_000).expect("a load"), 0);
    assert!(matches!(mapped.fs.seek(&mapped.node, 0, Seek::Data), Err(FsError::PastEnd)));
    mapped.store(0, 500_000, 42).expect("a store");
    assert!(mapped.fs.seek(&mapped.node, 0, Seek::Data).expect("data") <= 500_000);
    mapped.fs.msync(&mapped.node, 0..256).expect("an msync");
    let pool = mapped.fs.pool().clone();
    std::mem::forget(mapped);
    let fs = Fs::open(pool, Access::ReadWrite).expect("opens after a crash");
    let node = fs.lookup(&fs.root().expect("a root"), b"file").expect("the file");
    let mut byte = [0];
    fs.read(&node, 500_000, &mut byte).expect("a read");
    assert_eq!(byte, [42]);
}

#[test]
fn a_private_window_keeps_its_own_bytes_and_drops_them_when_the_file_is_cut() {
    let mut mapped = Mapped::new(HeapPool::new(32 * MIB, Durability::Volatile).expect("memory"));
    mapped.fs.write(&mapped.node, 0, &[1; 9000]).expect("a write");
    let own = mapped.attach(WindowKind::Private, 10);
    mapped.store(own, 5000, 77).expect("a private store");
    mapped.fs.write(&mapped.node, 0, &[2; 9000]).expect("a write");
    assert_eq!(mapped.load(own, 5000).expect("a load"), 77);
    assert_eq!(mapped.load(own, 0).expect("a load"), 2);
    mapped.set_size(4096);
    assert!(matches!(mapped.load(own, 5000), Err(AccessError::Bus(FaultError::PastEnd))));
    mapped.set_size(9000);
    assert_eq!(mapped.load(own, 5000).expect("a load"), 0);
}

#[test]
fn a_window_keeps_an_unlinked_file_and_excludes_cached_views() {
    let mut mapped = Mapped::new(HeapPool::new(32 * MIB, Durability::Volatile).expect("memory"));
    mapped.fs.write(&mapped.node, 0, &[1; 9000]).expect("a write");
    let free = mapped.fs.statfs().blocks_free;
    mapped.attach(WindowKind::SharedWrite, 10);
    assert!(matches!(mapped.fs.cached_view(&mapped.node), Err(FsError::Busy(_))));
    let root = mapped.fs.root().expect("a root");
    mapped.fs.unlink(&root, b"file").expect("an unlink");
    assert_eq!(mapped.load(0, 8999).expect("a load"), 1);
    let (ino, other) = (mapped.node.ino(), mapped.fs.create(&root, b"other", &NewNode::file(0o644)).expect("a file"));
    mapped.node = other;
    let node = mapped.fs.node(ino).expect("the window still refers to it");
    let (id, window) = mapped.windows.pop().expect("the window");
    drop(mapped.fs.detach(&node, id).expect("it was attached"));
    drop((node, window));
    assert!(matches!(mapped.fs.node(ino), Err(FsError::Stale)));
    assert!(mapped.fs.statfs().blocks_free >= free + 3);
}

#[test]
fn a_store_into_a_hole_of_a_full_pool_fails_and_works_again_when_space_is_freed() {
    let mut mapped = Mapped::new(HeapPool::new(16 * MIB, Durability::Msync).expect("memory"));
    let root = mapped.fs.root().expect("a root");
    mapped.set_size(MIB);
    mapped.attach(WindowKind::SharedWrite, 10);
    let filler = mapped.fs.create(&root, b"filler", &NewNode::file(0o644)).expect("a file");
    while mapped.fs.append(&filler, &[1; 4096]).is_ok() {}
    assert!(matches!(mapped.store(0, 5000, 9), Err(AccessError::Bus(FaultError::NoSpace { .. }))));
    assert_eq!(mapped.load(0, 5000).expect("a load"), 0);
    mapped.fs.unlink(&root, b"filler").expect("an unlink");
    drop(filler);
    mapped.store(0, 5000, 9).expect("a store, after a sync of its own");
    assert_eq!(mapped.load(0, 5000).expect("a load"), 9);
}
