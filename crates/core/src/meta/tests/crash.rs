//! Power loss at every store, flush, fence and sync of a random load, in every durability class.
//!
//! The load is a list of transactions, after each of which the expected content of the pool is known. After a crash the
//! content must be that after some transaction not older than the last one that was durable: all of it or none of it,
//! and in order. The tests walk over the points with a stride, to end within seconds.

use std::collections::BTreeMap;

use pool::crashlog::CrashPool;

use super::*;

/// What happened: the number of events, the content, and how many steps of the load were durable by then.
struct Moment {
    events: usize,
    content: Listing,
    durable: usize,
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn run_load(meta: &Meta, crash: &CrashPool, seed: u64, steps: usize) -> Vec<Moment> {
    let mut state = seed | 1;
    let mut moments = vec![Moment { events: crash.events(), content: contents(meta), durable: 0 }];
    let mut seqs: Vec<Seq> = vec![Seq(0)];
    for _ in 0..steps {
        let name = format!("{:0>60}", random(&mut state) % 12);
        let found = dir::find(meta, &meta.inode(meta.root()).unwrap(), name.as_bytes()).unwrap();
        match (random(&mut state) % 8, found) {
            (_, None) => drop(create(meta, name.as_bytes()).unwrap()),
            (0 | 1, Some(_)) => drop(unlink(meta, name.as_bytes()).unwrap()),
            (2, Some(_)) => meta.sync(&mut order::unlocked()).unwrap(),
            (3, Some(_)) => meta.checkpoint(&mut order::unlocked()).unwrap(),
            (_, Some(found)) => {
                let page = random(&mut state) % 40 * 3;
                let result = map(meta, found.ino, page, 1 + (random(&mut state) % 3) as u32);
                assert!(matches!(result, Ok(_) | Err(FsError::Invalid(_))), "{result:?}");
            }
        }
        seqs.push(meta.committed());
        let durable = meta.durable();
        let durable = seqs.iter().rposition(|seq| *seq <= durable).unwrap_or(0);
        moments.push(Moment { events: crash.events(), content: contents(meta), durable });
    }
    moments
}

fn check_crashes(durability: Durability, seed: u64, steps: usize, stride: usize, random_images: usize) {
    let crash = Arc::new(CrashPool::new(LEN, durability).unwrap());
    Meta::make(&*crash, &options()).unwrap();
    let (meta, _) = Meta::open(crash.clone(), Access::ReadWrite).unwrap();
    let moments = run_load(&meta, &crash, seed, steps);
    let begin = moments[0].events;
    let cuts: Vec<usize> = crash.cut_points().into_iter().filter(|cut| *cut >= begin).collect();
    let mut seen = BTreeMap::new();
    for cut in cuts.iter().step_by(stride).chain(cuts.last()) {
        for image in crash.images_at(*cut, seed ^ *cut as u64, random_images) {
            let (after, _) = reopened(&image.bytes, durability)
                .unwrap_or_else(|error| panic!("{durability}, seed {seed}, cut {cut}: {error}"));
            let content = contents(&after);
            let done = moments.partition_point(|moment| moment.events <= *cut) - 1;
            let oldest = if durability == Durability::Volatile { done } else { moments[done].durable };
            let newest = (done + 1).min(moments.len() - 1);
            let place = (oldest..=newest).rev().find(|at| moments[*at].content == content);
            assert!(place.is_some(), "{durability}, seed {seed}, cut {cut}: no state of {oldest}..={newest}");
            *seen.entry(place.map_or(0, |at| newest - at)).or_insert(0) += 1;
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn power_loss_on_a_cpu_flush_pool_keeps_every_committed_transaction() {
    check_crashes(Durability::CpuFlush, 11, 40, 9, 1);
}

#[test]
fn power_loss_on_an_msync_pool_keeps_what_was_synced_and_a_prefix_of_the_rest() {
    check_crashes(Durability::Msync, 12, 60, 2, 1);
}

#[test]
fn a_killed_process_leaves_every_committed_transaction_on_a_volatile_pool() {
    check_crashes(Durability::Volatile, 13, 30, 23, 0);
}

#[test]
fn a_crash_inside_recovery_is_recovered_from() {
    for durability in [Durability::CpuFlush, Durability::Msync] {
        let crash = Arc::new(CrashPool::new(LEN, durability).unwrap());
        Meta::make(&*crash, &options()).unwrap();
        let (meta, _) = Meta::open(crash.clone(), Access::ReadWrite).unwrap();
        run_load(&meta, &crash, 99, 25);
        meta.sync(&mut order::unlocked()).unwrap();
        let expected = contents(&meta);
        let image = image_of(&*crash);
        let second = Arc::new(CrashPool::from_image(&image, durability).unwrap());
        let (recovered, _) = Meta::open(second.clone(), Access::ReadWrite).unwrap();
        assert_eq!(contents(&recovered), expected);
        for cut in second.cut_points() {
            for image in second.images_at(cut, 5, 1) {
                let (again, _) = reopened(&image.bytes, durability).unwrap();
                assert_eq!(contents(&again), expected, "{durability}, cut {cut}");
            }
        }
    }
}
