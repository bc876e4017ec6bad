//! Random work on one file through the mount and through the engine at once: neither sees stale bytes.

mod common;

use common::Place;
use engine::fs::Node;
use engine::types::{Fallocate, NewNode};
use mount::ChangeListener;
use oracle::fsx::{self, Caches, DirView, EngineView, Feature, FsxOptions, FsxReport, View, ViewError};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The engine's view as a library has it: the mount is told before and after each change.
struct Told {
    inner: EngineView,
    listener: Arc<dyn ChangeListener>,
}

impl Told {
    fn of(place: &Place, node: Node) -> Told {
        Told { inner: EngineView::new("api", node), listener: place.mounted.as_ref().unwrap().notifier() }
    }

    fn change<T>(&self, from: u64, end: u64, change: impl FnOnce() -> Result<T, ViewError>) -> Result<T, ViewError> {
        let ino = self.inner.node().ino();
        self.listener.about_to_change(ino, from..end);
        let done = change();
        self.listener.changed(ino, from..end);
        done
    }
}

impl View for Told {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, ViewError> {
        self.inner.read(offset, into)
    }
    fn write(&self, offset: u64, from: &[u8]) -> Result<usize, ViewError> {
        // A write past the end also zeroes what lies between.
        let start = offset.min(self.inner.node().size());
        self.change(start, offset + from.len() as u64, || self.inner.write(offset, from))
    }
    fn mapped_read(&self, offset: u64, into: &mut [u8]) -> Result<(), ViewError> {
        self.inner.mapped_read(offset, into)
    }
    fn mapped_write(&self, offset: u64, from: &[u8]) -> Result<(), ViewError> {
        self.inner.mapped_write(offset, from)
    }
    fn truncate(&self, size: u64) -> Result<(), ViewError> {
        self.change(size.min(self.inner.node().size()), u64::MAX, || self.inner.truncate(size))
    }
    fn fallocate(&self, mode: Fallocate, offset: u64, len: u64) -> Result<(), ViewError> {
        let moves = matches!(mode, Fallocate::Collapse | Fallocate::Insert);
        let end = if moves { u64::MAX } else { offset + len };
        self.change(offset.min(self.inner.node().size()), end, || self.inner.fallocate(mode, offset, len))
    }
    fn msync(&self, offset: u64, len: u64) -> Result<(), ViewError> {
        self.inner.msync(offset, len)
    }
    fn fsync(&self) -> Result<(), ViewError> {
        self.inner.fsync()
    }
    fn reopen(&self) -> Result<(), ViewError> {
        self.inner.reopen()
    }
    fn size(&self) -> Result<u64, ViewError> {
        self.inner.size()
    }
}

/// More than the usual number: `DAXLE_FSX_OPS=100000 cargo test`.
fn ops() -> u64 {
    std::env::var("DAXLE_FSX_OPS").map_or(3000, |ops| ops.parse().expect("DAXLE_FSX_OPS is a number"))
}

fn run(options: &FsxOptions, views: &[Box<dyn View>]) -> FsxReport {
    fsx::run(options, views, &mut |_| ControlFlow::Continue(())).unwrap_or_else(|difference| panic!("{difference}"))
}

fn through_mount(place: &Place, name: &str, options: &FsxOptions, caches: Caches) -> Box<dyn View> {
    Box::new(DirView::open(name, &place.path("f"), options.len_max, caches).unwrap())
}

#[test]
fn two_opens_of_the_mount_see_the_same() {
    let place = Place::new();
    let options = FsxOptions { ops: ops(), seed: 61, threads: 4, ..FsxOptions::default() };
    let views = ["one", "two"].map(|name| through_mount(&place, name, &options, Caches::One));
    let report = run(&options, &views);
    let missing: Vec<Feature> = report.missing.iter().map(|missing| missing.feature).collect();
    let kernel = [Feature::Fallocate(Fallocate::Collapse), Feature::Fallocate(Fallocate::Insert)];
    assert_eq!(missing, [kernel, kernel].concat(), "all else must work through the mount");
}

#[test]
fn the_mount_and_the_library_see_the_same() {
    let place = Place::new();
    let options = FsxOptions { ops: ops(), seed: 62, threads: 4, ..FsxOptions::default() };
    let mounted = through_mount(&place, "mount", &options, Caches::Several);
    let node = place.fs.lookup(&place.fs.root().unwrap(), b"f").unwrap();
    run(&options, &[mounted, Box::new(Told::of(&place, node))]);
}

#[test]
fn a_mount_that_bypasses_the_cache_and_the_library_see_the_same() {
    let place = Place::new();
    let node = place.fs.create(&place.fs.root().unwrap(), b"f", &NewNode::file(0o600)).unwrap();
    // As long as the file is mapped directly.
    let view = place.fs.direct_view(&node).unwrap();
    let options = FsxOptions { ops: ops(), seed: 63, threads: 4, ..FsxOptions::default() };
    let mounted = through_mount(&place, "mount", &options, Caches::One);
    let report = run(&options, &[mounted, Box::new(Told::of(&place, node))]);
    assert!(report.missing.iter().any(|missing| missing.feature == Feature::MappedWrite));
    drop(view);
}
