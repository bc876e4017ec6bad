//! A fault may stand inside a copy, where an inode is locked already.
use order::{RwLock, fault_root, level};

fn main() {
    let inode = RwLock::<level::Inode, ()>::new(());
    let mut held = fault_root();
    let (_inode, _held) = inode.read(&mut held);
}
