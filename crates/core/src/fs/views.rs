//! Two incoherent views of one file exclude each other.
//!
//! A *direct* view shows the pool's memory itself: a mapping, or a file opened to be mapped. A *cached* view is a copy that
//! somebody else keeps, such as the kernel's page cache over the mount. A store through one would not be seen by the
//! other, so a file has views of one kind at a time. The counter is one atomic number: positive for direct views, negative for
//! cached ones.

use order::sync::atomic::Ordering::SeqCst;

use super::Fs;
use super::inode::{Inode, Node};
use crate::error::FsError;

/// The kinds of views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ViewKind {
    Direct,
    Cached,
}

impl ViewKind {
    fn step(self) -> i64 {
        match self {
            ViewKind::Direct => 1,
            ViewKind::Cached => -1,
        }
    }
}

/// A view of a file; dropping it gives the file free for views of the other kind. Keeps the node.
#[derive(Debug)]
pub struct View {
    node: Node,
    kind: ViewKind,
}

impl View {
    /// The file viewed.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.node.inode.leave_view(self.kind);
    }
}

impl Inode {
    pub(super) fn enter_view(&self, kind: ViewKind) -> Result<(), FsError> {
        let entered = self.views.fetch_update(SeqCst, SeqCst, |views| {
            let others = views.signum() == -kind.step();
            if others { None } else { views.checked_add(kind.step()) }
        });
        entered.map(|_| ()).map_err(|_| match kind {
            ViewKind::Direct => FsError::Busy("the file is open through a cache"),
            ViewKind::Cached => FsError::Busy("the file is mapped directly"),
        })
    }

    pub(super) fn leave_view(&self, kind: ViewKind) {
        self.views.fetch_sub(kind.step(), SeqCst);
    }
}

impl Fs {
    /// A view of the pool's own memory.
    ///
    /// # Errors
    /// `Busy` while a cached view is open.
    pub fn direct_view(&self, node: &Node) -> Result<View, FsError> {
        self.view(node, ViewKind::Direct)
    }

    /// A view through a cache that someone else keeps.
    ///
    /// # Errors
    /// `Busy` while a direct view is open or a window attached.
    pub fn cached_view(&self, node: &Node) -> Result<View, FsError> {
        self.view(node, ViewKind::Cached)
    }

    fn view(&self, node: &Node, kind: ViewKind) -> Result<View, FsError> {
        self.demand_own(node)?;
        node.inode.enter_view(kind)?;
        Ok(View { node: node.clone(), kind })
    }
}
