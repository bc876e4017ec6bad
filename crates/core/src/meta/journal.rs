//! The journal: a ring of bytes into which each commit appends one record.
//!
//! Positions are logical: they grow for ever, and a position modulo the ring's length is a place in it. Between `tail` and
//! `head` lie the records that recovery would replay. Space is reserved when a transaction begins, at the most that its
//! size allows, so that a commit never waits for space; when a reservation does not fit, or half of the ring is full, the
//! one who asks runs a checkpoint first. A quarter of the ring stays free for the record that a checkpoint writes itself.
//!
//! When is a record durable? On volatile pools when it is written; on cpu-flush pools when it is flushed and fenced, which
//! `append` does before it returns; on msync pools when `sync` has (1) synced the pool, so that the record and all it
//! exposes are on the medium, (2) written a header slot with `synced_seq`, (3) synced again. One `sync` runs at a time, and
//! serves everybody who asked before it began.
//!
//! A header slot is never overwritten while it is the newest: the two are used in turn. A pool whose sync failed is shut
//! down: nothing more counts as durable.

use format::{JournalHeaderFields, RecordBuilder, limits};
use order::sync::atomic::{AtomicU64, Ordering};
use order::{Before, Condvar, Held, Mutex, level};
use pool::{Durability, Pool};

use super::media;
use super::tx::{Seq, TxSize};
use crate::error::FsError;

/// Journal bytes that one changed object takes at most: all of it, and the heads of its entries.
const OBJECT_BYTES: u64 = 4096 + 512;
/// Journal bytes for all else in a record: bits, orphans, head.
const REST_BYTES: u64 = 8192;

/// A place in the ring, and what the header slots say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    /// Byte offset of the ring in the pool.
    pub start: u64,
    pub len: u64,
}

/// Where a journal goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resume {
    /// Logical position of the next record.
    pub head: u64,
    /// The newest record there is.
    pub last_seq: u64,
    /// The next record's number: not always the one after the newest, see `recovery`.
    pub next_seq: u64,
}

struct Tail {
    head: u64,
    next_seq: u64,
}

/// What only one thread at a time may do: sync, and write header slots.
struct Turn {
    busy: bool,
    /// Syncs begun and ended so far.
    begun: u64,
    ended: u64,
    header: JournalHeaderFields,
}

/// The journal of an open pool.
pub(super) struct Journal {
    pub ring: Ring,
    uuid: [u8; 16],
    tail: Mutex<level::JournalTail, Tail>,
    /// Logical positions, for reservations.
    head_at: AtomicU64,
    tail_at: AtomicU64,
    reserved: AtomicU64,
    appended: AtomicU64,
    durable: AtomicU64,
    turn: Mutex<level::JournalState, Turn>,
    turned: Condvar,
}

/// Proof that every record up to this one is durable.
#[derive(Debug)]
pub(super) struct Durable {
    pub seq: Seq,
}

/// Space in the journal for one record. Dropping gives it back.
pub(super) struct Reservation<'m> {
    journal: &'m Journal,
    bytes: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.journal.reserved.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// The bytes that a transaction of a size may log.
fn bytes_max(size: TxSize) -> u64 {
    size.objects_max() as u64 * OBJECT_BYTES + REST_BYTES
}

impl Journal {
    /// The journal as recovery left it.
    pub fn new(ring: Ring, uuid: [u8; 16], header: JournalHeaderFields, resume: Resume) -> Journal {
        let Resume { head, last_seq, next_seq } = resume;
        Journal {
            ring,
            uuid,
            tail: Mutex::new(Tail { head, next_seq }),
            head_at: AtomicU64::new(head),
            tail_at: AtomicU64::new(header.tail_offset),
            reserved: AtomicU64::new(0),
            appended: AtomicU64::new(last_seq),
            durable: AtomicU64::new(last_seq),
            turn: Mutex::new(Turn { busy: false, begun: 0, ended: 0, header }),
            turned: Condvar::new(),
        }
    }

    pub fn appended(&self) -> Seq {
        Seq(self.appended.load(Ordering::SeqCst))
    }

    pub fn durable(&self) -> Seq {
        Seq(self.durable.load(Ordering::SeqCst))
    }

    /// For the allocator, which looks at it often.
    pub fn durable_counter(&self) -> &AtomicU64 {
        &self.durable
    }

    /// Reserves space; nothing if a checkpoint must make some first.
    pub fn reserve(&self, size: TxSize) -> Option<Reservation<'_>> {
        let bytes = bytes_max(size);
        let used = self.head_at.load(Ordering::SeqCst) - self.tail_at.load(Ordering::SeqCst);
        let before = self.reserved.fetch_add(bytes, Ordering::SeqCst);
        let reservation = Reservation { journal: self, bytes };
        let fits = used <= self.ring.len / 2 && used + before + bytes <= self.ring.len / 4 * 3;
        fits.then_some(reservation)
    }

    /// Most orphans that a checkpoint's record has room for.
    pub fn orphans_max(&self) -> usize {
        ((self.ring.len / 8 / 8) as usize).min(limits::SNAPSHOT_INOS_MAX)
    }

    /// Appends a record. An error, and nothing written, if it is longer than what was reserved.
    pub fn append<P: Before<level::JournalTail>>(
        &self,
        pool: &dyn Pool,
        held: &mut Held<'_, P>,
        reservation: &Reservation<'_>,
        record: &mut RecordBuilder,
    ) -> Result<Seq, FsError> {
        if record.len() as u64 > reservation.bytes {
            return Err(FsError::FileTooBig);
        }
        let (mut tail, _held) = self.tail.lock(held);
        self.write(pool, &mut tail, record)
    }

    /// Appends a checkpoint's own record, for which a quarter of the ring is kept.
    pub fn append_own<P: Before<level::JournalTail>>(
        &self,
        pool: &dyn Pool,
        held: &mut Held<'_, P>,
        record: &mut RecordBuilder,
    ) -> Result<(Seq, u64), FsError> {
        let (mut tail, _held) = self.tail.lock(held);
        let position = tail.head;
        Ok((self.write(pool, &mut tail, record)?, position))
    }

    /// Logical position and number of the next record.
    pub fn next<P: Before<level::JournalTail>>(&self, held: &mut Held<'_, P>) -> (u64, Seq) {
        let (tail, _held) = self.tail.lock(held);
        (tail.head, Seq(tail.next_seq))
    }

    fn write(&self, pool: &dyn Pool, tail: &mut Tail, record: &mut RecordBuilder) -> Result<Seq, FsError> {
        let seq = tail.next_seq;
        let bytes = record.finish(seq, &self.uuid)?;
        self.ring.write(pool, tail.head, bytes);
        tail.head += bytes.len() as u64;
        tail.next_seq += 1;
        self.head_at.store(tail.head, Ordering::SeqCst);
        self.appended.store(seq, Ordering::SeqCst);
        if pool.durability() != Durability::Msync {
            self.durable.store(seq, Ordering::SeqCst);
        }
        Ok(Seq(seq))
    }

    /// Makes everything that was in the pool and every record that was appended before the call durable.
    pub fn sync(&self, pool: &dyn Pool) -> Result<Durable, FsError> {
        if pool.durability() != Durability::Msync {
            pool.sync().map_err(|error| media::pool_error(&error))?;
            return Ok(Durable { seq: self.appended() });
        }
        let mut turn = self.turn.leaf();
        let asked = turn.begun;
        loop {
            if turn.ended > asked {
                return Ok(Durable { seq: self.durable() });
            }
            if !turn.busy {
                break;
            }
            turn = self.turned.wait(turn);
        }
        turn.busy = true;
        turn.begun += 1;
        let number = turn.begun;
        let mut header = turn.header;
        drop(turn);
        let result = self.sync_alone(pool, &mut header);
        let mut turn = self.turn.leaf();
        turn.busy = false;
        turn.header = header;
        if result.is_ok() {
            turn.ended = number;
        }
        self.turned.notify_all();
        result
    }

    fn sync_alone(&self, pool: &dyn Pool, header: &mut JournalHeaderFields) -> Result<Durable, FsError> {
        let target = self.appended();
        let failed = |error: pool::PoolError| media::pool_error(&error);
        pool.sync().map_err(failed)?;
        if target.0 > header.synced_seq {
            let next = JournalHeaderFields {
                generation: header.generation + 1,
                synced_seq: target.0,
                clean: false,
                ..*header
            };
            media::write_header(pool, &self.uuid, &next);
            *header = next;
            pool.sync().map_err(failed)?;
        }
        self.durable.store(target.0.max(self.durable().0), Ordering::SeqCst);
        Ok(Durable { seq: target })
    }

    /// Writes a header slot that moves the tail, and makes it durable. The caller has stopped all commits, and what the
    /// records before the new tail say is durable in place.
    pub fn move_tail(&self, pool: &dyn Pool, change: &TailChange) -> Result<(), FsError> {
        let mut turn = self.turn.leaf();
        while turn.busy {
            turn = self.turned.wait(turn);
        }
        turn.busy = true;
        let generation = turn.header.generation + 1;
        drop(turn);
        let header = JournalHeaderFields {
            generation,
            tail_offset: change.tail % self.ring.len,
            tail_seq: change.tail_seq.0,
            synced_seq: self.appended().0.max(change.tail_seq.0 - 1),
            used_blocks: change.used_blocks,
            used_inodes: change.used_inodes,
            witness: pool.witness(),
            clean: change.clean,
        };
        media::write_header(pool, &self.uuid, &header);
        let result = pool.sync().map_err(|error| media::pool_error(&error));
        let mut turn = self.turn.leaf();
        turn.busy = false;
        let synced_seq = header.synced_seq;
        turn.header = header;
        self.turned.notify_all();
        drop(turn);
        result?;
        self.tail_at.store(change.tail, Ordering::SeqCst);
        // Numbers that recovery left out count as used.
        self.appended.fetch_max(synced_seq, Ordering::SeqCst);
        self.durable.store(synced_seq.max(self.durable().0), Ordering::SeqCst);
        Ok(())
    }
}

/// Where the journal begins from now on.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailChange {
    pub tail: u64,
    pub tail_seq: Seq,
    pub used_blocks: u64,
    pub used_inodes: u64,
    pub clean: bool,
}

impl Ring {
    /// Writes bytes at a logical position, around the end if need be, and flushes them.
    pub fn write(&self, pool: &dyn Pool, position: u64, bytes: &[u8]) {
        let at = position % self.len;
        let (first, second) = bytes.split_at(bytes.len().min((self.len - at) as usize));
        pool.write(self.start + at, first);
        pool.flush(self.start + at, first.len() as u64);
        if !second.is_empty() {
            pool.write(self.start, second);
            pool.flush(self.start, second.len() as u64);
        }
        pool.fence();
    }

    /// Reads bytes at a logical position, around the end if need be.
    pub fn read(&self, pool: &dyn Pool, position: u64, into: &mut [u8]) {
        let at = position % self.len;
        let (first, second) = {
            let cut = into.len().min((self.len - at) as usize);
            into.split_at_mut(cut)
        };
        pool.read(self.start + at, first);
        if !second.is_empty() {
            pool.read(self.start, second);
        }
    }
}
