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
    // A moment for those that are ending by themselves.
    thread::sleep(Duration::from_millis(1500));
    let left = marked();
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

/// Cuts off FUSE mounts of ours (`fuse.daxle`) that lie below the temporary folder, and takes them away.
fn abort_mounts() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let temporary = std::env::temp_dir();
    for line in table.lines().filter(|l| l.contains("daxle")) {
        let words: Vec<&str> = line.split(' ').collect();
        let (Some(device), Some(place)) = (words.get(2), words.get(4)) else { continue };
        if !Path::new(place).starts_with(&temporary) {
            continue;
        }
        if let Some(minor) = device.split(':').nth(1) {
            let _ = fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), "1");
        }
        let _ = Command::new("umount").args(["-l", place]).stdin(Stdio::null()).status();
    }
}

fn signal(which: &str, whom: &str) {
    let _ = Command::new("kill").args([which, "--", whom]).stdin(Stdio::null()).stderr(Stdio::null()).status();
}
