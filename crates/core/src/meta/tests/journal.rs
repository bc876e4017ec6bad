//! Records cut short and torn, and recovery of recovery.

use super::*;
use crate::meta::media;

/// A pool with some records that were not checkpointed, and for each the state of the names after it.
fn with_records(durability: Durability) -> (Vec<u8>, Vec<(u64, usize)>) {
    let meta = made(durability);
    let mut ends = Vec::new();
    for number in 0..12_usize {
        create(&meta, format!("{number:0>200}").as_bytes()).unwrap();
        let (end, _) = meta.journal.next(&mut order::unlocked());
        ends.push((end, number + 1));
    }
    (image_of(&**meta.pool()), ends)
}

#[test]
fn a_record_cut_short_or_torn_at_any_sector_is_not_there_and_those_before_it_are() {
    let (image, ends) = with_records(Durability::CpuFlush);
    let meta = reopened(&image, Durability::CpuFlush).unwrap().0;
    let ring = media::ring(meta.geometry());
    let mut start = ends[0].0;
    for (end, names) in &ends[1..] {
        for cut in (start..*end).step_by(512).chain([start + 8, end - 8]) {
            for torn in [false, true] {
                let mut bad = image.clone();
                let at = (ring.start + cut) as usize;
                let to = if torn { at + 8 } else { (ring.start + ends[11].0) as usize };
                for byte in &mut bad[at..to] {
                    *byte = byte.wrapping_add(0x5a);
                }
                let (meta, recovered) = reopened(&bad, Durability::CpuFlush).unwrap();
                assert_eq!(recovered.records, *names as u64 - 1, "cut at {cut}");
                assert_eq!(contents(&meta).len(), names - 1);
            }
        }
        start = *end;
    }
}

#[test]
fn a_synced_record_that_is_missing_is_damage_and_not_silence() {
    let meta = made(Durability::Msync);
    create(&meta, b"a").unwrap();
    meta.sync(&mut order::unlocked()).unwrap();
    let mut image = image_of(&**meta.pool());
    let ring = media::ring(meta.geometry());
    image[ring.start as usize + 30] ^= 1;
    assert!(matches!(reopened(&image, Durability::Msync), Err(FsError::Damaged(_))));
}

#[test]
fn records_beyond_the_last_sync_count_only_with_the_same_page_cache() {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::new(LEN, Durability::Msync).unwrap());
    Meta::make(&*pool, &options()).unwrap();
    let (meta, _) = Meta::open(Arc::clone(&pool), Access::ReadWrite).unwrap();
    create(&meta, b"synced").unwrap();
    meta.sync(&mut order::unlocked()).unwrap();
    create(&meta, b"only written").unwrap();
    let (other, _) = reopened(&image_of(&*pool), Durability::Msync).unwrap();
    assert_eq!(contents(&other).len(), 1, "another witness");
    drop(meta);
    let (same, _) = Meta::open(pool, Access::ReadWrite).unwrap();
    assert_eq!(contents(&same).len(), 2, "the same witness");
}

#[test]
fn a_block_that_was_a_node_and_holds_data_now_is_not_written_by_recovery() {
    let meta = made(Durability::Volatile);
    for number in 0..300 {
        create(&meta, format!("{number:0>100}").as_bytes()).unwrap();
    }
    for number in 0..300 {
        unlink(&meta, format!("{number:0>100}").as_bytes()).unwrap();
    }
    let (ino, _) = create(&meta, b"data").unwrap();
    let mut page = 0;
    let mut blocks = Vec::new();
    while let Ok((run, _)) = map(&meta, ino, page, 512) {
        page += u64::from(run.len);
        blocks.extend(run.first.0..run.first.0 + u64::from(run.len));
    }
    for block in &blocks {
        meta.pool().write(Block(*block).offset(), &[0xda; 4096]);
    }
    let (again, recovered) = reopened(&image_of(&**meta.pool()), Durability::Volatile).unwrap();
    assert!(recovered.records > 300);
    assert_eq!(contents(&again), contents(&meta));
    assert!(blocks.iter().all(|block| again.pool().equal(Block(*block).offset(), &[0xda; 4096])));
}
