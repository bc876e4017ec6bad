//! A file system in plain memory: the answers that must come, by the rules of the manual pages.
//!
//! Nodes live in one table under numbers of the model's own; a number stays valid for ever, also when the last name is
//! gone, so whoever holds the engine's node of an unlinked file can go on comparing. Times are not modelled. Space is
//! endless: what fails with "no space" in the engine must leave the engine as the model is without the operation.

use crate::content::{Content, too_big};
use engine::FsError;
use engine::types::{Fallocate, Kind, MODE_BITS, NAME_MAX_BYTES, PAGE_BYTES, RenameMode, TARGET_MAX_BYTES};
use std::collections::BTreeMap;

/// A node's number in the model. The root is 0.
pub type Id = usize;

/// The root directory.
pub const ROOT: Id = 0;

/// What a node is, with what it has.
#[derive(Debug, Clone)]
pub enum Body {
    /// A regular file.
    File(Content),
    /// A directory: names, and the directory that it is in.
    Directory {
        /// Names and what they name.
        entries: BTreeMap<Vec<u8>, Id>,
        /// Where `..` leads.
        parent: Id,
    },
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A pipe, socket or device, with its device number.
    Special(Kind, u32),
}

/// A node.
#[derive(Debug, Clone)]
pub struct Entity {
    /// What it is.
    pub body: Body,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links.
    pub nlink: u32,
}

impl Entity {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match &self.body {
            Body::File(_) => Kind::File,
            Body::Directory { .. } => Kind::Directory,
            Body::Symlink(_) => Kind::Symlink,
            Body::Special(kind, _) => *kind,
        }
    }

    fn is_directory(&self) -> bool {
        self.kind() == Kind::Directory
    }
}

/// What to create.
#[derive(Debug, Clone)]
pub enum New {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A pipe, socket or device.
    Special(Kind, u32),
}

/// The file system.
#[derive(Debug, Clone)]
pub struct Model {
    nodes: Vec<Entity>,
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

type Answer<T> = Result<T, FsError>;

impl Model {
    /// A root directory and nothing in it.
    pub fn new() -> Model {
        let body = Body::Directory { entries: BTreeMap::new(), parent: ROOT };
        Model { nodes: vec![Entity { body, mode: 0o755, uid: 0, gid: 0, nlink: 2 }] }
    }

    /// A node.
    pub fn node(&self, id: Id) -> &Entity {
        &self.nodes[id]
    }

    /// The names in a directory.
    pub fn entries(&self, dir: Id) -> Answer<&BTreeMap<Vec<u8>, Id>> {
        match &self.nodes[dir].body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => Err(FsError::NotDirectory),
        }
    }

    fn entries_mut(&mut self, dir: Id) -> &mut BTreeMap<Vec<u8>, Id> {
        match &mut self.nodes[dir].body {
            Body::Directory { entries, .. } => entries,
            _ => unreachable!("checked to be a directory"),
        }
    }

    /// The content of a regular file.
    pub fn content(&self, id: Id) -> Answer<&Content> {
        match &self.nodes[id].body {
            Body::File(content) => Ok(content),
            Body::Directory { .. } => Err(FsError::IsDirectory),
            _ => Err(FsError::Invalid("not a regular file")),
        }
    }

    /// The content, if there is such a node and it is a regular file.
    pub fn try_content(&self, id: Id) -> Option<&Content> {
        match &self.nodes.get(id)?.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    fn content_mut(&mut self, id: Id) -> Answer<&mut Content> {
        self.content(id)?;
        match &mut self.nodes[id].body {
            Body::File(content) => Ok(content),
            _ => unreachable!("just looked"),
        }
    }

    /// Directories that have a name, the root first.
    pub fn directories(&self) -> Vec<Id> {
        self.reachable().into_iter().filter(|&id| self.nodes[id].is_directory()).collect()
    }

    /// Nodes of any kind that have a name, the root first; each once, however many names it has.
    pub fn reachable(&self) -> Vec<Id> {
        let mut found = vec![ROOT];
        let mut next = 0;
        while let Some(&id) = found.get(next) {
            next += 1;
            if let Body::Directory { entries, .. } = &self.nodes[id].body {
                for &child in entries.values() {
                    if !found.contains(&child) {
                        found.push(child);
                    }
                }
            }
        }
        found
    }

    /// A path to the node from the root, as names; nothing if it has none.
    pub fn path(&self, id: Id) -> Option<Vec<Vec<u8>>> {
        if id == ROOT {
            return Some(Vec::new());
        }
        self.directories().into_iter().find_map(|dir| {
            let (name, _) = self.entries(dir).ok()?.iter().find(|&(_, &child)| child == id)?;
            let mut path = self.path_up(dir)?;
            path.push(name.clone());
            Some(path)
        })
    }

    fn path_up(&self, mut dir: Id) -> Option<Vec<Vec<u8>>> {
        let mut path = Vec::new();
        while dir != ROOT {
            let Body::Directory { parent, .. } = &self.nodes[dir].body else { return None };
            let (name, _) = self.entries(*parent).ok()?.iter().find(|&(_, &child)| child == dir)?;
            path.push(name.clone());
            dir = *parent;
        }
        path.reverse();
        Some(path)
    }

    /// Looks a name up.
    pub fn lookup(&self, dir: Id, name: &[u8]) -> Answer<Id> {
        let entries = self.entries(dir)?;
        check_length(name)?;
        entries.get(name).copied().ok_or(FsError::NotFound)
    }

    /// Makes a node with a name.
    pub fn create(&mut self, dir: Id, name: &[u8], new: New, mode: u32) -> Answer<Id> {
        check_length(name)?;
        match &new {
            New::Symlink(target) if target.is_empty() => return Err(FsError::NotFound),
            New::Symlink(target) if target.len() > TARGET_MAX_BYTES => return Err(FsError::NameTooLong),
            _ => self.free_name(dir, name)?,
        }
        let body = match new {
            New::File => Body::File(Content::default()),
            New::Directory => Body::Directory { entries: BTreeMap::new(), parent: dir },
            New::Symlink(target) => Body::Symlink(target),
            New::Special(kind, number) => Body::Special(kind, number),
        };
        let id = self.nodes.len();
        let is_directory = matches!(body, Body::Directory { .. });
        let nlink = if is_directory { 2 } else { 1 };
        self.nodes.push(Entity { body, mode: mode & MODE_BITS, uid: 0, gid: 0, nlink });
        self.entries_mut(dir).insert(name.to_vec(), id);
        if is_directory {
            self.nodes[dir].nlink += 1;
        }
        Ok(id)
    }

    /// Gives a node one more name.
    pub fn link(&mut self, id: Id, dir: Id, name: &[u8]) -> Answer<()> {
        check_length(name)?;
        if self.nodes[id].is_directory() {
            return Err(FsError::NotPermitted("a directory has one name"));
        }
        self.free_name(dir, name)?;
        if self.nodes[id].nlink == 0 {
            return Err(FsError::NotFound);
        }
        self.entries_mut(dir).insert(name.to_vec(), id);
        self.nodes[id].nlink += 1;
        Ok(())
    }

    /// Takes a name away.
    pub fn unlink(&mut self, dir: Id, name: &[u8]) -> Answer<()> {
        let id = self.lookup(dir, name)?;
        if self.nodes[id].is_directory() {
            return Err(FsError::IsDirectory);
        }
        self.entries_mut(dir).remove(name);
        self.nodes[id].nlink -= 1;
        Ok(())
    }

    /// Removes an empty directory.
    pub fn rmdir(&mut self, dir: Id, name: &[u8]) -> Answer<()> {
        let id = self.lookup(dir, name)?;
        if !self.entries(id)?.is_empty() {
            return Err(FsError::NotEmpty);
        }
        self.entries_mut(dir).remove(name);
        self.nodes[id].nlink = 0;
        self.nodes[dir].nlink -= 1;
        Ok(())
    }

    /// Moves a name.
    pub fn rename(&mut self, from: Id, name: &[u8], to: Id, to_name: &[u8], mode: RenameMode) -> Answer<()> {
        self.entries(to)?;
        check_length(name).and_then(|()| check_length(to_name))?;
        let id = self.lookup(from, name)?;
        let target = match self.lookup(to, to_name) {
            Ok(target) => Some(target),
            Err(FsError::NotFound) => None,
            Err(error) => return Err(error),
        };
        match mode {
            RenameMode::NoReplace if target.is_some() => return Err(FsError::Exists),
            RenameMode::Exchange if target.is_none() => return Err(FsError::NotFound),
            _ => {}
        }
        // No directory may come to lie inside itself.
        if self.is_inside(to, id) || (mode == RenameMode::Exchange && target.is_some_and(|t| self.is_inside(from, t))) {
            return Err(FsError::Invalid("a directory inside itself"));
        }
        if let Some(target) = target.filter(|_| mode == RenameMode::Replace) {
            if target == id {
                return Ok(());
            }
            match (self.nodes[id].is_directory(), self.nodes[target].is_directory()) {
                (true, false) => return Err(FsError::NotDirectory),
                (false, true) if self.is_inside(from, target) => return Err(FsError::NotEmpty),
                (false, true) => return Err(FsError::IsDirectory),
                (true, true) if !self.entries(target)?.is_empty() => return Err(FsError::NotEmpty),
                _ => {}
            }
            self.drop_target(to, to_name, target);
        }
        self.entries_mut(from).remove(name);
        self.entries_mut(to).insert(to_name.to_vec(), id);
        self.settle(id, from, to);
        if let Some(target) = target.filter(|_| mode == RenameMode::Exchange) {
            self.entries_mut(from).insert(name.to_vec(), target);
            self.settle(target, to, from);
        }
        Ok(())
    }

    fn drop_target(&mut self, dir: Id, name: &[u8], target: Id) {
        self.entries_mut(dir).remove(name);
        if self.nodes[target].is_directory() {
            self.nodes[target].nlink = 0;
            self.nodes[dir].nlink -= 1;
        } else {
            self.nodes[target].nlink -= 1;
        }
    }

    /// A directory that moved has another parent, and the parents other counts.
    fn settle(&mut self, id: Id, from: Id, to: Id) {
        if let Body::Directory { parent, .. } = &mut self.nodes[id].body {
            *parent = to;
            self.nodes[from].nlink -= 1;
            self.nodes[to].nlink += 1;
        }
    }

    /// Whether `dir` is `above` or lies below it.
    fn is_inside(&self, mut dir: Id, above: Id) -> bool {
        loop {
            if dir == above {
                return true;
            }
            match &self.nodes[dir].body {
                Body::Directory { parent, .. } if dir != ROOT => dir = *parent,
                _ => return false,
            }
        }
    }

    /// Sets permission bits, owner and group.
    pub fn set_mode(&mut self, id: Id, mode: u32, uid: u32, gid: u32) {
        let node = &mut self.nodes[id];
        (node.mode, node.uid, node.gid) = (mode & MODE_BITS, uid, gid);
    }

    /// Sets the size.
    pub fn truncate(&mut self, id: Id, size: u64) -> Answer<()> {
        let content = self.content_mut(id)?;
        if too_big(size, 0) {
            return Err(FsError::FileTooBig);
        }
        content.truncate(size);
        Ok(())
    }

    /// Writes all of `from`.
    pub fn write(&mut self, id: Id, offset: u64, from: &[u8]) -> Answer<usize> {
        let content = self.content_mut(id)?;
        if !from.is_empty() && too_big(offset, from.len() as u64) {
            return Err(FsError::FileTooBig);
        }
        content.write(offset, from);
        Ok(from.len())
    }

    /// As `fallocate(2)`.
    pub fn allocate(&mut self, id: Id, how: Fallocate, offset: u64, len: u64) -> Answer<()> {
        let content = self.content_mut(id)?;
        if len == 0 {
            return Err(FsError::Invalid("length 0"));
        }
        if too_big(offset, len) {
            return Err(FsError::FileTooBig);
        }
        let (size, end) = (content.size(), offset + len);
        let whole = offset.is_multiple_of(PAGE_BYTES) && len.is_multiple_of(PAGE_BYTES);
        match how {
            Fallocate::AllocateKeepSize => {}
            Fallocate::Allocate => content.grow(end),
            Fallocate::Punch | Fallocate::ZeroKeepSize => content.zero(offset, len),
            Fallocate::Zero => {
                content.zero(offset, len);
                content.grow(end);
            }
            Fallocate::Collapse | Fallocate::Insert if !whole => return Err(FsError::Invalid("not whole blocks")),
            Fallocate::Collapse if end >= size => return Err(FsError::Invalid("reaches the end")),
            Fallocate::Collapse => content.collapse(offset, len),
            Fallocate::Insert if offset >= size => return Err(FsError::Invalid("past the end")),
            Fallocate::Insert if too_big(size, len) => return Err(FsError::FileTooBig),
            Fallocate::Insert => content.insert(offset, len),
        }
        Ok(())
    }

    /// `Ok` if the name can be given in this directory.
    fn free_name(&self, dir: Id, name: &[u8]) -> Answer<()> {
        match self.lookup(dir, name) {
            Ok(_) => Err(FsError::Exists),
            Err(FsError::NotFound) if name.is_empty() || self.nodes[dir].nlink == 0 => Err(FsError::NotFound),
            Err(FsError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn check_length(name: &[u8]) -> Answer<()> {
    if name.len() > NAME_MAX_BYTES { Err(FsError::NameTooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number<T: std::fmt::Debug>(answer: Answer<T>) -> i32 {
        answer.expect_err("must fail").errno()
    }

    #[test]
    fn link_counts_follow_names() {
        let mut model = Model::new();
        let dir = model.create(ROOT, b"d", New::Directory, 0o755).unwrap();
        let file = model.create(dir, b"f", New::File, 0o644).unwrap();
        model.link(file, ROOT, b"g").unwrap();
        assert_eq!((model.node(ROOT).nlink, model.node(dir).nlink, model.node(file).nlink), (3, 2, 2));
        model.unlink(dir, b"f").unwrap();
        model.rmdir(ROOT, b"d").unwrap();
        assert_eq!((model.node(ROOT).nlink, model.node(file).nlink), (2, 1));
        assert_eq!(model.path(file).unwrap(), [b"g".to_vec()]);
    }

    #[test]
    fn renames_refuse_what_linux_refuses() {
        let mut model = Model::new();
        let dir = model.create(ROOT, b"d", New::Directory, 0o755).unwrap();
        let below = model.create(dir, b"e", New::Directory, 0o755).unwrap();
        model.create(ROOT, b"f", New::File, 0o644).unwrap();
        let mut rename = |a, b: &[u8], c, d: &[u8], mode| model.rename(a, b, c, d, mode);
        assert_eq!(number(rename(ROOT, b"d", below, b"x", RenameMode::Replace)), 22);
        assert_eq!(number(rename(ROOT, b"d", ROOT, b"f", RenameMode::Replace)), 20);
        assert_eq!(number(rename(ROOT, b"f", ROOT, b"d", RenameMode::Replace)), 21);
        assert_eq!(number(rename(dir, b"e", ROOT, b"d", RenameMode::Replace)), 39);
        assert_eq!(number(rename(dir, b"e", ROOT, b"d", RenameMode::Exchange)), 22);
        assert_eq!(number(rename(ROOT, b"f", ROOT, b"d", RenameMode::NoReplace)), 17);
        assert_eq!(number(rename(ROOT, b"f", ROOT, b"n", RenameMode::Exchange)), 2);
        rename(ROOT, b"f", dir, b"e", RenameMode::Exchange).unwrap();
        assert_eq!(model.lookup(ROOT, b"f").unwrap(), below);
        assert_eq!((model.node(ROOT).nlink, model.node(dir).nlink), (4, 2));
    }
}
