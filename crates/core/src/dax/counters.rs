//! Counts of what the fault path did.
//!
//! No decision reads them, so they are plain atomics of `std`: under the model checker they are no
//! scheduling points, and do not multiply the schedules.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a fault met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A load from a hole or an unwritten block: zeros.
    HoleRead,
    /// A store to a hole: a new block.
    HoleWrite,
    /// A store to an unwritten block, which became a written one.
    UnwrittenWrite,
    /// A load from a block.
    WrittenRead,
    /// A store to a block.
    WrittenWrite,
    /// A store through a private window: a copy of the process's own.
    PrivateCopy,
    /// An access past the end of the file.
    PastEnd,
}

const KINDS: usize = 7;

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; KINDS] = [
        Self::HoleRead,
        Self::HoleWrite,
        Self::UnwrittenWrite,
        Self::WrittenRead,
        Self::WrittenWrite,
        Self::PrivateCopy,
        Self::PastEnd,
    ];

    /// For people, after a count: "12 loads from holes".
    pub const fn name(self) -> &'static str {
        match self {
            Self::HoleRead => "loads from holes",
            Self::HoleWrite => "stores to holes",
            Self::UnwrittenWrite => "stores to unwritten blocks",
            Self::WrittenRead => "loads from blocks",
            Self::WrittenWrite => "stores to blocks",
            Self::PrivateCopy => "private copies",
            Self::PastEnd => "accesses past the end",
        }
    }
}

/// The counters, since the file system was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// Faults by kind, in the order of [`FaultKind`].
    faults: [u64; KINDS],
    /// Faults answered with an error other than past the end.
    pub failed: u64,
    /// Faults that translated 2 MiB as one.
    pub huge: u64,
    /// Pages translated by faults.
    pub pages_served: u64,
    /// Pages translated when their window was attached.
    pub pages_eager: u64,
    /// Calls that revoked translations.
    pub revocations: u64,
    /// Calls that write-protected translations.
    pub write_protections: u64,
    /// Pages flushed.
    pub pages_flushed: u64,
}

impl CounterValues {
    /// How many faults of this kind were served.
    pub fn faults(&self, kind: FaultKind) -> u64 {
        self.faults[kind as usize]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    faults: [AtomicU64; KINDS],
    pub failed: Count,
    pub huge: Count,
    pub pages_served: Count,
    pub pages_eager: Count,
    pub revocations: Count,
    pub write_protections: Count,
    pub pages_flushed: Count,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(crate) fn fault(&self, kind: FaultKind) {
        self.faults[kind as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn values(&self) -> CounterValues {
        CounterValues {
            faults: std::array::from_fn(|kind| self.faults[kind].load(Relaxed)),
            failed: self.failed.get(),
            huge: self.huge.get(),
            pages_served: self.pages_served.get(),
            pages_eager: self.pages_eager.get(),
            revocations: self.revocations.get(),
            write_protections: self.write_protections.get(),
            pages_flushed: self.pages_flushed.get(),
        }
    }
}
