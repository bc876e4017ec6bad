//! The journal: both header slots, and the chain of records that the next opening would replay.
//!
//! The rules are those of `docs/format.md`. Records up to `synced_seq` must be there. Later ones count on a pool behind
//! the page cache only if the witness says that it is still the cache they were written to. A record that cannot be one
//! ends the chain; one that is whole and makes no sense is damage. What the records say goes into the view.

use std::collections::BTreeSet;

use format::{
    BitmapKind, Block, Entry, Geometry, HeaderSlot, Ino, JournalHeader, JournalHeaderFields, RecordHeader, RecordReader,
};
use pool::{Durability, Pool};

use crate::report::{Findings, Place};
use crate::view::{Bit, View};

/// Numbers of a pool that lives stay below.
const NUMBER_MAX: u64 = 1 << 62;

/// What the journal says of the pool.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The header that counts, if one is sound.
    pub header: Option<JournalHeaderFields>,
    pub orphans: BTreeSet<Ino>,
    pub records: u64,
    /// Used blocks and inodes after the records.
    pub used_blocks: u64,
    pub used_inodes: u64,
    /// Every record that should be there was there and made sense.
    pub whole: bool,
}

/// Where the records lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring<'p> {
    pool: &'p dyn Pool,
    start: u64,
    len: u64,
}

impl<'p> Ring<'p> {
    pub fn new(pool: &'p dyn Pool, geometry: &Geometry) -> Ring<'p> {
        Ring { pool, start: geometry.ring_first().offset(), len: geometry.ring_bytes() }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, position: u64, into: &mut [u8]) {
        let at = position % self.len;
        let cut = into.len().min((self.len - at) as usize);
        let (first, second) = into.split_at_mut(cut);
        self.pool.read(self.start + at, first);
        if !second.is_empty() {
            self.pool.read(self.start, second);
        }
    }

    /// The bytes of what may be record `seq`.
    pub fn record(&self, position: u64, seq: u64, room: u64, into: &mut Vec<u8>) -> bool {
        let mut head = [0; RecordHeader::BYTES];
        if room < head.len() as u64 {
            return false;
        }
        self.read(position, &mut head);
        let Some(len) = RecordHeader::peek(&head, seq).ok().filter(|len| *len as u64 <= room) else { return false };
        into.clear();
        into.resize(len, 0);
        self.read(position, into);
        true
    }
}

/// A header slot as it is on the medium.
pub(crate) fn read_slot(pool: &dyn Pool, at: Block) -> JournalHeader {
    let mut bytes = [0; JournalHeader::BYTES];
    pool.read(at.offset(), &mut bytes);
    *JournalHeader::from_bytes(&bytes)
}

/// Reads the journal and applies its records to the view.
pub(crate) fn replay(view: &mut View<'_>, uuid: &[u8; 16], out: &mut Findings) -> Journal {
    let Some(header) = choose_header(view, uuid, out) else { return Journal::default() };
    let mut journal = Journal {
        header: Some(header),
        used_blocks: header.used_blocks,
        used_inodes: header.used_inodes,
        whole: true,
        ..Journal::default()
    };
    scan(view, uuid, &header, &mut journal, out);
    journal
}

fn choose_header(view: &View<'_>, uuid: &[u8; 16], out: &mut Findings) -> Option<JournalHeaderFields> {
    let mut found: Option<JournalHeaderFields> = None;
    let mut bad = Vec::new();
    for slot in [HeaderSlot::A, HeaderSlot::B] {
        let at = view.geometry.journal_header(slot);
        let header = read_slot(view.pool, at);
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            continue;
        }
        match header.verify(at, uuid, view.geometry.ring_bytes()) {
            Ok(fields) => {
                if HeaderSlot::of_generation(fields.generation) != slot {
                    let text = format!("generation {} does not belong into this slot", fields.generation);
                    out.error("journal-header", Place::block(at).field("generation"), text);
                }
                if header.reserved_a.get() != 0 || header.reserved_b != [0; 16] {
                    let name = if header.reserved_a.get() == 0 { "reserved_b" } else { "reserved_a" };
                    out.warning("reserved", Place::block(at).field(name), "is not zero");
                }
                if found.is_none_or(|other| fields.generation >= other.generation) {
                    found = Some(fields);
                }
            }
            Err(error) => bad.push((at, error)),
        }
    }
    for (at, error) in bad {
        let place = Place::block(at).field_of(&error);
        if found.is_some() {
            let text = format!("{error}; the other slot is used (a crash while this one was written does that)");
            out.warning("journal-header", place, text);
        } else {
            out.error("journal-header", place, error.to_string());
        }
    }
    let first = view.geometry.journal_header(HeaderSlot::A);
    match found {
        None => {
            let text = "no journal header is sound: what was not yet in place cannot be found";
            out.error("journal-header", Place::block(first), text);
            None
        }
        Some(header) if header.tail_seq.max(header.generation).max(header.synced_seq) > NUMBER_MAX => {
            let name = if header.generation > NUMBER_MAX {
                "generation"
            } else if header.tail_seq > NUMBER_MAX {
                "tail_seq"
            } else {
                "synced_seq"
            };
            let at = view.geometry.journal_header(HeaderSlot::of_generation(header.generation));
            out.error("journal-header", Place::block(at).field(name), "is higher than any pool's can be");
            None
        }
        found => found,
    }
}

fn scan(view: &mut View<'_>, uuid: &[u8; 16], header: &JournalHeaderFields, journal: &mut Journal, out: &mut Findings) {
    let ring = Ring::new(view.pool, &view.geometry);
    let trusted = view.pool.durability() != Durability::Msync || header.witness == view.pool.witness();
    let at = view.geometry.journal_header(HeaderSlot::of_generation(header.generation));
    let (mut done, mut seq) = (0, header.tail_seq);
    let mut bytes = Vec::new();
    let mut snapshot_only = true;
    while done < ring.len() && (trusted || seq <= header.synced_seq) {
        if !ring.record(header.tail_offset + done, seq, ring.len() - done, &mut bytes) {
            break;
        }
        let record = match RecordReader::new(&bytes, seq, uuid) {
            Ok(record) => record,
            Err(error) if error.what == "journal entry" => {
                journal.whole = false;
                out.error("journal-record", Place::record(seq).field_of(&error), error.to_string());
                break;
            }
            Err(_) => break,
        };
        for (number, entry) in record.entries().enumerate() {
            snapshot_only &= journal.records == 0 && number == 0 && matches!(entry, Entry::OrphanSnapshot { .. });
            if let Err(why) = apply(view, journal, &entry) {
                journal.whole = false;
                let mut place = Place::record(seq).field("value");
                place.slot = Some(number as u64);
                out.error("journal-record", place, why);
                return;
            }
        }
        done += bytes.len() as u64;
        seq += 1;
        journal.records += 1;
    }
    if seq <= header.synced_seq && journal.whole {
        journal.whole = false;
        let text = format!("record {seq} is not there, though records up to {} were synced", header.synced_seq);
        out.error("journal-record", Place::block(at).field("synced_seq"), text);
    }
    if header.clean && journal.records > 0 && !snapshot_only {
        let text = format!("the pool was closed in order, and yet there are {} records to replay", journal.records);
        out.error("journal-header", Place::block(at).field("flags"), text);
    }
}

fn apply(view: &mut View<'_>, journal: &mut Journal, entry: &Entry<'_>) -> Result<(), String> {
    match *entry {
        Entry::Bytes { offset, data } => {
            let (block, at) = (Block(offset / 4096), (offset % 4096) as usize);
            if !view.geometry.owns(block, 1) || at + data.len() > 4096 {
                return Err(format!("changes bytes at {offset} that are no metadata"));
            }
            view.patch(block, at, data);
        }
        Entry::SetBits { group, which, first, count } => {
            put_bits(view, group, which, first, count, Bit::Set)?;
            if which == BitmapKind::Used {
                journal.used_blocks = journal.used_blocks.saturating_add(u64::from(count));
            }
        }
        Entry::ClearBits { which: BitmapKind::Inodes, .. } => return Err("unmakes inode blocks".into()),
        Entry::ClearBits { group, which, first, count } => {
            put_bits(view, group, which, first, count, Bit::Clear)?;
            journal.used_blocks = journal.used_blocks.saturating_sub(u64::from(count));
        }
        Entry::OrphanAdd { ino } => {
            journal.orphans.insert(ino);
        }
        Entry::OrphanRemove { ino } => {
            journal.orphans.remove(&ino);
        }
        Entry::OrphanSnapshot { inos } => journal.orphans = inos.iter().map(|ino| Ino(ino.get())).collect(),
        Entry::Count { inodes } => journal.used_inodes = journal.used_inodes.saturating_add_signed(inodes),
    }
    Ok(())
}

fn put_bits(
    view: &mut View<'_>,
    group: u32,
    which: BitmapKind,
    first: u32,
    count: u32,
    value: Bit,
) -> Result<(), String> {
    let outside = || format!("changes bits {first} and on of group {group}, which are not there");
    let place = view.geometry.group(group).ok_or_else(outside)?;
    let end = first.checked_add(count).filter(|end| *end <= place.blocks && first >= place.own_blocks());
    view.put_bits(&place, which, first..end.ok_or_else(outside)?, value);
    Ok(())
}
