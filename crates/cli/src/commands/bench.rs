//! `daxle bench`: the same work on the library, on a mapping, on a mount, and on any directory, in one run.

use std::path::PathBuf;

use bench::{Options, Sizes, Work};

use crate::copy::Spinner;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::output::Format;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory to compare with, on any file system; ratios are to the first on tmpfs
    #[arg(long = "dir", default_value = "/dev/shm")]
    dirs: Vec<PathBuf>,
    /// A directory to make pools in; the first pool is mounted too
    #[arg(long = "pool", default_value = "/dev/shm")]
    pools: Vec<PathBuf>,
    /// Only this work (read4k, create_unlink, touch, ...); may be given several times
    #[arg(long = "work")]
    works: Vec<String>,
    /// Seconds instead of minutes; the ratios are rough
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Measures.
    pub fn run(&self) -> Result<Exit> {
        let options = Options {
            dirs: self.dirs.clone(),
            pools: self.pools.clone(),
            sizes: if self.quick { Sizes::QUICK } else { Sizes::FULL },
            works: self.works.iter().map(|name| work(name)).collect::<Result<_>>()?,
        };
        let bar = Spinner::of_steps(0);
        let report = bench::run(&options, &mut |step| {
            bar.of(step.all as u64);
            bar.at(step.done as u64);
            bar.now(&format!("{} on {}", step.work.title(), step.subject));
        })?;
        drop(bar);
        self.format.print(&report, bench::Report::text)?;
        Ok(Exit::Done)
    }
}

fn work(name: &str) -> Result<Work> {
    Work::ALL.into_iter().find(|work| work.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Work::ALL.iter().map(|work| work.name()).collect();
        Failure::new(Exit::Usage, format!("no such work: {name}; there are {}", names.join(", ")))
    })
}
