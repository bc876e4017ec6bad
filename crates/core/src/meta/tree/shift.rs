//! Moving all keys from one on by a distance: what collapse and insert of file ranges need.
//!
//! Lower bounds move with their entries. When keys move down into the gap before them, a lower bound inside of the gap
//! is pulled to the gap's start; since a child is never empty, at most one bound lies there. All nodes right of the first
//! key change, so a tree that needs more nodes than one transaction holds answers `FileTooBig`.

use format::Block;

use super::change::RootMut;
use super::slots::{NODE, Page, PageMut};
use super::{Bounds, NodeStore, damaged, load_child};
use crate::error::FsError;
use crate::meta::tx::Tx;

/// Adds `delta` to every key that is at least `from`. When `delta` is negative no key may lie in `from + delta .. from`.
pub fn shift_keys(tx: &mut Tx<'_>, root: &mut RootMut<'_>, from: u64, delta: i64) -> Result<(), FsError> {
    let mut pages = vec![None];
    let mut next = 0;
    while next < pages.len() {
        let (children, level) = match pages[next] {
            None => {
                let page = root.as_root().page()?;
                (children_from(tx, root, page, from)?, page.level())
            }
            Some(block) => {
                let node = tx.node(block)?;
                let page = Page::new(node.bytes(), NODE);
                (children_from(tx, root, page, from)?, page.level())
            }
        };
        if pages.len() + children.len() > tx.room() + 1 {
            return Err(FsError::FileTooBig);
        }
        pages.extend(children.into_iter().map(Some));
        let leaf = level == 0;
        let moved = match pages[next] {
            None => shift_page(&mut PageMut::of_root(root.bytes), leaf, from, delta),
            Some(block) => shift_page(&mut tx.node_mut(block)?, leaf, from, delta),
        };
        if !moved {
            return Err(FsError::FileTooBig);
        }
        next += 1;
    }
    Ok(())
}

/// The children that may hold keys from `from` on, by the lower bounds before the move.
fn children_from(tx: &Tx<'_>, root: &RootMut<'_>, page: Page<'_>, from: u64) -> Result<Vec<Block>, FsError> {
    if page.count() == 0 || page.level() == 0 {
        return Ok(Vec::new());
    }
    let first = page.child_index(from);
    if page.count() - first > tx.room() {
        return Err(FsError::FileTooBig);
    }
    let shared = root.as_root();
    let mut blocks = Vec::with_capacity(page.count() - first);
    for index in first..page.count() {
        let (block, _) = load_child(tx, &shared, page, index, Bounds::ALL)?;
        if blocks.contains(&block) {
            return Err(damaged(root.owner, "a node with two parents"));
        }
        blocks.push(block);
    }
    Ok(blocks)
}

fn shift_page(page: &mut PageMut<'_>, leaf: bool, from: u64, delta: i64) -> bool {
    for index in 0..page.as_page().count() {
        let key = page.as_page().key(index);
        let target = if !leaf && index == 0 {
            0
        } else if key >= from {
            let Some(moved) = key.checked_add_signed(delta) else { return false };
            moved
        } else if !leaf && delta < 0 && key > from.saturating_add_signed(delta) {
            from.saturating_add_signed(delta)
        } else {
            continue;
        };
        page.set_key(index, target);
    }
    true
}
