//! A position in a tree, for reading in both directions.
//!
//! Holds the nodes on its path as `Arc`s: nothing is copied, and a step to the next entry of the same leaf touches no
//! map. The cursor sees the tree as it was when each node was reached; the caller's lock on the inode keeps it still.

use order::sync::Arc;

use super::slots::{NODE, Page};
use super::{Bounds, LEVEL_MAX, NodeStore, Root, load_child};
use crate::error::FsError;
use crate::meta::view::Node;

const DEPTH_MAX: usize = LEVEL_MAX as usize;

/// A position in a tree: at an entry, or past the end.
pub struct Cursor<'s, S: ?Sized> {
    store: &'s S,
    root: Root<'s>,
    top: Page<'s>,
    /// Levels below the root.
    depth: usize,
    path: [Option<Arc<Node>>; DEPTH_MAX],
    at: [usize; DEPTH_MAX + 1],
    bounds: [Bounds; DEPTH_MAX + 1],
}

/// Which child to take on the way down.
#[derive(Clone, Copy)]
enum Way {
    First,
    Last,
    Key(u64),
}

impl<'s, S: NodeStore + ?Sized> Cursor<'s, S> {
    /// A cursor that must be sought before use.
    pub fn new(store: &'s S, root: Root<'s>) -> Result<Cursor<'s, S>, FsError> {
        let top = root.page()?;
        let depth = if top.count() == 0 { 0 } else { usize::from(top.level()) };
        Ok(Cursor {
            store,
            root,
            top,
            depth,
            path: [const { None }; DEPTH_MAX],
            at: [0; DEPTH_MAX + 1],
            bounds: [Bounds::ALL; DEPTH_MAX + 1],
        })
    }

    fn page(&self, depth: usize) -> Page<'_> {
        match depth.checked_sub(1).and_then(|below| self.path[below].as_ref()) {
            Some(node) => Page::new(node.bytes(), NODE),
            None => self.top,
        }
    }

    /// Goes down from `depth` to the leaf.
    fn descend(&mut self, mut depth: usize, way: Way) -> Result<(), FsError> {
        loop {
            let page = self.page(depth);
            let is_leaf = depth == self.depth;
            self.at[depth] = match way {
                Way::First => 0,
                Way::Last => page.count().saturating_sub(1),
                Way::Key(key) if is_leaf => page.search(key).unwrap_or_else(|place| place),
                Way::Key(key) => page.child_index(key),
            };
            if is_leaf {
                return Ok(());
            }
            self.load(depth)?;
            depth += 1;
        }
    }

    /// Loads the child at the position of `depth`.
    fn load(&mut self, depth: usize) -> Result<(), FsError> {
        let page = self.page(depth);
        let bounds = self.bounds[depth].of_child(page, self.at[depth]);
        let (_, node) = load_child(self.store, &self.root, page, self.at[depth], bounds)?;
        self.bounds[depth + 1] = bounds;
        self.path[depth] = Some(node);
        Ok(())
    }

    /// Goes to the first entry whose key is not below `key`.
    pub fn seek(&mut self, key: u64) -> Result<(), FsError> {
        self.descend(0, Way::Key(key))?;
        if self.at[self.depth] >= self.page(self.depth).count() { self.climb_right() } else { Ok(()) }
    }

    /// Goes to the last entry whose key is not above `key`; past the end if there is none.
    pub fn seek_floor(&mut self, key: u64) -> Result<(), FsError> {
        self.descend(0, Way::Key(key))?;
        let at = self.at[self.depth];
        let page = self.page(self.depth);
        if at < page.count() && page.key(at) == key { Ok(()) } else { self.retreat() }
    }

    /// Goes to the last entry.
    pub fn seek_last(&mut self) -> Result<(), FsError> {
        self.descend(0, Way::Last)
    }

    /// The entry here; nothing past the end.
    pub fn entry(&self) -> Option<(u64, &[u8])> {
        let (page, at) = (self.page(self.depth), self.at[self.depth]);
        (at < page.count()).then(|| (page.key(at), page.value(at)))
    }

    /// Goes to the next entry.
    pub fn advance(&mut self) -> Result<(), FsError> {
        self.at[self.depth] += 1;
        if self.at[self.depth] < self.page(self.depth).count() { Ok(()) } else { self.climb_right() }
    }

    fn climb_right(&mut self) -> Result<(), FsError> {
        for depth in (0..self.depth).rev() {
            if self.at[depth] + 1 < self.page(depth).count() {
                self.at[depth] += 1;
                self.load(depth)?;
                return self.descend(depth + 1, Way::First);
            }
        }
        self.at[self.depth] = usize::MAX / 2;
        Ok(())
    }

    /// Goes to the entry before; past the end if there is none.
    pub fn retreat(&mut self) -> Result<(), FsError> {
        if self.at[self.depth] > 0 {
            self.at[self.depth] -= 1;
            return Ok(());
        }
        for depth in (0..self.depth).rev() {
            if self.at[depth] > 0 {
                self.at[depth] -= 1;
                self.load(depth)?;
                return self.descend(depth + 1, Way::Last);
            }
        }
        self.at[self.depth] = usize::MAX / 2;
        Ok(())
    }
}
