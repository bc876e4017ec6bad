//! How a file is opened.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::FsError;
use engine::fs::{LastLink, Node};
use engine::types::{Kind, NewKind};

use crate::dir::Dir;
use crate::error::{Doing, Error, Result};
use crate::file::{File, Rights};

/// Symbolic links followed at the end of a path that is to be created.
const LINKS_MAX: usize = 40;

/// What happens when there is no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Creation {
    Never,
    IfMissing,
    Always,
}

/// Options for opening a file, as `std::fs::OpenOptions`.
///
/// ```
/// # fn main() -> Result<(), daxle::Error> {
/// let pool = daxle::Pool::memory("32MiB")?;
/// let log = pool.open_options().append(true).create(true).open("log")?;
/// log.append(b"one ")?;
/// log.append(b"two")?;
/// assert_eq!(pool.read("log")?, b"one two");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OpenOptions<'d> {
    dir: &'d Dir,
    rights: Rights,
    truncate: bool,
    creation: Creation,
    mode: u32,
}

impl<'d> OpenOptions<'d> {
    pub(crate) fn new(dir: &'d Dir) -> OpenOptions<'d> {
        let rights = Rights { read: false, write: false };
        OpenOptions { dir, rights, truncate: false, creation: Creation::Never, mode: 0o644 }
    }

    /// Whether it may be read.
    pub fn read(mut self, read: bool) -> Self {
        self.rights.read = read;
        self
    }

    /// Whether it may be written.
    pub fn write(mut self, write: bool) -> Self {
        self.rights.write = write;
        self
    }

    /// Whether it may be written, by [`File::append`] above all.
    pub fn append(mut self, append: bool) -> Self {
        self.rights.write = append;
        self
    }

    /// Whether what it holds is dropped.
    pub fn truncate(mut self, truncate: bool) -> Self {
        self.truncate = truncate;
        self
    }

    /// Whether it is made if it does not exist.
    pub fn create(mut self, create: bool) -> Self {
        self.creation = if create { Creation::IfMissing } else { Creation::Never };
        self
    }

    /// Whether it must be a new one.
    pub fn create_new(mut self, create_new: bool) -> Self {
        self.creation = if create_new { Creation::Always } else { Creation::Never };
        self
    }

    /// Permission bits of a new file; `0o644` otherwise. The process's umask has no say.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Opens it.
    ///
    /// # Errors
    /// As of open(2): not found, exists, is a directory, no space, and `Invalid` if neither reading nor writing was
    /// asked for.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        if self.rights == (Rights { read: false, write: false }) {
            let why = FsError::Invalid("open a file for reading, writing or appending");
            return Err(why).doing_to("open", path);
        }
        let node = match self.creation {
            Creation::Always => self.create_at(self.dir.parent(path, "create")?, path)?,
            Creation::Never => self.dir.find(path, LastLink::Follow, "open")?,
            Creation::IfMissing => self.find_or_create(path)?,
        };
        match node.kind() {
            Kind::File => {}
            Kind::Directory => return Err(FsError::IsDirectory).doing_to("open", path),
            _ => return Err(FsError::NotSupported("only regular files can be opened")).doing_to("open", path),
        }
        let file = File::new(Arc::clone(self.dir.pool()), node, self.rights);
        if self.truncate && file.node().size() > 0 {
            file.set_len(0)?;
        }
        Ok(file)
    }

    fn create_at(&self, (parent, name): (Node, Vec<u8>), path: &Path) -> Result<Node> {
        let new = self.dir.new_node(NewKind::File, self.mode);
        let node = self.dir.pool().fs.create(&parent, &name, &new).doing_to("create", path)?;
        self.dir.told_entry(&parent, &name);
        Ok(node)
    }

    /// Finds the file or makes it, also where a symbolic link points to nothing yet, and whoever else does the same.
    fn find_or_create(&self, path: &Path) -> Result<Node> {
        let fs = &self.dir.pool().fs;
        let mut base = self.dir.clone();
        let mut rest: PathBuf = path.to_owned();
        for _ in 0..LINKS_MAX {
            let (parent, name) = base.parent(&rest, "open")?;
            match fs.lookup(&parent, &name) {
                Ok(link) if link.kind() == Kind::Symlink => {
                    rest = PathBuf::from(OsString::from_vec(fs.read_link(&link).doing_to("open", path)?));
                    base = Dir::new(Arc::clone(self.dir.pool()), parent);
                }
                Ok(node) => return Ok(node),
                Err(FsError::NotFound) => match self.create_at((parent, name), path) {
                    // Made by somebody else in between: look again.
                    Err(Error::Path { source: FsError::Exists, .. }) => {}
                    created => return created,
                },
                Err(error) => return Err(error).doing_to("open", path),
            }
        }
        Err(FsError::Loop).doing_to("open", path)
    }
}
