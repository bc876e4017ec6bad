//! Listing directories, large ones above all.

use std::collections::HashSet;

use super::*;

#[test]
fn a_listing_shows_each_steady_name_once_while_others_come_and_go() {
    let fs = small();
    let top = root(&fs);
    let steady: HashSet<String> = (0..300).map(|i| format!("steady-{i}")).collect();
    for name in &steady {
        file(&fs, &top, name);
    }
    for i in 0..300 {
        file(&fs, &top, &format!("goes-{i}"));
    }
    let (mut cookie, mut seen, mut round) = (0, Vec::new(), 0);
    loop {
        let mut taken = 0;
        fs.read_dir(&top, cookie, &mut |entry| {
            if taken == 7 {
                return ControlFlow::Break(());
            }
            taken += 1;
            cookie = entry.cookie;
            seen.push(String::from_utf8_lossy(entry.name).into_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
        if taken == 0 {
            break;
        }
        for i in 0..4 {
            // Gone already when the rounds outnumber the files.
            let _ = fs.unlink(&top, format!("goes-{}", round * 4 + i).as_bytes());
            file(&fs, &top, &format!("comes-{round}-{i}"));
        }
        round += 1;
        assert!(round < 1000, "the listing ends");
    }
    let distinct: HashSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "no name twice");
    assert!(steady.iter().all(|name| distinct.contains(name)), "no steady name is missed");
    assert_eq!(&seen[..2], [".", ".."]);
    verify(&fs);
}

#[test]
fn a_removed_directory_cannot_be_listed() {
    let fs = small();
    let top = root(&fs);
    let dir = directory(&fs, &top, "dir");
    fs.rmdir(&top, b"dir").unwrap();
    assert_eq!(errno(fs.read_dir(&dir, 0, &mut |_| ControlFlow::Continue(()))), 2);
}

#[test]
fn a_hundred_thousand_names_are_found_and_removed() {
    let fs = fresh(128 * MIB, Durability::Volatile);
    let top = root(&fs);
    let dir = directory(&fs, &top, "big");
    let before = fs.statfs();
    let one = file(&fs, &top, "one");
    for i in 0..100_000 {
        fs.link(&one, &dir, format!("name-{i:06}").as_bytes()).unwrap();
    }
    assert_eq!(fs.attr(&one).unwrap().nlink, 100_001);
    for i in (0..100_000).step_by(997) {
        assert!(fs.lookup(&dir, format!("name-{i:06}").as_bytes()).unwrap().same(&one));
    }
    assert_eq!(errno(fs.lookup(&dir, b"name-100000")), 2);
    assert_eq!(names(&fs, &dir).len(), 100_000);
    // A tree of about 40 bytes an entry in nodes of 4 KiB, at least half full.
    let nodes = fs.attr(&dir).unwrap().blocks;
    assert!((900..2500).contains(&nodes), "{nodes} nodes");
    for i in 0..100_000 {
        fs.unlink(&dir, format!("name-{i:06}").as_bytes()).unwrap();
    }
    assert_eq!(names(&fs, &dir).len(), 0);
    assert_eq!(fs.attr(&dir).unwrap().blocks, 0);
    fs.unlink(&top, b"one").unwrap();
    drop(one);
    fs.sync().unwrap();
    assert!(fs.statfs().blocks_free >= before.blocks_free);
    verify(&fs);
}
