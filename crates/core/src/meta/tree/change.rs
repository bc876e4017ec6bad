//! Insertion, replacement and removal.
//!
//! Insertion goes bottom up: a page that overflows is split, and the new right half's lower bound goes to the parent. A
//! page that overflows at its end keeps all it has and only the new entry moves on, so that ascending keys fill nodes
//! whole. Removal gives empty nodes back at once, merges a page that is three quarters empty with a neighbour if both fit
//! in three quarters of a page, and pulls the last node back into the root when it fills no more than half of it. The gaps
//! between these limits keep a tree at a border from splitting and merging in turn.

use format::{Block, Ino};
use order::{Before, Held, level};

use super::slots::{NODE, Page, PageMut, ROOT, SLOT_BYTES};
use super::{Bounds, LEVEL_MAX, NodeStore, Root, VALUE_MAX_BYTES, load_child};
use crate::error::FsError;
use crate::meta::tx::Tx;

const DEPTH_MAX: usize = LEVEL_MAX as usize;

/// A root to change. `nodes` counts how many nodes the tree gained (or, below zero, lost).
pub struct RootMut<'r> {
    /// The inode.
    pub owner: Ino,
    /// What the tree holds.
    pub kind: u8,
    /// The inline area.
    pub bytes: &'r mut [u8],
    /// Nodes gained.
    pub nodes: i64,
}

impl RootMut<'_> {
    /// The root for reading.
    pub fn as_root(&self) -> Root<'_> {
        Root { owner: self.owner, kind: self.kind, bytes: self.bytes }
    }

    fn page_mut(&mut self) -> PageMut<'_> {
        PageMut::of_root(self.bytes)
    }
}

/// The way from the root to a leaf: the node below each page, and the slot taken in each page.
pub(super) struct Path {
    pub blocks: [Block; DEPTH_MAX + 1],
    pub at: [usize; DEPTH_MAX + 1],
    pub depth: usize,
}

fn descend(tx: &Tx<'_>, root: Root<'_>, key: u64) -> Result<(Path, bool), FsError> {
    let mut path = Path { blocks: [Block(0); DEPTH_MAX + 1], at: [0; DEPTH_MAX + 1], depth: 0 };
    let top = root.page()?;
    if top.count() == 0 {
        return Ok((path, false));
    }
    path.depth = usize::from(top.level());
    let mut bounds = Bounds::ALL;
    let mut holder = None;
    for depth in 0..path.depth {
        let page = holder.as_ref().map_or(top, |node: &order::sync::Arc<_>| page_of(node));
        let index = page.child_index(key);
        bounds = bounds.of_child(page, index);
        let (block, node) = load_child(tx, &root, page, index, bounds)?;
        path.at[depth] = index;
        path.blocks[depth + 1] = block;
        holder = Some(node);
    }
    let leaf = holder.as_ref().map_or(top, |node| page_of(node));
    let found = leaf.search(key);
    path.at[path.depth] = found.unwrap_or_else(|place| place);
    Ok((path, found.is_ok()))
}

fn page_of(node: &crate::meta::view::Node) -> Page<'_> {
    Page::new(node.bytes(), NODE)
}

/// Runs `body` on the page at `depth` of the path.
fn at_page<R>(
    tx: &mut Tx<'_>,
    root: &mut RootMut<'_>,
    path: &Path,
    depth: usize,
    body: impl FnOnce(&mut PageMut<'_>) -> R,
) -> Result<R, FsError> {
    if depth == 0 {
        return Ok(body(&mut root.page_mut()));
    }
    Ok(body(&mut tx.node_mut(path.blocks[depth])?))
}

/// Adds an entry. `Exists` if the key is there.
pub fn insert<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    root: &mut RootMut<'_>,
    key: u64,
    value: &[u8],
) -> Result<(), FsError> {
    if value.len() > VALUE_MAX_BYTES {
        return Err(FsError::Invalid("a value too long for a tree"));
    }
    let (mut path, found) = descend(tx, root.as_root(), key)?;
    if found {
        return Err(FsError::Exists);
    }
    if root.as_root().page()?.count() == 0 {
        let kind = root.kind;
        root.page_mut().clear(kind, 0);
    }
    let mut depth = path.depth;
    let (mut key, mut len) = (key, value.len());
    let mut buffer = [0; VALUE_MAX_BYTES];
    buffer[..len].copy_from_slice(value);
    loop {
        let at = path.at[depth];
        if at_page(tx, root, &path, depth, |page| page.insert(at, key, &buffer[..len]))? {
            return Ok(());
        }
        if depth == 0 {
            grow(tx, held, root, &mut path)?;
            depth = 1;
            continue;
        }
        let (low, right) = split(tx, held, root, &path, depth, (key, &buffer[..len]))?;
        depth -= 1;
        path.at[depth] += 1;
        key = low;
        len = 8;
        buffer[..8].copy_from_slice(&right.0.to_le_bytes());
    }
}

/// Moves the root's entries into a new node and makes the root its parent.
fn grow<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    root: &mut RootMut<'_>,
    path: &mut Path,
) -> Result<(), FsError> {
    let level = root.as_root().page()?.level();
    if level >= LEVEL_MAX {
        return Err(FsError::FileTooBig);
    }
    let child = tx.new_node(held, root.owner, root.kind, level, None)?;
    let top = Page::new(root.bytes, ROOT);
    tx.node_mut(child)?.append(top, 0, top.count());
    let kind = root.kind;
    let mut page = root.page_mut();
    page.clear(kind, level + 1);
    let fits = page.insert(0, 0, &child.0.to_le_bytes());
    debug_assert!(fits, "one child fits in an empty root");
    root.nodes += 1;
    path.depth += 1;
    for depth in (1..=path.depth).rev() {
        path.at[depth] = path.at[depth - 1];
        path.blocks[depth] = path.blocks[depth - 1];
    }
    path.at[0] = 0;
    path.blocks[1] = child;
    Ok(())
}

/// Splits the node at `depth` and puts the entry into one of the halves: the right half's lower bound and block.
fn split<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    root: &mut RootMut<'_>,
    path: &Path,
    depth: usize,
    (key, value): (u64, &[u8]),
) -> Result<(u64, Block), FsError> {
    let (left, at) = (path.blocks[depth], path.at[depth]);
    let old = tx.node(left)?;
    let page = page_of(&old);
    let count = page.count();
    let cut = if at == count { count } else { middle(page) };
    let right = tx.new_node(held, root.owner, root.kind, page.level(), Some(left))?;
    root.nodes += 1;
    let into_right = at > cut || (at == cut && cut == count);
    let low = if cut == count { key } else { page.key(cut) };
    let mut half = tx.node_mut(right)?;
    half.append(page, cut, count);
    let mut fits = true;
    if into_right {
        fits = half.insert(at - cut, key, value);
    }
    let mut half = tx.node_mut(left)?;
    half.truncate(cut);
    if !into_right {
        fits = half.insert(at, key, value);
    }
    debug_assert!(fits, "half a page has room for any value");
    Ok((low, right))
}

/// The slot from which on the second half of the bytes lies; neither half is empty.
fn middle(page: Page<'_>) -> usize {
    let half = page.used() / 2;
    let mut sum = 0;
    let mut cut = 0;
    while cut < page.count() - 1 && (sum < half || cut == 0) {
        sum += SLOT_BYTES + page.value(cut).len();
        cut += 1;
    }
    cut
}

/// Puts another value in place of a key's. `NotFound` if the key is not there.
pub fn replace<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    root: &mut RootMut<'_>,
    key: u64,
    value: &[u8],
) -> Result<(), FsError> {
    let (path, found) = descend(tx, root.as_root(), key)?;
    if !found {
        return Err(FsError::NotFound);
    }
    let at = path.at[path.depth];
    if at_page(tx, root, &path, path.depth, |page| page.replace(at, value))? {
        return Ok(());
    }
    remove(tx, root, key)?;
    insert(tx, held, root, key, value)
}

/// Takes an entry out. `NotFound` if the key is not there.
pub fn remove(tx: &mut Tx<'_>, root: &mut RootMut<'_>, key: u64) -> Result<(), FsError> {
    let (mut path, found) = descend(tx, root.as_root(), key)?;
    if !found {
        return Err(FsError::NotFound);
    }
    let at = path.at[path.depth];
    at_page(tx, root, &path, path.depth, |page| page.remove(at))?;
    let mut depth = path.depth;
    while depth > 0 {
        let block = path.blocks[depth];
        let node = tx.node(block)?;
        let page = page_of(&node);
        if page.count() == 0 {
            tx.free_node(block)?;
            root.nodes -= 1;
            drop_child(tx, root, &path, depth - 1)?;
        } else if !page.is_sparse() || !merge(tx, root, &mut path, depth)? {
            break;
        }
        depth -= 1;
    }
    shrink(tx, root)
}

/// Takes the child at the path's position out of the page at `depth`.
fn drop_child(tx: &mut Tx<'_>, root: &mut RootMut<'_>, path: &Path, depth: usize) -> Result<(), FsError> {
    let at = path.at[depth];
    at_page(tx, root, path, depth, |page| page.remove(at))
}

/// Merges the node at `depth` with a neighbour under the same parent, if both fit. True if it did.
fn merge(tx: &mut Tx<'_>, root: &mut RootMut<'_>, path: &mut Path, depth: usize) -> Result<bool, FsError> {
    let at = path.at[depth - 1];
    let own = path.blocks[depth];
    for left_index in [at.wrapping_sub(1), at] {
        let Some((left, right, bound)) = pair(tx, root, path, depth - 1, left_index)? else { continue };
        let (left_node, right_node) = (tx.node(left)?, tx.node(right)?);
        let (low, high) = (page_of(&left_node), page_of(&right_node));
        if low.used() + high.used() > low.capacity() / 4 * 3 {
            continue;
        }
        debug_assert!(left == own || right == own);
        let mut page = tx.node_mut(left)?;
        page.append(high, 0, high.count());
        if high.level() > 0 {
            page.set_key(low.count(), bound);
        }
        tx.free_node(right)?;
        root.nodes -= 1;
        path.at[depth - 1] = left_index + 1;
        drop_child(tx, root, path, depth - 1)?;
        return Ok(true);
    }
    Ok(false)
}

/// The children `index` and `index + 1` of the page at `depth`, checked, and the bound between them; nothing if there
/// are not both.
fn pair(
    tx: &Tx<'_>,
    root: &RootMut<'_>,
    path: &Path,
    depth: usize,
    index: usize,
) -> Result<Option<(Block, Block, u64)>, FsError> {
    let holder = if depth == 0 { None } else { Some(tx.node(path.blocks[depth])?) };
    let shared = root.as_root();
    let parent = match &holder {
        Some(node) => page_of(node),
        None => shared.page()?,
    };
    if index >= parent.count() || index + 1 >= parent.count() {
        return Ok(None);
    }
    let mut blocks = [Block(0); 2];
    for (side, block) in blocks.iter_mut().enumerate() {
        let bounds = Bounds::ALL.of_child(parent, index + side);
        *block = load_child(tx, &shared, parent, index + side, bounds)?.0;
    }
    Ok((blocks[0] != blocks[1]).then_some((blocks[0], blocks[1], parent.key(index + 1))))
}

/// Pulls an only child back into the root while it fills no more than half of it.
fn shrink(tx: &mut Tx<'_>, root: &mut RootMut<'_>) -> Result<(), FsError> {
    let kind = root.kind;
    loop {
        let top = root.as_root();
        let page = top.page()?;
        if page.count() == 0 {
            root.page_mut().clear(kind, 0);
            return Ok(());
        }
        if page.level() == 0 || page.count() > 1 {
            return Ok(());
        }
        let (block, node) = load_child(tx, &top, page, 0, Bounds::ALL.of_child(page, 0))?;
        let child = page_of(&node);
        if child.used() > page.capacity() / 2 {
            return Ok(());
        }
        let mut page = root.page_mut();
        page.clear(kind, child.level());
        page.append(child, 0, child.count());
        tx.free_node(block)?;
        root.nodes -= 1;
    }
}

/// Frees nodes of a tree whose entries no longer matter, leaf by leaf. True when the root is empty; false when `limit`
/// leaves are gone or the transaction is full: go on in the next one.
pub fn destroy(tx: &mut Tx<'_>, root: &mut RootMut<'_>, limit: usize) -> Result<bool, FsError> {
    for _ in 0..limit {
        let (path, _) = descend(tx, root.as_root(), 0)?;
        if path.depth == 0 {
            let kind = root.kind;
            root.page_mut().clear(kind, 0);
            return Ok(true);
        }
        if tx.room() <= path.depth {
            return Ok(false);
        }
        let mut depth = path.depth;
        loop {
            tx.free_node(path.blocks[depth])?;
            root.nodes -= 1;
            depth -= 1;
            drop_child(tx, root, &path, depth)?;
            let count = at_page(tx, root, &path, depth, |page| page.as_page().count())?;
            if count > 0 || depth == 0 {
                break;
            }
        }
        if root.as_root().page()?.count() == 0 {
            let kind = root.kind;
            root.page_mut().clear(kind, 0);
        }
    }
    Ok(false)
}
