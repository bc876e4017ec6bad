//! Hostile pools: records and nodes with changed bytes and right checksums. Every answer is a result or an error; nothing
//! panics, hangs, or leaves the pool's memory.

use format::{InodeRecord, NodeRef};
use zerocopy::FromBytes;

use super::*;
use crate::fs::LastLink;
use crate::types::{Fallocate, RenameMode, Seek, SetAttr};

/// A pool with some of everything, closed: its blocks that are not zero, and where its records and nodes are.
struct Specimen {
    blocks: Vec<(u64, Vec<u8>)>,
    inos: Vec<u64>,
    nodes: Vec<u64>,
}

impl Specimen {
    fn pool(&self) -> Arc<dyn Pool> {
        let pool = HeapPool::new(16 * MIB, Durability::Volatile).expect("memory");
        for (offset, bytes) in &self.blocks {
            pool.write(*offset, bytes);
        }
        Arc::new(pool)
    }
}

fn specimen() -> Specimen {
    let pool = Arc::new(HeapPool::new(16 * MIB, Durability::Volatile).expect("memory"));
    Fs::make(&*pool, &MakeOptions::default()).expect("a new file system");
    let fs = Fs::open(pool.clone(), Access::ReadWrite).expect("it opens");
    let top = root(&fs);
    let comb = file(&fs, &top, "comb");
    for i in 0..200 {
        write_all(&fs, &comb, i * 8192, &[7; 4096]);
    }
    let big = directory(&fs, &top, "big");
    for i in 0..150 {
        fs.link(&comb, &big, format!("a-rather-long-name-{i}").as_bytes()).unwrap();
    }
    let small = file(&fs, &top, "small");
    write_all(&fs, &small, 0, b"some bytes");
    fs.create(&top, b"link", &NewNode::symlink(b"small")).unwrap();
    fs.create(&top, b"long", &NewNode::symlink(&[b'l'; 1000])).unwrap();
    let nodes = [&comb, &big].iter().flat_map(|node| fs.tree_blocks(node)).collect();
    let long = fs.lookup(&top, b"long").unwrap();
    let inos = [&top, &comb, &big, &small, &long].iter().map(|node| node.ino().0).collect();
    fs.close().unwrap();
    let image = pool.image();
    let blocks = image.chunks(4096).enumerate().filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0));
    let blocks = blocks.map(|(block, bytes)| (block as u64 * 4096, bytes.to_vec())).collect();
    Specimen { blocks, inos, nodes }
}

/// Changes a byte of a record or node and makes the checksum right.
fn damage(pool: &dyn Pool, specimen: &Specimen, random: &mut Random) {
    let mut pick = |places: &[u64]| places[random.below(places.len() as u64) as usize];
    let (ino, node) = (pick(&specimen.inos), pick(&specimen.nodes));
    if random.below(2) == 0 {
        let mut bytes = [0; 512];
        pool.read(ino * 512, &mut bytes);
        bytes[8 + random.below(504) as usize] = random.next() as u8;
        let mut rec = InodeRecord::read_from_bytes(&bytes).expect("a record's bytes");
        rec.seal();
        pool.write(ino * 512, rec.as_bytes());
    } else {
        let mut bytes = [0; 4096];
        pool.read(node * 4096, &mut bytes);
        let used = 32 + NodeRef::block(&bytes).count() as u64 * 12;
        let end = if random.below(2) == 0 { used } else { 4096 };
        bytes[8 + random.below(end - 8) as usize] = random.next() as u8;
        format::seal_node(&mut bytes);
        pool.write(node * 4096, &bytes);
    }
}

/// Uses everything there is; what it answers does not matter.
fn use_all(fs: &Arc<Fs>, random: &mut Random) {
    let Ok(top) = fs.root() else { return };
    let mut found = Vec::new();
    let mut list = |dir: &Node| {
        let mut names = Vec::new();
        let _ = fs.read_dir(dir, 0, &mut |entry| {
            names.push(entry.name.to_vec());
            if names.len() > 1000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found.extend(names.into_iter().map(|name| (dir.clone(), name)));
    };
    list(&top);
    if let Ok(big) = fs.lookup(&top, b"big") {
        list(&big);
    }
    let mut buffer = vec![0; 70_000];
    for (dir, name) in found.iter().take(40) {
        let Ok(node) = fs.resolve(dir, name, LastLink::Stay) else { continue };
        let _ = fs.attr(&node);
        let _ = fs.read_link(&node);
        let _ = fs.read(&node, random.below(1 << 21), &mut buffer);
        let _ = fs.read(&node, node.size().saturating_sub(100), &mut buffer);
        let _ = fs.seek(&node, 5000, Seek::Data);
        let _ = fs.runs(&node, 0..1 << 20);
        let _ = fs.write(&node, random.below(1 << 21), &buffer[..9000]);
        let _ = fs.append(&node, b"more");
        for how in [Fallocate::Punch, Fallocate::Zero, Fallocate::Collapse, Fallocate::Insert] {
            let _ = fs.allocate(&node, how, 4096 * random.below(100), 4096);
        }
        let _ = fs.set_attr(&node, &SetAttr { size: Some(random.below(1 << 21)), ..SetAttr::default() });
        let _ = fs.create(dir, format!("new-{}", random.below(1000)).as_bytes(), &NewNode::file(0o600));
        let _ = fs.rename(dir, name, &top, b"moved", RenameMode::Replace);
        let _ = fs.rename(&top, b"moved", dir, name, RenameMode::Exchange);
        let _ = fs.unlink(dir, name);
        let _ = fs.rmdir(dir, name);
    }
    drop(found);
    let _ = fs.sync();
}

#[test]
fn a_hostile_pool_gives_errors_and_never_a_panic() {
    let specimen = specimen();
    assert!(specimen.nodes.len() >= 3, "both trees have nodes");
    let mut random = Random(4242);
    let mut refused = 0;
    for _ in 0..200 {
        let pool = specimen.pool();
        for _ in 0..=random.below(3) {
            damage(&*pool, &specimen, &mut random);
        }
        match Fs::open(pool, Access::ReadWrite) {
            Ok(fs) => use_all(&fs, &mut random),
            Err(_) => refused += 1,
        }
    }
    assert!(refused < 200, "some open");
}
