//! A FUSE file system that serves one file from memory and does nothing else: what a mount in user space costs at least.
//!
//! It is the comparison for the mount's figures: the same library below (fuser), the same kind of session, and a read
//! that is one slice of a vector.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen,
    Request, SessionACL,
};

/// Name of the file.
pub const FILE_NAME: &str = "file";
const TTL: Duration = Duration::from_secs(3600);
const FILE: INodeNo = INodeNo(2);
const REQUEST_BYTES_MAX: u32 = 1 << 20;

/// The file system.
#[derive(Debug)]
struct MemoryFs {
    content: Vec<u8>,
}

impl MemoryFs {
    fn attr(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size, nlink) = match ino {
            INodeNo::ROOT => (FileType::Directory, 0o755, 0, 2),
            FILE => (FileType::RegularFile, 0o444, self.content.len() as u64, 1),
            _ => return None,
        };
        Some(FileAttr {
            ino,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        })
    }
}

impl Filesystem for MemoryFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if let Err(nearest) = config.set_max_readahead(REQUEST_BYTES_MAX) {
            let _ = config.set_max_readahead(nearest);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attr(FILE) {
            Some(attr) if parent == INodeNo::ROOT && name == FILE_NAME => reply.entry(&TTL, &attr, Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        let end = start.saturating_add(size as usize).min(self.content.len());
        reply.data(&self.content[start..end]);
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = [(INodeNo::ROOT, FileType::Directory, "."), (FILE, FileType::RegularFile, FILE_NAME)];
        for (index, (ino, kind, name)) in entries.into_iter().enumerate().skip(offset as usize) {
            if reply.add(ino, index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

/// The mounted file system. Dropping it unmounts.
#[derive(Debug)]
pub struct MemoryMount {
    session: Option<BackgroundSession>,
    point: PathBuf,
}

impl MemoryMount {
    /// Mounts a file system whose one file has this content.
    ///
    /// # Errors
    /// What mounting can fail of: no /dev/fuse, no permission.
    pub fn new(dir: &Path, content: Vec<u8>) -> io::Result<MemoryMount> {
        let mut config = Config::default();
        config.acl = SessionACL::Owner;
        config.clone_fd = true;
        // As many as the real mount has.
        config.n_threads = Some(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16));
        config.mount_options = vec![MountOption::FSName("memory_fs".to_owned()), MountOption::RO];
        let session = fuser::spawn_mount(MemoryFs { content }, dir, &config)?;
        Ok(MemoryMount { session: Some(session), point: dir.to_owned() })
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.point.join(FILE_NAME)
    }
}

impl Drop for MemoryMount {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // If somebody is in, the mount goes when he leaves; nothing else can be done here.
            let _ = session.umount_and_join();
        }
    }
}
