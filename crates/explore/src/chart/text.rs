//! The chart as text: a letter for each lock, upper case where it is held for writing, lower case for
//! reading, a dot while it is waited for.

use std::fmt::Write as _;

use super::layout::{Hold, Kind, Layout, wrap};
use crate::bounded::Failure;

/// Width of a column's text, in characters.
const TEXT: usize = 44;

/// Draws a failing schedule as text. Ends in a newline.
pub fn to_text(failure: &Failure) -> String {
    let layout = Layout::of(failure);
    let mut out = String::new();
    let title = if failure.title.is_empty() { &failure.class } else { &failure.title };
    let _ = writeln!(out, "{title}\n");
    let _ = write!(out, "    ");
    for thread in 0..layout.titles.len() {
        let width = layout.lanes(thread).len() + 1 + TEXT;
        let name: String = layout.titles[thread].chars().take(width).collect();
        let _ = write!(out, " | {name:<width$}");
    }
    out.push('\n');
    for number in 0..layout.lines.len() {
        draw_line(&mut out, &layout, number);
    }
    out.push('\n');
    for (number, lock) in layout.locks.iter().enumerate() {
        let _ = writeln!(out, "  {}  {lock}", letter(number));
    }
    let _ = writeln!(out, "  Upper case: held for writing. Lower case: for reading. Dot: waiting. *: preemption.");
    let _ =
        writeln!(out, "\n{} preemptions, {} steps. Replay: {}", failure.preemptions, failure.steps, failure.schedule);
    out
}

fn letter(lock: usize) -> char {
    char::from(b'A' + (lock % 26) as u8)
}

fn draw_line(out: &mut String, layout: &Layout, number: usize) {
    let line = &layout.lines[number];
    let text = match line.kind {
        Kind::Defect => format!("DEFECT: {}", line.text),
        Kind::Note => format!("- {}", line.text),
        Kind::Step | Kind::Lock(_) | Kind::End => line.text.clone(),
    };
    for (nth, part) in wrap(&text, TEXT).iter().enumerate() {
        if nth == 0 {
            let mark = if line.preempts { '*' } else { ' ' };
            let _ = write!(out, "{:>3}{mark}", number + 1);
        } else {
            out.push_str("    ");
        }
        for thread in 0..layout.titles.len() {
            out.push_str(" | ");
            for lock in layout.lanes(thread) {
                out.push(match layout.bar_at(thread, lock, number).map(|bar| bar.hold) {
                    Some(Hold::Exclusive) => letter(lock),
                    Some(Hold::Shared) => letter(lock).to_ascii_lowercase(),
                    Some(Hold::Waiting) => '.',
                    None => ' ',
                });
            }
            let part = if thread == line.thread { part.as_str() } else { "" };
            let _ = write!(out, " {part:<TEXT$}");
        }
        let end = out.trim_end_matches(' ').len();
        out.truncate(end);
        out.push('\n');
    }
}
