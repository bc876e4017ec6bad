//! What stands where in a chart: lines, and the bars of the locks beside them.

use crate::bounded::Failure;
use crate::trace::{Event, Mode, Trace, What};

/// How a line is to be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Step,
    Note,
    /// About the lock with this number.
    Lock(usize),
    Defect,
    End,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub thread: usize,
    pub kind: Kind,
    pub text: String,
    /// This line's thread took the processor from one that could have gone on.
    pub preempts: bool,
}

/// A stretch of lines beside which a bar stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    pub thread: usize,
    pub lock: usize,
    /// First and last line, both included.
    pub from: usize,
    pub to: usize,
    pub hold: Hold,
}

/// What a bar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Waiting,
    Shared,
    Exclusive,
}

/// A chart, ready to be drawn.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub titles: Vec<String>,
    /// Names of the locks, in the order in which they come up.
    pub locks: Vec<String>,
    pub lines: Vec<Line>,
    pub bars: Vec<Bar>,
}

impl Layout {
    pub fn of(failure: &Failure) -> Self {
        let trace = &failure.trace;
        let mut layout = Self { titles: (0..trace.threads()).map(|t| trace.title_of(t)).collect(), ..Self::default() };
        let mut open: Vec<Bar> = Vec::new();
        for event in &trace.events {
            layout.add(trace, event, &mut open);
        }
        let last = layout.lines.len().saturating_sub(1);
        for mut bar in open {
            bar.to = last;
            layout.bars.push(bar);
        }
        layout.bars.sort_by_key(|bar| (bar.thread, bar.lock, bar.from));
        layout
    }

    fn add(&mut self, trace: &Trace, event: &Event, open: &mut Vec<Bar>) {
        let at = self.lines.len();
        let thread = event.thread;
        let (kind, text) = match &event.what {
            What::Step(text) => (Kind::Step, text.clone()),
            What::Note(text) => (Kind::Note, text.clone()),
            What::Defect(text) => (Kind::Defect, text.clone()),
            What::End => (Kind::End, "is through".to_owned()),
            What::Wait { lock, mode } => {
                let number = self.lock(lock);
                open.push(bar(thread, number, at, Hold::Waiting));
                let text = format!("waits for {lock} ({})", mode_name(*mode));
                (Kind::Lock(number), text)
            }
            What::Take { lock, mode } => {
                let number = self.lock(lock);
                self.close(open, thread, number, at.saturating_sub(1));
                let hold = match mode {
                    Mode::Shared => Hold::Shared,
                    Mode::Exclusive => Hold::Exclusive,
                };
                open.push(bar(thread, number, at, hold));
                (Kind::Lock(number), format!("takes {lock} ({})", mode_name(*mode)))
            }
            What::Release { lock } => {
                let number = self.lock(lock);
                self.close(open, thread, number, at);
                (Kind::Lock(number), format!("unlocks {lock}"))
            }
        };
        let preempts = self.takes_over(trace, thread);
        self.lines.push(Line { thread, kind, text, preempts });
    }

    /// Whether the line before belongs to another thread, which was neither waiting nor through.
    fn takes_over(&self, trace: &Trace, thread: usize) -> bool {
        let before = self.lines.len().checked_sub(1).and_then(|at| trace.events.get(at));
        before.is_some_and(|event| event.thread != thread && !matches!(event.what, What::Wait { .. } | What::End))
    }

    fn lock(&mut self, name: &str) -> usize {
        let known = self.locks.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.locks.push(name.to_owned());
            self.locks.len() - 1
        })
    }

    fn close(&mut self, open: &mut Vec<Bar>, thread: usize, lock: usize, to: usize) {
        let same = |bar: &Bar| bar.thread == thread && bar.lock == lock;
        if let Some(found) = open.iter().position(same) {
            let mut bar = open.swap_remove(found);
            bar.to = to.max(bar.from);
            self.bars.push(bar);
        }
    }

    /// The locks that a thread has to do with: one lane for each.
    pub fn lanes(&self, thread: usize) -> Vec<usize> {
        let mine = self.bars.iter().filter(|bar| bar.thread == thread);
        let mut lanes: Vec<usize> = mine.map(|bar| bar.lock).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// The bar of a lock beside a line of a thread.
    pub fn bar_at(&self, thread: usize, lock: usize, line: usize) -> Option<&Bar> {
        let here = |bar: &&Bar| bar.thread == thread && bar.lock == lock && (bar.from..=bar.to).contains(&line);
        // A wait may end where the hold begins; the hold is the one to show.
        self.bars.iter().filter(here).max_by_key(|bar| bar.from)
    }
}

fn bar(thread: usize, lock: usize, from: usize, hold: Hold) -> Bar {
    Bar { thread, lock, from, to: from, hold }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Shared => "read",
        Mode::Exclusive => "write",
    }
}

/// Breaks a text into lines of at most `width` characters, at spaces.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
