//! The windows onto a file: the reverse map from a file's pages to their translations.
//!
//! `ReverseMap` guards the list, `Window` each window's translations. Both are held while
//! translations change and never longer; the file system cannot be called under them, since its
//! methods want a proof that does not exist there. A window that has left the list is never changed
//! again: a fault that allocated its block in the meantime finds it gone and says so.

use std::ops::Range;

use format::Ino;
use order::sync::Arc;
use order::{Before, Held, Mutex, RwLock, level};

use super::bits::REGION_PAGES;
use super::block_map::intersection;
use super::entries::Key;
use super::mmu::{Becomes, Mmu, MmuError, PrivateCopies};

/// Pages that a first fault translates: 64 KiB.
const AROUND_PAGES_MIN: u64 = 16;

/// Names a window of one file; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowId(u64);

/// How far a fault looks ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// Pages to translate, if their blocks exist.
    pub pages: u64,
    /// Pages to allocate if they are a hole: one for a fault out of the blue, so that a sparse file
    /// stays sparse; more as the faults go on one after the other.
    pub new_pages: u64,
}

/// How the faults of a window follow each other.
#[derive(Debug)]
pub(crate) struct Streak {
    /// The page after the last one served.
    next: u64,
    /// What was looked ahead then.
    ahead: Ahead,
}

/// One window of the list.
#[derive(Debug)]
pub(crate) struct Window {
    pub id: WindowId,
    pub mmu: Arc<dyn Mmu>,
    pub lock: Mutex<level::Window, Streak>,
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    next_id: u64,
    list: Vec<Window>,
}

/// What the engine keeps for a file; part of the file system's inode.
#[derive(Debug)]
pub struct FileDax {
    ino: Ino,
    /// Shared: a fault. Exclusive: blocks leave the file or get another place.
    pub invalidate: RwLock<level::Invalidate, ()>,
    pub(crate) windows: RwLock<level::ReverseMap, Windows>,
}

impl FileDax {
    /// A file without windows.
    pub fn new(ino: Ino) -> Self {
        Self { ino, invalidate: RwLock::default(), windows: RwLock::default() }
    }

    /// The file's number.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// Whether some window shows the file. Takes `ReverseMap` shared.
    pub fn is_mapped<P: Before<level::ReverseMap>>(&self, held: &mut Held<'_, P>) -> bool {
        let (windows, _held) = self.windows.read(held);
        !windows.list.is_empty()
    }

    /// The entry of a region of this file.
    pub(crate) fn key(&self, region: u64) -> Key {
        Key { ino: self.ino, region }
    }

    /// Adds a window. Takes `ReverseMap` exclusive.
    pub(crate) fn add<P: Before<level::ReverseMap>>(&self, held: &mut Held<'_, P>, mmu: Arc<dyn Mmu>) -> WindowId {
        let (mut windows, _held) = self.windows.write(held);
        let id = WindowId(windows.next_id);
        windows.next_id += 1;
        windows.list.push(Window { id, mmu, lock: Mutex::new(Streak::new()) });
        id
    }

    /// Takes a window out. Takes `ReverseMap` exclusive.
    pub(crate) fn remove<P: Before<level::ReverseMap>>(
        &self,
        held: &mut Held<'_, P>,
        id: WindowId,
    ) -> Option<Arc<dyn Mmu>> {
        let (mut windows, _held) = self.windows.write(held);
        let at = windows.list.iter().position(|window| window.id == id)?;
        Some(windows.list.swap_remove(at).mmu)
    }

    /// Revokes `pages` in all windows. Takes `ReverseMap` shared and each `Window`.
    pub(crate) fn revoke<P: Before<level::ReverseMap>>(
        &self,
        held: &mut Held<'_, P>,
        pages: &Range<u64>,
        private: PrivateCopies,
        becomes: Becomes,
    ) -> Result<(), MmuError> {
        let (windows, mut held) = self.windows.read(held);
        windows.each_over(&mut held, pages, None, |window, part, held| window.mmu.revoke(held, part, private, becomes))
    }

    /// Write-protects `pages` in all windows. Takes `ReverseMap` shared and each `Window`.
    pub(crate) fn write_protect<P: Before<level::ReverseMap>>(
        &self,
        held: &mut Held<'_, P>,
        pages: &Range<u64>,
    ) -> Result<(), MmuError> {
        let (windows, mut held) = self.windows.read(held);
        windows.each_over(&mut held, pages, None, |window, part, held| window.mmu.write_protect(held, part))
    }
}

impl Windows {
    pub(crate) fn get(&self, id: WindowId) -> Option<&Window> {
        self.list.iter().find(|window| window.id == id)
    }

    /// Calls `f` for the part of `pages` that each window covers, except for the window `but`.
    ///
    /// An error of one does not spare the others; the first is given.
    pub(crate) fn each_over(
        &self,
        held: &mut Held<'_, level::ReverseMap>,
        pages: &Range<u64>,
        but: Option<WindowId>,
        mut f: impl FnMut(&Window, Range<u64>, &mut Held<'_, level::Window>) -> Result<(), MmuError>,
    ) -> Result<(), MmuError> {
        let mut outcome = Ok(());
        for window in self.list.iter().filter(|window| Some(window.id) != but) {
            let part = intersection(&window.mmu.pages(), pages);
            if !part.is_empty() {
                let (_streak, mut held) = window.lock.lock(held);
                outcome = outcome.and(f(window, part, &mut held));
            }
        }
        outcome
    }
}

impl Streak {
    fn new() -> Self {
        Self { next: u64::MAX, ahead: Ahead::FIRST }
    }

    /// How far a fault on `page` shall look ahead.
    pub(crate) fn ahead(&self, page: u64) -> Ahead {
        if page != self.next {
            return Ahead::FIRST;
        }
        let double = |pages: u64| (pages * 2).clamp(AROUND_PAGES_MIN, REGION_PAGES);
        Ahead { pages: double(self.ahead.pages), new_pages: double(self.ahead.new_pages) }
    }

    /// A fault with this look-ahead was served up to `end`.
    pub(crate) fn served(&mut self, ahead: Ahead, end: u64) {
        self.next = end;
        self.ahead = ahead;
    }
}

impl Ahead {
    const FIRST: Self = Self { pages: AROUND_PAGES_MIN, new_pages: 1 };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_one_after_the_other_look_further_ahead_up_to_a_region() {
        let mut streak = Streak::new();
        let mut page = 0;
        let mut seen = Vec::new();
        for _ in 0..8 {
            let ahead = streak.ahead(page);
            seen.push((ahead.pages, ahead.new_pages));
            page += ahead.pages;
            streak.served(ahead, page);
        }
        assert_eq!(seen[..3], [(16, 1), (32, 16), (64, 32)]);
        assert_eq!(seen[7], (512, 512));
        assert_eq!(streak.ahead(page + 1), Ahead::FIRST);
    }
}
