//! Inodes: the fields of each record, and what its tree says of them.

use format::{BLOCK_SIZE, Block, ExtentState, INLINE_BYTES, Ino, InodeRecord, KIND_DIRECTORY, KIND_EXTENTS};

use crate::Checker;
use crate::repair::Mend;
use crate::report::Place;
use crate::table::State;
use crate::tree::{TYPE_DIRECTORY, Tree};

const TYPE_CHAR_DEVICE: u8 = 2;
const TYPE_BLOCK_DEVICE: u8 = 6;
const TYPE_FILE: u8 = 8;
const TYPE_SYMLINK: u8 = 10;
/// Inodes between two reports of progress.
const PROGRESS_STEP: usize = 4096;

impl Checker<'_, '_, '_> {
    /// Every inode and its tree.
    pub(crate) fn inodes(&mut self) {
        let all = self.table.len();
        for index in 0..all {
            if index.is_multiple_of(PROGRESS_STEP) {
                self.progress(index as u64, all as u64);
            }
            let State::Live(kind) = self.table.at(index).state else { continue };
            let ino = self.table.ino(index);
            let record = self.view.record(ino);
            self.fields(ino, &record, kind);
            match kind {
                TYPE_FILE => {
                    let tree = self.tree(&record, KIND_EXTENTS, index);
                    self.compare_blocks(&record, &tree);
                }
                TYPE_DIRECTORY => self.directory(&record, index),
                TYPE_SYMLINK if record.size() > INLINE_BYTES as u64 => self.long_link(&record, index),
                _ => self.without_tree(ino, &record, kind),
            }
        }
        self.progress(all as u64, all as u64);
    }

    fn wrong(&mut self, ino: Ino, code: &'static str, field: &str, text: impl Into<String>) {
        self.out.error(code, Place::inode(ino).field(field), text);
    }

    /// Fields that have one value only in this version, or in this type.
    fn fields(&mut self, ino: Ino, record: &InodeRecord, kind: u8) {
        let reserved_b = record.reserved_b.iter().any(|byte| *byte != 0);
        for (field, bad) in [("reserved_a", record.reserved_a.get() != 0), ("reserved_b", reserved_b)] {
            if bad {
                self.out.warning("reserved", Place::inode(ino).field(field), "bytes that should be zero are not");
            }
        }
        if record.xattr_root() != 0 {
            let text = format!("xattr_root is {}, and this version has no extended attributes", record.xattr_root());
            self.wrong(ino, "inode-fields", "xattr_root", text);
        }
        if kind != TYPE_DIRECTORY && record.parent().0 != 0 {
            self.wrong(ino, "parent", "parent", format!("parent is {} of what is no directory", record.parent().0));
        }
        if !matches!(kind, TYPE_CHAR_DEVICE | TYPE_BLOCK_DEVICE) && record.rdev() != 0 {
            self.wrong(ino, "inode-fields", "rdev", format!("rdev is {:#x} of what is no device", record.rdev()));
        }
    }

    fn compare_blocks(&mut self, record: &InodeRecord, tree: &Tree) {
        let owned = tree.data + tree.nodes;
        self.out.report.summary.blocks += owned;
        if record.blocks() != owned && tree.whole {
            let text = format!("blocks is {}, and it owns {owned}", record.blocks());
            self.wrong(tree.ino, "inode-blocks", "blocks", text);
            self.mends.push(Mend::Blocks { ino: tree.ino, blocks: owned });
        }
    }

    fn directory(&mut self, record: &InodeRecord, index: usize) {
        self.out.report.summary.directories += 1;
        let tree = self.tree(record, KIND_DIRECTORY, index);
        self.compare_blocks(record, &tree);
        if !tree.whole {
            self.directories_whole = false;
        } else if record.size() != tree.name_bytes {
            let text = format!("size is {}, and its names count {}", record.size(), tree.name_bytes);
            self.wrong(tree.ino, "inode-size", "size", text);
            self.mends.push(Mend::Size { ino: tree.ino, size: tree.name_bytes });
        }
    }

    /// A link whose target is in a block: one extent, and no NUL in the target.
    fn long_link(&mut self, record: &InodeRecord, index: usize) {
        let tree = self.tree(record, KIND_EXTENTS, index);
        self.compare_blocks(record, &tree);
        let unit = u64::from(self.view.geometry.unit_blocks());
        match tree.first {
            Some((0, block, ExtentState::Written)) if tree.data == unit && tree.whole => {
                let size = (record.size() as usize).min(BLOCK_SIZE);
                if self.view.raw(block)[..size].contains(&0) {
                    self.wrong(tree.ino, "link-target", "size", "the target of a symbolic link contains NUL");
                }
            }
            _ if !tree.whole => {}
            _ => {
                let text = "the target of a symbolic link is not in one written extent at page 0";
                self.wrong(tree.ino, "link-target", "inline", text);
            }
        }
    }

    /// Short links, pipes, sockets, devices.
    fn without_tree(&mut self, ino: Ino, record: &InodeRecord, kind: u8) {
        if record.blocks() != 0 {
            self.mends.push(Mend::Blocks { ino, blocks: 0 });
            let text = format!("blocks is {}, and it owns none", record.blocks());
            self.wrong(ino, "inode-blocks", "blocks", text);
        }
        let mut used = 0;
        if kind == TYPE_SYMLINK {
            used = (record.size() as usize).min(INLINE_BYTES);
            if record.inline[..used].contains(&0) {
                self.wrong(ino, "link-target", "size", "the target of a symbolic link contains NUL");
            }
        } else if record.size() != 0 {
            self.wrong(ino, "inode-size", "size", format!("size is {} of what has no content", record.size()));
        }
        if record.inline[used..].iter().any(|byte| *byte != 0) {
            self.out.warning("reserved", Place::inode(ino).field("inline"), "bytes that should be zero are not");
        }
    }
}

/// The header slot's block, for findings about its totals.
pub(crate) fn totals_place(block: Block, field: &str) -> Place {
    Place::block(block).field(field)
}
