//! The server behind `mount --background`.
//!
//! The command starts its own program again, with one pipe between them. The server mounts, writes how that went into
//! the pipe as one line of JSON, and cuts every tie: a session of its own, and nothing but /dev/null as standard input,
//! output and error. So whoever waits for the end of the command's output does not wait for the server.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::options::Choices;
use super::{Args, mounted_text, serve_until_end, take_signals};
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::output;
use serde::{Deserialize, Serialize};

/// How the mounting went.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    /// It is there; the text to print.
    Mounted(String),
    /// It is not; the exit code and the message.
    Failed(u8, String),
}

/// Starts the server and waits until it has mounted or failed.
pub fn start() -> Result<Exit> {
    let trouble = |what: &str, error: std::io::Error| Failure::from(error).about(format!("cannot {what} the server"));
    let program = std::env::current_exe().map_err(|error| trouble("find the program of", error))?;
    let mut child = Command::new(program)
        .arg0("daxle")
        .args(std::env::args_os().skip(1).take(1))
        .arg("--served-for-parent")
        .args(std::env::args_os().skip(2))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| trouble("start", error))?;
    let mut line = String::new();
    let pipe = child.stdout.take().ok_or_else(|| Failure::new(Exit::Other, "the server has no pipe"))?;
    BufReader::new(pipe).read_line(&mut line).map_err(|error| trouble("hear from", error))?;
    match serde_json::from_str(&line) {
        Ok(Outcome::Mounted(text)) => {
            output::print(&text)?;
            Ok(Exit::Done)
        }
        Ok(Outcome::Failed(exit, message)) => {
            let _ = child.wait();
            Err(Failure { exit: Exit::from_code(exit), message })
        }
        Err(_) => {
            let how = child.wait().map_err(|error| trouble("wait for", error))?;
            Err(Failure::new(Exit::Other, format!("the server ended before it mounted ({how})")))
        }
    }
}

/// The server itself.
pub fn serve(args: &Args, choices: &Choices) -> Result<Exit> {
    let requests = take_signals()?;
    let (session, mut mounted) = match args.mount(choices) {
        Ok((session, mounted, info)) => {
            let text = mounted_text(&mounted, &info).replace(" or Ctrl-C", "");
            if tell(&Outcome::Mounted(text + "\n")).is_err() {
                tracing::warn!("nobody hears that the mount is there");
            }
            (session, mounted)
        }
        Err(failure) => {
            let _ = tell(&Outcome::Failed(failure.exit as u8, failure.message));
            return Err(Failure::new(failure.exit, ""));
        }
    };
    cut_ties();
    serve_until_end(&mut mounted, &requests)?;
    drop(mounted);
    session.close()?;
    Ok(Exit::Done)
}

fn tell(outcome: &Outcome) -> std::io::Result<()> {
    let line = serde_json::to_string(outcome)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A session of its own, so that no terminal reaches it; nothing of the caller's stays open; no directory is kept busy.
fn cut_ties() {
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let Ok(null) = null else {
        tracing::warn!("/dev/null cannot be opened; the caller's output stays open");
        return;
    };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}
