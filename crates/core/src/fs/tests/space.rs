//! Full pools: no damage, no leak, and what is freed can be used again.

use super::*;
use crate::types::Fallocate;

#[test]
fn filling_and_emptying_again_and_again_loses_nothing() {
    for class in CLASSES {
        let fs = fresh(24 * MIB, class);
        let top = root(&fs);
        drop(file(&fs, &top, "first")); // makes the inode block that later rounds use too
        fs.unlink(&top, b"first").unwrap();
        fs.sync().unwrap();
        let mut free = None;
        for round in 0..4 {
            let chunk = pattern(700_000, round);
            let mut written = 0;
            let node = file(&fs, &top, "filler");
            let error = loop {
                match fs.append(&node, &chunk) {
                    Ok((at, len)) => {
                        assert_eq!(at, written);
                        written += len as u64;
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!(error.errno(), 28);
            assert!(written > 12 * MIB, "{class:?} {round}: {written}");
            assert_eq!(node.size(), written);
            let bytes = content(&fs, &node);
            assert!(bytes.chunks(chunk.len()).all(|piece| *piece == chunk[..piece.len()]));
            verify(&fs);
            assert_eq!(errno(fs.allocate(&node, Fallocate::Allocate, written, MIB)), 28);
            fs.unlink(&top, b"filler").unwrap();
            drop(node);
            fs.sync().unwrap();
            let now = fs.statfs().blocks_free;
            assert_eq!(*free.get_or_insert(now), now, "{class:?} {round}");
            verify(&fs);
        }
    }
}

#[test]
fn names_run_out_of_space_without_damage_and_can_be_removed() {
    let fs = fresh(16 * MIB, Durability::Msync);
    let top = root(&fs);
    let filler = file(&fs, &top, "filler");
    while fs.append(&filler, &vec![1; 100_000]).is_ok() {}
    while fs.append(&filler, &[1; 4096]).is_ok() {}
    let mut made = 0;
    let error = loop {
        match fs.create(&top, format!("name-{made}").as_bytes(), &NewNode::file(0o600)) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
        assert!(made < 1_000_000);
    };
    assert_eq!(error.errno(), 28);
    verify(&fs);
    for i in 0..made {
        fs.unlink(&top, format!("name-{i}").as_bytes()).unwrap();
    }
    fs.unlink(&top, b"filler").unwrap();
    drop(filler);
    assert!(fs.create(&top, b"fits", &NewNode::file(0o600)).is_ok());
    drop(top);
    verify(&crash(fs));
}

#[test]
fn a_file_of_many_extents_is_freed_over_several_transactions() {
    let fs = fresh(64 * MIB, Durability::Volatile);
    let top = root(&fs);
    let node = file(&fs, &top, "comb");
    for i in 0..6000 {
        write_all(&fs, &node, i * 8192, &[i as u8; 4096]);
    }
    assert!(fs.attr(&node).unwrap().blocks > 6000, "nodes count too");
    let set = crate::types::SetAttr { size: Some(3000 * 8192), ..Default::default() };
    fs.set_attr(&node, &set).unwrap();
    assert_eq!(fs.meta().orphans().len(), 0);
    verify(&fs);
    let free = fs.statfs().blocks_free;
    fs.unlink(&top, b"comb").unwrap();
    drop(node);
    assert!(fs.statfs().blocks_free >= free + 3000);
    verify(&fs);
}
