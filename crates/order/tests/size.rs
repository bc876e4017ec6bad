//! What the order costs where it is not checked at run time: nothing.

use order::{Held, level};

#[test]
fn a_proof_has_no_size() {
    assert_eq!(size_of::<Held<'_, level::Inode>>(), 0);
}

#[cfg(not(any(shuttle, debug_assertions, feature = "check")))]
#[test]
fn guards_are_no_larger_than_those_of_std() {
    use std::sync;

    assert_eq!(size_of::<order::Section<'_, level::Entry>>(), 0);
    assert_eq!(size_of::<order::CopyScope<'_>>(), 0);
    assert_eq!(size_of::<order::Mutex<level::Window, u64>>(), size_of::<sync::Mutex<u64>>());
    assert_eq!(size_of::<order::MutexGuard<'_, level::Window, u64>>(), size_of::<sync::MutexGuard<'_, u64>>());
    assert_eq!(size_of::<order::RwLockReadGuard<'_, level::Inode, u64>>(), size_of::<sync::RwLockReadGuard<'_, u64>>());
    assert!(order::observed().is_empty());
}
