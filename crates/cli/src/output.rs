//! What goes to standard output: text for people, or JSON for programs, never a mixture.
//!
//! A reader that goes away (`daxle ls ... | head`) is no failure of ours: writing then ends the command quietly.

use std::io::{self, Write};

use crate::errors::{Failure, Result};
use crate::exit::Exit;
use serde::Serialize;

/// Whom the output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Format {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

impl Format {
    /// Prints `value` as JSON, or what `text` makes of it.
    pub fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        if self.json { print_json(value) } else { print(&text(value)) }
    }
}

/// Prints text as it is.
pub fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Prints bytes as they are.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    done(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Prints a value as JSON and a line feed.
pub fn print_json<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
    print(&(text + "\n"))
}

fn done(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(reader_gone()),
        Err(error) => Err(Failure::from(error).about("standard output")),
        Ok(()) => Ok(()),
    }
}

/// The failure that is none: `main` ends with 0 and without a message.
pub fn reader_gone() -> Failure {
    Failure::new(Exit::Done, "")
}

/// Rows in columns; numbers (columns whose head starts with `>`) to the right.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = heads.iter().map(|head| head.starts_with('>')).collect();
    let heads: Vec<String> = heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
    let wide = |column: usize| {
        rows.iter().chain([&heads]).map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(wide).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(widths.iter().zip(&right))
            .map(|(cell, (&width, &right))| if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let head = if heads.iter().all(String::is_empty) { String::new() } else { line(&heads) };
    head + &rows.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "100".to_owned()]];
        assert_eq!(table(&["name", ">size"], &rows), "name  size\na        1\nlong   100\n");
        assert_eq!(table(&["", ">"], &rows), "a       1\nlong  100\n");
    }
}
