//! The page table of a simulated window: plain data, one translation a page.

use std::collections::BTreeMap;

use engine::dax::{Becomes, PrivateCopies, Target, Writable};
use format::Block;

/// Bytes in a page.
pub const PAGE_BYTES: u64 = 4096;

/// What a page is translated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Every access faults.
    Trap,
    /// Loads give zeros, stores fault.
    Zero,
    /// A block of the pool.
    Block {
        /// Which.
        block: Block,
        /// Whether stores go through.
        writable: Writable,
    },
    /// The process's own copy.
    Private(Box<[u8; PAGE_BYTES as usize]>),
    /// Every access raises SIGBUS.
    PastEnd,
}

/// The translations of a window; a page that is not there traps.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<u64, Translation>);

impl Table {
    pub(super) fn get(&self, page: u64) -> &Translation {
        self.0.get(&page).unwrap_or(&Translation::Trap)
    }

    pub(super) fn get_mut(&mut self, page: u64) -> Option<&mut Translation> {
        self.0.get_mut(&page)
    }

    pub(super) fn all(&self) -> Vec<(u64, Translation)> {
        let all = self.0.iter();
        all.map(|(page, translation)| (*page, translation.clone())).collect()
    }

    /// Translates `page`, the one with this `number` of the pages of the target, unless it is a private
    /// copy.
    pub(super) fn install(&mut self, page: u64, number: u64, to: Target) {
        if self.is_private(page) {
            return;
        }
        let translation = match to {
            Target::Zero => Translation::Zero,
            Target::Block { first, writable } => Translation::Block { block: Block(first.0 + number), writable },
        };
        self.0.insert(page, translation);
    }

    /// Sets a private copy, unless there is one.
    pub(super) fn copy_private(&mut self, page: u64, copy: Box<[u8; PAGE_BYTES as usize]>) {
        if !self.is_private(page) {
            self.0.insert(page, Translation::Private(copy));
        }
    }

    pub(super) fn revoke(&mut self, page: u64, private: PrivateCopies, becomes: Becomes) {
        if private == PrivateCopies::Keep && self.is_private(page) {
            return;
        }
        match becomes {
            Becomes::Trap => drop(self.0.remove(&page)),
            Becomes::PastEnd => drop(self.0.insert(page, Translation::PastEnd)),
        }
    }

    pub(super) fn write_protect(&mut self, page: u64) {
        if let Some(Translation::Block { writable, .. }) = self.0.get_mut(&page) {
            *writable = Writable::No;
        }
    }

    fn is_private(&self, page: u64) -> bool {
        matches!(self.0.get(&page), Some(Translation::Private(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Target = Target::Block { first: Block(7), writable: Writable::Yes };

    #[test]
    fn a_private_copy_stays_under_everything_but_a_truncate() {
        let mut table = Table::default();
        let copy = Translation::Private(Box::new([1; PAGE_BYTES as usize]));
        table.copy_private(3, Box::new([1; PAGE_BYTES as usize]));
        table.install(3, 0, BLOCK);
        table.copy_private(3, Box::new([2; PAGE_BYTES as usize]));
        table.write_protect(3);
        table.revoke(3, PrivateCopies::Keep, Becomes::Trap);
        assert_eq!(*table.get(3), copy);
        table.revoke(3, PrivateCopies::Drop, Becomes::PastEnd);
        assert_eq!(*table.get(3), Translation::PastEnd);
    }

    #[test]
    fn write_protection_leaves_the_block_readable() {
        let mut table = Table::default();
        table.install(5, 2, BLOCK);
        table.write_protect(5);
        let readable = Translation::Block { block: Block(9), writable: Writable::No };
        assert_eq!(*table.get(5), readable);
        assert_eq!(*table.get(6), Translation::Trap);
    }
}
