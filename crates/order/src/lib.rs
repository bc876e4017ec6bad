//! The lock model.
