//! The reference model of a file system.
