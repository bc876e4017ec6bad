//! Power cuts at any moment of a random run: what is found afterwards is the state after some operation, not before the
//! last sync, and not a mixture; bytes are such as were there at some moment since the last sync.
//!
//! A write is an operation for each of its pieces, as in every Unix: one that was cut short may have grown the file by some
//! whole pages. All other operations are there or not there.
//!
//! On msync pools an operation is durable with the next sync. On cpu-flush pools its names and sizes are when it returns.

use engine::fs::Fs;
use engine::types::{Access, MakeOptions, NewNode, PAGE_BYTES};
use oracle::compare::compare_any;
use oracle::model::Model;
use oracle::ops::{Op, Reach, World, any_op};
use oracle::random::Random;
use pool::crashlog::CrashPool;
use pool::{Durability, HeapPool, Pool};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::sync::Arc;

const POOL_BYTES: u64 = 16 << 20;

/// The state after an operation.
struct Moment {
    model: Model,
    /// Events in the pool's log when the operation had returned.
    events: usize,
    /// It was a sync.
    synced: bool,
}

fn random_ops(seed: u64, count: usize) -> Vec<Op> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let reach = Reach { offset_max: 256 << 10, write_bytes_max: 30_000 };
    let op = prop_oneof![12 => any_op(reach), 1 => Just(Op::Sync)];
    prop::collection::vec(op, count).new_tree(&mut runner).unwrap().current()
}

/// A random run on a pool that logs, and the state after each operation (the first: as made).
fn run(seed: u64, durability: Durability, count: usize) -> (Arc<CrashPool>, Vec<Moment>, Vec<Op>) {
    let heap = HeapPool::new(POOL_BYTES, durability).unwrap();
    Fs::make(&heap, &MakeOptions::default()).unwrap();
    heap.sync().unwrap();
    let pool = Arc::new(CrashPool::from_image(&heap.image(), durability).unwrap());
    let fs = Fs::open(Arc::clone(&pool) as Arc<dyn Pool>, Access::ReadWrite).unwrap();
    fs.sync().unwrap();
    let mut world = World::new(fs);
    let mut moments = vec![Moment { model: Model::new(), events: pool.events(), synced: true }];
    let ops = random_ops(seed, count);
    for op in &ops {
        world.apply(*op).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        moments.push(Moment { model: world.model.clone(), events: pool.events(), synced: *op == Op::Sync });
    }
    (pool, moments, ops)
}

/// Opens what is left after a power cut and compares it with every moment that it may be.
fn survives(image: &[u8], durability: Durability, allowed: &[&Moment], since_sync: &[Moment]) -> Result<(), String> {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::from_image(image, durability).unwrap());
    for round in ["first", "second"] {
        let fs = Fs::open(Arc::clone(&pool), Access::ReadWrite).map_err(|error| format!("{round} open: {error}"))?;
        let versions: Vec<&Model> = since_sync.iter().map(|moment| &moment.model).collect();
        let mut said = Vec::new();
        let found = allowed.iter().any(|moment| match compare_any(&fs, &moment.model, &versions) {
            Ok(()) => true,
            Err(what) => {
                said.push(what);
                false
            }
        });
        if !found {
            return Err(format!("{round} open: it is no state that was ever there: {said:?}"));
        }
        if round == "second" {
            // It can be used.
            let root = fs.root().map_err(|error| error.to_string())?;
            let node = fs.create(&root, b"after the cut", &NewNode::file(0o600)).map_err(|error| error.to_string())?;
            fs.write(&node, 0, &[7; 10_000]).map_err(|error| error.to_string())?;
        }
        fs.close().map_err(|error| format!("close: {error}"))?;
    }
    Ok(())
}

/// The states in the middle of a write: it is cut into pieces of whole pages, and each piece is there or not.
fn middles(before: &Model, after: &Model, op: Op) -> Vec<Moment> {
    if !matches!(op, Op::Write { .. } | Op::Append { .. }) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for id in after.reachable() {
        let (Some(old), Some(new)) = (before.try_content(id), after.try_content(id)) else { continue };
        let pages = old.size() / PAGE_BYTES + 1..new.size().div_ceil(PAGE_BYTES);
        for page in pages {
            let mut model = after.clone();
            model.truncate(id, page * PAGE_BYTES).unwrap();
            found.push(Moment { model, events: 0, synced: false });
        }
    }
    found
}

fn cut_at_random(seed: u64, durability: Durability, ops: usize, cuts: usize) {
    let (pool, moments, done) = run(seed, durability, ops);
    let start = moments[0].events;
    let mut random = Random::new(seed);
    let points: Vec<usize> = pool.cut_points().into_iter().filter(|&cut| cut >= start).collect();
    for _ in 0..cuts {
        let cut = points[random.below(points.len() as u64) as usize];
        // The last operation that had returned, and the one that the cut may have hit.
        let returned = moments.iter().rposition(|moment| moment.events <= cut).unwrap();
        let begun = (returned + 1).min(moments.len() - 1);
        let synced = moments[..=returned].iter().rposition(|moment| moment.synced).unwrap();
        let first = if durability == Durability::Msync { synced } else { returned };
        let mut allowed: Vec<&Moment> = moments[first..=begun].iter().collect();
        let middles = match done.get(returned) {
            Some(op) => middles(&moments[returned].model, &moments[begun].model, *op),
            None => Vec::new(),
        };
        allowed.extend(&middles);
        for image in pool.images_at(cut, random.next_u64(), 1) {
            let outcome = survives(&image.bytes, durability, &allowed, &moments[synced..=begun]);
            if let Err(what) = outcome {
                panic!(
                    "seed {seed}, cut {cut}: {what}\nthe cut may have hit {:?}\nsince the sync: {:?}",
                    done[begun - 1],
                    &done[synced..begun]
                );
            }
        }
    }
}

/// Other runs than the usual ones: `DAXLE_SEED=5000 cargo test`.
fn base() -> u64 {
    std::env::var("DAXLE_SEED").map_or(0, |seed| seed.parse().expect("DAXLE_SEED is a number"))
}

#[test]
fn an_msync_pool_survives_power_cuts() {
    for seed in 0..4 {
        cut_at_random(base() + seed, Durability::Msync, 80, 10);
    }
}

#[test]
fn a_cpu_flush_pool_survives_power_cuts() {
    for seed in 100..104 {
        cut_at_random(base() + seed, Durability::CpuFlush, 80, 10);
    }
}

/// The comparison must see what is lost: an image from before a sync is not one from after it.
#[test]
fn a_lost_sync_is_seen() {
    let (pool, moments, _) = run(7, Durability::Msync, 60);
    let image = pool.images_at(moments[0].events, 0, 0).next().unwrap();
    let last = moments.len() - 1;
    assert!(survives(&image.bytes, Durability::Msync, &[&moments[last]], &moments[last..]).is_err());
}
