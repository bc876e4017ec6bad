//! Thousands of damaged images: every check ends, without a panic, and with a report.

mod common;

use common::{Bed, End, Random, Sealed};
use format::{BitmapKind, Block, INODE_BYTES, Ino};
use pool::{Durability, Pool};

/// Blocks that hold something.
fn interesting(bed: &Bed) -> Vec<Block> {
    (0..bed.geometry.block_count())
        .map(Block)
        .filter(|block| bed.bytes(block.offset(), 4096).iter().any(|byte| *byte != 0))
        .collect()
}

/// Puts the checksum right in whatever structure a block begins with.
fn seal(bed: &mut Bed, block: Block, at: usize) {
    let magic = bed.bytes(block.offset(), 4);
    match magic.as_slice() {
        b"DAXL" => bed.seal(&Sealed { crc_at: 8, ..Sealed::block(block) }),
        b"DXND" | b"DXBM" => bed.seal(&Sealed::block(block)),
        b"DXJH" => bed.seal(&Sealed { len: 128, ..Sealed::block(block) }),
        b"DXGR" => bed.seal(&Sealed { len: 64, ..Sealed::block(block) }),
        b"DXIN" => bed.seal(&Sealed::inode(Ino::from_parts(block, (at / INODE_BYTES) as u8))),
        _ => {}
    }
}

fn value(random: &mut Random) -> Vec<u8> {
    let width = [1, 2, 4, 8][random.below(4)];
    let value: u64 = match random.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << random.below(64),
        3 => random.below(5000) as u64,
        4 => (random.below(5000) as u64) << 3,
        _ => (random.below(1 << 31) as u64) << 32 | random.below(1 << 31) as u64,
    };
    value.to_le_bytes()[..width].to_vec()
}

fn damage(bed: &mut Bed, random: &mut Random, blocks: &[Block], count: usize) {
    for _ in 0..count {
        let block = blocks[random.below(blocks.len())];
        let bytes = value(random);
        // Mostly where headers and slots are.
        let at = if random.below(3) == 0 { random.below(4096 - 8) } else { random.below(8) * 512 + random.below(400) };
        bed.poke(block.offset() + at as u64, &bytes);
        if random.below(4) > 0 {
            seal(bed, block, at);
        }
    }
}

#[test]
fn random_damage_ends_in_a_report() {
    let mut found = 0;
    for (durability, end) in [(Durability::Volatile, End::Closed), (Durability::CpuFlush, End::Killed)] {
        let mut bed = Bed::new(durability, end);
        let metadata: Vec<Block> = interesting(&bed)
            .into_iter()
            .filter(|block| matches!(&bed.bytes(block.offset(), 2)[..], b"DX" | b"DA"))
            .collect();
        let mut random = Random::new(77 + u64::from(end == End::Killed));
        for round in 0..1200 {
            damage(&mut bed, &mut random, &metadata, 1 + round % 8);
            let report = bed.report();
            assert!(report.ran || report.fatals > 0);
            found += u64::from(!report.findings.is_empty());
            assert!(report.text().ends_with('\n') && report.json().starts_with('{'));
            for what in
                [check::Dump::Superblock, check::Dump::Journal, check::Dump::Group(0), check::Dump::Inode(bed.dir.0)]
            {
                if round % 4 == 0 {
                    let _ = check::dump(&*bed.pool, what);
                }
            }
            bed.restore();
        }
    }
    assert!(found > 1500, "{found} of 2400 damages found");
}

/// One byte of each structure with a checksum, wherever it is: none is overlooked.
#[test]
fn every_flipped_byte_under_a_checksum_is_found() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let group = bed.geometry.group(0).unwrap();
    let mut structures: Vec<(u64, usize)> =
        vec![(0, 4096), (bed.geometry.backup_superblock().offset(), 4096), (group.first.offset(), 64)];
    structures.push((bed.header().0.offset(), 128));
    structures.extend((1..group.own_blocks()).map(|n| (group.first.plus(u64::from(n)).offset(), 4096)));
    structures.extend([bed.node(bed.many), bed.node(bed.dir)].map(|node| (node.offset(), 4096)));
    structures.extend([bed.many, bed.dir, bed.fifo, bed.short_link].map(|ino| (ino.offset(), INODE_BYTES)));
    for (at, len) in structures {
        for byte in (0..len as u64).step_by(if len > 512 { 61 } else { 3 }) {
            let old = bed.bytes(at + byte, 1)[0];
            bed.poke(at + byte, &[old ^ 0x40]);
            let report = bed.report();
            assert!(report.errors + report.warnings + report.fatals > 0, "byte {byte} of what is at {at}");
            bed.restore();
        }
    }
}

#[test]
fn whole_blocks_of_noise_or_of_another_place_end_in_a_report() {
    let mut bed = Bed::new(Durability::Volatile, End::Killed);
    let blocks = interesting(&bed);
    let mut random = Random::new(5);
    for round in 0..600 {
        for _ in 0..=round % 5 {
            let to = blocks[random.below(blocks.len())];
            let bytes = if random.below(2) == 0 {
                bed.bytes(blocks[random.below(blocks.len())].offset(), 4096)
            } else {
                (0..4096).map(|_| random.below(256) as u8).collect()
            };
            bed.poke(to.offset(), &bytes);
        }
        let report = bed.report();
        assert!(report.ran || report.fatals > 0, "{}", report.text());
        bed.restore();
    }
    assert!(bed.report().is_clean());
}

/// Extents that claim the pool over and over would keep a checker busy; claims are limited.
#[test]
fn extents_that_claim_the_pool_over_and_over_end_in_a_report() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let group = bed.geometry.group(0).unwrap();
    let len = group.blocks - group.own_blocks();
    let node = bed.node(bed.many);
    let count = u64::from(bed.bytes(node.offset() + 10, 1)[0]);
    assert!(count > 50);
    for index in 0..count {
        let at = bed.value_at(node, index);
        bed.poke(at, &group.first_data().0.to_le_bytes());
        bed.poke(at + 8, &len.to_le_bytes());
    }
    bed.seal(&Sealed::block(node));
    let report = bed.report();
    assert!(report.has("owners") && report.has("shared-block"), "{}", report.text());
    assert_eq!(report.exit_code(), 4);
}

#[test]
fn a_lost_block_of_a_bitmap_is_named_and_inodes_are_still_found() {
    for kind in [BitmapKind::Used, BitmapKind::Inodes] {
        let mut bed = Bed::new(Durability::Volatile, End::Closed);
        let inodes = bed.report().summary.inodes;
        let at = bed.geometry.group(0).unwrap().bitmap_block(kind, 0).unwrap();
        bed.poke(at.offset(), &[0xa5; 4096]);
        let report = bed.report();
        assert!(report.has("bitmap") && report.exit_code() == 4, "{}", report.text());
        assert_eq!(report.summary.inodes, inodes, "{}", report.text());
    }
}

#[test]
fn dumps_name_what_they_show() {
    let bed = Bed::new(Durability::Volatile, End::Killed);
    let dump = |what| check::dump(&*bed.pool, what).unwrap();
    assert!(dump(check::Dump::Superblock).contains("label         \"bed\""));
    let journal = dump(check::Dump::Journal);
    assert!(journal.contains("record ") && journal.contains("OrphanAdd"), "{journal}");
    assert!(dump(check::Dump::Group(0)).contains("active: true"));
    let names = dump(check::Dump::Inode(bed.sub.0));
    assert!(names.contains("\"moved\"") && names.contains("nlink       2"), "{names}");
    assert!(dump(check::Dump::Inode(bed.many.0)).contains("pages 16 to 16: block "));
    assert!(dump(check::Dump::Inode(bed.short_link.0)).contains("target \"dir/file-1\""));
    let node = bed.sub.block().0;
    assert!(dump(check::Dump::Block(node)).contains("looks like a block of inodes"));
    for what in
        [check::Dump::Group(9), check::Dump::Inode(8), check::Dump::Inode(u64::MAX), check::Dump::Block(1 << 40)]
    {
        assert!(check::dump(&*bed.pool, what).is_err(), "{what:?}");
    }
    assert!(bed.pool.len() > 0);
}
