//! `daxle create`: makes a pool in a new file.
//!
//! The file is sparse unless its space is asked for at once, so a large pool costs nothing until it is used.

use std::path::PathBuf;

use crate::commands::info::{PoolInfo, describe};
use crate::errors::Result;
use crate::exit::Exit;
use crate::output::Format;
use crate::session::NewPool;
use crate::size;
use pool::Preallocate;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to make; on tmpfs or hugetlbfs for memory
    pool: PathBuf,
    /// How long: 16M to 16T
    #[arg(long, value_parser = size::parse)]
    size: u64,
    /// A name for people, at most 31 bytes
    #[arg(long, default_value = "")]
    label: String,
    /// Take all the space now, so that it cannot run out later
    #[arg(long)]
    preallocate: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Makes the pool and tells what was made.
    pub fn run(&self) -> Result<Exit> {
        let preallocate = if self.preallocate { Preallocate::Yes } else { Preallocate::No };
        let new = NewPool { len: self.size, label: self.label.clone(), preallocate };
        let session = new.create(&self.pool)?;
        let info = PoolInfo::of(&session)?;
        session.close()?;
        self.format.print(&info, |info| format!("created {}\n", describe(info)))?;
        Ok(Exit::Done)
    }
}
