//! `daxle check`: reads all of a pool's metadata and tells what is wrong. Changes nothing, but with `--repair`.

use std::path::PathBuf;

use check::{CheckOptions, Dump, RepairError};

use crate::copy::Spinner;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::session;
use pool::Access;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pool; nobody may have it open
    pool: PathBuf,
    /// Repair what needs no guessing; a pool that was not closed must be opened once before
    #[arg(long)]
    repair: bool,
    /// Print the superblocks instead
    #[arg(long, group = "dump", conflicts_with = "repair")]
    superblock: bool,
    /// Print the journal instead
    #[arg(long, group = "dump", conflicts_with = "repair")]
    journal: bool,
    /// Print a group instead
    #[arg(long, value_name = "NUMBER", group = "dump", conflicts_with = "repair")]
    group: Option<u32>,
    /// Print an inode instead
    #[arg(long, value_name = "NUMBER", group = "dump", conflicts_with = "repair")]
    inode: Option<u64>,
    /// Print a block instead
    #[arg(long, value_name = "NUMBER", group = "dump", conflicts_with = "repair")]
    block: Option<u64>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Checks: 0 clean, 4 damaged, 8 could not run.
    pub fn run(&self) -> Result<Exit> {
        let could_not = |failure: Failure| match failure.exit {
            Exit::NoPool | Exit::NewerFormat => failure,
            _ => Failure { exit: Exit::CouldNotCheck, ..failure },
        };
        let access = if self.repair { Access::ReadWrite } else { Access::ReadOnly };
        let memory = session::open_to_check(&self.pool, access).map_err(could_not)?;
        if let Some(what) = self.dump() {
            let text = check::dump(&memory, what).map_err(|why| Failure::new(Exit::Wrong, why))?;
            output::print(&text)?;
            return Ok(Exit::Done);
        }
        let bar = Spinner::of_steps(0);
        let mut progress = |done, all| {
            bar.of(all);
            bar.at(done);
        };
        let mut options = CheckOptions { progress: Some(&mut progress), ..CheckOptions::default() };
        let report = if self.repair {
            let repaired = check::repair(&memory, &mut options).map_err(|error| self.no_repair(&error))?;
            for change in &repaired.changes {
                eprintln!("repaired: {change}");
            }
            repaired.after
        } else {
            check::check(&memory, &mut options)
        };
        drop(bar);
        self.format.print(&report, check::Report::text)?;
        Ok(Exit::from_code(report.exit_code()))
    }

    fn no_repair(&self, error: &RepairError) -> Failure {
        Failure::new(Exit::CouldNotCheck, error.to_string()).about(self.pool.display())
    }

    fn dump(&self) -> Option<Dump> {
        if self.superblock {
            return Some(Dump::Superblock);
        }
        if self.journal {
            return Some(Dump::Journal);
        }
        self.group.map(Dump::Group).or(self.inode.map(Dump::Inode)).or(self.block.map(Dump::Block))
    }
}
