//! `daxle cp`: copies files into, out of, between and inside pools.

use std::path::{Path, PathBuf};

use crate::copy::{Copier, Directories, HostTree, PoolTree, Progress, Tree, measure};
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::location::{Location, anywhere};
use crate::session::Session;
use engine::fs::Access;
use engine::types::Kind;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to copy, and at last where to: host paths or POOL:/path
    #[arg(required = true, num_args = 2.., value_names = ["FROM", "TO"], value_parser = anywhere())]
    places: Vec<Location>,
    /// Copy directories, with all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    /// Copies. Pools are closed, and so synced, before the command ends.
    pub fn run(&self) -> Result<Exit> {
        let Some((to, from)) = self.places.split_last() else {
            return Err(Failure::new(Exit::Usage, "say what to copy and where to"));
        };
        let pools = Pools::open(from, to)?;
        let copied = self.copy_all(&pools, from, to);
        pools.close().and(copied)?;
        Ok(Exit::Done)
    }

    fn copy_all(&self, pools: &Pools, from: &[Location], to: &Location) -> Result<()> {
        let progress = self.progress(pools, from)?;
        let (target, to_path) = pools.tree(to)?;
        let into = target.look_through(&to_path)?.is_some_and(|there| there.kind == Kind::Directory);
        if from.len() > 1 && !into {
            return Err(Failure::new(Exit::Usage, format!("{to} is no directory; only one file can be copied to it")));
        }
        let directories = if self.recursive { Directories::Copied } else { Directories::Refused };
        for place in from {
            let (source, path) = pools.tree(place)?;
            let copier = Copier { from: &*source, to: &*target, directories, progress: &progress };
            let to = match path.file_name() {
                Some(name) if into => to_path.join(name),
                // The root of a pool has no name: its content goes into the target.
                _ => to_path.clone(),
            };
            copier.copy(&path, &to)?;
        }
        Ok(())
    }

    fn progress(&self, pools: &Pools, from: &[Location]) -> Result<Progress> {
        if self.quiet || !Progress::is_shown() {
            return Ok(Progress::hidden());
        }
        let mut bytes = 0;
        for place in from {
            let (tree, path) = pools.tree(place)?;
            bytes += measure(&*tree, &path, 0)?;
        }
        Ok(Progress::of_bytes(bytes))
    }
}

/// The pools of one command, each opened once.
struct Pools(Vec<(PathBuf, Session)>);

impl Pools {
    fn open(from: &[Location], to: &Location) -> Result<Pools> {
        let mut pools = Pools(Vec::new());
        // The target first: if it is a source too, it must be open for writing.
        pools.take(to, Access::ReadWrite)?;
        for place in from {
            pools.take(place, Access::ReadOnly)?;
        }
        Ok(pools)
    }

    fn take(&mut self, place: &Location, access: Access) -> Result<()> {
        if let Location::Pool(place) = place {
            let path = canonical(&place.pool);
            if !self.0.iter().any(|(other, _)| *other == path) {
                self.0.push((path, Session::open(&place.pool, access)?));
            }
        }
        Ok(())
    }

    fn tree(&self, place: &Location) -> Result<(Box<dyn Tree>, PathBuf)> {
        match place {
            Location::Host(path) => Ok((Box::new(HostTree), path.clone())),
            Location::Pool(place) => {
                let path = canonical(&place.pool);
                let found = self.0.iter().find(|(other, _)| *other == path);
                let (_, session) =
                    found.ok_or_else(|| Failure::new(Exit::Other, "a pool was moved while it was in use"))?;
                Ok((Box::new(PoolTree::new(session.fs().clone(), place.pool.clone())), place.path.clone()))
            }
        }
    }

    fn close(self) -> Result<()> {
        self.0.into_iter().try_for_each(|(_, session)| session.close())
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
