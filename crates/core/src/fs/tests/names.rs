//! Names: creating, finding, linking, removing.

use super::*;
use crate::fs::LastLink;
use crate::types::NewKind;

#[test]
fn every_kind_of_node_comes_back_after_reopening() {
    for class in CLASSES {
        let fs = fresh(32 * MIB, class);
        let top = root(&fs);
        let long = vec![b't'; 3000];
        let kinds = [
            ("file", NewKind::File),
            ("dir", NewKind::Directory),
            ("short", NewKind::Symlink(b"../somewhere")),
            ("long", NewKind::Symlink(&long)),
            ("fifo", NewKind::Fifo),
            ("socket", NewKind::Socket),
            ("char", NewKind::CharDevice(0x501)),
            ("block", NewKind::BlockDevice(0x802)),
        ];
        for (name, kind) in kinds {
            let new = NewNode { kind, mode: 0o4750, uid: 7, gid: 9 };
            let node = fs.create(&top, name.as_bytes(), &new).unwrap();
            let attr = fs.attr(&node).unwrap();
            assert_eq!((attr.mode, attr.uid, attr.gid, attr.kind), (0o4750, 7, 9, kind.kind()));
        }
        verify(&fs);
        drop(top);
        let fs = if class == Durability::Msync { reopen(fs) } else { crash(fs) };
        let top = root(&fs);
        for (name, kind) in kinds {
            let node = fs.lookup(&top, name.as_bytes()).unwrap();
            assert_eq!(node.kind(), kind.kind(), "{name}");
            match kind {
                NewKind::Symlink(target) => {
                    assert_eq!(fs.read_link(&node).unwrap(), target);
                    assert_eq!(node.size(), target.len() as u64);
                }
                NewKind::CharDevice(number) | NewKind::BlockDevice(number) => {
                    assert_eq!(fs.attr(&node).unwrap().rdev, number);
                }
                _ => assert_eq!(errno(fs.read_link(&node)), 22),
            }
        }
        verify(&fs);
    }
}

#[test]
fn names_that_cannot_be_are_refused_as_linux_does() {
    let fs = small();
    let top = root(&fs);
    let plain = file(&fs, &top, "plain");
    let new = NewNode::file(0o600);
    let long = [b'n'; 256];
    assert_eq!(errno(fs.create(&top, b"", &new)), 2);
    assert_eq!(errno(fs.create(&top, &long, &new)), 36);
    assert_eq!(errno(fs.lookup(&top, &long)), 36);
    assert_eq!(errno(fs.create(&top, b"a/b", &new)), 22);
    assert_eq!(errno(fs.create(&top, b"plain", &new)), 17);
    assert_eq!(errno(fs.create(&top, b".", &new)), 17);
    assert_eq!(errno(fs.create(&plain, b"x", &new)), 20);
    assert_eq!(errno(fs.lookup(&plain, b"x")), 20);
    assert_eq!(errno(fs.lookup(&top, b"absent")), 2);
    assert_eq!(errno(fs.create(&top, b"l", &NewNode::symlink(b""))), 2);
    assert_eq!(errno(fs.create(&top, b"l", &NewNode::symlink(&[b'x'; 4096]))), 36);
    assert_eq!(errno(fs.unlink(&top, b"absent")), 2);
    assert_eq!(errno(fs.rmdir(&top, b"plain")), 20);
    assert_eq!(errno(fs.rmdir(&top, b".")), 22);
    directory(&fs, &top, "dir");
    assert_eq!(errno(fs.unlink(&top, b"dir")), 21);
    assert_eq!(errno(fs.read(&top, 0, &mut [0; 4])), 21);
    assert_eq!(errno(fs.write(&top, 0, b"x")), 21);
    assert!(fs.create(&top, &long[..255], &new).is_ok());
    assert_eq!(names(&fs, &top).len(), 3);
    verify(&fs);
}

#[test]
fn a_file_lives_as_long_as_one_of_its_names() {
    let fs = small();
    let top = root(&fs);
    let node = file(&fs, &top, "one");
    write_all(&fs, &node, 0, b"content");
    fs.link(&node, &top, b"two").unwrap();
    assert_eq!(fs.attr(&node).unwrap().nlink, 2);
    assert_eq!(errno(fs.link(&node, &top, b"two")), 17);
    let dir = directory(&fs, &top, "dir");
    assert_eq!(errno(fs.link(&dir, &top, b"three")), 1);
    fs.unlink(&top, b"one").unwrap();
    drop(node);
    verify(&fs);
    let node = fs.lookup(&top, b"two").unwrap();
    assert_eq!(content(&fs, &node), b"content");
    fs.unlink(&top, b"two").unwrap();
    assert_eq!(errno(fs.link(&node, &top, b"again")), 2, "an unlinked file takes no new name");
    drop(node);
    verify(&fs);
}

#[test]
fn a_directory_with_entries_stays_and_an_empty_one_goes() {
    let fs = small();
    let top = root(&fs);
    let dir = directory(&fs, &top, "dir");
    assert_eq!(fs.attr(&top).unwrap().nlink, 3);
    file(&fs, &dir, "inside");
    assert_eq!(errno(fs.rmdir(&top, b"dir")), 39);
    fs.unlink(&dir, b"inside").unwrap();
    fs.rmdir(&top, b"dir").unwrap();
    assert_eq!(fs.attr(&top).unwrap().nlink, 2);
    assert_eq!(errno(fs.create(&dir, b"late", &NewNode::file(0o600))), 2, "a removed directory takes no names");
    verify(&fs);
}

#[test]
fn paths_follow_links_and_find_loops() {
    let fs = small();
    let top = root(&fs);
    let dir = directory(&fs, &top, "dir");
    let deep = directory(&fs, &dir, "deep");
    let plain = file(&fs, &deep, "plain");
    for (name, target) in [("rel", "dir/deep"), ("abs", "/dir/deep/plain"), ("loop", "loop"), ("up", "dir/deep/../..")]
    {
        fs.create(&top, name.as_bytes(), &NewNode::symlink(target.as_bytes())).unwrap();
    }
    let at = |path: &str| fs.resolve(&top, path.as_bytes(), LastLink::Follow);
    assert!(at("rel/plain").unwrap().same(&plain));
    assert!(at("abs").unwrap().same(&plain));
    assert!(at("/up/rel//plain").unwrap().same(&plain));
    assert!(at("/").unwrap().same(&top));
    assert!(fs.resolve(&deep, b"../../dir/./deep/", LastLink::Stay).unwrap().same(&deep));
    assert_eq!(errno(at("loop")), 40);
    assert_eq!(errno(at("abs/")), 20);
    assert_eq!(errno(at("rel/plain/x")), 20);
    assert_eq!(fs.resolve(&top, b"loop", LastLink::Stay).unwrap().kind(), Kind::Symlink);
    let (parent, name) = fs.resolve_parent(&top, b"rel/new/").unwrap();
    assert!(parent.same(&deep));
    assert_eq!(name, b"new");
    assert_eq!(errno(fs.resolve_parent(&top, b"/")), 17);
}
