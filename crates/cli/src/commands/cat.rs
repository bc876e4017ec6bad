//! `daxle cat`: prints files of a pool.

use crate::errors::{Context, Failure, Result};
use crate::exit::Exit;
use crate::location::{InPool, in_pool};
use crate::session::Session;
use crate::{output, walk};
use engine::FsError;
use engine::fs::{Access, LastLink};
use engine::types::Kind;

const PIECE_BYTES: usize = 1 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POOL:/path
    #[arg(required = true, value_parser = in_pool())]
    places: Vec<InPool>,
}

impl Args {
    /// Prints.
    pub fn run(&self) -> Result<Exit> {
        for place in &self.places {
            let session = Session::open(&place.pool, Access::ReadOnly)?;
            print(&session, place)?;
            session.close()?;
        }
        Ok(Exit::Done)
    }
}

fn print(session: &Session, place: &InPool) -> Result<()> {
    let fs = session.fs();
    let node = walk::find(fs, &place.path, LastLink::Follow).context(place)?;
    match node.kind() {
        Kind::File => {}
        Kind::Directory => return Err(Failure::from(FsError::IsDirectory).about(place)),
        _ => return Err(Failure::new(Exit::Other, format!("{place}: not a regular file"))),
    }
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    loop {
        let done = fs.read(&node, offset, &mut piece).context(place)?;
        if done == 0 {
            return Ok(());
        }
        output::print_bytes(&piece[..done])?;
        offset += done as u64;
    }
}
