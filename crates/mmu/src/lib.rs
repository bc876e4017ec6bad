//! Address translation: what lies between a program's loads and stores and the pool's memory.
//!
//! The engine decides what each page of a window may be translated to; this crate makes it so, behind
//! the engine's trait `Mmu`. [`soft`] simulates windows, so that the engine's fault path can be run
//! under every schedule and without a kernel. [`window`] makes real ones over userfaultfd.
#![forbid(unsafe_code)]

pub mod soft;
#[cfg(not(shuttle))]
pub mod window;
