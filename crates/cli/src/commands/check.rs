//! `daxle check`: reads all of a pool's metadata and tells what is wrong. Changes nothing.

use std::path::PathBuf;

use check::{CheckOptions, Dump};

use crate::copy::Spinner;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::session;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pool; nobody may have it open
    pool: PathBuf,
    /// Print the superblock instead
    #[arg(long, conflicts_with_all = ["inode", "block"])]
    superblock: bool,
    /// Print an inode instead
    #[arg(long, value_name = "NUMBER", conflicts_with = "block")]
    inode: Option<u64>,
    /// Print a block instead
    #[arg(long, value_name = "NUMBER")]
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
        let memory = session::open_to_check(&self.pool).map_err(could_not)?;
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
        let report = check::check(&memory, &mut options);
        drop(bar);
        self.format.print(&report, check::Report::text)?;
        Ok(Exit::from_code(report.exit_code()))
    }

    fn dump(&self) -> Option<Dump> {
        if self.superblock {
            return Some(Dump::Superblock);
        }
        self.inode.map(Dump::Inode).or(self.block.map(Dump::Block))
    }
}
