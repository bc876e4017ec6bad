//! The chart as a drawing.
//!
//! Three columns: the trunk in the middle, the file-system levels to its left, the translations to
//! its right; the leaves in a box below.  An arrow between neighbours of a column is straight.  Any
//! other leaves its source sideways, with the functions that nest the two levels written on it, and
//! goes down in a lane of its own.  Longer ways take outer lanes, so that few arrows cross.

use std::fmt::Write as _;

use crate::table::{Branch, EDGES, EdgeRow, Kind, LEVELS, LevelRow, rank};

const WIDTH: usize = 1240;
/// Where the columns begin.
const FILE_SYSTEM: usize = 150;
const TRUNK: usize = 620;
const TRANSLATION: usize = 1010;
const BOX_WIDTH: usize = 190;
const BOX_HEIGHT: usize = 46;
const ROW: usize = 88;
const TOP: usize = 70;
/// Between two lanes.
const LANE: usize = 16;
/// Between the sideways ends of two arrows at one box.
const EXIT: usize = 15;
/// What a label needs between its box and the first lane.
const LABEL: usize = 124;

/// Where a level stands.
#[derive(Clone, Copy)]
struct Place {
    left: usize,
    top: usize,
    row: usize,
    branch: Branch,
}

impl Place {
    fn right(self) -> usize {
        self.left + BOX_WIDTH
    }
    fn bottom(self) -> usize {
        self.top + BOX_HEIGHT
    }
    fn centre(self) -> usize {
        self.left + BOX_WIDTH / 2
    }
}

/// The side of a box.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// The order as an SVG image.
pub fn to_svg() -> String {
    let shown: Vec<&LevelRow> = LEVELS.iter().filter(|l| l.kind != Kind::Leaf && l.name != "Unlocked").collect();
    let rows = shown.iter().map(|level| place(level.name).row + 1).max().unwrap_or(0);
    let leaves_top = TOP + rows * ROW;
    let leaves: Vec<&LevelRow> = LEVELS.iter().filter(|level| level.kind == Kind::Leaf).collect();
    let leaves_height = 50 + leaves.len().div_ceil(3) * 22;
    let height = leaves_top + leaves_height + 20;

    let mut out = header(height);
    let mut lanes = Lanes::default();
    for edge in in_drawing_order() {
        arrow(&mut out, edge, &mut lanes);
    }
    for level in shown {
        level_box(&mut out, level);
    }
    leaf_box(&mut out, &leaves, leaves_top, leaves_height);
    out.push_str("</svg>\n");
    out
}

fn header(height: usize) -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">
<title>Lock order of Daxle</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#456"/></marker></defs>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="24" y="32" font-size="20" font-weight="bold" fill="#123">Lock order, outer to inner</text>
<text x="24" y="52" font-size="12" fill="#456">An arrow: the lower level may be taken while the upper one is held. On it: who does so. File-system levels and translations never meet.</text>
"##
    )
}

/// The place of a level in the drawing.
fn place(name: &str) -> Place {
    let branch = LEVELS[rank(name).expect("an edge names a level of the table")].branch;
    let above = |branch: Branch| {
        LEVELS
            .iter()
            .filter(|level| level.branch == branch && level.name != "Unlocked")
            .take_while(|level| level.name != name)
            .count()
    };
    let (row, left) = match branch {
        Branch::Trunk => (above(branch), TRUNK),
        Branch::FileSystem => (above(Branch::Trunk) + above(branch), FILE_SYSTEM),
        Branch::Translation => (above(Branch::Trunk) + above(branch), TRANSLATION),
        Branch::Leaves => unreachable!("no edge leads to a leaf"),
    };
    Place { left, top: TOP + row * ROW, row, branch }
}

/// Longer ways first: they take the outer lanes.
fn in_drawing_order() -> Vec<&'static EdgeRow> {
    let mut edges: Vec<&EdgeRow> = EDGES.iter().collect();
    edges.sort_by_key(|edge| {
        let (from, to) = (place(edge.outer), place(edge.inner));
        (from.row, std::cmp::Reverse(to.row - from.row))
    });
    edges
}

/// Which lanes and ends are taken.
#[derive(Default)]
struct Lanes {
    /// (box, side, how many arrows end there)
    ends: Vec<(&'static str, Side, usize)>,
    /// (target, arrows that come from another column)
    inward: Vec<(&'static str, usize)>,
    /// (column, lanes)
    own: Vec<(Branch, usize)>,
}

impl Lanes {
    /// The height of the next arrow end at a side of a box.
    fn end(&mut self, name: &'static str, side: Side, place: Place) -> usize {
        let used = self.ends.iter().filter(|(n, s, _)| *n == name && *s == side).count();
        self.ends.push((name, side, used));
        place.top + EXIT / 2 + used * EXIT
    }

    fn next(list: &mut Vec<(&'static str, usize)>, name: &'static str) -> usize {
        if let Some(entry) = list.iter_mut().find(|(n, _)| *n == name) {
            entry.1 += 1;
            return entry.1 - 1;
        }
        list.push((name, 1));
        0
    }

    fn own(&mut self, branch: Branch) -> usize {
        if let Some(entry) = self.own.iter_mut().find(|(b, _)| *b == branch) {
            entry.1 += 1;
            return entry.1 - 1;
        }
        self.own.push((branch, 1));
        0
    }
}

fn arrow(out: &mut String, edge: &'static EdgeRow, lanes: &mut Lanes) {
    let (from, to) = (place(edge.outer), place(edge.inner));
    if from.branch == to.branch && to.row == from.row + 1 {
        straight(out, edge.by, from, to);
    } else if from.branch == to.branch {
        around(out, edge, from, to, lanes);
    } else {
        across(out, edge, from, to, lanes);
    }
}

/// Between neighbours.
fn straight(out: &mut String, by: &str, from: Place, to: Place) {
    let x = from.centre();
    line(out, &format!("M{x} {} L{x} {}", from.bottom(), to.top));
    label(out, x + 6, usize::midpoint(from.bottom(), to.top) + 4, "start", by);
}

/// Past other levels of the same column.
fn around(out: &mut String, edge: &'static EdgeRow, from: Place, to: Place, lanes: &mut Lanes) {
    let side = if from.branch == Branch::FileSystem { Side::Left } else { Side::Right };
    let lane = lanes.own(from.branch);
    let (start, end) = (lanes.end(edge.outer, side, from), lanes.end(edge.inner, side, to));
    if side == Side::Right {
        let x = from.right() + LABEL + 3 * LANE - lane * LANE;
        line(out, &format!("M{} {start} H{x} V{end} H{}", from.right(), to.right()));
        label(out, from.right() + 5, start - 4, "start", edge.by);
    } else {
        let x = from.left - LABEL + lane * LANE;
        line(out, &format!("M{} {start} H{x} V{end} H{}", from.left, to.left));
        label(out, from.left - 5, start - 4, "end", edge.by);
    }
}

/// From the trunk to another column: to the top of its first level, to the inner side of the others.
fn across(out: &mut String, edge: &'static EdgeRow, from: Place, to: Place, lanes: &mut Lanes) {
    let leftwards = to.left < from.left;
    let nth = Lanes::next(&mut lanes.inward, edge.inner);
    let first = place_of_first(to.branch) == to.row;
    let side = if leftwards { Side::Left } else { Side::Right };
    let start = lanes.end(edge.outer, side, from);
    let edge_x = if leftwards { from.left } else { from.right() };
    let mut path = format!("M{edge_x} {start} ");
    if first {
        let step = 30 + nth * 36;
        let x = if leftwards { to.left + step } else { to.right() - step };
        let _ = write!(path, "H{x} V{}", to.top);
    } else {
        let (lane, inner, side) = if leftwards {
            (to.right() + 56 + nth * LANE, to.right(), Side::Right)
        } else {
            (to.left - 56 - nth * LANE, to.left, Side::Left)
        };
        let end = lanes.end(edge.inner, side, to);
        let _ = write!(path, "H{lane} V{end} H{inner}");
    }
    line(out, &path);
    if leftwards {
        label(out, edge_x - 5, start - 4, "end", edge.by);
    } else {
        label(out, edge_x + 5, start - 4, "start", edge.by);
    }
}

/// The row of the first level of a column.
fn place_of_first(branch: Branch) -> usize {
    LEVELS
        .iter()
        .find(|level| level.branch == branch && level.name != "Unlocked")
        .map_or(0, |level| place(level.name).row)
}

fn line(out: &mut String, path: &str) {
    let _ = writeln!(
        out,
        r##"<path d="{path}" fill="none" stroke="#456" stroke-width="1.3" stroke-linejoin="round" marker-end="url(#tip)"/>"##
    );
}

fn label(out: &mut String, x: usize, y: usize, anchor: &str, text: &str) {
    // The white rim keeps the words readable where a line passes.
    let _ = writeln!(
        out,
        r##"<text x="{x}" y="{y}" font-size="11" text-anchor="{anchor}" fill="#234" stroke="#fff" stroke-width="3" paint-order="stroke">{}</text>"##,
        escape(text)
    );
}

fn level_box(out: &mut String, level: &LevelRow) {
    let at = place(level.name);
    let (fill, dash) = match (level.kind, level.branch) {
        (Kind::Mark, _) => ("#fff", r#" stroke-dasharray="5 4""#),
        (_, Branch::FileSystem) => ("#fdf0dc", ""),
        (_, Branch::Translation) => ("#e3f3e3", ""),
        _ => ("#e4edf8", ""),
    };
    let _ = writeln!(
        out,
        r##"<g><title>{}</title><rect x="{}" y="{}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" stroke="#456" stroke-width="1.3"{dash}/><text x="{c}" y="{}" font-size="15" font-weight="bold" text-anchor="middle" fill="#123">{}</text><text x="{c}" y="{}" font-size="11" text-anchor="middle" fill="#456">{}</text></g>"##,
        escape(level.doc),
        at.left,
        at.top,
        at.top + 20,
        level.name,
        at.top + 36,
        escape(level.per),
        c = at.centre()
    );
}

fn leaf_box(out: &mut String, leaves: &[&LevelRow], top: usize, height: usize) {
    let _ = writeln!(
        out,
        r##"<rect x="24" y="{top}" width="{}" height="{height}" rx="6" fill="#f6f6f6" stroke="#456" stroke-dasharray="2 3"/><text x="40" y="{}" font-size="14" font-weight="bold" fill="#123">Leaves: taken under anything, and nothing under them</text>"##,
        WIDTH - 48,
        top + 24
    );
    let column = (WIDTH - 64) / 3;
    for (index, leaf) in leaves.iter().enumerate() {
        let (x, y) = (40 + index % 3 * column, top + 50 + index / 3 * 22);
        let _ = writeln!(
            out,
            r##"<text x="{x}" y="{y}" font-size="12" fill="#123"><tspan font-weight="bold">{}</tspan> <tspan fill="#456">{}</tspan></text>"##,
            leaf.name,
            escape(leaf.doc)
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
