//! What `stat` tells of a file.

use std::time::SystemTime;

use engine::types::{Attr, Ino, Kind};

/// Attributes of a file, as they were when they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata(Attr);

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileType(Kind);

impl Metadata {
    pub(crate) fn new(attr: Attr) -> Metadata {
        Metadata(attr)
    }

    /// What the file is.
    pub fn file_type(&self) -> FileType {
        FileType(self.0.kind)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }

    /// Size in bytes.
    #[allow(clippy::len_without_is_empty)] // as std::fs::Metadata: the size of a file, not of a collection
    pub fn len(&self) -> u64 {
        self.0.size
    }

    /// Permission bits (`0o7777`).
    pub fn mode(&self) -> u32 {
        self.0.mode
    }

    /// Owner.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Group.
    pub fn gid(&self) -> u32 {
        self.0.gid
    }

    /// Names that it has; a directory counts itself and its subdirectories.
    pub fn nlink(&self) -> u32 {
        self.0.nlink
    }

    /// Inode number.
    pub fn ino(&self) -> Ino {
        self.0.ino
    }

    /// Bytes of the pool that it takes, its own metadata blocks included.
    pub fn allocated_bytes(&self) -> u64 {
        self.0.blocks * engine::types::PAGE_BYTES
    }

    /// When it was read last, as far as that is kept.
    pub fn accessed(&self) -> SystemTime {
        self.0.atime.into()
    }

    /// When its content was changed last.
    pub fn modified(&self) -> SystemTime {
        self.0.mtime.into()
    }

    /// When content or attributes were changed last.
    pub fn changed(&self) -> SystemTime {
        self.0.ctime.into()
    }

    /// When it was created.
    pub fn created(&self) -> SystemTime {
        self.0.btime.into()
    }

    /// All of it, in the engine's words.
    pub fn attr(&self) -> &Attr {
        &self.0
    }
}

impl FileType {
    pub(crate) fn new(kind: Kind) -> FileType {
        FileType(kind)
    }

    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.0 == Kind::Directory
    }

    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.0 == Kind::File
    }

    /// A symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.0 == Kind::Symlink
    }

    /// In the engine's words, which know devices, pipes and sockets too.
    pub fn kind(&self) -> Kind {
        self.0
    }
}
