//! The block map of a file: runs of pages with runs of blocks behind them.
//!
//! Key: first page. Value: block, length, state. Extents do not overlap; neighbours in pages, blocks and state are one
//! extent. Whatever an image says, no block outside of a group's area for data is ever answered, so that no translation
//! can point at metadata of the pool.
//!
//! `rec.blocks` counts data blocks and tree nodes and is kept right here; size and times are the file system's matter.
//! After an error drop the transaction and the record.

use std::ops::Range;

use format::{Block, EXTENT_BYTES, ExtentState, ExtentValue};
use order::{Before, Held, level};

use super::tree::{self, Cursor, NodeStore, Root, RootMut};
use super::tx::{BlockRun, Tx};
use super::{InodeRecord, KIND_EXTENTS};
use crate::error::FsError;
use crate::types::{Run, RunState};

/// Pages a file can have: a page number and a length always add up to less than 2^63.
pub const PAGES_MAX: u64 = i64::MAX as u64 / 4096;
/// What one step of the work may change at most, in tree nodes: a path, its splits and the neighbours.
const STEP_ROOM: usize = 6;

/// The states of mapped pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped {
    /// The blocks hold the content.
    Written,
    /// Reads give zeros.
    Unwritten,
}

/// What `unmap_range` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmapped {
    /// Data blocks freed.
    pub blocks: u64,
    /// `Some(end)`: pages of the range below `end` are still mapped; go on in another transaction.
    pub next: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    page: u64,
    block: u64,
    len: u32,
    state: Mapped,
}

impl Extent {
    fn end(&self) -> u64 {
        self.page + u64::from(self.len)
    }

    fn encode(&self) -> [u8; EXTENT_BYTES] {
        let state = match self.state {
            Mapped::Written => ExtentState::Written,
            Mapped::Unwritten => ExtentState::Unwritten,
        };
        *ExtentValue::new(Block(self.block), self.len, state).as_bytes()
    }

    fn decode<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord, page: u64, value: &[u8]) -> Result<Extent, FsError> {
        let (block, len, state) = ExtentValue::read(value, rec.ino(), page)?;
        if page.checked_add(u64::from(len)).is_none_or(|end| end > PAGES_MAX) {
            return Err(FsError::Inconsistent { ino: rec.ino().0, why: "an extent past the largest page" });
        }
        if !store.owns(block, u64::from(len)) {
            return Err(FsError::Inconsistent { ino: rec.ino().0, why: "an extent outside of the area for data" });
        }
        let state = match state {
            ExtentState::Written => Mapped::Written,
            ExtentState::Unwritten => Mapped::Unwritten,
        };
        Ok(Extent { page, block: block.0, len, state })
    }

    /// The part of it inside `pages`, which must overlap it.
    fn cut(&self, pages: &Range<u64>) -> Extent {
        let start = self.page.max(pages.start);
        let end = self.end().min(pages.end);
        Extent { page: start, block: self.block + (start - self.page), len: (end - start) as u32, state: self.state }
    }

    fn run(&self) -> Run {
        let state = match self.state {
            Mapped::Written => RunState::Written(Block(self.block)),
            Mapped::Unwritten => RunState::Unwritten(Block(self.block)),
        };
        Run { page: self.page, pages: u64::from(self.len), state, fresh: false }
    }
}

fn root(rec: &InodeRecord) -> Root<'_> {
    Root { owner: rec.ino(), kind: KIND_EXTENTS, bytes: rec.inline_area() }
}

/// Runs a change of the tree and books the nodes it gained or lost.
fn edit<R>(rec: &mut InodeRecord, body: impl FnOnce(&mut RootMut<'_>) -> Result<R, FsError>) -> Result<R, FsError> {
    let mut root = RootMut { owner: rec.ino(), kind: KIND_EXTENTS, bytes: rec.inline_area_mut(), nodes: 0 };
    let result = body(&mut root)?;
    let nodes = root.nodes;
    let blocks = rec.blocks().saturating_add_signed(nodes);
    rec.set_blocks(blocks);
    Ok(result)
}

fn entry<S: NodeStore + ?Sized>(
    store: &S,
    rec: &InodeRecord,
    cursor: &Cursor<'_, S>,
) -> Result<Option<Extent>, FsError> {
    cursor.entry().map(|(page, value)| Extent::decode(store, rec, page, value)).transpose()
}

/// The extent that begins at or below a page, if any.
fn floor<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord, page: u64) -> Result<Option<Extent>, FsError> {
    let mut cursor = Cursor::new(store, root(rec))?;
    cursor.seek_floor(page)?;
    entry(store, rec, &cursor)
}

/// The first extent that begins at or above a page, if any.
fn ceil<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord, page: u64) -> Result<Option<Extent>, FsError> {
    let mut cursor = Cursor::new(store, root(rec))?;
    cursor.seek(page)?;
    entry(store, rec, &cursor)
}

/// What lies behind a page and the pages after it: the longest run that starts at exactly `page`.
pub fn lookup<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord, page: u64) -> Result<Run, FsError> {
    if let Some(extent) = floor(store, rec, page)?
        && page < extent.end()
    {
        return Ok(extent.cut(&(page..u64::MAX)).run());
    }
    let end = ceil(store, rec, page)?.map_or(PAGES_MAX.max(page + 1), |extent| extent.page);
    Ok(Run::hole(page, end - page))
}

/// The last mapped run.
pub fn last<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord) -> Result<Option<Run>, FsError> {
    Ok(floor(store, rec, u64::MAX)?.map(|extent| extent.run()))
}

/// The first mapped run that ends beyond `page`, without its part below `page`.
pub fn next<S: NodeStore + ?Sized>(store: &S, rec: &InodeRecord, page: u64) -> Result<Option<Run>, FsError> {
    if let Some(extent) = floor(store, rec, page)?
        && page < extent.end()
    {
        return Ok(Some(extent.cut(&(page..u64::MAX)).run()));
    }
    Ok(ceil(store, rec, page)?.map(|extent| extent.run()))
}

/// Puts blocks behind pages that are a hole.
pub fn map_range<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    page: u64,
    run: BlockRun,
    state: Mapped,
) -> Result<(), FsError> {
    if page.checked_add(u64::from(run.len)).is_none_or(|end| end > PAGES_MAX) {
        return Err(FsError::FileTooBig);
    }
    place(tx, held, rec, Extent { page, block: run.first.0, len: run.len, state })?;
    let blocks = rec.blocks() + u64::from(run.len);
    rec.set_blocks(blocks);
    Ok(())
}

/// Adds an extent, joined with its neighbours where they continue each other.
fn place<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    mut extent: Extent,
) -> Result<(), FsError> {
    let before = floor(tx, rec, extent.page)?;
    let after = ceil(tx, rec, extent.page)?;
    if before.is_some_and(|before| before.end() > extent.page) || after.is_some_and(|after| after.page < extent.end()) {
        return Err(FsError::Invalid("pages are mapped already"));
    }
    let joins = |low: &Extent, high: &Extent| {
        low.end() == high.page
            && low.block + u64::from(low.len) == high.block
            && low.state == high.state
            && low.len.checked_add(high.len).is_some()
    };
    if let Some(after) = after.filter(|after| joins(&extent, after)) {
        edit(rec, |root| tree::remove(tx, root, after.page))?;
        extent.len += after.len;
    }
    match before.filter(|before| joins(before, &extent)) {
        Some(mut joined) => {
            joined.len += extent.len;
            edit(rec, |root| tree::replace(tx, held, root, joined.page, &joined.encode()))
        }
        None => edit(rec, |root| tree::insert(tx, held, root, extent.page, &extent.encode())),
    }
}

/// Takes the part of `extent` inside `pages` out of the tree; what is left of it on either side stays.
fn carve<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    extent: Extent,
    pages: &Range<u64>,
) -> Result<Extent, FsError> {
    let part = extent.cut(pages);
    if extent.page < part.page {
        let left = extent.cut(&(extent.page..part.page));
        edit(rec, |root| tree::replace(tx, held, root, left.page, &left.encode()))?;
    } else {
        edit(rec, |root| tree::remove(tx, root, extent.page))?;
    }
    if part.end() < extent.end() {
        let right = extent.cut(&(part.end()..extent.end()));
        edit(rec, |root| tree::insert(tx, held, root, right.page, &right.encode()))?;
    }
    Ok(part)
}

/// Changes the state of the mapped pages of a range. Holes stay. `FileTooBig` if there are more extents than one
/// transaction holds: split the range.
pub fn convert<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    pages: Range<u64>,
    to: Mapped,
) -> Result<(), FsError> {
    let mut page = pages.start;
    while page < pages.end {
        let found = match floor(tx, rec, page)?.filter(|extent| extent.end() > page) {
            Some(extent) => Some(extent),
            None => ceil(tx, rec, page)?,
        };
        let Some(extent) = found.filter(|extent| extent.page < pages.end) else { break };
        page = extent.end();
        if extent.state == to {
            continue;
        }
        if tx.room() < STEP_ROOM {
            return Err(FsError::FileTooBig);
        }
        let part = carve(tx, held, rec, extent, &pages)?;
        place(tx, held, rec, Extent { state: to, ..part })?;
    }
    Ok(())
}

/// Makes pages a hole and frees their blocks, from the end of the range to its start, at most `limit` extents and as
/// many as the transaction holds.
pub fn unmap_range<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    pages: Range<u64>,
    limit: u32,
) -> Result<Unmapped, FsError> {
    let mut done = Unmapped { blocks: 0, next: None };
    let mut end = pages.end;
    let mut steps = 0;
    while end > pages.start {
        let Some(extent) = floor(tx, rec, end - 1)?.filter(|extent| extent.end() > pages.start) else { break };
        if steps == limit || (steps > 0 && tx.room() < STEP_ROOM) {
            done.next = Some(end.min(extent.end()));
            break;
        }
        let part = carve(tx, held, rec, extent, &(pages.start..end))?;
        tx.free(BlockRun { first: Block(part.block), len: part.len })?;
        done.blocks += u64::from(part.len);
        end = part.page;
        steps += 1;
    }
    let blocks = rec.blocks().saturating_sub(done.blocks);
    rec.set_blocks(blocks);
    Ok(done)
}

/// Moves all extents from a page on by `delta` pages. The pages they move over must be holes. `FileTooBig` if the tree
/// has more nodes than one large transaction holds, or a page would leave the largest file.
pub fn shift<P: Before<level::AllocGroup>>(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, P>,
    rec: &mut InodeRecord,
    from_page: u64,
    delta: i64,
) -> Result<(), FsError> {
    let Some(end) = floor(tx, rec, u64::MAX)?.map(|extent| extent.end()) else { return Ok(()) };
    if let Some(before) = floor(tx, rec, from_page)?
        && before.page < from_page
        && before.end() > from_page
    {
        let right = carve(tx, held, rec, before, &(from_page..before.end()))?;
        edit(rec, |root| tree::insert(tx, held, root, right.page, &right.encode()))?;
    }
    if end <= from_page {
        return Ok(());
    }
    if end.checked_add_signed(delta).is_none_or(|end| end > PAGES_MAX) {
        return Err(FsError::FileTooBig);
    }
    let target = from_page.checked_add_signed(delta).ok_or(FsError::Invalid("a shift below page 0"))?;
    let gap_end = floor(tx, rec, from_page.saturating_sub(1))?.map_or(0, |extent| extent.end());
    if delta < 0 && from_page > 0 && gap_end > target {
        return Err(FsError::Invalid("a shift onto mapped pages"));
    }
    edit(rec, |root| tree::shift_keys(tx, root, from_page, delta))
}
