//! A file of the engine as a view: its operations called directly, without library, mapping or mount.

use super::view::{View, ViewError};
use engine::FsError;
use engine::fs::Node;
use engine::types::{Fallocate, PAGE_BYTES, SetAttr, SyncKind};

/// A view of one file of the engine.
#[derive(Debug)]
pub struct EngineView {
    name: String,
    node: Node,
}

impl EngineView {
    /// A view of this file.
    pub fn new(name: &str, node: Node) -> EngineView {
        EngineView { name: name.to_owned(), node }
    }

    /// The file.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

fn failed(what: &str) -> impl Fn(FsError) -> ViewError + '_ {
    move |error| ViewError::new(error.errno(), format!("{what}: {error}"))
}

impl View for EngineView {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, ViewError> {
        self.node.fs().read(&self.node, offset, into).map_err(failed("read"))
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<usize, ViewError> {
        self.node.fs().write(&self.node, offset, from).map_err(failed("write"))
    }

    fn mapped_read(&self, _: u64, _: &mut [u8]) -> Result<(), ViewError> {
        Err(ViewError::unsupported("the engine maps nothing itself"))
    }

    fn mapped_write(&self, _: u64, _: &[u8]) -> Result<(), ViewError> {
        Err(ViewError::unsupported("the engine maps nothing itself"))
    }

    fn truncate(&self, size: u64) -> Result<(), ViewError> {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        self.node.fs().set_attr(&self.node, &set).map(|_| ()).map_err(failed("set_attr"))
    }

    fn fallocate(&self, mode: Fallocate, offset: u64, len: u64) -> Result<(), ViewError> {
        self.node.fs().allocate(&self.node, mode, offset, len).map_err(failed("allocate"))
    }

    fn msync(&self, offset: u64, len: u64) -> Result<(), ViewError> {
        let pages = offset / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES);
        self.node.fs().msync(&self.node, pages).map_err(failed("msync"))
    }

    fn fsync(&self) -> Result<(), ViewError> {
        self.node.fs().sync_node(&self.node, SyncKind::All).map_err(failed("sync_node"))
    }

    /// Reads the inode anew by its number.
    fn reopen(&self) -> Result<(), ViewError> {
        let again = self.node.fs().node_of_generation(self.node.ino(), self.node.generation());
        match again.map_err(failed("node_of_generation"))? {
            node if node.same(&self.node) => Ok(()),
            _ => Err(ViewError::new(rustix::io::Errno::STALE.raw_os_error(), "the number leads to another inode")),
        }
    }

    fn size(&self) -> Result<u64, ViewError> {
        self.node.fs().attr(&self.node).map(|attr| attr.size).map_err(failed("attr"))
    }
}
