//! Directories and names, in the manner of `std::fs`.
//!
//! A path is taken from the directory it is given to; one that begins with a slash from the pool's root. Symbolic
//! links are followed inside the pool. Each operation is one transaction: after a crash it is there or not.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::FsError;
use engine::fs::{LastLink, Node};
use engine::types::{Ino, Kind, NewKind, NewNode, RenameMode, SetAttr};

use crate::error::{Doing, Error, Result};
use crate::file::File;
use crate::metadata::Metadata;
use crate::open::OpenOptions;
use crate::pool_handle::Inner;
use crate::readdir::ReadDir;

/// A directory of a pool. Keeps the pool open.
#[derive(Clone)]
pub struct Dir {
    pool: Arc<Inner>,
    node: Node,
}

impl Dir {
    pub(crate) fn new(pool: Arc<Inner>, node: Node) -> Dir {
        Dir { pool, node }
    }

    pub(crate) fn pool(&self) -> &Arc<Inner> {
        &self.pool
    }

    /// The engine's name for it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its inode number.
    pub fn ino(&self) -> Ino {
        self.node.ino()
    }

    /// Options for opening a file: `dir.open_options().read(true).write(true).create(true).open("a/b")`.
    pub fn open_options(&self) -> OpenOptions<'_> {
        OpenOptions::new(self)
    }

    /// Opens a file for reading.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<File> {
        self.open_options().read(true).open(path)
    }

    /// Opens a file for reading and writing, made if missing, cut to nothing if not.
    pub fn create_file(&self, path: impl AsRef<Path>) -> Result<File> {
        self.open_options().read(true).write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file without a name. It goes with its last handle, or after a crash, unless [`Dir::link_file`] names it.
    pub fn create_unnamed(&self) -> Result<File> {
        let new = self.new_node(NewKind::File, 0o600);
        let node = self.pool.fs.create_unnamed(&self.node, &new).doing("create a file without a name")?;
        Ok(File::for_all(Arc::clone(&self.pool), node))
    }

    /// Gives an open file a (further) name.
    pub fn link_file(&self, file: &File, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path, "name a file")?;
        self.pool.fs.link(file.node(), &parent, &name).doing_to("name a file", path)?;
        self.told_entry(&parent, &name);
        self.pool.listeners.tell(|listener| listener.attr_changed(file.ino()));
        Ok(())
    }

    /// Opens a directory below.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let path = path.as_ref();
        let node = self.find(path, LastLink::Follow, "open")?;
        if node.kind() != Kind::Directory {
            return Err(FsError::NotDirectory).doing_to("open", path);
        }
        Ok(Dir::new(Arc::clone(&self.pool), node))
    }

    /// Reads a whole file.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        self.open_file(path)?.read_all()
    }

    /// Creates or replaces a file with these bytes.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.create_file(path)?.write_all_at(bytes.as_ref(), 0)
    }

    /// Creates a directory.
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        let new = self.new_node(NewKind::Directory, 0o755);
        self.create_node(path.as_ref(), &new, "create directory").map(drop)
    }

    /// Creates a directory and those above it that are missing. One that exists already is fine.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        match self.create_dir(path) {
            Err(error) if error.is_not_found() => {
                let Some(parent) = path.parent() else { return Err(error) };
                self.create_dir_all(parent)?;
                // Somebody else may make it at the same time.
                self.create_dir(path).or_else(|error| self.excuse_directory(path, error))
            }
            Err(error) => self.excuse_directory(path, error),
            Ok(()) => Ok(()),
        }
    }

    /// A directory that could not be made because it is there is no error.
    fn excuse_directory(&self, path: &Path, error: Error) -> Result<()> {
        match self.metadata(path) {
            Ok(found) if found.is_dir() => Ok(()),
            _ => Err(error),
        }
    }

    /// Creates a symbolic link at `path` that points to `target`.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let target = target.as_ref().as_os_str().as_bytes();
        let new = self.new_node(NewKind::Symlink(target), 0o777);
        self.create_node(path.as_ref(), &new, "create symbolic link").map(drop)
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        let node = self.find(path, LastLink::Stay, "read link")?;
        let target = self.pool.fs.read_link(&node).doing_to("read link", path)?;
        Ok(PathBuf::from(OsString::from_vec(target)))
    }

    /// Gives a file a further name. A symbolic link is not followed.
    pub fn hard_link(&self, original: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let (original, path) = (original.as_ref(), path.as_ref());
        let node = self.find(original, LastLink::Stay, "link")?;
        let (parent, name) = self.parent(path, "link to")?;
        self.pool.fs.link(&node, &parent, &name).doing_to("link to", path)?;
        self.told_entry(&parent, &name);
        self.pool.listeners.tell(|listener| listener.attr_changed(node.ino()));
        Ok(())
    }

    /// Removes a name of a file. Its content goes with the last name, handle and mapping.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path, "remove")?;
        // Whoever listens is told which file has one name less.
        let ino = if self.pool.listeners.is_empty() {
            None
        } else {
            Some(self.pool.fs.lookup(&parent, &name).doing_to("remove", path)?.ino())
        };
        self.pool.fs.unlink(&parent, &name).doing_to("remove", path)?;
        self.told_entry(&parent, &name);
        if let Some(ino) = ino {
            self.pool.listeners.tell(|listener| listener.attr_changed(ino));
        }
        Ok(())
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = self.parent(path, "remove directory")?;
        self.pool.fs.rmdir(&parent, &name).doing_to("remove directory", path)?;
        self.told_entry(&parent, &name);
        Ok(())
    }

    /// Removes a directory with all that is in it. Symbolic links in it are removed, not followed.
    ///
    /// Not one transaction: after an error or a crash a part may be gone.
    pub fn remove_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let node = self.find(path, LastLink::Stay, "remove directory")?;
        if node.kind() != Kind::Directory {
            return Err(FsError::NotDirectory).doing_to("remove directory", path);
        }
        Dir::new(Arc::clone(&self.pool), node).empty()?;
        self.remove_dir(path)
    }

    /// Removes everything in this directory, deepest first, without recursion: a tree may be deeper than a stack.
    fn empty(self) -> Result<()> {
        let mut open: Vec<(Dir, Option<OsString>)> = vec![(self, None)];
        while let Some((dir, _)) = open.last() {
            let mut below = None;
            for entry in dir.read_dir("")? {
                let entry = entry?;
                if entry.file_type().is_dir() {
                    below = Some((dir.open_dir(entry.file_name())?, Some(entry.file_name().to_owned())));
                    break;
                }
                dir.remove_file(entry.file_name())?;
            }
            if let Some(below) = below {
                open.push(below);
                continue;
            }
            let done = open.pop().and_then(|(_, name)| name);
            if let (Some((dir, _)), Some(name)) = (open.last(), done) {
                dir.remove_dir(name)?;
            }
        }
        Ok(())
    }

    /// Gives a file or directory another name, in place of what had it, in one step.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        self.rename_with(from, to, RenameMode::Replace)
    }

    /// As [`Dir::rename`], with a say in what happens when the new name is taken.
    pub fn rename_with(&self, from: impl AsRef<Path>, to: impl AsRef<Path>, mode: RenameMode) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let (from_dir, from_name) = self.parent(from, "rename")?;
        let (to_dir, to_name) = self.parent(to, "rename to")?;
        self.pool.fs.rename(&from_dir, &from_name, &to_dir, &to_name, mode).doing_to("rename", from)?;
        self.told_entry(&from_dir, &from_name);
        self.told_entry(&to_dir, &to_name);
        Ok(())
    }

    /// Attributes of what a path leads to.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let path = path.as_ref();
        let node = self.find(path, LastLink::Follow, "stat")?;
        self.pool.fs.attr(&node).doing_to("stat", path).map(Metadata::new)
    }

    /// Attributes of what a path names; of the link itself if it is one.
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let path = path.as_ref();
        let node = self.find(path, LastLink::Stay, "stat")?;
        self.pool.fs.attr(&node).doing_to("stat", path).map(Metadata::new)
    }

    /// Changes attributes of what a path leads to, size included.
    pub fn set_attributes(&self, path: impl AsRef<Path>, set: &SetAttr) -> Result<Metadata> {
        let path = path.as_ref();
        let node = self.find(path, LastLink::Follow, "change")?;
        let file = File::for_all(Arc::clone(&self.pool), node);
        file.set_attributes(set)
    }

    /// Whether a path leads to something. False too if that cannot be found out.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.find(path.as_ref(), LastLink::Follow, "stat").is_ok()
    }

    /// The entries of a directory; of this one for an empty path.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<ReadDir> {
        let path = path.as_ref();
        let here = path.as_os_str().is_empty();
        let node = if here { self.node.clone() } else { self.find(path, LastLink::Follow, "list")? };
        if node.kind() != Kind::Directory {
            return Err(FsError::NotDirectory).doing_to("list", path);
        }
        ReadDir::new(Arc::clone(&self.pool), node)
    }

    pub(crate) fn find(&self, path: &Path, last: LastLink, action: &'static str) -> Result<Node> {
        self.pool.fs.resolve(&self.node, path.as_os_str().as_bytes(), last).doing_to(action, path)
    }

    pub(crate) fn parent(&self, path: &Path, action: &'static str) -> Result<(Node, Vec<u8>)> {
        self.pool.fs.resolve_parent(&self.node, path.as_os_str().as_bytes()).doing_to(action, path)
    }

    pub(crate) fn new_node<'a>(&self, kind: NewKind<'a>, mode: u32) -> NewNode<'a> {
        let (uid, gid) = self.pool.owner;
        NewNode { kind, mode, uid, gid }
    }

    fn create_node(&self, path: &Path, new: &NewNode<'_>, action: &'static str) -> Result<Node> {
        let (parent, name) = self.parent(path, action)?;
        let node = self.pool.fs.create(&parent, &name, new).doing_to(action, path)?;
        self.told_entry(&parent, &name);
        Ok(node)
    }

    pub(crate) fn told_entry(&self, parent: &Node, name: &[u8]) {
        self.pool.listeners.tell(|listener| listener.entry_changed(parent.ino(), name));
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir").field("ino", &self.ino()).finish_non_exhaustive()
    }
}
