//! Times and the other attributes.

use super::*;
use crate::types::{SetAttr, SyncKind, TimeOrNow, Timestamp};

const OLD: Timestamp = Timestamp { seconds: -5, nanos: 123_456_789 };

fn backdate(fs: &Fs, node: &Node) {
    let set = SetAttr {
        atime: Some(TimeOrNow::Time(OLD)),
        mtime: Some(TimeOrNow::Time(OLD)),
        ctime: Some(OLD),
        ..SetAttr::default()
    };
    let attr = fs.set_attr(node, &set).unwrap();
    assert_eq!((attr.atime, attr.mtime, attr.ctime), (OLD, OLD, OLD));
}

type Step = fn(&Fs, &Node, &Node);

#[test]
fn each_operation_moves_the_times_that_posix_names() {
    let fs = small();
    let top = root(&fs);
    let node = file(&fs, &top, "file");
    write_all(&fs, &node, 0, &[1; 5000]);
    // Which of access, modification and change time are new after the step.
    let rows: [(&str, Step, [bool; 3]); 8] = [
        ("overwrite", |fs, _, node| write_all(fs, node, 0, b"x"), [false, true, true]),
        ("extend", |fs, _, node| write_all(fs, node, 9000, b"x"), [false, true, true]),
        ("read", |fs, _, node| drop(content(fs, node)), [true, false, false]),
        ("link", |fs, top, node| fs.link(node, top, b"other").unwrap(), [false, false, true]),
        ("unlink", |fs, top, _| fs.unlink(top, b"other").unwrap(), [false, false, true]),
        (
            "chmod",
            |fs, _, node| drop(fs.set_attr(node, &SetAttr { mode: Some(0o600), ..SetAttr::default() })),
            [false, false, true],
        ),
        (
            "truncate",
            |fs, _, node| drop(fs.set_attr(node, &SetAttr { size: Some(1), ..SetAttr::default() })),
            [false, true, true],
        ),
        ("punch", |fs, _, node| fs.allocate(node, crate::types::Fallocate::Punch, 0, 1).unwrap(), [false, true, true]),
    ];
    for (name, step, wanted) in rows {
        backdate(&fs, &node);
        backdate(&fs, &top);
        step(&fs, &top, &node);
        let attr = fs.attr(&node).unwrap();
        let changed = [attr.atime != OLD, attr.mtime != OLD, attr.ctime != OLD];
        assert_eq!(changed, wanted, "{name}");
        let dir = fs.attr(&top).unwrap();
        assert_eq!(dir.mtime != OLD, name.ends_with("link"), "{name}");
    }
    backdate(&fs, &node);
    fs.rename(&top, b"file", &top, b"moved", crate::types::RenameMode::Replace).unwrap();
    assert_ne!(fs.attr(&node).unwrap().ctime, OLD);
}

#[test]
fn an_overwrite_starts_no_transaction_and_its_time_survives_a_sync() {
    let fs = fresh(32 * MIB, Durability::Msync);
    let top = root(&fs);
    let node = file(&fs, &top, "file");
    write_all(&fs, &node, 0, &[1; 5000]);
    backdate(&fs, &node);
    let before = fs.meta().committed();
    write_all(&fs, &node, 0, &[2; 5000]);
    let read = content(&fs, &node);
    assert_eq!(fs.meta().committed(), before);
    let attr = fs.attr(&node).unwrap();
    assert_ne!(attr.mtime, OLD);
    fs.sync_node(&node, SyncKind::All).unwrap();
    assert!(fs.meta().committed() > before);
    drop((node, top));
    let fs = crash(fs);
    let node = fs.lookup(&root(&fs), b"file").unwrap();
    let after = fs.attr(&node).unwrap();
    assert_eq!((after.mtime, after.ctime, after.atime), (attr.mtime, attr.ctime, attr.atime));
    assert_eq!(content(&fs, &node), read);
}

#[test]
fn the_time_of_an_overwrite_is_logged_when_the_last_reference_goes() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    write_all(&fs, &node, 0, &[1; 100]);
    backdate(&fs, &node);
    write_all(&fs, &node, 0, &[2; 100]);
    let mtime = fs.attr(&node).unwrap().mtime;
    drop(node);
    let fs = crash(fs);
    let node = fs.lookup(&root(&fs), b"file").unwrap();
    assert_eq!(fs.attr(&node).unwrap().mtime, mtime);
}

#[test]
fn a_given_time_wins_over_an_earlier_overwrite() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    write_all(&fs, &node, 0, &[1; 100]);
    write_all(&fs, &node, 0, &[2; 100]);
    backdate(&fs, &node);
    fs.sync().unwrap();
    assert_eq!(fs.attr(&node).unwrap().mtime, OLD);
}

#[test]
fn reads_after_the_first_leave_the_access_time_alone() {
    let fs = small();
    let node = file(&fs, &root(&fs), "file");
    write_all(&fs, &node, 0, &[1; 100]);
    backdate(&fs, &node);
    content(&fs, &node);
    let first = fs.attr(&node).unwrap().atime;
    content(&fs, &node);
    assert_eq!(fs.attr(&node).unwrap().atime, first);
}
