//! A pool's files as a tree to copy from and to.

use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Facts, Sink, Source, Tree, hidden_name};
use crate::commands::rm;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::walk::{self, Name};
use engine::FsError;
use engine::fs::{Fs, LastLink, Node};
use engine::types::{Kind, NewKind, NewNode, RenameMode, Seek, SetAttr, TimeOrNow};

/// A pool.
#[derive(Debug)]
pub struct PoolTree {
    fs: Arc<Fs>,
    pool: PathBuf,
}

impl PoolTree {
    /// The files of an open pool, which is called `pool` in messages.
    pub fn new(fs: Arc<Fs>, pool: PathBuf) -> PoolTree {
        PoolTree { fs, pool }
    }

    fn facts(&self, node: Option<Node>) -> Result<Option<Facts>> {
        let Some(node) = node else { return Ok(None) };
        let attr = self.fs.attr(&node)?;
        Ok(Some(Facts {
            kind: attr.kind,
            mode: attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            device: attr.rdev,
            size: attr.size,
            atime: attr.atime,
            mtime: attr.mtime,
            id: (0, attr.ino.0),
        }))
    }
}

impl Tree for PoolTree {
    fn look(&self, path: &Path) -> Result<Option<Facts>> {
        self.facts(walk::look(&self.fs, path, LastLink::Stay)?)
    }

    fn look_through(&self, path: &Path) -> Result<Option<Facts>> {
        self.facts(walk::look(&self.fs, path, LastLink::Follow)?)
    }

    fn names(&self, path: &Path) -> Result<Vec<Name>> {
        walk::names(&self.fs, &walk::find(&self.fs, path, LastLink::Follow)?)
    }

    fn target(&self, path: &Path) -> Result<Vec<u8>> {
        Ok(self.fs.read_link(&walk::find(&self.fs, path, LastLink::Stay)?)?)
    }

    fn source(&self, path: &Path) -> Result<Box<dyn Source>> {
        let node = walk::find(&self.fs, path, LastLink::Follow)?;
        Ok(Box::new(PoolSource { fs: Arc::clone(&self.fs), node }))
    }

    fn sink(&self, path: &Path) -> Result<Box<dyn Sink>> {
        let (dir, name) = walk::parent(&self.fs, path)?;
        if self.look_through(path)?.is_some_and(|there| there.kind == Kind::Directory) {
            return Err(FsError::IsDirectory.into());
        }
        let node = self.fs.create_unnamed(&dir, &NewNode::file(0o600))?;
        Ok(Box::new(PoolSink { fs: Arc::clone(&self.fs), dir, name, node }))
    }

    fn make_directory(&self, path: &Path) -> Result<()> {
        let (dir, name) = walk::parent(&self.fs, path)?;
        self.fs.create(&dir, &name, &NewNode::directory(0o700))?;
        Ok(())
    }

    fn make_special(&self, path: &Path, facts: &Facts, target: &[u8]) -> Result<()> {
        let (dir, name) = walk::parent(&self.fs, path)?;
        let kind = match facts.kind {
            Kind::Symlink => NewKind::Symlink(target),
            Kind::Fifo => NewKind::Fifo,
            Kind::Socket => NewKind::Socket,
            Kind::CharDevice => NewKind::CharDevice(facts.device),
            Kind::BlockDevice => NewKind::BlockDevice(facts.device),
            Kind::File | Kind::Directory => return Err(Failure::new(Exit::Other, "not a special file")),
        };
        let hidden = hidden_name(std::ffi::OsStr::from_bytes(&name));
        let new = NewNode { kind, mode: facts.mode, uid: facts.uid, gid: facts.gid };
        let node = self.fs.create(&dir, hidden.as_bytes(), &new)?;
        let times = set_of(facts);
        let dressed = self.fs.set_attr(&node, &SetAttr { mode: None, ..times }).map(drop);
        drop(node);
        let placed = dressed.and_then(|()| self.fs.rename(&dir, hidden.as_bytes(), &dir, &name, RenameMode::Replace));
        placed.map_err(|error| {
            let _ = self.fs.unlink(&dir, hidden.as_bytes());
            error.into()
        })
    }

    fn set_facts(&self, path: &Path, facts: &Facts) -> Result<()> {
        let node = walk::find(&self.fs, path, LastLink::Follow)?;
        self.fs.set_attr(&node, &set_of(facts))?;
        Ok(())
    }

    fn remove_all(&self, path: &Path) -> Result<()> {
        let (dir, name) = walk::parent(&self.fs, path)?;
        let node = self.fs.lookup(&dir, &name)?;
        if node.kind() == Kind::Directory {
            rm::empty(&self.fs, &node, path, 0)?;
            drop(node);
            Ok(self.fs.rmdir(&dir, &name)?)
        } else {
            drop(node);
            Ok(self.fs.unlink(&dir, &name)?)
        }
    }

    fn show(&self, path: &Path) -> String {
        format!("{}:{}", self.pool.display(), path.display())
    }

    fn identity(&self) -> String {
        self.pool.display().to_string()
    }
}

/// What to set so that a file has these facts.
fn set_of(facts: &Facts) -> SetAttr {
    SetAttr {
        mode: Some(facts.mode),
        uid: Some(facts.uid),
        gid: Some(facts.gid),
        atime: Some(TimeOrNow::Time(facts.atime)),
        mtime: Some(TimeOrNow::Time(facts.mtime)),
        ..SetAttr::default()
    }
}

struct PoolSource {
    fs: Arc<Fs>,
    node: Node,
}

impl Source for PoolSource {
    fn data(&mut self, from: u64) -> Result<Option<Range<u64>>> {
        let start = match self.fs.seek(&self.node, from, Seek::Data) {
            Ok(start) => start,
            Err(FsError::PastEnd) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(start..self.fs.seek(&self.node, start, Seek::Hole)?))
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<usize> {
        Ok(self.fs.read(&self.node, offset, into)?)
    }
}

/// A file without a name: if it never gets one, it goes with its last handle, or in recovery.
struct PoolSink {
    fs: Arc<Fs>,
    dir: Node,
    name: Vec<u8>,
    node: Node,
}

impl Sink for PoolSink {
    fn write(&mut self, mut offset: u64, mut from: &[u8]) -> Result<()> {
        while !from.is_empty() {
            let done = self.fs.write(&self.node, offset, from)?;
            if done == 0 {
                return Err(FsError::NO_SPACE.into());
            }
            offset += done as u64;
            from = &from[done..];
        }
        Ok(())
    }

    fn finish(self: Box<Self>, size: u64, facts: &Facts) -> Result<()> {
        if self.node.size() != size {
            self.fs.set_attr(&self.node, &SetAttr { size: Some(size), ..SetAttr::default() })?;
        }
        self.fs.set_attr(&self.node, &set_of(facts))?;
        match self.fs.link(&self.node, &self.dir, &self.name) {
            Err(FsError::Exists) => {}
            linked => return Ok(linked?),
        }
        // Something has the name: the new file goes over it in one step.
        let hidden = hidden_name(std::ffi::OsStr::from_bytes(&self.name));
        self.fs.link(&self.node, &self.dir, hidden.as_bytes())?;
        let placed = self.fs.rename(&self.dir, hidden.as_bytes(), &self.dir, &self.name, RenameMode::Replace);
        placed.map_err(|error| {
            let _ = self.fs.unlink(&self.dir, hidden.as_bytes());
            error.into()
        })
    }
}
