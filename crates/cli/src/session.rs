//! A pool for the time of one command: made or opened, looked at, and closed again whatever happens.
//!
//! What a file is (a pool, a newer one, a damaged one, none at all) is found out here, before the engine sees it: the
//! magic number, the checksum and the version of the superblock keep their places in every version of the format.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::errors::{Context, Failure, Result};
use crate::exit::Exit;
use crate::mounts;
use engine::fs::{Access, Fs};
use engine::types::MakeOptions;
use format::{BLOCK_SIZE, Block, Superblock};
use pool::{CreateOptions, FilePool, Pool, PoolError, Preallocate};

/// How long to wait for a server that has been unmounted and is closing its pool.
const CLOSING_WAIT_MAX: Duration = Duration::from_secs(10);

/// An open pool. Dropping closes it too, but then nobody hears of a failure.
#[derive(Debug)]
pub struct Session {
    fs: Arc<Fs>,
    path: PathBuf,
    open: bool,
}

impl Session {
    /// Opens the pool at `path`.
    pub fn open(path: &Path, access: Access) -> Result<Session> {
        let memory = open_memory(path, access)?;
        Session::over(memory, path, access)
    }

    fn over(memory: Arc<dyn Pool>, path: &Path, access: Access) -> Result<Session> {
        let fs = Fs::open(memory, access).context(path.display())?;
        Ok(Session { fs, path: path.to_owned(), open: true })
    }

    /// The file system.
    pub fn fs(&self) -> &Arc<Fs> {
        &self.fs
    }

    /// Where the pool is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes everything durable and marks the pool as clean.
    pub fn close(mut self) -> Result<()> {
        self.open = false;
        close(&self.fs).context(self.path.display())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.open
            && let Err(error) = close(&self.fs)
        {
            tracing::warn!(pool = %self.path.display(), %error, "closing failed; the next open recovers");
        }
    }
}

fn close(fs: &Arc<Fs>) -> std::result::Result<(), engine::FsError> {
    if fs.access() == Access::ReadWrite { fs.close() } else { Ok(()) }
}

/// What a new pool is to be.
#[derive(Debug, Clone)]
pub struct NewPool {
    /// Length in bytes.
    pub len: u64,
    /// A name for people.
    pub label: String,
    /// Whether its space is taken at once.
    pub preallocate: Preallocate,
}

impl NewPool {
    /// A pool of this length, without a label, whose space is taken when it is needed.
    pub fn of_len(len: u64) -> NewPool {
        NewPool { len, label: String::new(), preallocate: Preallocate::No }
    }

    /// Makes it at `path` and opens it. On a failure nothing is left of it.
    pub fn create(&self, path: &Path) -> Result<Session> {
        let before = path.symlink_metadata().is_ok();
        let made = self.make(path);
        if made.is_err() && !before {
            // Ours, or not there: a file of somebody else's was there before.
            let _ = std::fs::remove_file(path);
        }
        made
    }

    fn make(&self, path: &Path) -> Result<Session> {
        if self.label.len() > format::limits::LABEL_BYTES_MAX || self.label.contains('\0') {
            let most = format::limits::LABEL_BYTES_MAX;
            return Err(Failure::new(Exit::Usage, format!("the label is too long: at most {most} bytes")));
        }
        let memory = FilePool::create(path, self.len, CreateOptions { preallocate: self.preallocate })?;
        let options = MakeOptions {
            label: self.label.clone(),
            root_uid: rustix::process::geteuid().as_raw(),
            root_gid: rustix::process::getegid().as_raw(),
            ..MakeOptions::default()
        };
        Fs::make(&memory, &options).context(path.display())?;
        Session::over(Arc::new(memory), path, Access::ReadWrite)
    }
}

/// Opens the memory of a pool and makes sure that it holds one that this program can open.
///
/// A pool whose server was unmounted a moment ago is waited for.
pub fn open_memory(path: &Path, access: Access) -> Result<Arc<dyn Pool>> {
    let how = match access {
        Access::ReadWrite => pool::Access::ReadWrite,
        Access::ReadOnly => pool::Access::ReadOnly,
    };
    let until = Instant::now() + CLOSING_WAIT_MAX;
    let memory = loop {
        match FilePool::open(path, how) {
            Err(PoolError::InUse { comm, .. }) if comm == "daxle" && is_closing(path) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(unknown_or(path, &error)),
            Ok(memory) => break memory,
        }
    };
    superblock(&memory, path)?;
    Ok(Arc::new(memory))
}

/// Opens the memory of a pool to look at it or to repair it, damaged or not: an error if it is no pool at all, or a newer
/// one.
pub fn open_to_check(path: &Path, access: pool::Access) -> Result<FilePool> {
    let memory = FilePool::open(path, access).map_err(|error| unknown_or(path, &error))?;
    match superblock(&memory, path) {
        Err(failure) if matches!(failure.exit, Exit::NoPool | Exit::NewerFormat) => Err(failure),
        _ => Ok(memory),
    }
}

/// A server has the pool although it is mounted nowhere any more: it will let go soon.
fn is_closing(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|pool| mounts::was_unmounted(&pool))
}

/// A file that is too short for a pool, or of an odd length, is most likely none.
fn unknown_or(path: &Path, error: &PoolError) -> Failure {
    let failure = Failure::from(error.clone());
    match error {
        PoolError::TooSmall(_) => no_pool(path, "it is shorter than the smallest pool"),
        PoolError::Ragged { .. } if !begins_with_magic(path) => no_pool(path, "its first bytes are not those of one"),
        _ => failure,
    }
}

fn begins_with_magic(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 8];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC
}

const MAGIC: [u8; 8] = *b"DAXLE\0FS";

fn no_pool(path: &Path, why: &str) -> Failure {
    let path = path.display();
    Failure::new(Exit::NoPool, format!("{path} is no Daxle pool: {why}; make one with `daxle create POOL --size 1G`"))
}

/// Reads and checks the superblock.
pub fn superblock(memory: &dyn Pool, path: &Path) -> Result<Superblock> {
    let read = |at: u64| {
        let mut bytes = [0; BLOCK_SIZE];
        memory.read(at, &mut bytes);
        *Superblock::from_bytes(&bytes)
    };
    let (first, backup) = (read(0), read(memory.len() - BLOCK_SIZE as u64));
    if first.magic != MAGIC && backup.magic != MAGIC {
        return Err(no_pool(path, "its first bytes are not those of one"));
    }
    let (version, known) = (first.version.get(), format::features::VERSION);
    let unknown = first.incompat.get() & !format::features::INCOMPAT_KNOWN;
    if first.magic == MAGIC && (version > known || unknown != 0) {
        let what = if version > known {
            format!("format version {version}, and this program knows {known}")
        } else {
            format!("features {unknown:#x} that this program does not know")
        };
        let path = path.display();
        return Err(Failure::new(
            Exit::NewerFormat,
            format!("{path} was made by a newer Daxle: it has {what}; use a newer program"),
        ));
    }
    first.verify(Block(0)).map_err(engine::FsError::from).context(path.display())?;
    if first.pool_len.get() != memory.len() {
        let (was, is) = (first.pool_len.get(), memory.len());
        let path = path.display();
        return Err(Failure::new(
            Exit::Wrong,
            format!("{path} was {was} bytes long when it was made and is {is} now: it was cut or extended"),
        ));
    }
    Ok(first)
}
