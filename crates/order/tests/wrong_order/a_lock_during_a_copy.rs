//! Nothing is taken while the caller's memory is copied, but by the fault itself.
use order::{RwLock, in_copy, level, unlocked};

fn main() {
    let inode = RwLock::<level::Inode, ()>::new(());
    let invalidate = RwLock::<level::Invalidate, ()>::new(());
    let mut held = unlocked();
    let (_inode, mut held) = inode.read(&mut held);
    let _copy = in_copy(&mut held);
    let (_invalidating, _held) = invalidate.write(&mut held);
}
