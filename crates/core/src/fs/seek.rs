//! Where data and holes are: `seek`, and the report of a file's runs.
//!
//! Unwritten blocks count as holes: what a store through a mapping fills is written before the store goes through.

use std::ops::Range;

use super::Fs;
use super::inode::Node;
use crate::error::FsError;
use crate::types::{PAGE_BYTES, Run, RunState, Seek};

/// Runs that one report holds at most.
const RUNS_MAX: usize = 1 << 20;

impl Fs {
    /// The next offset at or after `offset` that has data, or is in a hole. The end of the file is a hole.
    ///
    /// Locks: Inode (shared), `ExtentMap` (shared).
    ///
    /// # Errors
    /// `PastEnd` if `offset` is at or past the end, or no data follows.
    pub fn seek(&self, node: &Node, offset: u64, what: Seek) -> Result<u64, FsError> {
        self.demand_own(node)?;
        node.inode.demand_file()?;
        let mut held = order::unlocked();
        let (_inode, mut held) = node.inode.lock.read(&mut held);
        let size = node.inode.size();
        let mut at = offset;
        while at < size {
            let run = self.run_at(&mut held, &node.inode, at / PAGE_BYTES)?;
            let is_data = matches!(run.state, RunState::Written(_));
            if is_data == (what == Seek::Data) {
                return Ok(at);
            }
            at = run.end().saturating_mul(PAGE_BYTES);
        }
        if offset < size && what == Seek::Hole { Ok(size) } else { Err(FsError::PastEnd) }
    }

    /// The runs of the pages, holes included, in order. Ends with the last mapped page or the end of the range, and after a
    /// million runs: go on from the last run's end.
    ///
    /// Locks: Inode (shared), `ExtentMap` (shared).
    pub fn runs(&self, node: &Node, pages: Range<u64>) -> Result<Vec<Run>, FsError> {
        self.demand_own(node)?;
        node.inode.demand_file()?;
        let mut held = order::unlocked();
        let (_inode, mut held) = node.inode.lock.read(&mut held);
        let mut runs = Vec::new();
        let mut at = pages.start;
        while at < pages.end && runs.len() < RUNS_MAX {
            let Some(mapped) = self.next_mapped(&mut held, &node.inode, at)? else { break };
            if mapped.page > at {
                runs.push(Run::hole(at, mapped.page.min(pages.end) - at));
            }
            if mapped.page < pages.end {
                runs.push(mapped.part(mapped.page, pages.end - mapped.page));
            }
            at = mapped.end();
        }
        Ok(runs)
    }
}
