//! `daxle mv`: renames a file inside its pool, atomically.

use crate::errors::{Context, Failure, Result};
use crate::exit::Exit;
use crate::location::{InPool, in_pool};
use crate::session::Session;
use crate::walk;
use engine::fs::{Access, LastLink};
use engine::types::{Kind, RenameMode};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POOL:/path
    #[arg(value_parser = in_pool())]
    from: InPool,
    /// POOL:/path; a directory that is there takes the file in
    #[arg(value_parser = in_pool())]
    to: InPool,
    /// Fail if the new name is taken
    #[arg(short, long)]
    no_replace: bool,
    /// Swap the two
    #[arg(short = 'x', long, conflicts_with = "no_replace")]
    exchange: bool,
}

impl Args {
    /// Renames.
    pub fn run(&self) -> Result<Exit> {
        if self.from.pool != self.to.pool {
            let why = "a file moves only inside its pool; copy it with `daxle cp` and remove it with `daxle rm`";
            return Err(Failure::new(Exit::Usage, why));
        }
        let session = Session::open(&self.from.pool, Access::ReadWrite)?;
        self.rename(&session).context(format!("{} to {}", self.from, self.to))?;
        session.close()?;
        Ok(Exit::Done)
    }

    fn rename(&self, session: &Session) -> Result<()> {
        let fs = session.fs();
        let (from, name) = walk::parent(fs, &self.from.path)?;
        let mode = match (self.exchange, self.no_replace) {
            (true, _) => RenameMode::Exchange,
            (false, true) => RenameMode::NoReplace,
            (false, false) => RenameMode::Replace,
        };
        let into = match walk::look(fs, &self.to.path, LastLink::Follow)? {
            Some(node) if node.kind() == Kind::Directory && mode != RenameMode::Exchange => Some(node),
            _ => None,
        };
        let (to, to_name) = match into {
            Some(dir) => (dir, name.clone()),
            None => walk::parent(fs, &self.to.path)?,
        };
        Ok(fs.rename(&from, &name, &to, &to_name, mode)?)
    }
}
