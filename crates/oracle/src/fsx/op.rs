//! One operation of a run: what, where, through which view.

use engine::types::Fallocate;
use std::fmt;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `pread`, compared.
    Read,
    /// `pwrite`.
    Write,
    /// Loads through a mapping, compared.
    MappedRead,
    /// Stores through a mapping.
    MappedWrite,
    /// `ftruncate`.
    Truncate,
    /// `fallocate`.
    Fallocate(Fallocate),
    /// `msync`.
    Msync,
    /// `fsync`.
    Fsync,
    /// Close and open.
    Reopen,
    /// Reads the whole file, compared.
    Verify,
}

impl Verb {
    /// All verbs, for counting.
    pub const ALL: [Verb; 16] = [
        Verb::Read,
        Verb::Write,
        Verb::MappedRead,
        Verb::MappedWrite,
        Verb::Truncate,
        Verb::Fallocate(Fallocate::Allocate),
        Verb::Fallocate(Fallocate::AllocateKeepSize),
        Verb::Fallocate(Fallocate::Punch),
        Verb::Fallocate(Fallocate::Zero),
        Verb::Fallocate(Fallocate::ZeroKeepSize),
        Verb::Fallocate(Fallocate::Collapse),
        Verb::Fallocate(Fallocate::Insert),
        Verb::Msync,
        Verb::Fsync,
        Verb::Reopen,
        Verb::Verify,
    ];

    /// A short name for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Read => "read",
            Verb::Write => "write",
            Verb::MappedRead => "mapped_read",
            Verb::MappedWrite => "mapped_write",
            Verb::Truncate => "truncate",
            Verb::Fallocate(Fallocate::Allocate) => "allocate",
            Verb::Fallocate(Fallocate::AllocateKeepSize) => "allocate_keep_size",
            Verb::Fallocate(Fallocate::Punch) => "punch",
            Verb::Fallocate(Fallocate::Zero) => "zero",
            Verb::Fallocate(Fallocate::ZeroKeepSize) => "zero_keep_size",
            Verb::Fallocate(Fallocate::Collapse) => "collapse",
            Verb::Fallocate(Fallocate::Insert) => "insert",
            Verb::Msync => "msync",
            Verb::Fsync => "fsync",
            Verb::Reopen => "reopen",
            Verb::Verify => "verify",
        }
    }

    /// The place of this verb in [`Verb::ALL`].
    pub(super) fn index(self) -> usize {
        Verb::ALL.iter().position(|&verb| verb == self).expect("ALL has every verb")
    }

    /// What a view must offer for it; nothing for what every view has.
    pub(super) fn feature(self) -> Option<Feature> {
        match self {
            Verb::MappedRead => Some(Feature::MappedRead),
            Verb::MappedWrite | Verb::Msync => Some(Feature::MappedWrite),
            Verb::Fallocate(mode) => Some(Feature::Fallocate(mode)),
            _ => None,
        }
    }
}

/// What a view may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Loads through a mapping.
    MappedRead,
    /// Stores through a shared mapping.
    MappedWrite,
    /// A mode of `fallocate`.
    Fallocate(Fallocate),
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Feature::MappedRead => "mapped_read",
            Feature::MappedWrite => "mapped_write",
            Feature::Fallocate(mode) => Verb::Fallocate(*mode).name(),
        })
    }
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// What it does.
    pub verb: Verb,
    /// Index of the view it goes through.
    pub view: usize,
    /// First byte; the new size for a truncate.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}
