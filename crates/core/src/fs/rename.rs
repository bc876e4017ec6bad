//! Rename: moving a name, over another, or swapping two.
//!
//! Between two directories the pool-wide Rename lock is held. Only under it do directories get another parent, so the walk
//! from a directory up to the root is stable, and no two renames can each move a directory into the other's subtree.
//! Then both directories, and a directory that is to be replaced, are locked at once. What the names lead to was looked
//! up before; if that has changed under the locks, the attempt starts over.
//!
//! The whole rename is one transaction: after a crash the name is at the old place or at the new one, and a replaced file is
//! there or gone.

use order::sync::Arc;
use order::{Before, Held, level};

use super::create::{add_links, demand_linked};
use super::inode::{Inode, Node, Pinned};
use super::names::{check_name, is_dot};
use super::remove::{Attempt, lose_subdirectory};
use super::{Fs, record};
use crate::error::FsError;
use crate::meta::{Tx, TxSize, dir};
use crate::types::{Kind, RenameMode, Timestamp};

use super::change::Records;

/// Levels that a directory tree may have at most when it is walked upwards; a damaged one may have a cycle.
const DEPTH_MAX: u32 = 1 << 20;

/// One rename, as asked for.
#[derive(Clone, Copy)]
struct Move<'a> {
    from: &'a Node,
    name: &'a [u8],
    to: &'a Node,
    to_name: &'a [u8],
    mode: RenameMode,
    now: Timestamp,
}

impl Move<'_> {
    fn crosses(&self) -> bool {
        !self.from.same(self.to)
    }
}

impl Fs {
    /// Moves a name. What stands at the new name is replaced, or prevents it, or is swapped, as `mode` says.
    ///
    /// One transaction. Two names of one inode: nothing happens. Locks: Freeze (shared), between directories Rename, the
    /// directories' Inode (exclusive).
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `NotEmpty`, `IsDirectory`, `NotDirectory`, `Invalid` for a directory into itself, `Busy` for
    /// "." and "..", `TooManyLinks`, `NoSpace`.
    pub fn rename(&self, from: &Node, name: &[u8], to: &Node, to_name: &[u8], mode: RenameMode) -> Result<(), FsError> {
        self.demand_own(from)?;
        self.demand_own(to)?;
        from.inode.demand_directory()?;
        to.inode.demand_directory()?;
        check_name(name)?;
        check_name(to_name)?;
        if is_dot(name) || is_dot(to_name) {
            return Err(FsError::Busy("a directory's own name for itself"));
        }
        self.demand_writable()?;
        let now = self.now();
        let asked = Move { from, name, to, to_name, mode, now };
        while self.operation(|| self.rename_once(&asked))? == Attempt::Changed {}
        Ok(())
    }

    fn rename_once(&self, asked: &Move<'_>) -> Result<Attempt, FsError> {
        let mut held = order::unlocked();
        let (_freeze, mut held) = self.freeze.read(&mut held);
        if asked.crosses() {
            let (_rename, mut held) = self.rename.lock(&mut held);
            self.rename_looked_up(&mut held, asked)
        } else {
            self.rename_looked_up(&mut held, asked)
        }
    }

    /// Looks for a directory that is to be replaced, then takes the locks.
    fn rename_looked_up<P: Before<level::Inode>>(
        &self,
        held: &mut Held<'_, P>,
        asked: &Move<'_>,
    ) -> Result<Attempt, FsError> {
        let victim = match asked.mode {
            RenameMode::Replace => self.peek(held, &asked.to.inode, asked.to_name)?,
            RenameMode::NoReplace | RenameMode::Exchange => None,
        };
        let victim = victim.filter(|inode| inode.kind == Kind::Directory);
        let mut locks = vec![(asked.from.ino().0, &asked.from.inode.lock), (asked.to.ino().0, &asked.to.inode.lock)];
        locks.extend(victim.iter().map(|inode| (inode.ino.0, &inode.lock)));
        let (_dirs, mut held) = order::write_set(&locks, held);

        let moved = self.find(&mut held, &asked.from.inode, asked.name)?.ok_or(FsError::NotFound)?;
        let target = self.find(&mut held, &asked.to.inode, asked.to_name)?;
        if asked.mode == RenameMode::Replace
            && let Some(target) = &target
            && target.kind == Kind::Directory
            && !victim.as_ref().is_some_and(|victim| Arc::ptr_eq(victim, target))
        {
            return Ok(Attempt::Changed);
        }
        self.rename_locked(&mut held, asked, &moved, target.as_ref())?;
        Ok(Attempt::Done)
    }

    fn rename_locked(
        &self,
        held: &mut Held<'_, level::Inode>,
        asked: &Move<'_>,
        moved: &Pinned<'_>,
        target: Option<&Pinned<'_>>,
    ) -> Result<(), FsError> {
        match (asked.mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(FsError::Exists),
            (RenameMode::Exchange, None) => return Err(FsError::NotFound),
            _ => {}
        }
        self.check_loops(asked, moved, target)?;
        let Some(target) = target else {
            let inodes = [&asked.from.inode, &asked.to.inode, moved];
            return self.change_many(held, &inodes, TxSize::Large, |tx, held, records| {
                move_name(tx, held, records, asked, moved)
            });
        };
        if Arc::ptr_eq(moved, target) {
            return Ok(());
        }
        let inodes = [&asked.from.inode, &asked.to.inode, moved, target];
        if asked.mode == RenameMode::Exchange {
            return self.change_many(held, &inodes, TxSize::Large, |tx, held, records| {
                exchange(tx, held, records, asked, moved, target)
            });
        }
        match (moved.kind == Kind::Directory, target.kind == Kind::Directory) {
            (true, false) => return Err(FsError::NotDirectory),
            (false, true) => return Err(FsError::IsDirectory),
            _ => {}
        }
        self.change_many(held, &inodes, TxSize::Large, |tx, held, records| {
            replace(tx, held, records, asked, moved, target)
        })
    }

    /// A directory must not come to lie under itself. Inside one directory nothing can.
    fn check_loops(&self, asked: &Move<'_>, moved: &Inode, target: Option<&Pinned<'_>>) -> Result<(), FsError> {
        if !asked.crosses() {
            return Ok(());
        }
        if moved.kind == Kind::Directory && self.is_at_or_above(moved, &asked.to.inode)? {
            return Err(FsError::Invalid("a directory cannot be moved into itself"));
        }
        let Some(target) = target.filter(|target| target.kind == Kind::Directory) else { return Ok(()) };
        if !self.is_at_or_above(target, &asked.from.inode)? {
            return Ok(());
        }
        match asked.mode {
            RenameMode::Exchange => Err(FsError::Invalid("a directory cannot be moved into itself")),
            RenameMode::Replace | RenameMode::NoReplace => Err(FsError::NotEmpty),
        }
    }

    /// Walks up from `below`; the Rename lock keeps the way as it is.
    fn is_at_or_above(&self, above: &Inode, below: &Inode) -> Result<bool, FsError> {
        let mut at = below.ino;
        for _ in 0..DEPTH_MAX {
            if at == above.ino {
                return Ok(true);
            }
            let parent = record::parent(&*self.meta.inode(at)?);
            if parent == at || at == self.root_ino() {
                return Ok(false);
            }
            at = parent;
        }
        Err(FsError::Inconsistent { ino: below.ino.0, why: "a directory lies under itself" })
    }
}

/// Takes the old name away. Done last: in one directory the entry's key stays right while others change.
fn remove_old_name(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, level::ExtentMap>,
    records: &mut Records<'_>,
    asked: &Move<'_>,
) -> Result<(), FsError> {
    let from = records.of(&asked.from.inode);
    let old = dir::find(tx, from, asked.name)?.ok_or(FsError::NotFound)?;
    dir::remove(tx, held, from, old.key)?;
    record::entry_removed(from, asked.name);
    record::set_changed(from, asked.now);
    Ok(())
}

/// The moved inode's own part: its time; a directory's parent, and the parents' counts.
fn settle_moved(records: &mut Records<'_>, asked: &Move<'_>, moved: &Inode) -> Result<(), FsError> {
    let rec = records.of(moved);
    record::set_ctime(rec, asked.now);
    if moved.kind == Kind::Directory && asked.crosses() {
        record::set_parent(rec, asked.to.ino());
        lose_subdirectory(records.of(&asked.from.inode))?;
        add_links(records.of(&asked.to.inode), 1)?;
    }
    Ok(())
}

fn move_name(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, level::ExtentMap>,
    records: &mut Records<'_>,
    asked: &Move<'_>,
    moved: &Inode,
) -> Result<(), FsError> {
    let to = records.of(&asked.to.inode);
    demand_linked(to)?;
    dir::insert(tx, held, to, asked.to_name, moved.ino, moved.kind.entry_type())?;
    record::entry_added(to, asked.to_name);
    record::set_changed(to, asked.now);
    remove_old_name(tx, held, records, asked)?;
    settle_moved(records, asked, moved)
}

fn replace(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, level::ExtentMap>,
    records: &mut Records<'_>,
    asked: &Move<'_>,
    moved: &Inode,
    target: &Inode,
) -> Result<(), FsError> {
    let is_directory = target.kind == Kind::Directory;
    if is_directory && !dir::is_empty(tx, records.of(target))? {
        return Err(FsError::NotEmpty);
    }
    let to = records.of(&asked.to.inode);
    let there = dir::find(tx, to, asked.to_name)?.ok_or(FsError::NotFound)?;
    dir::replace(tx, held, to, there.key, moved.ino, moved.kind.entry_type())?;
    record::set_changed(to, asked.now);
    if is_directory {
        lose_subdirectory(to)?;
    }
    remove_old_name(tx, held, records, asked)?;
    settle_moved(records, asked, moved)?;
    let rec = records.of(target);
    record::set_ctime(rec, asked.now);
    let links = if is_directory { record::nlink(rec) } else { 1 };
    records.drop_links(tx, target, links)
}

fn exchange(
    tx: &mut Tx<'_>,
    held: &mut Held<'_, level::ExtentMap>,
    records: &mut Records<'_>,
    asked: &Move<'_>,
    moved: &Inode,
    target: &Inode,
) -> Result<(), FsError> {
    let to = records.of(&asked.to.inode);
    let there = dir::find(tx, to, asked.to_name)?.ok_or(FsError::NotFound)?;
    dir::replace(tx, held, to, there.key, moved.ino, moved.kind.entry_type())?;
    record::set_changed(to, asked.now);
    let from = records.of(&asked.from.inode);
    let here = dir::find(tx, from, asked.name)?.ok_or(FsError::NotFound)?;
    dir::replace(tx, held, from, here.key, target.ino, target.kind.entry_type())?;
    record::set_changed(from, asked.now);
    for (inode, into) in [(moved, asked.to), (target, asked.from)] {
        let rec = records.of(inode);
        record::set_ctime(rec, asked.now);
        if inode.kind == Kind::Directory {
            record::set_parent(rec, into.ino());
        }
    }
    match (moved.kind == Kind::Directory, target.kind == Kind::Directory) {
        (true, false) if asked.crosses() => {
            lose_subdirectory(records.of(&asked.from.inode))?;
            add_links(records.of(&asked.to.inode), 1)
        }
        (false, true) if asked.crosses() => {
            lose_subdirectory(records.of(&asked.to.inode))?;
            add_links(records.of(&asked.from.inode), 1)
        }
        _ => Ok(()),
    }
}
