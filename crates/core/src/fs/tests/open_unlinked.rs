//! Files without a name that somebody has open, and what a crash leaves of them.

use super::*;

#[test]
fn an_unlinked_file_is_readable_until_its_last_reference_goes() {
    for class in CLASSES {
        let fs = fresh(32 * MIB, class);
        let top = root(&fs);
        let before = fs.statfs().blocks_free;
        let node = file(&fs, &top, "file");
        let bytes = pattern(300_000, 1);
        write_all(&fs, &node, 5000, &bytes);
        fs.unlink(&top, b"file").unwrap();
        assert_eq!(errno(fs.lookup(&top, b"file")), 2);
        write_all(&fs, &node, 0, b"still");
        assert_eq!(&content(&fs, &node)[5000..], bytes);
        let (ino, again) = (node.ino(), node.clone());
        drop(node);
        assert_eq!(fs.node(ino).unwrap().size(), 305_000);
        drop(again);
        assert_eq!(errno(fs.node(ino)), 116);
        fs.sync().unwrap();
        // An inode block may stay for the next inodes.
        assert!(before - fs.statfs().blocks_free <= 1, "{before} {}", fs.statfs().blocks_free);
        verify(&fs);
    }
}

#[test]
fn the_next_open_frees_what_a_crash_left_without_a_name() {
    for class in CLASSES {
        let fs = fresh(32 * MIB, class);
        let top = root(&fs);
        let node = file(&fs, &top, "file");
        write_all(&fs, &node, 0, &pattern(100_000, 2));
        let dir = directory(&fs, &top, "dir");
        let unnamed = fs.create_unnamed(&top, &NewNode::file(0o600)).unwrap();
        write_all(&fs, &unnamed, 0, b"nothing");
        fs.unlink(&top, b"file").unwrap();
        fs.rmdir(&top, b"dir").unwrap();
        fs.sync().unwrap();
        // The process dies: nothing of it runs any more.
        let pool = fs.pool().clone();
        let dead = (node, dir, unnamed, top, fs);
        let fs = Fs::open(pool, Access::ReadWrite).unwrap();
        std::mem::forget(dead);
        assert_eq!(fs.recovered().orphans.len(), 3);
        assert_eq!(fs.meta().orphans().len(), 0);
        verify(&fs);
        assert_eq!(names(&fs, &root(&fs)).len(), 0);
    }
}

#[test]
fn a_file_made_without_a_name_can_get_one() {
    let fs = small();
    let top = root(&fs);
    let node = fs.create_unnamed(&top, &NewNode::file(0o640)).unwrap();
    write_all(&fs, &node, 0, b"complete");
    assert_eq!(fs.attr(&node).unwrap().nlink, 0);
    fs.link(&node, &top, b"named").unwrap();
    drop((node, top));
    let fs = crash(fs);
    let top = root(&fs);
    assert_eq!(content(&fs, &fs.lookup(&top, b"named").unwrap()), b"complete");
    drop(fs.create_unnamed(&top, &NewNode::file(0o640)).unwrap());
    assert_eq!(fs.meta().orphans().len(), 0);
    verify(&fs);
}

#[test]
fn a_freed_number_comes_back_as_another_generation() {
    let fs = small();
    let top = root(&fs);
    let old = file(&fs, &top, "a");
    let (ino, generation) = (old.ino(), old.generation());
    drop(old);
    fs.unlink(&top, b"a").unwrap();
    for i in 0..64 {
        let node = file(&fs, &top, &format!("new-{i}"));
        assert!(node.ino() != ino || node.generation() != generation);
    }
    assert_eq!(errno(fs.node_of_generation(ino, generation)), 116);
    verify(&fs);
}
