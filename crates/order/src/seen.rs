//! The nestings that really happened in this process.
//!
//! A table that nobody uses proves nothing.  Checked builds note every pair (innermost level held,
//! level taken) once.  With `DAXLE_LOCK_TRACE` set to the path of a file, each pair is also appended
//! there as a line `outer inner` when it is first seen, so that the runs of many test processes can be
//! joined and compared with the table.
//!
//! The atomics are those of `std` even under the model checker: noting a pair is no step of the
//! program that is explored.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::table::{EDGES, LEVELS};

/// Bit `i` of word `o`: `LEVELS[i]` was taken under `LEVELS[o]`.
static SEEN: [AtomicU64; LEVELS.len()] = [const { AtomicU64::new(0) }; LEVELS.len()];

/// Notes that `inner` was taken under `outer`.
#[cfg(any(debug_assertions, test, feature = "check"))]
pub(crate) fn record(outer: u16, inner: u16) {
    let bit = 1 << inner;
    let word = &SEEN[usize::from(outer)];
    if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        append(LEVELS[usize::from(outer)].name, LEVELS[usize::from(inner)].name);
    }
}

/// Appends one pair to the file of `DAXLE_LOCK_TRACE`, if that is set.
#[cfg(any(debug_assertions, test, feature = "check"))]
fn append(outer: &str, inner: &str) {
    use std::io::Write as _;

    let Some(path) = std::env::var_os("DAXLE_LOCK_TRACE") else {
        return;
    };
    // One write of one short line: appends of several processes do not mix.
    let line = format!("{outer} {inner}\n");
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written {
        panic!("DAXLE_LOCK_TRACE {}: {error}", path.display());
    }
}

/// The pairs (outer, inner) that were nested directly in this process so far.
///
/// A lock taken while nothing was held counts as nested in `Unlocked`.  Empty in release builds.
pub fn observed() -> Vec<(&'static str, &'static str)> {
    let mut pairs = Vec::new();
    for (outer, word) in LEVELS.iter().zip(&SEEN) {
        let set = word.load(Ordering::Relaxed);
        for (rank, inner) in LEVELS.iter().enumerate() {
            if set & (1 << rank) != 0 {
                pairs.push((outer.name, inner.name));
            }
        }
    }
    pairs
}

/// The edges of the table that were not nested directly in this process so far.
pub fn unexercised_edges() -> Vec<(&'static str, &'static str)> {
    let seen = observed();
    EDGES.iter().map(|edge| (edge.outer, edge.inner)).filter(|pair| !seen.contains(pair)).collect()
}

/// The observed pairs between two levels, none of them a leaf, that are permitted only by way of
/// others: the table should name them and the functions that nest them.
pub fn observed_beyond_table() -> Vec<(&'static str, &'static str)> {
    let plain = |name: &str| {
        LEVELS
            .iter()
            .any(|level| level.name == name && level.name != "Unlocked" && level.kind != crate::table::Kind::Leaf)
    };
    observed()
        .into_iter()
        .filter(|&(outer, inner)| plain(outer) && plain(inner))
        .filter(|&(outer, inner)| !EDGES.iter().any(|edge| (edge.outer, edge.inner) == (outer, inner)))
        .collect()
}
