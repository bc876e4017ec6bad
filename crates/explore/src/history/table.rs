//! The table: protocol by defect.
//!
//! Every cell is either the shortest schedule found, as preemptions and steps, or a dash, which
//! means: none in as many schedules as stand at the foot of the column, to the stated bound. The
//! table can be had as text, as Markdown for the documentation, and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::scenario::{Finding, SCENARIOS};
use super::{Protocol, interleaving};
use crate::bounded::Config;

/// How many preemptions are searched exhaustively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// For one or two threads.
    pub two_threads: u32,
    /// For three threads.
    pub three_threads: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { two_threads: 3, three_threads: 2 }
    }
}

/// One protocol's results.
#[derive(Debug, Clone)]
pub struct Column {
    /// The protocol's name.
    pub protocol: &'static str,
    /// The protocol in one line.
    pub title: &'static str,
    /// Scenarios that were run.
    pub scenarios: usize,
    /// Different schedules, over all scenarios.
    pub schedules: u64,
    /// Every scenario was run to its bound.
    pub complete: bool,
    /// The shortest finding of each interleaving, by number; those without a number come last.
    pub findings: Vec<Finding>,
}

/// Protocol by defect.
#[derive(Debug, Clone)]
pub struct Table {
    /// How far was searched.
    pub bounds: Bounds,
    /// One column for each protocol.
    pub columns: Vec<Column>,
}

/// Explores every scenario under each of these protocols.
pub fn table(protocols: &[&'static dyn Protocol], bounds: Bounds) -> Table {
    let columns = protocols.iter().map(|protocol| column(*protocol, bounds)).collect();
    Table { bounds, columns }
}

/// Explores every scenario under one protocol.
pub fn column(protocol: &'static dyn Protocol, bounds: Bounds) -> Column {
    let mut column = Column {
        protocol: protocol.name(),
        title: protocol.title(),
        scenarios: 0,
        schedules: 0,
        complete: true,
        findings: Vec::new(),
    };
    for scenario in SCENARIOS.iter().filter(|s| s.suits(protocol)) {
        let bound = match scenario.threads.len() {
            0..=2 => bounds.two_threads,
            _ => bounds.three_threads,
        };
        let config = Config { bound, stack_bytes: 64 << 10, max_steps: 5_000, ..Config::default() };
        let (outcome, findings) = scenario.survey(protocol, &config);
        column.scenarios += 1;
        column.schedules += outcome.schedules;
        column.complete &= outcome.complete;
        for finding in findings {
            column.keep_shortest(finding);
        }
    }
    column.findings.sort_by_key(|f| f.interleaving.unwrap_or(u8::MAX));
    column
}

impl Column {
    fn keep_shortest(&mut self, finding: Finding) {
        let length = |f: &Finding| (f.failure.preemptions, f.failure.steps);
        let same = |f: &Finding| {
            f.interleaving == finding.interleaving
                && (f.interleaving.is_some() || f.failure.class == finding.failure.class)
        };
        match self.findings.iter_mut().find(|f| same(f)) {
            Some(old) if length(&finding) < length(old) => *old = finding,
            Some(_) => {}
            None => self.findings.push(finding),
        }
    }

    /// The numbers of the interleavings that were found.
    pub fn numbers(&self) -> Vec<u8> {
        self.findings.iter().filter_map(|f| f.interleaving).collect()
    }

    /// The finding that has no number and is of this class.
    fn unnumbered(&self, class: &str) -> Option<&Finding> {
        self.findings.iter().find(|f| f.interleaving.is_none() && f.failure.class == class)
    }

    /// The finding of one interleaving.
    pub fn finding(&self, number: u8) -> Option<&Finding> {
        self.findings.iter().find(|f| f.interleaving == Some(number))
    }
}

impl Table {
    /// The interleavings that stand in the table: 1 to 12 as far as a model can show them, and all
    /// that were found.
    fn rows(&self) -> Vec<u8> {
        let mut rows = vec![1, 2, 3, 4, 5, 7, 9, 10, 11, 12];
        rows.extend(self.columns.iter().flat_map(Column::numbers));
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// What was found besides, by the name of the broken invariant.
    fn unnumbered(&self) -> Vec<&str> {
        let found = self.columns.iter().flat_map(|c| c.findings.iter().filter(|f| f.interleaving.is_none()));
        let mut classes: Vec<&str> = found.map(|f| f.failure.class.as_str()).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    fn cell(finding: Option<&Finding>) -> String {
        match finding {
            Some(f) => format!("{}p {}s", f.failure.preemptions, f.failure.steps),
            None => "-".to_owned(),
        }
    }

    fn legend(&self) -> String {
        let Bounds { two_threads, three_threads } = self.bounds;
        format!(
            "2p 31s: found; the shortest schedule has 2 preemptions and 31 steps. -: none in the schedules \
             at the foot of the column, which are all with at most {two_threads} preemptions ({three_threads} where \
             three threads take part)."
        )
    }

    /// Plain text for a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let names: Vec<&str> = self.columns.iter().map(|c| c.protocol).collect();
        let width = names.iter().map(|n| n.len()).max().unwrap_or(0).max(9) + 2;
        let first = self.unnumbered().iter().map(|class| class.len()).max().unwrap_or(0).max(14);
        let _ = write!(out, "{:<first$}", "interleaving");
        for name in &names {
            let _ = write!(out, "{name:>width$}");
        }
        out.push('\n');
        for number in self.rows() {
            let _ = write!(out, "{number:<first$}");
            for column in &self.columns {
                let _ = write!(out, "{:>width$}", Self::cell(column.finding(number)));
            }
            out.push('\n');
        }
        for class in self.unnumbered() {
            let _ = write!(out, "{class:<first$}");
            for column in &self.columns {
                let _ = write!(out, "{:>width$}", Self::cell(column.unnumbered(class)));
            }
            out.push('\n');
        }
        let _ = write!(out, "{:<first$}", "schedules");
        for column in &self.columns {
            let _ = write!(out, "{:>width$}", column.schedules);
        }
        out.push_str("\n\n");
        for number in self.rows() {
            let _ = writeln!(out, "{number:>3}  {}", interleaving(number));
        }
        let _ = writeln!(out, "\n{}", self.legend());
        for column in self.columns.iter().filter(|c| !c.complete) {
            let _ = writeln!(out, "{}: a limit cut the search short.", column.protocol);
        }
        out
    }

    /// Markdown for the documentation.
    pub fn markdown(&self) -> String {
        let mut out = String::from("| interleaving |");
        for column in &self.columns {
            let _ = write!(out, " {} |", column.protocol);
        }
        out.push_str("\n|---|");
        out.push_str(&"---|".repeat(self.columns.len()));
        out.push('\n');
        for number in self.rows() {
            let _ = write!(out, "| {number}. {} |", interleaving(number));
            for column in &self.columns {
                let _ = write!(out, " {} |", Self::cell(column.finding(number)));
            }
            out.push('\n');
        }
        for class in self.unnumbered() {
            let _ = write!(out, "| {class} (no number) |");
            for column in &self.columns {
                let _ = write!(out, " {} |", Self::cell(column.unnumbered(class)));
            }
            out.push('\n');
        }
        out.push_str("| *schedules* |");
        for column in &self.columns {
            let _ = write!(out, " {} |", column.schedules);
        }
        let _ = writeln!(out, "\n\n{}", self.legend());
        out
    }

    /// JSON for programs. The form: `bounds`, and `protocols`, each with its `findings`.
    pub fn json(&self) -> String {
        let protocols = self.columns.iter().map(JsonColumn::of).collect();
        let table = JsonTable { bounds: self.bounds, protocols };
        serde_json::to_string_pretty(&table).unwrap_or_else(|_| unreachable!("strings and numbers only"))
    }
}

#[derive(Serialize)]
struct JsonTable<'a> {
    bounds: Bounds,
    protocols: Vec<JsonColumn<'a>>,
}

#[derive(Serialize)]
struct JsonColumn<'a> {
    protocol: &'a str,
    title: &'a str,
    scenarios: usize,
    schedules: u64,
    complete: bool,
    findings: Vec<JsonFinding<'a>>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    interleaving: Option<u8>,
    what: &'a str,
    class: &'a str,
    message: &'a str,
    scenario: &'a str,
    preemptions: u32,
    steps: usize,
    schedule: &'a str,
}

impl<'a> JsonColumn<'a> {
    fn of(column: &'a Column) -> Self {
        Self {
            protocol: column.protocol,
            title: column.title,
            scenarios: column.scenarios,
            schedules: column.schedules,
            complete: column.complete,
            findings: column.findings.iter().map(JsonFinding::of).collect(),
        }
    }
}

impl<'a> JsonFinding<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            interleaving: finding.interleaving,
            what: match finding.interleaving {
                Some(number) => interleaving(number),
                None => &finding.failure.class,
            },
            class: &finding.failure.class,
            message: &finding.failure.message,
            scenario: finding.scenario.name,
            preemptions: finding.failure.preemptions,
            steps: finding.failure.steps,
            schedule: &finding.failure.schedule,
        }
    }
}
