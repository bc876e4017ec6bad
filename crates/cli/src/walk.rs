//! Paths and directories of a pool, for the commands that look at files.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::location::bytes;
use engine::fs::{Fs, LastLink, Node};
use engine::types::Kind;

/// Directories may nest this deep, so that a damaged pool whose directories contain each other ends a walk.
pub const DEPTH_MAX: usize = 2000;

/// A name in a directory.
#[derive(Debug, Clone)]
pub struct Name {
    /// The name.
    pub name: OsString,
    /// What it names.
    pub kind: Kind,
}

/// The file at a path from the root; symbolic links are followed, the last one only on demand.
pub fn find(fs: &Arc<Fs>, path: &Path, last: LastLink) -> Result<Node> {
    let root = fs.root()?;
    Ok(fs.resolve(&root, bytes(path), last)?)
}

/// As [`find`], but `None` if there is no such file.
pub fn look(fs: &Arc<Fs>, path: &Path, last: LastLink) -> Result<Option<Node>> {
    match find(fs, path, last) {
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// The directory of a path and the last name in it.
pub fn parent(fs: &Arc<Fs>, path: &Path) -> Result<(Node, Vec<u8>)> {
    let root = fs.root()?;
    Ok(fs.resolve_parent(&root, bytes(path))?)
}

/// The names in a directory without `.` and `..`, sorted.
pub fn names(fs: &Fs, dir: &Node) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    fs.read_dir(dir, 0, &mut |entry| {
        if entry.name != b"." && entry.name != b".." {
            names.push(Name { name: OsString::from_vec(entry.name.to_vec()), kind: entry.kind });
        }
        ControlFlow::Continue(())
    })?;
    names.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}

/// The failure of a walk that goes too deep.
pub fn too_deep(path: &Path) -> Failure {
    Failure::new(Exit::Other, format!("{}: directories nest deeper than {DEPTH_MAX}", path.display()))
}

/// `drwxr-xr-x`.
pub fn show_mode(kind: Kind, mode: u32) -> String {
    let first = match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    };
    let mut text = String::from(first);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// The kind as a word.
pub fn show_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharDevice => "character device",
        Kind::BlockDevice => "block device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(show_mode(Kind::Directory, 0o755), "drwxr-xr-x");
        assert_eq!(show_mode(Kind::File, 0o4644), "-rwSr--r--");
        assert_eq!(show_mode(Kind::Directory, 0o1777), "drwxrwxrwt");
    }
}
