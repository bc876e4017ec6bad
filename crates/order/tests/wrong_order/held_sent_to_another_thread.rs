//! A proof is about one thread.
use order::unlocked;

fn main() {
    let held = unlocked();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(held));
    });
}
