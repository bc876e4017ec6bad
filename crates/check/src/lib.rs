//! An independent reader of a pool: it finds what is wrong with it and says where.
//!
//! It shares the layout (`format`) and the memory (`pool`) with the engine and no code besides, so that an error of the
//! engine is not repeated by the one who looks for it. Nothing is ever written.
//!
//! The order of a check: superblock and its backup; the journal, whose records that the next opening would replay are
//! replayed here into an overlay (`image`); the bitmaps; every inode record; every tree (`walk`); the names, links and
//! ways to the root (`names`); and at last who owns which block, held against the bitmaps (`space`).
//!
//! Images may be hostile. Every structure is verified before it is believed, every node of a tree is claimed before it is
//! entered, so a cycle ends at the second visit, and what is kept in memory is bounded by the pool's size: a bit for each
//! block, 16 bytes for each slot of inode blocks that exist.
//!
//! This version has no repair: it tells what is wrong and changes nothing.

#![forbid(unsafe_code)]

mod dump;
mod image;
mod names;
mod owners;
mod report;
mod space;
mod table;
mod walk;

use format::{BLOCK_SIZE, Block, Superblock};
use pool::Pool;

pub use dump::{Dump, dump};
pub use report::{FINDINGS_MAX, Finding, Place, Report, Severity, Summary};

use crate::image::Image;
use crate::report::Findings;

/// How to check.
pub struct CheckOptions<'a> {
    /// Findings of each severity that the report keeps; the others are counted.
    pub findings_max: usize,
    /// Told now and then: inode blocks looked at, and how many there are.
    pub progress: Option<&'a mut dyn FnMut(u64, u64)>,
}

impl Default for CheckOptions<'_> {
    fn default() -> Self {
        Self { findings_max: FINDINGS_MAX, progress: None }
    }
}

impl std::fmt::Debug for CheckOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckOptions").field("findings_max", &self.findings_max).finish_non_exhaustive()
    }
}

/// Checks the pool. Nobody may change it meanwhile.
pub fn check(pool: &dyn Pool, options: &mut CheckOptions<'_>) -> Report {
    let mut findings = Findings::new(pool.name(), options.findings_max);
    let Some(superblock) = superblock(pool, &mut findings) else { return findings.report };
    let Some(mut image) = Image::open(pool, &superblock, &mut findings) else { return findings.report };
    findings.report.ran = true;
    let mut state = walk::inodes(&mut image, &mut findings, options);
    walk::contents(&mut image, &mut findings, &mut state, options);
    names::check(&image, &mut findings, &mut state);
    space::check(&image, &mut findings, &state);
    findings.report
}

/// The superblock, or its backup if it is damaged; both are looked at.
pub(crate) fn superblock(pool: &dyn Pool, findings: &mut Findings) -> Option<Superblock> {
    let read = |block: u64| {
        let mut bytes = [0; BLOCK_SIZE];
        pool.read(block * BLOCK_SIZE as u64, &mut bytes);
        *Superblock::from_bytes(&bytes)
    };
    let last = (pool.len() / BLOCK_SIZE as u64).saturating_sub(1);
    let (first, backup) = (read(0), read(last));
    let of_backup = backup.verify(Block(last));
    let good = match first.verify(Block(0)) {
        Ok(_) => Some(first),
        Err(error) if of_backup.is_ok() => {
            let text = format!("{error}; its backup is sound");
            findings.error("superblock", Place::block(Block(0)).field_of(&error), text);
            Some(backup)
        }
        Err(error) => {
            findings.fatal("superblock", Place::block(Block(0)).field_of(&error), error.to_string());
            None
        }
    }?;
    if let Err(error) = &of_backup {
        findings.error("backup-superblock", Place::block(Block(last)).field_of(error), error.to_string());
    } else if backup.as_bytes() != first.as_bytes() && good.as_bytes() == first.as_bytes() {
        findings.error("backup-superblock", Place::block(Block(last)), "it differs from the superblock");
    }
    if good.pool_len.get() != pool.len() {
        let text = format!("the pool is {} bytes long, the superblock says {}", pool.len(), good.pool_len.get());
        findings.fatal("pool-length", Place::block(Block(0)).field("pool_len"), text);
        return None;
    }
    Some(good)
}
