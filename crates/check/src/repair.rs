//! Repair of what needs no guessing.
//!
//! Nothing is written before a whole check has read everything and decided. What is repaired: a superblock from the other
//! one; headers of groups; the bitmaps of used blocks, from what the trees own; entries that name free inodes; link
//! counts, `parent`, `blocks`, sizes of directories; inodes without links and names that the journal forgot (the next
//! opening frees them); the totals in the journal's header. What is not: records, nodes and bitmaps of inode blocks that
//! cannot be read, blocks with two owners, inodes that have links but no name. They stay as they are, and are told.
//!
//! A crash at any moment leaves a pool that can be repaired again. Changes of inodes and nodes are not written in place:
//! they go as records into the journal, which must be empty before (else only superblocks are repaired), and the next
//! opening applies them. What is written in
//! place (one superblock at a time, group headers, bitmaps) can be made again from the rest. A second repair finds nothing.

use std::collections::{BTreeMap, BTreeSet};

use format::{
    BLOCK_SIZE, BitmapBlock, BitmapKind, Block, Entry, Group, GroupHeader, GroupState, HeaderSlot, INODE_BYTES, Ino,
    InodeRecord, JournalHeader, NodeMut, NodeRef, RecordBuilder, seal_node,
};
use pool::{Access, Pool, PoolError};

use crate::report::{Place, Report};
use crate::space::bits_below;
use crate::superblock::{Pair, backup_block};
use crate::view::{Bytes, bitmap_in, made_up};
use crate::{CheckOptions, Checker, check, run};

/// Changes of inodes that one repair makes at most; the next one goes on.
const MENDS_MAX: usize = 4096;
/// Bytes of changes in one record: a node may be added to that many, and it still fits.
const RECORD_BYTES: usize = format::limits::RECORD_BYTES_MAX - 8192;

/// A change of an inode or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mend {
    Blocks { ino: Ino, blocks: u64 },
    Size { ino: Ino, size: u64 },
    Links { ino: Ino, links: u32 },
    Parent { ino: Ino, parent: Ino },
    Entry { dir: Ino, node: Option<Block>, key: u64 },
    Orphan { ino: Ino },
}

/// Changes, up to a limit.
#[derive(Debug)]
pub(crate) struct Mends {
    list: Vec<Mend>,
    dangling: bool,
    /// Group headers and the bitmaps of inode blocks have right checksums: what is no inode there is none.
    pub inode_maps_sound: bool,
}

impl Mends {
    pub fn new(inode_maps_sound: bool) -> Mends {
        Mends { list: Vec::new(), dangling: false, inode_maps_sound }
    }

    pub fn push(&mut self, mend: Mend) {
        self.dangling |= matches!(mend, Mend::Entry { .. });
        if self.list.len() < MENDS_MAX {
            self.list.push(mend);
        }
    }
}

/// Why a pool could not be repaired. Nothing was written, but with `Pool`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RepairError {
    /// The pool is open for reading only.
    #[error("the pool is open for reading only")]
    ReadOnly,
    /// The pool is so damaged that it could not be looked at.
    #[error("the pool cannot be repaired: {0}")]
    NotChecked(String),
    /// There are records to replay: their changes must be in place first.
    #[error("{0} journal records wait to be replayed: open the pool once (mount it, or list it), then repair it")]
    JournalNotEmpty(u64),
    /// Which records there are cannot be told.
    #[error("the journal's headers are damaged: what was not yet in place cannot be found")]
    JournalDamaged,
    /// The memory failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What a repair has done.
#[derive(Debug, Clone, PartialEq)]
pub struct Repaired {
    /// Before it.
    pub before: Report,
    /// What was changed, one line each.
    pub changes: Vec<String>,
    /// After it: what could not be repaired is still there.
    pub after: Report,
}

/// Repairs the pool, and checks it again. Nobody else may have it open.
///
/// # Errors
/// Nothing was written, but on an error of the pool.
pub fn repair(pool: &dyn Pool, options: &mut CheckOptions<'_>) -> Result<Repaired, RepairError> {
    if pool.access() == Access::ReadOnly {
        return Err(RepairError::ReadOnly);
    }
    let (pair, checker) = run(pool, options).map_err(|report| RepairError::NotChecked(report.text()))?;
    let refused = refusal(&checker);
    let plan = match refused {
        // The superblocks have nothing to do with the journal, and without them nobody can open the pool.
        Some(_) if !(pair.first_is_sound && pair.backup_is_sound) => Plan::superblocks(&pair),
        Some(error) => return Err(error),
        None => Plan::of(&checker, &pair),
    };
    let before = checker.out.report.clone();
    let changes = plan.carry_out(&checker, &pair)?;
    drop(checker);
    let after = check(pool, options);
    Ok(Repaired { before, changes, after })
}

/// Why the journal forbids a repair.
fn refusal(checker: &Checker<'_, '_, '_>) -> Option<RepairError> {
    if checker.journal.records > 0 {
        Some(RepairError::JournalNotEmpty(checker.journal.records))
    } else if checker.journal.header.is_none() || !checker.journal.whole {
        Some(RepairError::JournalDamaged)
    } else {
        None
    }
}

/// All that will be written.
struct Plan {
    headers: Vec<(Group, GroupState)>,
    bitmaps: Vec<(Block, Bytes)>,
    records: Vec<RecordBuilder>,
    totals: Option<(u64, u64)>,
    changes: Vec<String>,
}

impl Plan {
    fn superblocks(pair: &Pair) -> Plan {
        let mut plan =
            Plan { headers: Vec::new(), bitmaps: Vec::new(), records: Vec::new(), totals: None, changes: Vec::new() };
        if !pair.first_is_sound {
            plan.changes.push("superblock: written again from its backup".into());
        } else if !pair.backup_is_sound {
            plan.changes.push("backup of the superblock: written again".into());
        }
        plan
    }

    fn of(checker: &Checker<'_, '_, '_>, pair: &Pair) -> Plan {
        let mut plan = Plan::superblocks(pair);
        // Where an inode may have been overlooked, an entry that names it is not to be removed, nor are its blocks free.
        let unread = checker.view.unusable.iter().any(|block| is_inode_map(checker, Block(*block)));
        let counted = checker.live == checker.journal.used_inodes && !checker.mends.dangling && !unread;
        if checker.mends.inode_maps_sound || counted {
            plan.headers(checker);
            let used = plan.bitmaps(checker);
            plan.inodes(checker);
            let inodes = if checker.records_whole { checker.live } else { checker.journal.used_inodes };
            if let Some(used) =
                used.filter(|used| (*used, inodes) != (checker.journal.used_blocks, checker.journal.used_inodes))
            {
                plan.totals = Some((used, inodes));
                plan.changes.push(format!("journal header: {used} used blocks, {inodes} used inodes"));
            }
        }
        plan
    }

    /// Headers that are not what they must be.
    fn headers(&mut self, checker: &Checker<'_, '_, '_>) {
        for group in checker.view.geometry.groups() {
            let mut bytes = [0; GroupHeader::BYTES];
            checker.view.pool.read(group.first.offset(), &mut bytes);
            if GroupHeader::from_bytes(&bytes).verify(&group).is_err() {
                let owned =
                    (0..(group.blocks as usize).div_ceil(64)).any(|word| checker.owners.word(group.index, word) != 0);
                if owned && !checker.view.is_active(&group) {
                    continue;
                }
                let state = if checker.view.is_active(&group) { GroupState::Active } else { GroupState::Fresh };
                self.changes.push(format!("header of group {}, {}: written again", group.index, group.first));
                self.headers.push((group, state));
            }
        }
    }

    /// Bitmap blocks that are to be others. The used blocks after that, unless a bitmap stays unreadable.
    fn bitmaps(&mut self, checker: &Checker<'_, '_, '_>) -> Option<u64> {
        let owners_known = checker.trees_whole && checker.records_whole && !checker.owners.overflowed();
        let (mut used, mut readable) = (0_u64, true);
        for group in checker.view.geometry.groups().filter(|group| checker.view.is_active(group)) {
            for number in 0..group.bitmap_blocks {
                let at = group.bitmap_block(BitmapKind::Used, number).unwrap_or(group.first);
                let unusable = checker.view.unusable.contains(&at.0);
                let (old, _) = checker.view.bitmap(&group, BitmapKind::Used, number);
                if unusable && !owners_known {
                    readable = false;
                    continue;
                }
                let new = used_bitmap(checker, &group, number, (!owners_known).then(|| bitmap_in(&old)));
                used += bitmap_in(&new).bits.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
                if bitmap_in(&old).as_bytes()[CONTENT..] != new[CONTENT..] || !bitmap_in(&old).crc_is_right() {
                    self.changes.push(format!("bitmap of used blocks, {at}: made again"));
                    self.bitmaps.push((at, new));
                }
                let at = group.bitmap_block(BitmapKind::Inodes, number).unwrap_or(group.first);
                let (mut inodes, _) = checker.view.bitmap(&group, BitmapKind::Inodes, number);
                if !bitmap_in(&inodes).crc_is_right() {
                    BitmapBlock::from_bytes_mut(&mut inodes).seal();
                    self.changes
                        .push(format!("bitmap of inode blocks, {at}: its bits agree with all else, sealed again"));
                    self.bitmaps.push((at, inodes));
                }
            }
            used = used.saturating_sub(u64::from(group.own_blocks()));
        }
        readable.then_some(used)
    }

    /// Changes of inodes and nodes, as records.
    fn inodes(&mut self, checker: &Checker<'_, '_, '_>) {
        let links_known = checker.directories_whole && checker.records_whole;
        let mut edits = Edits::default();
        let mut orphans = BTreeSet::new();
        for mend in &checker.mends.list {
            match *mend {
                Mend::Blocks { ino, blocks } => edits.record(checker, ino).set_blocks(blocks),
                Mend::Size { ino, size } => edits.record(checker, ino).set_size(size),
                Mend::Links { ino, links } if links_known => edits.record(checker, ino).set_nlink(links),
                Mend::Parent { ino, parent } => edits.record(checker, ino).set_parent(parent),
                Mend::Orphan { ino } if links_known => {
                    orphans.insert(ino);
                    self.changes.push(format!("{ino}: without links and names, to be freed at the next opening"));
                    continue;
                }
                Mend::Links { .. } | Mend::Orphan { .. } | Mend::Entry { .. } => continue,
            }
            self.changes.push(format!("{}: {mend:?}", Place::inode(ino_of(mend))));
        }
        // After the sizes, which count the entries that go now.
        for mend in &checker.mends.list {
            if let Mend::Entry { dir, node, key } = *mend
                && edits.remove_entry(checker, dir, node, key)
            {
                self.changes.push(format!("{}: entry with key {key} removed, it named no inode", Place::inode(dir)));
            }
        }
        self.records = edits.into_records(&orphans);
    }

    fn carry_out(mut self, checker: &Checker<'_, '_, '_>, pair: &Pair) -> Result<Vec<String>, PoolError> {
        let pool = checker.view.pool;
        let good = pair.good.as_bytes();
        if !pair.first_is_sound {
            write(pool, 0, good)?;
        } else if !pair.backup_is_sound {
            write(pool, backup_block(pool).offset(), good)?;
        }
        for (block, bytes) in &self.bitmaps {
            write(pool, block.offset(), &**bytes)?;
        }
        for (group, state) in &self.headers {
            write(pool, group.first.offset(), GroupHeader::new(group, *state).as_bytes())?;
        }
        durable(pool)?;
        self.journal(checker, &pair.good.uuid)?;
        Ok(self.changes)
    }

    /// Records behind the journal's tail, then a header that vouches for them and has the new totals.
    fn journal(&mut self, checker: &Checker<'_, '_, '_>, uuid: &[u8; 16]) -> Result<(), PoolError> {
        let Some(mut header) = checker.journal.header else { return Ok(()) };
        if self.records.is_empty() && self.totals.is_none() {
            return Ok(());
        }
        let (pool, geometry) = (checker.view.pool, &checker.view.geometry);
        let (mut done, mut seq) = (0, header.tail_seq);
        for record in &mut self.records {
            // The journal's own rule: half of the ring, and then a checkpoint must come.
            let Ok(bytes) = record.finish(seq, uuid) else { break };
            if done + bytes.len() as u64 > geometry.ring_bytes() / 2 {
                self.changes.push("more is to be repaired: open the pool once, and repair it again".into());
                break;
            }
            write_ring(pool, geometry.ring_first(), geometry.ring_bytes(), header.tail_offset + done, bytes)?;
            done += bytes.len() as u64;
            seq += 1;
        }
        durable(pool)?;
        if let Some((used_blocks, used_inodes)) = self.totals {
            header.used_blocks = used_blocks;
            header.used_inodes = used_inodes;
        }
        header.clean &= self.records.is_empty();
        header.generation += 1;
        header.synced_seq = header.synced_seq.max(seq - 1);
        header.witness = pool.witness();
        let at = geometry.journal_header(HeaderSlot::of_generation(header.generation));
        write(pool, at.offset(), JournalHeader::new(&header, uuid).as_bytes())?;
        durable(pool)
    }
}

/// What of a bitmap block counts: all after magic and checksum.
const CONTENT: usize = 8;

fn is_inode_map(checker: &Checker<'_, '_, '_>, block: Block) -> bool {
    let Some(group) = checker.view.geometry.group_of(block) else { return false };
    (0..group.bitmap_blocks).any(|number| group.bitmap_block(BitmapKind::Inodes, number) == Some(block))
}

fn ino_of(mend: &Mend) -> Ino {
    match *mend {
        Mend::Blocks { ino, .. }
        | Mend::Size { ino, .. }
        | Mend::Links { ino, .. }
        | Mend::Parent { ino, .. }
        | Mend::Orphan { ino } => ino,
        Mend::Entry { dir, .. } => dir,
    }
}

/// A block of the bitmap of used blocks: what somebody owns, and what is marked in `keep`.
fn used_bitmap(checker: &Checker<'_, '_, '_>, group: &Group, number: u32, keep: Option<&BitmapBlock>) -> Bytes {
    let mut bytes = made_up(group, BitmapKind::Used, number);
    let block = BitmapBlock::from_bytes_mut(&mut bytes);
    let base = number as usize * (format::BITS_PER_BITMAP_BLOCK as usize / 64);
    for (index, eight) in block.bits.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let word = base + index;
        let old =
            keep.and_then(|keep| keep.bits.as_chunks::<8>().0.get(index)).map_or(0, |old| u64::from_le_bytes(*old));
        let new = u64::from_le_bytes(*eight) | checker.owners.word(group.index, word) | old;
        *eight = (new & bits_below(group.blocks, word)).to_le_bytes();
    }
    block.seal();
    bytes
}

/// Inode records and nodes as they are to be.
#[derive(Default)]
struct Edits {
    inodes: BTreeMap<Ino, InodeRecord>,
    nodes: BTreeMap<Block, (Ino, Bytes)>,
}

impl Edits {
    fn record(&mut self, checker: &Checker<'_, '_, '_>, ino: Ino) -> &mut InodeRecord {
        self.inodes.entry(ino).or_insert_with(|| checker.view.record(ino))
    }

    /// Takes an entry out of its node. Not if the node, which is not a root, would be empty.
    fn remove_entry(&mut self, checker: &Checker<'_, '_, '_>, dir: Ino, node: Option<Block>, key: u64) -> bool {
        let value = if let Some(block) = node {
            let (_, bytes) = self.nodes.entry(block).or_insert_with(|| (dir, checker.view.read(block)));
            let node = NodeRef::block(bytes);
            let Some(index) = node.search(key).ok().filter(|_| node.count() > 1) else { return false };
            let value = node.value(index).len();
            NodeMut::block(bytes).remove(index);
            value
        } else {
            let record = self.record(checker, dir);
            let Ok(index) = record.inline_node().search(key) else { return false };
            let value = record.inline_node().value(index).len();
            record.inline_node_mut().remove(index);
            value
        };
        // An entry counts its name and 24 bytes, and its value is the name and 9.
        let record = self.record(checker, dir);
        record.set_size(record.size().saturating_sub(value as u64 + 15));
        true
    }

    /// One record for each inode's changes, or for several; never an inode's in two.
    fn into_records(mut self, orphans: &BTreeSet<Ino>) -> Vec<RecordBuilder> {
        let mut records = Vec::new();
        let mut record = RecordBuilder::new();
        for (ino, inode) in &mut self.inodes {
            let nodes = self.nodes.iter_mut().filter(|(_, (owner, _))| owner == ino);
            let nodes: Vec<(&Block, &mut (Ino, Bytes))> = nodes.collect();
            let need = INODE_BYTES + 64 + nodes.len() * (BLOCK_SIZE + 64);
            if record.len() + need > RECORD_BYTES && !record.is_empty() {
                records.push(std::mem::take(&mut record));
            }
            if need > RECORD_BYTES {
                continue;
            }
            for (block, (_, bytes)) in nodes {
                seal_node(bytes);
                record.push(&Entry::Bytes { offset: block.offset(), data: &**bytes });
            }
            inode.seal();
            record.push(&Entry::Bytes { offset: ino.offset(), data: inode.as_bytes() });
        }
        for ino in orphans {
            if record.len() > RECORD_BYTES {
                records.push(std::mem::take(&mut record));
            }
            record.push(&Entry::OrphanAdd { ino: *ino });
        }
        if !record.is_empty() {
            records.push(record);
        }
        records
    }
}

fn write(pool: &dyn Pool, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
    pool.back(offset, bytes.len() as u64)?;
    pool.write(offset, bytes);
    pool.flush(offset, bytes.len() as u64);
    Ok(())
}

fn write_ring(pool: &dyn Pool, first: Block, len: u64, position: u64, bytes: &[u8]) -> Result<(), PoolError> {
    let at = position % len;
    let (head, rest) = bytes.split_at(bytes.len().min((len - at) as usize));
    write(pool, first.offset() + at, head)?;
    if rest.is_empty() { Ok(()) } else { write(pool, first.offset(), rest) }
}

fn durable(pool: &dyn Pool) -> Result<(), PoolError> {
    pool.fence();
    pool.sync()
}
