//! The result of a run: rows, and the project's goals held against them.

use crate::work::Work;
use serde::Serialize;

/// One kind of work on one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The work.
    pub work: Work,
    /// On what.
    pub subject: String,
    /// Nanoseconds for an operation: the median of the rounds.
    pub nanos: f64,
    /// The quickest round.
    pub nanos_min: f64,
    /// The slowest round.
    pub nanos_max: f64,
    /// Rounds.
    pub rounds: u32,
    /// `nanos` divided by that of what it is compared with.
    pub ratio: Option<f64>,
    /// What that is.
    pub compared_with: Option<String>,
    /// The largest ratio that the project aims at, if it has an aim for this row.
    pub goal: Option<f64>,
}

/// What was measured, and what could not be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// In the order of the works.
    pub rows: Vec<Row>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// An aim: on subjects whose name starts so, this work takes at most `ratio_max` times what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// The work.
    pub work: Work,
    /// How the subject's name starts.
    pub subject: &'static str,
    /// The largest ratio.
    pub ratio_max: f64,
}

/// The aims of the project, for pools on tmpfs unless the name says otherwise.
pub const GOALS: [Goal; 9] = [
    Goal { work: Work::Read4k, subject: "library, pool on tmpfs", ratio_max: 0.4 },
    Goal { work: Work::Overwrite4k, subject: "library, pool on tmpfs", ratio_max: 0.4 },
    Goal { work: Work::CreateUnlink, subject: "library, pool on tmpfs", ratio_max: 0.5 },
    Goal { work: Work::AppendSync, subject: "library, pool on tmpfs", ratio_max: 1.0 },
    Goal { work: Work::Touch, subject: "mapping, pool on tmpfs", ratio_max: 1.1 },
    Goal { work: Work::Touch, subject: "mapping, pool on huge pages", ratio_max: 2.0 },
    Goal { work: Work::FirstStore, subject: "mapping, pool on tmpfs", ratio_max: 1.0 },
    Goal { work: Work::Request4k, subject: "mount", ratio_max: 1.3 },
    Goal { work: Work::Stream, subject: "mount", ratio_max: 1.1 },
];

/// The aim for a row.
pub(crate) fn goal_of(work: Work, subject: &str) -> Option<f64> {
    let of = |goal: &&Goal| goal.work == work && subject.starts_with(goal.subject);
    GOALS.iter().find(of).map(|goal| goal.ratio_max)
}

impl Report {
    /// Fills in the ratios, when all rows are there.
    pub(crate) fn compare(&mut self) {
        let nanos: Vec<(Work, String, f64)> =
            self.rows.iter().map(|row| (row.work, row.subject.clone(), row.nanos)).collect();
        for row in &mut self.rows {
            let base = row.compared_with.as_ref().and_then(|base| {
                nanos.iter().find(|(work, subject, _)| *work == row.work && subject == base).map(|(_, _, n)| *n)
            });
            row.ratio = base.filter(|base| *base > 0.0).map(|base| row.nanos / base);
        }
    }

    /// Rows that have an aim, with whether it is reached.
    pub fn goals(&self) -> impl Iterator<Item = (&Row, bool)> {
        self.rows.iter().filter_map(|row| Some((row, row.ratio? <= row.goal?)))
    }

    /// As text: a section for each work.
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let width = self.rows.iter().map(|row| row.subject.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for work in Work::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.work == work).collect();
            if rows.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{}", work.title());
            for row in rows {
                let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
                let goal = row.goal.map_or(String::new(), |goal| {
                    let reached = row.ratio.is_some_and(|ratio| ratio <= goal);
                    format!("  (aim {goal}: {})", if reached { "reached" } else { "not reached" })
                });
                let _ = writeln!(text, "  {:<width$} {:>12.1} ns {ratio:>7}{goal}", row.subject, row.nanos);
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "left out: {note}");
        }
        text
    }
}

/// The median; 0 for none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &str, nanos: f64) -> Row {
        Row {
            work: Work::Read4k,
            subject: subject.to_owned(),
            nanos,
            nanos_min: nanos,
            nanos_max: nanos,
            rounds: 1,
            ratio: None,
            compared_with: Some("tmpfs".to_owned()),
            goal: goal_of(Work::Read4k, subject),
        }
    }

    #[test]
    fn ratios_are_of_the_same_work_and_goals_are_held_against_them() {
        let rows = vec![row("library, pool on tmpfs (volatile)", 300.0), row("tmpfs", 1000.0)];
        let mut report = Report { rows, notes: Vec::new() };
        report.compare();
        assert_eq!(report.rows[0].ratio, Some(0.3));
        assert_eq!(report.goals().map(|(row, reached)| (row.nanos, reached)).collect::<Vec<_>>(), [(300.0, true)]);
        assert!(report.text().contains("0.30  (aim 0.4: reached)"));
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }
}
