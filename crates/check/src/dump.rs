//! Prints structures, for people who look for an error.
//!
//! Superblocks, journal headers and blocks are shown as they stand on the medium; groups and inodes as the next opening
//! would see them, with the journal's records laid over. What is printed is bounded: of long lists the first part.

use std::fmt::Write as _;

use format::{
    BLOCK_SIZE, BitmapKind, Block, DirentValue, ExtentValue, Geometry, HeaderSlot, Ino, InodeRecord, KIND_DIRECTORY,
    KIND_EXTENTS, NodeRef, RecordReader, Superblock, verify_node,
};
use pool::Pool;

use crate::journal::{self, Ring};
use crate::report::Findings;
use crate::tree::show;
use crate::view::{View, bitmap_in, read_raw};
use crate::{groups, superblock};

/// Lines of a list, or nodes of a tree, that are printed.
const LINES_MAX: usize = 1000;

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    /// Both superblocks.
    Superblock,
    /// Both journal headers, and the records that the next opening reads.
    Journal,
    /// A group's header and how full it is.
    Group(u32),
    /// An inode's record and its tree.
    Inode(u64),
    /// A block's bytes, and what it seems to be.
    Block(u64),
}

/// The structure as text.
///
/// # Errors
/// There is no such thing, or the pool is too damaged to find it.
pub fn dump(pool: &dyn Pool, what: Dump) -> Result<String, String> {
    let mut out = Findings::new(pool.name(), 1);
    match what {
        Dump::Superblock => return superblocks(pool),
        Dump::Block(number) => return block(pool, number),
        Dump::Journal | Dump::Group(_) | Dump::Inode(_) => {}
    }
    let pair = superblock::read(pool, &mut out).ok_or_else(|| out.report.text())?;
    let uuid = pair.good.uuid;
    let geometry =
        Geometry::new(pair.good.pool_len.get(), pair.good.unit_blocks.get()).map_err(|error| error.to_string())?;
    let mut view = View::new(pool, geometry);
    groups::headers(&mut view, &mut out);
    if what == Dump::Journal {
        return Ok(journal(&view, &uuid));
    }
    journal::replay(&mut view, &uuid, &mut out);
    match what {
        Dump::Group(index) => group(&view, index),
        Dump::Inode(number) => inode(&view, Ino(number)),
        _ => Ok(String::new()),
    }
}

fn verdict<T>(result: Result<T, format::FormatError>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "sound".to_owned())
}

fn superblocks(pool: &dyn Pool) -> Result<String, String> {
    if pool.len() < format::limits::POOL_BYTES_MIN {
        return Err("too short for a pool".into());
    }
    let mut text = String::new();
    for at in [Block(0), superblock::backup_block(pool)] {
        let sb = *Superblock::from_bytes(&read_raw(pool, at));
        let _ = writeln!(text, "superblock in {at}: {}", verdict(sb.verify(at)));
        let uuid: String = sb.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let rows: [(&str, String); 18] = [
            ("version", sb.version.get().to_string()),
            ("compat", format!("{:#x}", sb.compat.get())),
            ("ro_compat", format!("{:#x}", sb.ro_compat.get())),
            ("incompat", format!("{:#x}", sb.incompat.get())),
            ("uuid", uuid),
            ("label", format!("{:?}", sb.label_text())),
            ("pool_len", sb.pool_len.get().to_string()),
            ("unit_blocks", sb.unit_blocks.get().to_string()),
            ("group_blocks", sb.group_blocks.get().to_string()),
            ("ring_first", sb.ring_first.get().to_string()),
            ("ring_blocks", sb.ring_blocks.get().to_string()),
            ("groups_first", sb.groups_first.get().to_string()),
            ("group_count", sb.group_count.get().to_string()),
            ("block_bytes", sb.block_bytes.get().to_string()),
            ("root", sb.root.get().to_string()),
            ("made_seconds", sb.made_seconds.get().to_string()),
            ("made_nanos", sb.made_nanos.get().to_string()),
            ("name_salt", format!("{:#x}", sb.name_salt.get())),
        ];
        for (field, value) in rows {
            let _ = writeln!(text, "  {field:<14}{value}");
        }
    }
    Ok(text)
}

fn journal(view: &View<'_>, uuid: &[u8; 16]) -> String {
    let mut text = String::new();
    let mut best: Option<format::JournalHeaderFields> = None;
    for slot in [HeaderSlot::A, HeaderSlot::B] {
        let at = view.geometry.journal_header(slot);
        match journal::read_slot(view.pool, at).verify(at, uuid, view.geometry.ring_bytes()) {
            Ok(fields) => {
                let _ = writeln!(text, "journal header in {at}: {fields:?}");
                if best.is_none_or(|best| fields.generation > best.generation) {
                    best = Some(fields);
                }
            }
            Err(error) => {
                let _ = writeln!(text, "{error}");
            }
        }
    }
    let Some(header) = best else { return text };
    let ring = Ring::new(view.pool, &view.geometry);
    let (mut done, mut seq, mut lines, mut bytes) = (0, header.tail_seq, 0, Vec::new());
    while done < ring.len() && ring.record(header.tail_offset + done, seq, ring.len() - done, &mut bytes) {
        let Ok(record) = RecordReader::new(&bytes, seq, uuid) else { break };
        let synced = if seq <= header.synced_seq { "synced" } else { "after the last sync" };
        let _ = writeln!(text, "record {seq} at {}, {} bytes, {synced}", header.tail_offset + done, record.len());
        for entry in record.entries().take(LINES_MAX.saturating_sub(lines)) {
            let _ = writeln!(text, "  {}", entry_line(&entry));
            lines += 1;
        }
        if lines >= LINES_MAX {
            text += "and more\n";
            break;
        }
        done += bytes.len() as u64;
        seq += 1;
    }
    text
}

fn entry_line(entry: &format::Entry<'_>) -> String {
    match entry {
        format::Entry::Bytes { offset, data } => {
            format!("bytes: {} at {offset} (block {}, byte {})", data.len(), offset / 4096, offset % 4096)
        }
        format::Entry::OrphanSnapshot { inos } => format!("orphan snapshot: {} inodes", inos.len()),
        other => format!("{other:?}"),
    }
}

fn group(view: &View<'_>, index: u32) -> Result<String, String> {
    let group =
        view.geometry.group(index).ok_or_else(|| format!("there are {} groups", view.geometry.group_count()))?;
    let mut text = format!("{group:?}\nactive: {}\n", view.is_active(&group));
    for kind in [BitmapKind::Used, BitmapKind::Inodes] {
        for number in 0..group.bitmap_blocks {
            let (bytes, touched) = view.bitmap(&group, kind, number);
            let block = bitmap_in(&bytes);
            let set: u32 = block.bits.iter().map(|byte| byte.count_ones()).sum();
            let form =
                if touched { block.verify_form(&group, kind, number) } else { block.verify(&group, kind, number) };
            let at = group.bitmap_block(kind, number).unwrap_or(group.first);
            let _ = writeln!(text, "  {kind:?} bitmap {number} in {at}: {set} bits set, {}", verdict(form));
        }
    }
    Ok(text)
}

fn inode(view: &View<'_>, ino: Ino) -> Result<String, String> {
    if !view.geometry.owns(ino.block(), 1) || !view.bit(ino.block(), BitmapKind::Inodes) {
        return Err(format!("{ino} is in no block of inodes"));
    }
    let record = view.record(ino);
    let mut text = format!("{ino}, {} slot {}: {}\n", ino.block(), ino.slot(), verdict(view.verify(ino, &record)));
    if record.is_free() {
        let _ = writeln!(text, "  free, generation {}", record.generation());
        return Ok(text);
    }
    text += &fields(&record);
    let kind = match record.mode() >> 12 {
        4 => KIND_DIRECTORY,
        8 => KIND_EXTENTS,
        10 if record.size() > format::INLINE_BYTES as u64 => KIND_EXTENTS,
        10 => {
            let len = (record.size() as usize).min(format::INLINE_BYTES);
            let _ = writeln!(text, "  target {}", show(&record.inline[..len]));
            return Ok(text);
        }
        _ => return Ok(text),
    };
    let root = record.inline_node();
    if root.validate(kind, ino).is_ok() {
        let mut lines = LINES_MAX;
        page(view, ino, root, "root", &mut lines, &mut text);
    }
    Ok(text)
}

fn fields(record: &InodeRecord) -> String {
    let rows = [
        ("generation", record.generation().to_string()),
        ("mode", format!("{:#o}", record.mode())),
        ("nlink", record.nlink().to_string()),
        ("flags", format!("{:#x}", record.flags())),
        ("uid", record.uid().to_string()),
        ("gid", record.gid().to_string()),
        ("rdev", format!("{:#x}", record.rdev())),
        ("size", record.size().to_string()),
        ("blocks", record.blocks().to_string()),
        ("atime", format!("{:?}", record.atime())),
        ("mtime", format!("{:?}", record.mtime())),
        ("ctime", format!("{:?}", record.ctime())),
        ("btime", format!("{:?}", record.btime())),
        ("parent", record.parent().0.to_string()),
        ("xattr_root", record.xattr_root().to_string()),
        ("change", record.change().to_string()),
    ];
    rows.iter().map(|(field, value)| format!("  {field:<12}{value}\n")).collect()
}

/// A node and what is below it, until the lines are used up.
fn page(view: &View<'_>, ino: Ino, node: NodeRef<'_>, name: &str, lines: &mut usize, text: &mut String) {
    let _ =
        writeln!(text, "  {name}: level {}, {} entries, {} bytes free", node.level(), node.count(), node.free_bytes());
    for index in 0..node.count() {
        if *lines == 0 {
            return;
        }
        *lines -= 1;
        if *lines == 0 {
            *text += "  and more\n";
            return;
        }
        let (key, value) = (node.key(index), node.value(index));
        let _ = match (node.level(), node.kind()) {
            (0, KIND_EXTENTS) => match ExtentValue::read(value, ino, key) {
                Ok((block, len, state)) => {
                    writeln!(text, "    {index}: pages {key} to {}: {block}, {state:?}", key + u64::from(len) - 1)
                }
                Err(error) => writeln!(text, "    {index}: {error}"),
            },
            (0, _) => match DirentValue::read(value, ino, key) {
                Ok(entry) => {
                    writeln!(text, "    {index}: key {key}: {} is {}, type {}", show(entry.name), entry.ino, entry.kind)
                }
                Err(error) => writeln!(text, "    {index}: {error}"),
            },
            _ => writeln!(text, "    {index}: key {key}: node in {:?}", node.child(index)),
        };
    }
    if node.level() == 0 {
        return;
    }
    for child in (0..node.count()).filter_map(|index| node.child(index)) {
        if *lines == 0 || !view.geometry.owns(child, 1) {
            continue;
        }
        *lines -= 1;
        let mut bytes = view.read(child);
        if view.is_touched(child) {
            format::seal_node(&mut bytes);
        }
        let below = NodeRef::block(&bytes);
        match verify_node(&bytes, child) {
            // Levels go down, so this ends.
            Ok(_) if below.level() < node.level() => page(view, ino, below, &child.to_string(), lines, text),
            Ok(_) => *text += &format!("  {child}: level {} is wrong\n", below.level()),
            Err(error) => *text += &format!("  {error}\n"),
        }
    }
}

fn block(pool: &dyn Pool, number: u64) -> Result<String, String> {
    if number >= pool.len() / BLOCK_SIZE as u64 {
        return Err(format!("the pool has {} blocks", pool.len() / BLOCK_SIZE as u64));
    }
    let bytes = read_raw(pool, Block(number));
    let kind = match bytes.first_chunk::<4>() {
        Some(b"DAXL") => "a superblock",
        Some(b"DXJH") => "a journal header",
        Some(b"DXJR") => "the start of a journal record",
        Some(b"DXGR") => "a group header",
        Some(b"DXBM") => "a block of a bitmap",
        Some(b"DXIN") => "a block of inodes",
        Some(b"DXND") => "a node of a tree",
        _ => "no structure that begins with a magic number",
    };
    let mut text = format!("block {number} looks like {kind}\n");
    for (line, piece) in bytes.chunks(16).enumerate().filter(|(_, piece)| piece.iter().any(|byte| *byte != 0)) {
        let _ = write!(text, "{:06x} ", line * 16);
        for byte in piece {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    Ok(text + "lines of zeros are left out\n")
}
