//! What the engine makes is clean: after random operations, closed or killed, on every class, at every cut of power.

mod common;

use std::sync::Arc;

use check::{Report, Severity};
use common::{CLASSES, report};
use engine::fs::{Access, Fs};
use engine::types::{Fallocate, MakeOptions, NewNode};
use oracle::ops::{Op, Reach, World, any_op};
use pool::crashlog::CrashPool;
use pool::{Durability, HeapPool, Pool};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const BYTES: u64 = 24 << 20;

/// Collapse and insert want multiples of the allocation unit, which the model does not know.
fn moves(op: &Op) -> bool {
    matches!(op, Op::Allocate { how: Fallocate::Collapse | Fallocate::Insert, .. })
}

fn operations(seed: u8, count: usize) -> Vec<Op> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let reach = Reach { offset_max: 2 << 20, write_bytes_max: 40_000 };
    let strategy = any_op(reach);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn assert_clean(report: &Report, when: &str) {
    assert!(report.is_clean() && report.warnings == 0, "{when}: {}", report.text());
}

/// Checks again and again while the engine works: what a process killed at that moment leaves.
fn work_and_check(pool: &Arc<HeapPool>, seed: u8, count: usize) {
    Fs::make(&**pool, &MakeOptions::default()).unwrap();
    let mut world = World::new(Fs::open(pool.clone(), Access::ReadWrite).unwrap());
    let small_units = pool.page_size() == 4096;
    let operations = operations(seed, count).into_iter().filter(|op| small_units || !moves(op));
    for (number, op) in operations.enumerate() {
        world.apply(op).unwrap();
        if number % 29 == 0 {
            assert_clean(&report(&**pool), &format!("seed {seed}, killed after operation {number}"));
        }
    }
    let live = report(&**pool);
    assert_clean(&live, "killed at the end");
    assert!(live.summary.names > 5, "{}", live.text());
    // All pages are there, and the witness is another: only what was synced counts.
    let image = HeapPool::from_image(&pool.image(), pool.durability()).unwrap();
    assert_clean(&report(&image), &format!("seed {seed}, cut at the end"));
    let fs = Arc::clone(&world.fs);
    drop(world);
    fs.close().unwrap();
    drop(fs);
    let closed = report(&**pool);
    assert_clean(&closed, &format!("seed {seed}, closed"));
    assert_eq!((closed.summary.records, closed.summary.orphans), (0, 0));
}

#[test]
fn random_operations_leave_clean_pools_on_every_class() {
    for (seed, durability) in (0..6).zip(CLASSES.into_iter().cycle()) {
        work_and_check(&Arc::new(HeapPool::new(BYTES, durability).unwrap()), seed, 400);
    }
}

#[test]
fn pools_on_huge_pages_are_clean_too() {
    work_and_check(&Arc::new(HeapPool::new_huge(64 << 20, Durability::Volatile).unwrap()), 9, 200);
}

/// An engine that is dropped without being closed, with an open file that has no name.
#[test]
fn an_engine_dropped_without_close_leaves_a_clean_pool_that_opens_again() {
    for durability in CLASSES {
        let pool = Arc::new(HeapPool::new(BYTES, durability).unwrap());
        Fs::make(&*pool, &MakeOptions::default()).unwrap();
        let fs = Fs::open(pool.clone(), Access::ReadWrite).unwrap();
        let root = fs.root().unwrap();
        let file = fs.create(&root, b"gone", &NewNode::file(0o600)).unwrap();
        fs.write(&file, 0, &vec![1; 100_000]).unwrap();
        fs.allocate(&file, Fallocate::ZeroKeepSize, 50_000, 400_000).unwrap();
        fs.unlink(&root, b"gone").unwrap();
        let killed = report(&*pool);
        assert_clean(&killed, "killed");
        assert_eq!(killed.summary.orphans, 1);
        drop((file, root, fs));
        assert_clean(&report(&*pool), "dropped");
        drop(Fs::open(pool.clone(), Access::ReadOnly).unwrap());
        assert_clean(&report(&*pool), "opened for reading");
        let fs = Fs::open(pool.clone(), Access::ReadWrite).unwrap();
        fs.close().unwrap();
        drop(fs);
        assert_clean(&report(&*pool), "closed");
    }
}

#[test]
fn files_over_several_groups_are_clean() {
    let pool = Arc::new(HeapPool::new(2200 << 20, Durability::Volatile).unwrap());
    Fs::make(&*pool, &MakeOptions::default()).unwrap();
    let fs = Fs::open(pool.clone(), Access::ReadWrite).unwrap();
    let root = fs.root().unwrap();
    for n in 0..3 {
        let file = fs.create(&root, format!("{n}").as_bytes(), &NewNode::file(0o600)).unwrap();
        fs.allocate(&file, Fallocate::Allocate, 0, 600 << 20).unwrap();
    }
    assert_clean(&report(&*pool), "killed");
    drop(root);
    fs.close().unwrap();
    drop(fs);
    let closed = report(&*pool);
    assert_clean(&closed, "closed");
    assert!(closed.summary.blocks > 450_000, "{}", closed.text());
}

/// Every image that a cut of power can leave is clean, but that the slot of the journal's header that was being written
/// may be torn.
#[test]
fn cuts_of_power_leave_clean_pools() {
    for (durability, seed) in [(Durability::Msync, 21), (Durability::CpuFlush, 22), (Durability::Volatile, 23)] {
        let pool = Arc::new(CrashPool::new(16 << 20, durability).unwrap());
        Fs::make(&*pool, &MakeOptions::default()).unwrap();
        let made = pool.events();
        let mut world = World::new(Fs::open(pool.clone(), Access::ReadWrite).unwrap());
        for (number, op) in operations(seed, 60).into_iter().enumerate() {
            world.apply(op).unwrap();
            if number % 20 == 0 {
                world.fs.sync().unwrap();
            }
        }
        let cuts: Vec<usize> = pool.cut_points().into_iter().filter(|cut| *cut > made).collect();
        let step = (cuts.len() / 25).max(1);
        let mut images = 0;
        for cut in cuts.into_iter().step_by(step) {
            for image in pool.images_at(cut, u64::from(seed), 1) {
                let bytes = HeapPool::from_image(&image.bytes, durability).unwrap();
                let report = report(&bytes);
                let torn = |finding: &check::Finding| {
                    finding.severity == Severity::Warning && finding.code == "journal-header"
                };
                assert!(report.findings.iter().all(torn), "{durability}, cut {cut}: {}", report.text());
                images += 1;
            }
        }
        assert!(images > 20, "{images} images");
    }
}
