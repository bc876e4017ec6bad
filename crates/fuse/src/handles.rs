//! What is open: files by the numbers that the kernel was given for them.
//!
//! A handle keeps its node, and for a cached open also the view that keeps direct mappings away; both go with the
//! last close. Locks: leaves, one shard at a time; nothing is dropped under them.

use engine::fs::{Node, View};
use fuser::FileHandle;
use order::level;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SHARDS: u64 = 16;

/// One open of a file.
pub(crate) struct OpenFile {
    pub(crate) node: Node,
    /// Held only to be dropped at the last close: while it exists the file cannot be mapped directly.
    _cached: Option<View>,
}

impl OpenFile {
    pub(crate) fn new(node: Node, cached: Option<View>) -> OpenFile {
        OpenFile { node, _cached: cached }
    }
}

/// The table of open files.
pub(crate) struct Handles {
    next: AtomicU64,
    shards: [order::Mutex<level::HandleTable, HashMap<u64, Arc<OpenFile>>>; SHARDS as usize],
}

impl Handles {
    pub(crate) fn new() -> Handles {
        Handles { next: AtomicU64::new(1), shards: std::array::from_fn(|_| order::Mutex::default()) }
    }

    fn shard(&self, number: u64) -> &order::Mutex<level::HandleTable, HashMap<u64, Arc<OpenFile>>> {
        &self.shards[(number % SHARDS) as usize]
    }

    pub(crate) fn insert(&self, file: OpenFile) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(number).leaf().insert(number, Arc::new(file));
        FileHandle(number)
    }

    pub(crate) fn get(&self, handle: FileHandle) -> Option<Arc<OpenFile>> {
        self.shard(handle.0).leaf().get(&handle.0).cloned()
    }

    pub(crate) fn remove(&self, handle: FileHandle) {
        let gone = self.shard(handle.0).leaf().remove(&handle.0);
        drop(gone);
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let all = std::mem::take(&mut *shard.leaf());
            drop(all);
        }
    }
}
