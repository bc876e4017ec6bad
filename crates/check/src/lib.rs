//! An independent reader of a pool: it finds what is wrong with it and says where.
//!
//! It shares the layout (`format`) and the memory (`pool`) with the engine and no code besides, so that an error of the
//! engine is not repeated by the one who looks for it. A check writes nothing; `repair` does, after a whole check.
//!
//! The order of a check: superblock and its copy (`superblock`); the groups' headers (`groups`); the journal, whose
//! records that the next opening would replay are laid over the medium in memory (`journal`, `view`); the bitmaps and
//! every inode record (`groups`); every tree (`inode`, `tree`); links and ways to the root (`names`); and at last who owns
//! which block, held against the bitmaps and the counts (`space`).
//!
//! Images may be hostile. Every structure is verified before it is believed, a node of a tree is claimed before it is
//! entered, and the sum of all claims is limited, so every check ends. Memory: a bit for each block of the pool, 16 bytes
//! for each slot of blocks that hold inodes, a few times the journal's records, and findings up to a limit.

#![forbid(unsafe_code)]

mod dump;
mod groups;
mod inode;
mod journal;
mod names;
mod owners;
mod repair;
mod report;
mod space;
mod superblock;
mod table;
mod tree;
mod view;

use format::{Geometry, Ino};
use pool::Pool;

pub use dump::{Dump, dump};
pub use repair::{RepairError, Repaired, repair};
pub use report::{FINDINGS_MAX, Finding, Place, Report, Severity, Summary};

use crate::journal::Journal;
use crate::owners::Owners;
use crate::repair::Mends;
use crate::report::Findings;
use crate::superblock::Pair;
use crate::table::Table;
use crate::view::View;

/// How to check.
pub struct CheckOptions<'a> {
    /// Findings of each severity that the report keeps; the others are counted.
    pub findings_max: usize,
    /// Told now and then how much of the present part of the work is done, and how much there is: first groups, then
    /// inodes.
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

/// A check that is going on.
pub(crate) struct Checker<'p, 'o, 'a> {
    view: View<'p>,
    out: Findings,
    options: &'o mut CheckOptions<'a>,
    root: Ino,
    salt: u64,
    journal: Journal,
    owners: Owners,
    table: Table,
    live: u64,
    /// No record, tree, directory or bitmap was found that could not be read.
    records_whole: bool,
    trees_whole: bool,
    directories_whole: bool,
    /// What a repair would change, up to a limit.
    mends: Mends,
}

/// Checks the pool. Nobody may change it meanwhile.
pub fn check(pool: &dyn Pool, options: &mut CheckOptions<'_>) -> Report {
    match run(pool, options) {
        Ok((_, checker)) => checker.out.report,
        Err(report) => *report,
    }
}

/// A whole check, with all that it has learned; the report alone if the pool could not be looked at.
fn run<'p, 'o, 'a>(
    pool: &'p dyn Pool,
    options: &'o mut CheckOptions<'a>,
) -> Result<(Pair, Checker<'p, 'o, 'a>), Box<Report>> {
    let mut out = Findings::new(pool.name(), options.findings_max);
    let Some(pair) = superblock::read(pool, &mut out) else { return Err(Box::new(out.report)) };
    let Ok(geometry) = Geometry::new(pair.good.pool_len.get(), pair.good.unit_blocks.get()) else {
        return Err(Box::new(out.report));
    };
    out.report.ran = true;
    let mut view = View::new(pool, geometry);
    let headers_sound = groups::headers(&mut view, &mut out);
    let journal = journal::replay(&mut view, &pair.good.uuid, &mut out);
    out.report.summary.records = journal.records;
    let mut checker = Checker {
        view,
        out,
        options,
        root: pair.good.root_ino(),
        salt: pair.good.name_salt.get(),
        journal,
        owners: Owners::new(geometry),
        table: Table::default(),
        live: 0,
        records_whole: true,
        trees_whole: true,
        directories_whole: true,
        mends: Mends::new(headers_sound),
    };
    checker.groups();
    checker.inodes();
    checker.names();
    checker.space();
    Ok((pair, checker))
}

impl Checker<'_, '_, '_> {
    fn progress(&mut self, done: u64, all: u64) {
        if let Some(progress) = &mut self.options.progress {
            progress(done, all);
        }
    }
}
