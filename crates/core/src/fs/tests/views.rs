//! Direct and cached views of one file.

use super::*;

#[test]
fn a_file_has_views_of_one_kind_at_a_time() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    let (first, second) = (fs.direct_view(&node).unwrap(), fs.direct_view(&node).unwrap());
    assert_eq!(errno(fs.cached_view(&node)), 16);
    drop(first);
    assert_eq!(errno(fs.cached_view(&node)), 16);
    drop(second);
    let cached = fs.cached_view(&node).unwrap();
    assert_eq!(errno(fs.direct_view(&node)), 16);
    drop(cached);
    assert!(fs.direct_view(&node).is_ok());
}

#[test]
fn nodes_of_another_pool_are_refused() {
    let (fs, other) = (small(), small());
    let here = root(&fs);
    let there = root(&other);
    assert_eq!(errno(fs.lookup(&there, b"x")), 18);
    assert_eq!(errno(fs.rename(&here, b"x", &there, b"y", crate::types::RenameMode::Replace)), 18);
    assert_eq!(errno(fs.link(&file(&other, &there, "f"), &here, b"f")), 18);
}

#[test]
fn a_pool_open_for_reading_refuses_every_change() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    write_all(&fs, &node, 0, b"content");
    drop(node);
    let pool = fs.pool().clone();
    fs.close().unwrap();
    assert_eq!(errno(fs.create(&root(&fs), b"late", &NewNode::file(0o600))), 5, "closed");
    drop(fs);
    let fs = Fs::open(pool, Access::ReadOnly).unwrap();
    let top = root(&fs);
    let node = fs.lookup(&top, b"file").unwrap();
    assert_eq!(content(&fs, &node), b"content");
    assert_eq!(errno(fs.write(&node, 0, b"x")), 30);
    assert_eq!(errno(fs.create(&top, b"x", &NewNode::file(0o600))), 30);
    assert_eq!(errno(fs.unlink(&top, b"file")), 30);
    assert_eq!(errno(fs.set_attr(&node, &crate::types::SetAttr::default())), 30);
    fs.sync().unwrap();
    verify(&fs);
}
