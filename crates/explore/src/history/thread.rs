//! The steps of a thread in the simulated world.
//!
//! Each method is one atomic step: the explorer may let another thread run before it, never in the
//! middle. Letting a lock go is no step of its own: to do it later hides nothing, since whoever waits
//! for the lock could have begun to wait before. That is Lipton's observation about left movers, and
//! it halves the length of a schedule.
//!
//! A method says in words what it did, for the chart; the words are built only when recorded.

use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
use shuttle::thread::JoinHandle;

use super::locks::{Lock, Tid};
use super::world::{Entry, Extent, Invariant, PAGES, Pte, State, Store, Violation, Way, broken, name_of};
use crate::bounded::{fail, set_uninterrupted};
use crate::trace::{self, Mode, What};

/// A `get_block` failed: a media error, or no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// Who fills a new block with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroing {
    /// The file system, inside the allocation.
    Inside,
    /// The caller, some time later; until then the extent is unwritten.
    Later,
}

/// What a write(2) does to entries that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// All go.
    All,
    /// Dirty ones stay.
    KeepDirty,
}

/// The shared state and the means to wait.
pub(super) struct World {
    state: Mutex<State>,
    wakers: Vec<Condvar>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl World {
    pub fn new(state: State) -> Arc<Self> {
        let wakers = state.ptes.iter().map(|_| Condvar::new()).collect();
        Arc::new(Self { state: Mutex::new(state), wakers, workers: Mutex::new(Vec::new()) })
    }

    /// Keeps the handle of a thread: a thread whose handle is gone is not waited for.
    pub fn keep(&self, worker: JoinHandle<()>) {
        if let Ok(mut workers) = self.workers.lock() {
            workers.push(worker);
        }
    }
}

/// A thread: who it is, and the world it acts in.
pub struct Thread {
    world: Arc<World>,
    id: Tid,
}

impl Thread {
    pub(super) fn new(world: &Arc<World>, id: Tid) -> Self {
        Self { world: Arc::clone(world), id }
    }

    fn enter(&self) -> MutexGuard<'_, State> {
        let guard = self.world.state.lock();
        set_uninterrupted(true);
        guard.unwrap_or_else(|_| unreachable!("no step panics"))
    }

    fn leave<R>(&self, guard: MutexGuard<'_, State>, result: Result<R, Violation>) -> R {
        drop(guard);
        set_uninterrupted(false);
        match result {
            Ok(result) => result,
            Err(Violation { invariant, message }) => {
                let message = format!("{} {message}", name_of(self.id));
                trace::record(self.id, || What::Defect(message.clone()));
                fail(invariant.broken(), &message)
            }
        }
    }

    /// One step.
    fn step<R>(&self, act: impl FnOnce(&mut State) -> Result<R, Violation>) -> R {
        let mut guard = self.enter();
        let result = act(&mut guard);
        self.leave(guard, result)
    }

    /// Part of the step before.
    fn now<R>(&self, act: impl FnOnce(&mut State) -> Result<R, Violation>) -> R {
        set_uninterrupted(true);
        self.step(act)
    }

    fn says(&self, words: impl FnOnce() -> String) {
        trace::record(self.id, || What::Step(words()));
    }

    /// Says something that is worth a line of the chart and is no step.
    pub fn remark(&self, words: &str) {
        trace::record(self.id, || What::Note(words.to_owned()));
    }

    // Locks

    /// Waits for a lock and takes it.
    pub fn lock(&self, lock: Lock, mode: Mode) {
        self.lock_and(lock, mode, |_| ());
    }

    /// Takes a lock and looks at something in the same step.
    fn lock_and<R>(&self, lock: Lock, mode: Mode, look: impl FnOnce(&mut State) -> R) -> R {
        let mut guard = self.enter();
        let mut told = false;
        while !guard.locks.take(lock, mode, self.id) {
            let words = guard.words;
            if !std::mem::replace(&mut told, true) {
                trace::record(self.id, || What::Wait { lock: lock.name(words), mode });
            }
            if let Some(circle) = guard.locks.circle(self.id) {
                let result = guard.circle(&circle);
                return self.leave(guard, result);
            }
            let woken = self.world.wakers[self.id].wait(guard);
            set_uninterrupted(true);
            guard = woken.unwrap_or_else(|_| unreachable!("no step panics"));
        }
        let words = guard.words;
        trace::record(self.id, || What::Take { lock: lock.name(words), mode });
        self.wake(&guard, lock);
        let result = look(&mut guard);
        self.leave(guard, Ok(result))
    }

    fn wake(&self, state: &State, lock: Lock) {
        for tid in state.locks.ready(lock) {
            self.world.wakers[tid].notify_one();
        }
    }

    /// Lets a lock go, whether it is held or not: the world finds out.
    pub fn unlock(&self, lock: Lock, mode: Mode) {
        self.now(|state| {
            if let Err(bad) = state.locks.release(lock, mode, self.id) {
                return state.bad_unlock(lock, bad);
            }
            let words = state.words;
            trace::record(self.id, || What::Release { lock: lock.name(words) });
            self.wake(state, lock);
            Ok(())
        });
    }

    /// Locks a hole page; true when it is still in the page cache.
    pub fn lock_page(&self, page: usize) -> bool {
        let look = |state: &mut State| state.hole_pages[page].attached;
        let attached = self.lock_and(Lock::Page(page), Mode::Exclusive, look);
        if !attached {
            self.says(|| "the page has left the cache: try again".to_owned());
        }
        attached
    }

    /// Unlocks a hole page.
    pub fn unlock_page(&self, page: usize) {
        self.unlock(Lock::Page(page), Mode::Exclusive);
    }

    /// Locks an entry; the hole page that is in the cache at that moment, if any.
    pub fn lock_entry(&self, index: usize) -> Option<usize> {
        self.lock_and(Lock::Entry(index), Mode::Exclusive, |state| state.cache[index])
    }

    /// Unlocks an entry.
    pub fn unlock_entry(&self, index: usize) {
        self.unlock(Lock::Entry(index), Mode::Exclusive);
    }

    // Size and block map

    /// Reads the size of the file; true when page `index` lies within.
    pub fn within_size(&self, index: usize) -> bool {
        self.step(|state| {
            let within = index < state.size;
            let end = if within { "within" } else { "past" };
            self.says(|| format!("reads i_size: page {index} is {end} the end"));
            Ok(within)
        })
    }

    /// Writes the size; a truncate is under way from here on.
    pub fn set_size(&self, pages: usize) {
        self.step(|state| {
            state.size = pages;
            state.truncating = true;
            self.says(|| format!("sets i_size to {pages} pages"));
            Ok(())
        });
    }

    /// `get_block` without leave to allocate.
    pub fn look_up(&self, index: usize) -> Result<Extent, Failed> {
        self.step(|state| {
            if state.failing {
                self.says(|| format!("get_block({index}): error"));
                return Ok(Err(Failed));
            }
            let extent = state.extents[index];
            self.says(|| format!("get_block({index}): {}", describe(extent)));
            Ok(Ok(extent))
        })
    }

    /// `get_block` with leave to allocate: a transaction. Returns the extent as the caller sees it;
    /// unwritten means that the caller has to zero and convert.
    pub fn allocate(&self, index: usize, zeroing: Zeroing) -> Result<Extent, Failed> {
        self.lock(Lock::Transaction, Mode::Exclusive);
        let extent = self.step(|state| {
            if state.failing {
                self.says(|| format!("get_block({index}, create): error"));
                return Ok(Err(Failed));
            }
            let block = match state.extents[index] {
                Extent::Hole => state.new_block(index),
                Extent::Unwritten(block) | Extent::Written(block) => block,
            };
            let extent = match (state.extents[index], zeroing) {
                (Extent::Hole | Extent::Unwritten(_), Zeroing::Later) => Extent::Unwritten(block),
                (Extent::Hole | Extent::Unwritten(_), Zeroing::Inside) => {
                    state.zero(block)?;
                    Extent::Written(block)
                }
                (written, _) => written,
            };
            state.extents[index] = extent;
            self.says(|| format!("get_block({index}, create): {}", describe(extent)));
            Ok(Ok(extent))
        });
        self.unlock(Lock::Transaction, Mode::Exclusive);
        extent
    }

    /// `complete_unwritten`: a transaction.
    pub fn convert(&self, index: usize) {
        self.lock(Lock::Transaction, Mode::Exclusive);
        self.step(|state| {
            if let Extent::Unwritten(block) = state.extents[index] {
                state.extents[index] = Extent::Written(block);
            }
            self.says(|| format!("complete_unwritten({index})"));
            Ok(())
        });
        self.unlock(Lock::Transaction, Mode::Exclusive);
    }

    /// Fills the block of an extent with zeros.
    pub fn zero(&self, extent: Extent) {
        if let Some(block) = extent.block() {
            self.step(|state| {
                self.says(|| format!("zeroes block {block}"));
                state.zero(block)
            });
        }
    }

    /// Frees the blocks of these pages. The transaction is the caller's.
    pub fn free(&self, pages: std::ops::Range<usize>) {
        self.step(|state| {
            for page in pages.clone() {
                state.free(page)?;
            }
            self.says(|| format!("frees the blocks of pages {}..{}", pages.start, pages.end));
            Ok(())
        });
    }

    /// Truncate is through, up to its unlocks.
    pub fn truncated(&self) {
        self.now(State::truncated);
    }

    // Page cache and entries

    /// Looks for a hole page.
    pub fn find_page(&self, index: usize) -> Option<usize> {
        self.step(|state| {
            let page = state.cache[index];
            self.says(|| match page {
                Some(page) => format!("finds hole page {} in the cache", page + 1),
                None => "finds no page in the cache".to_owned(),
            });
            Ok(page)
        })
    }

    /// Looks for a hole page and locks it, if there is one.
    pub fn find_lock_page(&self, index: usize) -> Option<usize> {
        loop {
            let page = self.find_page(index)?;
            if self.lock_page(page) {
                return Some(page);
            }
            self.unlock_page(page);
        }
    }

    /// Finds or makes the hole page of this index, and locks it.
    pub fn make_page(&self, index: usize) -> usize {
        loop {
            let (page, made) = self.step(|state| {
                if let Some(page) = state.cache[index] {
                    return Ok((page, false));
                }
                let page = state.hole_pages.len();
                state.hole_pages.push(super::world::HolePage { attached: true });
                state.cache[index] = Some(page);
                self.says(|| format!("puts hole page {} into the cache", page + 1));
                let free = state.locks.take(Lock::Page(page), Mode::Exclusive, self.id);
                debug_assert!(free, "a new page is locked by nobody");
                let words = state.words;
                trace::record(self.id, || What::Take { lock: Lock::Page(page).name(words), mode: Mode::Exclusive });
                Ok((page, true))
            });
            if made || self.lock_page(page) {
                return page;
            }
            self.unlock_page(page);
        }
    }

    /// Takes a hole page out of the cache.
    pub fn delete_page(&self, index: usize, page: usize) {
        self.step(|state| {
            state.hole_pages[page].attached = false;
            if state.cache[index] == Some(page) {
                state.cache[index] = None;
            }
            self.says(|| format!("takes hole page {} out of the cache", page + 1));
            Ok(())
        });
    }

    /// Sets the entry of a page.
    pub fn set_entry(&self, index: usize, entry: Entry) {
        self.step(|state| {
            state.entries[index] = entry;
            self.says(|| match entry {
                Entry::None => format!("entry {index} := none"),
                Entry::Zero => format!("entry {index} := zero page"),
                Entry::Block(block) => format!("entry {index} := block {block}"),
            });
            Ok(())
        });
    }

    /// Sets the entry to a block; the dirty mark and the translation change in the same step, as
    /// under a lock that all three belong to.
    pub fn publish(&self, index: usize, block: usize, writable: bool) {
        self.step(|state| {
            state.entries[index] = Entry::Block(block);
            state.dirty[index] |= writable;
            self.says(|| format!("maps block {block}; entry {index} := block {block}"));
            state.insert(self.id, index, Pte::Block { block, writable })?;
            Ok(())
        });
    }

    /// Removes an entry on behalf of write(2). The entry lock is the caller's.
    pub fn discard_entry(&self, index: usize, discard: Discard) {
        self.step(|state| {
            if discard == Discard::KeepDirty && state.dirty[index] {
                self.says(|| format!("keeps entry {index}: it is dirty"));
                return Ok(());
            }
            state.entries[index] = Entry::None;
            state.dirty[index] = false;
            self.says(|| format!("deletes entry {index}"));
            Ok(())
        });
    }

    // Translations

    /// Sets a translation in this thread's page table. One that is there already stays: the access
    /// is tried again.
    pub fn map(&self, index: usize, pte: Pte) {
        self.step(|state| {
            self.says(|| match pte {
                Pte::None => format!("unmaps page {index}"),
                Pte::Zero => format!("maps zeros for page {index}"),
                Pte::Block { block, .. } => format!("maps block {block} for page {index}"),
                Pte::Private => format!("maps a private copy of page {index}"),
            });
            state.insert(self.id, index, pte)?;
            Ok(())
        });
    }

    /// Removes the translations of these pages from every page table. Needs the reverse map.
    pub fn zap(&self, pages: std::ops::Range<usize>) {
        self.step(|state| {
            if !state.locks.holds(self.id, Lock::ReverseMap) {
                let message = "walks the tree of mappings without its lock".to_owned();
                return broken(Invariant::WalkLocked, message);
            }
            for ptes in &mut state.ptes {
                ptes[pages.clone()].fill(Pte::None);
            }
            self.says(|| format!("unmaps pages {}..{} everywhere", pages.start, pages.end));
            Ok(())
        });
    }

    /// Takes the right to write from every translation of a page. Needs the reverse map.
    pub fn write_protect(&self, index: usize) {
        self.step(|state| {
            for ptes in &mut state.ptes {
                if let Pte::Block { writable, .. } = &mut ptes[index] {
                    *writable = false;
                }
            }
            self.says(|| format!("write-protects page {index} everywhere"));
            Ok(())
        });
    }

    // What the program does

    /// Loads from a page. True when it went through, false when it faulted.
    pub fn load(&self, index: usize) -> bool {
        if self.now(|state| Ok(state.ptes[self.id][index] == Pte::None)) {
            return false;
        }
        self.step(|state| {
            let mapped = state.ptes[self.id][index] != Pte::None;
            if mapped {
                self.says(|| format!("the load from page {index} goes through"));
            }
            Ok(mapped)
        })
    }

    /// Stores to a page. True when it went through, false when it faulted.
    pub fn store(&self, index: usize, value: u32) -> bool {
        let writable = |pte: Pte| matches!(pte, Pte::Block { writable: true, .. });
        if self.now(|state| Ok(!writable(state.ptes[self.id][index]))) {
            return false;
        }
        self.step(|state| {
            let Pte::Block { block, writable: true } = state.ptes[self.id][index] else {
                return Ok(false);
            };
            state.blocks[block].content[self.id] = value;
            self.says(|| format!("the store of {value} to page {index} goes through"));
            let way = Way::Mapping;
            state.complete(self.id, index, Store { value, way })?;
            Ok(true)
        })
    }

    /// The copy of write(2) into the block of a page. It is durable at once, as Linux's is.
    pub fn copy_in(&self, index: usize, value: u32) {
        self.step(|state| {
            if let Some(block) = state.extents[index].block() {
                state.blocks[block].content[self.id] = value;
                state.blocks[block].durable[self.id] = value;
            }
            self.says(|| format!("write(2) copies {value} into page {index}"));
            Ok(())
        });
    }

    /// write(2) copies into a reserved block, which is in no map yet; its number.
    pub fn copy_aside(&self, index: usize, value: u32) -> usize {
        self.step(|state| {
            let block = state.new_block(index);
            state.blocks[block].owner = None;
            state.blocks[block].content[self.id] = value;
            state.blocks[block].durable[self.id] = value;
            self.says(|| format!("write(2) copies {value} into reserved block {block}"));
            Ok(block)
        })
    }

    /// Puts a reserved block into the map, where there is a hole. The transaction is the caller's.
    pub fn put_into_map(&self, index: usize, block: usize) {
        self.step(|state| {
            state.blocks[block].owner = Some(index);
            state.extents[index] = Extent::Written(block);
            self.says(|| format!("page {index} of the block map := block {block}"));
            Ok(())
        });
    }

    /// write(2) is about to return: its data counts as stored.
    pub fn written(&self, index: usize, value: u32) {
        let way = Way::Write;
        self.step(|state| state.complete(self.id, index, Store { value, way }));
    }

    // Durability

    /// Whether the page is marked dirty.
    pub fn is_dirty(&self, index: usize) -> bool {
        self.step(|state| {
            let dirty = state.dirty[index];
            self.says(|| format!("page {index} is {}", if dirty { "dirty" } else { "clean" }));
            Ok(dirty)
        })
    }

    /// Flushes the block of a page.
    pub fn flush(&self, index: usize) {
        self.step(|state| {
            if let Some(block) = state.extents[index].block() {
                state.blocks[block].durable = state.blocks[block].content;
            }
            self.says(|| format!("flushes page {index}"));
            Ok(())
        });
    }

    /// Clears the dirty mark.
    pub fn clear_dirty(&self, index: usize) {
        self.step(|state| {
            state.dirty[index] = false;
            self.says(|| format!("clears the dirty mark of page {index}"));
            Ok(())
        });
    }

    /// The stores that fsync has to make durable. From here on the world holds the protocol to it.
    pub fn owed(&self) -> Vec<(usize, usize, u32)> {
        self.step(|state| {
            state.keeps_marks = true;
            Ok(state.unflushed())
        })
    }

    /// fsync returns: what it owed must be durable, unless it was overwritten or punched meanwhile.
    pub fn paid(&self, owed: &[(usize, usize, u32)]) {
        self.step(|state| {
            let left = state.unflushed();
            match owed.iter().find(|store| left.contains(store)) {
                Some((page, slot, _)) => {
                    let whose = name_of(*slot);
                    let message = format!("returns from fsync, and the store of {whose} to page {page} is not durable");
                    broken(Invariant::StoreFlushed, message)
                }
                None => Ok(()),
            }
        });
    }

    // Begin and end

    /// An operation has returned to its caller: nothing may be held.
    pub fn returned(&self, what: &str) {
        self.now(|state| state.returned(self.id, what));
    }

    /// The thread is through; the last one checks the world.
    pub fn end(&self) {
        self.now(|state| {
            trace::record(self.id, || What::End);
            state.alive -= 1;
            if state.alive == 0 { state.ended() } else { Ok(()) }
        });
        // What is left of the thread changes nothing and is no decision.
        set_uninterrupted(true);
    }

    /// All pages of the file.
    pub fn all_pages() -> std::ops::Range<usize> {
        0..PAGES
    }
}

fn describe(extent: Extent) -> String {
    match extent {
        Extent::Hole => "hole".to_owned(),
        Extent::Unwritten(block) => format!("unwritten block {block}"),
        Extent::Written(block) => format!("block {block}"),
    }
}
