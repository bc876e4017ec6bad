//! What can be repaired without guessing is, the rest is left as it is; and a cut of power in a repair harms nothing.

mod common;

use std::sync::Arc;

use check::{CheckOptions, RepairError, Repaired, repair};
use common::{Bed, End, Random, Sealed, report};
use engine::fs::{Access, Fs};
use format::{BitmapKind, Block, INODE_BYTES, InodeRecord};
use pool::crashlog::CrashPool;
use pool::{Durability, HeapPool, Pool};

fn mended(pool: &dyn Pool) -> Repaired {
    repair(pool, &mut CheckOptions::default()).unwrap()
}

/// Opens the pool, compares every file that was not damaged, and closes it.
fn use_pool(pool: Arc<dyn Pool>, without: &[&str]) {
    let fs = Fs::open(pool, Access::ReadWrite).unwrap();
    let root = fs.root().unwrap();
    let dir = fs.lookup(&root, b"dir").unwrap();
    for n in (0..100_u32).chain(200..300).filter(|n| *n != 7) {
        let name = format!("file-{n}");
        if without.contains(&name.as_str()) {
            assert!(fs.lookup(&dir, name.as_bytes()).is_err(), "{name}");
            continue;
        }
        let file = fs.lookup(&dir, name.as_bytes()).unwrap();
        let mut bytes = vec![0; 3000];
        assert_eq!(fs.read(&file, u64::from(n) * 5000, &mut bytes).unwrap(), 3000, "{name}");
        assert!(bytes.iter().all(|byte| *byte == n as u8), "{name}");
    }
    let long = fs.lookup(&root, b"long").unwrap();
    assert_eq!(fs.read_link(&long).unwrap(), [b'a'; 4000]);
    drop((root, dir, long));
    fs.close().unwrap();
}

/// A damage, and names that are gone after its repair.
type Case = (&'static str, fn(&mut Bed), &'static [&'static str]);

fn poke_bitmap(bed: &mut Bed, bit: u32, set: bool) {
    let place = format::bit_place(bit);
    let block = bed.geometry.group(0).unwrap().bitmap_block(BitmapKind::Used, place.number).unwrap();
    let at = block.offset() + 32 + place.byte as u64;
    let old = bed.bytes(at, 1)[0];
    bed.poke(at, &[if set { old | place.mask } else { old & !place.mask }]);
    bed.seal(&Sealed::block(block));
}

fn poke_header(bed: &mut Bed, at: u64) {
    let (block, _) = bed.header();
    bed.poke(block.offset() + at, &[99]);
    bed.seal(&Sealed { len: 128, ..Sealed::block(block) });
}

/// Frees an inode's record, so that its names mean nothing.
fn free(bed: &mut Bed, ino: format::Ino) {
    let generation = bed.record(ino).generation();
    let mut record = InodeRecord::free(ino, generation);
    record.seal();
    bed.poke(ino.offset(), record.as_bytes());
}

const CASES: &[Case] = &[
    ("superblock", |bed| bed.poke(0, &[0xee; 4096]), &[]),
    ("backup", |bed| bed.poke(bed.geometry.backup_superblock().offset(), &[0; 4096]), &[]),
    (
        "backup of another pool",
        |bed| {
            let at = bed.geometry.backup_superblock();
            bed.poke(at.offset() + 40, &[1; 16]);
            bed.seal(&Sealed { crc_at: 8, ..Sealed::block(at) });
        },
        &[],
    ),
    ("group header", |bed| bed.poke(bed.geometry.group(0).unwrap().first.offset(), &[7; 64]), &[]),
    (
        "bitmap of used blocks",
        |bed| bed.poke(bed.geometry.group(0).unwrap().first.plus(1).offset(), &[0x5a; 4096]),
        &[],
    ),
    (
        "checksum of the bitmap of inode blocks",
        |bed| {
            let at = bed.geometry.group(0).unwrap().bitmap_block(BitmapKind::Inodes, 0).unwrap();
            bed.poke(at.offset() + 4, &[1, 2, 3, 4]);
        },
        &[],
    ),
    (
        "a used block marked free",
        |bed| {
            let bit = bed.geometry.group(0).unwrap().bit_of(bed.node(bed.many)).unwrap();
            poke_bitmap(bed, bit, false);
        },
        &[],
    ),
    ("a leaked block", |bed| poke_bitmap(bed, bed.geometry.group(0).unwrap().blocks - 1, true), &[]),
    ("used blocks", |bed| poke_header(bed, 40), &[]),
    ("used inodes", |bed| poke_header(bed, 48), &[]),
    ("links of a file", |bed| bed.change(bed.small, |record| record.set_nlink(7)), &[]),
    ("links of a directory", |bed| bed.change(bed.dir, |record| record.set_nlink(9)), &[]),
    ("no links", |bed| bed.change(bed.many, |record| record.set_nlink(0)), &[]),
    ("parent", |bed| bed.change(bed.sub, |record| record.set_parent(record.ino())), &[]),
    ("blocks", |bed| bed.change(bed.many, |record| record.set_blocks(1)), &[]),
    ("size of a directory", |bed| bed.change(bed.dir, |record| record.set_size(1)), &[]),
    ("a file whose record is free", |bed| free(bed, bed.small), &["file-9"]),
    (
        "an orphan that the journal forgot",
        |bed| {
            let node = bed.node(bed.dir);
            let (at, other) = (bed.value_at(node, 3), bed.small);
            let lost = format::Ino(u64::from_le_bytes(bed.bytes(at, 8).try_into().unwrap()));
            bed.change(lost, |record| record.set_nlink(0));
            bed.poke(at, &other.0.to_le_bytes());
            bed.seal(&Sealed::block(node));
        },
        &[],
    ),
    (
        "many at once",
        |bed| {
            bed.poke(0, &[0xee; 4096]);
            bed.poke(bed.geometry.group(0).unwrap().first.plus(1).offset(), &[0x5a; 4096]);
            bed.change(bed.dir, |record| record.set_nlink(9));
            bed.change(bed.many, |record| record.set_blocks(1));
            free(bed, bed.small);
        },
        &["file-9"],
    ),
];

#[test]
fn what_needs_no_guessing_is_repaired_once_and_files_are_whole() {
    for durability in [Durability::Volatile, Durability::Msync] {
        let good = Bed::new(durability, End::Closed);
        for (name, damage, without) in CASES {
            let mut bed = Bed::over(HeapPool::from_image(&good.pool.image(), durability).unwrap(), &good);
            damage(&mut bed);
            let before = bed.report();
            assert!(!before.is_clean() || before.warnings > 0, "{name}: {}", before.text());
            let repaired = mended(&*bed.pool);
            assert!(!repaired.changes.is_empty(), "{name}");
            assert!(repaired.after.is_clean() && repaired.after.warnings == 0, "{name}: {}", repaired.after.text());
            if *name == "an orphan that the journal forgot" {
                // One of the files is another's second name now, so contents are not compared.
                Fs::open(bed.pool.clone(), Access::ReadWrite).unwrap().close().unwrap();
            } else {
                use_pool(bed.pool.clone(), without);
            }
            let closed = bed.report();
            assert!(closed.is_clean() && closed.warnings == 0, "{name}, closed: {}", closed.text());
            let image = bed.pool.image();
            assert_eq!(mended(&*bed.pool).changes, Vec::<String>::new(), "{name}");
            assert!(bed.pool.equal(0, &image), "{name}: a second repair wrote something");
        }
    }
}

/// A damage, and the code of what stays.
type Left = (&'static str, fn(&mut Bed), &'static str);

/// What cannot be repaired stays, and so does everything that depends on it.
#[test]
fn what_would_need_guessing_is_left_as_it_is() {
    let good = Bed::new(Durability::Volatile, End::Closed);
    let cases: &[Left] = &[
        ("record", |bed| bed.poke(bed.small.offset() + 100, &[7; 100]), "inode-record"),
        ("node", |bed| bed.poke(bed.node(bed.many).offset(), &[7; 100]), "node"),
        (
            "bitmap of inode blocks",
            |bed| {
                bed.poke(
                    bed.geometry.group(0).unwrap().bitmap_block(BitmapKind::Inodes, 0).unwrap().offset(),
                    &[7; 4096],
                );
            },
            "bitmap",
        ),
        (
            "a block of inodes that is not marked",
            |bed| {
                let at = bed.geometry.group(0).unwrap().bitmap_block(BitmapKind::Inodes, 0).unwrap();
                let place = format::bit_place(bed.geometry.group(0).unwrap().bit_of(bed.small.block()).unwrap());
                let byte = at.offset() + 32 + place.byte as u64;
                let old = bed.bytes(byte, 1)[0];
                bed.poke(byte, &[old & !place.mask]);
                bed.seal(&Sealed::block(at));
            },
            "dangling-entry",
        ),
        (
            "a group that calls itself fresh",
            |bed| {
                let at = bed.geometry.group(0).unwrap().first;
                bed.poke(at.offset() + 12, &[0]);
                bed.seal(&Sealed { len: 64, ..Sealed::block(at) });
            },
            "root",
        ),
    ];
    for (name, damage, code) in cases {
        let mut bed = Bed::over(HeapPool::from_image(&good.pool.image(), Durability::Volatile).unwrap(), &good);
        damage(&mut bed);
        let image = bed.pool.image();
        let repaired = mended(&*bed.pool);
        assert!(repaired.before.has(code) && repaired.after.has(code), "{name}: {}", repaired.after.text());
        assert!(bed.pool.equal(0, &image), "{name}: {:?}", repaired.changes);
    }
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_blocks_while_others_are_repaired() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let bit = bed.geometry.group(0).unwrap().bit_of(bed.node(bed.dir)).unwrap();
    poke_bitmap(&mut bed, bit, false);
    let many = bed.node(bed.many);
    bed.poke(many.offset() + 2000, &[7; 100]);
    let leaked = |report: &check::Report| report.findings.iter().filter(|finding| finding.code == "leaked").count();
    let repaired = mended(&*bed.pool);
    assert!(repaired.before.has("used-but-free") && !repaired.after.has("used-but-free"), "{:?}", repaired.changes);
    assert!(leaked(&repaired.before) > 0 && leaked(&repaired.before) == leaked(&repaired.after));
    assert!(repaired.after.has("node"));
}

#[test]
fn a_pool_with_records_to_replay_or_without_superblocks_is_not_touched() {
    for durability in [Durability::Volatile, Durability::Msync] {
        let bed = Bed::new(durability, End::Killed);
        let image = bed.pool.image();
        let error = repair(&*bed.pool, &mut CheckOptions::default()).unwrap_err();
        assert!(matches!(error, RepairError::JournalNotEmpty(n) if n > 0), "{error}");
        assert!(bed.pool.equal(0, &image));
        // But its superblock is, for nobody could open it.
        bed.pool.write(0, &[0xee; 4096]);
        let repaired = mended(&*bed.pool);
        assert_eq!(repaired.changes.len(), 1);
        assert!(repaired.after.is_clean() && bed.pool.equal(0, &image), "{}", repaired.after.text());
    }
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let last = bed.geometry.backup_superblock();
    let (at, _) = bed.header();
    bed.poke(at.offset(), &[7; 128]);
    bed.poke(if at == Block(1) { 8192 } else { 4096 }, &[7; 128]);
    let error = repair(&*bed.pool, &mut CheckOptions::default()).unwrap_err();
    assert_eq!(error, RepairError::JournalDamaged);
    bed.poke(0, &[0; 4096]);
    bed.poke(last.offset(), &[0; 4096]);
    let error = repair(&*bed.pool, &mut CheckOptions::default()).unwrap_err();
    assert!(matches!(error, RepairError::NotChecked(_)), "{error}");
}

/// Repairs as a person does: opens the pool when told to.
fn repair_until_done(pool: &Arc<HeapPool>) -> check::Report {
    for _ in 0..3 {
        match repair(&**pool, &mut CheckOptions::default()) {
            Ok(repaired) if repaired.changes.is_empty() => return repaired.after,
            Ok(_) => {}
            Err(RepairError::JournalNotEmpty(_)) => Fs::open(pool.clone(), Access::ReadWrite).unwrap().close().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
    report(&**pool)
}

#[test]
fn a_cut_of_power_in_a_repair_leaves_a_pool_that_can_be_repaired() {
    for durability in [Durability::CpuFlush, Durability::Msync] {
        let mut bed = Bed::new(durability, End::Closed);
        let (_, damage, _) = CASES.last().unwrap();
        damage(&mut bed);
        let pool = CrashPool::from_image(&bed.pool.image(), durability).unwrap();
        assert!(mended(&pool).after.is_clean());
        let mut images = 0;
        for cut in pool.cut_points() {
            for image in pool.images_at(cut, 3, 3) {
                let bytes = Arc::new(HeapPool::from_image(&image.bytes, durability).unwrap());
                let last = repair_until_done(&bytes);
                assert!(last.is_clean() && last.warnings == 0, "{durability}, cut {cut}: {}", last.text());
                use_pool(bytes, &["file-9"]);
                images += 1;
            }
        }
        assert!(images > 10, "{images}");
    }
}

#[test]
fn repairs_of_random_damage_end_and_add_no_errors() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let image = bed.pool.image();
    let mut random = Random::new(11);
    let blocks: Vec<u64> = (0..bed.geometry.block_count())
        .filter(|block| matches!(&image[*block as usize * 4096..][..2], b"DX" | b"DA"))
        .collect();
    for round in 0..300 {
        for _ in 0..=round % 4 {
            let block = Block(blocks[random.below(blocks.len())]);
            let at = random.below(8) * 512 + random.below(300);
            bed.poke(block.offset() + at as u64, &[random.below(256) as u8, random.below(4) as u8]);
            let sealed = match bed.bytes(block.offset(), 4).as_slice() {
                b"DXIN" => Sealed::inode(format::Ino::from_parts(block, (at / INODE_BYTES) as u8)),
                b"DXJH" => Sealed { len: 128, ..Sealed::block(block) },
                b"DXGR" => Sealed { len: 64, ..Sealed::block(block) },
                b"DAXL" => Sealed { crc_at: 8, ..Sealed::block(block) },
                _ => Sealed::block(block),
            };
            if random.below(4) > 0 {
                bed.seal(&sealed);
            }
        }
        if let Ok(repaired) = repair(&*bed.pool, &mut CheckOptions::default()) {
            let (before, after) = (&repaired.before, &repaired.after);
            assert!(
                after.errors + after.fatals <= before.errors + before.fatals,
                "{}\n{:?}\n{}",
                before.text(),
                repaired.changes,
                after.text()
            );
            match repair(&*bed.pool, &mut CheckOptions::default()) {
                Ok(again) => assert_eq!(again.changes, Vec::<String>::new(), "{:?}", repaired.changes),
                Err(error) => assert!(matches!(error, RepairError::JournalNotEmpty(_)), "{error}"),
            }
        }
        bed.forget_undo();
        bed.pool.write(0, &image);
    }
}
