//! The layout of every structure, taken from the compiled types, and how it is drawn.
//!
//! `Layout::of` lists fields with offsets and sizes. `draw` shows them as boxes of eight bytes a line; the same drawing
//! must stand in the structure's doc comment and in `docs/format.md`, so neither can be out of date.

#![allow(dead_code)] // each test program uses a part of it

use std::fmt::Write as _;

use daxle_format::{
    BitmapBlock, EntryHeader, ExtentValue, GroupHeader, InlineHeader, InodeRecord, JournalHeader, NodeHeader,
    RecordHeader, Slot, Superblock,
};

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub offset: usize,
    pub size: usize,
}

/// A structure.
#[derive(Debug)]
pub struct Layout {
    pub name: &'static str,
    pub size: usize,
    pub fields: Vec<Field>,
}

macro_rules! layout {
    ($name:ident { $($field:ident),* $(,)? }) => {{
        let value = $name::zeroed();
        // Fails to compile when a field is missing here.
        let $name { $($field: _),* } = value;
        Layout {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: vec![$(Field {
                name: stringify!($field),
                offset: std::mem::offset_of!($name, $field),
                size: size_of_val(&value.$field),
            }),*],
        }
    }};
}

/// All structures.
pub fn layouts() -> Vec<Layout> {
    vec![
        layout!(Superblock {
            magic,
            crc,
            version,
            compat,
            ro_compat,
            incompat,
            uuid,
            label,
            pool_len,
            unit_blocks,
            group_blocks,
            ring_first,
            ring_blocks,
            groups_first,
            group_count,
            block_bytes,
            root,
            made_seconds,
            made_nanos,
            reserved_a,
            name_salt,
            reserved_b
        }),
        layout!(JournalHeader {
            magic,
            crc,
            generation,
            tail_offset,
            tail_seq,
            synced_seq,
            used_blocks,
            used_inodes,
            witness,
            flags,
            reserved_a,
            uuid,
            reserved_b
        }),
        layout!(RecordHeader { magic, crc, seq, len, entries }),
        layout!(EntryHeader { kind, which, reserved, number, value }),
        layout!(GroupHeader { magic, crc, index, state, first, blocks, bitmap_blocks, reserved }),
        layout!(BitmapBlock { magic, crc, group, number, kind, reserved_a, reserved_b, bits }),
        layout!(InodeRecord {
            magic,
            crc,
            ino,
            generation,
            mode,
            nlink,
            flags,
            uid,
            gid,
            rdev,
            reserved_a,
            size,
            blocks,
            atime_seconds,
            mtime_seconds,
            ctime_seconds,
            btime_seconds,
            atime_nanos,
            mtime_nanos,
            ctime_nanos,
            btime_nanos,
            parent,
            xattr_root,
            change,
            reserved_b,
            inline
        }),
        layout!(NodeHeader { magic, crc, kind, level, count, heap, reserved, owner, self_block }),
        layout!(InlineHeader { kind, level, count, heap, reserved }),
        layout!(Slot { key, offset, len }),
        layout!(ExtentValue { block, len, state }),
    ]
}

/// Columns that a byte takes.
const CELL: usize = 6;

/// The structure as boxes, eight bytes a line.
pub fn draw(layout: &Layout) -> String {
    let mut rows: Vec<Vec<Field>> = Vec::new();
    for field in &layout.fields {
        match rows.last_mut() {
            Some(row) if field.offset / 8 == row[0].offset / 8 && row[0].size < 8 => row.push(*field),
            _ => rows.push(vec![*field]),
        }
    }
    let mut text = String::from("     ");
    for byte in 0..8 {
        write!(text, "   {byte}  ").unwrap();
    }
    let mut text = format!("{}\n", text.trim_end());
    let mut above = Vec::new();
    for row in &rows {
        let below = edges(row);
        text += &border(&above, &below);
        let mut line = format!("{:5}|", row[0].offset);
        for field in row {
            let width = field.size.min(8) * CELL - 1;
            let label =
                if field.size > 8 { format!("{} ({} bytes)", field.name, field.size) } else { field.name.to_string() };
            let padded = if label.len() < width { format!(" {label}") } else { label };
            write!(line, "{padded:width$}|").unwrap();
        }
        text += &line;
        text.push('\n');
        above = below;
    }
    text + &border(&above, &[])
}

fn edges(row: &[Field]) -> Vec<usize> {
    let mut edges = vec![0];
    edges.extend(row.iter().map(|field| (field.offset % 8 + field.size).min(8) * CELL));
    edges
}

fn border(above: &[usize], below: &[usize]) -> String {
    let end = above.iter().chain(below).copied().max().unwrap_or(0);
    let line: String = (0..=end).map(|at| if above.contains(&at) || below.contains(&at) { '+' } else { '-' }).collect();
    format!("     {line}\n")
}
