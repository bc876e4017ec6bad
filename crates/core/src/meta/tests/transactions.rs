//! Transactions without crashes.

use super::*;

#[test]
fn what_was_committed_is_there_after_a_clean_close_and_after_none() {
    for durability in [Durability::Volatile, Durability::Msync, Durability::CpuFlush] {
        let meta = made(durability);
        for number in 0..200 {
            let name = format!("file {number}");
            let (ino, _) = create(&meta, name.as_bytes()).unwrap();
            map(&meta, ino, number, 3).unwrap();
        }
        for number in (0..200).step_by(3) {
            unlink(&meta, format!("file {number}").as_bytes()).unwrap();
        }
        let before = contents(&meta);
        assert_eq!(before.len(), 133);
        meta.sync(&mut order::unlocked()).unwrap();
        let (dirty, recovered) = reopened(&image_of(&**meta.pool()), durability).unwrap();
        assert!(recovered.records > 200, "{durability}: {}", recovered.records);
        assert_eq!(contents(&dirty), before);
        meta.close(&mut order::unlocked()).unwrap();
        assert!(matches!(create(&meta, b"late"), Err(FsError::Shutdown(_))));
        let (clean, recovered) = reopened(&image_of(&**meta.pool()), durability).unwrap();
        assert_eq!(recovered.records, 0);
        assert_eq!(contents(&clean), before);
    }
}

#[test]
fn an_aborted_transaction_leaves_no_trace() {
    let meta = made(Durability::Volatile);
    let (ino, _) = create(&meta, b"kept").unwrap();
    map(&meta, ino, 0, 5).unwrap();
    let (before, free) = (contents(&meta), meta.statfs());
    let (seq, mut held) = (meta.committed(), order::unlocked());
    for _ in 0..3 {
        let (mut tx, mut held) = meta.begin(&mut held, TxSize::Small).unwrap();
        let mut root = *tx.inode(meta.root()).unwrap();
        let (ino, generation) = tx.alloc_inode(&mut held, meta.root()).unwrap();
        let run = tx.alloc(&mut held, &data(100)).unwrap();
        let mut rec = InodeRecord::new(ino, generation, Kind::File.mode_bits());
        extents::map_range(&mut tx, &mut held, &mut rec, 0, run, extents::Mapped::Unwritten).unwrap();
        dir::insert(&mut tx, &mut held, &mut root, b"gone", ino, 8).unwrap();
        tx.set_inode(&rec);
        tx.set_inode(&root);
    }
    assert_eq!((meta.committed(), contents(&meta), meta.statfs()), (seq, before, free));
    let mut reserved = meta.reserve(&mut held, &data(10)).unwrap();
    assert_eq!(meta.statfs().free_blocks, free.free_blocks - 10);
    drop(reserved.split_off(4));
    assert_eq!(meta.statfs().free_blocks, free.free_blocks - 4);
    drop(reserved);
    assert_eq!(meta.statfs(), free);
}

#[test]
fn freed_blocks_come_back_only_when_their_record_is_durable() {
    let meta = made(Durability::Msync);
    let (ino, _) = create(&meta, b"big").unwrap();
    let mut page = 0;
    while let Ok((run, _)) = map(&meta, ino, page, 100_000) {
        page += u64::from(run.len);
    }
    assert!(matches!(map(&meta, ino, page, 1), Err(FsError::NoSpace { pending: false })));
    unlink(&meta, b"big").unwrap();
    let (ino, _) = create(&meta, b"next").unwrap();
    assert!(matches!(map(&meta, ino, 0, 1), Err(FsError::NoSpace { pending: true })));
    meta.sync(&mut order::unlocked()).unwrap();
    map(&meta, ino, 0, 1).unwrap();
    contents(&meta);
}

#[test]
fn inode_slots_are_used_again_with_another_generation() {
    let meta = made(Durability::Volatile);
    let mut seen = std::collections::BTreeMap::new();
    for round in 0..50 {
        for number in 0..10 {
            let (ino, _) = create(&meta, format!("{number}").as_bytes()).unwrap();
            let generation = meta.inode(ino).unwrap().generation();
            assert_ne!(seen.insert(ino, generation), Some(generation), "round {round}");
        }
        for number in 0..10 {
            unlink(&meta, format!("{number}").as_bytes()).unwrap();
        }
    }
    assert!(seen.len() <= 24, "{} inodes were used", seen.len());
    assert!(matches!(meta.inode(Ino(3)), Err(FsError::Stale)));
    assert!(matches!(meta.inode(Ino(u64::MAX)), Err(FsError::Stale)));
}

#[test]
fn a_small_view_evicts_and_reads_again() {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::new(LEN, Durability::Volatile).unwrap());
    Meta::make(&*pool, &options()).unwrap();
    let (meta, _) = Meta::open_with(Arc::clone(&pool), Access::ReadWrite, 64, 64).unwrap();
    for number in 0..3000 {
        create(&meta, format!("a name that takes some room {number}").as_bytes()).unwrap();
        if number % 500 == 0 {
            meta.checkpoint(&mut order::unlocked()).unwrap();
        }
    }
    meta.checkpoint(&mut order::unlocked()).unwrap();
    for _ in 0..3 {
        assert_eq!(contents(&meta).len(), 3000);
    }
    assert!(meta.inodes.len() < 2000, "{}", meta.inodes.len());
}

#[test]
fn a_journal_that_fills_up_is_checkpointed_and_nothing_is_lost() {
    let meta = made(Durability::Msync);
    for number in 0..6000 {
        let name = format!("{:0>100}", number % 700);
        match create(&meta, name.as_bytes()) {
            Ok(_) => {}
            Err(FsError::Exists) => drop(unlink(&meta, name.as_bytes()).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
    let before = contents(&meta);
    meta.sync(&mut order::unlocked()).unwrap();
    let (again, _) = reopened(&image_of(&**meta.pool()), Durability::Msync).unwrap();
    assert_eq!(contents(&again), before);
}

#[cfg(not(shuttle))]
#[test]
fn threads_commit_at_the_same_time() {
    let meta = made(Durability::CpuFlush);
    // Files of different threads share nothing but groups and journal; names are added by one thread under one lock.
    let files: Vec<Ino> = (0..4).map(|number| create(&meta, format!("{number}").as_bytes()).unwrap().0).collect();
    std::thread::scope(|scope| {
        for ino in files {
            let meta = &meta;
            scope.spawn(move || {
                for round in 0..300_u64 {
                    map(meta, ino, round * 7 % 500 * 10, 1 + (round % 5) as u32).map(drop).or_else(tolerate).unwrap();
                    if round % 4 == 3 {
                        change(meta, TxSize::Large, |tx, held| {
                            let mut rec = *tx.inode(ino)?;
                            extents::unmap_range(tx, held, &mut rec, round..round + 900, 20)?;
                            tx.set_inode(&rec);
                            Ok(())
                        })
                        .unwrap();
                    }
                }
            });
        }
    });
    let before = contents(&meta);
    let (again, _) = reopened(&image_of(&**meta.pool()), Durability::CpuFlush).unwrap();
    assert_eq!(contents(&again), before);
}

fn tolerate(error: FsError) -> Result<(), FsError> {
    if matches!(error, FsError::Invalid(_)) { Ok(()) } else { Err(error) }
}

#[test]
fn a_failed_sync_shuts_the_pool_down_and_nothing_counts_as_durable() {
    let crash = Arc::new(pool::crashlog::CrashPool::new(LEN, Durability::Msync).unwrap());
    Meta::make(&*crash, &options()).unwrap();
    let (meta, _) = Meta::open(crash.clone(), Access::ReadWrite).unwrap();
    create(&meta, b"a").unwrap();
    meta.sync(&mut order::unlocked()).unwrap();
    let durable = meta.durable();
    let (_, seq) = create(&meta, b"b").unwrap();
    crash.fail_syncs();
    assert!(meta.sync(&mut order::unlocked()).is_err());
    assert_eq!(meta.durable(), durable);
    assert!(seq > durable);
    assert!(matches!(create(&meta, b"c"), Err(FsError::Shutdown(_))));
    assert!(matches!(meta.sync(&mut order::unlocked()), Err(FsError::Shutdown(_))));
    assert_eq!(contents(&meta).len(), 2, "reading goes on");
}

#[test]
fn orphans_survive_checkpoints_and_reopening() {
    let meta = made(Durability::Volatile);
    let inos: Vec<Ino> = (0..20).map(|number| create(&meta, format!("{number}").as_bytes()).unwrap().0).collect();
    for ino in &inos {
        change(&meta, TxSize::Small, |tx, _| {
            tx.add_orphan(*ino);
            Ok(())
        })
        .unwrap();
    }
    meta.checkpoint(&mut order::unlocked()).unwrap();
    change(&meta, TxSize::Small, |tx, _| {
        tx.remove_orphan(inos[3]);
        Ok(())
    })
    .unwrap();
    let (_, recovered) = reopened(&image_of(&**meta.pool()), Durability::Volatile).unwrap();
    let expected: Vec<Ino> = inos.iter().copied().filter(|ino| *ino != inos[3]).collect();
    assert_eq!(recovered.orphans, expected);
}

#[test]
fn a_dirty_pool_opened_for_reading_is_replayed_in_memory_only() {
    let meta = made(Durability::Volatile);
    let (ino, _) = create(&meta, b"a").unwrap();
    map(&meta, ino, 0, 9).unwrap();
    let image = image_of(&**meta.pool());
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::from_image(&image, Durability::Volatile).unwrap());
    let (reader, recovered) = Meta::open(Arc::clone(&pool), Access::ReadOnly).unwrap();
    assert_eq!(recovered.records, 2);
    assert_eq!(contents(&reader), contents(&meta));
    assert!(matches!(create(&reader, b"b"), Err(FsError::ReadOnly)));
    reader.sync(&mut order::unlocked()).unwrap();
    reader.close(&mut order::unlocked()).unwrap();
    drop(reader);
    assert!(pool.equal(0, &image), "reading changed the pool");
}
