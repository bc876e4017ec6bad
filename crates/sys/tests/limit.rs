//! At the limit of mappings translations fail and revocations do not. A
//! program of its own, since it uses up the mappings of its process.

mod common;

use daxle_sys as sys;

use common::{Place, Served};
use sys::memory::Protection::ReadWrite;
use sys::window::{Reservation, Sharing, TrapMode};
use sys::{AsFd, Errno, PAGE_BYTES, file};

const MAPPINGS_MAX: usize = 200_000;

#[test]
fn a_revocation_at_the_limit_of_mappings_succeeds() {
    let limit = file::max_map_count();
    if limit > MAPPINGS_MAX {
        return println!("SKIPPED: vm.max_map_count is {limit}, too many to use up");
    }
    let Some(s) = Served::new(64 * PAGE_BYTES, Place::Memory) else { return };
    s.window.trap(&s.uffd, 0..64 * PAGE_BYTES, TrapMode::Every, ReadWrite).expect("trap");
    s.window.store_u64(9 * PAGE_BYTES, 1);
    let filler = Reservation::new((limit + 2) * 2 * PAGE_BYTES).expect("reserve");
    let mut made = 0;
    let met = loop {
        let start = made * 2 * PAGE_BYTES;
        let range = start..start + PAGE_BYTES;
        match filler.map_file(range, s.file.as_fd(), 0, ReadWrite, Sharing::Shared) {
            Ok(()) => made += 1,
            Err(errno) => break errno,
        }
    };
    assert_eq!(met, Errno::NOMEM);
    let range = 20 * PAGE_BYTES..21 * PAGE_BYTES;
    let more = s.window.map_file(range.clone(), s.file.as_fd(), 0, ReadWrite, Sharing::Shared);
    assert_eq!(more, Err(Errno::NOMEM), "translations fail");
    // Splits a trap in three and replaces a translation by a trap.
    s.window.past_end(range).expect("past the end");
    s.window.trap(&s.uffd, 9 * PAGE_BYTES..10 * PAGE_BYTES, TrapMode::Every, ReadWrite).expect("trap");
    drop(filler);
    assert_eq!(s.window.load_u64(9 * PAGE_BYTES), 1, "served by the trap");
    assert!(s.window.try_copy_in(20 * PAGE_BYTES, b"x").is_err());
}
