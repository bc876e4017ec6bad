//! Checkpoints: what the journal says goes to its places, and the journal is emptied.
//!
//! The order is the whole matter, and two proofs carry it through the types:
//! 1. `Durable`: every record is durable (on msync pools also said so by `synced_seq`). Only then may anything be written
//!    in place: a record that is ignored by recovery must not have been half applied.
//! 2. Dirty nodes, inodes and bitmaps are written with fresh checksums, the set of orphans is appended as a record, and all
//!    is made durable. Then the headers of groups that were used for the first time, which vouch for their bitmaps.
//!    Now there is an `Applied`.
//! 3. A header slot moves the tail; what lies before it may be overwritten.
//!
//! A crash in between leaves the old tail: recovery replays the records over objects that hold some of them already, or
//! that are torn, and gets the same result, since every byte that differs stands in a record.

use format::{Block, Entry, Group as GroupPlace, GroupState, Ino, RecordBuilder, U64};
use order::sync::atomic::Ordering;
use order::{Before, Held, level};
use pool::Pool;

use super::Meta;
use super::alloc::Groups;
use super::journal::{Durable, TailChange};
use super::media;
use super::tx::Seq;
use crate::error::FsError;

/// Proof that everything the journal says up to `tail` is durable in place.
struct Applied {
    tail: u64,
    tail_seq: Seq,
}

/// Whether the pool is left for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Work goes on.
    Open,
    /// This was the last.
    Clean,
}

impl Meta {
    /// Runs a checkpoint. It waits for the transactions that are open; nobody commits while it runs.
    pub(super) fn checkpoint_as<P: Before<level::Transaction>>(
        &self,
        held: &mut Held<'_, P>,
        ending: Ending,
    ) -> Result<(), FsError> {
        self.check_writable()?;
        let (_guard, mut held) = self.transaction.write(held);
        if ending == Ending::Clean {
            self.closed.store(true, Ordering::SeqCst);
        }
        let result = self.checkpoint_alone(&mut held, ending);
        if result.is_err() {
            self.shut_down("a checkpoint failed");
        }
        result
    }

    fn checkpoint_alone<P: Before<level::JournalTail>>(
        &self,
        held: &mut Held<'_, P>,
        ending: Ending,
    ) -> Result<(), FsError> {
        let durable = self.journal.sync(&*self.pool)?;
        let applied = self.write_in_place(held, &durable)?;
        self.journal.move_tail(
            &*self.pool,
            &TailChange {
                tail: applied.tail,
                tail_seq: applied.tail_seq,
                used_blocks: self.groups.used.load(Ordering::SeqCst),
                used_inodes: self.groups.inodes.load(Ordering::SeqCst),
                clean: ending == Ending::Clean,
            },
        )
    }

    fn write_in_place<P: Before<level::JournalTail>>(
        &self,
        held: &mut Held<'_, P>,
        durable: &Durable,
    ) -> Result<Applied, FsError> {
        let pool = &*self.pool;
        debug_assert!(durable.seq >= self.journal.appended(), "nobody commits during a checkpoint");
        for (ino, record) in self.inodes.dirty() {
            media::write_inode(pool, Ino(ino), &record);
        }
        for (block, node) in self.nodes.dirty() {
            media::write_node(pool, Block(block), &node);
        }
        let activated = write_bitmaps(pool, &self.groups)?;
        let (tail, tail_seq) = self.log_orphans(held)?;
        make_durable(pool)?;
        if !activated.is_empty() {
            for place in &activated {
                media::write_group_header(pool, place, GroupState::Active);
            }
            make_durable(pool)?;
        }
        self.inodes.mark_clean();
        self.nodes.mark_clean();
        Ok(Applied { tail, tail_seq })
    }

    /// Appends the set of orphans, if there are any: where the journal begins.
    fn log_orphans<P: Before<level::JournalTail>>(&self, held: &mut Held<'_, P>) -> Result<(u64, Seq), FsError> {
        let orphans = self.orphans();
        if orphans.is_empty() {
            return Ok(self.journal.next(held));
        }
        let mut record = RecordBuilder::new();
        let inos: Vec<U64> = orphans.iter().map(|ino| U64::new(ino.0)).collect();
        record.push(&Entry::OrphanSnapshot { inos: &inos });
        let (seq, position) = self.journal.append_own(&*self.pool, held, &mut record)?;
        Ok((position, seq))
    }
}

/// Writes the bitmaps that changed; the groups whose headers must follow.
fn write_bitmaps(pool: &dyn Pool, groups: &Groups) -> Result<Vec<GroupPlace>, FsError> {
    let mut activated = Vec::new();
    for group in groups.loaded() {
        let mut committed = group.committed.leaf();
        let Some(maps) = committed.maps.as_deref_mut() else { continue };
        if !maps.changed() {
            continue;
        }
        media::back_group(pool, &group.place)?;
        maps.write(pool, &group.place);
        if std::mem::take(&mut maps.fresh) {
            activated.push(group.place);
        }
    }
    Ok(activated)
}

/// All stores so far, durable as far as the pool's class goes. In-place writes flush as they go.
fn make_durable(pool: &dyn Pool) -> Result<(), FsError> {
    pool.fence();
    pool.sync().map_err(|error| media::pool_error(&error))
}
