//! The table and what is drawn from it.

use std::collections::{HashMap, HashSet};

use order::table::{Branch, EDGES, Kind, LEVELS, closure, rank};
use order::{Level, chart, level};

/// Everything reachable from `name` along edges, found by walking rather than by rank.
fn walk(name: &'static str, edges: &HashMap<&str, Vec<&'static str>>) -> HashSet<&'static str> {
    let mut seen = HashSet::new();
    let mut to_visit = edges.get(name).cloned().unwrap_or_default();
    while let Some(next) = to_visit.pop() {
        if seen.insert(next) {
            to_visit.extend(edges.get(next).into_iter().flatten());
        }
    }
    seen
}

fn edges() -> HashMap<&'static str, Vec<&'static str>> {
    let mut edges: HashMap<_, Vec<_>> = HashMap::new();
    for edge in EDGES {
        edges.entry(edge.outer).or_default().push(edge.inner);
    }
    edges
}

#[test]
fn names_are_unique_and_edges_name_levels() {
    let names: HashSet<_> = LEVELS.iter().map(|level| level.name).collect();
    assert_eq!(names.len(), LEVELS.len());
    assert!(LEVELS.len() <= 64, "a set of levels is one word");
    let mut pairs = HashSet::new();
    for edge in EDGES {
        assert!(names.contains(edge.outer) && names.contains(edge.inner));
        assert!(!edge.by.is_empty(), "{} -> {} names its functions", edge.outer, edge.inner);
        assert!(pairs.insert((edge.outer, edge.inner)), "an edge stands twice");
    }
}

#[test]
fn ranks_ascend_along_edges_so_there_is_no_cycle() {
    for edge in EDGES {
        assert!(rank(edge.outer) < rank(edge.inner), "{} -> {}", edge.outer, edge.inner);
    }
    let edges = edges();
    for level in LEVELS {
        assert!(!walk(level.name, &edges).contains(level.name), "{} reaches itself", level.name);
    }
}

#[test]
fn the_closure_is_what_a_walk_finds() {
    let edges = edges();
    for (level, set) in LEVELS.iter().zip(closure()) {
        let mut expected = walk(level.name, &edges);
        if level.kind != Kind::Leaf {
            expected.extend(LEVELS.iter().filter(|l| l.kind == Kind::Leaf).map(|l| l.name));
        }
        if level.name == "Unlocked" {
            expected.extend(LEVELS.iter().map(|l| l.name).filter(|name| *name != "Unlocked"));
        }
        let found: HashSet<_> =
            LEVELS.iter().enumerate().filter(|(rank, _)| set & (1 << rank) != 0).map(|(_, inner)| inner.name).collect();
        assert_eq!(found, expected, "after {}", level.name);
    }
}

#[test]
fn the_two_branches_never_meet() {
    let after = closure();
    for (outer, row) in LEVELS.iter().enumerate() {
        for (inner, other) in LEVELS.iter().enumerate() {
            let apart = matches!(
                (row.branch, other.branch),
                (Branch::FileSystem, Branch::Translation) | (Branch::Translation, Branch::FileSystem)
            );
            assert!(!apart || after[outer] & (1 << inner) == 0, "{} -> {}", row.name, other.name);
        }
    }
}

#[test]
fn every_level_but_a_leaf_is_reached_from_an_entry_point() {
    let edges = edges();
    let reached = walk("Freeze", &edges);
    for level in LEVELS.iter().filter(|level| level.kind != Kind::Leaf) {
        let root = ["Unlocked", "Freeze"].contains(&level.name);
        assert!(root || reached.contains(level.name), "{} is nested nowhere", level.name);
    }
}

#[test]
fn level_types_carry_the_rank_of_the_table() {
    assert_eq!(rank(level::Unlocked::NAME), Some(0));
    assert_eq!(rank("Window"), Some(usize::from(level::Window::RANK)));
    assert_eq!(rank("Oracle"), Some(usize::from(level::Oracle::RANK)));
    const { assert!(level::Oracle::LEAF && !level::Window::LEAF) };
}

#[test]
fn every_form_of_the_chart_shows_every_level_and_nesting() {
    let forms = [chart::to_text(), chart::to_markdown(), chart::to_svg(), chart::to_json()];
    for form in &forms {
        assert!(form.is_ascii());
        for level in LEVELS.iter().filter(|level| level.name != "Unlocked") {
            assert!(form.contains(level.name), "{} is missing in:\n{form}", level.name);
        }
        for edge in EDGES {
            assert!(form.contains(edge.by), "{} is missing in:\n{form}", edge.by);
        }
    }
}

#[test]
fn the_text_has_one_line_for_each_nesting() {
    let text = chart::to_text();
    let nested = text.split("Leaves").next().expect("a part before the leaves");
    assert_eq!(nested.matches("->").count(), EDGES.len() + 1);
}
