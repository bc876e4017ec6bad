//! What is measured: each kind of work, its sizes, and what one operation of it is.

use serde::Serialize;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Reads 64 bytes at random places of the large file.
    Read64,
    /// Reads 4 KiB at random places of the large file.
    Read4k,
    /// Writes 64 bytes over what is there, at random places of the large file.
    Overwrite64,
    /// Writes 4 KiB over what is there, at random places of the large file.
    Overwrite4k,
    /// Reads 64 bytes at random places of a file that fits the processor's cache.
    Read64Small,
    /// Reads 4 KiB at random places of a file that fits the processor's cache.
    Read4kSmall,
    /// Writes 64 bytes over what is there in a file that fits the processor's cache.
    Overwrite64Small,
    /// Writes 4 KiB over what is there in a file that fits the processor's cache.
    Overwrite4kSmall,
    /// Creates an empty file and removes it.
    CreateUnlink,
    /// Appends 4 KiB and makes it durable.
    AppendSync,
    /// Maps the large file anew and loads a word of each page; an operation is a page, mapping and unmapping included.
    Touch,
    /// Maps a new sparse file and stores a word to each page in order; an operation is a page.
    FirstStore,
    /// Maps a new sparse file and stores a word to pages in random order; an operation is a page.
    FirstStoreRandom,
    /// Reads 4 KiB at random places past the kernel's cache, so that each is a request to the file system.
    Request4k,
    /// Reads the large file from start to end with nothing in the kernel's cache; an operation is 1 MiB.
    Stream,
}

impl Work {
    /// All, in the order of the report.
    pub const ALL: [Work; 15] = [
        Work::Read64,
        Work::Read4k,
        Work::Overwrite64,
        Work::Overwrite4k,
        Work::Read64Small,
        Work::Read4kSmall,
        Work::Overwrite64Small,
        Work::Overwrite4kSmall,
        Work::CreateUnlink,
        Work::AppendSync,
        Work::Touch,
        Work::FirstStore,
        Work::FirstStoreRandom,
        Work::Request4k,
        Work::Stream,
    ];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Work::Read64 => "random read, 64 B",
            Work::Read4k => "random read, 4 KiB",
            Work::Overwrite64 => "random overwrite, 64 B",
            Work::Overwrite4k => "random overwrite, 4 KiB",
            Work::Read64Small => "random read, 64 B, small file",
            Work::Read4kSmall => "random read, 4 KiB, small file",
            Work::Overwrite64Small => "random overwrite, 64 B, small file",
            Work::Overwrite4kSmall => "random overwrite, 4 KiB, small file",
            Work::CreateUnlink => "create and unlink an empty file",
            Work::AppendSync => "append 4 KiB and fsync",
            Work::Touch => "load each page through a fresh mapping, per page",
            Work::FirstStore => "first store to a hole, in order, per page",
            Work::FirstStoreRandom => "first store to a hole, random order, per page",
            Work::Request4k => "random read, 4 KiB, past the kernel's cache",
            Work::Stream => "read in order, nothing cached, per MiB",
        }
    }

    /// For programs and the command line.
    pub fn name(self) -> &'static str {
        match self {
            Work::Read64 => "read64",
            Work::Read4k => "read4k",
            Work::Overwrite64 => "overwrite64",
            Work::Overwrite4k => "overwrite4k",
            Work::Read64Small => "read64_small",
            Work::Read4kSmall => "read4k_small",
            Work::Overwrite64Small => "overwrite64_small",
            Work::Overwrite4kSmall => "overwrite4k_small",
            Work::CreateUnlink => "create_unlink",
            Work::AppendSync => "append_sync",
            Work::Touch => "touch",
            Work::FirstStore => "first_store",
            Work::FirstStoreRandom => "first_store_random",
            Work::Request4k => "request4k",
            Work::Stream => "stream",
        }
    }

    /// Bytes of each access of the works that read or overwrite at random places.
    pub(crate) fn access_bytes(self) -> usize {
        match self {
            Work::Read64 | Work::Overwrite64 | Work::Read64Small | Work::Overwrite64Small => 64,
            _ => 4096,
        }
    }

    /// Whether it is done on the small file.
    pub(crate) fn is_small(self) -> bool {
        matches!(self, Work::Read64Small | Work::Read4kSmall | Work::Overwrite64Small | Work::Overwrite4kSmall)
    }
}

/// How large, how many, how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes in the large file, a multiple of 2 MiB.
    pub large_bytes: u64,
    /// Bytes in the small file.
    pub small_bytes: u64,
    /// Accesses in a round of random reads or overwrites.
    pub accesses: u64,
    /// Files in a round of creating.
    pub files: u64,
    /// Appends in a round.
    pub appends: u64,
    /// Pages in a round of random first stores.
    pub random_pages: u64,
    /// Rounds.
    pub rounds: u32,
    /// A round is cut short after this time, in milliseconds.
    pub round_ms_max: u64,
}

impl Sizes {
    /// What the figures are made with: 256 MiB.
    pub const FULL: Sizes = Sizes {
        large_bytes: 256 << 20,
        small_bytes: 512 << 10,
        accesses: 40_000,
        files: 2000,
        appends: 1000,
        random_pages: 8192,
        rounds: 5,
        round_ms_max: 2000,
    };

    /// Seconds instead of minutes, to see that everything runs; the ratios are rough.
    pub const QUICK: Sizes = Sizes {
        large_bytes: 16 << 20,
        small_bytes: 64 << 10,
        accesses: 500,
        files: 50,
        appends: 20,
        random_pages: 128,
        rounds: 2,
        round_ms_max: 500,
    };
}
