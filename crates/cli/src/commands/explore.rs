//! `daxle explore`: runs every interleaving of a fault protocol up to a bound, and prints what it breaks.

use std::io;
use std::path::PathBuf;

use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::output::{self, Format};
use explore::command::{CommandError, Options, Status};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The protocol; without it, and without --all, the protocols are listed
    protocol: Option<String>,
    /// Explore all protocols and print one table
    #[arg(long, conflicts_with = "protocol")]
    all: bool,
    /// Show the schedule of this interleaving (its number in docs/history.md)
    #[arg(long, requires = "protocol")]
    interleaving: Option<u8>,
    /// At most this many preemptions with two threads, one less with three
    #[arg(long)]
    bound: Option<u32>,
    /// Run one schedule again: PROTOCOL/SCENARIO/SCHEDULE as a table names it
    #[arg(long, conflicts_with_all = ["protocol", "all"])]
    replay: Option<String>,
    /// Write the chart of the schedule to this file
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Print the table as Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Explores.
    pub fn run(&self) -> Result<Exit> {
        let options = Options {
            protocol: self.protocol.clone(),
            all: self.all,
            json: self.format.json,
            markdown: self.markdown,
            svg: self.svg.clone(),
            interleaving: self.interleaving,
            bound: self.bound,
            replay: self.replay.clone(),
        };
        let mut text = Vec::new();
        let status = explore::command::run(&options, &mut text).map_err(failure)?;
        output::print_bytes(&text)?;
        Ok(match status {
            Status::Done => Exit::Done,
            Status::Unexpected => Exit::Wrong,
        })
    }
}

fn failure(error: CommandError) -> Failure {
    match error {
        CommandError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => output::reader_gone(),
        CommandError::Io(error) => error.into(),
        CommandError::NoProtocol(_) | CommandError::NotFound { .. } => Failure::new(Exit::NotFound, error.to_string()),
        other => Failure::new(Exit::Usage, other.to_string()),
    }
}
