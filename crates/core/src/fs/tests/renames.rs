//! Rename: every mode over every pair of kinds.

use super::*;
use crate::types::RenameMode::{self, Exchange, NoReplace, Replace};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Nothing,
    File,
    EmptyDir,
    FullDir,
}

fn put(fs: &Fs, dir: &Node, name: &str, what: Is) {
    match what {
        Is::Nothing => {}
        Is::File => write_all(fs, &file(fs, dir, name), 0, name.as_bytes()),
        Is::EmptyDir => drop(directory(fs, dir, name)),
        Is::FullDir => drop(file(fs, &directory(fs, dir, name), "inside")),
    }
}

fn expected(source: Is, target: Is, mode: RenameMode) -> Result<(), i32> {
    use Is::{EmptyDir, File, FullDir, Nothing};
    match (source, target, mode) {
        (Nothing, ..) | (_, Nothing, Exchange) => Err(2),
        (_, Nothing, _) | (.., Exchange) | (File, File, Replace) | (EmptyDir | FullDir, EmptyDir, Replace) => Ok(()),
        (_, _, NoReplace) => Err(17),
        (File, EmptyDir | FullDir, Replace) => Err(21),
        (EmptyDir | FullDir, File, Replace) => Err(20),
        (EmptyDir | FullDir, FullDir, Replace) => Err(39),
    }
}

#[test]
fn every_mode_over_every_pair_does_what_linux_does() {
    let all = [Is::Nothing, Is::File, Is::EmptyDir, Is::FullDir];
    let fs = small();
    let top = root(&fs);
    let mut case = 0;
    for source in all {
        for target in all {
            for mode in [Replace, NoReplace, Exchange] {
                for across in [false, true] {
                    case += 1;
                    let here = directory(&fs, &top, &format!("here-{case}"));
                    let there = if across { directory(&fs, &top, &format!("there-{case}")) } else { here.clone() };
                    put(&fs, &here, "a", source);
                    put(&fs, &there, "b", target);
                    let inodes = (fs.lookup(&here, b"a").ok(), fs.lookup(&there, b"b").ok());
                    let inodes = (inodes.0.map(|node| node.ino()), inodes.1.map(|node| node.ino()));
                    let done = fs.rename(&here, b"a", &there, b"b", mode).map_err(|error| error.errno());
                    assert_eq!(done, expected(source, target, mode), "{source:?} {target:?} {mode:?} {across}");
                    let after = (fs.lookup(&here, b"a").ok(), fs.lookup(&there, b"b").ok());
                    let after = (after.0.map(|node| node.ino()), after.1.map(|node| node.ino()));
                    let wanted = match (done, mode) {
                        (Err(_), _) => inodes,
                        (Ok(()), Exchange) => (inodes.1, inodes.0),
                        (Ok(()), _) => (None, inodes.0),
                    };
                    assert_eq!(after, wanted, "{source:?} {target:?} {mode:?} {across}");
                }
            }
        }
    }
    drop(top);
    verify(&fs);
    verify(&crash(fs));
}

#[test]
fn a_directory_never_comes_to_lie_under_itself() {
    let fs = small();
    let top = root(&fs);
    let a = directory(&fs, &top, "a");
    let b = directory(&fs, &a, "b");
    let c = directory(&fs, &b, "c");
    for (dir, name) in [(&a, "x"), (&b, "x"), (&c, "x")] {
        assert_eq!(errno(fs.rename(&top, b"a", dir, name.as_bytes(), Replace)), 22);
    }
    assert_eq!(errno(fs.rename(&top, b"a", &b, b"c", Exchange)), 22);
    assert_eq!(errno(fs.rename(&b, b"c", &top, b"a", Exchange)), 22);
    assert_eq!(errno(fs.rename(&b, b"c", &top, b"a", Replace)), 39);
    assert_eq!(errno(fs.rename(&top, b"a", &top, b"..", Replace)), 16);
    fs.rename(&a, b"b", &top, b"b", Replace).unwrap();
    assert!(fs.lookup(&b, b"..").unwrap().same(&top));
    fs.rename(&top, b"a", &b, b"a", Replace).unwrap();
    assert!(fs.lookup(&a, b"..").unwrap().same(&b));
    verify(&fs);
}

#[test]
fn two_names_of_one_file_stay_both() {
    let fs = small();
    let top = root(&fs);
    let node = file(&fs, &top, "one");
    fs.link(&node, &top, b"two").unwrap();
    fs.rename(&top, b"one", &top, b"two", Replace).unwrap();
    fs.rename(&top, b"one", &top, b"one", Replace).unwrap();
    assert_eq!(errno(fs.rename(&top, b"one", &top, b"two", NoReplace)), 17);
    let mut left = names(&fs, &top);
    left.sort();
    assert_eq!(left, ["one", "two"]);
    verify(&fs);
}

#[test]
fn a_replaced_file_that_is_open_can_still_be_read() {
    let fs = small();
    let top = root(&fs);
    let old = file(&fs, &top, "name");
    write_all(&fs, &old, 0, b"old");
    let new = file(&fs, &top, "new");
    write_all(&fs, &new, 0, b"new");
    fs.rename(&top, b"new", &top, b"name", Replace).unwrap();
    assert_eq!(content(&fs, &old), b"old");
    assert_eq!(fs.attr(&old).unwrap().nlink, 0);
    drop(old);
    assert_eq!(content(&fs, &fs.lookup(&top, b"name").unwrap()), b"new");
    verify(&fs);
}
