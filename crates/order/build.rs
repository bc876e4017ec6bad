//! Writes the level types, the `Before` impls and the reachability from the table.

#[path = "src/table.rs"]
#[allow(dead_code)]
mod table;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use table::{EDGES, Kind, LEVELS, LevelRow, Several, closure};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/table.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("levels.rs"), levels()).expect("OUT_DIR is writable");
    fs::write(out.join("reach.rs"), reach()).expect("OUT_DIR is writable");
}

/// The text of `order::level`.
fn levels() -> String {
    let mut text = String::new();
    let after = closure();
    for (rank, level) in LEVELS.iter().enumerate() {
        let name = level.name;
        let leaf = level.kind == Kind::Leaf;
        text += &doc(level);
        let _ = writeln!(text, "#[derive(Debug)]\npub enum {name} {{}}");
        let _ = writeln!(text, "impl Sealed for {name} {{}}");
        let _ = writeln!(
            text,
            "impl Level for {name} {{ const NAME: &'static str = \"{name}\"; \
             const RANK: u16 = {rank}; const LEAF: bool = {leaf}; }}"
        );
        if leaf {
            let _ = writeln!(text, "impl Leaf for {name} {{}}");
        }
        if level.several == Several::ByKey {
            let _ = writeln!(text, "impl Several for {name} {{}}");
        }
        for (inner, row) in LEVELS.iter().enumerate() {
            if after[rank] & (1 << inner) != 0 && row.kind != Kind::Mark {
                let _ = writeln!(text, "#[diagnostic::do_not_recommend]\nimpl Before<{}> for {name} {{}}", row.name);
            }
        }
    }
    text
}

/// The documentation of one level type.
fn doc(level: &LevelRow) -> String {
    let mut text = format!("/// {} (one for each {}).\n", sentence(level.doc), level.per);
    for (mode, meaning) in [("Shared", level.shared), ("Exclusive", level.exclusive)] {
        if !meaning.is_empty() {
            let _ = writeln!(text, "///\n/// {mode}: {meaning}.");
        }
    }
    for edge in EDGES.iter().filter(|edge| edge.inner == level.name) {
        let _ = writeln!(text, "///\n/// Taken under [`{}`] by: {}.", edge.outer, code(edge.by));
    }
    text
}

/// `text` with the names of functions set as code.
fn code(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let name = word.trim_end_matches(',');
        if name.contains('_') { word.replacen(name, &format!("`{name}`"), 1) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `text` with a capital first letter.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

/// The constant that the run-time check looks into.
fn reach() -> String {
    let after = closure();
    let rows: Vec<String> = after
        .iter()
        .map(|set| {
            let words = [48, 32, 16, 0].map(|shift| format!("{:04x}", set >> shift & 0xffff));
            format!("0x{}", words.join("_"))
        })
        .collect();
    format!("pub(crate) const REACH: [u64; {}] = [{}];\n", rows.len(), rows.join(", "))
}
