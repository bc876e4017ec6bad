//! What a crate needs besides locks in order to run under the model checker.
//!
//! Crates that are explored take atomics, threads and thread-local values from here.  With
//! `--cfg shuttle` they are the model checker's, and work only inside one of its executions.
//! `OnceLock` is always that of `std`: its initialiser must not wait for another thread.

pub use std::sync::OnceLock;

#[cfg(not(shuttle))]
pub use std::{
    sync::{Arc, Weak, atomic},
    thread, thread_local,
};

#[cfg(shuttle)]
pub use shuttle::{
    sync::{Arc, Weak, atomic},
    thread, thread_local,
};

#[cfg(not(shuttle))]
pub(crate) use std::sync as raw;

#[cfg(shuttle)]
pub(crate) use shuttle::sync as raw;
