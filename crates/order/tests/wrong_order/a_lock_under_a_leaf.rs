//! Nothing is taken under a leaf.
use order::{Mutex, level, unlocked};

fn main() {
    let queue = Mutex::<level::WaitQueue, ()>::new(());
    let group = Mutex::<level::AllocGroup, ()>::new(());
    let mut held = unlocked();
    let (_queue, mut held) = queue.lock(&mut held);
    let (_group, _held) = group.lock(&mut held);
}
