//! `daxle umount`: ends a mount, and returns when its pool is free again.
//!
//! The kernel's call returns before the server has closed its pool, and a program that mounts again at once would find
//! it in use; so this waits for the server. A server that does not answer cannot hold this command: it gives up after
//! a while and tells how to cut the connection.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::mounts::{self, FuseMount};
use pool::{FilePool, PoolError};

/// How long the kernel's call may take: it writes back what programs stored.
const CALL_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long the server may take to close its pool.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory
    dir: PathBuf,
}

impl Args {
    /// Unmounts.
    pub fn run(&self) -> Result<Exit> {
        let before = mounts::at(&self.dir);
        let (tell, hear) = mpsc::channel();
        let dir = self.dir.clone();
        let call = move || {
            // Nobody hears it if we gave up waiting; then it does not matter either.
            let _ = tell.send(mount::unmount_path(&dir));
        };
        thread::Builder::new().spawn(call)?;
        match hear.recv_timeout(CALL_WAIT_MAX) {
            Ok(done) => done?,
            Err(_) => return Err(hangs(&self.dir, before.as_ref())),
        }
        if let Some(mount) = before {
            wait_until_free(&mount.source)?;
        }
        Ok(Exit::Done)
    }
}

fn hangs(dir: &Path, mount: Option<&FuseMount>) -> Failure {
    let dir = dir.display();
    let cut = mount
        .map_or(String::new(), |mount| format!("echo 1 > /sys/fs/fuse/connections/{}/abort, then ", mount.connection));
    let text = format!(
        "the server of {dir} does not answer; what programs wrote may be lost when it is cut off: {cut}umount -l {dir} \
         (or `fusermount3 -uz {dir}`)"
    );
    Failure::new(Exit::InUse, text)
}

/// Waits until no server holds the pool. A source that is no file of ours is nothing to wait for.
fn wait_until_free(pool: &Path) -> Result<()> {
    let until = Instant::now() + CLOSE_WAIT_MAX;
    loop {
        match FilePool::open(pool, pool::Access::ReadOnly) {
            Err(PoolError::InUse { pid, .. }) if mounts::was_unmounted(pool) => {
                if Instant::now() > until {
                    let server = pid.map_or("its server".to_owned(), |pid| format!("its server, process {pid},"));
                    let pool = pool.display();
                    let text = format!("unmounted, but {server} still has {pool}; end it, and the next mount recovers");
                    return Err(Failure::new(Exit::InUse, text));
                }
                thread::sleep(Duration::from_millis(10));
            }
            _ => return Ok(()),
        }
    }
}
