//! The world that all protocols share: one file, its block map, its blocks, the page cache with hole
//! pages or the table of entries, the page tables of every thread, and the stores that were made.
//!
//! The world knows no protocol and no defect. It knows what must never be, whatever the protocol:
//! these are the variants of [`Invariant`], and they are checked where they can first be broken, so
//! that the schedule that shows a defect ends at the step that does the damage.
//!
//! Each thread is a process with a mapping of its own, so page tables are indexed by thread. A page
//! has a slot per thread: each thread stores into its own slot, and therefore no store may ever make
//! another one vanish.

use std::fmt::Write as _;

use super::locks::{BadUnlock, Lock, Locks, Tid, Words};

/// Pages of the file.
pub const PAGES: usize = 2;
/// Slots of a page: one for each thread.
pub const SLOTS: usize = 3;

/// What the block map says of one page of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Nothing there: reads as zeros.
    Hole,
    /// A block whose content must not be seen yet: reads as zeros.
    Unwritten(usize),
    /// A block with data.
    Written(usize),
}

impl Extent {
    /// The block, if there is one.
    pub fn block(self) -> Option<usize> {
        match self {
            Extent::Hole => None,
            Extent::Unwritten(block) | Extent::Written(block) => Some(block),
        }
    }
}

/// A translation in the page table of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pte {
    /// None: the next access faults.
    None,
    /// Reads zeros: a hole page or the zero page.
    Zero,
    /// The block itself.
    Block {
        /// Its number.
        block: usize,
        /// Stores go through without a fault.
        writable: bool,
    },
    /// A private copy.
    Private,
}

/// What the entry table says of one page (from 4.7 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    None,
    /// The zero page is mapped.
    Zero,
    /// This block is mapped.
    Block(usize),
}

/// What must always hold. The names are the classes of failure that the explorer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// Who unlocks holds the lock.
    UnlockHeld,
    /// Who unlocks does so in the mode in which it holds.
    UnlockMode,
    /// An operation that has returned holds nothing.
    NothingKept,
    /// Nobody waits for itself.
    NoSelfWait,
    /// Nobody waits in a circle that has a page lock in it.
    NoCircleWithPage,
    /// Nobody waits in a circle that has the transaction in it.
    NoCircleWithTransaction,
    /// Nobody waits in any other circle.
    NoCircle,
    /// The tree of mappings is walked under its lock.
    WalkLocked,
    /// A completed store stays.
    StoreStays,
    /// Completed write(2) data stays.
    WriteStays,
    /// A completed store is seen through every mapping of the file.
    StoreSeen,
    /// Completed write(2) data is seen through every mapping of the file.
    WriteSeen,
    /// A translation leads to a block that the file owns at that place.
    BlockOwned,
    /// No translation to a block lies past the end of the file.
    WithinSize,
    /// No private copy comes into being past the end of the file.
    PrivateWithinSize,
    /// A store that was complete when fsync began is durable when it returns, and a store that is not
    /// durable has left a dirty mark.
    StoreFlushed,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Invariant; 16] = [
        Invariant::UnlockHeld,
        Invariant::UnlockMode,
        Invariant::NothingKept,
        Invariant::NoSelfWait,
        Invariant::NoCircleWithPage,
        Invariant::NoCircleWithTransaction,
        Invariant::NoCircle,
        Invariant::WalkLocked,
        Invariant::StoreStays,
        Invariant::WriteStays,
        Invariant::StoreSeen,
        Invariant::WriteSeen,
        Invariant::BlockOwned,
        Invariant::WithinSize,
        Invariant::PrivateWithinSize,
        Invariant::StoreFlushed,
    ];

    /// The failure's name, as the explorer's class.
    pub fn broken(self) -> &'static str {
        match self {
            Invariant::UnlockHeld => "unlock without lock",
            Invariant::UnlockMode => "unlock in the wrong mode",
            Invariant::NothingKept => "lock kept on return",
            Invariant::NoSelfWait => "deadlock with itself",
            Invariant::NoCircleWithPage => "deadlock with a page lock",
            Invariant::NoCircleWithTransaction => "deadlock with a transaction",
            Invariant::NoCircle => "deadlock",
            Invariant::WalkLocked => "mappings walked without their lock",
            Invariant::StoreStays => "lost store",
            Invariant::WriteStays => "lost write(2)",
            Invariant::StoreSeen => "stale zeros after a store",
            Invariant::WriteSeen => "stale zeros after write(2)",
            Invariant::BlockOwned => "translation to a freed block",
            Invariant::WithinSize => "translation past the end",
            Invariant::PrivateWithinSize => "private copy past the end",
            Invariant::StoreFlushed => "store not flushed",
        }
    }

    /// The invariant whose failure has this name.
    pub fn of_class(class: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|i| i.broken() == class)
    }
}

/// A broken invariant, with the circumstances in words.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// How.
    pub message: String,
}

pub(super) fn broken<T>(invariant: Invariant, message: String) -> Result<T, Violation> {
    Err(Violation { invariant, message })
}

/// The name of a thread for people.
pub(super) fn name_of(tid: Tid) -> String {
    format!("T{}", tid + 1)
}

/// A block of the pool.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The page of the file that owns it; `None` when it is free.
    pub owner: Option<usize>,
    pub content: [u32; SLOTS],
    /// The content that would survive a power cut.
    pub durable: [u32; SLOTS],
}

/// A hole page of the page cache.
#[derive(Debug, Clone)]
pub(super) struct HolePage {
    /// Still in the page cache (`page->mapping` is set).
    pub attached: bool,
}

/// A completed store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Store {
    pub value: u32,
    pub way: Way,
}

/// How data got into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a store through a mapping.
    Mapping,
    /// By write(2).
    Write,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Mapping => "store",
            Way::Write => "write(2)",
        }
    }

    fn stays(self) -> Invariant {
        match self {
            Way::Mapping => Invariant::StoreStays,
            Way::Write => Invariant::WriteStays,
        }
    }

    fn seen(self) -> Invariant {
        match self {
            Way::Mapping => Invariant::StoreSeen,
            Way::Write => Invariant::WriteSeen,
        }
    }
}

/// Everything that threads share.
#[derive(Debug)]
pub(super) struct State {
    pub words: Words,
    pub locks: Locks,
    pub size: usize,
    /// A truncate is under way: translations past the end are allowed until it returns.
    pub truncating: bool,
    pub extents: [Extent; PAGES],
    pub blocks: Vec<Block>,
    pub hole_pages: Vec<HolePage>,
    pub cache: [Option<usize>; PAGES],
    pub entries: [Entry; PAGES],
    pub dirty: [bool; PAGES],
    /// The protocol keeps dirty marks, so fsync can be held to them.
    pub keeps_marks: bool,
    pub ptes: Vec<[Pte; PAGES]>,
    /// The completed store of each slot.
    pub stores: [[Option<Store>; SLOTS]; PAGES],
    /// Every `get_block` fails.
    pub failing: bool,
    pub alive: usize,
}

impl State {
    pub fn new(words: Words, extents: [Extent; PAGES], threads: usize) -> Self {
        let mut state = Self {
            words,
            locks: Locks::default(),
            size: PAGES,
            truncating: false,
            extents: [Extent::Hole; PAGES],
            blocks: Vec::new(),
            hole_pages: Vec::new(),
            cache: [None; PAGES],
            entries: [Entry::None; PAGES],
            dirty: [false; PAGES],
            keeps_marks: false,
            ptes: vec![[Pte::None; PAGES]; threads],
            stores: [[None; SLOTS]; PAGES],
            failing: false,
            alive: threads,
        };
        for (page, extent) in extents.into_iter().enumerate() {
            if extent != Extent::Hole {
                let block = state.new_block(page);
                state.extents[page] = match extent {
                    Extent::Unwritten(_) => Extent::Unwritten(block),
                    _ => Extent::Written(block),
                };
            }
        }
        state
    }

    /// A block for `page`, all zeros. (What a block held before is not what these models are about.)
    pub fn new_block(&mut self, page: usize) -> usize {
        self.blocks.push(Block { owner: Some(page), content: [0; SLOTS], durable: [0; SLOTS] });
        self.blocks.len() - 1
    }

    /// Fills a block with zeros: must not hit a completed store.
    pub fn zero(&mut self, block: usize) -> Result<(), Violation> {
        let owner = self.blocks[block].owner;
        if let Some((slot, store)) = owner.and_then(|page| self.a_store_in(page)) {
            let (way, whose) = (store.way.name(), name_of(slot));
            let message = format!("zeroes block {block}, and with it the {way} that {whose} had completed");
            return broken(store.way.stays(), message);
        }
        self.blocks[block].content = [0; SLOTS];
        Ok(())
    }

    /// The first completed store to a page, with its slot.
    fn a_store_in(&self, page: usize) -> Option<(Tid, Store)> {
        (0..SLOTS).find_map(|slot| self.stores[page][slot].map(|store| (slot, store)))
    }

    /// Frees the block of a page: nothing may lead to it any more.
    pub fn free(&mut self, page: usize) -> Result<(), Violation> {
        let Some(block) = self.extents[page].block() else {
            return Ok(());
        };
        let leads = |pte: &[Pte; PAGES]| matches!(pte[page], Pte::Block { block: b, .. } if b == block);
        if let Some(tid) = self.ptes.iter().position(leads) {
            let whose = name_of(tid);
            let message = format!("frees block {block}, to which the page table of {whose} still leads");
            return broken(Invariant::BlockOwned, message);
        }
        self.extents[page] = Extent::Hole;
        self.blocks[block].owner = None;
        self.stores[page] = [None; SLOTS];
        self.dirty[page] = false;
        Ok(())
    }

    /// Sets a translation that was none. False when there was one already.
    pub fn insert(&mut self, tid: Tid, page: usize, pte: Pte) -> Result<bool, Violation> {
        if self.ptes[tid][page] == pte {
            return Ok(false);
        }
        let upgrade = matches!(
            (self.ptes[tid][page], pte),
            (Pte::Block { block: old, writable: false }, Pte::Block { block, writable: true }) if old == block
        );
        if self.ptes[tid][page] != Pte::None && !upgrade {
            return Ok(false);
        }
        self.may_insert(page, pte)?;
        self.ptes[tid][page] = pte;
        Ok(true)
    }

    fn may_insert(&self, page: usize, pte: Pte) -> Result<(), Violation> {
        let past_end = page >= self.size && !self.truncating;
        match pte {
            Pte::Block { block, .. } if self.blocks[block].owner != Some(page) => {
                let message = format!("maps block {block}, which was freed meanwhile");
                broken(Invariant::BlockOwned, message)
            }
            Pte::Private if past_end => {
                let message = format!("maps a private copy of page {page}, after truncate had returned");
                broken(Invariant::PrivateWithinSize, message)
            }
            Pte::Zero | Pte::Block { .. } if past_end => {
                let message = format!("maps page {page}, after truncate to {} had returned", self.size);
                broken(Invariant::WithinSize, message)
            }
            Pte::Zero => match self.a_store_in(page) {
                Some((slot, store)) => {
                    let (way, whose) = (store.way.name(), name_of(slot));
                    let message = format!("maps zeros for page {page}, where {whose} has completed a {way}");
                    broken(store.way.seen(), message)
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Takes note that a store is complete: from now on everybody must see it.
    pub fn complete(&mut self, tid: Tid, page: usize, store: Store) -> Result<(), Violation> {
        self.stores[page][tid] = Some(store);
        match self.ptes.iter().position(|pte| pte[page] == Pte::Zero) {
            Some(blind) => {
                let whose = name_of(blind);
                let way = store.way.name();
                let message = format!(
                    "has completed a {way} to page {page}, but the page table of {whose} goes on showing zeros"
                );
                broken(store.way.seen(), message)
            }
            None => Ok(()),
        }
    }

    /// A truncate has returned.
    pub fn truncated(&mut self) -> Result<(), Violation> {
        self.truncating = false;
        for page in self.size..PAGES {
            let left = |pte: &[Pte; PAGES]| matches!(pte[page], Pte::Zero | Pte::Block { .. });
            if let Some(tid) = self.ptes.iter().position(left) {
                let whose = name_of(tid);
                let message = format!("returns from truncate, and the page table of {whose} still maps page {page}");
                return broken(Invariant::WithinSize, message);
            }
            if let Some(tid) = self.ptes.iter().position(|pte| pte[page] == Pte::Private) {
                let whose = name_of(tid);
                let message = format!("returns from truncate, and {whose} keeps a private copy of page {page}");
                return broken(Invariant::PrivateWithinSize, message);
            }
        }
        Ok(())
    }

    /// An operation of `tid` has returned to its caller.
    pub fn returned(&self, tid: Tid, what: &str) -> Result<(), Violation> {
        let held = self.locks.held_by(tid);
        if held.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = held.iter().map(|lock| lock.name(self.words)).collect();
        let message = format!("returns from {what} and still holds {}", names.join(", "));
        broken(Invariant::NothingKept, message)
    }

    /// All threads are through.
    pub fn ended(&self) -> Result<(), Violation> {
        for page in 0..PAGES {
            for slot in 0..SLOTS {
                if let Some(store) = self.stores[page][slot] {
                    self.is_kept(page, slot, store)?;
                }
            }
        }
        Ok(())
    }

    /// A completed store is in the file, and durable or marked.
    fn is_kept(&self, page: usize, slot: usize, store: Store) -> Result<(), Violation> {
        let (way, whose) = (store.way.name(), name_of(slot));
        let at_end = format!("ends as the last, and the {way} of {whose} to page {page}");
        let Extent::Written(block) = self.extents[page] else {
            return broken(store.way.stays(), format!("{at_end} is not in the file"));
        };
        let block = &self.blocks[block];
        if block.content[slot] != store.value {
            return broken(store.way.stays(), format!("{at_end} is gone"));
        }
        let durable = block.durable[slot] == store.value;
        if self.keeps_marks && !durable && !self.dirty[page] {
            let message = format!("{at_end} is neither flushed nor marked dirty");
            return broken(Invariant::StoreFlushed, message);
        }
        Ok(())
    }

    /// The stores that are complete but not durable.
    pub fn unflushed(&self) -> Vec<(usize, usize, u32)> {
        let mut found = Vec::new();
        for page in 0..PAGES {
            for (slot, store) in self.stores[page].iter().enumerate() {
                if let (Some(store), Some(block)) = (store, self.extents[page].block())
                    && self.blocks[block].durable[slot] != store.value
                {
                    found.push((page, slot, store.value));
                }
            }
        }
        found
    }

    /// What a bad unlock breaks.
    pub fn bad_unlock<T>(&self, lock: Lock, bad: BadUnlock) -> Result<T, Violation> {
        let name = lock.name(self.words);
        match bad {
            BadUnlock::NotHeld => {
                let message = format!("unlocks {name}, which it never took; the next writer will hang");
                broken(Invariant::UnlockHeld, message)
            }
            BadUnlock::WrongMode => {
                let message = format!("write-unlocks {name}, which it holds for reading");
                broken(Invariant::UnlockMode, message)
            }
        }
    }

    /// What a circle of waiting breaks.
    pub fn circle<T>(&self, circle: &[(Tid, Lock)]) -> Result<T, Violation> {
        let name = |lock: &Lock| lock.name(self.words);
        let mut message = match circle.first() {
            Some((_, lock)) => format!("waits for {}", name(lock)),
            None => String::new(),
        };
        if circle.len() == 1 {
            message.push_str(", which it holds itself");
            return broken(Invariant::NoSelfWait, message);
        }
        for (tid, lock) in &circle[1..] {
            let _ = write!(message, ", {} waits for {}", name_of(*tid), name(lock));
        }
        let has = |wanted: fn(Lock) -> bool| circle.iter().any(|(_, lock)| wanted(*lock));
        let invariant = if has(|lock| matches!(lock, Lock::Page(_))) {
            Invariant::NoCircleWithPage
        } else if has(|lock| lock == Lock::Transaction) {
            Invariant::NoCircleWithTransaction
        } else {
            Invariant::NoCircle
        };
        message.push_str(": for ever");
        broken(invariant, message)
    }
}
