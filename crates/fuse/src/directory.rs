//! Reading directories: pieces collected under the directory's lock, replies filled without it.
//!
//! A position is the engine's cookie of the next entry, so that names may come and go while a directory is read. In the
//! long form (with attributes) each name is looked up again: between collecting and replying it may have gone or come to
//! mean another file, and the kernel will remember what it is told.

use crate::convert::{file_attr, file_type};
use crate::server::Server;
use engine::FsError;
use engine::fs::Node;
use fuser::{Generation, ReplyDirectory, ReplyDirectoryPlus};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Entries collected at once.
const BATCH: usize = 64;

struct Entry {
    next: u64,
    name: Vec<u8>,
}

impl Server {
    /// Fills the short form from a position on.
    pub(crate) fn fill(&self, dir: &Node, mut from: u64, reply: &mut ReplyDirectory) -> Result<(), FsError> {
        loop {
            let mut full = false;
            let mut last = from;
            self.engine().read_dir(dir, from, &mut |entry| {
                let number = self.nodes.number(entry.ino);
                full = reply.add(number, entry.cookie, file_type(entry.kind), OsStr::from_bytes(entry.name));
                if full {
                    return ControlFlow::Break(());
                }
                last = entry.cookie;
                ControlFlow::Continue(())
            })?;
            if full || last == from {
                return Ok(());
            }
            from = last;
        }
    }

    /// Fills the long form from a position on.
    pub(crate) fn fill_plus(&self, dir: &Node, mut from: u64, reply: &mut ReplyDirectoryPlus) -> Result<(), FsError> {
        loop {
            let batch = self.collect(dir, from)?;
            let Some(last) = batch.last() else { return Ok(()) };
            from = last.next;
            for entry in &batch {
                if self.add_plus(dir, entry, reply)? {
                    return Ok(());
                }
            }
        }
    }

    fn collect(&self, dir: &Node, from: u64) -> Result<Vec<Entry>, FsError> {
        let mut batch = Vec::with_capacity(BATCH);
        self.engine().read_dir(dir, from, &mut |entry| {
            if batch.len() == BATCH {
                return ControlFlow::Break(());
            }
            batch.push(Entry { next: entry.cookie, name: entry.name.to_vec() });
            ControlFlow::Continue(())
        })?;
        Ok(batch)
    }

    /// Adds one entry; true if the reply is full and the entry is not in it.
    fn add_plus(&self, dir: &Node, entry: &Entry, reply: &mut ReplyDirectoryPlus) -> Result<bool, FsError> {
        let name = OsStr::from_bytes(&entry.name);
        let stamp = self.listener.stamp();
        let node = match self.engine().lookup(dir, &entry.name) {
            Ok(node) => node,
            Err(FsError::NotFound | FsError::Stale) => return Ok(false),
            Err(error) => return Err(error),
        };
        // The kernel skips these two and does not count them as told.
        let counted = entry.name != b"." && entry.name != b"..";
        if counted {
            self.nodes.told(&node);
        }
        let number = self.nodes.number(node.ino());
        let added = self.engine().attr(&node).map(|attr| {
            let generation = Generation(u64::from(node.generation()));
            let attr = file_attr(number, &attr);
            !reply.add(number, entry.next, name, &self.ttl(stamp), &attr, generation)
        });
        if counted && !matches!(added, Ok(true)) {
            self.nodes.forget(number, 1);
        }
        match added {
            Ok(added) => Ok(!added),
            Err(FsError::Stale) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
