//! Tests of the file system by subject, on heap pools.
//!
//! Each ends with [`verify`], which walks all names and compares what it finds with the records and with the
//! allocation bitmaps.

mod bitmaps;
mod concurrent;
mod content;
mod damage;
mod directories;
mod fallocate;
mod names;
mod open_unlinked;
mod renames;
mod reopening;
mod space;
mod times;
mod views;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use order::sync::Arc;
use pool::{Durability, HeapPool, Pool};

use super::{Access, Fs, Node};
use crate::error::FsError;
use crate::types::{Kind, MakeOptions, NewNode, RunState};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const CLASSES: [Durability; 3] = [Durability::Volatile, Durability::Msync, Durability::CpuFlush];

/// A new file system on a heap pool.
pub(super) fn fresh(len: u64, durability: Durability) -> Arc<Fs> {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::new(len, durability).expect("memory for a test pool"));
    Fs::make(&*pool, &MakeOptions::default()).expect("a new file system");
    Fs::open(pool, Access::ReadWrite).expect("a new file system opens")
}

pub(super) fn small() -> Arc<Fs> {
    fresh(32 * MIB, Durability::Volatile)
}

/// A new file system whose data comes in units of 2 MiB.
pub(super) fn fresh_huge(len: u64) -> Arc<Fs> {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::new_huge(len, Durability::Volatile).expect("memory for a test pool"));
    Fs::make(&*pool, &MakeOptions::default()).expect("a new file system");
    Fs::open(pool, Access::ReadWrite).expect("a new file system opens")
}

/// Drops everything without a close, and opens again. All nodes of `fs` must be gone.
pub(super) fn crash(fs: Arc<Fs>) -> Arc<Fs> {
    let pool = fs.pool().clone();
    drop(Arc::into_inner(fs).expect("no node is left"));
    Fs::open(pool, Access::ReadWrite).expect("opens after a crash")
}

/// Closes and opens again.
pub(super) fn reopen(fs: Arc<Fs>) -> Arc<Fs> {
    let pool = fs.pool().clone();
    fs.close().expect("closes");
    drop(Arc::into_inner(fs).expect("no node is left"));
    Fs::open(pool, Access::ReadWrite).expect("opens after a close")
}

pub(super) fn root(fs: &Arc<Fs>) -> Node {
    fs.root().expect("a root")
}

pub(super) fn file(fs: &Fs, dir: &Node, name: &str) -> Node {
    fs.create(dir, name.as_bytes(), &NewNode::file(0o644)).expect("a new file")
}

pub(super) fn directory(fs: &Fs, dir: &Node, name: &str) -> Node {
    fs.create(dir, name.as_bytes(), &NewNode::directory(0o755)).expect("a new directory")
}

/// The names in a directory without the dots.
pub(super) fn names(fs: &Fs, dir: &Node) -> Vec<String> {
    entries(fs, dir).into_iter().map(|(name, ..)| name).filter(|name| name != "." && name != "..").collect()
}

fn entries(fs: &Fs, dir: &Node) -> Vec<(String, u64, Kind)> {
    let mut all = Vec::new();
    fs.read_dir(dir, 0, &mut |entry| {
        all.push((String::from_utf8_lossy(entry.name).into_owned(), entry.ino.0, entry.kind));
        ControlFlow::Continue(())
    })
    .expect("a listing");
    all
}

/// All bytes of a file.
pub(super) fn content(fs: &Fs, node: &Node) -> Vec<u8> {
    let mut bytes = vec![0xEE; node.size() as usize + 10];
    let len = fs.read(node, 0, &mut bytes).expect("a read");
    bytes.truncate(len);
    bytes
}

pub(super) fn write_all(fs: &Fs, node: &Node, offset: u64, bytes: &[u8]) {
    assert_eq!(fs.write(node, offset, bytes).expect("a write"), bytes.len());
}

/// Bytes that differ from each other and by seed.
pub(super) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8 | 1).collect()
}

/// A small generator; the tests that use it are repeatable.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The error of a call that must fail, as Linux's number.
#[track_caller]
pub(super) fn errno<R: std::fmt::Debug>(result: Result<R, FsError>) -> i32 {
    result.expect_err("this call must fail").errno()
}

/// What the walk found of one inode.
#[derive(Default)]
struct Found {
    names: u32,
    subdirectories: u32,
    kind: Option<Kind>,
}

/// Walks all names and checks that link counts, parents, kinds and sizes agree, that no block has two owners, and that
/// exactly the owned blocks are marked in the allocation bitmaps.
pub(super) fn verify(fs: &Arc<Fs>) {
    let root = root(fs);
    let mut found: HashMap<u64, Found> = HashMap::new();
    found.entry(root.ino().0).or_default().kind = Some(Kind::Directory);
    let mut directories = vec![root.clone()];
    while let Some(dir) = directories.pop() {
        for (name, ino, kind) in entries(fs, &dir) {
            match name.as_str() {
                "." => assert_eq!(ino, dir.ino().0),
                ".." => assert_eq!(fs.lookup(&dir, b"..").expect("a parent").ino().0, ino),
                _ => {
                    let node = fs.lookup(&dir, name.as_bytes()).expect("a listed name is there");
                    assert_eq!((node.ino().0, node.kind()), (ino, kind), "{name}");
                    let seen = found.entry(ino).or_default();
                    seen.names += 1;
                    seen.kind = Some(kind);
                    if kind == Kind::Directory {
                        assert_eq!(seen.names, 1, "a directory with two names");
                        assert_eq!(fs.lookup(&node, b"..").expect("a parent").ino(), dir.ino(), "parent of {name}");
                        found.entry(dir.ino().0).or_default().subdirectories += 1;
                        directories.push(node);
                    }
                }
            }
        }
    }
    let mut owners: BTreeMap<u64, u64> = BTreeMap::new();
    for (ino, seen) in &found {
        let node = fs.node(crate::types::Ino(*ino)).expect("an inode with a name");
        let attr = fs.attr(&node).expect("attributes");
        assert_eq!(Some(attr.kind), seen.kind);
        let links = if attr.kind == Kind::Directory { 2 + seen.subdirectories } else { seen.names };
        assert_eq!(attr.nlink, links, "links of inode {ino}");
        let mut own_blocks = fs.tree_blocks(&node);
        if attr.kind == Kind::File {
            for run in fs.runs(&node, 0..u64::MAX).expect("runs") {
                if let RunState::Written(first) | RunState::Unwritten(first) = run.state {
                    own_blocks.extend(first.0..first.0 + run.pages);
                    let past_end = run.page * 4096 >= attr.size.next_multiple_of(fs.granule_bytes());
                    assert!(!past_end || matches!(run.state, RunState::Unwritten(_)), "written past the end");
                }
            }
        } else if attr.kind == Kind::Symlink && attr.blocks > 0 {
            own_blocks.extend(fs.target_blocks(&node));
        }
        assert_eq!(own_blocks.len() as u64, attr.blocks, "blocks of inode {ino}");
        for block in own_blocks {
            assert_eq!(owners.insert(block, *ino), None, "block {block} has two owners");
        }
    }
    fs.compare_with_bitmaps(&owners, &found.keys().copied().collect());
}
