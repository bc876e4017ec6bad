//! `daxle rm`: removes files from a pool.

use std::path::Path;
use std::sync::Arc;

use crate::errors::{Context, Failure, Result};
use crate::exit::Exit;
use crate::location::{InPool, in_pool};
use crate::session::Session;
use crate::walk;
use engine::FsError;
use engine::fs::{Access, Fs, Node};
use engine::types::Kind;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POOL:/path
    #[arg(required = true, value_parser = in_pool())]
    places: Vec<InPool>,
    /// Remove directories and all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// What is not there is no error
    #[arg(short, long)]
    force: bool,
}

impl Args {
    /// Removes.
    pub fn run(&self) -> Result<Exit> {
        for place in &self.places {
            let session = Session::open(&place.pool, Access::ReadWrite)?;
            match self.remove(session.fs(), &place.path) {
                Err(failure) if self.force && failure.exit == Exit::NotFound => {}
                removed => removed.context(place)?,
            }
            session.close()?;
        }
        Ok(Exit::Done)
    }

    fn remove(&self, fs: &Arc<Fs>, path: &Path) -> Result<()> {
        if path.file_name().is_none() {
            return Err(Failure::new(Exit::Usage, "the root of a pool cannot be removed"));
        }
        let (dir, name) = walk::parent(fs, path)?;
        let node = fs.lookup(&dir, &name)?;
        match node.kind() {
            Kind::Directory if self.recursive => {
                empty(fs, &node, path, 0)?;
                drop(node);
                Ok(fs.rmdir(&dir, &name)?)
            }
            Kind::Directory => {
                Err(Failure::new(Exit::Other, format!("{}; with -r directories go too", FsError::IsDirectory)))
            }
            _ => Ok(fs.unlink(&dir, &name)?),
        }
    }
}

/// Removes all that is in a directory.
pub fn empty(fs: &Arc<Fs>, dir: &Node, path: &Path, depth: usize) -> Result<()> {
    if depth > walk::DEPTH_MAX {
        return Err(walk::too_deep(path));
    }
    for name in walk::names(fs, dir)? {
        let bytes = name.name.as_encoded_bytes();
        if name.kind == Kind::Directory {
            let child = fs.lookup(dir, bytes)?;
            empty(fs, &child, &path.join(&name.name), depth + 1)?;
            drop(child);
            fs.rmdir(dir, bytes)?;
        } else {
            fs.unlink(dir, bytes)?;
        }
    }
    Ok(())
}
