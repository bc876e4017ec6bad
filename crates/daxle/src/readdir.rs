//! Listing a directory.
//!
//! Entries are fetched in batches, each a snapshot; the position between two batches stays right while
//! other names come and go.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use engine::fs::Node;
use engine::types::{Ino, Kind};

use crate::error::{Doing, Result};
use crate::metadata::FileType;
use crate::pool_handle::Inner;

/// Entries fetched at once.
const BATCH: usize = 128;

/// The entries of a directory, without "." and "..", in no order.
#[derive(Debug)]
pub struct ReadDir {
    pool: Arc<Inner>,
    dir: Node,
    cookie: u64,
    batch: VecDeque<DirEntry>,
    done: bool,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    name: OsString,
    ino: Ino,
    kind: Kind,
}

impl ReadDir {
    pub(crate) fn new(pool: Arc<Inner>, dir: Node) -> Result<ReadDir> {
        let mut listing = ReadDir { pool, dir, cookie: 0, batch: VecDeque::new(), done: false };
        listing.fetch()?;
        Ok(listing)
    }

    fn fetch(&mut self) -> Result<()> {
        let (batch, cookie) = (&mut self.batch, &mut self.cookie);
        let mut taken = 0;
        self.pool
            .fs
            .read_dir(&self.dir, *cookie, &mut |entry| {
                if taken == BATCH {
                    return ControlFlow::Break(());
                }
                taken += 1;
                *cookie = entry.cookie;
                if entry.name != b"." && entry.name != b".." {
                    let name = OsString::from_vec(entry.name.to_vec());
                    batch.push_back(DirEntry { name, ino: entry.ino, kind: entry.kind });
                }
                ControlFlow::Continue(())
            })
            .doing("list a directory")?;
        self.done = taken < BATCH;
        Ok(())
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Result<DirEntry>> {
        while self.batch.is_empty() && !self.done {
            if let Err(error) = self.fetch() {
                self.done = true;
                return Some(Err(error));
            }
        }
        self.batch.pop_front().map(Ok)
    }
}

impl DirEntry {
    /// The name.
    pub fn file_name(&self) -> &OsStr {
        &self.name
    }

    /// The name as bytes.
    pub fn name_bytes(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// What it names.
    pub fn file_type(&self) -> FileType {
        FileType::new(self.kind)
    }

    /// The inode number of what it names.
    pub fn ino(&self) -> Ino {
        self.ino
    }
}
