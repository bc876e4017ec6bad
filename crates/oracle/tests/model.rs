//! Random operations on the engine and on the model: the answers are the same, and so is everything that can be seen, also
//! after the pool was closed or its owner was killed, on all classes of durability, and when space runs out.

use engine::fs::Fs;
use engine::types::{Access, MakeOptions};
use oracle::model::Model;
use oracle::ops::{Op, Reach, World, any_op};
use pool::{Durability, HeapPool, Pool};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use std::sync::Arc;

fn config(cases: u32) -> Config {
    // The shortest failing sequence is printed; there is no need to keep its seed in a file.
    Config { cases, max_shrink_iters: 400, failure_persistence: None, ..Config::default() }
}

/// How the pool changes hands between two parts of a run.
#[derive(Debug, Clone, Copy)]
enum Handover {
    /// Closed as it should be.
    Close,
    /// The owner was killed; the pool's memory has all that it did.
    Kill,
    /// Synced, then killed.
    SyncAndKill,
}

fn made(len: u64, durability: Durability) -> Arc<dyn Pool> {
    let pool = HeapPool::new(len, durability).unwrap();
    Fs::make(&pool, &MakeOptions::default()).unwrap();
    Arc::new(pool)
}

fn fail(what: String) -> TestCaseError {
    TestCaseError::fail(what)
}

/// Runs the parts one after the other on one pool, with a handover after each.
fn run(pool: &Arc<dyn Pool>, parts: &[(Vec<Op>, Handover)], compare_every: usize) -> Result<(), TestCaseError> {
    let mut model = Model::new();
    for (ops, handover) in parts {
        let fs = Fs::open(Arc::clone(pool), Access::ReadWrite).map_err(|error| fail(format!("open: {error}")))?;
        let mut world = World::with(fs, model);
        world.compare().map_err(|what| fail(format!("after opening: {what}")))?;
        for (n, op) in ops.iter().enumerate() {
            world.apply(*op).map_err(fail)?;
            if (n + 1) % compare_every == 0 {
                world.compare().map_err(|what| fail(format!("after {op:?}: {what}")))?;
            }
        }
        world.compare().map_err(fail)?;
        let fs = Arc::clone(&world.fs);
        model = world.into_model();
        match handover {
            Handover::Close => fs.close().map_err(|error| fail(error.to_string()))?,
            Handover::SyncAndKill => fs.sync().map_err(|error| fail(error.to_string()))?,
            Handover::Kill => {}
        }
    }
    let fs = Fs::open(Arc::clone(pool), Access::ReadWrite).map_err(|error| fail(format!("open: {error}")))?;
    World::with(fs, model).compare().map_err(|what| fail(format!("at the end: {what}")))
}

fn parts(reach: Reach, ops: usize) -> impl Strategy<Value = Vec<(Vec<Op>, Handover)>> {
    let handover = prop::sample::select(vec![Handover::Close, Handover::Kill, Handover::SyncAndKill]);
    prop::collection::vec((prop::collection::vec(any_op(reach), 1..ops), handover), 1..4)
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn a_volatile_pool_is_what_the_model_is(parts in parts(Reach::default(), 80)) {
        run(&made(64 << 20, Durability::Volatile), &parts, 25)?;
    }

    #[test]
    fn an_msync_pool_is_what_the_model_is(parts in parts(Reach::default(), 80)) {
        run(&made(64 << 20, Durability::Msync), &parts, 25)?;
    }

    #[test]
    fn a_cpu_flush_pool_is_what_the_model_is(parts in parts(Reach::default(), 80)) {
        run(&made(64 << 20, Durability::CpuFlush), &parts, 25)?;
    }

    #[test]
    fn a_full_pool_refuses_and_is_as_before(parts in parts(Reach { offset_max: 24 << 20, write_bytes_max: 900_000 }, 80)) {
        run(&made(16 << 20, Durability::Volatile), &parts, 15)?;
    }

    #[test]
    fn a_full_msync_pool_refuses_and_is_as_before(
        parts in parts(Reach { offset_max: 24 << 20, write_bytes_max: 900_000 }, 80),
    ) {
        run(&made(16 << 20, Durability::Msync), &parts, 15)?;
    }
}

/// One long run, whose directories and files grow more than those of the many short ones.
#[test]
fn a_long_run_is_what_the_model_is() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = prop::collection::vec(any_op(Reach::default()), 3000).new_tree(&mut runner).unwrap();
    let ops = proptest::strategy::ValueTree::current(&tree);
    let parts: Vec<_> = ops.chunks(1000).map(|part| (part.to_vec(), Handover::Kill)).collect();
    run(&made(256 << 20, Durability::Volatile), &parts, 250).unwrap();
}

/// A comparison that finds nothing in anything would let every test here pass.
#[test]
fn a_difference_is_seen() {
    let fs = Fs::open(made(16 << 20, Durability::Volatile), Access::ReadWrite).unwrap();
    let mut world = World::new(Arc::clone(&fs));
    world.apply(Op::Create { dir: 0, name: 0, make: oracle::ops::Make::File, mode: 0o644 }).unwrap();
    world.apply(Op::Write { node: 1, offset: 5000, len: 100, seed: 3 }).unwrap();
    world.compare().unwrap();
    let node = fs.lookup(&fs.root().unwrap(), b"a").unwrap();
    fs.write(&node, 5050, &[0]).unwrap();
    assert!(world.compare().unwrap_err().contains("at offset 5050"));
    fs.unlink(&fs.root().unwrap(), b"a").unwrap();
    assert!(world.compare().unwrap_err().contains("lists [] instead of [\"a\"]"));
}
