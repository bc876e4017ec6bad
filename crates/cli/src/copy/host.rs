//! The host's files as a tree to copy from and to.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Facts, Sink, Source, Tree, hidden_name};
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::walk::Name;
use engine::types::{Kind, Timestamp};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, SeekFrom, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// The host.
#[derive(Debug)]
pub struct HostTree;

impl Tree for HostTree {
    fn look(&self, path: &Path) -> Result<Option<Facts>> {
        facts_or_none(path.symlink_metadata()).map_err(|failure| failure.about(path.display()))
    }

    fn look_through(&self, path: &Path) -> Result<Option<Facts>> {
        facts_or_none(path.metadata()).map_err(|failure| failure.about(path.display()))
    }

    fn names(&self, path: &Path) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = facts(&entry.metadata()?).kind;
            names.push(Name { name: entry.file_name(), kind });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    fn target(&self, path: &Path) -> Result<Vec<u8>> {
        Ok(fs::read_link(path)?.into_os_string().into_vec())
    }

    fn source(&self, path: &Path) -> Result<Box<dyn Source>> {
        Ok(Box::new(HostSource { file: File::open(path)? }))
    }

    fn sink(&self, path: &Path) -> Result<Box<dyn Sink>> {
        if path.is_dir() {
            return Err(engine::FsError::IsDirectory.into());
        }
        let hidden = path.with_file_name(hidden_name(path.file_name().unwrap_or(OsStr::new("file"))));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
        Ok(Box::new(HostSink { file, hidden, path: path.to_owned(), finished: false }))
    }

    fn make_directory(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        Ok(fs::DirBuilder::new().mode(0o700).create(path)?)
    }

    fn make_special(&self, path: &Path, facts: &Facts, target: &[u8]) -> Result<()> {
        let hidden = path.with_file_name(hidden_name(path.file_name().unwrap_or(OsStr::new("file"))));
        let kind = match facts.kind {
            Kind::Symlink => None,
            Kind::Fifo => Some(FileType::Fifo),
            Kind::Socket => Some(FileType::Socket),
            Kind::CharDevice => Some(FileType::CharacterDevice),
            Kind::BlockDevice => Some(FileType::BlockDevice),
            Kind::File | Kind::Directory => return Err(Failure::new(Exit::Other, "not a special file")),
        };
        match kind {
            None => rustix::fs::symlinkat(target, CWD, &hidden),
            Some(kind) => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(CWD, &hidden, kind, mode, u64::from(facts.device))
            }
        }
        .map_err(io::Error::from)?;
        dress(&hidden, facts).and_then(|()| fs::rename(&hidden, path)).map_err(|error| {
            let _ = fs::remove_file(&hidden);
            error.into()
        })
    }

    fn set_facts(&self, path: &Path, facts: &Facts) -> Result<()> {
        Ok(dress(path, facts)?)
    }

    fn remove_all(&self, path: &Path) -> Result<()> {
        let removed = if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        Ok(removed?)
    }

    fn show(&self, path: &Path) -> String {
        path.display().to_string()
    }

    fn identity(&self) -> String {
        String::new()
    }
}

fn facts_or_none(metadata: io::Result<fs::Metadata>) -> Result<Option<Facts>> {
    match metadata {
        Ok(metadata) => Ok(Some(facts(&metadata))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn facts(metadata: &fs::Metadata) -> Facts {
    Facts {
        kind: Kind::from_mode(metadata.mode()).unwrap_or(Kind::File),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        device: metadata.rdev() as u32,
        size: metadata.size(),
        atime: Timestamp { seconds: metadata.atime(), nanos: metadata.atime_nsec() as u32 },
        mtime: Timestamp { seconds: metadata.mtime(), nanos: metadata.mtime_nsec() as u32 },
        id: (metadata.dev(), metadata.ino()),
    }
}

/// Sets owner (where allowed), mode and times, in this order: each may undo a part of the one after it.
fn dress(path: &Path, facts: &Facts) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(facts.uid), Gid::from_raw(facts.gid));
    match rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    if facts.kind != Kind::Symlink {
        fs::set_permissions(path, fs::Permissions::from_mode(facts.mode))?;
    }
    let time = |time: Timestamp| Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    let times = Timestamps { last_access: time(facts.atime), last_modification: time(facts.mtime) };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

struct HostSource {
    file: File,
}

impl Source for HostSource {
    fn data(&mut self, from: u64) -> Result<Option<Range<u64>>> {
        let start = match rustix::fs::seek(&self.file, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system that does not know holes: all is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                let size = self.file.metadata()?.len();
                return Ok((from < size).then_some(from..size));
            }
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let end = rustix::fs::seek(&self.file, SeekFrom::Hole(start)).map_err(io::Error::from)?;
        Ok(Some(start..end))
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }
}

struct HostSink {
    file: File,
    hidden: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Sink for HostSink {
    fn write(&mut self, offset: u64, from: &[u8]) -> Result<()> {
        Ok(self.file.write_all_at(from, offset)?)
    }

    fn finish(mut self: Box<Self>, size: u64, facts: &Facts) -> Result<()> {
        self.file.set_len(size)?;
        dress(&self.hidden, facts)?;
        fs::rename(&self.hidden, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for HostSink {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.hidden);
        }
    }
}
