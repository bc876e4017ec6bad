//! What `daxle explore` does.
//!
//! The program parses its arguments into [`Options`] and hands them to [`run`]; all else is here, so
//! that it can be tested without a process. Without a protocol or `all` it lists the protocols.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::chart::{to_svg, to_text};
use crate::history::scenario::{self, Finding};
use crate::history::table::{Bounds, Column, Table, column, table};
use crate::history::{PROTOCOLS, Protocol, interleaving, protocol};

/// The highest bound that may be asked for; each step up takes about five times as long.
pub const MAX_BOUND: u32 = 8;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Explore this protocol.
    pub protocol: Option<String>,
    /// Explore all protocols and print the table.
    pub all: bool,
    /// Print the table as JSON.
    pub json: bool,
    /// Print the table as Markdown.
    pub markdown: bool,
    /// Write a sequence chart to this file: of the replayed schedule, of the interleaving asked for,
    /// or of the first one that the protocol is known for.
    pub svg: Option<PathBuf>,
    /// Show the schedule of this interleaving.
    pub interleaving: Option<u8>,
    /// Preemptions for two threads; three threads get one less. `None`: three.
    pub bound: Option<u32>,
    /// Run this schedule, as a table or a chart names it, and draw it.
    pub replay: Option<String>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All was done. (A defect found in a protocol of history is no failure of the command.)
    Done,
    /// A defect was found in Daxle's own protocol, or a schedule to replay did not fail.
    Unexpected,
}

/// Why the command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No protocol of this name.
    #[error("there is no protocol \"{0}\"; there are: {names}", names = names())]
    NoProtocol(String),
    /// The text before the schedule does not name a protocol and a scenario.
    #[error("\"{0}\" is not of the form PROTOCOL/SCENARIO/SCHEDULE")]
    NotASchedule(String),
    /// The schedule is malformed, or of another version of the models.
    #[error(transparent)]
    Replay(#[from] crate::bounded::ReplayError),
    /// The bound is too high to be of use.
    #[error("a bound of {0} would run for days; at most {MAX_BOUND}")]
    Bound(u32),
    /// The protocol does not have this interleaving within the bound.
    #[error("{protocol} shows no interleaving {number} within the bound")]
    NotFound {
        /// The protocol.
        protocol: String,
        /// The interleaving.
        number: u8,
    },
    /// Writing the answer, or the chart, failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn names() -> String {
    PROTOCOLS.map(Protocol::name).join(", ")
}

/// Does what the options say and writes the answer to `out`.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<Status, CommandError> {
    if let Some(schedule) = &options.replay {
        return replay(options, schedule, out);
    }
    let bounds = bounds(options)?;
    match &options.protocol {
        Some(name) => {
            let found = protocol(name).ok_or_else(|| CommandError::NoProtocol(name.clone()))?;
            one(options, found, bounds, out)
        }
        None if options.all => all(options, bounds, out),
        None => {
            for protocol in PROTOCOLS {
                writeln!(out, "{:<16} {}", protocol.name(), protocol.title())?;
            }
            Ok(Status::Done)
        }
    }
}

fn bounds(options: &Options) -> Result<Bounds, CommandError> {
    match options.bound {
        None => Ok(Bounds::default()),
        Some(bound) if bound > MAX_BOUND => Err(CommandError::Bound(bound)),
        Some(bound) => Ok(Bounds { two_threads: bound, three_threads: bound.saturating_sub(1) }),
    }
}

fn all(options: &Options, bounds: Bounds, out: &mut dyn Write) -> Result<Status, CommandError> {
    let table = table(&PROTOCOLS, bounds);
    write_table(options, &table, out)?;
    Ok(status(&table.columns))
}

fn write_table(options: &Options, table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let text = if options.json {
        table.json() + "\n"
    } else if options.markdown {
        table.markdown()
    } else {
        table.text()
    };
    out.write_all(text.as_bytes())
}

/// Daxle's own column must stay empty.
fn status(columns: &[Column]) -> Status {
    let ours = |c: &&Column| c.protocol == "daxle";
    let clean = columns.iter().filter(ours).all(|c| c.findings.is_empty() && c.complete);
    if clean { Status::Done } else { Status::Unexpected }
}

fn one(
    options: &Options,
    protocol: &'static dyn Protocol,
    bounds: Bounds,
    out: &mut dyn Write,
) -> Result<Status, CommandError> {
    let column = column(protocol, bounds);
    let chosen = if let Some(number) = options.interleaving {
        let missing = || CommandError::NotFound { protocol: protocol.name().to_owned(), number };
        Some(column.finding(number).ok_or_else(missing)?)
    } else {
        let listed = protocol.known().listed.first();
        listed.and_then(|n| column.finding(*n)).or_else(|| column.findings.first())
    };
    if let (Some(path), Some(finding)) = (&options.svg, chosen) {
        fs::write(path, to_svg(&finding.failure))?;
    }
    let columns = vec![column.clone()];
    if options.json || options.markdown {
        let table = Table { bounds, columns };
        write_table(options, &table, out)?;
        return Ok(status(&table.columns));
    }
    write_column(&column, bounds, out)?;
    if let Some(finding) = chosen {
        writeln!(out, "\n{}", to_text(&finding.failure).trim_end())?;
    }
    Ok(status(&columns))
}

fn write_column(column: &Column, bounds: Bounds, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}\n", column.title)?;
    for finding in &column.findings {
        let failure = &finding.failure;
        match finding.interleaving {
            Some(number) => writeln!(out, "{number:>3}  {}", interleaving(number))?,
            None => writeln!(out, "  -  {}", failure.class)?,
        }
        let (p, s) = (failure.preemptions, failure.steps);
        writeln!(out, "     {} ({p} preemptions, {s} steps)", failure.message)?;
        writeln!(out, "     {}", failure.schedule)?;
    }
    let found = if column.findings.is_empty() { "none" } else { "the above, and no other," };
    let complete = if column.complete { "" } else { " (a limit cut the search short)" };
    writeln!(
        out,
        "\nFound {found} in {} schedules of {} scenarios, which are all with at most {} preemptions ({} with three threads){complete}.",
        column.schedules, column.scenarios, bounds.two_threads, bounds.three_threads
    )
}

fn replay(options: &Options, text: &str, out: &mut dyn Write) -> Result<Status, CommandError> {
    let Some(finding) = replay_text(text)? else {
        writeln!(out, "The schedule runs to its end and breaks no invariant.")?;
        return Ok(Status::Unexpected);
    };
    if let Some(path) = &options.svg {
        fs::write(path, to_svg(&finding.failure))?;
    }
    out.write_all(to_text(&finding.failure).as_bytes())?;
    Ok(Status::Done)
}

fn replay_text(text: &str) -> Result<Option<Finding>, CommandError> {
    let malformed = || CommandError::NotASchedule(text.to_owned());
    let (name, rest) = text.trim().split_once('/').ok_or_else(malformed)?;
    let (scene, schedule) = rest.rsplit_once('/').ok_or_else(malformed)?;
    let protocol = protocol(name).ok_or_else(|| CommandError::NoProtocol(name.to_owned()))?;
    let scenario = scenario::named(scene).ok_or_else(malformed)?;
    Ok(scenario.replay(protocol, schedule)?)
}
