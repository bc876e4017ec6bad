//! `daxle fsx`: random operations on one file through several views at once, against an array of bytes.
//!
//! Views of a file in a pool: `api` (the library's calls), `map` (the library's mapping), `mount` (system calls through a
//! mount of the pool, which is made for the run). Of a file in any directory: system calls and `mmap`. The first difference
//! ends the run; the seed repeats it.

mod library_view;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use daxle::{File, Mapping, Pool, PoolOptions};
use oracle::fsx::{self, Caches, DirView, FsxOptions, FsxReport, View};
use serde::Serialize;

use self::library_view::LibraryView;
use crate::copy::Spinner;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::output::Format;
use crate::size;
use bench::served::Served;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pool; its file `.fsx` is used, and gone afterwards
    #[arg(required_unless_present = "dir")]
    pool: Option<PathBuf>,
    /// Try a directory of any file system instead of a pool
    #[arg(long, conflicts_with_all = ["pool", "views", "create"])]
    dir: Option<PathBuf>,
    /// Make the pool first, with this size; it must not exist, and is gone afterwards
    #[arg(long, value_parser = size::parse)]
    create: Option<u64>,
    /// Operations
    #[arg(long, default_value_t = 100_000)]
    ops: u64,
    /// What makes the run: the same seed, the same operations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Through what, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "api,map,mount")]
    views: Vec<ViewName>,
    /// Threads that work at the same time between the single operations, 1 to 64
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Largest size of the file
    #[arg(long, default_value = "1M", value_parser = size::parse)]
    max_size: u64,
    #[command(flatten)]
    format: Format,
}

/// A way to reach the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ViewName {
    /// The library's calls
    Api,
    /// The library's mapping
    Map,
    /// System calls through a mount
    Mount,
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct Outcome {
    seed: u64,
    ops: u64,
    bytes_compared: u64,
    by_view: Vec<(String, u64)>,
    left_out: Vec<String>,
    difference: Option<String>,
}

impl Args {
    /// Runs.
    pub fn run(&self) -> Result<Exit> {
        if self.max_size < 32 << 10 {
            return Err(Failure::new(Exit::Usage, "--max-size must be at least 32K"));
        }
        let outcome = match (&self.dir, &self.pool) {
            (Some(dir), _) => self.in_directory(dir)?,
            (None, Some(pool)) => self.in_pool(pool)?,
            (None, None) => return Err(Failure::new(Exit::Usage, "give a pool, or --dir")),
        };
        self.format.print(&outcome, text)?;
        Ok(if outcome.difference.is_none() { Exit::Done } else { Exit::Wrong })
    }

    fn in_directory(&self, dir: &Path) -> Result<Outcome> {
        let place = tempfile::Builder::new().prefix(".daxle-fsx").tempdir_in(dir)?;
        let view = DirView::open("dir", &place.path().join("file"), self.max_size, Caches::One)?;
        let views: Vec<Box<dyn View>> = vec![Box::new(view)];
        Ok(self.explore(&views, engine::types::PAGE_BYTES))
    }

    fn in_pool(&self, path: &Path) -> Result<Outcome> {
        let pool = match self.create {
            Some(len) => PoolOptions::new().size(len).create_new(true).open(path)?,
            None => Pool::open(path)?,
        };
        let outcome = self.over(&pool);
        let closed = pool.close();
        if self.create.is_some() {
            std::fs::remove_file(path)?;
        }
        closed?;
        outcome
    }

    fn over(&self, pool: &Pool) -> Result<Outcome> {
        const NAME: &str = ".fsx";
        let file = pool.open_options().read(true).write(true).create_new(true).open(NAME)?;
        let outcome = self.through_views(pool, &file, NAME);
        drop(file);
        pool.remove_file(NAME)?;
        outcome
    }

    fn through_views(&self, pool: &Pool, file: &File, name: &str) -> Result<Outcome> {
        let unit_bytes = pool.info().page_bytes;
        let point = tempfile::tempdir()?;
        // Fields are dropped last to first: the views before the mount that they use.
        let served = if self.views.contains(&ViewName::Mount) {
            Some(Served::mount(pool, point.path(), &mount::MountOptions::default())?)
        } else {
            None
        };
        let mut views: Vec<Box<dyn View>> = Vec::new();
        // The mapping first: while it is there, the mount opens the file without a cache of its own.
        let mapped = self.views.contains(&ViewName::Map);
        if mapped {
            if !Mapping::is_possible() {
                return Err(Failure::new(
                    Exit::NoUserfaultfd,
                    "mapping needs userfaultfd: sysctl vm.unprivileged_userfaultfd=1, or access to /dev/userfaultfd; \
                     or leave `map` out of --views",
                ));
            }
            views.push(Box::new(LibraryView::mapped(file.clone(), self.max_size)?));
        }
        if self.views.contains(&ViewName::Api) {
            views.push(Box::new(LibraryView::calls(file.clone())));
        }
        if self.views.contains(&ViewName::Mount) {
            let caches = if self.views.len() == 1 { Caches::One } else { Caches::Several };
            views.push(Box::new(DirView::open("mount", &point.path().join(name), self.max_size, caches)?));
        }
        let outcome = self.explore(&views, unit_bytes);
        drop(views);
        if let Some(served) = served {
            served.unmount()?;
        }
        Ok(outcome)
    }

    fn explore(&self, views: &[Box<dyn View>], block_bytes: u64) -> Outcome {
        let options = FsxOptions {
            ops: self.ops,
            seed: self.seed,
            threads: usize::from(self.threads),
            len_max: self.max_size,
            block_bytes,
            ..FsxOptions::default()
        };
        let bar = Spinner::of_steps(self.ops);
        let ran = fsx::run(&options, views, &mut |done| {
            bar.at(done);
            ControlFlow::Continue(())
        });
        match ran {
            Ok(report) => done(&report),
            Err(difference) => Outcome {
                seed: self.seed,
                ops: 0,
                bytes_compared: 0,
                by_view: Vec::new(),
                left_out: Vec::new(),
                difference: Some(difference.to_string()),
            },
        }
    }
}

fn done(report: &FsxReport) -> Outcome {
    Outcome {
        seed: report.seed,
        ops: report.ops,
        bytes_compared: report.bytes_compared,
        by_view: report.by_view.clone(),
        left_out: report.missing.iter().map(|missing| format!("{}: {:?}", missing.view, missing.feature)).collect(),
        difference: None,
    }
}

fn text(outcome: &Outcome) -> String {
    if let Some(difference) = &outcome.difference {
        return format!("{difference}\nrepeat it with --seed {}\n", outcome.seed);
    }
    let mut text = format!(
        "no difference in {} operations (seed {}), {} compared\n",
        outcome.ops,
        outcome.seed,
        size::show(outcome.bytes_compared)
    );
    for (view, ops) in &outcome.by_view {
        text += &format!("  {view:<6} {ops:>9} operations\n");
    }
    for missing in &outcome.left_out {
        text += &format!("  not offered by {missing}\n");
    }
    text
}
