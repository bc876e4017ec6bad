//! Names and paths: which are allowed, and what they lead to.
//!
//! A directory's entries change only while its Inode lock is held exclusively; a lookup holds it shared. Paths are walked a
//! name at a time with no lock held in between, as in every Unix: what they lead to may be renamed while the walk goes on.

use order::sync::Arc;
use order::{Before, Held, level};

use super::inode::{Inode, Node, Pinned};
use super::{Fs, record};
use crate::error::FsError;
use crate::meta::dir;
use crate::types::{Kind, NAME_MAX_BYTES};

/// Symbolic links followed on one path.
const LINKS_FOLLOWED_MAX: u32 = 40;
/// Longest path, in bytes.
const PATH_MAX_BYTES: usize = 4096;

/// Whether a path's last name is followed if it is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// The result is what the link points to.
    Follow,
    /// The result is the link.
    Stay,
}

/// `Ok` for a name that an entry can have. "." and ".." are the callers' matter.
pub(super) fn check_name(name: &[u8]) -> Result<(), FsError> {
    if name.is_empty() {
        Err(FsError::NotFound)
    } else if name.len() > NAME_MAX_BYTES {
        Err(FsError::NameTooLong)
    } else if name.contains(&b'/') || name.contains(&0) {
        Err(FsError::Invalid("a name with a slash or a NUL"))
    } else {
        Ok(())
    }
}

/// Whether the name means a directory by its place.
pub(super) fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

impl Fs {
    /// What a name in a directory leads to. "." and ".." are known.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NameTooLong`.
    pub fn lookup(&self, dir: &Node, name: &[u8]) -> Result<Node, FsError> {
        self.demand_own(dir)?;
        dir.inode.demand_directory()?;
        check_name(name)?;
        match name {
            b"." => Ok(dir.clone()),
            b".." => parent_of(dir),
            _ => {
                let found = self.peek(&mut order::unlocked(), &dir.inode, name);
                let found = found.and_then(|found| found.ok_or(FsError::NotFound));
                let node = found.map(|inode| inode.into_node(&dir.fs));
                self.work_off();
                node
            }
        }
    }

    /// Looks a name up under the directory's lock, shared, and drops the lock.
    pub(super) fn peek<P: Before<level::Inode>>(
        &self,
        held: &mut Held<'_, P>,
        dir: &Arc<Inode>,
        name: &[u8],
    ) -> Result<Option<Pinned<'_>>, FsError> {
        let (_dir, mut held) = dir.lock.read(held);
        self.find(&mut held, dir, name)
    }

    /// Looks a name up; the caller holds the directory's Inode lock.
    pub(super) fn find<P: Before<level::ExtentMap>>(
        &self,
        held: &mut Held<'_, P>,
        dir: &Arc<Inode>,
        name: &[u8],
    ) -> Result<Option<Pinned<'_>>, FsError> {
        let found = {
            let (rec, _held) = dir.map.read(held);
            dir::find(&*self.meta, &rec, name)?
        };
        let Some(found) = found else { return Ok(None) };
        match self.pinned(found.ino) {
            Ok(inode) => Ok(Some(inode)),
            // The directory is locked and has the name, so the inode cannot be gone.
            Err(FsError::Stale | FsError::NotFound) => {
                Err(FsError::Inconsistent { ino: dir.ino.0, why: "an entry leads to a free inode" })
            }
            Err(error) => Err(error),
        }
    }

    /// What a path leads to, from the root if it begins with a slash, else from `from`.
    ///
    /// # Errors
    /// As of `lookup`; `Loop` after 40 symbolic links; `NotDirectory` if a name on the way, or before a closing slash, is
    /// none.
    pub fn resolve(&self, from: &Node, path: &[u8], last: LastLink) -> Result<Node, FsError> {
        if path.is_empty() {
            return Err(FsError::NotFound);
        }
        self.walk(from, path, last, &mut 0)
    }

    /// The directory and the last name of a path, for operations that make, remove or move the name.
    ///
    /// # Errors
    /// As of `resolve`. The last name itself need not exist; `Exists` if there is none ("/").
    pub fn resolve_parent(&self, from: &Node, path: &[u8]) -> Result<(Node, Vec<u8>), FsError> {
        let path = strip_slashes(path);
        if path.is_empty() {
            return Err(FsError::NotFound);
        }
        let (front, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..=slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        if name.is_empty() {
            return Err(FsError::Exists);
        }
        check_name(name)?;
        let dir = if front.is_empty() { from.clone() } else { self.walk(from, front, LastLink::Follow, &mut 0)? };
        dir.inode.demand_directory()?;
        Ok((dir, name.to_vec()))
    }

    fn walk(&self, from: &Node, path: &[u8], last: LastLink, followed: &mut u32) -> Result<Node, FsError> {
        if path.len() > PATH_MAX_BYTES {
            return Err(FsError::NameTooLong);
        }
        let mut at = if path.first() == Some(&b'/') { from.fs.root()? } else { from.clone() };
        let demands_directory = path.last() == Some(&b'/');
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let next = self.lookup(&at, name)?;
            let follow = names.peek().is_some() || demands_directory || last == LastLink::Follow;
            if next.kind() == Kind::Symlink && follow {
                *followed += 1;
                if *followed > LINKS_FOLLOWED_MAX {
                    return Err(FsError::Loop);
                }
                let target = self.read_link(&next)?;
                at = self.walk(&at, &target, LastLink::Follow, followed)?;
            } else {
                at = next;
            }
        }
        if demands_directory {
            at.inode.demand_directory()?;
        }
        Ok(at)
    }
}

/// The path without the slashes at its end; "/" stays.
fn strip_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(path.len().min(1), |last| last + 1);
    &path[..end]
}

fn parent_of(dir: &Node) -> Result<Node, FsError> {
    let parent = {
        let mut held = order::unlocked();
        let (rec, _held) = dir.inode.map.read(&mut held);
        record::parent(&rec)
    };
    if parent == dir.ino() { Ok(dir.clone()) } else { dir.fs.node(parent) }
}
