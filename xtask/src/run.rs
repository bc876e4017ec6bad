//! Runs one step: a command in its own process group, under a time limit.
//!
//! Invariants: a step ends (by itself or killed); its output is passed on as it comes; nothing that it started holds our
//! own standard output, so whoever reads ours sees its end. Processes that left the group are found by the marker that
//! every step carries in its environment (see `clean`).

use crate::clean;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A command with a name and a limit.
pub struct Step {
    name: String,
    command: Command,
    limit: Duration,
}

impl Step {
    /// A step that runs `program` with `args` and may take `limit_minutes`.
    pub fn new(name: &str, limit_minutes: u64, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args);
        Self { name: name.to_owned(), command, limit: Duration::from_secs(60 * limit_minutes) }
    }

    /// Sets a variable of the step's environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs it. The error names the step and what became of it.
    pub fn run(mut self) -> Result<(), String> {
        let started = Instant::now();
        println!("\n== {} (limit {} min)", self.name, self.limit.as_secs() / 60);
        self.command
            .env(clean::MARKER, clean::run_id())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = self.command.spawn().map_err(|e| format!("{}: could not start: {e}", self.name))?;
        let (done, readers) = mpsc::channel();
        pass_on(child.stdout.take(), done.clone());
        pass_on(child.stderr.take(), done);

        let status = loop {
            if let Some(status) = child.try_wait().map_err(|e| format!("{}: {e}", self.name))? {
                break Some(status);
            }
            if started.elapsed() > self.limit {
                break None;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let left = clean::end_group(child.id());
        for _ in 0..2 {
            // What a step left behind may hold the pipe: it is ended above, and we wait no longer than this.
            let _ = readers.recv_timeout(Duration::from_secs(3));
        }
        let seconds = started.elapsed().as_secs();
        match status {
            None => {
                clean::end_all();
                // Not `wait`: a process that the kernel does not let go of must not hold us.
                let _ = child.try_wait();
                Err(format!("{}: still running after {seconds} s, ended", self.name))
            }
            Some(status) if !status.success() => Err(format!("{}: {status} after {seconds} s", self.name)),
            Some(_) if left > 0 => Err(format!("{}: left {left} processes behind", self.name)),
            Some(_) => {
                println!("== {}: ok, {seconds} s", self.name);
                Ok(())
            }
        }
    }
}

/// Copies a pipe to our standard output, on a thread, and says when it is at its end.
fn pass_on(pipe: Option<impl Read + Send + 'static>, done: mpsc::Sender<()>) {
    let Some(mut pipe) = pipe else { return };
    thread::spawn(move || {
        let mut buffer = [0_u8; 16 * 1024];
        while let Ok(n @ 1..) = pipe.read(&mut buffer) {
            let mut out = std::io::stdout().lock();
            if out.write_all(&buffer[..n]).and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        let _ = done.send(());
    });
}
