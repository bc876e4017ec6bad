//! The pool's memory.
