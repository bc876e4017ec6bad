//! The nestings that happened are noted.  One test binary, so that nothing else nests here.

#![cfg(all(not(shuttle), any(debug_assertions, feature = "check")))]

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use order::{Mutex, RwLock, level, unlocked};

#[test]
fn pairs_are_observed_and_the_rest_is_unexercised() {
    let freeze = RwLock::<level::Freeze, ()>::new(());
    let inode = RwLock::<level::Inode, ()>::new(());
    let entry_to_skip = RwLock::<level::ReverseMap, ()>::new(());
    let statistics = Mutex::<level::Statistics, ()>::new(());
    {
        let mut held = unlocked();
        let (_freeze, mut held) = freeze.read(&mut held);
        let (_inode, mut held) = inode.read(&mut held);
        let (_windows, _held) = entry_to_skip.read(&mut held);
        drop(statistics.leaf());
    }
    assert_eq!(
        order::observed(),
        [("Unlocked", "Freeze"), ("Freeze", "Inode"), ("Inode", "ReverseMap"), ("ReverseMap", "Statistics"),]
    );
    assert_eq!(order::observed_beyond_table(), [("Inode", "ReverseMap")]);
    let missing = order::unexercised_edges();
    assert!(!missing.contains(&("Freeze", "Inode")));
    assert!(missing.contains(&("ReverseMap", "Window")));
    assert_eq!(missing.len(), order::table::EDGES.len() - 1);
}

#[test]
fn a_trace_file_joins_the_pairs_of_several_processes() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("trace-{}", std::process::id()));
    for _ in 0..2 {
        let status = Command::new(env::current_exe().expect("this test has a file"))
            .args(["--exact", "pairs_are_observed_and_the_rest_is_unexercised"])
            .env("DAXLE_LOCK_TRACE", &path)
            .status()
            .expect("this test can run itself");
        assert!(status.success());
    }
    let text = fs::read_to_string(&path).expect("the trace was written");
    fs::remove_file(&path).expect("the trace can be removed");
    let once = "Unlocked Freeze\nFreeze Inode\nInode ReverseMap\nReverseMap Statistics\n";
    assert_eq!(text, once.repeat(2));
}
