//! Reading, writing, truncating and seeking, against an array of bytes.

use super::*;
use crate::types::{FILE_SIZE_MAX, Seek, SetAttr};

fn set_size(fs: &Fs, node: &Node, size: u64) {
    let set = SetAttr { size: Some(size), ..SetAttr::default() };
    assert_eq!(fs.set_attr(node, &set).unwrap().size, size);
}

#[test]
fn random_writes_truncations_and_reads_agree_with_an_array() {
    for class in CLASSES {
        let mut fs = fresh(48 * MIB, class);
        drop(file(&fs, &root(&fs), "file"));
        let mut model: Vec<u8> = Vec::new();
        let mut random = Random(class as u64);
        for step in 0..400 {
            let node = fs.lookup(&root(&fs), b"file").unwrap();
            let at = random.below(6 * MIB / 10) as usize * (1 + (step % 3));
            let len = (1 + random.below(if step % 20 == 0 { 3 * MIB } else { 20_000 })) as usize;
            match random.below(10) {
                0..5 => {
                    let bytes = pattern(len, step as u64);
                    write_all(&fs, &node, at as u64, &bytes);
                    model.resize(model.len().max(at + len), 0);
                    model[at..at + len].copy_from_slice(&bytes);
                }
                5 => {
                    let bytes = pattern(len.min(5000), step as u64);
                    assert_eq!(fs.append(&node, &bytes).unwrap(), (model.len() as u64, bytes.len()));
                    model.extend_from_slice(&bytes);
                }
                6 => {
                    set_size(&fs, &node, at as u64);
                    model.resize(at, 0);
                }
                _ => {
                    let mut bytes = vec![1; len];
                    let read = fs.read(&node, at as u64, &mut bytes).unwrap();
                    let end = model.len().min(at + len);
                    assert_eq!(&bytes[..read], model.get(at..end).unwrap_or(&[]), "step {step}");
                }
            }
            drop(node);
            if step % 50 == 49 {
                verify(&fs);
                fs = if step % 100 == 49 { crash(fs) } else { reopen(fs) };
                let node = fs.lookup(&root(&fs), b"file").unwrap();
                assert!(content(&fs, &node) == model, "after reopening at step {step}");
            }
        }
    }
}

#[test]
fn a_sparse_file_owns_only_what_was_written() {
    let fs = small();
    let top = root(&fs);
    let node = file(&fs, &top, "sparse");
    write_all(&fs, &node, 1 << 40, b"far");
    let attr = fs.attr(&node).unwrap();
    assert_eq!((attr.size, attr.blocks, attr.sectors()), ((1 << 40) + 3, 1, 8));
    let mut bytes = [1; 8];
    assert_eq!(fs.read(&node, (1 << 40) - 4, &mut bytes).unwrap(), 7);
    assert_eq!(bytes[..7], *b"\0\0\0\0far");
    set_size(&fs, &node, FILE_SIZE_MAX);
    assert_eq!(errno(fs.write(&node, FILE_SIZE_MAX, b"x")), 27);
    assert_eq!(errno(fs.set_attr(&node, &SetAttr { size: Some(FILE_SIZE_MAX + 1), ..SetAttr::default() })), 27);
    assert_eq!(fs.write(&node, FILE_SIZE_MAX - 1, b"xy").unwrap(), 1);
    assert_eq!(errno(fs.append(&node, b"x")), 27);
    assert_eq!(fs.read(&node, FILE_SIZE_MAX, &mut bytes).unwrap(), 0);
    assert_eq!(fs.read(&node, u64::MAX, &mut bytes).unwrap(), 0);
    verify(&fs);
}

type Grow = fn(&Fs, &Node);

#[test]
fn bytes_past_the_end_do_not_show_up_when_the_file_grows() {
    let fs = small();
    let top = root(&fs);
    let ways: [(&str, Grow); 3] = [
        ("truncate", |fs, node| set_size(fs, node, 4000)),
        ("write", |fs, node| write_all(fs, node, 3999, b"\0")),
        ("allocate", |fs, node| fs.allocate(node, crate::types::Fallocate::Allocate, 0, 4000).unwrap()),
    ];
    for (name, grow) in ways {
        let node = file(&fs, &top, name);
        write_all(&fs, &node, 0, b"abc");
        // As a store through a mapping does: into the block, behind the end.
        let runs = fs.runs(&node, 0..1).unwrap();
        fs.pool().write(runs[0].block_at(0).unwrap().0 * 4096 + 100, b"garbage");
        grow(&fs, &node);
        let bytes = content(&fs, &node);
        assert_eq!((bytes.len(), &bytes[..3]), (4000, &b"abc"[..]), "{name}");
        assert!(bytes[3..].iter().all(|byte| *byte == 0), "{name}");
    }
    let node = file(&fs, &top, "down and up");
    write_all(&fs, &node, 0, &pattern(10_000, 3));
    set_size(&fs, &node, 5000);
    set_size(&fs, &node, 9000);
    assert!(content(&fs, &node)[5000..].iter().all(|byte| *byte == 0));
    verify(&fs);
}

#[test]
fn seek_finds_data_and_holes() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    assert_eq!(errno(fs.seek(&node, 0, Seek::Data)), 6);
    assert_eq!(errno(fs.seek(&node, 0, Seek::Hole)), 6);
    write_all(&fs, &node, 8192, &[1; 5000]);
    fs.allocate(&node, crate::types::Fallocate::Allocate, 20_480, 4096).unwrap();
    set_size(&fs, &node, 30_000);
    let rows = [
        (0, Seek::Data, Ok(8192)),
        (0, Seek::Hole, Ok(0)),
        (8192, Seek::Hole, Ok(16_384)),
        (10_000, Seek::Data, Ok(10_000)),
        (16_384, Seek::Data, Err(6)),
        (20_480, Seek::Hole, Ok(20_480)),
        (29_999, Seek::Hole, Ok(29_999)),
        (30_000, Seek::Hole, Err(6)),
    ];
    for (offset, what, wanted) in rows {
        let found = fs.seek(&node, offset, what).map_err(|error| error.errno());
        assert_eq!(found, wanted, "{offset} {what:?}");
    }
}

#[test]
fn large_files_lie_in_aligned_regions() {
    let fs = fresh(64 * MIB, Durability::Volatile);
    let node = file(&fs, &root(&fs), "large");
    let piece = vec![7; 100_000];
    for i in 0..80 {
        write_all(&fs, &node, i * 100_000, &piece);
    }
    let runs = fs.runs(&node, 512..1536).unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0].block_at(512).unwrap().0 % 512, 0);
    let whole = file(&fs, &root(&fs), "whole");
    write_all(&fs, &whole, 0, &vec![8; 4 << 20]);
    assert_eq!(fs.runs(&whole, 0..1).unwrap()[0].block_at(0).unwrap().0 % 512, 0);
    verify(&fs);
}

#[test]
fn a_pool_of_huge_pages_reads_and_writes_as_any_other() {
    let fs = fresh_huge(128 * MIB);
    let node = file(&fs, &root(&fs), "file");
    let mut model: Vec<u8> = Vec::new();
    let mut random = Random(9);
    for step in 0..60 {
        let at = random.below(8 * MIB) as usize;
        let len = random.below(3 * MIB) as usize + 1;
        if step % 4 == 3 {
            set_size(&fs, &node, at as u64);
            model.resize(at, 0);
        } else {
            let bytes = pattern(len, step);
            write_all(&fs, &node, at as u64, &bytes);
            model.resize(model.len().max(at + len), 0);
            model[at..at + len].copy_from_slice(&bytes);
        }
        assert!(content(&fs, &node) == model, "step {step}");
        for run in fs.runs(&node, 0..u64::MAX).unwrap() {
            assert!(run.page.is_multiple_of(512) && run.pages.is_multiple_of(512));
            assert!(run.block_at(run.page).is_none_or(|block| block.0.is_multiple_of(512)));
        }
    }
    verify(&fs);
}
