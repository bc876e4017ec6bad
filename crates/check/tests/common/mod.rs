//! Pools that the engine made, and ways to damage them and to undo it.
//!
//! An image is made once and damaged in place; what a damage overwrote is kept and put back, so thousands of damages
//! cost no copies of the pool.
#![allow(dead_code)] // each test program uses a part

use std::sync::Arc;

use check::{CheckOptions, Report, check};
use engine::fs::{Access, Fs, Node};
use engine::types::{Fallocate, MakeOptions, NewKind, NewNode, RenameMode};
use format::crc::{crc_of, crc_seeded};
use format::{Block, Geometry, HeaderSlot, INODE_BYTES, Ino, InodeRecord, JournalHeader, NodeRef};
use pool::{Durability, HeapPool, Pool};

pub const BYTES: u64 = 16 << 20;
pub const CLASSES: [Durability; 3] = [Durability::Volatile, Durability::Msync, Durability::CpuFlush];

pub fn report(pool: &dyn Pool) -> Report {
    check(pool, &mut CheckOptions::default())
}

/// A pool with a file of everything.
pub struct Bed {
    pub pool: Arc<HeapPool>,
    pub geometry: Geometry,
    undo: Vec<(u64, Vec<u8>)>,
    /// A file whose extents fill nodes.
    pub many: Ino,
    /// A small file.
    pub small: Ino,
    /// A directory whose names fill nodes, and one with few.
    pub dir: Ino,
    pub sub: Ino,
    pub short_link: Ino,
    pub long_link: Ino,
    pub fifo: Ino,
    /// A file that was removed.
    pub gone: Ino,
    /// Keeps an engine that was not closed.
    open: Option<(Arc<Fs>, Vec<Node>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Closed in order.
    Closed,
    /// As a killed process leaves it, right after a sync: the journal is not empty.
    Killed,
}

fn new(kind: NewKind<'_>) -> NewNode<'_> {
    NewNode { kind, mode: 0o644, uid: 3, gid: 4 }
}

impl Bed {
    pub fn new(durability: Durability, end: End) -> Bed {
        let pool = Arc::new(HeapPool::new(BYTES, durability).unwrap());
        Fs::make(&*pool, &MakeOptions { label: "bed".into(), ..MakeOptions::default() }).unwrap();
        let fs = Fs::open(pool.clone(), Access::ReadWrite).unwrap();
        let root = fs.root().unwrap();
        let make = |dir: &Node, name: &[u8], kind: NewKind<'_>| fs.create(dir, name, &new(kind)).unwrap();
        let dir = make(&root, b"dir", NewKind::Directory);
        for n in 0..300_u32 {
            let file = make(&dir, format!("file-{n}").as_bytes(), NewKind::File);
            fs.write(&file, u64::from(n) * 5000, &vec![n as u8; 3000]).unwrap();
        }
        let sub = make(&dir, b"sub", NewKind::Directory);
        fs.rename(&dir, b"file-7", &sub, b"moved", RenameMode::Replace).unwrap();
        fs.rename(&dir, b"sub", &root, b"sub", RenameMode::NoReplace).unwrap();
        let small = fs.lookup(&dir, b"file-9").unwrap();
        fs.link(&small, &root, b"second name").unwrap();
        fs.allocate(&small, Fallocate::AllocateKeepSize, 1 << 20, 100_000).unwrap();
        let many = make(&root, b"many extents", NewKind::File);
        for n in 0..300 {
            fs.write(&many, n * 8192, b"x").unwrap();
        }
        fs.allocate(&many, Fallocate::Punch, 8192 * 50, 8192 * 20).unwrap();
        let short_link = make(&root, b"short", NewKind::Symlink(b"dir/file-1"));
        let long_link = make(&root, b"long", NewKind::Symlink(&[b'a'; 4000]));
        let fifo = make(&root, b"fifo", NewKind::Fifo);
        make(&root, b"device", NewKind::CharDevice(0x103));
        let open = make(&root, b"open", NewKind::File);
        fs.write(&open, 0, &[1; 10_000]).unwrap();
        let gone = fs.lookup(&dir, b"file-150").unwrap().ino();
        for n in 100..200 {
            fs.unlink(&dir, format!("file-{n}").as_bytes()).unwrap();
        }
        fs.unlink(&root, b"open").unwrap();
        fs.sync().unwrap();
        let numbers = [&many, &small, &dir, &sub, &short_link, &long_link, &fifo].map(Node::ino);
        let nodes = vec![open, root, dir, sub, small, many, short_link, long_link, fifo];
        let open = match end {
            End::Closed => {
                drop(nodes);
                fs.close().unwrap();
                None
            }
            End::Killed => Some((fs, nodes)),
        };
        let [many, small, dir, sub, short_link, long_link, fifo] = numbers;
        let geometry = Geometry::new(BYTES, 1).unwrap();
        Bed { pool, geometry, undo: Vec::new(), many, small, dir, sub, short_link, long_link, fifo, gone, open }
    }

    /// A copy of another bed's pool.
    pub fn over(pool: HeapPool, other: &Bed) -> Bed {
        Bed { pool: Arc::new(pool), undo: Vec::new(), open: None, ..*other }
    }

    /// Lets everything that was done stand.
    pub fn forget_undo(&mut self) {
        self.undo.clear();
    }

    pub fn report(&self) -> Report {
        report(&*self.pool)
    }

    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.pool.read(at, &mut bytes);
        bytes
    }

    /// Overwrites bytes until `restore`.
    pub fn poke(&mut self, at: u64, bytes: &[u8]) {
        let old = self.bytes(at, bytes.len());
        self.undo.push((at, old));
        self.pool.write(at, bytes);
    }

    pub fn restore(&mut self) {
        for (at, old) in self.undo.drain(..).rev() {
            self.pool.write(at, &old);
        }
    }

    /// Computes the checksum of a structure again.
    pub fn seal(&mut self, sealed: &Sealed) {
        let bytes = self.bytes(sealed.at, sealed.len);
        let crc = match &sealed.seed {
            Some(uuid) => crc_seeded(uuid, &bytes, sealed.crc_at),
            None => crc_of(&bytes, sealed.crc_at),
        };
        self.poke(sealed.at + sealed.crc_at as u64, &crc.to_le_bytes());
    }

    pub fn record(&self, ino: Ino) -> InodeRecord {
        *InodeRecord::from_bytes(self.bytes(ino.offset(), INODE_BYTES).as_slice().try_into().unwrap())
    }

    /// Changes a record and seals it.
    pub fn change(&mut self, ino: Ino, change: impl FnOnce(&mut InodeRecord)) {
        let mut record = self.record(ino);
        change(&mut record);
        record.seal();
        self.poke(ino.offset(), record.as_bytes());
    }

    /// The first node below an inode's root, which must have one.
    pub fn node(&self, ino: Ino) -> Block {
        let record = self.record(ino);
        assert!(record.inline_node().level() > 0, "{ino} has no nodes");
        record.inline_node().child(0).unwrap()
    }

    /// Where entry `index` of a node has its value.
    pub fn value_at(&self, node: Block, index: u64) -> u64 {
        let slot = self.bytes(node.offset() + 32 + index * 12, 12);
        node.offset() + u64::from(u16::from_le_bytes([slot[8], slot[9]]))
    }

    /// Value `index` of a node.
    pub fn value(&self, node: Block, index: usize) -> Vec<u8> {
        let bytes = self.bytes(node.offset(), 4096);
        NodeRef::block(bytes.as_slice().try_into().unwrap()).value(index).to_vec()
    }

    pub fn uuid(&self) -> [u8; 16] {
        self.bytes(40, 16).try_into().unwrap()
    }

    /// The block of the journal header that counts, and what it says.
    pub fn header(&self) -> (Block, JournalHeader) {
        [HeaderSlot::A, HeaderSlot::B]
            .map(|slot| {
                let at = self.geometry.journal_header(slot);
                (at, *JournalHeader::from_bytes(self.bytes(at.offset(), 128).as_slice().try_into().unwrap()))
            })
            .into_iter()
            .max_by_key(|(_, header)| header.generation.get())
            .unwrap()
    }

    /// Where the first record to replay is.
    pub fn first_record(&self) -> Sealed {
        let header = self.header().1;
        let at = self.geometry.ring_first().offset() + header.tail_offset.get();
        let len = u32::from_le_bytes(self.bytes(at + 16, 4).try_into().unwrap()) as usize;
        Sealed { at, len, crc_at: 4, seed: Some(self.uuid()) }
    }
}

/// A structure with a checksum.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub at: u64,
    pub len: usize,
    pub crc_at: usize,
    pub seed: Option<[u8; 16]>,
}

impl Sealed {
    pub fn block(block: Block) -> Sealed {
        Sealed { at: block.offset(), len: 4096, crc_at: 4, seed: None }
    }

    pub fn inode(ino: Ino) -> Sealed {
        Sealed { at: ino.offset(), len: INODE_BYTES, crc_at: 4, seed: None }
    }
}

/// Numbers of a seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}
