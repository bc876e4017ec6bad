//! A directory of the host: `pread`, `pwrite`, `open`, `unlink`, `fsync`; or `mmap` of its files. The mount is one too.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Bases, Measured, Subject, is_access, is_read, maps, not_offered, pages, places, random_pages, time};
use crate::work::{Sizes, Work};
use rustix::fd::AsFd;
use sys::memory::{Mapping, Protection};

const O_DIRECT: u32 = rustix::fs::OFlags::DIRECT.bits();

/// How files are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// System calls.
    Calls,
    /// Loads and stores through a mapping.
    Mapping,
    /// Requests to a file system in user space, past the kernel's cache, on a file that is there already.
    Requests,
}

/// A directory.
pub(crate) struct DirectorySubject {
    name: String,
    way: Way,
    bases: Bases,
    dir: tempfile::TempDir,
    /// What the requests read, if not a file made here.
    given: Option<PathBuf>,
    large: Option<File>,
    small: Option<File>,
}

impl DirectorySubject {
    /// A fresh directory in `dir`, gone with the subject.
    pub(crate) fn new(name: String, dir: &Path, way: Way, bases: &Bases) -> io::Result<DirectorySubject> {
        let dir = tempfile::Builder::new().prefix(".daxle-bench").tempdir_in(dir)?;
        Ok(DirectorySubject { name, way, bases: bases.clone(), dir, given: None, large: None, small: None })
    }

    /// One file that is there already, read by requests.
    pub(crate) fn of_file(name: String, file: PathBuf, bases: &Bases) -> io::Result<DirectorySubject> {
        let dir = tempfile::tempdir()?;
        let (given, bases) = (Some(file), bases.clone());
        Ok(DirectorySubject { name, way: Way::Requests, bases, dir, given, large: None, small: None })
    }

    /// The file that this work needs, made full at its first use.
    fn file(&mut self, work: Work, sizes: &Sizes) -> io::Result<&File> {
        let (name, bytes, slot) = if work.is_small() {
            ("small", sizes.small_bytes, &mut self.small)
        } else {
            ("large", sizes.large_bytes, &mut self.large)
        };
        if slot.is_none() {
            let path = self.dir.path().join(name);
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
            fill(&file, bytes)?;
            *slot = Some(file);
        }
        slot.as_ref().ok_or_else(not_offered)
    }

    fn accesses(&mut self, work: Work, sizes: &Sizes) -> io::Result<Measured> {
        let (way, places) = (self.way, places(work, sizes));
        let file = self.file(work, sizes)?;
        let mut buffer = vec![1; work.access_bytes()];
        if way == Way::Calls {
            return if is_read(work) {
                time(&places, sizes, |at| file.read_exact_at(black_box(&mut buffer), *at))
            } else {
                time(&places, sizes, |at| file.write_all_at(black_box(&buffer), *at))
            };
        }
        let bytes = if work.is_small() { sizes.small_bytes } else { sizes.large_bytes };
        let mapping = map(file, bytes)?;
        for at in (0..bytes).step_by(4096) {
            mapping.store_u64(at, mapping.load_u64(at));
        }
        time(&places, sizes, |at| {
            if is_read(work) {
                mapping.read(*at, black_box(&mut buffer));
            } else {
                mapping.write(*at, black_box(&buffer));
            }
            Ok(())
        })
    }

    fn create_unlink(&self, sizes: &Sizes) -> io::Result<Measured> {
        let names: Vec<PathBuf> = (0..sizes.files).map(|n| self.dir.path().join(format!("empty{n}"))).collect();
        let created = time(&names, sizes, |name| OpenOptions::new().write(true).create_new(true).open(name).map(drop))?;
        let made = &names[..created.ops as usize];
        let removed = time(made, &Sizes { round_ms_max: u64::MAX, ..*sizes }, |name| std::fs::remove_file(name))?;
        Ok(Measured { nanos: created.nanos + removed.nanos, ops: created.ops })
    }

    fn append_sync(&self, sizes: &Sizes) -> io::Result<Measured> {
        use std::io::Write;
        let path = self.dir.path().join("log");
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        let (block, turns) = (vec![7; 4096], vec![(); sizes.appends as usize]);
        let measured = time(&turns, sizes, |()| {
            file.write_all(&block)?;
            file.sync_all()
        })?;
        std::fs::remove_file(path)?;
        Ok(measured)
    }

    fn touch(&mut self, sizes: &Sizes) -> io::Result<Measured> {
        let pages = pages(sizes);
        let file = self.file(Work::Touch, sizes)?;
        let start = Instant::now();
        let mapping = map(file, sizes.large_bytes)?;
        let mut sum = 0_u64;
        for page in &pages {
            sum = sum.wrapping_add(mapping.load_u64(*page));
        }
        black_box(sum);
        drop(mapping);
        Ok(Measured { nanos: start.elapsed().as_nanos() as f64, ops: pages.len() as u64 })
    }

    fn first_store(&self, order: &[u64], sizes: &Sizes) -> io::Result<Measured> {
        let path = self.dir.path().join("sparse");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(sizes.large_bytes)?;
        let start = Instant::now();
        let mapping = map(&file, sizes.large_bytes)?;
        let stored = time(order, sizes, |page| {
            mapping.store_u64(*page, 1);
            Ok(())
        })?;
        let nanos = start.elapsed().as_nanos() as f64;
        drop(mapping);
        std::fs::remove_file(path)?;
        Ok(Measured { nanos, ops: stored.ops })
    }

    fn requests(&mut self, work: Work, sizes: &Sizes) -> io::Result<Measured> {
        let path = if let Some(path) = &self.given {
            path.clone()
        } else {
            self.file(work, sizes)?;
            self.dir.path().join("large")
        };
        if work == Work::Stream {
            return stream(&path);
        }
        let file = OpenOptions::new().read(true).custom_flags(O_DIRECT as i32).open(path)?;
        let mut buffer = vec![0; 4096];
        time(&places(work, sizes), sizes, |at| file.read_exact_at(black_box(&mut buffer), *at))
    }
}

/// Reads a file from start to end, 1 MiB at a time, with nothing of it in the kernel's cache.
fn stream(path: &Path) -> io::Result<Measured> {
    use rustix::fs::{Advice, fadvise};
    let file = File::open(path)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut piece = vec![0; 1 << 20];
    let start = Instant::now();
    let mut at = 0;
    loop {
        match file.read_at(black_box(&mut piece), at)? {
            0 => break,
            n => at += n as u64,
        }
    }
    Ok(Measured { nanos: start.elapsed().as_nanos() as f64, ops: at >> 20 })
}

fn fill(file: &File, bytes: u64) -> io::Result<()> {
    let piece = vec![3; (1 << 20).min(bytes as usize)];
    for at in (0..bytes).step_by(piece.len()) {
        file.write_all_at(&piece, at)?;
    }
    Ok(())
}

fn map(file: &File, bytes: u64) -> io::Result<Mapping> {
    Ok(Mapping::of_file(file.as_fd(), bytes, Protection::ReadWrite)?)
}

impl Subject for DirectorySubject {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self, work: Work) -> bool {
        match self.way {
            Way::Calls => is_access(work) || matches!(work, Work::CreateUnlink | Work::AppendSync),
            Way::Mapping => is_access(work) || maps(work),
            Way::Requests => matches!(work, Work::Request4k | Work::Stream),
        }
    }

    fn compared_with(&self, work: Work) -> Option<&str> {
        match self.way {
            Way::Requests => self.bases.memory_fs.as_deref(),
            _ if maps(work) => self.bases.tmpfs_mapping.as_deref(),
            _ => self.bases.tmpfs_calls.as_deref(),
        }
    }

    fn round(&mut self, work: Work, sizes: &Sizes) -> io::Result<f64> {
        let measured = match work {
            _ if !self.offers(work) => return Err(not_offered()),
            Work::CreateUnlink => self.create_unlink(sizes),
            Work::AppendSync => self.append_sync(sizes),
            Work::Touch => self.touch(sizes),
            Work::FirstStore => self.first_store(&pages(sizes), sizes),
            Work::FirstStoreRandom => self.first_store(&random_pages(sizes), sizes),
            Work::Request4k | Work::Stream => self.requests(work, sizes),
            _ => self.accesses(work, sizes),
        };
        measured.map(Measured::nanos_per_op)
    }
}
