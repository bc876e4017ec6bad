//! The faults: one file mapped by several threads, its holes filled, copied on write, cut short under the mapping.

use std::time::Instant;

use daxle::{Error, MapMode, MapOptions, Mapping, Pool};
use engine::dax::FaultKind;

use super::{Story, same, wrong};
use crate::errors::{Failure, Result};
use crate::size;

const THREADS: u64 = 4;
const FILE_BYTES: u64 = 64 << 20;
const PAGE: u64 = 4096;
/// Pages between two stores of the scattered kind.
const STRIDE_PAGES: u64 = 64;

/// Faults served since the last look.
struct Tally<'p> {
    pool: &'p Pool,
    before: [u64; FaultKind::ALL.len()],
    start: Instant,
}

impl<'p> Tally<'p> {
    fn new(pool: &'p Pool) -> Tally<'p> {
        Tally { pool, before: counts(pool), start: Instant::now() }
    }

    /// What was served, with the mean time of the whole step for each.
    fn seen(&self, kinds: &[FaultKind]) -> Result<String> {
        let now = counts(self.pool);
        let mut parts = Vec::new();
        let mut sum = 0;
        for (index, kind) in FaultKind::ALL.iter().enumerate() {
            let count = now[index] - self.before[index];
            if kinds.contains(kind) {
                sum += count;
                parts.push(format!("{count} {}", kind.name()));
            }
        }
        if sum == 0 {
            return Err(wrong("faults served", "some", "none"));
        }
        let each = self.start.elapsed().as_nanos() as f64 / sum as f64;
        Ok(format!("{}; {} a fault, the work included", parts.join(", "), size::show_nanos(each)))
    }
}

fn counts(pool: &Pool) -> [u64; FaultKind::ALL.len()] {
    let values = pool.fs().dax().counters();
    FaultKind::ALL.map(|kind| values.faults(kind))
}

/// Shows all of it on one file.
pub(super) fn show(story: &mut Story, pool: &Pool) -> Result<()> {
    let file = pool.create_file("tensor")?;
    file.set_len(FILE_BYTES)?;
    let map = file.map_with(&MapOptions::new().mode(MapMode::Shared))?;

    story.step("load from holes of a sparse 64 MiB file", || {
        // Through a second mapping that translates nothing beforehand.
        let lazy = file.map_with(&MapOptions::new().mode(MapMode::Shared).eager_translations(0))?;
        let tally = Tally::new(pool);
        for page in (0..FILE_BYTES / PAGE).step_by(STRIDE_PAGES as usize) {
            same("a hole", &0, &lazy.load_u64((page * PAGE) as usize))?;
        }
        tally.seen(&[FaultKind::HoleRead])
    })?;
    story.step("store from 4 threads, scattered", || {
        let tally = Tally::new(pool);
        std::thread::scope(|scope| {
            let map = &map;
            for thread in 0..THREADS {
                scope.spawn(move || stores(map, thread));
            }
        });
        tally.seen(&[FaultKind::HoleWrite, FaultKind::WrittenWrite])
    })?;
    story.step("find every store with read_at", || {
        let mut found = 0;
        for place in (0..THREADS).flat_map(places) {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, place)?;
            same("a store", &(place + 1), &u64::from_le_bytes(bytes))?;
            found += 1;
        }
        let blocks = file.metadata()?.allocated_bytes();
        Ok(format!("{found} of {found}; the file takes {} of 64 MiB", size::show(blocks)))
    })?;
    story.step("store in order to a fresh file", || {
        let fresh = pool.create_file("in-order")?;
        fresh.set_len(FILE_BYTES / 4)?;
        let map = fresh.map()?;
        let tally = Tally::new(pool);
        for page in 0..FILE_BYTES / 4 / PAGE {
            map.store_u64((page * PAGE) as usize, page);
        }
        let seen = tally.seen(&[FaultKind::HoleWrite])?;
        let pages = FILE_BYTES / 4 / PAGE;
        drop(map);
        Ok(format!("{seen}; {pages} pages"))
    })?;
    copy_on_write(story, pool)?;
    cut_short(story, pool, &map)
}

/// Where a thread stores: every so many pages, each thread beside the others in the same pages.
fn places(thread: u64) -> impl Iterator<Item = u64> {
    (0..FILE_BYTES / PAGE).step_by(STRIDE_PAGES as usize).map(move |page| page * PAGE + 64 * thread)
}

fn stores(map: &Mapping, thread: u64) {
    for place in places(thread) {
        map.store_u64(place as usize, place + 1);
    }
}

fn copy_on_write(story: &mut Story, pool: &Pool) -> Result<()> {
    story.step("store through a private mapping", || {
        let file = pool.open_file("tensor")?;
        let private = file.map_with(&MapOptions::new().mode(MapMode::Private))?;
        let tally = Tally::new(pool);
        let pages = FILE_BYTES / PAGE / STRIDE_PAGES;
        for page in (0..FILE_BYTES / PAGE).step_by(STRIDE_PAGES as usize) {
            private.store_u64((page * PAGE) as usize, u64::MAX);
        }
        let seen = tally.seen(&[FaultKind::PrivateCopy])?;
        for place in places(0) {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, place)?;
            same("the file under a private copy", &(place + 1), &u64::from_le_bytes(bytes))?;
            same("the private copy", &u64::MAX, &private.load_u64(place as usize))?;
        }
        Ok(format!("{seen}; {pages} pages copied, the file unchanged"))
    })
}

fn cut_short(story: &mut Story, pool: &Pool, map: &Mapping) -> Result<()> {
    story.step("truncate under the live mapping, touch what is gone", || {
        let file = pool.open_options().write(true).read(true).open("tensor")?;
        file.set_len(FILE_BYTES / 2)?;
        let caught = match map.write_at(b"past", FILE_BYTES as usize / 2) {
            Err(Error::PastEnd { offset, .. }) => offset,
            other => return Err(wrong("a store past the end", "SIGBUS, caught", &format!("{other:?}"))),
        };
        map.write_at(b"here", FILE_BYTES as usize / 2 - PAGE as usize).map_err(Failure::from)?;
        file.set_len(FILE_BYTES)?;
        same("what was cut off", &0, &map.load_u64(FILE_BYTES as usize / 2))?;
        Ok(format!("SIGBUS caught at byte {caught}; after growing again it reads as zeros"))
    })
}
