//! The engine: a file system and its fault path over a pool of byte-addressable memory.
//!
//! Three parts, and information flows one way between them: block map -> entry -> translation.
//!
//! * [`meta`]: metadata. A private view of the pool's inodes and tree nodes, transactions, the journal, allocation, recovery.
//! * [`fs`]: files. Names, sizes, reads, writes, block maps. Every operation is one transaction of `meta`.
//! * [`dax`]: mappings. Entries, faults, invalidation, writeback. It asks `fs` for blocks through `BlockMap`
//!   and changes page tables through `Mmu`; it knows neither transactions nor names.
//!
//! Nothing here makes a system call. Every lock comes from `order`, whose table is the only statement of their order,
//! so the same code runs under shuttle, where every interleaving of a small scenario is tried.
#![forbid(unsafe_code)]

pub mod dax;
pub mod error;
pub mod fs;
pub mod meta;
pub mod types;

pub use error::FsError;
