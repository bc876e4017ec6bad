//! A logical lock borrows the outer proof like a real one.
use order::{enter, level, unlocked};

fn main() {
    let mut held = unlocked();
    let (_one, _) = enter::<level::Entry, _>(&mut held, 1);
    let (_two, _) = enter::<level::Entry, _>(&mut held, 2);
}
