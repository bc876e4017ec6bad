//! What the kernel knows: each node it was told of, with the count of times.
//!
//! The kernel names a node by the number it was given, and may do so until it has forgotten it as often as it was told
//! of it. Until then the `Node` kept here holds the inode, so that a number never comes to mean another file. The root
//! is number 1 and always known; all others go by their inode number.
//!
//! Locks: leaves, one shard at a time. A `Node` is never dropped under one, since dropping the last may free a file.

use engine::fs::Node;
use engine::types::Ino;
use fuser::INodeNo;
use order::level;
use std::collections::HashMap;

const SHARDS: usize = 16;

#[derive(Debug)]
struct Known {
    node: Node,
    lookups: u64,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Nodes {
    root: Ino,
    shards: [order::Mutex<level::HandleTable, HashMap<u64, Known>>; SHARDS],
}

impl Nodes {
    pub(crate) fn new(root: Ino) -> Nodes {
        Nodes { root, shards: std::array::from_fn(|_| order::Mutex::default()) }
    }

    /// The kernel's number for an inode.
    pub(crate) fn number(&self, ino: Ino) -> INodeNo {
        if ino == self.root { INodeNo::ROOT } else { INodeNo(ino.0) }
    }

    /// The inode behind a number of the kernel.
    pub(crate) fn ino(&self, number: INodeNo) -> Ino {
        if number == INodeNo::ROOT { self.root } else { Ino(number.0) }
    }

    fn shard(&self, number: u64) -> &order::Mutex<level::HandleTable, HashMap<u64, Known>> {
        // Eight inodes share a block, and a directory's inodes lie side by side: mix all bits in.
        &self.shards[(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize]
    }

    /// The kernel is about to be told of this node once more.
    pub(crate) fn told(&self, node: &Node) {
        let number = node.ino().0;
        if let Some(known) = self.shard(number).leaf().get_mut(&number) {
            known.lookups += 1;
            return;
        }
        let fresh = Known { node: node.clone(), lookups: 0 };
        let mut spare = None;
        {
            let mut shard = self.shard(number).leaf();
            match shard.entry(number) {
                std::collections::hash_map::Entry::Occupied(mut known) => {
                    known.get_mut().lookups += 1;
                    spare = Some(fresh);
                }
                std::collections::hash_map::Entry::Vacant(place) => place.insert(fresh).lookups = 1,
            }
        }
        drop(spare);
    }

    /// The node that the kernel means.
    pub(crate) fn get(&self, number: INodeNo) -> Option<Node> {
        let ino = self.ino(number).0;
        self.shard(ino).leaf().get(&ino).map(|known| known.node.clone())
    }

    /// Whether the kernel may have something of this inode in its caches.
    pub(crate) fn knows(&self, ino: Ino) -> bool {
        ino == self.root || self.shard(ino.0).leaf().contains_key(&ino.0)
    }

    /// The kernel takes back `times` of the times it was told. The root stays.
    pub(crate) fn forget(&self, number: INodeNo, times: u64) {
        let ino = self.ino(number);
        if ino == self.root {
            return;
        }
        let gone = {
            let mut shard = self.shard(ino.0).leaf();
            match shard.get_mut(&ino.0) {
                Some(known) if known.lookups > times => {
                    known.lookups -= times;
                    None
                }
                Some(_) => shard.remove(&ino.0),
                None => None,
            }
        };
        drop(gone);
    }

    /// The connection is gone: nobody will forget any more.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let all = std::mem::take(&mut *shard.leaf());
            drop(all);
        }
    }
}
