//! The inode's lock stands outside of the invalidation lock.
use order::{RwLock, level, unlocked};

fn main() {
    let inode = RwLock::<level::Inode, ()>::new(());
    let invalidate = RwLock::<level::Invalidate, ()>::new(());
    let mut held = unlocked();
    let (_invalidating, mut held) = invalidate.write(&mut held);
    let (_inode, _held) = inode.read(&mut held);
}
