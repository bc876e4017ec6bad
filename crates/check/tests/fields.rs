//! Every field of every structure, as `docs/format.md` lists them, is damaged; the check names each.
//!
//! Twice: with the old checksum, which is then wrong, and, where the pool holds something that tells the field's value,
//! with a new one. Fields of which nothing else tells (owners, times, permissions) are named as such in the table, so a
//! field can be left out of it by nobody.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use check::{Report, Severity};
use common::{Bed, End, Sealed};
use format::{BitmapKind, Block, Entry, HeaderSlot, Ino, RecordBuilder, RecordReader};
use pool::{Durability, Pool};

/// What a changed field must lead to.
#[derive(Clone, Copy, Debug)]
enum Tells {
    /// A finding of this code at this field.
    Code(&'static str, &'static str),
    /// Nothing else in the pool tells the value, so only the checksum can.
    OnlyChecksum,
}
use Tells::{Code, OnlyChecksum};

/// The field's new value; `Flip`: its lowest bit changed.
#[derive(Clone, Copy, Debug)]
enum To {
    Flip,
    Value(u64),
}
use To::{Flip, Value};

type Rows = &'static [(&'static str, To, Tells)];

const SUPERBLOCK: Rows = &[
    ("magic", Flip, Code("superblock", "magic")),
    ("version", Value(0), Code("superblock", "version")),
    ("compat", Flip, Code("backup-superblock", "compat")),
    ("ro_compat", Flip, Code("backup-superblock", "ro_compat")),
    ("incompat", Flip, Code("superblock", "incompat")),
    ("uuid", Flip, Code("backup-superblock", "uuid")),
    ("label", Flip, Code("backup-superblock", "label")),
    ("pool_len", Flip, Code("superblock", "pool_len")),
    ("unit_blocks", Flip, Code("superblock", "unit_blocks")),
    ("group_blocks", Flip, Code("superblock", "group_blocks")),
    ("ring_first", Flip, Code("superblock", "ring_first")),
    ("ring_blocks", Flip, Code("superblock", "ring_blocks")),
    ("groups_first", Flip, Code("superblock", "groups_first")),
    ("group_count", Flip, Code("superblock", "group_count")),
    ("block_bytes", Flip, Code("superblock", "block_bytes")),
    ("root", Flip, Code("superblock", "root")),
    ("made_seconds", Flip, Code("backup-superblock", "made_seconds")),
    ("made_nanos", Flip, Code("backup-superblock", "made_nanos")),
    ("reserved_a", Flip, Code("reserved", "reserved_a")),
    ("name_salt", Flip, Code("backup-superblock", "name_salt")),
    ("reserved_b", Flip, Code("reserved", "reserved_b")),
];

const JOURNAL_HEADER: Rows = &[
    ("magic", Flip, Code("journal-header", "magic")),
    ("generation", Flip, Code("journal-header", "generation")),
    ("tail_offset", Flip, Code("journal-header", "tail_offset")),
    ("tail_seq", Value(0), Code("journal-header", "tail_seq")),
    ("synced_seq", Value(1 << 40), Code("journal-record", "synced_seq")),
    ("used_blocks", Flip, Code("used-blocks", "used_blocks")),
    ("used_inodes", Flip, Code("used-inodes", "used_inodes")),
    ("witness", Flip, OnlyChecksum),
    ("flags", Value(2), Code("journal-header", "flags")),
    ("reserved_a", Flip, Code("reserved", "reserved_a")),
    ("uuid", Flip, Code("journal-header", "uuid")),
    ("reserved_b", Flip, Code("reserved", "reserved_b")),
];

/// In a record that was synced: the chain breaks, and the record is missed.
const RECORD_HEADER: Rows = &[
    ("magic", Flip, Code("journal-record", "synced_seq")),
    ("seq", Flip, Code("journal-record", "synced_seq")),
    ("len", Flip, Code("journal-record", "synced_seq")),
    ("entries", Value(99), Code("journal-record", "synced_seq")),
];

const ENTRY_HEADER: Rows = &[
    ("kind", Value(99), Code("journal-record", "kind")),
    ("which", Value(99), Code("journal-record", "which")),
    ("reserved", Flip, Code("journal-record", "reserved")),
    ("number", Value(u64::MAX), Code("journal-record", "number")),
    ("value", Value(u64::MAX), Code("journal-record", "value")),
];
const OF_BITS: Rows = &[
    // An unknown kind has no bitmap.
    ("kind", Value(99), Code("journal-record", "which")),
    ("number", Value(77), Code("journal-record", "value")),
];

const GROUP_HEADER: Rows = &[
    ("magic", Flip, Code("group-header", "magic")),
    ("index", Flip, Code("group-header", "index")),
    ("state", Value(2), Code("group-header", "state")),
    ("first", Flip, Code("group-header", "first")),
    ("blocks", Flip, Code("group-header", "blocks")),
    ("bitmap_blocks", Value(7), Code("group-header", "bitmap_blocks")),
    ("reserved", Flip, Code("reserved", "reserved")),
];

/// The lowest bit of both bitmaps stands for the group's header.
const BITMAP_BLOCK: Rows = &[
    ("magic", Flip, Code("bitmap", "magic")),
    ("group", Flip, Code("bitmap", "group")),
    ("number", Flip, Code("bitmap", "number")),
    ("kind", Value(3), Code("bitmap", "kind")),
    ("reserved_a", Flip, Code("reserved", "reserved_a")),
    ("reserved_b", Flip, Code("reserved", "reserved_b")),
    ("bits", Flip, Code("bitmap-bits", "bits")),
];

const INODE_RECORD: Rows = &[
    ("magic", Flip, Code("inode-record", "magic")),
    ("ino", Flip, Code("inode-record", "ino")),
    ("generation", Flip, OnlyChecksum),
    ("mode", Value(0o070_644), Code("inode-record", "mode")),
    ("nlink", Flip, Code("link-count", "nlink")),
    ("flags", Flip, Code("inode-record", "flags")),
    ("uid", Flip, OnlyChecksum),
    ("gid", Flip, OnlyChecksum),
    ("rdev", Flip, Code("inode-fields", "rdev")),
    ("reserved_a", Flip, Code("reserved", "reserved_a")),
    ("size", Value(u64::MAX), Code("inode-record", "size")),
    ("blocks", Flip, Code("inode-blocks", "blocks")),
    ("atime_seconds", Flip, OnlyChecksum),
    ("mtime_seconds", Flip, OnlyChecksum),
    ("ctime_seconds", Flip, OnlyChecksum),
    ("btime_seconds", Flip, OnlyChecksum),
    ("atime_nanos", Value(1_000_000_000), Code("inode-record", "atime_nanos")),
    ("mtime_nanos", Value(1_000_000_000), Code("inode-record", "mtime_nanos")),
    ("ctime_nanos", Value(1_000_000_000), Code("inode-record", "ctime_nanos")),
    ("btime_nanos", Value(1_000_000_000), Code("inode-record", "btime_nanos")),
    ("parent", Flip, Code("parent", "parent")),
    ("xattr_root", Flip, Code("inode-fields", "xattr_root")),
    ("change", Flip, OnlyChecksum),
    ("reserved_b", Flip, Code("reserved", "reserved_b")),
    // The first byte of the root: its kind.
    ("inline", Value(9), Code("inode-record", "kind")),
];

const NODE_HEADER: Rows = &[
    ("magic", Flip, Code("node", "magic")),
    ("kind", Value(9), Code("node", "kind")),
    ("level", Value(9), Code("node", "level")),
    ("count", Value(5000), Code("node", "count")),
    ("heap", Value(33), Code("node", "heap")),
    ("reserved", Flip, Code("reserved", "reserved")),
    ("owner", Flip, Code("node", "owner")),
    ("self_block", Flip, Code("node", "self_block")),
];

const INLINE_HEADER: Rows = &[
    ("kind", Value(9), Code("inode-record", "kind")),
    ("level", Value(2), Code("node", "level")),
    ("count", Value(5000), Code("inode-record", "count")),
    ("heap", Value(9), Code("inode-record", "heap")),
    ("reserved", Flip, Code("reserved", "reserved")),
];

const SLOT: Rows = &[
    ("key", Value(u64::MAX), Code("node", "key")),
    ("offset", Value(4095), Code("node", "offset")),
    ("len", Value(1), Code("node", "len")),
];

const EXTENT_VALUE: Rows = &[
    ("block", Value(0), Code("extent", "block")),
    ("len", Value(0), Code("extent", "len")),
    ("state", Value(2), Code("extent", "state")),
];

const DIRECTORY_ENTRIES: Rows = &[
    ("ino", Value(u64::MAX), Code("dangling-entry", "ino")),
    ("type", Value(10), Code("entry-type", "type")),
    ("name", Flip, Code("directory-key", "key")),
];

fn rows_of(structure: &str) -> Option<Rows> {
    Some(match structure {
        "Superblock" => SUPERBLOCK,
        "JournalHeader" => JOURNAL_HEADER,
        "RecordHeader" => RECORD_HEADER,
        "EntryHeader" => ENTRY_HEADER,
        "GroupHeader" => GROUP_HEADER,
        "BitmapBlock" => BITMAP_BLOCK,
        "InodeRecord" => INODE_RECORD,
        "NodeHeader" => NODE_HEADER,
        "InlineHeader" => INLINE_HEADER,
        "Slot" => SLOT,
        "ExtentValue" => EXTENT_VALUE,
        "Directory entries" => DIRECTORY_ENTRIES,
        _ => return None,
    })
}

/// A field's place in its structure: offset and bytes (0 for a name, whose length is not fixed).
type Fields = BTreeMap<String, (u64, usize)>;

/// The tables of the document: structure to fields.
fn documented() -> BTreeMap<String, Fields> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format.md")).unwrap();
    let mut all: BTreeMap<String, Fields> = BTreeMap::new();
    let mut structure = String::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("### ") {
            head.split(':').next().unwrap_or(head).clone_into(&mut structure);
        } else if line.starts_with("## ") {
            structure.clear();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, offset, bytes, field, ..] = cells.as_slice() else { continue };
        let (Ok(offset), Some(field)) = (offset.parse(), field.strip_prefix('`').and_then(|f| f.strip_suffix('`')))
        else {
            continue;
        };
        all.entry(structure.clone()).or_default().insert(field.to_owned(), (offset, bytes.parse().unwrap_or(0)));
    }
    all
}

#[test]
fn the_tables_of_this_test_hold_every_field_of_the_document() {
    let documented = documented();
    assert_eq!(documented.len(), 12, "{:?}", documented.keys());
    for (structure, fields) in documented {
        let rows = rows_of(&structure).unwrap_or_else(|| panic!("{structure} is not tested"));
        let mut tested: BTreeSet<&str> = rows.iter().map(|(field, ..)| *field).collect();
        tested.insert("crc");
        for field in fields.keys() {
            assert!(tested.contains(field.as_str()), "{structure}.{field} is not tested");
        }
    }
}

fn named(report: &Report, code: &str, field: &str) -> bool {
    report.findings.iter().any(|finding| finding.code == code && finding.place.field.as_deref() == Some(field))
}

/// Damages each field of the structure at `at`, which is in `sealed`. `changed` are rows that differ for this instance.
fn damage_all(bed: &mut Bed, structure: &str, at: u64, sealed: &Sealed, changed: Rows) {
    assert!(bed.report().is_clean(), "{}", bed.report().text());
    let fields = &documented()[structure];
    for usual in rows_of(structure).unwrap() {
        let (field, to, tells) = changed.iter().find(|(other, ..)| *other == usual.0).unwrap_or(usual);
        let (offset, bytes) = fields[*field];
        let place = at + offset;
        let old = bed.bytes(place, bytes.clamp(1, 8));
        let new = match to {
            Flip => [&[old[0] ^ 1], &old[1..]].concat(),
            Value(value) if bytes > 8 => value.to_le_bytes()[..1].to_vec(),
            Value(value) => value.to_le_bytes()[..bytes.clamp(1, 8)].to_vec(),
        };
        assert_ne!(old[..new.len()], new, "{structure}.{field} has that value");
        bed.poke(place, &new);
        let by_checksum = bed.report();
        let (errors, warnings) = (by_checksum.errors + by_checksum.fatals, by_checksum.warnings);
        assert!(errors + warnings > 0, "{structure}.{field} with an old checksum: nothing found");
        bed.seal(sealed);
        let report = bed.report();
        if let Code(code, name) = tells {
            assert!(named(&report, code, name), "{structure}.{field}: {}", report.text());
        } else {
            assert!(report.is_clean(), "{structure}.{field} is told by something: {}", report.text());
        }
        bed.restore();
    }
}

const AS_BACKUP: Rows = &[
    ("magic", Flip, Code("backup-superblock", "magic")),
    ("version", Value(0), Code("backup-superblock", "version")),
    ("incompat", Flip, Code("backup-superblock", "incompat")),
    ("pool_len", Flip, Code("backup-superblock", "pool_len")),
    ("unit_blocks", Flip, Code("backup-superblock", "unit_blocks")),
    ("group_blocks", Flip, Code("backup-superblock", "group_blocks")),
    ("ring_first", Flip, Code("backup-superblock", "ring_first")),
    ("ring_blocks", Flip, Code("backup-superblock", "ring_blocks")),
    ("groups_first", Flip, Code("backup-superblock", "groups_first")),
    ("group_count", Flip, Code("backup-superblock", "group_count")),
    ("block_bytes", Flip, Code("backup-superblock", "block_bytes")),
    ("root", Flip, Code("backup-superblock", "root")),
    ("reserved_a", Flip, Code("backup-superblock", "reserved_a")),
    ("reserved_b", Flip, Code("backup-superblock", "reserved_b")),
];

#[test]
fn every_field_of_the_superblocks() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    for (at, changed) in [(Block(0), &[] as Rows), (bed.geometry.backup_superblock(), AS_BACKUP)] {
        let sealed = Sealed { crc_at: 8, ..Sealed::block(at) };
        damage_all(&mut bed, "Superblock", at.offset(), &sealed, changed);
    }
}

#[test]
fn every_field_of_groups_and_bitmaps() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let group = bed.geometry.group(0).unwrap();
    let header = Sealed { len: 64, ..Sealed::block(group.first) };
    damage_all(&mut bed, "GroupHeader", group.first.offset(), &header, &[]);
    for kind in [BitmapKind::Used, BitmapKind::Inodes] {
        let block = group.bitmap_block(kind, 0).unwrap();
        damage_all(&mut bed, "BitmapBlock", block.offset(), &Sealed::block(block), &[]);
    }
}

#[test]
fn every_field_of_the_journals_header_and_records() {
    let mut bed = Bed::new(Durability::Msync, End::Closed);
    let (at, _) = bed.header();
    let header = Sealed { len: 128, ..Sealed::block(at) };
    damage_all(&mut bed, "JournalHeader", at.offset(), &header, &[]);
    let mut bed = Bed::new(Durability::Msync, End::Killed);
    let record = bed.first_record();
    damage_all(&mut bed, "RecordHeader", record.at, &record, &[]);
    for (kind, changed) in [(1, &[] as Rows), (2, OF_BITS)] {
        let (record, offset) = entry_of_kind(&bed, kind);
        damage_all(&mut bed, "EntryHeader", record.at + offset, &record, changed);
    }
}

/// The first entry of a kind in the journal: its record, and its offset in it.
fn entry_of_kind(bed: &Bed, kind: u8) -> (Sealed, u64) {
    let mut record = bed.first_record();
    loop {
        let mut offset = 24;
        while offset < record.len as u64 {
            let head = bed.bytes(record.at + offset, 8);
            if head[0] == kind {
                return (record, offset);
            }
            let data = if head[0] == 1 { u32::from_le_bytes(head[4..].try_into().unwrap()) } else { 0 };
            offset += 16 + u64::from(data).next_multiple_of(8);
        }
        record.at += record.len as u64;
        record.len = u32::from_le_bytes(bed.bytes(record.at + 16, 4).try_into().unwrap()) as usize;
        assert!(record.len > 24, "no entry of kind {kind}");
    }
}

#[test]
fn every_field_of_inode_records() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let of_directory: Rows = &[("size", Flip, Code("inode-size", "size"))];
    let of_link: Rows =
        &[("size", Flip, Code("link-target", "size")), ("inline", Value(0), Code("link-target", "size"))];
    let of_fifo: Rows = &[("size", Flip, Code("inode-size", "size")), ("inline", Flip, Code("reserved", "inline"))];
    let cases = [
        (bed.many, &[] as Rows),
        (bed.small, &[]),
        (bed.dir, of_directory),
        (bed.sub, of_directory),
        (bed.short_link, of_link),
        (bed.fifo, of_fifo),
        (bed.long_link, &[]),
    ];
    for (ino, changed) in cases {
        if ino == bed.short_link {
            // One byte more of a target is a NUL.
            bed.change(ino, |record| record.inline[10] = 0);
        }
        damage_all(&mut bed, "InodeRecord", ino.offset(), &Sealed::inode(ino), changed);
    }
}

#[test]
fn every_field_of_nodes_their_slots_and_values() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    for ino in [bed.many, bed.dir] {
        let node = bed.node(ino);
        let sealed = Sealed::block(node);
        damage_all(&mut bed, "NodeHeader", node.offset(), &sealed, &[]);
        damage_all(&mut bed, "Slot", node.offset() + 32, &sealed, &[]);
        let root = Sealed::inode(ino);
        damage_all(&mut bed, "InlineHeader", ino.offset() + 192, &root, &[]);
    }
    let (many, dir) = (bed.node(bed.many), bed.node(bed.dir));
    let at = bed.value_at(many, 3);
    damage_all(&mut bed, "ExtentValue", at, &Sealed::block(many), &[]);
    let at = bed.value_at(dir, 3);
    damage_all(&mut bed, "Directory entries", at, &Sealed::block(dir), &[]);
}

#[test]
fn slots_and_values_in_a_root_are_checked_too() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    // The root of a small file: header of 8, first slot, first value at its offset.
    let ino = bed.small;
    let slot: Rows = &[
        ("key", Value(u64::MAX), Code("inode-record", "key")),
        ("offset", Value(319), Code("inode-record", "offset")),
        ("len", Value(1), Code("inode-record", "len")),
    ];
    damage_all(&mut bed, "Slot", ino.offset() + 200, &Sealed::inode(ino), slot);
    let offset = u64::from(bed.bytes(ino.offset() + 208, 1)[0]) | u64::from(bed.bytes(ino.offset() + 209, 1)[0]) << 8;
    damage_all(&mut bed, "ExtentValue", ino.offset() + 192 + offset, &Sealed::inode(ino), &[]);
}

/// Damages, checks, restores.
fn found(bed: &mut Bed, damage: impl FnOnce(&mut Bed)) -> Report {
    damage(bed);
    let report = bed.report();
    bed.restore();
    report
}

/// Changes a byte or more of a block, and seals it.
fn poke_block(bed: &mut Bed, block: Block, at: u64, bytes: &[u8]) {
    bed.poke(block.offset() + at, bytes);
    bed.seal(&Sealed::block(block));
}

#[test]
fn trees_that_share_nodes_go_in_circles_or_leave_the_pool_are_named() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    for ino in [bed.many, bed.dir] {
        let children = bed.record(ino).inline_node().count();
        assert!(children > 1);
        let child_at = |bed: &Bed, index: u64| {
            let at = ino.offset() + 192 + 8 + index * 12 + 8;
            let offset = bed.bytes(at, 2);
            ino.offset() + 192 + u64::from(u16::from_le_bytes([offset[0], offset[1]]))
        };
        let (first, second) = (child_at(&bed, 0), child_at(&bed, 1));
        let twice = bed.bytes(first, 8);
        for (to, code) in [
            (twice, "shared-block"),
            (u64::MAX.to_le_bytes().to_vec(), "node-child"),
            (0_u64.to_le_bytes().to_vec(), "node-child"),
            (ino.block().0.to_le_bytes().to_vec(), "shared-block"),
        ] {
            let report = found(&mut bed, |bed| {
                bed.poke(second, &to);
                bed.seal(&Sealed::inode(ino));
            });
            assert!(named(&report, code, "child"), "{code}: {}", report.text());
        }
        // Keys that the parent's bound shuts out.
        let bound = ino.offset() + 192 + 8 + 12;
        let root = bed.record(ino);
        let root = root.inline_node();
        let high = if children > 2 { u64::midpoint(root.key(1), root.key(2)) } else { root.key(1) + (1 << 20) };
        let report = found(&mut bed, |bed| {
            bed.poke(bound, &high.to_le_bytes());
            bed.seal(&Sealed::inode(ino));
        });
        assert!(named(&report, "node-bounds", "key"), "{}", report.text());
    }
}

#[test]
fn extents_that_overlap_share_or_miss_blocks_are_named() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let node = bed.node(bed.many);
    let (at, other) = (bed.value_at(node, 3), bed.value(node, 5));
    let report = found(&mut bed, |bed| poke_block(bed, node, at - node.offset(), &other[..8]));
    assert!(named(&report, "shared-block", "block") && report.has("leaked"), "{}", report.text());
    let report = found(&mut bed, |bed| poke_block(bed, node, at - node.offset() + 8, &3_u32.to_le_bytes()));
    assert!(named(&report, "extent-overlap", "len"), "{}", report.text());
    let free = bed.geometry.groups().last().unwrap().end().0 - 1;
    let report = found(&mut bed, |bed| poke_block(bed, node, at - node.offset(), &free.to_le_bytes()));
    let finding = report.findings.iter().find(|finding| finding.code == "used-but-free").unwrap();
    assert_eq!((finding.place.block, finding.severity), (Some(free), Severity::Error));
    let many = bed.many;
    let report = found(&mut bed, |bed| {
        bed.change(many, |record| {
            record.inline.fill(0);
        });
    });
    assert!(report.has("inode-blocks") && report.has("leaked"), "{}", report.text());
}

#[test]
fn names_that_mean_the_wrong_inode_are_named() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let node = bed.node(bed.dir);
    let at = bed.value_at(node, 3) - node.offset();
    let (root, sub, fifo, gone) = (bed.geometry.root(), bed.sub, bed.fifo, bed.gone);
    for (to, kind, code) in [
        (Ino(8), 8, "dangling-entry"),
        (gone, 8, "dangling-entry"),
        (fifo, 8, "entry-type"),
        (fifo, 1, "link-count"),
        (sub, 4, "directory-names"),
        (root, 4, "directory-names"),
    ] {
        let report = found(&mut bed, |bed| {
            poke_block(bed, node, at, &[&to.0.to_le_bytes()[..], &[kind]].concat());
        });
        assert!(report.has(code), "{to} as {kind}: {}", report.text());
        assert!(report.has("unreachable"), "the file that lost its name: {}", report.text());
    }
}

#[test]
fn a_name_that_is_there_twice_and_a_directory_without_a_way_up_are_named() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let (dir, root) = (bed.dir, bed.geometry.root());
    let report = found(&mut bed, |bed| bed.change(dir, |record| record.set_parent(dir)));
    assert!(named(&report, "parent", "parent"), "{}", report.text());
    let sub = bed.sub;
    let report = found(&mut bed, |bed| {
        // "sub" names itself: its one entry becomes a directory's, and the root's entry of it goes to "moved".
        bed.change(root, |record| record.inline.fill(0));
    });
    assert!(report.has("unreachable") && report.has("link-count"), "{}", report.text());
    assert!(report.findings.iter().any(|finding| finding.place.inode == Some(sub.0)), "{}", report.text());
}

#[test]
fn an_active_group_that_calls_itself_fresh_is_named() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let group = bed.geometry.group(0).unwrap();
    let report = found(&mut bed, |bed| {
        bed.poke(group.first.offset() + 12, &0_u32.to_le_bytes());
        bed.seal(&Sealed { len: 64, ..Sealed::block(group.first) });
    });
    assert!(report.has("root") && report.has("used-blocks"), "{}", report.text());
    assert_eq!(report.exit_code(), 4);
}

/// Puts a record behind those that are there.
fn append(bed: &mut Bed, entries: &[Entry<'_>]) {
    let header = bed.header().1;
    let ring = bed.geometry.ring_first().offset();
    let (mut at, mut seq) = (header.tail_offset.get(), header.tail_seq.get());
    let uuid = bed.uuid();
    loop {
        let bytes = bed.bytes(ring + at, 64 << 10);
        let Ok(record) = RecordReader::new(&bytes, seq, &uuid) else { break };
        at += record.len() as u64;
        seq += 1;
    }
    let mut builder = RecordBuilder::new();
    for entry in entries {
        builder.push(entry);
    }
    let bytes = builder.finish(seq, &uuid).unwrap().to_vec();
    bed.poke(ring + at, &bytes);
}

#[test]
fn records_that_make_no_sense_are_named() {
    let mut bed = Bed::new(Durability::Volatile, End::Killed);
    let (used, inodes) = (BitmapKind::Used, BitmapKind::Inodes);
    let group = bed.geometry.group(0).unwrap();
    let first = group.own_blocks();
    let cases: [(Entry<'_>, &str); 9] = [
        (Entry::Bytes { offset: 0, data: &[1; 8] }, "journal-record"),
        (Entry::Bytes { offset: u64::MAX - 100, data: &[1; 8] }, "journal-record"),
        (Entry::Bytes { offset: group.first_data().offset() + 4090, data: &[1; 8] }, "journal-record"),
        (Entry::SetBits { group: 9, which: used, first, count: 1 }, "journal-record"),
        (Entry::SetBits { group: 0, which: used, first: 0, count: 1 }, "journal-record"),
        (Entry::SetBits { group: 0, which: used, first: group.blocks, count: 1 }, "journal-record"),
        (Entry::ClearBits { group: 0, which: inodes, first, count: 1 }, "journal-record"),
        (Entry::OrphanAdd { ino: Ino(99) }, "orphan"),
        (Entry::Count { inodes: 3 }, "used-inodes"),
    ];
    for (entry, code) in cases {
        let report = found(&mut bed, |bed| append(bed, &[entry]));
        assert!(report.has(code) && !report.is_clean(), "{entry:?}: {}", report.text());
    }
    let orphan = found(&mut bed, |bed| append(bed, &[Entry::OrphanSnapshot { inos: &[] }]));
    assert!(orphan.has("unreachable"), "an orphan that the journal forgot: {}", orphan.text());
    let leak = found(&mut bed, |bed| append(bed, &[Entry::SetBits { group: 0, which: used, first: 2000, count: 5 }]));
    assert!(leak.has("leaked") || leak.has("used-blocks"), "{}", leak.text());
    let freed = found(&mut bed, |bed| append(bed, &[Entry::ClearBits { group: 0, which: used, first, count: 3 }]));
    assert!(freed.has("used-but-free") && freed.has("inode-block-free"), "{}", freed.text());
}

#[test]
fn a_pool_marked_as_closed_with_records_left_is_named() {
    let mut bed = Bed::new(Durability::Volatile, End::Killed);
    let (at, header) = bed.header();
    assert_eq!(header.flags.get(), 0);
    let report = found(&mut bed, |bed| {
        bed.poke(at.offset() + 88, &[1]);
        bed.seal(&Sealed { len: 128, ..Sealed::block(at) });
    });
    assert!(named(&report, "journal-header", "flags"), "{}", report.text());
}

#[test]
fn without_a_sound_superblock_or_journal_header_the_exit_code_says_so() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let last = bed.geometry.backup_superblock();
    let report = found(&mut bed, |bed| {
        bed.poke(0, &[0; 64]);
        bed.poke(last.offset(), &[0; 64]);
    });
    assert_eq!((report.exit_code(), report.fatals), (8, 1), "{}", report.text());
    let report = found(&mut bed, |bed| {
        for slot in [HeaderSlot::A, HeaderSlot::B] {
            let at = bed.geometry.journal_header(slot);
            bed.poke(at.offset(), &[7; 128]);
        }
    });
    assert_eq!(report.exit_code(), 4, "{}", report.text());
    assert!(report.has("journal-header"));
    let short = pool::HeapPool::new(8 << 20, Durability::Volatile).unwrap();
    assert_eq!(common::report(&short).exit_code(), 8);
    let longer = pool::HeapPool::new(common::BYTES + 4096, Durability::Volatile).unwrap();
    longer.write(0, &bed.bytes(0, 4096));
    let report = common::report(&longer);
    assert_eq!((report.exit_code(), report.has("pool-length")), (8, true), "{}", report.text());
}

#[test]
fn findings_are_counted_beyond_those_that_are_kept() {
    let mut bed = Bed::new(Durability::Volatile, End::Closed);
    let dir = bed.dir;
    bed.change(dir, |record| record.inline.fill(0));
    let mut seen = 0;
    let mut progress = |_, _| seen += 1;
    let mut options = check::CheckOptions { findings_max: 3, progress: Some(&mut progress) };
    let report = check::check(&*bed.pool, &mut options);
    assert!(seen > 1 && report.errors > 100 && report.left_out > 100, "{}", report.text());
    assert!(report.findings.len() <= 9 && report.text().contains("and "), "{}", report.text());
    let json = report.json();
    assert!(json.contains("\"severity\": \"error\"") && json.contains("\"code\": \"link-count\""), "{json}");
}
