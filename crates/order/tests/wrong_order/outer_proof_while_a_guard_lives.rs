//! The outer proof is borrowed for as long as the inner guard lives.
use order::{RwLock, level, unlocked};

fn main() {
    let one = RwLock::<level::Inode, ()>::new(());
    let two = RwLock::<level::Inode, ()>::new(());
    let mut held = unlocked();
    let (_one, _) = one.write(&mut held);
    let (_two, _) = two.write(&mut held);
}
