//! Telling the kernel of changes that do not come through the mount.
//!
//! Each message waits until the kernel has done it: pages are dropped (and dirty ones written back first, which comes
//! back as requests to our own threads), names are looked up anew. So a message must never be sent by somebody who holds
//! a lock of the engine: a request that the kernel waits for might want it.

use crate::nodes::Nodes;
use crate::place::Place;
use engine::types::Ino;
use fuser::{INodeNo, Notifier};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Learns of changes. Called with no lock held: by whoever made the change, right after it.
pub trait ChangeListener: Send + Sync {
    /// These bytes of the file are about to change. What programs stored there through a shared mapping of the mount and
    /// did not sync comes to the file now; otherwise it would later come whole pages at a time, over the change.
    fn about_to_change(&self, ino: Ino, bytes: Range<u64>);
    /// These bytes of the file, and with them its attributes, have changed. An end of `u64::MAX` means all the rest:
    /// right for a truncate or a hole.
    fn changed(&self, ino: Ino, bytes: Range<u64>);
    /// Attributes have changed.
    fn attr_changed(&self, ino: Ino);
    /// The name has come, gone, or means something else now.
    fn entry_changed(&self, parent: Ino, name: &[u8]);
}

/// The listener of one mount.
pub(crate) struct Listener {
    nodes: Arc<Nodes>,
    /// Set once the session is there; before that the kernel has nothing to drop.
    notifier: OnceLock<Notifier>,
    /// Where the mount is, once it is there.
    place: OnceLock<Place>,
    /// Counts messages, before each is sent.
    told: AtomicU64,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listener {
    pub(crate) fn new(nodes: Arc<Nodes>) -> Listener {
        Listener { nodes, notifier: OnceLock::new(), place: OnceLock::new(), told: AtomicU64::new(0) }
    }

    pub(crate) fn connect(&self, notifier: Notifier, place: Place) {
        let fresh = self.notifier.set(notifier).is_ok() && self.place.set(place).is_ok();
        assert!(fresh, "a mount has one session");
    }

    /// Ends the connection, whatever waits on it.
    pub(crate) fn cut(&self) {
        if let Some(place) = self.place.get() {
            place.cut();
        }
    }

    /// Changes with every message. A reply that tells the kernel of a node for the first time says "do not keep this" if
    /// it has changed since before the node was looked at: the message may have come before the kernel knew the node.
    pub(crate) fn stamp(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// Sends a message about an inode that the kernel knows.
    fn about(&self, ino: Ino, send: impl FnOnce(&Notifier, INodeNo) -> io::Result<()>) {
        self.told.fetch_add(1, Ordering::SeqCst);
        if !self.nodes.knows(ino) {
            return;
        }
        let Some(notifier) = self.notifier.get() else { return };
        if let Err(error) = send(notifier, self.nodes.number(ino)) {
            // ENODEV and ENOTCONN: the mount has gone, and its caches with it. ENOTEMPTY and EBUSY: the name is in use
            // as a mount point or a working directory; it is looked up again the next time all the same.
            let quiet = [19, 107, 39, 16].map(Some).contains(&error.raw_os_error());
            if !quiet {
                tracing::warn!(%error, ino = ino.0, "the kernel could not be told of a change");
            }
        }
    }

    fn bytes(&self, ino: Ino, bytes: &Range<u64>) {
        let start = i64::try_from(bytes.start).unwrap_or(i64::MAX);
        // 0 means "all the rest" to the kernel.
        let len = if bytes.end == u64::MAX { 0 } else { bytes.end.saturating_sub(bytes.start).max(1) as i64 };
        self.about(ino, |notifier, number| notifier.inval_inode(number, start, len));
    }
}

impl ChangeListener for Listener {
    fn about_to_change(&self, ino: Ino, bytes: Range<u64>) {
        self.bytes(ino, &bytes);
    }

    fn changed(&self, ino: Ino, bytes: Range<u64>) {
        self.bytes(ino, &bytes);
    }

    fn attr_changed(&self, ino: Ino) {
        // A negative offset means: attributes only.
        self.about(ino, |notifier, number| notifier.inval_inode(number, -1, 0));
    }

    fn entry_changed(&self, parent: Ino, name: &[u8]) {
        self.about(parent, |notifier, number| notifier.inval_entry(number, OsStr::from_bytes(name)));
        self.attr_changed(parent);
    }
}
