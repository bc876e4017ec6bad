//! The program `daxle`.
//!
//! `args` says what can be asked; each subcommand is a module of `commands`. A command either does all that was asked
//! or fails with one message on standard error and an exit code of its own (`exit`), and then leaves things as they
//! were. Standard output carries results only: text, or JSON where `--json` is given.
#![forbid(unsafe_code)]
#![allow(clippy::doc_markdown)] // comments on arguments are the text of --help

mod args;
mod commands;
mod copy;
mod errors;
mod exit;
mod location;
mod mounts;
mod output;
mod session;
mod size;
mod times;
mod walk;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    log_to_stderr();
    match cli.command.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("daxle: {}", failure.message);
            }
            failure.exit.into()
        }
    }
}

/// Warnings always; more with `DAXLE_LOG`.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DAXLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
