//! Every mode of `fallocate` against an array of bytes and, for what an array cannot show, against block counts.

use super::*;
use crate::types::Fallocate::{self, Allocate, AllocateKeepSize, Collapse, Insert, Punch, Zero, ZeroKeepSize};
use crate::types::Seek;

fn apply(model: &mut Vec<u8>, how: Fallocate, at: usize, len: usize) -> Result<(), i32> {
    let end = at + len;
    let aligned = at.is_multiple_of(4096) && len.is_multiple_of(4096);
    match how {
        Allocate => model.resize(model.len().max(end), 0),
        AllocateKeepSize => {}
        Punch | ZeroKeepSize => {
            let end = end.min(model.len());
            if at < end {
                model[at..end].fill(0);
            }
        }
        Zero => {
            model.resize(model.len().max(end), 0);
            model[at..end].fill(0);
        }
        Collapse if !aligned || end >= model.len() => return Err(22),
        Collapse => drop(model.drain(at..end)),
        Insert if !aligned || at >= model.len() => return Err(22),
        Insert => drop(model.splice(at..at, std::iter::repeat_n(0, len))),
    }
    Ok(())
}

const ALL: [Fallocate; 7] = [Allocate, AllocateKeepSize, Punch, Zero, ZeroKeepSize, Collapse, Insert];

#[test]
fn random_ranges_of_every_mode_agree_with_an_array() {
    for class in CLASSES {
        let mut fs = fresh(64 * MIB, class);
        drop(file(&fs, &root(&fs), "file"));
        let mut model: Vec<u8> = Vec::new();
        let mut random = Random(100 + class as u64);
        for step in 0..500 {
            let node = fs.lookup(&root(&fs), b"file").unwrap();
            let mut at = random.below(400_000) as usize;
            let mut len = random.below(100_000) as usize + 1;
            if random.below(3) > 0 {
                at -= at % 4096;
                len = len.next_multiple_of(4096);
            }
            if model.len() > 3 << 20 || random.below(3) == 0 {
                let bytes = pattern(len, step);
                write_all(&fs, &node, at as u64, &bytes);
                model.resize(model.len().max(at + len), 0);
                model[at..at + len].copy_from_slice(&bytes);
            } else {
                let how = ALL[random.below(7) as usize];
                let done = fs.allocate(&node, how, at as u64, len as u64).map_err(|error| error.errno());
                assert_eq!(done, apply(&mut model, how, at, len), "step {step}: {how:?} {at} {len}");
            }
            assert!(content(&fs, &node) == model, "step {step}");
            drop(node);
            if step % 100 == 99 {
                verify(&fs);
                fs = crash(fs);
                assert!(content(&fs, &fs.lookup(&root(&fs), b"file").unwrap()) == model);
            }
        }
    }
}

#[test]
fn allocated_blocks_are_zeros_and_can_lie_past_the_end() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    fs.allocate(&node, AllocateKeepSize, 0, 1 << 20).unwrap();
    let attr = fs.attr(&node).unwrap();
    assert_eq!((attr.size, attr.blocks), (0, 256));
    assert_eq!(errno(fs.seek(&node, 0, Seek::Data)), 6);
    let free = fs.statfs().blocks_free;
    write_all(&fs, &node, 5000, &vec![3; 100_000]);
    assert_eq!(fs.statfs().blocks_free, free, "the write uses what was allocated");
    let bytes = content(&fs, &node);
    assert!(bytes[..5000].iter().all(|byte| *byte == 0) && bytes[5000..].iter().all(|byte| *byte == 3));
    verify(&fs);
}

#[test]
fn a_punched_range_gives_its_blocks_back() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    write_all(&fs, &node, 0, &pattern(1 << 20, 5));
    assert_eq!(fs.attr(&node).unwrap().blocks, 256);
    fs.allocate(&node, Punch, 100, (1 << 20) - 200).unwrap();
    assert_eq!(fs.attr(&node).unwrap().blocks, 2);
    fs.allocate(&node, Punch, 0, u64::MAX >> 2).unwrap();
    let attr = fs.attr(&node).unwrap();
    assert_eq!((attr.blocks, attr.size), (0, 1 << 20));
    assert!(content(&fs, &node).iter().all(|byte| *byte == 0));
    verify(&fs);
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    let fs = small();
    let top = root(&fs);
    let node = file(&fs, &top, "file");
    for how in ALL {
        assert_eq!(errno(fs.allocate(&node, how, 0, 0)), 22, "{how:?}");
        assert_eq!(errno(fs.allocate(&node, how, 1 << 62, 1 << 62)), 27, "{how:?}");
        assert_eq!(errno(fs.allocate(&top, how, 0, 4096)), 21, "{how:?}");
    }
    write_all(&fs, &node, 0, &[1; 8192]);
    assert_eq!(errno(fs.allocate(&node, Collapse, 4096, 4096)), 22);
    assert_eq!(errno(fs.allocate(&node, Insert, 8192, 4096)), 22);
    assert_eq!(errno(fs.allocate(&node, Insert, 0, (1 << 63) - 8192)), 27);
    verify(&fs);
}

#[test]
fn units_of_two_mib_are_punched_whole_and_zeroed_in_part() {
    let fs = fresh_huge(128 * MIB);
    let node = file(&fs, &root(&fs), "file");
    let mut model = pattern(9 << 20, 8);
    write_all(&fs, &node, 0, &model);
    let mut random = Random(77);
    for step in 0..40 {
        let how = [Punch, Zero, ZeroKeepSize, Allocate, Collapse, Insert][step % 6];
        let unit = 2 << 20;
        let (mut at, mut len) = (random.below(8 << 20) as usize, random.below(5 << 20) as usize + 1);
        if matches!(how, Collapse | Insert) {
            at -= at % unit;
            len = unit;
            assert_eq!(errno(fs.allocate(&node, how, at as u64 + 4096, 4096)), 22);
        }
        let done = fs.allocate(&node, how, at as u64, len as u64).map_err(|error| error.errno());
        assert_eq!(done, apply(&mut model, how, at, len), "step {step}: {how:?} {at} {len}");
        assert!(content(&fs, &node) == model, "step {step}: {how:?} {at} {len}");
    }
    verify(&fs);
}
