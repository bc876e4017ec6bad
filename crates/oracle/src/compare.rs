//! The engine's tree against the model's: names, kinds, numbers, attributes, link targets, every byte.
//!
//! After a power cut the names, sizes and attributes must be those of one moment, but bytes that were overwritten in place
//! and not synced may be those of any moment since the last sync: [`compare_any`] takes all those moments.
//!
//! Bytes are compared where the engine says there is data and where the model has written; all else is a hole in both.
//! Holes are read too, at their start, in case one shows what it should not.

use crate::content::Content;
use crate::model::{Body, Id, Model, ROOT};
use engine::FsError;
use engine::fs::{Fs, Node};
use engine::types::{Ino, Kind, PAGE_BYTES, Seek};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Walks both trees; the first difference in words.
pub fn compare(fs: &Arc<Fs>, model: &Model) -> Result<(), String> {
    walk(fs, model, &[])
}

/// Walks both trees. Each byte of a file may be as in `model` or in any of `moments`, which are earlier or later states of
/// the same model; where a moment's file is shorter, its bytes are zeros.
pub fn compare_any(fs: &Arc<Fs>, model: &Model, moments: &[&Model]) -> Result<(), String> {
    walk(fs, model, moments)
}

fn walk(fs: &Arc<Fs>, model: &Model, moments: &[&Model]) -> Result<(), String> {
    let root = fs.root().map_err(|error| format!("root: {error}"))?;
    let mut numbers = HashMap::from([(root.ino(), ROOT)]);
    let mut todo = vec![(root, ROOT, String::new())];
    while let Some((node, id, path)) = todo.pop() {
        let children = node_of(fs, &node, model, id, moments).map_err(|what| format!("/{path}: {what}"))?;
        for (name, child, child_id) in children {
            let path = format!("{path}/{}", short(&name));
            // One inode is one node of the model, and the other way round.
            let known = *numbers.entry(child.ino()).or_insert(child_id);
            if known != child_id {
                return Err(format!("{path}: has inode {:?}, which is another file's", child.ino()));
            }
            if numbers.iter().any(|(ino, other)| *other == child_id && *ino != child.ino()) {
                return Err(format!("{path}: two names of one file have two inodes"));
            }
            todo.push((child, child_id, path));
        }
    }
    compare_space(fs)
}

fn compare_space(fs: &Fs) -> Result<(), String> {
    let facts = fs.statfs();
    if facts.blocks_free > facts.blocks {
        Err(format!("more blocks are free than there are: {facts:?}"))
    } else {
        Ok(())
    }
}

type Children = Vec<(Vec<u8>, Node, Id)>;

/// Compares one node; gives back what lies in it, if it is a directory.
pub fn compare_node(fs: &Arc<Fs>, node: &Node, model: &Model, id: Id) -> Result<Children, String> {
    node_of(fs, node, model, id, &[])
}

fn node_of(fs: &Arc<Fs>, node: &Node, model: &Model, id: Id, moments: &[&Model]) -> Result<Children, String> {
    let (attr, entity) = (fs.attr(node).map_err(|error| format!("attr: {error}"))?, model.node(id));
    let expected = (entity.kind(), entity.mode, entity.uid, entity.gid, entity.nlink);
    let actual = (attr.kind, attr.mode, attr.uid, attr.gid, attr.nlink);
    if expected != actual {
        return Err(format!("(kind, mode, uid, gid, links) are {actual:?} instead of {expected:?}"));
    }
    match &entity.body {
        Body::File(content) if moments.is_empty() => compare_content(fs, node, attr.size, content).map(|()| Vec::new()),
        Body::File(content) => {
            let versions: Vec<&Content> = moments.iter().filter_map(|moment| moment.try_content(id)).collect();
            compare_versions(fs, node, attr.size, content, &versions).map(|()| Vec::new())
        }
        Body::Symlink(target) => match fs.read_link(node) {
            Ok(actual) if actual == *target => Ok(Vec::new()),
            other => Err(format!("link target is {other:?}")),
        },
        Body::Special(kind, number) => {
            let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
            if is_device && attr.rdev != *number {
                Err(format!("device number {:#x}", attr.rdev))
            } else {
                Ok(Vec::new())
            }
        }
        Body::Directory { entries, parent } => {
            if entity.nlink == 0 {
                // As in Linux, a directory that was removed while somebody had it cannot be read any more.
                let read = fs.read_dir(node, 0, &mut |_| ControlFlow::Continue(()));
                let refused = matches!(read, Err(FsError::NotFound));
                return if refused { Ok(Vec::new()) } else { Err(format!("a removed directory is read: {read:?}")) };
            }
            compare_dots(fs, node, model, *parent, id)?;
            compare_entries(fs, node, entries, model)
        }
    }
}

fn compare_dots(fs: &Arc<Fs>, node: &Node, model: &Model, parent: Id, id: Id) -> Result<(), String> {
    let dot = fs.lookup(node, b".").map_err(|error| format!("lookup of .: {error}"))?;
    let up = fs.lookup(node, b"..").map_err(|error| format!("lookup of ..: {error}"))?;
    let up_links = fs.attr(&up).map_err(|error| format!("attr of ..: {error}"))?.nlink;
    if !dot.same(node) || (id == ROOT) != up.same(node) || up_links != model.node(parent).nlink {
        return Err("\".\" or \"..\" leads elsewhere".to_owned());
    }
    Ok(())
}

/// Reads a directory in pieces, from cookie to cookie, and looks every name up.
fn compare_entries(
    fs: &Arc<Fs>,
    dir: &Node,
    expected: &BTreeMap<Vec<u8>, Id>,
    model: &Model,
) -> Result<Children, String> {
    let mut actual: BTreeMap<Vec<u8>, (Ino, Kind)> = BTreeMap::new();
    let mut cookie = 0;
    loop {
        let mut piece = 0;
        let mut twice = None;
        let read = fs.read_dir(dir, cookie, &mut |entry| {
            if piece == 3 {
                return ControlFlow::Break(());
            }
            piece += 1;
            cookie = entry.cookie;
            let dots = entry.name == b"." || entry.name == b"..";
            if !dots && actual.insert(entry.name.to_vec(), (entry.ino, entry.kind)).is_some() {
                twice = Some(entry.name.to_vec());
            }
            ControlFlow::Continue(())
        });
        read.map_err(|error| format!("read_dir: {error}"))?;
        if let Some(name) = twice {
            return Err(format!("{} is listed twice", short(&name)));
        }
        if piece == 0 {
            break;
        }
    }
    if !actual.keys().eq(expected.keys()) {
        let names = |keys: Vec<&Vec<u8>>| keys.into_iter().map(|name| short(name)).collect::<Vec<_>>();
        return Err(format!(
            "lists {:?} instead of {:?}",
            names(actual.keys().collect()),
            names(expected.keys().collect())
        ));
    }
    let mut children = Vec::new();
    for ((name, (ino, kind)), &id) in actual.into_iter().zip(expected.values()) {
        let child = fs.lookup(dir, &name).map_err(|error| format!("lookup of {}: {error}", short(&name)))?;
        if child.ino() != ino || kind != model.node(id).kind() {
            return Err(format!("{}: listed as {ino:?} {kind:?}, is {:?}", short(&name), child.ino()));
        }
        children.push((name, child, id));
    }
    Ok(children)
}

fn compare_content(fs: &Arc<Fs>, node: &Node, size: u64, content: &Content) -> Result<(), String> {
    if size != content.size() || node.size() != size {
        return Err(format!("size is {size} instead of {}", content.size()));
    }
    for page in content.written_pages() {
        let start = page * PAGE_BYTES;
        compare_bytes(fs, node, content, start, PAGE_BYTES.min(size.saturating_sub(start)))?;
    }
    let mut at = 0;
    while at < size {
        let data = match fs.seek(node, at, Seek::Data) {
            Ok(data) => data,
            Err(FsError::PastEnd) => size,
            Err(error) => return Err(format!("seek: {error}")),
        };
        compare_bytes(fs, node, content, at, (data - at).min(PAGE_BYTES))?;
        if data == size {
            break;
        }
        let hole = fs.seek(node, data, Seek::Hole).map_err(|error| format!("seek: {error}"))?;
        compare_bytes(fs, node, content, data, hole - data)?;
        at = hole;
    }
    Ok(())
}

fn compare_versions(
    fs: &Arc<Fs>,
    node: &Node,
    size: u64,
    content: &Content,
    versions: &[&Content],
) -> Result<(), String> {
    if size != content.size() {
        return Err(format!("size is {size} instead of {}", content.size()));
    }
    let mut at = 0;
    while at < size {
        let len = PIECE_BYTES.min(size - at) as usize;
        let mut actual = vec![0xEE; len];
        let n = fs.read(node, at, &mut actual).map_err(|error| format!("read at {at}: {error}"))?;
        if n != len {
            return Err(format!("{n} bytes read at {at} instead of {len}"));
        }
        let mut explained = vec![false; len];
        for version in std::iter::once(&content).chain(versions) {
            let mut bytes = vec![0; len];
            version.read(at, &mut bytes);
            for ((explained, actual), byte) in explained.iter_mut().zip(&actual).zip(&bytes) {
                *explained |= actual == byte;
            }
        }
        if let Some(first) = explained.iter().position(|explained| !explained) {
            let offset = at + first as u64;
            return Err(format!("at offset {offset}: {:#04x} was never there since the last sync", actual[first]));
        }
        at += len as u64;
    }
    Ok(())
}

fn compare_bytes(fs: &Arc<Fs>, node: &Node, content: &Content, mut at: u64, len: u64) -> Result<(), String> {
    let end = at + len;
    while at < end {
        let piece = PIECE_BYTES.min(end - at) as usize;
        let (mut actual, mut expected) = (vec![0xEE; piece], vec![0; piece]);
        let n = fs.read(node, at, &mut actual).map_err(|error| format!("read at {at}: {error}"))?;
        if n != piece || content.read(at, &mut expected) != piece {
            return Err(format!("{n} bytes read at {at} instead of {piece}"));
        }
        if let Some(first) = actual.iter().zip(&expected).position(|(a, b)| a != b) {
            let (offset, last) = (at + first as u64, (first + 8).min(piece));
            let (is, must) = (&actual[first..last], &expected[first..last]);
            return Err(format!("at offset {offset} (page {}): {is:02x?} instead of {must:02x?}", offset / PAGE_BYTES));
        }
        at += piece as u64;
    }
    Ok(())
}

fn short(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if text.len() > 20 { format!("{}... ({} bytes)", &text[..8], name.len()) } else { text.into_owned() }
}
