//! On what the work is done: directories through system calls, pools through the library, mappings of either.

pub(crate) mod directory;
mod huge;
pub(crate) mod library;

use std::io;

use crate::work::{Sizes, Work};

pub(crate) use directory::DirectorySubject;
pub(crate) use huge::HugeSubject;
pub(crate) use library::LibrarySubject;

/// How long one piece of work took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// Nanoseconds.
    pub nanos: f64,
    /// Operations.
    pub ops: u64,
}

impl Measured {
    pub(crate) fn nanos_per_op(self) -> f64 {
        self.nanos / self.ops.max(1) as f64
    }
}

/// Something that the work can be done on. What it is called names its rows.
pub trait Subject {
    /// A name for the report, unique in a run.
    fn name(&self) -> &str;
    /// Whether this work can be done on it.
    fn offers(&self, work: Work) -> bool;
    /// The name of the subject that this work on this subject is compared with, if there is one in the run.
    fn compared_with(&self, work: Work) -> Option<&str>;
    /// Does one round and says nanoseconds for each operation.
    ///
    /// # Errors
    /// What the file system answers.
    fn round(&mut self, work: Work, sizes: &Sizes) -> io::Result<f64>;
}

/// The names of what subjects are compared with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bases {
    /// System calls on the first directory on tmpfs.
    pub tmpfs_calls: Option<String>,
    /// A mapping of a file there.
    pub tmpfs_mapping: Option<String>,
    /// A mapping of hugetlbfs.
    pub hugetlbfs: Option<String>,
    /// The FUSE file system that serves from memory.
    pub memory_fs: Option<String>,
}

/// Whether the work reaches the file through a mapping.
pub(crate) fn maps(work: Work) -> bool {
    matches!(work, Work::Touch | Work::FirstStore | Work::FirstStoreRandom)
}

/// Whether the work is reads or overwrites at random places.
pub(crate) fn is_access(work: Work) -> bool {
    is_read(work) || is_overwrite(work)
}

pub(crate) fn is_read(work: Work) -> bool {
    matches!(work, Work::Read64 | Work::Read4k | Work::Read64Small | Work::Read4kSmall)
}

pub(crate) fn is_overwrite(work: Work) -> bool {
    matches!(work, Work::Overwrite64 | Work::Overwrite4k | Work::Overwrite64Small | Work::Overwrite4kSmall)
}

/// Places for random accesses: aligned to the access, the same for every subject.
pub(crate) fn places(work: Work, sizes: &Sizes) -> Vec<u64> {
    let bytes = work.access_bytes() as u64;
    let file = if work.is_small() { sizes.small_bytes } else { sizes.large_bytes };
    let mut random = crate::random::Random::new(42);
    (0..sizes.accesses).map(|_| random.below(file / bytes) * bytes).collect()
}

/// Times `each` over `items`, looking at the clock now and then to cut a round short.
pub(crate) fn time<T>(items: &[T], sizes: &Sizes, mut each: impl FnMut(&T) -> io::Result<()>) -> io::Result<Measured> {
    let start = std::time::Instant::now();
    let mut ops = 0;
    for piece in items.chunks(64) {
        for item in piece {
            each(item)?;
        }
        ops += piece.len() as u64;
        if start.elapsed().as_millis() as u64 > sizes.round_ms_max {
            break;
        }
    }
    Ok(Measured { nanos: start.elapsed().as_nanos() as f64, ops })
}

/// The offsets of all pages of the large file.
pub(crate) fn pages(sizes: &Sizes) -> Vec<u64> {
    (0..sizes.large_bytes / 4096).map(|page| page * 4096).collect()
}

/// Some of them, in random order.
pub(crate) fn random_pages(sizes: &Sizes) -> Vec<u64> {
    let mut order = crate::random::Random::new(7).order(sizes.large_bytes / 4096);
    order.truncate(sizes.random_pages as usize);
    order.into_iter().map(|page| page * 4096).collect()
}

/// The error for a work that a subject does not offer.
pub(crate) fn not_offered() -> io::Error {
    io::Error::from(io::ErrorKind::Unsupported)
}
