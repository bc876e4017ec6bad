//! The two branches never meet: a file-system call does not touch translations either.
use order::{RwLock, level, unlocked};

fn main() {
    let transaction = RwLock::<level::Transaction, ()>::new(());
    let reverse_map = RwLock::<level::ReverseMap, ()>::new(());
    let mut held = unlocked();
    let (_transaction, mut held) = transaction.read(&mut held);
    let (_windows, _held) = reverse_map.write(&mut held);
}
