//! Prints structures as they stand in the pool, for people who look for an error.

use std::fmt::Write as _;

use format::{BLOCK_SIZE, Block, Ino, NodeRef};
use pool::Pool;

use crate::image::Image;
use crate::report::Findings;
use crate::{superblock, walk};

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    /// The superblock.
    Superblock,
    /// An inode's record and the entries of its root.
    Inode(u64),
    /// A block's bytes.
    Block(u64),
}

/// The structure as text, with the journal's records laid over it.
///
/// # Errors
/// There is no such thing, or the pool is too damaged to find it.
pub fn dump(pool: &dyn Pool, what: Dump) -> Result<String, String> {
    let mut findings = Findings::new(pool.name(), 1);
    let damaged = |findings: &Findings| findings.report.text();
    let Some(superblock) = superblock(pool, &mut findings) else { return Err(damaged(&findings)) };
    match what {
        Dump::Superblock => Ok(format!("{superblock:#?}\n")),
        Dump::Block(number) => block(pool, number),
        Dump::Inode(number) => {
            let Some(image) = Image::open(pool, &superblock, &mut findings) else { return Err(damaged(&findings)) };
            inode(&image, Ino(number))
        }
    }
}

fn block(pool: &dyn Pool, number: u64) -> Result<String, String> {
    if number >= pool.len() / BLOCK_SIZE as u64 {
        return Err(format!("the pool has {} blocks", pool.len() / BLOCK_SIZE as u64));
    }
    let mut bytes = [0; BLOCK_SIZE];
    pool.read(Block(number).offset(), &mut bytes);
    let mut text = String::new();
    for (line, piece) in bytes.chunks(16).enumerate().filter(|(_, piece)| piece.iter().any(|byte| *byte != 0)) {
        let _ = write!(text, "{:06x} ", line * 16);
        for byte in piece {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    Ok(text + "lines of zeros are left out\n")
}

fn inode(image: &Image<'_>, ino: Ino) -> Result<String, String> {
    if !image.is_set(format::BitmapKind::Inodes, ino.block()) {
        return Err(format!("{ino} is in no inode block"));
    }
    let (record, _) = walk::record(image, ino).ok_or("no such slot")?;
    let mut text = format!("{record:#?}\n");
    let root: NodeRef<'_> = record.inline_node();
    let form = root.validate(format::KIND_EXTENTS, ino).or_else(|_| root.validate(format::KIND_DIRECTORY, ino));
    if form.is_ok() {
        for index in 0..root.count() {
            let _ = writeln!(text, "  root entry {index}: key {}, {:02x?}", root.key(index), root.value(index));
        }
    }
    Ok(text)
}
