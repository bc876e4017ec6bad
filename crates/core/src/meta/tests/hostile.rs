//! Images that lie: an error, never a panic or a hang.

use super::*;
use crate::meta::media;

/// A clean pool with a directory and a file that have nodes.
fn sample() -> (Vec<u8>, Arc<Meta>, Ino) {
    let meta = made(Durability::Volatile);
    for number in 0..150 {
        create(&meta, format!("{number:0>100}").as_bytes()).unwrap();
    }
    let (ino, _) = create(&meta, b"file").unwrap();
    for number in 0..700 {
        map(&meta, ino, number * 2, 1).unwrap();
    }
    meta.close(&mut order::unlocked()).unwrap();
    (image_of(&**meta.pool()), meta, ino)
}

/// Reads all there is; what it says does not matter, that it ends does.
fn walk(image: &[u8], file: Ino) -> Result<usize, FsError> {
    let (meta, _) = reopened(image, Durability::Volatile)?;
    let root = meta.inode(meta.root())?;
    let mut names = 0;
    dir::iterate(&*meta, &root, 0, &mut |_, _| {
        names += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    let rec = meta.inode(file)?;
    let mut page = 0;
    while let Some(run) = extents::next(&*meta, &rec, page)? {
        page = run.page + run.pages;
        names += 1;
    }
    create(&meta, b"new name")?;
    unlink(&meta, format!("{:0>100}", 7).as_bytes())?;
    Ok(names)
}

fn child_blocks(meta: &Meta, ino: Ino) -> Vec<Block> {
    let rec = meta.inode(ino).unwrap();
    let root = rec.inline_node();
    (0..root.count()).filter_map(|index| root.child(index)).collect()
}

#[test]
fn nodes_that_point_to_themselves_to_others_or_outside_give_an_error() {
    let (image, meta, file) = sample();
    for ino in [meta.root(), file] {
        let children = child_blocks(&meta, ino);
        assert!(children.len() >= 2);
        let other = child_blocks(&meta, if ino == file { meta.root() } else { file })[0];
        for target in
            [children[1], other, Block(0), Block(3), Block(u64::MAX), media::group_place(&meta.geometry, 0).first]
        {
            let mut rec = *meta.inode(ino).unwrap();
            assert!(rec.inline_node_mut().replace(0, &target.0.to_le_bytes()));
            rec.seal();
            let mut bad = image.clone();
            let at = ino.offset() as usize;
            bad[at..at + 512].copy_from_slice(rec.as_bytes());
            let result = walk(&bad, file);
            assert!(
                matches!(result, Err(FsError::Damaged(_) | FsError::Inconsistent { .. })),
                "{target:?}: {result:?}"
            );
        }
    }
}

#[test]
fn flipped_bytes_in_metadata_with_right_checksums_never_panic() {
    let (image, meta, file) = sample();
    let mut state = 77_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let blocks: Vec<Block> = child_blocks(&meta, meta.root()).into_iter().chain(child_blocks(&meta, file)).collect();
    let mut failed = 0;
    for _ in 0..150 {
        let mut bad = image.clone();
        let block = blocks[random() as usize % blocks.len()];
        let at = block.offset() as usize;
        let bytes: &mut [u8; 4096] = (&mut bad[at..at + 4096]).try_into().unwrap();
        for _ in 0..=random() % 3 {
            bytes[8 + random() as usize % 300] = random() as u8;
        }
        format::seal_node(bytes);
        failed += usize::from(walk(&bad, file).is_err());
    }
    assert!(failed > 50, "{failed}");
}

#[test]
fn a_damaged_superblock_is_an_error_that_tells_of_the_good_backup() {
    let (mut image, _, _) = sample();
    image[100] ^= 1;
    let error = reopened(&image, Durability::Volatile).unwrap_err().to_string();
    assert!(error.contains("backup superblock is good"), "{error}");
    let last = image.len() - 4000;
    image[last] ^= 1;
    let error = reopened(&image, Durability::Volatile).unwrap_err();
    assert!(matches!(error, FsError::Damaged(_)), "{error}");
}

#[test]
fn hostile_journal_entries_give_an_error() {
    use format::{BitmapKind, Entry, RecordBuilder};
    let (image, meta, _) = sample();
    let ring = media::ring(meta.geometry());
    let geometry = *meta.geometry();
    let header = media::read_header(&**meta.pool(), &geometry, &meta.uuid()).unwrap();
    let free = geometry.group(0).unwrap().end().0 - 1;
    let entries = [
        Entry::Bytes { offset: 0, data: &[1; 8] },
        Entry::Bytes { offset: u64::MAX - 3, data: &[1; 8] },
        Entry::Bytes { offset: Block(free).offset(), data: &[1; 8] },
        Entry::SetBits { group: 9, which: BitmapKind::Used, first: 0, count: 1 },
        Entry::SetBits { group: 0, which: BitmapKind::Used, first: 0, count: 4 },
        Entry::SetBits { group: 0, which: BitmapKind::Inodes, first: 40, count: 2000 },
        Entry::ClearBits { group: 0, which: BitmapKind::Inodes, first: 40, count: 1 },
        Entry::ClearBits { group: 0, which: BitmapKind::Used, first: 40, count: u32::MAX - 40 },
    ];
    for entry in &entries {
        let mut record = RecordBuilder::new();
        record.push(entry);
        let bytes = record.finish(header.tail_seq, &meta.uuid()).unwrap();
        let mut bad = image.clone();
        let at = (ring.start + header.tail_offset) as usize;
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        let result = reopened(&bad, Durability::Volatile);
        assert!(matches!(result, Err(FsError::Damaged(_))), "{entry:?}");
    }
}
