//! A thread holds at most one entry.
use order::{enter, level, unlocked};

fn main() {
    let mut held = unlocked();
    let (_one, mut held) = enter::<level::Entry, _>(&mut held, 1);
    let (_two, _held) = enter::<level::Entry, _>(&mut held, 2);
}
