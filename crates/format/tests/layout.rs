//! The layout does not change by accident: sizes, offsets and the text that describes them.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::{Layout, draw, layouts};

/// Offset, size and name of every field. A change here is a change of the format and needs a new version or feature bit.
const FINGERPRINT: &str = include_str!("layout.txt");

fn fingerprint() -> String {
    let mut text = String::new();
    for layout in layouts() {
        writeln!(text, "{} {}", layout.name, layout.size).unwrap();
        for field in layout.fields {
            writeln!(text, "  {:>4} {:>4} {}", field.offset, field.size, field.name).unwrap();
        }
    }
    text
}

#[test]
fn the_layout_of_every_structure_is_the_one_that_was_agreed() {
    let now = fingerprint();
    assert!(now == FINGERPRINT, "the layout on the medium changed; it is now:\n{now}");
}

#[test]
fn fields_follow_each_other_without_gaps_and_fill_the_structure() {
    for layout in layouts() {
        let mut end = 0;
        for field in &layout.fields {
            assert_eq!(field.offset, end, "{}.{}", layout.name, field.name);
            let natural = field.size.min(8);
            assert!(
                !natural.is_power_of_two() || field.offset.is_multiple_of(natural),
                "{} is not aligned",
                field.name
            );
            end += field.size;
        }
        assert_eq!(end, layout.size, "{}", layout.name);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn source_of(layout: &Layout) -> String {
    let declaration = format!("pub struct {} {{", layout.name);
    fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .find(|text| text.contains(&declaration))
        .unwrap()
}

#[test]
fn every_structure_is_drawn_in_its_doc_comment() {
    for layout in layouts() {
        let drawing = draw(&layout).trim_end().lines().collect::<Vec<_>>().join("\n/// ");
        let drawing = format!("/// {drawing}\n");
        assert!(source_of(&layout).contains(&drawing), "{} must be drawn so:\n{drawing}", layout.name);
    }
}

#[test]
fn the_document_draws_every_structure_and_has_a_line_for_every_field() {
    let document = read("../../docs/format.md");
    for layout in layouts() {
        let title = format!("### {}: {} bytes\n", layout.name, layout.size);
        let Some((_, section)) = document.split_once(&title) else {
            panic!("docs/format.md has no section {title}");
        };
        let section = section.split("\n#").next().unwrap();
        let drawing = draw(&layout);
        assert!(section.contains(&drawing), "{} must be drawn so in docs/format.md:\n{drawing}", layout.name);
        for field in &layout.fields {
            let line = format!("| {} | {} | `{}` | ", field.offset, field.size, field.name);
            assert!(section.contains(&line), "docs/format.md, {}: no line {line}", layout.name);
        }
    }
}

#[test]
fn the_document_states_every_limit() {
    let document = read("../../docs/format.md");
    for line in read("src/limits.rs").lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let name = line.split(':').next().unwrap();
        assert!(document.contains(&format!("`{name}`")), "docs/format.md does not name the limit {name}");
    }
}
