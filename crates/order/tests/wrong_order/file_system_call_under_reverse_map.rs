//! A file-system call asks for the proof that a transaction may begin; under the reverse map there is none.
use order::{Before, Held, RwLock, level, unlocked};

fn get_block<P: Before<level::Transaction>>(_held: &mut Held<'_, P>) {}

fn main() {
    let reverse_map = RwLock::<level::ReverseMap, ()>::new(());
    let mut held = unlocked();
    let (_windows, mut held) = reverse_map.read(&mut held);
    get_block(&mut held);
}
