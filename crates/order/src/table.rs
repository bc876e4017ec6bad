//! The lock order, as data.
//!
//! This file is the only place where the order of locks stands.  Everything else comes from it: the
//! level types and the `Before` impls (`build.rs` writes them, with the transitive closure), the
//! ranks and the reachability that the run-time check uses, the chart, and the page in the
//! documentation.  To change the order, change [`LEVELS`] or [`EDGES`] and nothing else.
//!
//! Invariants, each tested: ranks ascend along every edge, so the order has no cycle; the two
//! branches below `Entry` never meet, so no file-system call can stand under the reverse map; a leaf
//! has no edge, since anything may be held before it and nothing is taken after it.

/// What kind of thing a level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A lock, or a logical lock (`enter`).
    Lock,
    /// A lock that may be taken under anything, and under which nothing is taken.
    Leaf,
    /// No lock: a place in the order that a token can stand for.
    Mark,
}

/// The column of the chart in which a level stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// The way that every operation goes.
    Trunk,
    /// Levels that file-system calls take.
    FileSystem,
    /// Levels that guard address translations.
    Translation,
    /// The leaves.
    Leaves,
}

/// Whether one thread may hold two locks of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    /// At most one at a time.
    Never,
    /// Together, in the order of their keys, by `read_set` or `write_set`.
    ByKey,
}

/// One level of the order.
#[derive(Clone, Copy, Debug)]
pub struct LevelRow {
    /// The name, which is also that of the type in `order::level`.
    pub name: &'static str,
    /// What there is one lock for.
    pub per: &'static str,
    /// What kind of level it is.
    pub kind: Kind,
    /// Where it stands in the chart.
    pub branch: Branch,
    /// Whether a thread may hold two.
    pub several: Several,
    /// What holding it shared means; empty if it is never shared.
    pub shared: &'static str,
    /// What holding it exclusively means; empty if it never is.
    pub exclusive: &'static str,
    /// What it is for.
    pub doc: &'static str,
}

/// One permitted nesting.
#[derive(Clone, Copy, Debug)]
pub struct EdgeRow {
    /// The level held.
    pub outer: &'static str,
    /// The level taken while it is held.
    pub inner: &'static str,
    /// The functions that nest them.
    pub by: &'static str,
}

const fn lock(name: &'static str, per: &'static str, branch: Branch, doc: &'static str) -> LevelRow {
    LevelRow { name, per, kind: Kind::Lock, branch, several: Several::Never, shared: "", exclusive: "", doc }
}

const fn mark(name: &'static str, doc: &'static str) -> LevelRow {
    LevelRow { kind: Kind::Mark, ..lock(name, "thread", Branch::Trunk, doc) }
}

const fn leaf(name: &'static str, per: &'static str, doc: &'static str) -> LevelRow {
    LevelRow { kind: Kind::Leaf, ..lock(name, per, Branch::Leaves, doc) }
}

const fn edge(outer: &'static str, inner: &'static str, by: &'static str) -> EdgeRow {
    EdgeRow { outer, inner, by }
}

/// The levels, outer to inner.  A level's rank is its place here.
pub const LEVELS: &[LevelRow] = &[
    mark("Unlocked", "the thread holds nothing; everything may follow"),
    LevelRow {
        shared: "every change",
        exclusive: "freeze or resize the pool",
        ..lock("Freeze", "pool", Branch::Trunk, "keeps changes out while the pool stands still")
    },
    LevelRow {
        exclusive: "move a directory to another parent",
        ..lock("Rename", "pool", Branch::Trunk, "keeps the tree of directories free of cycles")
    },
    LevelRow {
        several: Several::ByKey,
        shared: "read, lookup",
        exclusive: "write, changes of the namespace or the size",
        ..lock(
            "Inode",
            "inode",
            Branch::Trunk,
            "the inode's own lock; several at once by number, and names are looked up again after",
        )
    },
    mark("Fault", "a page fault begins, alone or inside a copy from or to the caller's memory"),
    LevelRow {
        shared: "every fault that may change something",
        exclusive: "freeze",
        ..lock(
            "FaultGate",
            "pool",
            Branch::Trunk,
            "freezes faults; apart from Freeze, so that a fault inside a copy never waits behind a queued freezer",
        )
    },
    LevelRow {
        several: Several::ByKey,
        shared: "fault",
        exclusive: "truncate, punch, collapse, insert, zero, clone, publish of a write",
        ..lock("Invalidate", "inode", Branch::Trunk, "keeps faults out while blocks leave the file")
    },
    LevelRow {
        exclusive: "use or change the entry",
        ..lock(
            "Entry",
            "2 MiB aligned region of a file",
            Branch::Trunk,
            "a logical lock, a bit in the entry table with waiters; taken before the block map is asked",
        )
    },
    LevelRow {
        shared: "every change of metadata",
        exclusive: "checkpoint",
        ..lock("Transaction", "pool", Branch::FileSystem, "a group of changes that become durable together")
    },
    LevelRow {
        several: Several::ByKey,
        shared: "lookup",
        exclusive: "change of the inode's record or its extent tree",
        ..lock(
            "ExtentMap",
            "inode",
            Branch::FileSystem,
            "the inode's record and its extent tree; several at once by number",
        )
    },
    LevelRow {
        exclusive: "allocate, free",
        ..lock(
            "AllocGroup",
            "group",
            Branch::FileSystem,
            "the bitmap of one group; groups are tried ascending, one at a time",
        )
    },
    LevelRow { exclusive: "commit", ..lock("JournalTail", "pool", Branch::FileSystem, "the end of the journal") },
    LevelRow {
        shared: "install, revoke, write-protect",
        exclusive: "map, unmap",
        ..lock("ReverseMap", "inode", Branch::Translation, "the windows onto a file; never around a file-system call")
    },
    LevelRow {
        exclusive: "install, revoke",
        ..lock("Window", "mapping", Branch::Translation, "the translations of one window")
    },
    leaf("EntryShard", "shard of the entry table", "entries and their waiters"),
    leaf("WaitQueue", "queue", "who waits for what"),
    leaf("InodeTable", "shard of the inode table", "inodes in memory"),
    leaf("MetaShard", "shard of the metadata cache", "metadata blocks in memory"),
    leaf("JournalState", "pool", "which records are where in the journal"),
    leaf("OrphanSet", "pool", "inodes without a name that are still open"),
    leaf("Statistics", "pool", "counters shown to people"),
    leaf("HandleTable", "session", "open files"),
    leaf("FaultQueue", "fault handler", "faults that wait for a thread"),
    leaf("Mounts", "process", "what is mounted where"),
    leaf("PoolState", "pool", "open, frozen, failed or closed"),
    leaf("PageTable", "simulated window", "translations, for the time of one access or one change"),
    leaf("WindowList", "fault handler", "which windows stand where, and which translations are the oldest"),
    leaf("Listeners", "pool", "who is told of changes"),
    leaf("Oracle", "test", "what a test expects"),
];

/// The nestings.  `Unlocked` stands before every level and every level before every leaf without an
/// edge of its own.
pub const EDGES: &[EdgeRow] = &[
    edge("Freeze", "Rename", "rename"),
    edge("Freeze", "Inode", "every change"),
    edge("Freeze", "FaultGate", "freeze"),
    edge("Freeze", "Transaction", "checkpoint, sync"),
    edge("Rename", "Inode", "rename"),
    edge("Inode", "Fault", "a fault inside a user copy"),
    edge("Inode", "Invalidate", "truncate"),
    edge("Inode", "Transaction", "every metadata change"),
    edge("Inode", "ExtentMap", "getattr, lookup"),
    edge("Fault", "FaultGate", "fault"),
    edge("FaultGate", "Invalidate", "fault"),
    edge("Invalidate", "Entry", "fault, invalidate"),
    edge("Invalidate", "Transaction", "truncate, publish"),
    edge("Invalidate", "ExtentMap", "truncate (lookup)"),
    edge("Invalidate", "ReverseMap", "revoke, map"),
    edge("Entry", "Transaction", "get_block, complete_unwritten"),
    edge("Entry", "ExtentMap", "get_block (lookup)"),
    edge("Entry", "ReverseMap", "install"),
    edge("Transaction", "ExtentMap", "every metadata change"),
    edge("Transaction", "AllocGroup", "allocate an inode"),
    edge("Transaction", "JournalTail", "checkpoint, commit"),
    edge("ExtentMap", "AllocGroup", "allocate"),
    edge("ExtentMap", "JournalTail", "commit"),
    edge("ReverseMap", "Window", "install, revoke"),
];

/// The place of a level in [`LEVELS`], which is its rank.
pub fn rank(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.name == name)
}

/// For each level the set of levels that may be taken while it is the innermost one held: bit `i`
/// stands for `LEVELS[i]`.
pub fn closure() -> Vec<u64> {
    let mut after = vec![0u64; LEVELS.len()];
    for edge in EDGES {
        let outer = rank(edge.outer).expect("an edge names a level of the table");
        let inner = rank(edge.inner).expect("an edge names a level of the table");
        assert!(outer < inner, "{} -> {} goes up", edge.outer, edge.inner);
        after[outer] |= 1 << inner;
    }
    // Edges go down, so whatever stands below is complete before it is used.
    for outer in (0..LEVELS.len()).rev() {
        for inner in outer + 1..LEVELS.len() {
            if after[outer] & (1 << inner) != 0 {
                after[outer] |= after[inner];
            }
        }
        for (inner, level) in LEVELS.iter().enumerate() {
            let everything = LEVELS[outer].name == "Unlocked" && level.name != "Unlocked";
            if everything || (LEVELS[outer].kind != Kind::Leaf && level.kind == Kind::Leaf) {
                after[outer] |= 1 << inner;
            }
        }
    }
    after
}
