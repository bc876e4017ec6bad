//! The chart as SVG: plain shapes and text, no script, no style sheet, no font of its own.
//!
//! A lock has one colour in all columns. A solid bar is a hold for writing, a hatched one for reading,
//! a dashed frame a wait. The column of the running thread is tinted, so that the eye follows the
//! processor down the page; an arrow marks where it changes hands. The defect is the only red.

use std::fmt::Write as _;

use super::layout::{Hold, Kind, Layout, Line, wrap};
use crate::bounded::Failure;

/// Height of a line of text, in pixels.
const ROW: usize = 22;
/// Width of a lock's lane.
const LANE: usize = 15;
/// Width of a bar within its lane.
const BAR: usize = 9;
/// Width of the text of a column.
const TEXT: usize = 318;
/// Characters that fit into it.
const FIT: usize = 46;
/// Space at the left, for line numbers.
const LEFT: usize = 52;
/// Space between columns.
const GAP: usize = 26;
/// Space at the right.
const RIGHT: usize = 24;
/// Width of a character of the small text, rounded up.
const CHARACTER: usize = 7;

const INK: &str = "#1f2933";
const FAINT: &str = "#7b8794";
const DEFECT: &str = "#c81e1e";
/// Colours that can also be told apart by those who do not see red and green; red is the defect's.
const COLOURS: [&str; 8] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31", "#5e4fa2", "#7f8c8d"];

/// A column's place.
struct Column {
    /// Left end of its lanes.
    left: usize,
    lanes: Vec<usize>,
    /// Left end of its text.
    text: usize,
    right: usize,
}

struct Drawing<'a> {
    failure: &'a Failure,
    layout: Layout,
    columns: Vec<Column>,
    /// Top of each line; one more for the end.
    tops: Vec<usize>,
    width: usize,
    out: String,
}

/// Draws a failing schedule as an SVG document.
pub fn to_svg(failure: &Failure) -> String {
    let layout = Layout::of(failure);
    let columns = place_columns(&layout);
    let width = columns.last().map_or(LEFT, |c| c.right) + RIGHT;
    let mut drawing = Drawing { failure, layout, columns, tops: Vec::new(), width: width.max(560), out: String::new() };
    drawing.draw();
    drawing.out
}

fn place_columns(layout: &Layout) -> Vec<Column> {
    let mut left = LEFT;
    let place = |thread: usize| {
        let lanes = layout.lanes(thread);
        let text = left + lanes.len() * LANE + 8;
        let column = Column { left, lanes, text, right: text + TEXT };
        left = column.right + GAP;
        column
    };
    (0..layout.titles.len()).map(place).collect()
}

impl Drawing<'_> {
    fn draw(&mut self) {
        let title = self.title_lines();
        let header = 34 + title.len() * 21;
        let legend = header + 8;
        let heads = legend + self.legend_rows().len() * 22 + 14;
        let mut top = heads + 44;
        for line in &self.layout.lines {
            self.tops.push(top);
            top += wrap_line(line).len() * ROW + if line.kind == Kind::Defect { 18 } else { 0 };
        }
        self.tops.push(top);
        let footer = wrap(&self.footer(), self.width / CHARACTER - 8);
        let height = top + 26 + footer.len() * 17 + 14;

        self.open(height);
        for (nth, (part, size, ink, weight)) in title.iter().enumerate() {
            self.text(24, 36 + nth * 21, *size, ink, weight, part);
        }
        self.legend(legend);
        self.heads(heads);
        self.tints();
        self.bars();
        self.lines();
        self.arrows();
        for (nth, part) in footer.iter().enumerate() {
            self.text(24, top + 34 + nth * 17, 11, FAINT, "normal", part);
        }
        self.out.push_str("</svg>\n");
    }

    fn title(&self) -> String {
        match self.failure.title.as_str() {
            "" => self.failure.class.clone(),
            title => title.to_owned(),
        }
    }

    /// The headline, what was found, and the scenario: each with its size, colour and weight.
    fn title_lines(&self) -> Vec<(String, usize, &'static str, &'static str)> {
        let styles = [(16, INK, "bold"), (14, DEFECT, "bold"), (12, FAINT, "normal")];
        let mut lines = Vec::new();
        for (line, (size, ink, weight)) in self.title().lines().zip(styles) {
            let fit = (self.width - 48) * 10 / (size * if weight == "bold" { 7 } else { 6 });
            lines.extend(wrap(line, fit).into_iter().map(|part| (part, size, ink, weight)));
        }
        lines
    }

    fn footer(&self) -> String {
        let Failure { preemptions, steps, schedule, .. } = self.failure;
        let plural = if *preemptions == 1 { "" } else { "s" };
        format!("Shortest schedule found: {preemptions} preemption{plural}, {steps} steps. Replays as {schedule}")
    }

    fn open(&mut self, height: usize) {
        let width = self.width;
        let _ = writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" role=\"img\">"
        );
        let _ = writeln!(self.out, "<title>{}</title>", escape(&self.title()));
        self.out.push_str("<defs>\n");
        for number in 0..self.layout.locks.len() {
            let colour = colour(number);
            let _ = writeln!(
                self.out,
                "<pattern id=\"read{number}\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
                 <rect width=\"5\" height=\"5\" fill=\"#ffffff\"/><rect width=\"2.4\" height=\"5\" fill=\"{colour}\"/></pattern>"
            );
        }
        self.out.push_str("</defs>\n");
        let _ = writeln!(self.out, "<rect width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"#ffffff\"/>");
    }

    /// The legend's entries, broken into rows that fit.
    fn legend_rows(&self) -> Vec<Vec<(usize, String)>> {
        let mut rows = vec![Vec::new()];
        let mut x = 24;
        for (number, name) in self.layout.locks.iter().enumerate() {
            let need = legend_width(name);
            if x + need > self.width - RIGHT && x > 24 {
                rows.push(Vec::new());
                x = 24;
            }
            let last = rows.len() - 1;
            rows[last].push((number, name.clone()));
            x += need;
        }
        rows.push(Vec::new());
        rows
    }

    fn legend(&mut self, top: usize) {
        for (nth, row) in self.legend_rows().iter().enumerate() {
            let mut x = 24;
            let y = top + nth * 22;
            for (number, name) in row {
                self.rect([x, y, 14, 12], colour(*number), "none", 3);
                self.text(x + 20, y + 10, 12, INK, "normal", name);
                x += legend_width(name);
            }
            if row.is_empty() {
                self.legend_of_bars(y);
            }
        }
    }

    /// The last row of the legend: what the kinds of bars mean.
    fn legend_of_bars(&mut self, y: usize) {
        self.rect([24, y, 14, 12], FAINT, "none", 3);
        self.text(44, y + 10, 12, FAINT, "normal", "held for writing");
        let _ = writeln!(
            self.out,
            "<rect x=\"156\" y=\"{y}\" width=\"14\" height=\"12\" rx=\"3\" fill=\"#ffffff\" stroke=\"{FAINT}\"/>\
             <path d=\"M158 {b} L166 {y} M163 {b} L170 {m}\" stroke=\"{FAINT}\" stroke-width=\"1.6\"/>",
            b = y + 12,
            m = y + 3
        );
        self.text(176, y + 10, 12, FAINT, "normal", "held for reading");
        let _ = writeln!(
            self.out,
            "<rect x=\"290\" y=\"{y}\" width=\"14\" height=\"12\" rx=\"3\" fill=\"none\" stroke=\"{FAINT}\" stroke-dasharray=\"3 2\"/>"
        );
        self.text(310, y + 10, 12, FAINT, "normal", "waiting; time runs downward");
    }

    fn heads(&mut self, top: usize) {
        for thread in 0..self.columns.len() {
            let Column { left, right, .. } = self.columns[thread];
            self.rect([left - 6, top, right - left + 12, 30], "#243b53", "none", 6);
            let title: String = self.layout.titles[thread].chars().take(FIT).collect();
            self.text(left + 6, top + 20, 14, "#ffffff", "bold", &title);
        }
    }

    /// Tints each column where its thread runs.
    fn tints(&mut self) {
        let mut from = 0;
        while from < self.layout.lines.len() {
            let thread = self.layout.lines[from].thread;
            let rest = &self.layout.lines[from..];
            let to = from + rest.iter().take_while(|l| l.thread == thread).count();
            let (top, bottom) = (self.tops[from], self.tops[to]);
            let Column { left, right, .. } = self.columns[thread];
            self.rect([left - 6, top, right - left + 12, bottom - top], "#f0f4f8", "none", 4);
            from = to;
        }
        for thread in 0..self.columns.len() {
            let x = self.columns[thread].left - 6;
            let (top, bottom) = (self.tops[0], self.tops[self.tops.len() - 1]);
            let _ = writeln!(self.out, "<line x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#d9e2ec\"/>");
        }
    }

    fn bars(&mut self) {
        for bar in self.layout.bars.clone() {
            let column = &self.columns[bar.thread];
            let lane = column.lanes.iter().position(|lock| *lock == bar.lock).unwrap_or(0);
            let x = column.left + lane * LANE + 2;
            let top = self.tops[bar.from] + 3;
            let bottom = self.tops[bar.to + 1] - 3;
            let height = bottom.saturating_sub(top).max(6);
            let colour = colour(bar.lock);
            match bar.hold {
                Hold::Exclusive => self.rect([x, top, BAR, height], colour, colour, 3),
                Hold::Shared => {
                    let fill = format!("url(#read{})", bar.lock);
                    self.rect([x, top, BAR, height], &fill, colour, 3);
                }
                Hold::Waiting => {
                    let _ = writeln!(
                        self.out,
                        "<rect x=\"{x}\" y=\"{top}\" width=\"{BAR}\" height=\"{height}\" rx=\"3\" fill=\"#ffffff\" \
                         stroke=\"{colour}\" stroke-width=\"1.6\" stroke-dasharray=\"3.5 2.5\"/>"
                    );
                }
            }
        }
    }

    fn lines(&mut self) {
        for number in 0..self.layout.lines.len() {
            let line = self.layout.lines[number].clone();
            let top = self.tops[number];
            let x = self.columns[line.thread].text;
            if line.kind == Kind::Defect {
                self.defect(&line, top, self.tops[number + 1]);
                continue;
            }
            self.text(16, top + 14, 10, "#9aa5b1", "normal", &(number + 1).to_string());
            let (ink, weight) = match line.kind {
                Kind::Note => (INK, "bold"),
                Kind::End => (FAINT, "normal"),
                Kind::Step | Kind::Lock(_) | Kind::Defect => (INK, "normal"),
            };
            let indent = match line.kind {
                Kind::Lock(lock) => {
                    let (cx, cy) = (x + 4, top + 10);
                    let colour = colour(lock);
                    let _ = writeln!(self.out, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"4\" fill=\"{colour}\"/>");
                    13
                }
                _ => 0,
            };
            for (nth, part) in wrap_line(&line).iter().enumerate() {
                self.text(x + indent, top + 14 + nth * ROW, 12, ink, weight, part);
            }
        }
    }

    fn defect(&mut self, line: &Line, top: usize, bottom: usize) {
        let Column { text, right, .. } = self.columns[line.thread];
        let (x, width) = (text - 6, right - text + 12);
        self.rect([x, top + 4, width, bottom - top - 6], DEFECT, DEFECT, 6);
        for (nth, part) in wrap_line(line).iter().enumerate() {
            self.text(text + 6, top + 22 + nth * ROW, 12, "#ffffff", "bold", part);
        }
        let (y, end) = (bottom + 4, self.width - RIGHT);
        let _ = writeln!(
            self.out,
            "<line x1=\"16\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" stroke=\"{DEFECT}\" stroke-width=\"2\"/>"
        );
        let (high, low) = (top + 11, top + 23);
        let _ = writeln!(
            self.out,
            "<path d=\"M16 {high} L28 {low} M28 {high} L16 {low}\" stroke=\"{DEFECT}\" stroke-width=\"3\"/>"
        );
    }

    /// An arrow wherever another thread goes on.
    fn arrows(&mut self) {
        for number in 1..self.layout.lines.len() {
            let (before, line) = (&self.layout.lines[number - 1], &self.layout.lines[number]);
            if before.thread == line.thread {
                continue;
            }
            let y = self.tops[number];
            let (from, to) = (&self.columns[before.thread], &self.columns[line.thread]);
            let (x1, x2, tip) =
                if from.left < to.left { (from.text, to.left - 8, -7_i64) } else { (from.right + 4, to.right + 8, 7) };
            let wing = x2 as i64 + tip;
            let (up, down) = (y - 4, y + 4);
            let preempts = line.preempts;
            let dash = if preempts { "" } else { " stroke-dasharray=\"2 3\"" };
            let _ = writeln!(
                self.out,
                "<path d=\"M{x1} {y} H{x2}\" stroke=\"#486581\" stroke-width=\"1.3\" fill=\"none\"{dash}/>\
                 <path d=\"M{wing} {up} L{x2} {y} L{wing} {down}\" stroke=\"#486581\" stroke-width=\"1.3\" fill=\"none\"/>"
            );
            if preempts {
                let (left, right) = (from.right - 62, from.right + 4);
                self.rect([left, y - 8, right - left, 16], "#ffffff", "#486581", 8);
                self.text(left + 7, y + 4, 10, "#486581", "normal", "preempted");
            }
        }
    }

    fn rect(&mut self, [x, y, w, h]: [usize; 4], fill: &str, stroke: &str, round: usize) {
        let _ = writeln!(
            self.out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"{stroke}\"/>"
        );
    }

    fn text(&mut self, x: usize, y: usize, size: usize, ink: &str, weight: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.out,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{ink}\" font-weight=\"{weight}\">{text}</text>"
        );
    }
}

/// Room for one entry of the legend.
fn legend_width(name: &str) -> usize {
    44 + name.len() * CHARACTER
}

fn colour(lock: usize) -> &'static str {
    COLOURS[lock % COLOURS.len()]
}

fn wrap_line(line: &Line) -> Vec<String> {
    match line.kind {
        Kind::Defect | Kind::Note => wrap(&line.text, FIT - 4),
        Kind::Step | Kind::Lock(_) | Kind::End => wrap(&line.text, FIT),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}
