//! A writer is killed in the middle of its work; what it was told is durable must be there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daxle::Pool;

use super::{POOL_BYTES, Story, check, same, wrong};
use crate::errors::{Failure, Result};
use crate::exit::Exit;

/// The writer is killed when it has said so many times that something is durable.
const SYNCS: u64 = 60;
/// A writer that says nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The writer's part: one file after the other, each synced and then told, for ever.
pub(super) fn write_until_killed(path: &Path) -> Result<Exit> {
    let pool = Pool::open(path)?;
    let mut out = std::io::stdout().lock();
    for number in 0_u64.. {
        let file = pool.create_file(name(number))?;
        file.write_all_at(&content(number), 0)?;
        file.sync_all()?;
        if number >= 2 && number % 3 == 0 {
            pool.remove_file(name(number - 2))?;
            pool.sync()?;
        }
        writeln!(out, "{number}")?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn name(number: u64) -> String {
    format!("file-{number}")
}

fn content(number: u64) -> Vec<u8> {
    (0..20_000 + number * 7).map(|n| (n * 31 + number) as u8).collect()
}

/// A child that does not outlive us.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills, recovers, compares, checks.
pub(super) fn show(story: &mut Story, path: &Path) -> Result<()> {
    let mut synced = 0;
    story.step("kill -9 a writer in the middle of its work", || {
        Pool::create(path, POOL_BYTES)?.close()?;
        synced = kill_in_the_middle(path)?;
        Ok(format!("killed after {synced} files were told to be durable"))
    })?;
    story.step("open the pool again and look for them", || {
        let pool = Pool::open(path)?;
        let info = pool.info();
        let mut there = 0;
        for number in 0..synced {
            let removed = (number + 2) % 3 == 0 && number + 2 < synced && number + 2 >= 2;
            if removed {
                same("a removed file", &false, &pool.exists(name(number)))?;
            } else if pool.exists(name(number)) {
                same(&name(number), &content(number), &pool.read(name(number))?)?;
                there += 1;
            } else if (number + 2) % 3 != 0 {
                return Err(wrong(&name(number), "there", "not there"));
            }
        }
        pool.close()?;
        Ok(format!("{} journal records replayed; {there} files, all bytes right", info.recovered_records))
    })?;
    story.step("check it", || check(path))
}

fn kill_in_the_middle(path: &Path) -> Result<u64> {
    let program = std::env::current_exe()?;
    let mut writer = Writer(
        Command::new(program)
            .arg("demo")
            .arg("--writer")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let out = writer.0.stdout.take().ok_or_else(|| Failure::new(Exit::Other, "the writer has no output"))?;
    let (tell, hear) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(std::result::Result::ok) {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    let mut synced = 0;
    while synced < SYNCS {
        let line = hear.recv_timeout(SILENCE_MAX);
        let line = line.map_err(|_| Failure::new(Exit::Wrong, "the writer ended, or said nothing"))?;
        synced = 1 + line.parse::<u64>().map_err(|_| wrong("the writer", "a number", &line))?;
    }
    drop(writer);
    // What it said before it died, and we had not read yet.
    while let Ok(line) = hear.recv_timeout(SILENCE_MAX) {
        synced = 1 + line.parse::<u64>().map_err(|_| wrong("the writer", "a number", &line))?;
    }
    let _ = reader.join();
    Ok(synced)
}
