//! Trees: the form of every node, the levels, the bounds, who owns the node, and what is in the leaves.
//!
//! A node is claimed before it is entered, so a node that two parents name, or one that is its own ancestor, is entered
//! once, and a walk ends whatever the image says.

use format::{
    BitmapKind, Block, DirentValue, ExtentState, ExtentValue, Ino, InodeRecord, KEYS_PER_NAME, KIND_EXTENTS, NodeRef,
    name_key, seal_node, verify_node,
};

use crate::Checker;
use crate::owners::Claim;
use crate::repair::Mend;
use crate::report::Place;
use crate::table::{NOBODY, State};

/// The type of a directory: `st_mode` shifted right by 12.
pub(crate) const TYPE_DIRECTORY: u8 = 4;
/// Bytes that an entry counts in a directory's size beside its name.
const ENTRY_BYTES: u64 = 24;

/// What a walk gathers.
#[derive(Debug)]
pub(crate) struct Tree {
    pub ino: Ino,
    kind: u8,
    /// The inode's index in the table.
    index: usize,
    /// Nothing of it was unreadable.
    pub whole: bool,
    pub nodes: u64,
    /// Blocks behind extents.
    pub data: u64,
    /// The first extent.
    pub first: Option<(u64, Block, ExtentState)>,
    /// The page after the last extent.
    end: u64,
    /// What the names count in the directory's size.
    pub name_bytes: u64,
    /// The names with the hash of the last one.
    hash: u64,
    same: Vec<Vec<u8>>,
}

/// The keys that a page may hold: from the first up to, not including, the second.
type Bounds = (u64, Option<u64>);

impl Checker<'_, '_, '_> {
    /// Walks the tree of an inode whose record is sound.
    pub(crate) fn tree(&mut self, record: &InodeRecord, kind: u8, index: usize) -> Tree {
        let ino = record.ino();
        let mut tree = Tree {
            ino,
            kind,
            index,
            whole: true,
            nodes: 0,
            data: 0,
            first: None,
            end: 0,
            name_bytes: 0,
            hash: 0,
            same: Vec::new(),
        };
        if record.inline[6..8] != [0, 0] {
            self.out.warning("reserved", Place::inode(ino).field("reserved"), "bytes of a root that should be zero");
        }
        self.page(&mut tree, record.inline_node(), None, (0, None));
        if !tree.whole {
            self.trees_whole = false;
        }
        tree
    }

    fn page(&mut self, tree: &mut Tree, node: NodeRef<'_>, at: Option<Block>, bounds: Bounds) {
        for index in 0..node.count() {
            let key = node.key(index);
            let place = Place::entry(tree.ino, at, index);
            if key < bounds.0 || bounds.1.is_some_and(|high| key >= high) {
                tree.whole = false;
                let text = format!("key {key} is outside of what the parents say");
                self.out.error("node-bounds", place.field("key"), text);
                continue;
            }
            if node.level() > 0 {
                let low = if index == 0 { bounds.0 } else { key };
                let high = if index + 1 < node.count() { Some(node.key(index + 1)) } else { bounds.1 };
                self.descend(tree, node.child(index), node.level(), (low, high), place);
            } else if tree.kind == KIND_EXTENTS {
                self.extent(tree, key, node.value(index), place);
            } else {
                self.name(tree, key, node.value(index), place);
            }
        }
    }

    fn descend(&mut self, tree: &mut Tree, child: Option<Block>, level: u8, bounds: Bounds, from: Place) {
        let Some(child) = child.filter(|child| self.view.geometry.owns(*child, 1)) else {
            tree.whole = false;
            self.out.error("node-child", from.field("child"), format!("{child:?} is no block for nodes"));
            return;
        };
        if self.owners.claim(child, 1) != Claim::Granted {
            tree.whole = false;
            self.out.error("shared-block", from.field("child"), format!("{child}, a node, has another owner"));
            return;
        }
        tree.nodes += 1;
        let mut bytes = self.view.read(child);
        if self.view.is_touched(child) {
            seal_node(&mut bytes);
        }
        let place = Place { inode: Some(tree.ino.0), ..Place::block(child) };
        let owner = match verify_node(&bytes, child) {
            Ok(owner) => owner,
            Err(error) => {
                tree.whole = false;
                self.out.error("node", place.field_of(&error), error.to_string());
                return;
            }
        };
        let node = NodeRef::block(&bytes);
        let wrong = if owner != tree.ino {
            Some(("owner", format!("the node belongs to {owner}")))
        } else if node.kind() != tree.kind {
            Some(("kind", format!("kind is {}, expected {}", node.kind(), tree.kind)))
        } else if u32::from(node.level()) + 1 != u32::from(level) {
            Some(("level", format!("level is {}, below a node of level {level}", node.level())))
        } else if node.count() == 0 {
            Some(("count", "a node below the root is empty".to_owned()))
        } else {
            None
        };
        if let Some((field, text)) = wrong {
            tree.whole = false;
            self.out.error("node", place.field(field), text);
            return;
        }
        if bytes[14..16] != [0, 0] {
            self.out.warning("reserved", place.field("reserved"), "bytes of a node that should be zero are not");
        }
        self.page(tree, node, Some(child), bounds);
    }

    fn extent(&mut self, tree: &mut Tree, page: u64, value: &[u8], place: Place) {
        let (block, len, state) = match ExtentValue::read(value, tree.ino, page) {
            Ok((block, len, state)) => (block, u64::from(len), state),
            Err(error) => {
                tree.whole = false;
                return self.out.error("extent", place.field_of(&error), error.to_string());
            }
        };
        if page < tree.end {
            tree.whole = false;
            let text = format!("page {page} is in the extent before, which goes up to page {}", tree.end);
            self.out.error("extent-overlap", place.clone().field("len"), text);
        }
        tree.end = tree.end.max(page + len);
        tree.first.get_or_insert((page, block, state));
        if !self.view.geometry.owns(block, len) {
            tree.whole = false;
            let text = format!("{len} blocks from {block} on are not inside one group's area for data");
            return self.out.error("extent", place.field("block"), text);
        }
        let unit = u64::from(self.view.geometry.unit_blocks());
        if !(page.is_multiple_of(unit) && block.0.is_multiple_of(unit) && len.is_multiple_of(unit)) {
            let text = format!("page {page}, {block}, {len} blocks: not all multiples of {unit}");
            self.out.error("extent", place.clone().field("block"), text);
        }
        tree.data += len;
        match self.owners.claim(block, len) {
            Claim::Granted => {}
            Claim::Shared { first, count } => {
                let text = format!("{count} blocks, the first of them {first}, have another owner");
                self.out.error("shared-block", place.field("block"), text);
            }
            Claim::TooMany => {
                self.out.error("shared-block", place.field("block"), "more blocks are claimed than the pool has");
            }
        }
    }

    fn name(&mut self, tree: &mut Tree, key: u64, value: &[u8], place: Place) {
        let entry = match DirentValue::read(value, tree.ino, key) {
            Ok(entry) => entry,
            Err(error) => {
                tree.whole = false;
                return self.out.error("directory-entry", place.field_of(&error), error.to_string());
            }
        };
        self.out.report.summary.names += 1;
        tree.name_bytes = tree.name_bytes.saturating_add(entry.name.len() as u64 + ENTRY_BYTES);
        let hash = name_key(entry.name, self.salt);
        if key & !(KEYS_PER_NAME - 1) != hash {
            let text = format!("key {key} is not that of {}", show(entry.name));
            self.out.error("directory-key", place.clone().field("key"), text);
        }
        if key & !(KEYS_PER_NAME - 1) != tree.hash {
            tree.hash = key & !(KEYS_PER_NAME - 1);
            tree.same.clear();
        }
        if tree.same.iter().any(|name| name == entry.name) {
            let text = format!("{} is there twice", show(entry.name));
            self.out.error("directory-entry", place.clone().field("name"), text);
        }
        tree.same.push(entry.name.to_vec());
        self.target(tree.index, key, &entry, place);
    }

    /// What a name means must be there, be of the type that the entry says, and be named once if it is a directory.
    fn target(&mut self, index: usize, key: u64, entry: &DirentValue<'_>, place: Place) {
        let (child, name) = (entry.ino, show(entry.name));
        let at = self.table.index(child).filter(|at| self.table.at(*at).state != State::Free);
        let Some(at) = at else {
            let dir = self.table.ino(index);
            let node = place.block.filter(|block| *block != dir.block().0).map(Block);
            self.mends.push(Mend::Entry { dir, node, key });
            self.mends.inode_maps_sound &= !self.is_hidden(child);
            let why = if self.view.bit(child.block(), BitmapKind::Inodes) { "free" } else { "in no block of inodes" };
            return self.out.error(
                "dangling-entry",
                place.field("ino"),
                format!("{name} means {child}, which is {why}"),
            );
        };
        let State::Live(live) = self.table.at(at).state else { return };
        if live != entry.kind {
            let text = format!("{name} gives type {}, and {child} is of type {live}", entry.kind);
            self.out.error("entry-type", place.clone().field("type"), text);
        }
        let Some(known) = self.table.at_mut(at) else { return };
        known.names = known.names.saturating_add(1);
        let first = known.namer == NOBODY;
        if first {
            known.namer = index as u32;
        }
        if live == TYPE_DIRECTORY {
            if !first || child == self.root {
                let text = format!("{name} means {child}, a directory that has a place already");
                self.out.error("directory-names", place.field("ino"), text);
            }
            if let Some(parent) = self.table.at_mut(index) {
                parent.subdirectories = parent.subdirectories.saturating_add(1);
            }
        }
    }
}

impl Checker<'_, '_, '_> {
    /// Whether there is a sound inode in a block that is not marked as one of inodes: the mark may be what is wrong.
    fn is_hidden(&self, ino: Ino) -> bool {
        let record = || self.view.record(ino);
        self.table.index(ino).is_none()
            && self.view.geometry.owns(ino.block(), 1)
            && !record().is_free()
            && record().verify(ino).is_ok()
    }
}

/// A name for people.
pub(crate) fn show(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}
