//! Ends what a step left behind: processes and mounts.
//!
//! Every step carries a marker in its environment, and so does all that it starts, also what made itself a session of its
//! own (a mount in the background). A FUSE mount whose server has gone, or hangs, is cut off through its control file
//! first: only then can a process that waits for it end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// The variable by which a run's processes are known.
pub const MARKER: &str = "DAXLE_XTASK_RUN";

/// This run's value of the marker.
pub fn run_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| format!("{}-{}", std::process::id(), fs::metadata("/proc/self").map_or(0, |m| seconds(&m))))
}

fn seconds(of: &fs::Metadata) -> u64 {
    of.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs())
}

/// Ends the process group of a step; tells how many of the run's processes were still there.
pub fn end_group(leader: u32) -> usize {
    let left = marked();
    if left.is_empty() {
        return 0;
    }
    // Some seconds for those that are ending by themselves: a server that was unmounted closes its pool.
    let mut left = left;
    for _ in 0..100 {
        if left.is_empty() {
            return 0;
        }
        thread::sleep(Duration::from_millis(100));
        left = marked();
    }
    for (pid, what) in &left {
        println!("== still there: {pid} {what}");
    }
    signal("-KILL", &format!("-{leader}"));
    for (pid, _) in &left {
        signal("-KILL", &pid.to_string());
    }
    left.len()
}

/// Ends every process of this run and cuts off the mounts below the temporary folder that they served.
pub fn end_all() {
    for _ in 0..3 {
        for (pid, _) in marked() {
            signal("-KILL", &pid.to_string());
        }
        abort_mounts();
        thread::sleep(Duration::from_millis(300));
    }
}

/// Processes that carry this run's marker, but for ourselves.
fn marked() -> Vec<(u32, String)> {
    let wanted = format!("{MARKER}={}", run_id());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|b| *b == 0).any(|v| v == wanted.as_bytes()) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

/// Where the kernel shows FUSE connections, if `fusectl` is mounted.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// Cuts off FUSE mounts below the temporary folder, and takes them away.
///
/// A process that mapped a file of a mount which it serves itself cannot even be killed: its exit waits for pages to be
/// written back, and the threads that would write them are gone. Only cutting off the connection lets it end.
fn abort_mounts() {
    let mounts = fuse_mounts();
    if mounts.is_empty() && std::env::var_os("CI").is_none() {
        return;
    }
    let there = fs::read_dir(CONNECTIONS).is_ok_and(|mut entries| entries.next().is_some());
    if !there {
        let args = ["-t", "fusectl", "none", CONNECTIONS];
        let _ = Command::new("mount").args(args).stdin(Stdio::null()).stderr(Stdio::null()).status();
    }
    for (minor, place) in &mounts {
        let _ = fs::write(format!("{CONNECTIONS}/{minor}/abort"), "1");
        let _ = Command::new("umount").args(["-l", place]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    }
    if std::env::var_os("CI").is_some() {
        // Nobody else's here: also those that were taken from the tree while still in use.
        for entry in fs::read_dir(CONNECTIONS).into_iter().flatten().flatten() {
            let _ = fs::write(entry.path().join("abort"), "1");
        }
    }
}

/// FUSE mounts below the temporary folder: minor number of the device, and place.
fn fuse_mounts() -> Vec<(String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let temporary = std::env::temp_dir();
    let mut found = Vec::new();
    for line in table.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let words: Vec<&str> = front.split(' ').collect();
        let (Some(device), Some(place)) = (words.get(2), words.get(4)) else { continue };
        let is_fuse = back.starts_with("fuse ") || back.starts_with("fuse.");
        if let Some((_, minor)) = device.split_once(':')
            && is_fuse
            && Path::new(place).starts_with(&temporary)
        {
            found.push((minor.to_owned(), (*place).to_owned()));
        }
    }
    found
}

fn signal(which: &str, whom: &str) {
    let _ = Command::new("kill").args([which, "--", whom]).stdin(Stdio::null()).stderr(Stdio::null()).status();
}
