//! Who is told of changes.
//!
//! A mount of the same pool lets the kernel keep names, attributes and pages. So that it stays right, the
//! library tells listeners of every change that it makes, with no lock held. Without listeners that costs
//! one relaxed load.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use engine::types::Ino;
use order::{Mutex, level};

/// Learns of changes made through the library. Every method is called with no lock held, by the thread that makes the
/// change; it may call the library for reading. Stores through mappings are not told.
pub trait ChangeListener: Send + Sync {
    /// These bytes of a file are about to change: what is kept of them, and not yet written, must be written now.
    fn about_to_change(&self, ino: Ino, bytes: Range<u64>) {
        let _ = (ino, bytes);
    }
    /// These bytes of a file, and with them its attributes, have changed. An end of `u64::MAX` means all the rest.
    fn changed(&self, ino: Ino, bytes: Range<u64>);
    /// Attributes have changed.
    fn attr_changed(&self, ino: Ino);
    /// A name has come, gone, or means something else now.
    fn entry_changed(&self, parent: Ino, name: &[u8]);
}

/// A listener and its number.
type Numbered = (u64, Arc<dyn ChangeListener>);

/// The listeners of a pool.
#[derive(Default)]
pub(crate) struct Listeners {
    count: AtomicUsize,
    list: Mutex<level::Listeners, Vec<Numbered>>,
}

/// Keeps a listener listening; dropping it ends that.
pub struct Listening {
    id: u64,
    listeners: Weak<Listeners>,
}

impl Listeners {
    pub(crate) fn add(self: &Arc<Self>, listener: Arc<dyn ChangeListener>) -> Listening {
        let mut list = self.list.leaf();
        let id = list.last().map_or(0, |(last, _)| last + 1);
        list.push((id, listener));
        self.count.store(list.len(), Relaxed);
        Listening { id, listeners: Arc::downgrade(self) }
    }

    /// Whether nobody listens.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Calls every listener. Holds no lock meanwhile.
    #[inline]
    pub(crate) fn tell(&self, what: impl Fn(&dyn ChangeListener)) {
        if !self.is_empty() {
            let all: Vec<_> = self.list.leaf().iter().map(|(_, listener)| Arc::clone(listener)).collect();
            for listener in all {
                what(&*listener);
            }
        }
    }

    fn remove(&self, id: u64) {
        let gone = {
            let mut list = self.list.leaf();
            let at = list.iter().position(|(other, _)| *other == id);
            let gone = at.map(|at| list.remove(at));
            self.count.store(list.len(), Relaxed);
            gone
        };
        // The listener's own end may take locks; ours is released.
        drop(gone);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.remove(self.id);
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("count", &self.count).finish_non_exhaustive()
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("id", &self.id).finish_non_exhaustive()
    }
}
