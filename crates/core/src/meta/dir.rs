//! Directories: names by hash.
//!
//! Key: a 56-bit hash of the name, seeded per pool, and below it 7 bits that tell colliding names apart. The key is the
//! cookie of `readdir`: it stays with the name for as long as the name is there, whatever comes and goes around it.
//! Value: inode number, type byte, name. A lookup compares names, so a hash that collides costs a step, not correctness;
//! more than 128 names with one hash are refused.
//!
//! After an error drop the transaction and the record.

use std::ops::ControlFlow;

use format::{DIRENT_HEAD_BYTES, DirentValue, Ino, KEYS_PER_NAME, name_key};
use order::{Before, Held, level};

use super::tree::{self, Cursor, NodeStore, Root, RootMut};
use super::tx::Tx;
use super::{InodeRecord, KIND_DIRECTORY};
use crate::error::FsError;
use crate::types::NAME_MAX_BYTES;

/// A name's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its key and cookie.
    pub key: u64,
    /// What it names.
    pub ino: Ino,
    /// That inode's type (`DT_*`).
    pub kind: u8,
}

fn root(rec: &InodeRecord) -> Root<'_> {
    Root { owner: rec.ino(), kind: KIND_DIRECTORY, bytes: rec.inline_area() }
}

fn edit<R>(rec: &mut InodeRecord, body: impl FnOnce(&mut RootMut<'_>) -> Result<R, FsError>) -> Result<R, FsError> {
    let mut root = RootMut { owner: rec.ino(), kind: KIND_DIRECTORY, bytes: rec.inline_area_mut(), nodes: 0 };
    let result = body(&mut root)?;
    let nodes = root.nodes;
    let blocks = rec.blocks().saturating_add_signed(nodes);
    rec.set_blocks(blocks);
    Ok(result)
}

fn decode<'v>(rec: &InodeRecord, key: u64, value: &'v [u8]) -> Result<(Found, &'v [u8]), FsError> {
    let entry = DirentValue::read(value, rec.ino(), key)?;
    Ok((Found { key, ino: entry.ino, kind: entry.kind }, entry.name))
}

/// The value of an entry.
fn encode(ino: Ino, kind: u8, name: &[u8]) -> Result<Vec<u8>, FsError> {
    let mut value = Vec::with_capacity(DIRENT_HEAD_BYTES + name.len());
    DirentValue { ino, kind, name }.encode(&mut value)?;
    Ok(value)
}

/// The entry of a name, or the first free key for it.
fn seek<S: NodeStore + ?Sized>(
    store: &S,
    rec: &InodeRecord,
    name: &[u8],
) -> Result<Result<Found, Option<u64>>, FsError> {
    let first = name_key(name, store.name_salt());
    let mut cursor = Cursor::new(store, root(rec))?;
    cursor.seek(first)?;
    let mut free = first;
    while let Some((key, value)) = cursor.entry().filter(|(key, _)| *key - first < KEYS_PER_NAME) {
        let (found, other) = decode(rec, key, value)?;
        if other == name {
            return Ok(Ok(found));
        }
        if key == free {
            free += 1;
        }
        cursor.advance()?;
    }
    Ok(Err((free - first < KEYS_PER_NAME).then_some(free)))
}

/// The entry of a name.
pub fn find<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord, name: &[u8]) -> Result<Option<Found>, FsError> {
    Ok(seek(store, rec, name)?.ok())
}

/// Adds a name of 1 to 255 bytes: its key. `Exists` if it is there.
pub fn insert<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    name: &[u8],
    ino: Ino,
    kind: u8,
) -> Result<u64, FsError> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        return Err(FsError::NameTooLong);
    }
    let key = match seek(tx, rec, name)? {
        Ok(_) => return Err(FsError::Exists),
        Err(free) => free.ok_or(FsError::NO_SPACE)?,
    };
    let value = encode(ino, kind, name)?;
    edit(rec, |root| tree::insert(tx, held, root, key, &value))?;
    Ok(key)
}

/// Takes a name out. `NotFound` if the key is not there.
pub fn remove<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    _held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    key: u64,
) -> Result<(), FsError> {
    edit(rec, |root| tree::remove(tx, root, key))
}

/// Makes a name mean another inode. `NotFound` if the key is not there.
pub fn replace<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    key: u64,
    ino: Ino,
    kind: u8,
) -> Result<(), FsError> {
    let old = tree::get(tx, root(rec), key)?.ok_or(FsError::NotFound)?;
    let (_, name) = decode(rec, key, &old)?;
    let value = encode(ino, kind, name)?;
    edit(rec, |root| tree::replace(tx, held, root, key, &value))
}

/// Whether there is no name.
pub fn is_empty<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord) -> Result<bool, FsError> {
    let mut cursor = Cursor::new(store, root(rec))?;
    cursor.seek(0)?;
    Ok(cursor.entry().is_none())
}

/// Calls `each` with every name whose key is at least `from_key`, in ascending order of keys, until it breaks.
pub fn iterate<S: NodeStore + ?Sized>(
    store: &S,
    rec: &InodeRecord,
    from_key: u64,
    each: &mut dyn FnMut(&Found, &[u8]) -> ControlFlow<()>,
) -> Result<(), FsError> {
    let mut cursor = Cursor::new(store, root(rec))?;
    cursor.seek(from_key)?;
    while let Some((key, value)) = cursor.entry() {
        let (found, name) = decode(rec, key, value)?;
        if each(&found, name).is_break() {
            break;
        }
        cursor.advance()?;
    }
    Ok(())
}
