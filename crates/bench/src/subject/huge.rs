//! hugetlbfs itself: a file of huge pages, all of them there, mapped anew in each round.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use super::{Bases, Measured, Subject, not_offered, pages};
use crate::work::{Sizes, Work};
use rustix::fd::{AsFd, OwnedFd};
use sys::file::MemoryPages;
use sys::memory::{Mapping, Protection};

/// A file of huge pages.
pub(crate) struct HugeSubject {
    name: String,
    bases: Bases,
    file: Option<OwnedFd>,
}

impl HugeSubject {
    pub(crate) fn new(name: String, bases: &Bases) -> HugeSubject {
        HugeSubject { name, bases: bases.clone(), file: None }
    }

    fn file(&mut self, sizes: &Sizes) -> io::Result<&OwnedFd> {
        if self.file.is_none() {
            let file = sys::file::memfd("bench", MemoryPages::Huge)?;
            sys::file::set_len(file.as_fd(), sizes.large_bytes)?;
            sys::file::reserve(file.as_fd(), 0, sizes.large_bytes)?;
            self.file = Some(file);
        }
        self.file.as_ref().ok_or_else(not_offered)
    }
}

impl Subject for HugeSubject {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self, work: Work) -> bool {
        work == Work::Touch
    }

    fn compared_with(&self, _: Work) -> Option<&str> {
        self.bases.hugetlbfs.as_deref()
    }

    fn round(&mut self, work: Work, sizes: &Sizes) -> io::Result<f64> {
        if !self.offers(work) {
            return Err(not_offered());
        }
        let pages = pages(sizes);
        let file = self.file(sizes)?;
        let start = Instant::now();
        let mapping = Mapping::of_file(file.as_fd(), sizes.large_bytes, Protection::ReadWrite)?;
        let mut sum = 0_u64;
        for page in &pages {
            sum = sum.wrapping_add(mapping.load_u64(*page));
        }
        black_box(sum);
        drop(mapping);
        Ok(Measured { nanos: start.elapsed().as_nanos() as f64, ops: pages.len() as u64 }.nanos_per_op())
    }
}
