//! After every single operation the pool is opened again, as after a crash, and must be as it was.

use std::collections::BTreeMap;

use super::*;
use crate::types::{Attr, Fallocate, RenameMode, SetAttr, SyncKind};

/// Everything that can be seen: by path, the attributes and the content.
fn snapshot(fs: &Arc<Fs>) -> BTreeMap<String, (Attr, Vec<u8>)> {
    let mut seen = BTreeMap::new();
    let mut directories = vec![(String::new(), root(fs))];
    while let Some((path, dir)) = directories.pop() {
        for name in names(fs, &dir) {
            let node = fs.lookup(&dir, name.as_bytes()).expect("a listed name");
            let path = format!("{path}/{name}");
            let content = match node.kind() {
                Kind::File => content(fs, &node),
                Kind::Symlink => fs.read_link(&node).expect("a target"),
                _ => Vec::new(),
            };
            seen.insert(path.clone(), (attr(fs, &node), content));
            if node.kind() == Kind::Directory {
                directories.push((path, node));
            }
        }
    }
    seen
}

/// The attributes without the access time, which reading changes in memory.
fn attr(fs: &Fs, node: &Node) -> Attr {
    Attr { atime: crate::types::Timestamp::default(), change: 0, ..fs.attr(node).expect("attributes") }
}

type Step = fn(&Fs, &Node);

#[test]
fn every_operation_is_there_after_a_crash_that_follows_it() {
    let steps: [Step; 14] = [
        |fs, top| drop(file(fs, top, "a")),
        |fs, top| write_all(fs, &fs.lookup(top, b"a").unwrap(), 1000, &pattern(30_000, 1)),
        |fs, top| drop(directory(fs, top, "d")),
        |fs, top| fs.link(&fs.lookup(top, b"a").unwrap(), &fs.lookup(top, b"d").unwrap(), b"a2").unwrap(),
        |fs, top| drop(fs.create(top, b"s", &NewNode::symlink(&[b's'; 2000])).unwrap()),
        |fs, top| fs.rename(top, b"a", &fs.lookup(top, b"d").unwrap(), b"a3", RenameMode::Replace).unwrap(),
        |fs, top| fs.rename(top, b"s", top, b"d", RenameMode::Exchange).unwrap(),
        |fs, top| {
            let node = fs.lookup(&fs.lookup(top, b"s").unwrap(), b"a3").unwrap();
            fs.allocate(&node, Fallocate::Punch, 8192, 8192).unwrap();
        },
        |fs, top| {
            let node = fs.lookup(&fs.lookup(top, b"s").unwrap(), b"a3").unwrap();
            fs.allocate(&node, Fallocate::Insert, 4096, 4096).unwrap();
        },
        |fs, top| {
            let node = fs.lookup(&fs.lookup(top, b"s").unwrap(), b"a3").unwrap();
            fs.set_attr(&node, &SetAttr { size: Some(9000), mode: Some(0o400), ..SetAttr::default() }).unwrap();
        },
        |fs, top| {
            let node = fs.lookup(&fs.lookup(top, b"s").unwrap(), b"a2").unwrap();
            assert_eq!(fs.append(&node, b"tail").unwrap(), (9000, 4));
        },
        |fs, top| fs.unlink(&fs.lookup(top, b"s").unwrap(), b"a2").unwrap(),
        |fs, top| fs.unlink(top, b"d").unwrap(),
        |fs, top| {
            fs.unlink(&fs.lookup(top, b"s").unwrap(), b"a3").unwrap();
            fs.rmdir(top, b"s").unwrap();
        },
    ];
    for class in CLASSES {
        let mut fs = fresh(32 * MIB, class);
        for (number, step) in steps.iter().enumerate() {
            let top = root(&fs);
            step(&fs, &top);
            fs.sync_node(&top, SyncKind::All).unwrap();
            drop(top);
            let before = snapshot(&fs);
            fs = crash(fs);
            assert!(snapshot(&fs) == before, "step {number}, {class:?}");
            verify(&fs);
        }
        assert!(names(&fs, &root(&fs)).is_empty());
    }
}

#[test]
fn nothing_changes_while_frozen() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    let writer = fs
        .frozen(|| {
            let before = fs.meta().committed();
            let (other, node) = (fs.clone(), node.clone());
            let writer = order::sync::thread::spawn(move || write_all(&other, &node, 0, &[1; 5000]));
            order::sync::thread::yield_now();
            assert_eq!(fs.meta().committed(), before);
            assert_eq!(node_size(&fs), 0);
            writer
        })
        .unwrap();
    writer.join().expect("the writer goes on afterwards");
    assert_eq!(node.size(), 5000);
    verify(&fs);
}

/// The size that the pool itself holds.
fn node_size(fs: &Fs) -> u64 {
    let ino = fs.meta().root();
    let rec = fs.meta().inode(ino).expect("the root");
    let found = crate::meta::dir::find(&**fs.meta(), &rec, b"file").expect("a lookup").expect("the file");
    fs.meta().inode(found.ino).expect("its record").size()
}
