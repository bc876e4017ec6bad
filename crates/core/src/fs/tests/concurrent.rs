//! Several threads on shared names; afterwards everything must agree.

use order::sync::thread;

use super::*;
use crate::types::{Fallocate, RenameMode, SetAttr};

/// Runs random operations on a few names; errors are part of the game, damage is not.
fn rummage(fs: &Fs, top: &Node, seed: u64, steps: u64) {
    let mut random = Random(seed);
    for _ in 0..steps {
        let dirs = ["d0", "d1", "d2"].map(|name| fs.lookup(top, name.as_bytes()).ok());
        let pick = |random: &mut Random| dirs[random.below(3) as usize].clone().unwrap_or_else(|| top.clone());
        let (a, b) = (pick(&mut random), pick(&mut random));
        let name = format!("n{}", random.below(6));
        let other = format!("n{}", random.below(6));
        let (name, other) = (name.as_bytes(), other.as_bytes());
        let result = match random.below(12) {
            0 | 1 => fs.create(&a, name, &NewNode::file(0o600)).map(drop),
            2 => fs.create(&a, name, &NewNode::directory(0o700)).map(drop),
            3 => fs.unlink(&a, name),
            4 => fs.rmdir(&a, name),
            5 => fs.rename(&a, name, &b, other, RenameMode::Replace),
            6 => fs.rename(&a, name, &b, other, RenameMode::Exchange),
            7 => fs.lookup(&a, name).and_then(|node| fs.link(&node, &b, other)),
            8 => fs.lookup(&a, name).and_then(|node| {
                let size = Some(random.below(100_000));
                fs.set_attr(&node, &SetAttr { size, ..SetAttr::default() }).map(drop)
            }),
            9 => fs.lookup(&a, name).and_then(|node| fs.allocate(&node, Fallocate::Punch, 5000, 50_000)),
            10 => {
                // Directories move as well, so that loops are tried.
                fs.rename(top, b"d0", &b, b"moved", RenameMode::Replace)
                    .and_then(|()| fs.rename(&b, b"moved", top, b"d0", RenameMode::Replace))
            }
            _ => fs.lookup(&a, name).and_then(|node| {
                fs.write(&node, random.below(80_000), &pattern(9000, seed))?;
                fs.read(&node, 0, &mut vec![0; 20_000]).map(drop)
            }),
        };
        if let Err(error) = result {
            assert!(!matches!(error, FsError::Damaged(_) | FsError::Inconsistent { .. }), "{error}");
        }
    }
}

#[test]
fn threads_on_shared_names_leave_a_sound_file_system() {
    for class in [Durability::Volatile, Durability::Msync] {
        let fs = fresh(64 * MIB, class);
        let top = root(&fs);
        for name in ["d0", "d1", "d2"] {
            directory(&fs, &top, name);
        }
        let threads: Vec<_> = (0..4)
            .map(|seed| {
                let (fs, top) = (fs.clone(), top.clone());
                thread::spawn(move || rummage(&fs, &top, seed, 1500))
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic in a thread");
        }
        assert_eq!(fs.meta().orphans().len(), 0);
        verify(&fs);
        drop(top);
        verify(&crash(fs));
    }
}

#[test]
fn appends_of_several_threads_are_all_there_and_whole() {
    let fs = small();
    let node = file(&fs, &root(&fs), "log");
    let threads: Vec<_> = (1..=4u8)
        .map(|mark| {
            let (fs, node) = (fs.clone(), node.clone());
            thread::spawn(move || {
                for _ in 0..200 {
                    assert_eq!(fs.append(&node, &[mark; 1000]).expect("an append").1, 1000);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic in a thread");
    }
    let bytes = content(&fs, &node);
    assert_eq!(bytes.len(), 800_000);
    let mut counts = [0; 5];
    for record in bytes.chunks(1000) {
        assert!(record.iter().all(|byte| *byte == record[0]), "a torn append");
        counts[record[0] as usize] += 1;
    }
    assert_eq!(counts, [0, 200, 200, 200, 200]);
    verify(&fs);
}

#[test]
fn a_read_sees_a_write_whole_or_not_at_all() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    write_all(&fs, &node, 0, &vec![1; 50_000]);
    let writer = {
        let (fs, node) = (fs.clone(), node.clone());
        thread::spawn(move || {
            for i in 0..300u32 {
                write_all(&fs, &node, 0, &vec![1 + (i % 200) as u8; 50_000]);
            }
        })
    };
    for _ in 0..300 {
        let bytes = content(&fs, &node);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a torn read");
    }
    writer.join().expect("no panic in the writer");
}
