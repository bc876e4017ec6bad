//! A pool that the library uses and a mount shows at the same time.
//!
//! The kernel keeps names, attributes and pages of the mount; the library tells of every change it makes, and the mount
//! passes that on. This is the glue between the two, which know nothing of each other.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use daxle::{Ino, Listening, Pool};
use mount::{MountError, MountOptions, Mounted};

/// Passes the library's messages to a mount.
struct ToMount(Arc<dyn mount::ChangeListener>);

impl daxle::ChangeListener for ToMount {
    fn about_to_change(&self, ino: Ino, bytes: Range<u64>) {
        self.0.about_to_change(ino, bytes);
    }

    fn changed(&self, ino: Ino, bytes: Range<u64>) {
        self.0.changed(ino, bytes);
    }

    fn attr_changed(&self, ino: Ino) {
        self.0.attr_changed(ino);
    }

    fn entry_changed(&self, parent: Ino, name: &[u8]) {
        self.0.entry_changed(parent, name);
    }
}

/// A mounted pool. Dropping it unmounts; the pool stays open.
#[derive(Debug)]
pub struct Served {
    mounted: Mounted,
    _listening: Listening,
}

impl Served {
    /// Mounts `pool` at `dir` and keeps the mount right about what the library changes.
    pub fn mount(pool: &Pool, dir: &Path, options: &MountOptions) -> Result<Served, MountError> {
        let mounted = mount::mount(Arc::clone(pool.fs()), dir, options)?;
        let listening = pool.listen(Arc::new(ToMount(mounted.notifier())));
        Ok(Served { mounted, _listening: listening })
    }

    /// The mount.
    pub fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// Unmounts; `Busy` if somebody is in.
    pub fn unmount(mut self) -> Result<(), MountError> {
        self.mounted.unmount()
    }
}
