//! The generated parts of `docs/`: between `<!-- generated: NAME -->` and `<!-- end -->` stands what the program prints,
//! so a chart cannot differ from the table that the compiler enforces.

use std::fs;
use std::process::Command;

use crate::run::Step;

/// File, name of the part, and the arguments of `daxle` that print it.
const PARTS: &[(&str, &str, &[&str])] = &[("docs/locking.md", "locks", &["locks", "--format", "markdown"])];
/// Files that are printed whole.
const WHOLE: &[(&str, &[&str])] = &[("docs/img/locks.svg", &["locks", "--format", "svg"])];

/// Writes every generated part.
pub fn write() -> Result<(), String> {
    for (file, text) in wanted()? {
        fs::write(&file, text).map_err(|e| format!("{file}: {e}"))?;
        println!("docs: wrote {file}");
    }
    // What is observed is compared by this test, which also writes it.
    let args = ["test", "--package", "daxle-mmu", "--test", "interleavings", "the_tables_of_operations"];
    Step::new("tables of what is observed", 10, "cargo", &args).env("DAXLE_WRITE_DOCS", "1").run()
}

/// Fails when a generated part is not what the program prints today.
pub fn check() -> Result<(), String> {
    for (file, text) in wanted()? {
        if fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))? != text {
            return Err(format!("{file} is out of date: run `cargo xtask docs` and commit it"));
        }
    }
    println!("docs: up to date");
    Ok(())
}

/// Each file with generated parts, as it should be.
fn wanted() -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    for (file, part, args) in PARTS {
        let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        files.push((
            (*file).to_owned(),
            replace(&text, part, &program(args)?).ok_or(format!("{file}: no part `{part}`"))?,
        ));
    }
    for (file, args) in WHOLE {
        files.push(((*file).to_owned(), program(args)?));
    }
    Ok(files)
}

fn replace(text: &str, part: &str, with: &str) -> Option<String> {
    let open = format!("<!-- generated: {part} -->\n");
    let start = text.find(&open)? + open.len();
    let end = start + text[start..].find("<!-- end -->")?;
    Some(format!("{}\n{}\n\n{}", &text[..start], with.trim(), &text[end..]))
}

fn program(args: &[&str]) -> Result<String, String> {
    let out = Command::new("cargo")
        .args(["run", "--quiet", "--package", "daxle-cli", "--"])
        .args(args)
        .output()
        .map_err(|e| format!("cargo run: {e}"))?;
    if !out.status.success() {
        return Err(format!("daxle {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr)));
    }
    String::from_utf8(out.stdout).map_err(|e| e.to_string())
}
