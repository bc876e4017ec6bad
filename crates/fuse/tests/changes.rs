//! What the library changes in the same process is seen through the mount, although the kernel caches all it can.

mod common;

use common::Place;
use engine::fs::Node;
use engine::types::{NewNode, RenameMode, SetAttr};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

/// The library's side: changes, then tells, holding nothing.
struct Library<'a> {
    place: &'a Place,
    root: Node,
}

impl<'a> Library<'a> {
    fn of(place: &'a Place) -> Library<'a> {
        Library { place, root: place.fs.root().unwrap() }
    }

    fn tell(&self) -> std::sync::Arc<dyn mount::ChangeListener> {
        self.place.mounted.as_ref().unwrap().notifier()
    }

    fn write(&self, node: &Node, offset: u64, bytes: &[u8]) {
        let range = offset..offset + bytes.len() as u64;
        self.tell().about_to_change(node.ino(), range.clone());
        assert_eq!(self.place.fs.write(node, offset, bytes).unwrap(), bytes.len());
        self.tell().changed(node.ino(), range);
    }

    fn create(&self, name: &[u8]) -> Node {
        let node = self.place.fs.create(&self.root, name, &NewNode::file(0o644)).unwrap();
        self.tell().entry_changed(self.root.ino(), name);
        node
    }

    fn set(&self, node: &Node, set: SetAttr) {
        self.place.fs.set_attr(node, &set).unwrap();
        if set.size.is_some() {
            self.tell().changed(node.ino(), 0..u64::MAX);
        }
        self.tell().attr_changed(node.ino());
    }
}

#[test]
fn bytes_that_the_library_writes_replace_cached_ones() {
    let place = Place::new();
    let library = Library::of(&place);
    fs::write(place.path("f"), vec![b'a'; 20_000]).unwrap();
    let file = File::open(place.path("f")).unwrap();
    let mut bytes = vec![0; 20_000];
    file.read_at(&mut bytes, 0).unwrap();
    let node = place.fs.lookup(&library.root, b"f").unwrap();
    library.write(&node, 5000, b"from the library");
    let mut bytes = vec![0; 18];
    file.read_at(&mut bytes, 4999).unwrap();
    assert_eq!(&bytes, b"afrom the librarya");
    // Growth is seen too, through an open and by its size.
    library.write(&node, 30_000, b"end");
    assert_eq!(file.metadata().unwrap().len(), 30_003);
    let mut bytes = [0; 3];
    assert_eq!(file.read_at(&mut bytes, 30_000).unwrap(), 3);
    assert_eq!(&bytes, b"end");
    library.set(&node, SetAttr { size: Some(10), ..SetAttr::default() });
    assert_eq!(fs::read(place.path("f")).unwrap(), vec![b'a'; 10]);
}

#[test]
fn a_store_through_the_mount_s_mapping_survives_the_library_s_write_to_the_page() {
    let place = Place::new();
    let library = Library::of(&place);
    fs::write(place.path("f"), vec![b'.'; 4096]).unwrap();
    let file = File::options().read(true).write(true).open(place.path("f")).unwrap();
    let mapping =
        sys::memory::Mapping::of_file(rustix::fd::AsFd::as_fd(&file), 4096, sys::memory::Protection::ReadWrite)
            .unwrap();
    mapping.write(10, b"mapped");
    let node = place.fs.lookup(&library.root, b"f").unwrap();
    library.write(&node, 100, b"library");
    assert!(mapping.equal(10, b"mapped") && mapping.equal(100, b"library"));
    mapping.sync_range(0, 4096).unwrap();
    let mut bytes = [0; 4096];
    place.fs.read(&node, 0, &mut bytes).unwrap();
    assert!(&bytes[10..16] == b"mapped" && &bytes[100..107] == b"library");
}

#[test]
fn names_that_the_library_makes_moves_and_removes_are_seen() {
    let place = Place::new();
    let library = Library::of(&place);
    // The kernel now remembers that there is no such name.
    assert!(!place.path("new").exists());
    assert!(!place.path("new").exists());
    let node = library.create(b"new");
    assert!(place.path("new").exists());
    library.write(&node, 0, b"content");
    assert_eq!(fs::read(place.path("new")).unwrap(), b"content");
    place.fs.rename(&library.root, b"new", &library.root, b"newer", RenameMode::Replace).unwrap();
    library.tell().entry_changed(library.root.ino(), b"new");
    library.tell().entry_changed(library.root.ino(), b"newer");
    assert!(!place.path("new").exists() && place.path("newer").exists());
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 1);
    place.fs.unlink(&library.root, b"newer").unwrap();
    library.tell().entry_changed(library.root.ino(), b"newer");
    assert!(!place.path("newer").exists());
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 0);
}

#[test]
fn attributes_that_the_library_sets_are_seen() {
    let place = Place::new();
    let library = Library::of(&place);
    fs::write(place.path("f"), b"x").unwrap();
    assert_eq!(fs::metadata(place.path("f")).unwrap().mode() & 0o7777, 0o644);
    let node = place.fs.lookup(&library.root, b"f").unwrap();
    library.set(&node, SetAttr { mode: Some(0o600), uid: Some(7), ..SetAttr::default() });
    let facts = fs::metadata(place.path("f")).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.uid()), (0o600, 7));
}

#[test]
fn the_library_and_the_mount_write_one_file_by_turns_in_many_threads() {
    let place = Place::new();
    let library = Library::of(&place);
    let len: usize = 64 << 10;
    fs::write(place.path("f"), vec![0; len]).unwrap();
    let node = place.fs.lookup(&library.root, b"f").unwrap();
    // Each thread owns every fourth page; two write through the mount, two through the library; all read their own back.
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (place, library, node) = (&place, &library, node.clone());
            scope.spawn(move || {
                let file = File::options().read(true).write(true).open(place.path("f")).unwrap();
                for round in 1..40_u8 {
                    for page in (thread..16).step_by(4) {
                        let bytes = vec![round; 4096];
                        if thread % 2 == 0 {
                            file.write_all_at(&bytes, page * 4096).unwrap();
                        } else {
                            library.write(&node, page * 4096, &bytes);
                        }
                        let mut read = vec![0; 4096];
                        if thread < 2 {
                            place.fs.read(&node, page * 4096, &mut read).unwrap();
                        } else {
                            file.read_at(&mut read, page * 4096).unwrap();
                        }
                        assert!(read == bytes, "thread {thread}, round {round}, page {page}");
                    }
                }
            });
        }
    });
}

#[test]
fn telling_after_the_mount_has_gone_does_nothing() {
    let mut place = Place::new();
    fs::write(place.path("f"), b"x").unwrap();
    let tell = place.mounted.as_ref().unwrap().notifier();
    let root = place.fs.root().unwrap();
    let ino = place.fs.lookup(&root, b"f").unwrap().ino();
    place.unmount();
    tell.changed(ino, 0..10);
    tell.attr_changed(ino);
    tell.entry_changed(root.ino(), b"f");
}
