//! The chart of the lock order, in four forms, all drawn from the table.
//!
//! [`to_text`] is in the manner of the comment at the head of Linux's `mm/filemap.c`: a tree in
//! which the functions that nest a level stand behind it.  The order is no tree, so a level that has
//! two outer ones is opened where it is met first.

mod svg;

use std::fmt::Write as _;

use crate::table::{EDGES, Kind, LEVELS, LevelRow, closure};

pub use svg::to_svg;

/// The order as an indented tree, and the leaves.
pub fn to_text() -> String {
    let mut text = String::from("Lock order, outer to inner (the functions that nest a level):\n\n");
    let mut opened = Vec::new();
    for level in LEVELS.iter().filter(|level| level.kind == Kind::Lock) {
        if !EDGES.iter().any(|edge| edge.inner == level.name) {
            tree(&mut text, level.name, "", 0, &mut opened);
        }
    }
    text.push_str("\nLeaves, taken under anything; nothing is taken under them:\n\n");
    for level in LEVELS.iter().filter(|level| level.kind == Kind::Leaf) {
        let _ = writeln!(text, "  ->{:<16}({}; one for each {})", level.name, level.doc, level.per);
    }
    text
}

/// One line for `name`, and the levels under it unless they were shown already.
fn tree(text: &mut String, name: &'static str, by: &str, depth: usize, opened: &mut Vec<&'static str>) {
    const COLUMN: usize = 44;
    let head = format!("{}->{name}", "  ".repeat(depth + 1));
    let first = !opened.contains(&name);
    let more = !first && EDGES.iter().any(|edge| edge.outer == name);
    let head = head + if more { " ..." } else { "" };
    if by.is_empty() {
        let _ = writeln!(text, "{head}");
    } else {
        let _ = writeln!(text, "{head:<COLUMN$}({by})");
    }
    if first {
        opened.push(name);
        for edge in EDGES.iter().filter(|edge| edge.outer == name) {
            tree(text, edge.inner, edge.by, depth + 1, opened);
        }
    }
}

/// The order as tables of Markdown: the levels, the nestings, the leaves.
pub fn to_markdown() -> String {
    let mut text =
        String::from("| # | level | per | shared | exclusive | several | what for |\n|---|---|---|---|---|---|---|\n");
    for (rank, level) in LEVELS.iter().enumerate() {
        if level.kind != Kind::Leaf {
            let several = match level.several {
                crate::table::Several::Never => "no",
                crate::table::Several::ByKey => "by key, at once",
            };
            let _ = writeln!(
                text,
                "| {rank} | {} | {} | {} | {} | {} | {} |",
                level.name,
                level.per,
                or_dash(level.shared),
                or_dash(level.exclusive),
                if level.kind == Kind::Mark { "-" } else { several },
                level.doc
            );
        }
    }
    text.push_str("\n| held | taken under it | by |\n|---|---|---|\n");
    for edge in EDGES {
        let _ = writeln!(text, "| {} | {} | {} |", edge.outer, edge.inner, edge.by);
    }
    text.push_str("\n| leaf | per | what for |\n|---|---|---|\n");
    for level in LEVELS.iter().filter(|level| level.kind == Kind::Leaf) {
        let _ = writeln!(text, "| {} | {} | {} |", level.name, level.per, level.doc);
    }
    text
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// The order as JSON: an object with `levels`, `edges` and `closure` (name to the names that may
/// follow).
pub fn to_json() -> String {
    let levels: Vec<String> = LEVELS.iter().enumerate().map(level_to_json).collect();
    let edges: Vec<String> = EDGES
        .iter()
        .map(|edge| {
            let fields = [("outer", edge.outer), ("inner", edge.inner), ("by", edge.by)];
            format!("    {{{}}}", fields.map(|(key, value)| pair(key, value)).join(", "))
        })
        .collect();
    let after: Vec<String> = LEVELS
        .iter()
        .zip(closure())
        .map(|(level, set)| {
            let inner: Vec<String> = LEVELS
                .iter()
                .enumerate()
                .filter(|(rank, _)| set & (1 << rank) != 0)
                .map(|(_, inner)| quote(inner.name))
                .collect();
            format!("    {}: [{}]", quote(level.name), inner.join(", "))
        })
        .collect();
    format!(
        "{{\n  \"levels\": [\n{}\n  ],\n  \"edges\": [\n{}\n  ],\n  \"closure\": {{\n{}\n  }}\n}}\n",
        levels.join(",\n"),
        edges.join(",\n"),
        after.join(",\n")
    )
}

fn level_to_json((rank, level): (usize, &LevelRow)) -> String {
    let kind = format!("{:?}", level.kind);
    let branch = format!("{:?}", level.branch);
    let several = format!("{:?}", level.several);
    let fields = [
        ("name", level.name),
        ("per", level.per),
        ("kind", &kind),
        ("branch", &branch),
        ("several", &several),
        ("shared", level.shared),
        ("exclusive", level.exclusive),
        ("doc", level.doc),
    ];
    let fields = fields.map(|(key, value)| pair(key, value)).join(", ");
    format!("    {{\"rank\": {rank}, {fields}}}")
}

fn pair(key: &str, value: &str) -> String {
    format!("{}: {}", quote(key), quote(value))
}

/// `text` as a JSON string.  The table is ASCII without control characters.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
