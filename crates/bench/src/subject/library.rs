//! A pool, through the library: copies without system calls, or loads and stores through a mapping.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use super::{Bases, Measured, Subject, is_access, is_read, maps, not_offered, pages, places, random_pages, time};
use crate::work::{Sizes, Work};
use daxle::{File, MapOptions, Mapping, Pool, Populate};

/// How files are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `read_at`, `write_at`, names.
    Calls,
    /// A mapping.
    Mapping,
}

/// A pool.
pub(crate) struct LibrarySubject {
    name: String,
    way: Way,
    bases: Bases,
    pool: Pool,
    /// Prefix of the names of its files, since several subjects may share a pool.
    prefix: &'static str,
}

impl LibrarySubject {
    /// A subject in an open pool.
    pub(crate) fn new(name: String, pool: &Pool, way: Way, bases: &Bases) -> LibrarySubject {
        let prefix = match way {
            Way::Calls => "calls",
            Way::Mapping => "mapping",
        };
        LibrarySubject { name, way, bases: bases.clone(), pool: pool.clone(), prefix }
    }

    /// The file that this work needs, made full at its first use.
    fn file(&self, work: Work, sizes: &Sizes) -> io::Result<File> {
        let (name, bytes) = if work.is_small() { ("small", sizes.small_bytes) } else { ("large", sizes.large_bytes) };
        let name = format!("{}-{name}", self.prefix);
        let open = self.pool.open_options().read(true).write(true);
        match open.open(&name) {
            Err(error) if error.is_not_found() => {}
            opened => return Ok(opened?),
        }
        let file = open.create_new(true).open(&name)?;
        file.allocate(0, bytes)?;
        let piece = vec![3; (1 << 20).min(bytes as usize)];
        for at in (0..bytes).step_by(piece.len()) {
            file.write_all_at(&piece, at)?;
        }
        self.pool.sync()?;
        Ok(file)
    }

    fn accesses(&self, work: Work, sizes: &Sizes) -> io::Result<Measured> {
        let places = places(work, sizes);
        let file = self.file(work, sizes)?;
        let mut buffer = vec![1; work.access_bytes()];
        if self.way == Way::Calls {
            return if is_read(work) {
                time(&places, sizes, |at| Ok(file.read_exact_at(black_box(&mut buffer), *at)?))
            } else {
                time(&places, sizes, |at| Ok(file.write_all_at(black_box(&buffer), *at)?))
            };
        }
        let mapping = file.map_with(&MapOptions::new().populate(Populate::ForStores))?;
        if is_read(work) {
            time(&places, sizes, |at| Ok(mapping.read_at(black_box(&mut buffer), *at as usize)?))
        } else {
            time(&places, sizes, |at| Ok(mapping.write_at(black_box(&buffer), *at as usize)?))
        }
    }

    fn create_unlink(&self, sizes: &Sizes) -> io::Result<Measured> {
        self.pool.create_dir_all("empty")?;
        let dir = self.pool.open_dir("empty")?;
        let names: Vec<String> = (0..sizes.files).map(|n| format!("empty{n}")).collect();
        let open = dir.open_options().write(true).create_new(true);
        let created = time(&names, sizes, |name| Ok(open.open(name).map(drop)?))?;
        let made = &names[..created.ops as usize];
        let removed = time(made, &Sizes { round_ms_max: u64::MAX, ..*sizes }, |name| Ok(dir.remove_file(name)?))?;
        Ok(Measured { nanos: created.nanos + removed.nanos, ops: created.ops })
    }

    fn append_sync(&self, sizes: &Sizes) -> io::Result<Measured> {
        let file = self.pool.create_file("log")?;
        let (block, turns) = (vec![7; 4096], vec![(); sizes.appends as usize]);
        let measured = time(&turns, sizes, |()| {
            file.append(&block)?;
            Ok(file.sync_all()?)
        })?;
        drop(file);
        self.pool.remove_file("log")?;
        Ok(measured)
    }

    fn touch(&self, sizes: &Sizes) -> io::Result<Measured> {
        let pages = pages(sizes);
        let file = self.file(Work::Touch, sizes)?;
        let start = Instant::now();
        let mapping: Mapping = file.map()?;
        let mut sum = 0_u64;
        for page in &pages {
            sum = sum.wrapping_add(mapping.load_u64(*page as usize));
        }
        black_box(sum);
        drop(mapping);
        Ok(Measured { nanos: start.elapsed().as_nanos() as f64, ops: pages.len() as u64 })
    }

    fn first_store(&self, order: &[u64], sizes: &Sizes) -> io::Result<Measured> {
        let file = self.pool.create_file("sparse")?;
        file.set_len(sizes.large_bytes)?;
        let start = Instant::now();
        let mapping = file.map()?;
        let stored = time(order, sizes, |page| {
            mapping.store_u64(*page as usize, 1);
            Ok(())
        })?;
        let nanos = start.elapsed().as_nanos() as f64;
        drop(mapping);
        drop(file);
        self.pool.remove_file("sparse")?;
        self.pool.sync()?;
        Ok(Measured { nanos, ops: stored.ops })
    }
}

impl Subject for LibrarySubject {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self, work: Work) -> bool {
        match self.way {
            Way::Calls => is_access(work) || matches!(work, Work::CreateUnlink | Work::AppendSync),
            Way::Mapping => is_access(work) || maps(work),
        }
    }

    fn compared_with(&self, work: Work) -> Option<&str> {
        let huge = self.pool.info().page_bytes > 4096;
        match (maps(work), huge) {
            (true, true) if work == Work::Touch => self.bases.hugetlbfs.as_deref(),
            (true, _) => self.bases.tmpfs_mapping.as_deref(),
            (false, _) => self.bases.tmpfs_calls.as_deref(),
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
            _ => self.accesses(work, sizes),
        };
        measured.map(Measured::nanos_per_op)
    }
}
