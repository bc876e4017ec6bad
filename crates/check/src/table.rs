//! What is known of each inode, in 16 bytes.
//!
//! Only inode blocks that hold something are in the table, so it takes at most a thirtieth of what the image itself
//! takes, whatever the image says. A slot's index is its block's rank times 8.

use format::{Block, INODES_PER_BLOCK, Ino};

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A free slot.
    Free,
    /// A record that cannot be read.
    Damaged,
    /// An inode of this type (`st_mode` shifted right by 12).
    Live(u8),
}

/// Where a directory stands below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Not looked at.
    Unknown,
    /// On the path that is looked at now.
    Climbing,
    /// It leads to the root.
    Root,
    /// It does not.
    Lost,
}

/// No directory.
pub(crate) const NOBODY: u32 = u32::MAX;

/// An inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Names that mean it.
    pub names: u32,
    /// Directories that are named in it.
    pub subdirectories: u32,
    /// Index of a directory that names it.
    pub namer: u32,
    pub state: State,
    pub reach: Reach,
}

impl Known {
    const NEW: Known = Known { names: 0, subdirectories: 0, namer: NOBODY, state: State::Free, reach: Reach::Unknown };
}

/// All inodes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    blocks: Vec<u64>,
    known: Vec<Known>,
}

impl Table {
    /// Adds an inode block. Blocks come in ascending order.
    pub fn push(&mut self, block: Block, states: &[State; INODES_PER_BLOCK as usize]) {
        self.blocks.push(block.0);
        self.known.extend(states.iter().map(|state| Known { state: *state, ..Known::NEW }));
    }

    /// Slots.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The index of an inode; nothing if its block is not in the table.
    pub fn index(&self, ino: Ino) -> Option<usize> {
        let rank = self.blocks.binary_search(&ino.block().0).ok()?;
        Some(rank * INODES_PER_BLOCK as usize + usize::from(ino.slot()))
    }

    /// The inode with an index.
    pub fn ino(&self, index: usize) -> Ino {
        let per = INODES_PER_BLOCK as usize;
        Ino::from_parts(Block(self.blocks.get(index / per).copied().unwrap_or(0)), (index % per) as u8)
    }

    pub fn at(&self, index: usize) -> Known {
        self.known.get(index).copied().unwrap_or(Known::NEW)
    }

    pub fn at_mut(&mut self, index: usize) -> Option<&mut Known> {
        self.known.get_mut(index)
    }

    /// What an inode number means.
    pub fn state(&self, ino: Ino) -> State {
        self.index(ino).map_or(State::Free, |index| self.at(index).state)
    }
}
