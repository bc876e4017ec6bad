//! Style that a compiler does not check, as a test: layers, lengths, `unsafe`, locks, unfinished marks.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first; a crate may import only crates that stand before it. Tests may import anything.
const LAYERS: &[&str] =
    &["order", "sys", "format", "pool", "core", "mmu", "daxle", "fuse", "check", "explore", "oracle", "bench", "cli"];
/// Crates whose code may say `unsafe`.
const UNSAFE_CRATES: &[&str] = &["sys"];
/// The crate that may name the standard library's locks; `explore` models other kernels' locks and `xtask` is a tool.
const LOCK_CRATES: &[&str] = &["order", "explore"];
const LINES_MAX: usize = 700;
const COLUMNS_MAX: usize = 130;

/// Looks at every source file and reports all that is wrong at once.
pub fn run() -> Result<(), String> {
    let mut wrong = Vec::new();
    for file in sources(Path::new("crates"))?.into_iter().chain(sources(Path::new("xtask"))?) {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        look(&file, &text, &mut wrong);
    }
    layers(&mut wrong)?;
    if wrong.is_empty() {
        println!("tidy: ok");
        return Ok(());
    }
    for line in &wrong {
        eprintln!("tidy: {line}");
    }
    Err(format!("tidy: {} places to mend", wrong.len()))
}

fn look(file: &Path, text: &str, wrong: &mut Vec<String>) {
    let name = file.display();
    let of = file.components().nth(1).and_then(|c| c.as_os_str().to_str()).unwrap_or("");
    let test = file.components().any(|c| c.as_os_str() == "tests");
    let lines = text.lines().count();
    if lines > LINES_MAX {
        wrong.push(format!("{name}: {lines} lines, at most {LINES_MAX}: is it one subject?"));
    }
    if file.ends_with("lib.rs") && !UNSAFE_CRATES.contains(&of) && !text.contains("#![forbid(unsafe_code)]") {
        wrong.push(format!("{name}: `#![forbid(unsafe_code)]` is missing"));
    }
    let essay = test || text.trim_start().starts_with("//!") || file.ends_with("build.rs");
    if !essay {
        wrong.push(format!("{name}: starts without its essay (`//!`)"));
    }
    for (index, line) in text.lines().enumerate() {
        let at = format!("{name}:{}", index + 1);
        if !line.is_ascii() {
            wrong.push(format!("{at}: not ASCII"));
        }
        // A text for people is not cut for the sake of the column count.
        if line.len() > COLUMNS_MAX && !line.contains(['"', '\\']) {
            wrong.push(format!("{at}: {} columns, at most {COLUMNS_MAX}", line.len()));
        }
        if of != "src" && unfinished(line) {
            wrong.push(format!("{at}: unfinished: {}", line.trim()));
        }
        if !LOCK_CRATES.contains(&of) && of != "src" && raw_lock(line) {
            wrong.push(format!("{at}: a lock that the order does not know: {}", line.trim()));
        }
    }
}

fn unfinished(line: &str) -> bool {
    ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore", "dbg!("].iter().any(|mark| line.contains(mark))
}

fn raw_lock(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or("");
    code.contains("parking_lot")
        || (code.contains("std::sync::") && ["Mutex", "RwLock", "Condvar"].iter().any(|lock| code.contains(lock)))
}

/// Checks that `[dependencies]` of each crate name lower layers only.
fn layers(wrong: &mut Vec<String>) -> Result<(), String> {
    let name_of = |dependency: &str| match dependency {
        "engine" => "core".to_owned(),
        "mount" => "fuse".to_owned(),
        other => other.to_owned(),
    };
    for (height, layer) in LAYERS.iter().enumerate() {
        let path = format!("crates/{layer}/Cargo.toml");
        let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let mut within = false;
        for line in text.lines() {
            if line.starts_with('[') {
                within = line == "[dependencies]";
            } else if within {
                let dependency = name_of(line.split(['.', '=', ' ']).next().unwrap_or(""));
                if LAYERS.iter().position(|l| *l == dependency).is_some_and(|other| other >= height) {
                    wrong.push(format!("{path}: `{layer}` may not import `{dependency}`: imports point down only"));
                }
            }
        }
    }
    Ok(())
}

/// All `.rs` files below a folder, but for the compile-fail tests, which are wrong on purpose.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("wrong_order") {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
