//! Two inodes are locked by `write_set`, which sorts them.
use order::{RwLock, level, unlocked};

fn main() {
    let one = RwLock::<level::Inode, ()>::new(());
    let two = RwLock::<level::Inode, ()>::new(());
    let mut held = unlocked();
    let (_one, mut held) = one.write(&mut held);
    let (_two, _held) = two.write(&mut held);
}
