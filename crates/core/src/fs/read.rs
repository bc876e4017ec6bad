//! Reading.
//!
//! A read holds the Inode lock shared for its whole length, so that it sees a write whole or not at all, and blocks cannot
//! leave the file under it. `ExtentMap` is held only to look a run up: the copy may fault, and the fault needs `ExtentMap`.
//! Holes and unwritten blocks give zeros. No allocation, no transaction.

use order::{Held, level};

use super::inode::{Inode, Node};
use super::place::{lookup_in, offset_of};
use super::{Access, Fs};
use crate::error::FsError;
use crate::types::{PAGE_BYTES, Run, RunState};
use order::sync::atomic::Ordering::SeqCst;

impl Fs {
    /// Reads from `offset` on into the buffer; gives how many bytes there were. 0 at or past the end.
    ///
    /// Locks: Inode (shared); for each run `ExtentMap` (shared), not during the copy.
    ///
    /// # Errors
    /// `IsDirectory`, `Invalid` for what has no content, damaged metadata.
    pub fn read(&self, node: &Node, offset: u64, into: &mut [u8]) -> Result<usize, FsError> {
        self.demand_own(node)?;
        let inode = &*node.inode;
        inode.demand_file()?;
        let mut held = order::unlocked();
        let (_inode, mut held) = inode.lock.read(&mut held);
        let len = inode.size().saturating_sub(offset).min(into.len() as u64) as usize;
        if len == 0 {
            return Ok(0);
        }
        let mut run = self.first_run(&mut held, inode, offset / PAGE_BYTES)?;
        let mut done = 0;
        loop {
            done += self.read_run(&mut held, &run, offset + done as u64, &mut into[done..len]);
            if done == len {
                return Ok(len);
            }
            run = self.run_at(&mut held, inode, (offset + done as u64) / PAGE_BYTES)?;
        }
    }

    /// Looks the first run up, and notes the access while the record is at hand.
    fn first_run(&self, held: &mut Held<'_, level::Inode>, inode: &Inode, page: u64) -> Result<Run, FsError> {
        let (rec, _held) = inode.map.read(held);
        if self.access == Access::ReadWrite {
            inode.times.read(&rec, self.coarse_ns.load(SeqCst), || self.now());
        }
        lookup_in(&*self.meta, &rec, page)
    }

    /// Copies what the run has of the bytes from `at` on.
    fn read_run(&self, held: &mut Held<'_, level::Inode>, run: &Run, at: u64, into: &mut [u8]) -> usize {
        let len = (run.end().saturating_mul(PAGE_BYTES) - at).min(into.len() as u64) as usize;
        let into = &mut into[..len];
        let _copy = order::in_copy(held);
        match run.state {
            RunState::Written(first) => {
                let start = run.page * PAGE_BYTES;
                self.pool.read(offset_of(first) + (at - start), into);
            }
            RunState::Hole | RunState::Unwritten(_) => into.fill(0),
        }
        len
    }
}
