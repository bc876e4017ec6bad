//! Tests of the whole: transactions, recovery, crashes. What they share is here.

mod crash;
mod hostile;
mod journal;
mod transactions;

use format::{Block, Ino, InodeRecord};
use order::level;
use order::sync::Arc;
use pool::{Durability, HeapPool, Pool};

use super::tx::{Align, BlockRun, Purpose, Seq, Tx, TxSize, Want};
use super::{Access, MakeOptions, Meta, Recovered, dir, extents};
use crate::error::FsError;
use crate::types::{Kind, Timestamp};

pub(super) const LEN: u64 = 16 << 20;

/// Names, each with the runs of pages that are mapped: first page and length.
pub(super) type Listing = Vec<(Vec<u8>, Vec<(u64, u64)>)>;

pub(super) fn options() -> MakeOptions {
    MakeOptions { uuid: Some([7; 16]), now: Some(Timestamp { seconds: 1, nanos: 0 }), ..MakeOptions::default() }
}

/// A new heap pool, opened.
pub(super) fn made(durability: Durability) -> Arc<Meta> {
    let pool: Arc<dyn Pool> = Arc::new(HeapPool::new(LEN, durability).unwrap());
    Meta::make(&*pool, &options()).unwrap();
    Meta::open(pool, Access::ReadWrite).unwrap().0
}

/// The pool of the bytes, opened.
pub(super) fn reopened(image: &[u8], durability: Durability) -> Result<(Arc<Meta>, Recovered), FsError> {
    Meta::open(Arc::new(HeapPool::from_image(image, durability).unwrap()), Access::ReadWrite)
}

/// All bytes of a pool.
pub(super) fn image_of(pool: &dyn Pool) -> Vec<u8> {
    let mut bytes = vec![0; pool.len() as usize];
    pool.read(0, &mut bytes);
    bytes
}

/// Runs one transaction and commits it.
pub(super) fn change<R>(
    meta: &Meta,
    size: TxSize,
    body: impl FnOnce(&mut Tx<'_>, &mut order::Held<'_, level::Transaction>) -> Result<R, FsError>,
) -> Result<(R, Seq), FsError> {
    let mut held = order::unlocked();
    let (mut tx, mut held) = meta.begin(&mut held, size)?;
    let result = body(&mut tx, &mut held)?;
    let seq = tx.commit(&mut held)?;
    Ok((result, seq))
}

pub(super) fn data(blocks: u32) -> Want {
    Want { blocks, min_blocks: 1, align: Align::Block, goal: None, purpose: Purpose::Data }
}

/// Creates a file under a name in the root directory.
pub(super) fn create(meta: &Meta, name: &[u8]) -> Result<(Ino, Seq), FsError> {
    change(meta, TxSize::Small, |tx, held| {
        let mut root = *tx.inode(meta.root())?;
        let (ino, generation) = tx.alloc_inode(held, meta.root())?;
        let mut rec = InodeRecord::new(ino, generation, Kind::File.mode_bits() | 0o644);
        rec.set_nlink(1);
        dir::insert(tx, held, &mut root, name, ino, Kind::File.entry_type())?;
        tx.set_inode(&rec);
        tx.set_inode(&root);
        Ok(ino)
    })
}

/// Gives a file blocks behind pages.
pub(super) fn map(meta: &Meta, ino: Ino, page: u64, blocks: u32) -> Result<(BlockRun, Seq), FsError> {
    change(meta, TxSize::Small, |tx, held| {
        let mut rec = *tx.inode(ino)?;
        let run = tx.alloc(held, &data(blocks))?;
        extents::map_range(tx, held, &mut rec, page, run, extents::Mapped::Written)?;
        rec.set_size((page + u64::from(run.len)) * 4096);
        tx.set_inode(&rec);
        Ok(run)
    })
}

/// Removes a file's name, its blocks and its inode, in one transaction.
pub(super) fn unlink(meta: &Meta, name: &[u8]) -> Result<Seq, FsError> {
    let ((), seq) = change(meta, TxSize::Large, |tx, held| {
        let mut root = *tx.inode(meta.root())?;
        let found = dir::find(&*tx, &root, name)?.ok_or(FsError::NotFound)?;
        let mut rec = *tx.inode(found.ino)?;
        let done = extents::unmap_range(tx, held, &mut rec, 0..extents::PAGES_MAX, 1000)?;
        assert_eq!(done.next, None);
        assert_eq!(rec.blocks(), 0);
        dir::remove(tx, held, &mut root, found.key)?;
        tx.free_inode(found.ino);
        tx.set_inode(&root);
        Ok(())
    })?;
    Ok(seq)
}

/// The names in the root directory with their files' mapped runs, checked: no block twice, every block in use, and the
/// pool-wide counters right.
pub(super) fn contents(meta: &Meta) -> Listing {
    let root = meta.inode(meta.root()).unwrap();
    let mut names = Vec::new();
    dir::iterate(meta, &root, 0, &mut |found, name| {
        names.push((name.to_vec(), found.ino));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    names.sort();
    let mut owned = std::collections::BTreeSet::new();
    let mut blocks = root.blocks();
    let mut listing = Vec::new();
    for (name, ino) in &names {
        let rec = meta.inode(*ino).unwrap();
        blocks += rec.blocks();
        let (mut page, mut runs) = (0, Vec::new());
        while let Some(run) = extents::next(meta, &rec, page).unwrap() {
            let (crate::types::RunState::Written(first) | crate::types::RunState::Unwritten(first)) = run.state else {
                panic!("a mapped run is a hole")
            };
            for block in first.0..first.0 + run.pages {
                assert!(owned.insert(block), "block {block} belongs to two places");
            }
            check_used(meta, first, run.pages as u32);
            runs.push((run.page, run.pages));
            page = run.page + run.pages;
        }
        listing.push((name.clone(), runs));
    }
    let statfs = meta.statfs();
    assert_eq!(statfs.inodes_used, names.len() as u64 + 1, "the count of inodes");
    let inode_blocks = inode_blocks(meta);
    assert_eq!(statfs.blocks - statfs.free_blocks, blocks + inode_blocks, "the count of used blocks");
    listing
}

fn check_used(meta: &Meta, first: Block, len: u32) {
    meta.with_context(|cx| meta.groups.check_bits(cx, BlockRun { first, len }, super::alloc::Bits::Set)).unwrap();
}

fn inode_blocks(meta: &Meta) -> u64 {
    let mut count = 0;
    for place in meta.geometry.groups() {
        let group = meta.groups.group(&meta.geometry, place.index);
        let mut committed = group.committed.leaf();
        let maps = committed.maps(&*meta.pool, &place, super::alloc::maps::Torn::Refuse).unwrap();
        let mut at = 0;
        while let Some(bit) = maps.next_set(format::BitmapKind::Inodes, at) {
            count += 1;
            at = bit + 1;
        }
    }
    count
}
