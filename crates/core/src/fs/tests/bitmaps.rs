//! The independent half of [`verify`](super::verify): it reads tree nodes and allocation bitmaps with `format` alone.

use std::collections::{BTreeMap, BTreeSet};

use format::{BitmapBlock, BitmapKind, Group, GroupHeader, GroupState, NodeRef, bit_place};
use zerocopy::FromBytes;

use super::*;
use crate::meta::NodeStore;
use crate::types::Block;

impl Fs {
    /// The blocks of the nodes below an inode's record.
    pub(super) fn tree_blocks(&self, node: &Node) -> Vec<u64> {
        let rec = *self.meta().inode(node.ino()).expect("a record");
        let mut blocks = Vec::new();
        if crate::fs::record::owns_extents(&rec).expect("a kind") || node.kind() == Kind::Directory {
            self.add_children(&rec.inline_node(), &mut blocks);
        }
        blocks
    }

    fn add_children(&self, node: &NodeRef<'_>, blocks: &mut Vec<u64>) {
        if node.level() == 0 {
            return;
        }
        for index in 0..node.count() {
            let child = node.child(index).expect("a child's block");
            blocks.push(child.0);
            let bytes = self.meta().node(child).expect("a node");
            self.add_children(&NodeRef::block(bytes.bytes()), blocks);
        }
    }

    /// The blocks of a long symbolic link's target.
    pub(super) fn target_blocks(&self, node: &Node) -> Vec<u64> {
        let rec = *self.meta().inode(node.ino()).expect("a record");
        let run = crate::fs::place::lookup_in(&**self.meta(), &rec, 0).expect("a run");
        let first = run.block_at(0).expect("a block");
        (first.0..first.0 + run.pages).collect()
    }

    /// The marked blocks must be those of the files and those of inodes, and no others.
    pub(super) fn compare_with_bitmaps(&self, owners: &BTreeMap<u64, u64>, inos: &BTreeSet<u64>) {
        if self.access() == Access::ReadWrite {
            self.meta().checkpoint(&mut order::unlocked()).expect("a checkpoint");
        }
        let (mut used, mut inode_blocks) = (BTreeSet::new(), BTreeSet::new());
        for group in self.meta().geometry().groups() {
            let own = group.own_blocks();
            let in_group = self.marked(&group, BitmapKind::Used);
            let active = !in_group.is_empty();
            assert!(!active || (0..own).all(|bit| in_group.contains(&bit)), "the group's own blocks are marked");
            used.extend(in_group.into_iter().filter(|bit| *bit >= own).map(|bit| group.first.0 + u64::from(bit)));
            let inodes = self.marked(&group, BitmapKind::Inodes);
            inode_blocks.extend(inodes.into_iter().map(|bit| group.first.0 + u64::from(bit)));
        }
        let needed: BTreeSet<u64> = inos.iter().map(|ino| ino >> 3).collect();
        assert!(inode_blocks.is_superset(&needed), "an inode outside of the inode blocks");
        let mut owned: BTreeSet<u64> = owners.keys().copied().collect();
        owned.extend(&inode_blocks);
        let leaked: Vec<_> = used.difference(&owned).take(10).collect();
        let unmarked: Vec<_> = owned.difference(&used).take(10).collect();
        assert!(leaked.is_empty() && unmarked.is_empty(), "leaked {leaked:?}, owned and free {unmarked:?}");
        assert_eq!(owned.len(), owners.len() + inode_blocks.len(), "a file owns an inode block");
        let stat = self.statfs();
        assert_eq!(stat.blocks - stat.blocks_free, used.len() as u64, "the count of used blocks");
    }

    fn marked(&self, group: &Group, kind: BitmapKind) -> BTreeSet<u32> {
        let header = GroupHeader::read_from_bytes(&self.block(group.first)[..64]).expect("a block");
        if header.verify(group).expect("a sound header") == GroupState::Fresh {
            return BTreeSet::new();
        }
        let blocks: Vec<BitmapBlock> = (0..group.bitmap_blocks)
            .map(|number| {
                let at = group.bitmap_block(kind, number).expect("a bitmap's place");
                let bitmap = BitmapBlock::read_from_bytes(&self.block(at)).expect("a block");
                bitmap.verify(group, kind, number).expect("a sound bitmap");
                bitmap
            })
            .collect();
        let is_set = |bit: &u32| {
            let place = bit_place(*bit);
            blocks[place.number as usize].bits[place.byte] & place.mask != 0
        };
        (0..group.blocks).filter(is_set).collect()
    }

    fn block(&self, at: Block) -> [u8; 4096] {
        let mut bytes = [0; 4096];
        self.pool().read(at.0 * 4096, &mut bytes);
        bytes
    }
}
