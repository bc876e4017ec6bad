//! `daxle mount`: serves a pool's files in a directory until it is unmounted.
//!
//! In the foreground the command ends when somebody unmounts, or unmounts by itself on Ctrl-C or SIGTERM. With
//! `--background` it starts itself a second time as the server (`server`), and returns when the mount is there.

mod options;
mod server;

use std::path::PathBuf;

use crate::commands::info::{PoolInfo, describe};
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::session::{NewPool, Session};
use crate::{mounts, output, size};
use engine::fs::Access;
use mount::{MountOptions, Mounted};
use options::Choices;
use sys::signals::EndRequests;

/// How often the foreground looks whether it is still mounted.
const LOOK_MS: u32 = 250;
/// How long programs that use the mount may take to leave after it was asked to end.
const LEAVE_LOOKS_MAX: u32 = 40;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pool
    pool: PathBuf,
    /// The directory to show it in; it must exist
    dir: PathBuf,
    /// Make the pool first, with this size; it must not exist
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    create: Option<u64>,
    /// Return when the mount is there, and go on serving it
    #[arg(long, short)]
    background: bool,
    /// Options, separated by commas: ro, allow_other, allow_root, auto_unmount, fsname=NAME, threads=N, dev, suid;
    /// those of mount(8) that say what holds anyway are accepted
    #[arg(short, value_name = "OPTIONS", value_delimiter = ',')]
    options: Vec<String>,
    /// The second self of --background
    #[arg(long, hide = true)]
    served_for_parent: bool,
}

impl Args {
    /// Mounts and serves.
    pub fn run(&self) -> Result<Exit> {
        let choices = Choices::parse(&self.options)?;
        if self.served_for_parent {
            return server::serve(self, &choices);
        }
        if self.background {
            return server::start();
        }
        let requests = take_signals()?;
        let (session, mut mounted, info) = self.mount(&choices)?;
        output::print(&format!("{}\n", mounted_text(&mounted, &info)))?;
        serve_until_end(&mut mounted, &requests)?;
        drop(mounted);
        session.close()?;
        Ok(Exit::Done)
    }

    /// Opens or makes the pool and mounts it. If that fails, a pool that was made for it is removed.
    fn mount(&self, choices: &Choices) -> Result<(Session, Mounted, PoolInfo)> {
        let session = match self.create {
            Some(len) => {
                demand_new(&self.pool)?;
                NewPool::of_len(len).create(&self.pool)?
            }
            None => Session::open(&self.pool, choices.access)?,
        };
        match self.mount_session(&session, choices) {
            Ok((mounted, info)) => Ok((session, mounted, info)),
            Err(failure) => {
                drop(session);
                if self.create.is_some() {
                    let _ = std::fs::remove_file(&self.pool);
                }
                Err(failure)
            }
        }
    }

    fn mount_session(&self, session: &Session, choices: &Choices) -> Result<(Mounted, PoolInfo)> {
        let info = PoolInfo::of(session)?;
        let name = choices.name.clone().unwrap_or_else(|| mounts::source_of(&self.pool));
        let options = MountOptions { name: Some(name), ..choices.mount.clone() };
        let mounted = mount::mount(session.fs().clone(), &self.dir, &options)?;
        Ok((mounted, info))
    }
}

/// `--create` never takes a file that is there, not even an empty one: a failure would have to put it back.
fn demand_new(path: &std::path::Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        let path = path.display();
        return Err(Failure::new(
            Exit::Exists,
            format!("{path} exists; mount it without --create, or choose another name"),
        ));
    }
    Ok(())
}

fn mounted_text(mounted: &Mounted, info: &PoolInfo) -> String {
    let point = mounted.point().display();
    format!("mounted {}\n     at {point}; end it with `daxle umount {point}` or Ctrl-C", describe(info))
}

fn take_signals() -> Result<EndRequests> {
    EndRequests::take_over().map_err(|errno| Failure::new(Exit::Other, format!("cannot take signals: {errno}")))
}

/// Serves until somebody unmounts or asks this process to end. Asked so, it unmounts; if programs are still in, the mount
/// leaves the tree at once, and they have a few seconds to close their files.
fn serve_until_end(mounted: &mut Mounted, requests: &EndRequests) -> Result<()> {
    let wait = |ms| requests.wait(ms).map_err(|errno| Failure::new(Exit::Other, format!("cannot wait: {errno}")));
    while mounted.is_served() {
        if wait(LOOK_MS)? {
            if mounted.unmount().is_ok() {
                return Ok(());
            }
            tracing::warn!(
                "programs still use the mount; it is out of the tree and ends when they close their files, \
                 in ten seconds at the latest; a second signal ends it now"
            );
            mounted.detach()?;
            let mut looks = 0;
            while mounted.is_served() && looks < LEAVE_LOOKS_MAX && !wait(LOOK_MS)? {
                looks += 1;
            }
            mounted.abort();
        }
    }
    mounted.wait();
    Ok(())
}

/// What `choices.access` is without `-o ro`.
const ACCESS_USUAL: Access = Access::ReadWrite;
