//! `daxle mkdir`: makes directories in a pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::errors::{Context, Failure, Result};
use crate::exit::Exit;
use crate::location::{InPool, in_pool};
use crate::session::Session;
use crate::walk;
use engine::FsError;
use engine::fs::{Access, Fs, LastLink};
use engine::types::{Kind, NewKind, NewNode};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POOL:/path
    #[arg(required = true, value_parser = in_pool())]
    places: Vec<InPool>,
    /// Make missing parents too; a directory that is there already is no error
    #[arg(short, long)]
    parents: bool,
    /// Permission bits, octal
    #[arg(short, long, default_value = "755", value_parser = parse_mode)]
    mode: u32,
}

/// Reads octal permission bits.
fn parse_mode(text: &str) -> std::result::Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("`{text}` is no mode; write octal digits, such as 755"))
}

impl Args {
    /// Makes them.
    pub fn run(&self) -> Result<Exit> {
        for place in &self.places {
            let session = Session::open(&place.pool, Access::ReadWrite)?;
            let made = if self.parents {
                self.make_all(session.fs(), &place.path)
            } else {
                self.make(session.fs(), &place.path)
            };
            made.context(place)?;
            session.close()?;
        }
        Ok(Exit::Done)
    }

    fn make(&self, fs: &Arc<Fs>, path: &Path) -> Result<()> {
        let (dir, name) = walk::parent(fs, path)?;
        let new = NewNode {
            kind: NewKind::Directory,
            mode: self.mode,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        fs.create(&dir, &name, &new)?;
        Ok(())
    }

    /// Makes what is missing, from the root down.
    fn make_all(&self, fs: &Arc<Fs>, path: &Path) -> Result<()> {
        let mut upper: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
        upper.reverse();
        for path in upper {
            match walk::look(fs, &path, LastLink::Follow)? {
                None => self.make(fs, &path)?,
                Some(node) if node.kind() == Kind::Directory => {}
                Some(_) => return Err(Failure::from(FsError::NotDirectory).about(path.display())),
            }
        }
        Ok(())
    }
}
