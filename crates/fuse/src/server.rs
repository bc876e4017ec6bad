//! Requests of the kernel, one method each.
//!
//! Every method is the same three steps: find the node, ask the engine, reply. Results travel as `Result<_, Errno>`, so
//! that an error is replied in one place. What Linux itself checks before it asks us (permissions, by
//! `default_permissions`; the set-user-id rules on write, chown and truncate; name lengths; file kinds) is not checked again.

use crate::convert::{errno, fallocate, file_attr, no_entry, rename_mode, seek, time, timestamp};
use crate::handles::{Handles, OpenFile};
use crate::listener::{ChangeListener, Listener};
use crate::nodes::Nodes;
use crate::options::Caching;
use engine::FsError;
use engine::fs::{Fs, Node};
use engine::types::{Ino, Kind, NewKind, NewNode, SetAttr, SyncKind};
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Largest read or write request, in bytes: what the kernel allows without a change of its limits.
const REQUEST_BYTES_MAX: u32 = 1 << 20;
/// Requests of the kernel's own making (readahead) under way at once.
const BACKGROUND_MAX: u16 = 64;
/// Bytes that one request to copy may move, so that a worker is not away for long. The kernel asks again for the rest.
const COPY_BYTES_MAX: u64 = 16 << 20;
/// "Until told otherwise": a year.
const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

thread_local! {
    /// The bytes of a read on their way to the kernel. One for each worker, so that reads do not allocate.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The served file system.
pub(crate) struct Server {
    fs: Arc<Fs>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) listener: Arc<Listener>,
    handles: Handles,
    caching: Caching,
}

/// The engine during one call. A panic in it leaves its locks in a state that nobody knows, and requests that want them
/// would wait for ever; so the connection is cut, and every program gets an error instead.
pub(crate) struct Engine<'a>(&'a Server);

impl Deref for Engine<'_> {
    type Target = Arc<Fs>;

    fn deref(&self) -> &Arc<Fs> {
        &self.0.fs
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the engine panicked: the mount is cut off");
            self.0.listener.cut();
        }
    }
}

type Reply<T> = Result<T, Errno>;

#[allow(clippy::needless_pass_by_value)] // the shape that map_err takes
fn failed(error: FsError) -> Errno {
    errno(&error)
}

/// Runs `work` on a buffer of `len` bytes that this thread keeps for the next time.
fn with_buffer<R>(len: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        work(&mut buffer[..len])
    })
}

impl Server {
    pub(crate) fn new(fs: Arc<Fs>, nodes: Arc<Nodes>, listener: Arc<Listener>, caching: Caching) -> Server {
        Server { fs, nodes, listener, handles: Handles::new(), caching }
    }

    /// The engine, watched: see [`Engine`].
    pub(crate) fn engine(&self) -> Engine<'_> {
        Engine(self)
    }

    /// How long the kernel may keep a reply whose making began at `stamp`.
    pub(crate) fn ttl(&self, stamp: u64) -> Duration {
        match self.caching {
            Caching::Kept if self.listener.stamp() == stamp => KEPT,
            Caching::Kept | Caching::Off => Duration::ZERO,
        }
    }

    fn node(&self, number: INodeNo) -> Reply<Node> {
        self.nodes.get(number).ok_or(Errno::ESTALE)
    }

    fn file(&self, handle: FileHandle) -> Reply<Arc<OpenFile>> {
        self.handles.get(handle).ok_or(Errno::EBADF)
    }

    /// Counts the node as told and gives its attributes. On an error it is not counted.
    fn tell(&self, node: &Node) -> Reply<(FileAttr, Generation)> {
        let number = self.nodes.number(node.ino());
        self.nodes.told(node);
        match self.engine().attr(node) {
            Ok(attr) => Ok((file_attr(number, &attr), Generation(u64::from(node.generation())))),
            Err(error) => {
                self.nodes.forget(number, 1);
                Err(failed(error))
            }
        }
    }

    fn reply_entry(&self, reply: ReplyEntry, make: impl FnOnce() -> Reply<Node>) {
        let stamp = self.listener.stamp();
        match make().and_then(|node| self.tell(&node)) {
            Ok((attr, generation)) => reply.entry(&self.ttl(stamp), &attr, generation),
            Err(error) => reply.error(error),
        }
    }

    /// Makes a node in a directory. As on other Linux file systems a set-group-id directory passes its group on, and
    /// to directories the bit too.
    fn make(&self, request: &Request, parent: INodeNo, name: &OsStr, kind: NewKind<'_>, mode: u32) -> Reply<Node> {
        const SET_GROUP_ID: u32 = 0o2000;
        let dir = self.node(parent)?;
        let parent = self.engine().attr(&dir).map_err(failed)?;
        let (mut gid, mut mode) = (request.gid(), mode & 0o7777);
        if parent.mode & SET_GROUP_ID != 0 {
            gid = parent.gid;
            if kind.kind() == Kind::Directory {
                mode |= SET_GROUP_ID;
            }
        }
        let new = NewNode { kind, mode, uid: request.uid(), gid };
        self.engine().create(&dir, name.as_bytes(), &new).map_err(failed)
    }

    /// Opens a file: with the kernel's cache, or past it while the file is mapped directly.
    ///
    /// A close asks us nothing: writes are in the file when they are acknowledged, and stores through a mapping come when
    /// it is unmapped. So a process that serves a mount and has files open there can end without waiting for itself.
    fn open_file(&self, node: Node) -> Reply<(FileHandle, FopenFlags)> {
        let mut flags = FopenFlags::FOPEN_NOFLUSH;
        let view = match self.engine().cached_view(&node) {
            Ok(view) => {
                flags.set(FopenFlags::FOPEN_KEEP_CACHE, self.caching == Caching::Kept && !node.was_mapped());
                Some(view)
            }
            Err(FsError::Busy(_)) => {
                flags |= FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
                None
            }
            Err(error) => return Err(failed(error)),
        };
        Ok((self.handles.insert(OpenFile::new(node, view)), flags))
    }

    fn copy(&self, from: &Node, mut at: u64, to: &Node, mut to_at: u64, len: u64) -> Reply<u32> {
        let mut left = len.min(COPY_BYTES_MAX);
        let mut done: u64 = 0;
        while left > 0 {
            let piece = left.min(u64::from(REQUEST_BYTES_MAX)) as usize;
            let moved = with_buffer(piece, |buffer| {
                let n = self.engine().read(from, at, buffer)?;
                if n == 0 { Ok(0) } else { self.engine().write(to, to_at, &buffer[..n]) }
            });
            match moved {
                Ok(0) => break,
                Ok(n) => {
                    let n = n as u64;
                    (at, to_at, left, done) = (at + n, to_at + n, left - n, done + n);
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(done as u32)
    }
}

fn empty(reply: ReplyEmpty, result: Reply<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn sync_kind(data_only: bool) -> SyncKind {
    if data_only { SyncKind::Data } else { SyncKind::All }
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            // Pages go when we say so, not when a time or a size has changed: our own writes change both.
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            // Lookups of "." by number, for handles that outlive the kernel's memory of a node.
            InitFlags::FUSE_EXPORT_SUPPORT,
        ];
        for capability in wanted {
            if config.add_capabilities(capability).is_err() {
                tracing::debug!(?capability, "the kernel does not offer it");
            }
        }
        if let Err(nearest) = config.set_max_write(REQUEST_BYTES_MAX) {
            let _ = config.set_max_write(nearest);
        }
        if let Err(nearest) = config.set_max_readahead(REQUEST_BYTES_MAX) {
            let _ = config.set_max_readahead(nearest);
        }
        let _ = config.set_max_background(BACKGROUND_MAX);
        Ok(())
    }

    fn destroy(&mut self) {
        self.handles.clear();
        self.nodes.clear();
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let stamp = self.listener.stamp();
        let name = name.as_bytes();
        let found = match self.nodes.get(parent) {
            Some(dir) => self.engine().lookup(&dir, name),
            // A handle from before the kernel forgot the node. The kernel compares the generation itself.
            None if name == b"." => self.engine().node(Ino(parent.0)),
            None => Err(FsError::Stale),
        };
        match found {
            Ok(node) => self.reply_entry(reply, || Ok(node)),
            Err(FsError::NotFound) => match self.ttl(stamp) {
                Duration::ZERO => reply.error(Errno::ENOENT),
                ttl => reply.entry(&ttl, &no_entry(), Generation(0)),
            },
            Err(error) => reply.error(failed(error)),
        }
    }

    // A batch comes as single calls: its type cannot be named outside of the protocol's library.
    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        // Forgetting an unlinked file frees it.
        let _watched = self.engine();
        self.nodes.forget(ino, nlookup);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let stamp = self.listener.stamp();
        match self.node(ino).and_then(|node| self.engine().attr(&node).map_err(failed)) {
            Ok(attr) => reply.attr(&self.ttl(stamp), &file_attr(ino, &attr)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let stamp = self.listener.stamp();
        let set = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(time),
            mtime: mtime.map(time),
            ctime: ctime.map(timestamp),
        };
        match self.node(ino).and_then(|node| self.engine().set_attr(&node, &set).map_err(failed)) {
            Ok(attr) => reply.attr(&self.ttl(stamp), &file_attr(ino, &attr)),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.node(ino).and_then(|node| self.engine().read_link(&node).map_err(failed)) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let kind = match Kind::from_mode(mode) {
            Some(Kind::File) => NewKind::File,
            Some(Kind::Fifo) => NewKind::Fifo,
            Some(Kind::Socket) => NewKind::Socket,
            Some(Kind::CharDevice) => NewKind::CharDevice(rdev),
            Some(Kind::BlockDevice) => NewKind::BlockDevice(rdev),
            Some(Kind::Directory | Kind::Symlink) | None => return reply.error(Errno::EINVAL),
        };
        self.reply_entry(reply, || self.make(request, parent, name, kind, mode));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        self.reply_entry(reply, || self.make(request, parent, name, NewKind::Directory, mode));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let kind = NewKind::Symlink(target.as_os_str().as_bytes());
        self.reply_entry(reply, || self.make(request, parent, name, kind, 0o777));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.node(parent).and_then(|dir| self.engine().unlink(&dir, name.as_bytes()).map_err(failed)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.node(parent).and_then(|dir| self.engine().rmdir(&dir, name.as_bytes()).map_err(failed)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            let mode = rename_mode(flags).ok_or(Errno::EINVAL)?;
            let (from, to) = (self.node(parent)?, self.node(newparent)?);
            self.engine().rename(&from, name.as_bytes(), &to, newname.as_bytes(), mode).map_err(failed)
        };
        empty(reply, rename());
    }

    fn link(&self, _: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.reply_entry(reply, || {
            let (node, dir) = (self.node(ino)?, self.node(newparent)?);
            self.engine().link(&node, &dir, newname.as_bytes()).map_err(failed)?;
            Ok(node)
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.node(ino).and_then(|node| self.open_file(node)) {
            Ok((handle, flags)) => reply.opened(handle, flags),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let stamp = self.listener.stamp();
        let create = || {
            let node = self.make(request, parent, name, NewKind::File, mode)?;
            let (attr, generation) = self.tell(&node)?;
            match self.open_file(node) {
                Ok((handle, flags)) => Ok((attr, generation, handle, flags)),
                Err(error) => {
                    self.nodes.forget(attr.ino, 1);
                    Err(error)
                }
            }
        };
        match create() {
            Ok((attr, generation, handle, flags)) => reply.created(&self.ttl(stamp), &attr, generation, handle, flags),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file = match self.file(fh) {
            Ok(file) => file,
            Err(error) => return reply.error(error),
        };
        with_buffer(size as usize, |buffer| match self.engine().read(&file.node, offset, buffer) {
            Ok(n) => reply.data(&buffer[..n]),
            Err(error) => reply.error(failed(error)),
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.file(fh).and_then(|file| self.engine().write(&file.node, offset, data).map_err(failed)) {
            Ok(n) => reply.written(n as u32),
            Err(error) => return reply.error(error),
        }
        if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            // Pages stored to through a mapping came back. The kernel does not expect times and blocks to change by
            // that, so it is told. This drops attributes only and waits for no page.
            self.listener.attr_changed(self.nodes.ino(ino));
        }
    }

    /// Not asked for, by the flags of every open; a kernel that asks all the same is told not to ask again.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        {
            // The last close of an unlinked file frees it.
            let _watched = self.engine();
            self.handles.remove(fh);
        }
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let sync = |file: Arc<OpenFile>| self.engine().sync_node(&file.node, sync_kind(datasync)).map_err(failed);
        empty(reply, self.file(fh).and_then(sync));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.node(ino) {
            // A directory's position is all in the cookies; there is nothing to keep for an open.
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.node(ino).and_then(|dir| self.fill(&dir, offset, &mut reply).map_err(failed)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        match self.node(ino).and_then(|dir| self.fill_plus(&dir, offset, &mut reply).map_err(failed)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let sync = |dir: Node| self.engine().sync_node(&dir, sync_kind(datasync)).map_err(failed);
        empty(reply, self.node(ino).and_then(sync));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let facts = self.engine().statfs();
        reply.statfs(
            facts.blocks,
            facts.blocks_free,
            facts.blocks_available,
            facts.files,
            facts.files_free,
            facts.block_bytes,
            facts.name_max_bytes,
            facts.block_bytes,
        );
    }

    // The kernel takes ENOSYS as "never ask again" and answers the program with EOPNOTSUPP.

    fn setxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: &[u8], _: i32, _: u32, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let allocate = || {
            let how = fallocate(mode).ok_or(Errno::EOPNOTSUPP)?;
            self.engine().allocate(&self.file(fh)?.node, how, offset, length).map_err(failed)
        };
        empty(reply, allocate());
    }

    fn lseek(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let find = || {
            let what = seek(whence).ok_or(Errno::EINVAL)?;
            // A negative offset is before everything: ENXIO, as the kernel says for its own file systems.
            let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            self.engine().seek(&self.file(fh)?.node, offset, what).map_err(failed)
        };
        match find() {
            Ok(offset) => reply.offset(offset as i64),
            Err(error) => reply.error(error),
        }
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let copy = || {
            let (from, to) = (self.file(fh_in)?, self.file(fh_out)?);
            self.copy(&from.node, offset_in, &to.node, offset_out, len)
        };
        match copy() {
            Ok(n) => reply.written(n),
            Err(error) => reply.error(error),
        }
    }
}
