//! The project's own tasks: `cargo xtask <task>`.
//!
//! One place decides what "the tests" are: README's test command and CI both call `cargo xtask test`. Every step runs in
//! a process group of its own, under a time limit, with its output passed on; what a step leaves behind (a mount, a
//! server) is ended before the next one starts. So a hang is a failure with a name, never a run that does not end.

#![forbid(unsafe_code)]

mod clean;
mod docs;
mod locks;
mod run;
mod steps;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "cargo xtask <task>

  test               everything that has to hold before a change lands (README's test command; CI runs it)
  tidy               style that a compiler does not check: layers, file length, unsafe, locks, unfinished marks
  lint               cargo fmt --check and cargo clippy with warnings denied
  docs [--check]     writes the generated parts of docs/ (with --check: fails when they are out of date)
  locks              runs the tests with the lock trace on and names the edges that nothing exercises
  explore [--minutes N]   explores interleavings of the engine beyond the short form in `test`
  soak [--minutes N]      random operations in all views with kills and a check after each round
  kill [--rounds N]       kills the owner of a pool under load, recovers, compares, checks
  help               this text

Exit code: 0 when all went well, 1 when a step failed, 2 for a wrong call.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => steps::test(),
        ["tidy"] => tidy::run(),
        ["lint"] => steps::lint(),
        ["docs"] => docs::write(),
        ["docs", "--check"] => docs::check(),
        ["locks"] => locks::run(),
        ["explore", rest @ ..] => number(rest, "--minutes", 5).and_then(steps::explore),
        ["soak", rest @ ..] => number(rest, "--minutes", 30).and_then(steps::soak),
        ["kill", rest @ ..] => number(rest, "--rounds", 200).and_then(steps::kill),
        ["help" | "--help" | "-h"] | [] => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("xtask: no such task: {}\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Reads `FLAG N` from what follows a task's name.
fn number(words: &[&str], flag: &str, otherwise: u32) -> Result<u32, String> {
    match words {
        [] => Ok(otherwise),
        [given, value] if *given == flag => {
            value.parse().map_err(|_| format!("{flag} takes a whole number, not `{value}`"))
        }
        _ => Err(format!("expected `{flag} N`, found `{}`", words.join(" "))),
    }
}
