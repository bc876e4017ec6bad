//! The B+tree of an inode: extents of a file, names of a directory.
//!
//! The root lives in the inode record (320 bytes), so that small files and directories have no nodes at all. When the root
//! is full its entries move into a node of 4 KiB and the root keeps one child. An interior entry's key is the *lower
//! bound* of its child: no key in the child is below it, none reaches the next one's. The first entry's key means nothing:
//! its child's lower bound is that of the page itself.
//!
//! Nodes are immutable `Arc`s in the view: readers (`Cursor`) hold them while they look, and never see a change. A change
//! (`change`) works on the transaction's private copies.
//!
//! Images may be hostile. Every step down checks that the level is one less, that the node says it belongs to this inode,
//! stands at this block, is not empty, and that its keys lie inside the bounds that the parents gave. So a descent has at
//! most `LEVEL_MAX` steps, and a walk sees each node at most once, whatever the image says.
//!
//! After an error from a change the transaction and the record must be dropped: both may hold half of it.

mod change;
mod cursor;
mod shift;
pub(super) mod slots;
#[cfg(test)]
mod tests;

use format::{Block, Ino};
use order::sync::Arc;

use self::slots::{NODE, Page, ROOT};
use crate::error::FsError;
use crate::meta::view::Node;

pub use self::change::{RootMut, destroy, insert, remove, replace};
pub use self::cursor::Cursor;
pub use self::shift::shift_keys;

/// Highest level of a root: over 10^10 entries with half-empty nodes.
pub const LEVEL_MAX: u8 = 7;
/// Most bytes in a value: a directory entry with the longest name.
pub const VALUE_MAX_BYTES: usize = 272;

/// Where nodes come from: the committed state, or a transaction's own changes first.
pub trait NodeStore {
    /// The node in a block, its checksum and form checked.
    fn node(&self, block: Block) -> Result<Arc<Node>, FsError>;
    /// Seeds the hash of names.
    fn name_salt(&self) -> u64;
    /// Whether blocks `first .. first + len` are inside of one group, beyond its own metadata.
    fn owns(&self, first: Block, len: u64) -> bool;
}

/// A root to read.
#[derive(Debug, Clone, Copy)]
pub struct Root<'r> {
    /// The inode.
    pub owner: Ino,
    /// What the tree holds.
    pub kind: u8,
    /// The inline area.
    pub bytes: &'r [u8],
}

impl<'r> Root<'r> {
    fn page(&self) -> Result<Page<'r>, FsError> {
        let page = Page::new(self.bytes, ROOT);
        if page.count() == 0 {
            return Ok(page);
        }
        if page.kind() != self.kind || page.level() > LEVEL_MAX || !page.is_sound() {
            return Err(damaged(self.owner, "the inline root is malformed"));
        }
        Ok(page)
    }
}

fn damaged(owner: Ino, why: &'static str) -> FsError {
    FsError::Inconsistent { ino: owner.0, why }
}

/// The keys that a page may hold: from the lower bound up to, not including, the upper one (`None`: no limit).
#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: u64,
    high: Option<u64>,
}

impl Bounds {
    const ALL: Bounds = Bounds { low: 0, high: None };

    /// The bounds of a child.
    fn of_child(self, page: Page<'_>, index: usize) -> Bounds {
        let next = index + 1;
        let high = if next < page.count() { Some(page.key(next)) } else { self.high };
        let low = if index == 0 { self.low } else { page.key(index).max(self.low) };
        Bounds { low, high }
    }
}

/// Loads child `index` of an interior page and checks that it is what the parent says.
fn load_child<S: NodeStore + ?Sized>(
    store: &S,
    root: &Root<'_>,
    parent: Page<'_>,
    index: usize,
    bounds: Bounds,
) -> Result<(Block, Arc<Node>), FsError> {
    let block = Block(parent.child(index).ok_or_else(|| damaged(root.owner, "an interior value is not a block"))?);
    let node = store.node(block)?;
    let page = Page::new(node.bytes(), NODE);
    let why = if page.kind() != root.kind {
        "a node of another kind"
    } else if u32::from(page.level()) + 1 != u32::from(parent.level()) {
        "a node's level does not go down by one"
    } else if node.owner() != root.owner.0 {
        "a node of another inode"
    } else if node.self_block() != block.0 {
        "a node that says it is elsewhere"
    } else if page.count() == 0 {
        "an empty node"
    } else if page.key(0) < bounds.low || bounds.high.is_some_and(|high| page.key(page.count() - 1) >= high) {
        "a node has keys outside of its bounds"
    } else {
        return Ok((block, node));
    };
    Err(damaged(root.owner, why))
}

/// The value of a key, copied.
pub fn get<S: NodeStore + ?Sized>(store: &S, root: Root<'_>, key: u64) -> Result<Option<Vec<u8>>, FsError> {
    let mut cursor = Cursor::new(store, root)?;
    cursor.seek(key)?;
    Ok(cursor.entry().filter(|(found, _)| *found == key).map(|(_, value)| value.to_vec()))
}
