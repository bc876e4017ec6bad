//! `daxle demo`: what Daxle is for, done for real, in one readable table.
//!
//! Two pools in a folder of their own: one is mounted and mapped, the other belongs to a writer that is killed. Every step
//! compares what it sees with what it must see; the first that differs ends the demo with a message and exit code 4.
//! Nothing is left behind, whatever happens.

mod faults;
mod killed;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daxle::{Mapping, Pool};

use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::output::{self, table};
use crate::size;
use bench::served::Served;

/// Bytes in each pool.
const POOL_BYTES: u64 = 256 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the pools go for the time of the demo
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// The process that is killed calls itself with this
    #[arg(long, hide = true)]
    writer: Option<PathBuf>,
}

/// What was done, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Story {
    rows: Vec<Vec<String>>,
}

impl Story {
    /// Does a step; its text is what was seen.
    pub(super) fn step(&mut self, what: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
        let start = Instant::now();
        let seen = work().map_err(|failure| failure.about(what))?;
        self.rows.push(vec![what.to_owned(), seen, show(start.elapsed())]);
        Ok(())
    }
}

impl Args {
    /// Runs the demo.
    pub fn run(&self) -> Result<Exit> {
        if let Some(pool) = &self.writer {
            return killed::write_until_killed(pool);
        }
        demand_what_is_needed()?;
        let place = tempfile::Builder::new().prefix("daxle-demo").tempdir_in(&self.dir)?;
        let mut story = Story::default();
        let told = tell(&mut story, place.path());
        output::print(&table(&["step", "what was seen", ">time"], &story.rows))?;
        told?;
        output::print("\nall as it should be; nothing is left behind\n")?;
        Ok(Exit::Done)
    }
}

fn demand_what_is_needed() -> Result<()> {
    if !Path::new("/dev/fuse").exists() {
        return Err(Failure::new(
            Exit::NoFuse,
            "/dev/fuse is missing: run `modprobe fuse`, or start the container with --device /dev/fuse",
        ));
    }
    if !Mapping::is_possible() {
        return Err(Failure::new(
            Exit::NoUserfaultfd,
            "userfaultfd is not permitted: run as root, or `sysctl vm.unprivileged_userfaultfd=1`, or give yourself \
             access to /dev/userfaultfd",
        ));
    }
    Ok(())
}

fn tell(story: &mut Story, place: &Path) -> Result<()> {
    let path = place.join("demo.pool");
    let mut made = None;
    story.step("make a pool", || {
        let pool = Pool::create(&path, POOL_BYTES)?;
        let seen = format!("{}, durability {}", size::show(POOL_BYTES), pool.durability());
        made = Some(pool);
        Ok(seen)
    })?;
    let Some(pool) = made else { return Err(wrong("the pool", "there", "not there")) };
    let point = place.join("mnt");
    std::fs::create_dir(&point)?;
    let served = Served::mount(&pool, &point, &mount::MountOptions::default())?;
    let done = through_mount(story, &pool, &point).and_then(|()| faults::show(story, &pool));
    let unmounted = served.unmount();
    done?;
    unmounted?;
    story.step("close the pool and check it", || {
        pool.close()?;
        check(&path)
    })?;
    killed::show(story, &place.join("killed.pool"))
}

/// One file through the mount and through the library.
fn through_mount(story: &mut Story, pool: &Pool, point: &Path) -> Result<()> {
    story.step("write through the mount, read with the library", || {
        std::fs::create_dir(point.join("models"))?;
        std::fs::write(point.join("models/from-mount"), vec![7; 100_000])?;
        let seen = pool.read("models/from-mount")?;
        same("bytes", &vec![7; 100_000], &seen)?;
        Ok("models/from-mount, 100,000 bytes, equal".to_owned())
    })?;
    story.step("write with the library, read through the mount", || {
        pool.write("models/part", vec![9; 50_000])?;
        pool.rename("models/part", "models/from-library")?;
        let seen = std::fs::read(point.join("models/from-library"))?;
        same("bytes", &vec![9; 50_000], &seen)?;
        let listed = std::fs::read_dir(point.join("models"))?.count();
        same("names in models/", &2, &listed)?;
        Ok("models/from-library, published by rename, equal".to_owned())
    })
}

/// Checks a pool that nobody has open.
pub(super) fn check(path: &Path) -> Result<String> {
    let memory = pool::FilePool::open(path, pool::Access::ReadOnly)?;
    let report = check::check(&memory, &mut check::CheckOptions::default());
    if report.exit_code() == 0 {
        return Ok(report.text().trim().rsplit('/').next().unwrap_or_default().to_owned());
    }
    Err(Failure::new(Exit::Wrong, report.text()))
}

/// An error if two things that must be equal are not.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, seen: &T) -> Result<()> {
    if expected == seen {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(80).collect::<String>();
    Err(wrong(what, &short(expected), &short(seen)))
}

/// The error for something that is not as it must be.
pub(super) fn wrong(what: &str, expected: &str, seen: &str) -> Failure {
    Failure::new(Exit::Wrong, format!("{what}: expected {expected}, found {seen}"))
}

/// A time for people.
pub(super) fn show(time: Duration) -> String {
    size::show_nanos(time.as_nanos() as f64)
}
