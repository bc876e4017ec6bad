//! A mount from its making to its end.
//!
//! The serving threads run until the kernel ends the connection, which it does when the last user of an unmounted file
//! system is gone. [`Mounted::unmount`] asks politely and fails if somebody is in; dropping does not ask: it detaches the
//! mount and cuts the connection, so that it never waits for another program.

use crate::attach::{self, Way};
use crate::error::MountError;
use crate::listener::{ChangeListener, Listener};
use crate::mountinfo;
use crate::nodes::Nodes;
use crate::options::{Caching, MountOptions};
use crate::place::{Manner, Place};
use crate::server::Server;
use engine::FsError;
use engine::fs::Fs;
use fuser::Session;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the serving threads may take to end once nothing is mounted any more, before the connection is cut.
const END_WAIT_MAX: Duration = Duration::from_secs(10);

/// Shows `fs` in the directory `dir`. When this returns the mount is there and served.
///
/// The file system is not closed when the mount ends; that is up to its owner.
pub fn mount(fs: Arc<Fs>, dir: &Path, options: &MountOptions) -> Result<Mounted, MountError> {
    let point = attach::check_point(dir)?;
    let root = fs.root().map_err(|error| root_unreadable(&error))?;
    let nodes = Arc::new(Nodes::new(root.ino()));
    nodes.told(&root);
    let listener = Arc::new(Listener::new(Arc::clone(&nodes)));
    let access = fs.access();
    let server = Server::new(fs, nodes, Arc::clone(&listener), options.caching);
    let attached = attach::attach(server, &point, access, options)?;
    let place = Place::of(point);
    listener.connect(attached.session.notifier(), place.clone());
    let serving = serve(attached.session, place.clone())?;
    Ok(Mounted { place, way: attached.way, listener, caching: options.caching, serving: Some(serving) })
}

fn root_unreadable(error: &FsError) -> MountError {
    MountError::failed("read the root directory of the pool", io::Error::other(error.to_string()))
}

/// Starts the threads. When they have ended, however that came, no mount of theirs is left that could make others wait.
fn serve(session: Session<Server>, place: Place) -> Result<JoinHandle<()>, MountError> {
    thread::Builder::new()
        .name("daxle-mount".to_owned())
        .spawn(move || {
            if let Err(error) = session.run() {
                tracing::error!(%error, point = %place.point.display(), "serving the mount ended");
            }
            if place.is_ours() {
                place.cut();
            }
        })
        .map_err(|error| MountError::failed("start a thread", error))
}

/// A served mount. Dropping it ends the mount, whoever uses it.
#[derive(Debug)]
pub struct Mounted {
    place: Place,
    way: Way,
    listener: Arc<Listener>,
    caching: Caching,
    serving: Option<JoinHandle<()>>,
}

impl Mounted {
    /// The mount point, canonical.
    pub fn point(&self) -> &Path {
        &self.place.point
    }

    /// The number of the kernel's connection (`/sys/fs/fuse/connections/N`), if it is known.
    pub fn connection(&self) -> Option<u32> {
        self.place.minor
    }

    /// Whether `fusermount3` made the mount rather than we ourselves.
    pub fn by_helper(&self) -> bool {
        matches!(self.way, Way::Helper(_))
    }

    /// Whom to tell of changes that do not come through the mount. See [`ChangeListener`] for when. May outlive the
    /// mount; it then does nothing.
    pub fn notifier(&self) -> Arc<dyn ChangeListener> {
        Arc::clone(&self.listener) as Arc<dyn ChangeListener>
    }

    /// What the kernel may keep.
    pub fn caching(&self) -> Caching {
        self.caching
    }

    /// Whether it is still served: not yet unmounted by anybody.
    pub fn is_served(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| !serving.is_finished())
    }

    /// Waits until somebody has unmounted it and the last user has gone.
    pub fn wait(&mut self) {
        if let Some(serving) = self.serving.take() {
            join(serving);
        }
    }

    /// Unmounts. `Busy` if a program has a file or its working directory there: nothing has changed then.
    pub fn unmount(&mut self) -> Result<(), MountError> {
        if self.is_served() && self.place.is_ours() {
            self.place.unmount(Manner::Polite)?;
        }
        self.end();
        Ok(())
    }

    /// Takes the mount out of the tree at once; programs that have files open there keep them. [`Mounted::wait`] tells
    /// when the last has gone.
    pub fn detach(&self) -> Result<(), MountError> {
        if self.is_served() && self.place.is_ours() { self.place.unmount(Manner::Lazy) } else { Ok(()) }
    }

    /// Cuts the connection: every request, also those that wait, fails at once.
    pub fn abort(&self) {
        if self.is_served() {
            self.place.cut();
        }
    }

    /// Waits for the threads; cuts the connection if they do not end (the mount may be bound elsewhere too).
    fn end(&mut self) {
        let Some(serving) = self.serving.take() else { return };
        if !ended_within(&serving, END_WAIT_MAX) {
            self.place.cut();
        }
        if ended_within(&serving, END_WAIT_MAX) {
            join(serving);
        } else {
            tracing::error!(point = %self.place.point.display(), "the mount's threads did not end");
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let polite = self.serving.is_some() && self.unmount().is_ok();
        if !polite {
            self.abort();
            self.end();
        }
    }
}

/// Unmounts what is mounted at `dir`, also from another process than the one that serves it.
pub fn unmount_path(dir: &Path) -> Result<(), MountError> {
    let not_mounted = || MountError::NotMounted { path: dir.to_owned() };
    // Not `canonicalize` on the mount itself: its server may be dead.
    let point = match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().map_err(|_| not_mounted())?.join(name)
        }
        _ => dir.canonicalize().map_err(|_| not_mounted())?,
    };
    let line = mountinfo::at(&point).filter(mountinfo::is_fuse).ok_or_else(not_mounted)?;
    Place { point, minor: Some(line.minor) }.unmount(Manner::Polite)
}

fn ended_within(serving: &JoinHandle<()>, wait_max: Duration) -> bool {
    let start = Instant::now();
    while !serving.is_finished() {
        if start.elapsed() > wait_max {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

fn join(serving: JoinHandle<()>) {
    if serving.join().is_err() {
        tracing::error!("a thread of the mount panicked");
    }
}
