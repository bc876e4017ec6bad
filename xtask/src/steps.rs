//! What each task runs, in order.

use crate::run::Step;
use crate::{clean, docs, locks, tidy};

/// The program, as the release build makes it.
const DAXLE: &str = "target/release/daxle";
/// Where builds with `--cfg shuttle` go: other flags, so another folder, or each would undo the other's work.
const SHUTTLE_TARGET: &str = "target/shuttle";

/// Everything that has to hold before a change lands.
pub fn test() -> Result<(), String> {
    let done = all();
    clean::end_all();
    done?;
    println!("\nxtask test: every step passed");
    Ok(())
}

fn all() -> Result<(), String> {
    tidy::run()?;
    lint()?;
    docs::check()?;
    Step::new("release build", 10, "cargo", &["build", "--release", "--package", "daxle-cli"]).run()?;
    Step::new("demo", 2, DAXLE, &["demo"]).run()?;
    locks::tests_with_trace()?;
    Step::new("examples in the documentation", 6, "cargo", &["test", "--workspace", "--doc"]).run()?;
    interleavings("short", "0")?;
    kill(200)?;
    fsx()
}

/// Format and lints, warnings denied.
pub fn lint() -> Result<(), String> {
    Step::new("format", 1, "cargo", &["fmt", "--all", "--check"]).run()?;
    let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    Step::new("lints", 10, "cargo", &args).run()
}

/// Explores for `minutes` beyond the short form.
pub fn explore(minutes: u32) -> Result<(), String> {
    interleavings("long", &minutes.to_string())
}

/// The engine itself under the explorer, over simulated windows.
fn interleavings(form: &str, minutes: &str) -> Result<(), String> {
    let limit_minutes = 6 + 2 * minutes.parse::<u64>().unwrap_or(0);
    let args = ["test", "--package", "daxle-mmu", "--test", "interleavings", "--", "--test-threads=2", "--nocapture"];
    Step::new(&format!("interleavings, {form} form"), limit_minutes, "cargo", &args)
        .env("RUSTFLAGS", "--cfg shuttle")
        .env("CARGO_TARGET_DIR", SHUTTLE_TARGET)
        .env("DAXLE_EXPLORE_MINUTES", minutes)
        .run()
}

/// Kills the owner of a pool under load `rounds` times.
pub fn kill(rounds: u32) -> Result<(), String> {
    let args = ["test", "--release", "--package", "daxle", "--test", "kill", "--", "--nocapture"];
    Step::new(&format!("{rounds} kills"), 8 + u64::from(rounds) / 50, "cargo", &args)
        .env("DAXLE_KILL_ROUNDS", &rounds.to_string())
        .run()
}

/// Random operations on one file through all views at once, short form.
fn fsx() -> Result<(), String> {
    let pool = Scratch::new("fsx")?;
    let views = ["--views", "api,map,mount"];
    for seed in ["1", "2"] {
        let args = [&["fsx", &pool.path, "--create", "64M", "--ops", "20000", "--seed", seed], &views[..]].concat();
        Step::new(&format!("fsx, seed {seed}"), 3, DAXLE, &args).run()?;
        pool.remove();
    }
    Ok(())
}

/// All views, all operations, random kills, a check after each round, until the time is over.
pub fn soak(minutes: u32) -> Result<(), String> {
    Step::new("release build", 10, "cargo", &["build", "--release", "--package", "daxle-cli"]).run()?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60 * u64::from(minutes));
    let mut round = 0_u32;
    while std::time::Instant::now() < until {
        round += 1;
        let pool = Scratch::new("soak")?;
        let seed = (1000 + round).to_string();
        Step::new("make a pool", 1, DAXLE, &["create", &pool.path, "--size", "64M"]).run()?;
        let args = ["fsx", &pool.path, "--ops", "50000", "--seed", &seed, "--views", "api,map,mount"];
        Step::new(&format!("soak round {round}: fsx"), 10, DAXLE, &args).run()?;
        Step::new("check", 2, DAXLE, &["check", &pool.path]).run()?;
        kill(25)?;
    }
    println!("\nsoak: {round} rounds, all clean");
    Ok(())
}

/// A pool's path in the temporary folder, gone when this is.
struct Scratch {
    path: String,
}

impl Scratch {
    fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("daxle-{name}-{}.pool", std::process::id()));
        let scratch = Self { path: path.to_str().ok_or("the temporary folder's name is not UTF-8")?.to_owned() };
        scratch.remove();
        Ok(scratch)
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}
