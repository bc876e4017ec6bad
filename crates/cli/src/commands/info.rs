//! `daxle info`: what a pool is, what it survives, how full it is and how scattered its free space.

use std::path::PathBuf;

use crate::errors::{Context, Result};
use crate::exit::Exit;
use crate::output::{Format, table};
use crate::session::{self, Session};
use crate::{size, times};
use engine::FsError;
use engine::fs::Access;
use engine::types::{PAGE_BYTES, Timestamp};
use format::{BLOCK_SIZE, BitmapBlock, BitmapKind, Geometry, Group, GroupHeader, GroupState};
use pool::{Durability, Pool};
use serde::Serialize;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pool
    pool: PathBuf,
    #[command(flatten)]
    format: Format,
}

/// All that is told of a pool. Sizes in bytes.
#[derive(Debug, Serialize)]
pub struct PoolInfo {
    path: PathBuf,
    label: String,
    uuid: String,
    made: String,
    format_version: u32,
    features: Features,
    durability: String,
    page_bytes: u64,
    unit_bytes: u64,
    pool_bytes: u64,
    usable_bytes: u64,
    free_bytes: u64,
    available_bytes: u64,
    inodes_used: u64,
    groups: Groups,
    free_space: FreeSpace,
    journal_bytes: u64,
    recovered_records: u64,
}

/// The words that say what a program must know to use the pool.
#[derive(Debug, Serialize)]
struct Features {
    compat: u64,
    ro_compat: u64,
    incompat: u64,
}

/// Groups of 1 GiB; a fresh one was never used.
#[derive(Debug, Default, Serialize)]
struct Groups {
    count: u64,
    active: u64,
    fresh: u64,
}

/// How scattered the free space is.
#[derive(Debug, Default, Serialize)]
struct FreeSpace {
    /// Stretches of free blocks.
    runs: u64,
    longest_bytes: u64,
    /// The part of the free space that no free aligned 2 MiB region holds, in percent.
    outside_of_2mib_percent: u64,
}

impl Args {
    /// Tells.
    pub fn run(&self) -> Result<Exit> {
        let session = Session::open(&self.pool, Access::ReadOnly)?;
        let info = PoolInfo::of(&session)?;
        session.close()?;
        self.format.print(&info, text)?;
        Ok(Exit::Done)
    }
}

impl PoolInfo {
    /// Looks at an open pool.
    pub fn of(session: &Session) -> Result<PoolInfo> {
        let fs = session.fs();
        let (memory, path) = (fs.pool(), session.path());
        let superblock = session::superblock(&**memory, path)?;
        let meta = fs.meta();
        let geometry = meta.geometry();
        let (groups, free_space) = scan(&**memory, geometry).map_err(FsError::from).context(path.display())?;
        let statfs = fs.statfs();
        let bytes = |blocks: u64| blocks * PAGE_BYTES;
        let made = Timestamp { seconds: superblock.made_seconds.get(), nanos: superblock.made_nanos.get() };
        Ok(PoolInfo {
            path: path.to_owned(),
            label: superblock.label_text(),
            uuid: show_uuid(superblock.uuid),
            made: times::show(made),
            format_version: superblock.version.get(),
            features: Features {
                compat: superblock.compat.get(),
                ro_compat: superblock.ro_compat.get(),
                incompat: superblock.incompat.get(),
            },
            durability: memory.durability().to_string(),
            page_bytes: memory.page_size(),
            unit_bytes: u64::from(geometry.unit_blocks()) * PAGE_BYTES,
            pool_bytes: memory.len(),
            usable_bytes: bytes(statfs.blocks),
            free_bytes: bytes(statfs.blocks_free),
            available_bytes: bytes(statfs.blocks_available),
            inodes_used: statfs.files - statfs.files_free,
            groups,
            free_space,
            journal_bytes: geometry.ring_bytes(),
            recovered_records: fs.recovered().records,
        })
    }
}

/// One line: for `create` and `mount`.
pub fn describe(info: &PoolInfo) -> String {
    let label = if info.label.is_empty() { String::new() } else { format!(" \"{}\"", info.label) };
    let (path, bytes) = (info.path.display(), size::show(info.pool_bytes));
    format!("{path}{label}: {bytes}, {} ({}), uuid {}", info.durability, meaning(&info.durability), info.uuid)
}

fn meaning(durability: &str) -> &'static str {
    match durability {
        d if d == Durability::Volatile.to_string() => "survives processes, not power",
        d if d == Durability::Msync.to_string() => "survives power after a sync",
        _ => "survives power after a flush of cache lines",
    }
}

fn text(info: &PoolInfo) -> String {
    let of = |part: u64| {
        let percent = part.saturating_mul(100).checked_div(info.usable_bytes).unwrap_or(0);
        format!("{} ({percent} %)", size::show(part))
    };
    let used = info.usable_bytes.saturating_sub(info.free_bytes);
    let features = &info.features;
    let free = &info.free_space;
    let rows = [
        ("pool", info.path.display().to_string()),
        ("label", info.label.clone()),
        ("uuid", info.uuid.clone()),
        ("made", info.made.clone()),
        ("durability", format!("{}: {}", info.durability, meaning(&info.durability))),
        ("format", format!("version {}", info.format_version)),
        (
            "features",
            format!(
                "compat {:#x}, ro-compat {:#x}, incompat {:#x}",
                features.compat, features.ro_compat, features.incompat
            ),
        ),
        ("page", size::show(info.page_bytes)),
        ("allocates", format!("{} at a time", size::show(info.unit_bytes))),
        ("size", size::show(info.pool_bytes)),
        ("for files", size::show(info.usable_bytes)),
        ("used", of(used)),
        ("free", of(info.free_bytes)),
        ("files", info.inodes_used.to_string()),
        ("groups", format!("{} ({} in use)", info.groups.count, info.groups.active)),
        (
            "free space",
            format!(
                "{} stretches, the longest {}; {} % of it in no whole 2 MiB",
                free.runs,
                size::show(free.longest_bytes),
                free.outside_of_2mib_percent
            ),
        ),
        ("journal", size::show(info.journal_bytes)),
        (
            "last use",
            match info.recovered_records {
                0 => "closed cleanly".to_owned(),
                n => format!("not closed: {n} journal records to replay, which the next mount does"),
            },
        ),
    ];
    table(&["", ""], &rows.map(|(name, value)| vec![name.to_owned(), value]))
}

/// Bytes as a UUID is written.
pub fn show_uuid(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Reads the headers and the bitmaps of all groups from the medium. What only the journal knows is not in them.
fn scan(memory: &dyn Pool, geometry: &Geometry) -> std::result::Result<(Groups, FreeSpace), format::FormatError> {
    let mut groups = Groups { count: u64::from(geometry.group_count()), ..Groups::default() };
    let mut free = FreeRuns::default();
    for group in geometry.groups() {
        let mut bytes = [0; GroupHeader::BYTES];
        memory.read(group.first.0 * BLOCK_SIZE as u64, &mut bytes);
        match GroupHeader::from_bytes(&bytes).verify(&group)? {
            GroupState::Fresh => {
                groups.fresh += 1;
                free.add(group.first_data().0, group.end().0);
            }
            GroupState::Active => {
                groups.active += 1;
                scan_group(memory, &group, &mut free);
            }
        }
        free.cut();
    }
    Ok((groups, free.sum()))
}

fn scan_group(memory: &dyn Pool, group: &Group, free: &mut FreeRuns) {
    let mut bytes = [0; BLOCK_SIZE];
    let mut bit = 0_u64;
    for number in 0..group.bitmap_blocks {
        let Some(block) = group.bitmap_block(BitmapKind::Used, number) else { break };
        memory.read(block.0 * BLOCK_SIZE as u64, &mut bytes);
        for byte in &BitmapBlock::from_bytes(&bytes).bits {
            for shift in 0..8 {
                if bit < u64::from(group.blocks) && byte >> shift & 1 == 0 {
                    free.add(group.first.0 + bit, group.first.0 + bit + 1);
                }
                bit += 1;
            }
        }
    }
}

/// Free blocks in ascending order, joined to stretches.
#[derive(Debug, Default)]
struct FreeRuns {
    open: Option<(u64, u64)>,
    blocks: u64,
    blocks_in_2mib: u64,
    runs: u64,
    longest: u64,
}

impl FreeRuns {
    fn add(&mut self, start: u64, end: u64) {
        match &mut self.open {
            Some((_, last)) if *last == start => *last = end,
            _ => {
                self.cut();
                self.open = Some((start, end));
            }
        }
    }

    fn cut(&mut self) {
        let Some((start, end)) = self.open.take() else { return };
        self.runs += 1;
        self.blocks += end - start;
        self.longest = self.longest.max(end - start);
        let (first, last) = (start.next_multiple_of(512), end / 512 * 512);
        self.blocks_in_2mib += last.saturating_sub(first);
    }

    fn sum(mut self) -> FreeSpace {
        self.cut();
        let outside = (self.blocks - self.blocks_in_2mib) * 100;
        FreeSpace {
            runs: self.runs,
            longest_bytes: self.longest * BLOCK_SIZE as u64,
            outside_of_2mib_percent: outside.checked_div(self.blocks).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_blocks_join_to_stretches_and_whole_huge_pages_are_counted() {
        let mut free = FreeRuns::default();
        free.add(500, 512);
        free.add(512, 1024);
        free.add(2000, 2010);
        let sum = free.sum();
        assert_eq!((sum.runs, sum.longest_bytes), (2, 524 * 4096));
        assert_eq!(sum.outside_of_2mib_percent, 22 * 100 / 534);
    }

    #[test]
    fn a_uuid_is_written_in_five_groups() {
        assert_eq!(show_uuid([0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
