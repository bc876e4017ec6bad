//! The fsx engine against real file systems, and against views that lie once: a check that cannot fail checks nothing.

use engine::fs::Fs;
use engine::types::{Access, Fallocate, MakeOptions, NewNode};
use oracle::fsx::{
    self, Caches, Difference, DirView, EngineView, Feature, FsxDifference, FsxOptions, FsxReport, Verb, View, ViewError,
};
use pool::{Durability, HeapPool};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn two_views(dir: &Path, options: &FsxOptions) -> Vec<Box<dyn View>> {
    let path = dir.join("file");
    vec![
        Box::new(DirView::open("one", &path, options.len_max, Caches::One).unwrap()),
        Box::new(DirView::open("two", &path, options.len_max, Caches::One).unwrap()),
    ]
}

fn run(options: &FsxOptions, views: &[Box<dyn View>]) -> Result<FsxReport, Box<FsxDifference>> {
    fsx::run(options, views, &mut |_| ControlFlow::Continue(()))
}

fn run_in(dir: &Path, options: &FsxOptions) -> FsxReport {
    run(options, &two_views(dir, options)).unwrap_or_else(|difference| panic!("{difference}"))
}

#[test]
fn a_run_on_the_target_directory_finds_no_difference() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = run_in(dir.path(), &FsxOptions { ops: 4000, seed: 11, threads: 4, ..FsxOptions::default() });
    assert!(report.ops >= 4000 && report.bytes_compared > 0, "{report:?}");
    assert!(report.counts.iter().any(|&(verb, n)| verb == Verb::MappedWrite && n > 100), "{report:?}");
}

#[test]
fn a_run_on_tmpfs_leaves_out_what_tmpfs_has_not() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let report = run_in(dir.path(), &FsxOptions { ops: 4000, seed: 12, threads: 3, ..FsxOptions::default() });
    let lacks = |mode| report.missing.iter().any(|missing| missing.feature == Feature::Fallocate(mode));
    assert!(lacks(Fallocate::Collapse) && lacks(Fallocate::Insert), "{:?}", report.missing);
    assert!(!lacks(Fallocate::Punch), "{:?}", report.missing);
}

#[test]
fn the_engine_has_no_difference_with_several_threads() {
    for (seed, durability) in (51..).zip([Durability::Volatile, Durability::Msync, Durability::CpuFlush]) {
        let pool = HeapPool::new(64 << 20, durability).unwrap();
        Fs::make(&pool, &MakeOptions::default()).unwrap();
        let fs = Fs::open(Arc::new(pool), Access::ReadWrite).unwrap();
        let node = fs.create(&fs.root().unwrap(), b"f", &NewNode::file(0o600)).unwrap();
        let views: Vec<Box<dyn View>> =
            vec![Box::new(EngineView::new("one", node.clone())), Box::new(EngineView::new("two", node))];
        let options = FsxOptions { ops: 6000, seed, threads: 4, ..FsxOptions::default() };
        let report = run(&options, &views).unwrap_or_else(|difference| panic!("{durability}: {difference}"));
        let has = |mode| report.counts.iter().any(|&(verb, n)| verb == Verb::Fallocate(mode) && n > 10);
        assert!(has(Fallocate::Collapse) && has(Fallocate::Insert), "{report:?}");
    }
}

#[test]
fn one_seed_gives_one_run() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let options = FsxOptions { ops: 500, seed: 13, ..FsxOptions::default() };
    assert_eq!(run_in(dir.path(), &options), run_in(dir.path(), &options));
}

#[test]
fn progress_can_end_the_run_early() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let options = FsxOptions { ops: 100_000, ..FsxOptions::default() };
    let report = fsx::run(&options, &two_views(dir.path(), &options), &mut |_| ControlFlow::Break(())).unwrap();
    assert!(report.ops < 1000);
}

/// How a view lies.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// A write is reported and not done.
    LosesAWrite,
    /// A store through the mapping is reported and not done.
    LosesAStore,
    /// One bit of a read is flipped.
    FlipsABit,
    /// A punch leaves the last byte.
    PunchesShort,
    /// The size is too large by one.
    WrongSize,
    /// A truncate up leaves a byte of the old content behind the end.
    StaleTail,
    /// An operation fails.
    Fails,
}

/// A view that is right but for one call: call number `at` of the kind that `lie` is about.
struct Liar {
    inner: DirView,
    lie: Lie,
    at: u64,
    calls: AtomicU64,
}

impl Liar {
    fn now(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) == self.at
    }
}

impl View for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, ViewError> {
        let n = self.inner.read(offset, into)?;
        if matches!(self.lie, Lie::FlipsABit) && n > 0 && self.now() {
            into[n - 1] ^= 4;
        }
        Ok(n)
    }
    fn write(&self, offset: u64, from: &[u8]) -> Result<usize, ViewError> {
        // A lost write inside the file, so that the size does not give it away.
        let inside = offset + from.len() as u64 <= self.inner.size()?;
        if matches!(self.lie, Lie::LosesAWrite) && inside && self.now() {
            return Ok(from.len());
        }
        self.inner.write(offset, from)
    }
    fn mapped_read(&self, offset: u64, into: &mut [u8]) -> Result<(), ViewError> {
        self.inner.mapped_read(offset, into)
    }
    fn mapped_write(&self, offset: u64, from: &[u8]) -> Result<(), ViewError> {
        if matches!(self.lie, Lie::LosesAStore) && self.now() {
            return Ok(());
        }
        self.inner.mapped_write(offset, from)
    }
    fn truncate(&self, size: u64) -> Result<(), ViewError> {
        let grows = size > self.inner.size()?;
        self.inner.truncate(size)?;
        if matches!(self.lie, Lie::StaleTail) && grows && self.now() {
            self.inner.write(size - 1, b"x")?;
        }
        Ok(())
    }
    fn fallocate(&self, mode: Fallocate, offset: u64, len: u64) -> Result<(), ViewError> {
        let end = offset + len;
        if matches!(self.lie, Lie::PunchesShort) && mode == Fallocate::Punch {
            let mut byte = [0];
            let data = self.inner.read(end - 1, &mut byte)? == 1 && byte != [0];
            if !(data && self.now()) {
                return self.inner.fallocate(mode, offset, len);
            }
            return if len > 1 { self.inner.fallocate(mode, offset, len - 1) } else { Ok(()) };
        }
        self.inner.fallocate(mode, offset, len)
    }
    fn msync(&self, offset: u64, len: u64) -> Result<(), ViewError> {
        self.inner.msync(offset, len)
    }
    fn fsync(&self) -> Result<(), ViewError> {
        if matches!(self.lie, Lie::Fails) && self.now() { Err(ViewError::new(5, "fsync")) } else { self.inner.fsync() }
    }
    fn reopen(&self) -> Result<(), ViewError> {
        self.inner.reopen()
    }
    fn size(&self) -> Result<u64, ViewError> {
        let lie = matches!(self.lie, Lie::WrongSize) && self.now();
        Ok(self.inner.size()? + u64::from(lie))
    }
}

/// Plants the lie at eight different calls, one in each run, and gives back what was found. A lie can go unseen when the
/// bytes are overwritten before anybody reads them, so not every run must find it.
fn caught(lie: Lie, threads: usize) -> Vec<FsxDifference> {
    let plant = |at: u64| {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let options = FsxOptions { ops: 1500, seed: 100 + at, threads, ..FsxOptions::default() };
        let path = dir.path().join("file");
        let inner = DirView::open("inner", &path, options.len_max, Caches::One).unwrap();
        let views: Vec<Box<dyn View>> = vec![
            Box::new(Liar { inner, lie, at, calls: AtomicU64::new(0) }),
            Box::new(DirView::open("true", &path, options.len_max, Caches::One).unwrap()),
        ];
        run(&options, &views).err().map(|found| *found)
    };
    // The first nine truncates that grow belong to the trials of what the view offers.
    let first = if matches!(lie, Lie::StaleTail) { 12 } else { 4 };
    (first..first + 8).filter_map(plant).collect()
}

#[test]
fn planted_lies_are_found() {
    for lie in [Lie::LosesAWrite, Lie::LosesAStore, Lie::FlipsABit, Lie::PunchesShort, Lie::StaleTail] {
        let all = caught(lie, 1);
        assert!(all.len() >= 3, "{lie:?} was found in {} of 8 runs", all.len());
        for found in all {
            let Difference::Bytes { ref expected, ref actual, count, .. } = found.difference else {
                panic!("{lie:?}: {found}")
            };
            assert!(expected != actual && count > 0, "{found}");
            assert!(!found.last.is_empty() && found.last.len() <= 20, "{found}");
            assert!(found.to_string().contains(&format!("seed {}, operation", found.seed)), "{found}");
        }
    }
}

#[test]
fn a_wrong_size_and_a_failing_call_are_always_found() {
    let sizes = caught(Lie::WrongSize, 1);
    assert_eq!(sizes.len(), 8);
    assert!(sizes.iter().all(|found| matches!(found.difference, Difference::Size { .. })));
    let failures = caught(Lie::Fails, 1);
    assert_eq!(failures.len(), 8);
    assert!(failures.iter().all(|found| matches!(found.difference, Difference::Failed(ViewError { errno: 5, .. }))));
}

#[test]
fn lies_are_found_among_several_threads() {
    for lie in [Lie::LosesAWrite, Lie::LosesAStore, Lie::FlipsABit] {
        let found = caught(lie, 4).len();
        assert!(found >= 3, "{lie:?} was found in {found} of 8 runs");
    }
}
