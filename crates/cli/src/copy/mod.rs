//! Copying files and trees between the host and pools.
//!
//! Both sides are a [`Tree`]; the copier knows neither. What it keeps:
//!
//! * Holes stay holes: only what the source calls data is read and written.
//! * A file appears under its name when all of it is there (a hidden name first, then one rename). So a copy that fails
//!   leaves an old file as it was, and a new one absent.
//! * Mode and times are kept, owner and group where that is allowed. Files with several names are copied once for each.

mod host;
mod pool_side;
mod progress;

use std::ops::Range;
use std::path::Path;

use crate::errors::{Context, Failure, Result};
use crate::exit::Exit;
use crate::walk;
use engine::types::{Kind, Timestamp};

pub use host::HostTree;
pub use pool_side::PoolTree;
pub use progress::{Progress, Spinner};

const PIECE_BYTES: usize = 1 << 20;

/// What is kept of a file besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of a device file.
    pub device: u32,
    /// Bytes.
    pub size: u64,
    /// Last read.
    pub atime: Timestamp,
    /// Last change.
    pub mtime: Timestamp,
    /// Which file it is, within its tree.
    pub id: (u64, u64),
}

/// Files under paths.
pub trait Tree {
    /// What is at a path, symbolic links not followed; `None` if nothing.
    fn look(&self, path: &Path) -> Result<Option<Facts>>;
    /// As [`Tree::look`], through symbolic links.
    fn look_through(&self, path: &Path) -> Result<Option<Facts>>;
    /// The names in a directory, sorted.
    fn names(&self, path: &Path) -> Result<Vec<walk::Name>>;
    /// Where a symbolic link points.
    fn target(&self, path: &Path) -> Result<Vec<u8>>;
    /// Opens a file for reading; a symbolic link is followed.
    fn source(&self, path: &Path) -> Result<Box<dyn Source>>;
    /// Starts a file that will be at `path`.
    fn sink(&self, path: &Path) -> Result<Box<dyn Sink>>;
    /// Makes a directory that only its owner can use yet.
    fn make_directory(&self, path: &Path) -> Result<()>;
    /// Makes a symbolic link, device, pipe or socket, in place of what may be there.
    fn make_special(&self, path: &Path, facts: &Facts, target: &[u8]) -> Result<()>;
    /// Sets mode, times and, where allowed, the owner of a directory.
    fn set_facts(&self, path: &Path, facts: &Facts) -> Result<()>;
    /// Removes what is there, with all below.
    fn remove_all(&self, path: &Path) -> Result<()>;
    /// A name for messages.
    fn show(&self, path: &Path) -> String;
    /// Which tree it is: two with the same answer have the same files.
    fn identity(&self) -> String;
}

/// A file being read.
pub trait Source {
    /// The next stretch of data from an offset on; `None` if only holes follow.
    fn data(&mut self, from: u64) -> Result<Option<Range<u64>>>;
    /// Reads; fewer bytes than asked for only at the end.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<usize>;
}

/// A file being made. Dropping it unfinished leaves nothing.
pub trait Sink {
    /// Writes all.
    fn write(&mut self, offset: u64, from: &[u8]) -> Result<()>;
    /// Gives it its size, attributes and name.
    fn finish(self: Box<Self>, size: u64, facts: &Facts) -> Result<()>;
}

/// Whether directories are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directories {
    /// With all below.
    Copied,
    /// Refused.
    Refused,
}

/// One copy: from a path of one tree to a path of another, or the same.
pub struct Copier<'a> {
    /// Where files come from.
    pub from: &'a dyn Tree,
    /// Where they go.
    pub to: &'a dyn Tree,
    /// What to do about directories.
    pub directories: Directories,
    /// Who is told how far it is.
    pub progress: &'a Progress,
}

impl Copier<'_> {
    /// Copies what is at `from` to exactly `to`. If that fails and nothing was at `to` before, nothing is there after.
    pub fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let facts = self.facts(from)?;
        if facts.kind == Kind::Directory && self.directories == Directories::Refused {
            let what = self.from.show(from);
            return Err(Failure::new(Exit::Usage, format!("{what} is a directory; copy it with -r")));
        }
        self.demand_apart(from, &facts, to)?;
        let before = self.to.look(to)?;
        let copied = self.any(from, &facts, to, 0);
        if copied.is_err() && before.is_none() {
            // The failure of the copy says more than one of the removal could.
            let _ = self.to.remove_all(to);
        }
        copied
    }

    /// The source itself: a symbolic link counts as what it leads to, unless trees are copied.
    fn facts(&self, from: &Path) -> Result<Facts> {
        let found = match self.directories {
            Directories::Refused => self.from.look_through(from)?,
            Directories::Copied => self.from.look(from)?,
        };
        found.ok_or_else(|| Failure::from(engine::FsError::NotFound)).context(self.from.show(from))
    }

    /// Refuses to copy a file onto itself and a directory into itself.
    fn demand_apart(&self, from: &Path, facts: &Facts, to: &Path) -> Result<()> {
        if self.from.identity() != self.to.identity() {
            return Ok(());
        }
        let same =
            |path: &Path| Ok::<bool, Failure>(self.to.look_through(path)?.is_some_and(|other| other.id == facts.id));
        let what = self.from.show(from);
        if same(to)? {
            return Err(Failure::new(Exit::Usage, format!("{what} and {} are the same file", self.to.show(to))));
        }
        if facts.kind == Kind::Directory {
            for upper in to.ancestors().skip(1) {
                if same(upper)? {
                    return Err(Failure::new(Exit::Usage, format!("{what} cannot be copied into itself")));
                }
            }
        }
        Ok(())
    }

    fn any(&self, from: &Path, facts: &Facts, to: &Path, depth: usize) -> Result<()> {
        match facts.kind {
            Kind::File => self.file(from, facts, to),
            Kind::Directory => self.directory(from, facts, to, depth),
            Kind::Symlink => {
                let target = self.from.target(from).context(self.from.show(from))?;
                self.to.make_special(to, facts, &target).context(self.to.show(to))
            }
            _ => self.to.make_special(to, facts, &[]).context(self.to.show(to)),
        }
    }

    fn directory(&self, from: &Path, facts: &Facts, to: &Path, depth: usize) -> Result<()> {
        if depth > walk::DEPTH_MAX {
            return Err(walk::too_deep(from));
        }
        match self.to.look_through(to)? {
            Some(there) if there.kind == Kind::Directory => {}
            Some(_) => return Err(Failure::from(engine::FsError::NotDirectory)).context(self.to.show(to)),
            None => self.to.make_directory(to).context(self.to.show(to))?,
        }
        for name in self.from.names(from).context(self.from.show(from))? {
            let (from, to) = (from.join(&name.name), to.join(&name.name));
            // A name that has gone since the directory was read is no failure of the copy.
            if let Some(facts) = self.from.look(&from)? {
                self.any(&from, &facts, &to, depth + 1)?;
            }
        }
        self.to.set_facts(to, facts).context(self.to.show(to))
    }

    fn file(&self, from: &Path, facts: &Facts, to: &Path) -> Result<()> {
        self.progress.file(&self.from.show(from));
        let mut source = self.from.source(from).context(self.from.show(from))?;
        let mut sink = self.to.sink(to).context(self.to.show(to))?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while let Some(data) = source.data(at).context(self.from.show(from))? {
            self.progress.bytes(data.start - at);
            at = data.start;
            while at < data.end {
                let want = (data.end - at).min(PIECE_BYTES as u64) as usize;
                let done = source.read(at, &mut piece[..want]).context(self.from.show(from))?;
                if done == 0 {
                    break;
                }
                sink.write(at, &piece[..done]).context(self.to.show(to))?;
                self.progress.bytes(done as u64);
                at += done as u64;
            }
            if at < data.end {
                break;
            }
        }
        self.progress.bytes(facts.size.saturating_sub(at));
        sink.finish(facts.size.max(at), facts).context(self.to.show(to))
    }
}

/// Bytes in the files at and below a path, holes included.
pub fn measure(tree: &dyn Tree, path: &Path, depth: usize) -> Result<u64> {
    let Some(facts) = tree.look(path)? else { return Ok(0) };
    match facts.kind {
        Kind::File => Ok(facts.size),
        Kind::Directory if depth <= walk::DEPTH_MAX => {
            let names = tree.names(path).context(tree.show(path))?;
            names.iter().try_fold(0, |sum, name| Ok(sum + measure(tree, &path.join(&name.name), depth + 1)?))
        }
        _ => Ok(0),
    }
}

/// The hidden name under which a file is made.
fn hidden_name(name: &std::ffi::OsStr) -> std::ffi::OsString {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // The name's start only: together they must fit in 255 bytes.
    let start: String = name.to_string_lossy().chars().take(40).collect();
    format!(".{start}.daxle-{}-{number}", std::process::id()).into()
}
