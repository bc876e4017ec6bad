//! Listing a directory.
//!
//! The position in a directory is the key of the next entry: a hash of the name, so it does not move when other names come
//! and go. A name that is there during the whole listing is shown exactly once; one that comes or goes may be shown or not.
//! "." and ".." have the cookies 0 and 1 before them, since entries' keys begin at 128.

use std::ops::ControlFlow;

use super::inode::Node;
use super::{Fs, record};
use crate::error::FsError;
use crate::meta::dir;
use crate::types::{DirEntry, Kind};

const COOKIE_DOT: u64 = 0;
const COOKIE_DOT_DOT: u64 = 1;
const COOKIE_ENTRIES: u64 = 2;

impl Fs {
    /// Shows the entries from a cookie on (0: the beginning) until the closure breaks. The entry at which it breaks is
    /// not taken: go on with the cookie of the last one that was.
    ///
    /// The closure runs under the directory's locks and must call nothing of the file system. Locks: Inode and `ExtentMap`
    /// (shared).
    ///
    /// # Errors
    /// `NotDirectory`; `NotFound` if the directory was removed; damaged metadata.
    pub fn read_dir(
        &self,
        dir: &Node,
        from_cookie: u64,
        each: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        self.demand_own(dir)?;
        dir.inode.demand_directory()?;
        let mut held = order::unlocked();
        let (_dir, mut held) = dir.inode.lock.read(&mut held);
        let (rec, _held) = dir.inode.map.read(&mut held);
        if record::nlink(&rec) == 0 {
            return Err(FsError::NotFound);
        }
        if self.access == super::Access::ReadWrite {
            dir.inode.times.read(&rec, self.coarse_ns.load(order::sync::atomic::Ordering::SeqCst), || self.now());
        }
        let dots = [
            DirEntry { cookie: COOKIE_DOT + 1, ino: dir.ino(), kind: Kind::Directory, name: b"." },
            DirEntry { cookie: COOKIE_DOT_DOT + 1, ino: record::parent(&rec), kind: Kind::Directory, name: b".." },
        ];
        for dot in dots.iter().filter(|dot| dot.cookie > from_cookie) {
            if each(dot).is_break() {
                return Ok(());
            }
        }
        let mut wrong = Ok(());
        dir::iterate(&*self.meta, &rec, from_cookie.max(COOKIE_ENTRIES), &mut |found, name| {
            let Some(kind) = Kind::from_entry_type(found.kind) else {
                wrong = Err(FsError::Inconsistent { ino: dir.ino().0, why: "an entry with an unknown kind" });
                return ControlFlow::Break(());
            };
            each(&DirEntry { cookie: found.key + 1, ino: found.ino, kind, name })
        })?;
        wrong
    }
}
