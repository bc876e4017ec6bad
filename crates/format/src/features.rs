//! Feature words: what a later version may add without breaking this one.
//!
//! `compat`: ignore what is unknown. `ro_compat`: with an unknown bit the pool may be read, not changed. `incompat`: with
//! an unknown bit it may not be opened. This version knows no bits. The version number changes only if even the superblock
//! changes its shape.

use crate::error::{FormatError, ensure};

/// The version of the format.
pub const VERSION: u32 = 1;
/// Known bits of the `compat` word.
pub const COMPAT_KNOWN: u64 = 0;
/// Known bits of the `ro_compat` word.
pub const RO_COMPAT_KNOWN: u64 = 0;
/// Known bits of the `incompat` word.
pub const INCOMPAT_KNOWN: u64 = 0;

/// How a pool may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Openable {
    /// For reading and writing.
    ReadWrite,
    /// For reading only: it has features that a writer must know.
    ReadOnly,
}

/// Whether and how this version may open a pool with these words.
pub fn check(version: u32, ro_compat: u64, incompat: u64) -> Result<Openable, FormatError> {
    let (what, place) = ("superblock", "block 0");
    ensure!(version != 0, what, place, "version is 0");
    ensure!(version <= VERSION, what, place, "a newer format version: {version}, this program knows {VERSION}");
    let unknown = incompat & !INCOMPAT_KNOWN;
    ensure!(unknown == 0, what, place, "a newer format version: unknown features {unknown:#x}");
    Ok(if ro_compat & !RO_COMPAT_KNOWN == 0 { Openable::ReadWrite } else { Openable::ReadOnly })
}
