//! Sets are for the levels of which the table permits several.
use order::{RwLock, level, unlocked, write_set};

fn main() {
    let one = RwLock::<level::Window, ()>::new(());
    let two = RwLock::<level::Window, ()>::new(());
    let mut held = unlocked();
    let (_both, _held) = write_set(&[(1, &one), (2, &two)], &mut held);
}
