//! Pools that the engine made: sound ones are clean, and whatever is damaged is named.

use check::{CheckOptions, Report, Severity, check};
use engine::fs::{Access, Fs};
use engine::types::{Fallocate, MakeOptions, NewNode, RenameMode};
use format::{BLOCK_SIZE, Block, Geometry, INODE_BYTES, Ino, InodeRecord};
use pool::{Durability, HeapPool, Pool};
use std::sync::Arc;

const BYTES: u64 = 16 << 20;

fn report(pool: &dyn Pool) -> Report {
    check(pool, &mut CheckOptions::default())
}

/// Files, directories, links, holes, an unlinked open file; closed, or dropped as by a crash.
fn image(durability: Durability, close: Close) -> Arc<HeapPool> {
    let pool = Arc::new(HeapPool::new(BYTES, durability).unwrap());
    Fs::make(&*pool, &MakeOptions::default()).unwrap();
    let fs = Fs::open(pool.clone(), Access::ReadWrite).unwrap();
    let root = fs.root().unwrap();
    let dir = fs.create(&root, b"dir", &NewNode::directory(0o755)).unwrap();
    for n in 0..300 {
        let file = fs.create(&dir, format!("file-{n}").as_bytes(), &NewNode::file(0o644)).unwrap();
        fs.write(&file, n * 5000, &vec![n as u8; 3000]).unwrap();
    }
    let sub = fs.create(&dir, b"sub", &NewNode::directory(0o755)).unwrap();
    fs.rename(&dir, b"file-7", &sub, b"moved", RenameMode::Replace).unwrap();
    fs.rename(&dir, b"sub", &root, b"sub", RenameMode::NoReplace).unwrap();
    let file = fs.lookup(&dir, b"file-9").unwrap();
    fs.link(&file, &root, b"second name").unwrap();
    fs.allocate(&file, Fallocate::AllocateKeepSize, 1 << 20, 100_000).unwrap();
    let many = fs.create(&root, b"many extents", &NewNode::file(0o600)).unwrap();
    for n in 0..200 {
        fs.write(&many, n * 8192, b"x").unwrap();
    }
    fs.allocate(&many, Fallocate::Punch, 8192 * 50, 8192 * 20).unwrap();
    let open = fs.create(&root, b"open", &NewNode::file(0o600)).unwrap();
    fs.write(&open, 0, &[1; 10_000]).unwrap();
    fs.unlink(&root, b"open").unwrap();
    for n in 100..200 {
        fs.unlink(&dir, format!("file-{n}").as_bytes()).unwrap();
    }
    fs.sync().unwrap();
    if close == Close::Cleanly {
        drop((open, many, file, sub, dir, root));
        fs.close().unwrap();
    } else {
        // As a process that is killed: nothing is dropped, so nothing is freed.
        std::mem::forget((open, many, file, sub, dir, root, fs));
    }
    pool
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    Cleanly,
    Killed,
}

fn bytes_of(pool: &HeapPool) -> Vec<u8> {
    let mut bytes = vec![0; BYTES as usize];
    pool.read(0, &mut bytes);
    bytes
}

fn with(bytes: &[u8]) -> HeapPool {
    let pool = HeapPool::new(BYTES, Durability::Volatile).unwrap();
    pool.write(0, bytes);
    pool
}

#[test]
fn what_the_engine_makes_is_clean_closed_or_killed() {
    for durability in [Durability::Volatile, Durability::Msync, Durability::CpuFlush] {
        for close in [Close::Cleanly, Close::Killed] {
            let pool = image(durability, close);
            let report = report(&*pool);
            assert!(report.is_clean() && report.warnings == 0, "{}", report.text());
            let orphans = u64::from(close == Close::Killed);
            assert_eq!((report.summary.orphans, report.summary.directories), (orphans, 3), "{}", report.text());
            assert_eq!(report.summary.records > 0, close == Close::Killed);
        }
    }
}

#[test]
fn every_flipped_byte_of_the_fixed_structures_is_named() {
    let good = bytes_of(&image(Durability::Volatile, Close::Cleanly));
    let geometry = Geometry::new(BYTES, 1).unwrap();
    let group = geometry.group(0).unwrap();
    let bitmaps = (1..group.own_blocks()).map(|n| Block(group.first.0 + u64::from(n)));
    let blocks = [geometry.superblock(), geometry.backup_superblock(), group.first].into_iter().chain(bitmaps);
    for block in blocks {
        let len = if block == group.first { 64 } else { BLOCK_SIZE };
        for at in (0..len).step_by(if len == 64 { 1 } else { 61 }) {
            let mut bad = good.clone();
            bad[block.offset() as usize + at] ^= 0x40;
            let report = report(&with(&bad));
            assert!(!report.is_clean(), "{block}, byte {at}: {}", report.text());
        }
    }
}

/// All inode blocks' records in use.
fn live(bytes: &[u8]) -> Vec<Ino> {
    let geometry = Geometry::new(BYTES, 1).unwrap();
    let first = geometry.group(0).unwrap().first_data().0;
    let blocks = first..geometry.block_count() - 1;
    let inos = blocks.flat_map(|block| (0..8).map(move |slot| Ino::from_parts(Block(block), slot)));
    inos.filter(|ino| {
        let record = record(bytes, *ino);
        record.verify(*ino).is_ok() && !record.is_free()
    })
    .collect()
}

fn record(bytes: &[u8], ino: Ino) -> InodeRecord {
    let at = ino.offset() as usize;
    *InodeRecord::from_bytes(bytes[at..at + INODE_BYTES].try_into().unwrap())
}

#[test]
fn every_flipped_byte_of_an_inode_record_is_named() {
    let good = bytes_of(&image(Durability::Volatile, Close::Cleanly));
    let inos = live(&good);
    assert!(inos.len() > 200);
    for (n, ino) in inos.into_iter().enumerate().step_by(40) {
        for at in (n % 7..INODE_BYTES).step_by(7) {
            let mut bad = good.clone();
            bad[ino.offset() as usize + at] ^= 1;
            let report = report(&with(&bad));
            assert!(report.has("inode-record"), "{ino}, byte {at}: {}", report.text());
        }
    }
}

/// A wrong value in a record.
type Change = fn(&mut InodeRecord);

#[test]
fn fields_that_are_wrong_under_a_right_checksum_are_named() {
    let good = bytes_of(&image(Durability::Volatile, Close::Cleanly));
    let inos = live(&good);
    let of_type =
        |kind: u32| inos.iter().copied().filter(|ino| record(&good, *ino).mode() >> 12 == kind).nth(1).unwrap();
    let (file, directory) = (of_type(8), of_type(4));
    let cases: [(Ino, &str, Change); 6] = [
        (file, "link-count", |r| r.set_nlink(r.nlink() + 1)),
        (file, "inode-blocks", |r| r.set_blocks(r.blocks() + 1)),
        (file, "entry-type", |r| r.set_mode(0o10_0000 ^ 0o11_0000 | 0o644)),
        (directory, "parent", |r| r.set_parent(r.ino())),
        (directory, "link-count", |r| r.set_nlink(1)),
        (directory, "inode-blocks", |r| r.set_blocks(7)),
    ];
    for (ino, code, change) in cases {
        let mut bad = good.clone();
        let mut changed = record(&bad, ino);
        change(&mut changed);
        changed.seal();
        bad[ino.offset() as usize..][..INODE_BYTES].copy_from_slice(changed.as_bytes());
        let report = report(&with(&bad));
        assert!(report.has(code), "{code}: {}", report.text());
    }
}

#[test]
fn a_lost_bit_of_the_bitmap_and_a_leaked_block_are_told_apart() {
    let good = bytes_of(&image(Durability::Volatile, Close::Cleanly));
    let geometry = Geometry::new(BYTES, 1).unwrap();
    let group = geometry.group(0).unwrap();
    let at = group.bitmap_block(format::BitmapKind::Used, 0).unwrap().offset() as usize;
    let change = |bit: u32, set: bool| {
        let mut bad = good.clone();
        let mut block = *format::BitmapBlock::from_bytes(bad[at..at + BLOCK_SIZE].try_into().unwrap());
        let place = format::bit_place(bit);
        if set {
            block.bits[place.byte] |= place.mask;
        } else {
            block.bits[place.byte] &= !place.mask;
        }
        block.seal();
        bad[at..at + BLOCK_SIZE].copy_from_slice(block.as_bytes());
        report(&with(&bad))
    };
    let lost = change(group.own_blocks(), false);
    assert!(lost.has("used-but-free") && lost.has("used-blocks"), "{}", lost.text());
    let leaked = change(group.blocks - 1, true);
    assert!(leaked.has("leaked"), "{}", leaked.text());
    assert!(leaked.findings.iter().any(|finding| finding.severity == Severity::Warning));
}

#[test]
fn random_damage_never_ends_the_checker() {
    for (close, seed) in [(Close::Cleanly, 1_u64), (Close::Killed, 2)] {
        let good = bytes_of(&image(Durability::Volatile, close));
        let mut state = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        // Where metadata is: the first half holds all of it.
        for _ in 0..120 {
            let mut bad = good.clone();
            for _ in 0..=random(20) {
                let at = random(good.len() / 2);
                bad[at] = random(256) as u8;
            }
            let report = report(&with(&bad));
            assert!(!report.text().is_empty() && report.json().starts_with('{'));
        }
    }
}
