//! The allocator over several groups.

use format::Geometry;
use order::sync::Arc;
use pool::{Durability, HeapPool, Pool};

use crate::meta::tests::{change, data, options};
use crate::meta::tx::{Align, Purpose, TxSize, Want};
use crate::meta::{Access, Meta};

fn of_len(len: u64) -> Arc<Meta> {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::new(len, Durability::Volatile).unwrap());
    Meta::make(&*pool, &options()).unwrap();
    Meta::open(pool, Access::ReadWrite).unwrap().0
}

#[test]
fn all_groups_are_filled_and_no_block_is_given_twice() {
    let meta = of_len((2 << 30) + (300 << 20));
    assert_eq!(meta.geometry().group_count(), 3);
    let mut held = order::unlocked();
    let mut taken = Vec::new();
    let mut blocks = std::collections::BTreeMap::new();
    while let Ok(reserved) = meta.reserve(&mut held, &data(40_000)) {
        let run = reserved.run();
        assert!(meta.geometry().owns(run.first, u64::from(run.len)));
        blocks.insert(run.first.0, u64::from(run.len));
        taken.push(reserved);
    }
    let mut end = 0;
    for (first, len) in &blocks {
        assert!(*first >= end);
        end = first + len;
    }
    let sum: u64 = blocks.values().sum();
    assert_eq!(sum, meta.geometry().usable_blocks() - 1 - meta.groups.spare());
    assert_eq!(meta.statfs().available_blocks, 0);
    drop(taken);
    assert_eq!(meta.statfs().free_blocks, meta.geometry().usable_blocks() - 1);
    assert!(meta.reserve(&mut held, &data(1)).is_ok());
}

#[test]
fn a_fresh_group_costs_nothing_until_it_is_used_and_survives_reopening() {
    let meta = of_len(3 << 30);
    assert!(meta.groups.loaded().count() <= 1);
    let goal = meta.geometry().group(2).unwrap().first_data();
    let want = Want { goal: Some(goal), ..data(7) };
    let (run, _) = change(&meta, TxSize::Small, |tx, held| tx.alloc(held, &want)).unwrap();
    assert_eq!(run.first, goal);
    let free = meta.statfs();
    meta.close(&mut order::unlocked()).unwrap();
    let (again, _) = Meta::open(Arc::clone(meta.pool()), Access::ReadWrite).unwrap();
    assert_eq!(again.statfs(), free);
    assert!(again.groups.loaded().count() <= 1);
    let (next, _) = change(&again, TxSize::Small, |tx, held| tx.alloc(held, &want)).unwrap();
    assert_ne!(next.first, goal, "the block is still in use");
}

#[test]
fn huge_requests_are_aligned_and_small_ones_leave_them_room() {
    let meta = of_len(256 << 20);
    let mut held = order::unlocked();
    let small: Vec<_> = (0..400).map(|_| meta.reserve(&mut held, &data(1)).unwrap()).collect();
    let huge = Want { blocks: 512, min_blocks: 512, align: Align::Huge, goal: None, purpose: Purpose::Data };
    let mut taken = Vec::new();
    while let Ok(reserved) = meta.reserve(&mut held, &huge) {
        assert!(reserved.run().first.0.is_multiple_of(512) && reserved.run().len == 512);
        taken.push(reserved);
    }
    let regions = meta.geometry().usable_blocks() / 512;
    assert!(taken.len() as u64 >= regions - 2, "{} of {regions}", taken.len());
    drop(small);
    let falls_back = Want { min_blocks: 1, ..huge };
    assert!(meta.reserve(&mut held, &falls_back).is_ok());
}

#[test]
fn a_pool_of_huge_units_gives_data_in_whole_units_and_metadata_in_blocks() {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::new_huge(64 << 20, Durability::Volatile).unwrap());
    Meta::make(&*pool, &options()).unwrap();
    let (meta, _) = Meta::open(pool, Access::ReadWrite).unwrap();
    assert_eq!(meta.geometry(), &Geometry::new(64 << 20, 512).unwrap());
    let mut held = order::unlocked();
    let one = meta.reserve(&mut held, &data(1)).unwrap();
    assert!(one.run().first.0.is_multiple_of(512) && one.run().len == 512);
    let meta_want = Want { purpose: Purpose::Meta, ..data(1) };
    assert_eq!(meta.reserve(&mut held, &meta_want).unwrap().run().len, 1);
}
