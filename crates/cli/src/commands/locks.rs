//! `daxle locks`: the order of the locks, drawn from the table that the compiler enforces.

use crate::errors::Result;
use crate::exit::Exit;
use crate::output;
use order::{chart, table};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

/// The forms.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    /// An indented tree
    Text,
    /// Tables
    Markdown,
    /// A chart
    Svg,
    /// Levels, edges and closure
    Json,
    /// A line "outer inner" for each nesting that the table declares
    Edges,
}

impl Args {
    /// Prints.
    pub fn run(&self) -> Result<Exit> {
        output::print(&match self.format {
            Form::Text => chart::to_text(),
            Form::Markdown => chart::to_markdown(),
            Form::Svg => chart::to_svg(),
            Form::Json => chart::to_json(),
            Form::Edges => table::EDGES.iter().flat_map(|edge| [edge.outer, " ", edge.inner, "\n"]).collect(),
        })?;
        Ok(Exit::Done)
    }
}
