//! Every inode record, and every tree below one.

use format::{
    BitmapKind, Block, DirentValue, EXTENT_BYTES, ExtentValue, INODE_BYTES, INODES_PER_BLOCK, Ino, InodeRecord,
    KEYS_PER_NAME, KIND_DIRECTORY, KIND_EXTENTS, NodeRef, name_key, verify_node,
};

use crate::CheckOptions;
use crate::image::Image;
use crate::owners::{Claim, Owners};
use crate::report::{Findings, Place};
use crate::table::{NOBODY, State, Table};

/// File types, `st_mode >> 12`.
pub(crate) const TYPE_DIRECTORY: u8 = 4;
const TYPE_FILE: u8 = 8;
const TYPE_SYMLINK: u8 = 10;

/// What is known after the records were read.
pub(crate) struct Walked {
    pub table: Table,
    pub owners: Owners,
    pub live: u64,
}

/// Reads every inode record.
pub(crate) fn inodes(image: &mut Image<'_>, findings: &mut Findings, options: &mut CheckOptions<'_>) -> Walked {
    let mut state = Walked { table: Table::default(), owners: Owners::new(image.geometry), live: 0 };
    for group in image.geometry.groups() {
        let Some(Some(maps)) = image.maps.get(group.index as usize) else { continue };
        let blocks: Vec<Block> = (group.own_blocks()..group.blocks)
            .filter(|bit| maps.inodes.get(*bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1))
            .map(|bit| group.first.plus(u64::from(bit)))
            .collect();
        for block in blocks {
            if !image.is_set(BitmapKind::Used, block) {
                findings.error("inode-block-free", Place::block(block), "an inode block is marked as free");
            }
            claim(&mut state.owners, findings, block, 1, Place::block(block));
            let states = records(image, findings, &mut state, block);
            state.table.push(block, &states);
            if let Some(progress) = &mut options.progress {
                progress(state.table.block_count() as u64, 0);
            }
        }
    }
    state
}

fn records(
    image: &Image<'_>,
    findings: &mut Findings,
    state: &mut Walked,
    block: Block,
) -> [State; INODES_PER_BLOCK as usize] {
    let mut states = [State::Free; INODES_PER_BLOCK as usize];
    for (slot, known) in (0_u8..).zip(states.iter_mut()) {
        let ino = Ino::from_parts(block, slot);
        let Some((record, torn)) = record(image, ino) else { continue };
        let verdict = if torn { record.verify_form(ino) } else { record.verify(ino) };
        *known = match verdict {
            Err(error) => {
                findings.error("inode-record", Place::inode(ino).field_of(&error), error.to_string());
                State::Damaged
            }
            Ok(()) if record.is_free() => State::Free,
            Ok(()) => {
                state.live += 1;
                findings.report.summary.inodes += 1;
                State::Live((record.mode() >> 12) as u8)
            }
        };
    }
    states
}

/// An inode's record, and whether a journal record touched it.
pub(crate) fn record(image: &Image<'_>, ino: Ino) -> Option<(InodeRecord, bool)> {
    let (bytes, touched) = image.block(ino.block());
    let start = usize::from(ino.slot()) * INODE_BYTES;
    let bytes: &[u8; INODE_BYTES] = bytes.get(start..start + INODE_BYTES)?.try_into().ok()?;
    Some((*InodeRecord::from_bytes(bytes), touched >> ino.slot() & 1 == 1))
}

/// Walks the tree of every live inode.
pub(crate) fn contents(
    image: &mut Image<'_>,
    findings: &mut Findings,
    state: &mut Walked,
    options: &mut CheckOptions<'_>,
) {
    let all = state.table.len() as u64;
    for index in 0..state.table.len() {
        let ino = state.table.ino(index);
        let State::Live(kind) = state.table.at(index).state else { continue };
        let Some((record, _)) = record(image, ino) else { continue };
        match kind {
            TYPE_FILE => file(image, findings, state, &record),
            TYPE_SYMLINK if record.size() > format::INLINE_BYTES as u64 => file(image, findings, state, &record),
            TYPE_DIRECTORY => directory(image, findings, state, &record, index),
            _ => {
                if record.blocks() != 0 {
                    let text = format!("blocks is {} on an inode that owns none", record.blocks());
                    findings.error("inode-blocks", Place::inode(ino).field("blocks"), text);
                }
            }
        }
        if let Some(progress) = &mut options.progress
            && index % 1024 == 0
        {
            progress(index as u64, all);
        }
    }
    findings.report.summary.orphans = image.orphans.len() as u64;
}

/// Told of every entry: its key, its value, its place.
type EachEntry<'e> = dyn FnMut(&mut Findings, &mut Owners, u64, &[u8], Place) + 'e;

/// What a walk of one tree gathers.
struct Tree<'w, 'e> {
    ino: Ino,
    kind: u8,
    nodes: u64,
    entry: &'w mut EachEntry<'e>,
}

/// Walks a tree from its inline root; gives the number of its nodes.
fn walk(
    image: &Image<'_>,
    findings: &mut Findings,
    owners: &mut Owners,
    record: &InodeRecord,
    kind: u8,
    entry: &mut EachEntry<'_>,
) -> u64 {
    let ino = record.ino();
    let root = record.inline_node();
    if let Err(error) = root.validate(kind, ino) {
        findings.error("tree-root", Place::inode(ino).field("inline"), error.to_string());
        return 0;
    }
    let mut tree = Tree { ino, kind, nodes: 0, entry };
    page(image, findings, owners, &mut tree, root, None, (0, None));
    tree.nodes
}

/// One page of a tree and all below it. Recursion ends with the level.
fn page(
    image: &Image<'_>,
    findings: &mut Findings,
    owners: &mut Owners,
    tree: &mut Tree<'_, '_>,
    node: NodeRef<'_>,
    at: Option<Block>,
    bounds: (u64, Option<u64>),
) {
    for index in 0..node.count() {
        let place = Place::entry(tree.ino, at, index);
        let key = node.key(index);
        if node.level() == 0 {
            if key < bounds.0 || bounds.1.is_some_and(|high| key >= high) {
                findings.error("node-bounds", place.clone(), format!("key {key} lies outside of its node's bounds"));
            }
            (tree.entry)(findings, owners, key, node.value(index), place);
            continue;
        }
        let Some(child) = node.child(index) else {
            findings.error("node-child", place, "the value of an interior entry is no block");
            continue;
        };
        let low = if index == 0 { bounds.0 } else { key };
        let high = if index + 1 < node.count() { Some(node.key(index + 1)) } else { bounds.1 };
        descend(image, findings, owners, tree, child, node.level(), (low, high), &place);
    }
}

#[allow(clippy::too_many_arguments)] // the state of one step of a recursion
fn descend(
    image: &Image<'_>,
    findings: &mut Findings,
    owners: &mut Owners,
    tree: &mut Tree<'_, '_>,
    child: Block,
    level: u8,
    bounds: (u64, Option<u64>),
    from: &Place,
) {
    if !image.geometry.owns(child, 1) {
        findings.error("node-child", from.clone(), format!("its child, {child}, is no block of a group"));
        return;
    }
    if !claim(owners, findings, child, 1, from.clone()) {
        return;
    }
    tree.nodes += 1;
    let (mut bytes, touched) = image.block(child);
    if touched != 0 {
        format::seal_node(&mut bytes);
    }
    let wrong = |why: String| (Place { inode: Some(tree.ino.0), ..Place::block(child) }, why);
    let verdict = match verify_node(&bytes, child) {
        Err(error) => {
            Err((Place { inode: Some(tree.ino.0), ..Place::block(child) }.field_of(&error), error.to_string()))
        }
        Ok(owner) if owner != tree.ino => Err(wrong(format!("the node belongs to {owner}"))),
        Ok(_) => {
            let node = NodeRef::block(&bytes);
            if node.kind() != tree.kind || node.level() + 1 != level || node.count() == 0 {
                Err(wrong(format!(
                    "a node of kind {}, level {}, with {} entries",
                    node.kind(),
                    node.level(),
                    node.count()
                )))
            } else {
                Ok(())
            }
        }
    };
    match verdict {
        Err((place, why)) => findings.error("node", place, why),
        Ok(()) => page(image, findings, owners, tree, NodeRef::block(&bytes), Some(child), bounds),
    }
}

/// Claims blocks for an owner; false if somebody has them, or there is no end of claims.
fn claim(owners: &mut Owners, findings: &mut Findings, first: Block, count: u64, place: Place) -> bool {
    match owners.claim(first, count) {
        Claim::Granted => true,
        Claim::Shared { first, count } => {
            findings.error("shared-block", place, format!("{count} blocks from {first} on have two owners"));
            false
        }
        Claim::TooMany => {
            findings.error("shared-block", place, "more blocks are claimed than the pool has");
            false
        }
    }
}

fn file(image: &Image<'_>, findings: &mut Findings, state: &mut Walked, record: &InodeRecord) {
    let ino = record.ino();
    let geometry = image.geometry;
    let (mut data, mut end) = (0_u64, 0_u64);
    let nodes =
        walk(image, findings, &mut state.owners, record, KIND_EXTENTS, &mut |findings, owners, page, value, place| {
            let (block, len) = match ExtentValue::read(value, ino, page) {
                Ok((block, len, _)) => (block, u64::from(len)),
                Err(error) => return findings.error("extent", place.field_of(&error), error.to_string()),
            };
            if page < end {
                findings.error(
                    "extent-overlap",
                    place.clone(),
                    format!("page {page} lies inside the extent before it"),
                );
            }
            end = page.saturating_add(len);
            if !geometry.owns(block, len) {
                return findings.error(
                    "extent",
                    place.field("block"),
                    format!("{len} blocks from {block} on are outside"),
                );
            }
            data += len;
            claim(owners, findings, block, len, place);
        });
    debug_assert_eq!(EXTENT_BYTES, 16);
    if data + nodes != record.blocks() {
        let text = format!("blocks is {}, and the tree owns {}", record.blocks(), data + nodes);
        findings.error("inode-blocks", Place::inode(ino).field("blocks"), text);
    }
    findings.report.summary.blocks += data + nodes;
}

fn directory(image: &Image<'_>, findings: &mut Findings, state: &mut Walked, record: &InodeRecord, index: usize) {
    let ino = record.ino();
    findings.report.summary.directories += 1;
    let mut names: Vec<(Ino, u8)> = Vec::new();
    let salt = image.salt;
    let nodes =
        walk(image, findings, &mut state.owners, record, KIND_DIRECTORY, &mut |findings, _, key, value, place| {
            let entry = match DirentValue::read(value, ino, key) {
                Ok(entry) => entry,
                Err(error) => return findings.error("directory-entry", place.field_of(&error), error.to_string()),
            };
            let first = name_key(entry.name, salt);
            if !(first..first + KEYS_PER_NAME).contains(&key) {
                findings.error(
                    "directory-key",
                    place.clone().field("key"),
                    format!("key {key} does not belong to the name"),
                );
            }
            names.push((entry.ino, entry.kind));
        });
    findings.report.summary.names += names.len() as u64;
    findings.report.summary.blocks += nodes;
    if nodes != record.blocks() {
        let text = format!("blocks is {}, and the tree owns {nodes}", record.blocks());
        findings.error("inode-blocks", Place::inode(ino).field("blocks"), text);
    }
    for (child, kind) in names {
        name(findings, state, ino, index, child, kind);
    }
}

/// A name in directory `ino` means `child`.
fn name(findings: &mut Findings, state: &mut Walked, ino: Ino, index: usize, child: Ino, kind: u8) {
    let place = Place::inode(ino);
    let Some(at) = state.table.index(child) else {
        return findings.error("dangling-entry", place, format!("a name means {child}, which is in no inode block"));
    };
    match state.table.at(at).state {
        State::Free => return findings.error("dangling-entry", place, format!("a name means {child}, which is free")),
        State::Damaged => return,
        State::Live(live) if live != kind => {
            findings.error("entry-type", place, format!("a name gives {child} type {kind}, and it is of type {live}"));
        }
        State::Live(_) => {}
    }
    let is_directory = state.table.at(at).state == State::Live(TYPE_DIRECTORY);
    if let Some(known) = state.table.at_mut(at) {
        known.names = known.names.saturating_add(1);
        if known.namer == NOBODY {
            known.namer = index as u32;
        } else if is_directory {
            findings.error("directory-names", Place::inode(child), "a directory has two names");
        }
    }
    if is_directory && let Some(parent) = state.table.at_mut(index) {
        parent.subdirectories = parent.subdirectories.saturating_add(1);
    }
}
