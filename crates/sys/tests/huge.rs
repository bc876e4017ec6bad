//! Windows over huge pages. A program of its own, since it changes the
//! machine's reserve.

mod common;

use common::Place;
use daxle_sys as sys;
use std::sync::atomic::Ordering::SeqCst;
use sys::memory::Protection::ReadWrite;
use sys::window::{Sharing, TrapMode};
use sys::{AsFd, HUGE_BYTES, PAGE_BYTES, file};

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

fn huge_pages() -> u64 {
    let text = std::fs::read_to_string(NR_HUGEPAGES).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Puts the reserve back when dropped.
struct Restore(u64);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = std::fs::write(NR_HUGEPAGES, self.0.to_string());
    }
}

#[test]
fn a_huge_translation_is_trapped_and_replaced_in_whole_huge_pages() {
    let restore = Restore(huge_pages());
    let wanted = restore.0 + 4;
    let written = std::fs::write(NR_HUGEPAGES, wanted.to_string());
    if written.is_err() || huge_pages() < wanted {
        return println!("SKIPPED: cannot reserve huge pages ({written:?})");
    }
    let Some(s) = common::Served::new(4 * HUGE_BYTES, Place::Memory) else { return };
    let pool = file::memfd("huge", file::MemoryPages::Huge).expect("memfd");
    file::set_len(pool.as_fd(), 4 * HUGE_BYTES as u64).expect("size");
    let all = 0..4 * HUGE_BYTES;
    s.window.map_file(all.clone(), pool.as_fd(), 0, ReadWrite, Sharing::Shared).expect("translate");
    s.window.store_u64(HUGE_BYTES + PAGE_BYTES, 11);
    s.window.trap(&s.uffd, HUGE_BYTES..2 * HUGE_BYTES, TrapMode::Every, ReadWrite).expect("trap");
    // Served from the other file, by the page.
    assert_eq!(s.window.load_u64(HUGE_BYTES + PAGE_BYTES), 0);
    assert_eq!(s.seen.missing.load(SeqCst), 1);
    s.window.trap(&s.uffd, 0..HUGE_BYTES, TrapMode::HoleReads, ReadWrite).expect("holes");
    assert_eq!(s.window.load_u64(8), 0);
    s.window.past_end(3 * HUGE_BYTES..4 * HUGE_BYTES).expect("past the end");
    assert!(s.window.try_copy_in(3 * HUGE_BYTES, b"x").is_err());
    s.window.map_file(all, pool.as_fd(), 0, ReadWrite, Sharing::Shared).expect("translate again");
    assert_eq!(s.window.load_u64(HUGE_BYTES + PAGE_BYTES), 11);
}
