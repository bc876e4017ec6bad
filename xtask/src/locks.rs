//! The tests with the lock trace on: which nestings really happened, held against the table.
//!
//! A nesting that the table lacks already fails the test in which it happens (the run-time check); here the joined trace
//! of all tests shows the other side: edges of the table that nothing exercises.

use crate::run::Step;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Runs the tests with the trace, then tells of edges that nothing exercises; they fail the run.
pub fn run() -> Result<(), String> {
    tests_with_trace()
}

/// As `run`; the main step of `cargo xtask test`.
pub fn tests_with_trace() -> Result<(), String> {
    let trace = trace_path();
    let _ = fs::remove_file(&trace);
    let args = ["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"];
    Step::new("tests", 14, "cargo", &args)
        .env("DAXLE_LOCK_TRACE", trace.to_str().ok_or("the path of the target folder is not UTF-8")?)
        .run()?;
    let seen = read(&trace)?;
    let declared = declared()?;
    let idle: Vec<String> = declared.difference(&seen).map(|(outer, inner)| format!("{outer} -> {inner}")).collect();
    println!("lock order: {} edges declared, {} exercised", declared.len(), declared.intersection(&seen).count());
    if idle.is_empty() {
        return Ok(());
    }
    Err(format!("edges of the lock order that no test exercises: {}", idle.join(", ")))
}

fn trace_path() -> PathBuf {
    std::env::current_dir().unwrap_or_default().join("target/lock-trace.txt")
}

fn read(trace: &PathBuf) -> Result<BTreeSet<(String, String)>, String> {
    let text = fs::read_to_string(trace).map_err(|e| format!("{}: {e}", trace.display()))?;
    Ok(text.lines().filter_map(pair).collect())
}

/// The edges of the table, as `daxle locks --format edges` prints them.
fn declared() -> Result<BTreeSet<(String, String)>, String> {
    let out = Command::new("cargo")
        .args(["run", "--quiet", "--package", "daxle-cli", "--", "locks", "--format", "edges"])
        .output()
        .map_err(|e| format!("cargo run: {e}"))?;
    if !out.status.success() {
        return Err(format!("daxle locks: {}", String::from_utf8_lossy(&out.stderr)));
    }
    Ok(String::from_utf8_lossy(&out.stdout).lines().filter_map(pair).collect())
}

fn pair(line: &str) -> Option<(String, String)> {
    let (outer, inner) = line.split_once(' ')?;
    Some((outer.to_owned(), inner.to_owned()))
}
