//! Which of our pools are mounted where, as `/proc/self/mountinfo` tells it.
//!
//! A mount of ours carries the path of its pool as its source. So `df` shows the pool, and a command finds out whether
//! the process that holds a pool still serves it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A FUSE mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuseMount {
    /// The number of the kernel's connection.
    pub connection: u32,
    /// Where.
    pub point: PathBuf,
    /// What: for our mounts the pool.
    pub source: PathBuf,
}

/// All FUSE mounts, in the order of mounting.
pub fn all() -> Vec<FuseMount> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(parse).collect()
}

/// The topmost FUSE mount at this path, whose last part is not followed: the server may be dead.
pub fn at(dir: &Path) -> Option<FuseMount> {
    let point = match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().ok()?.join(name)
        }
        _ => dir.canonicalize().ok()?,
    };
    all().into_iter().rfind(|mount| mount.point == point)
}

/// Whether no mount has this pool as its source.
pub fn was_unmounted(pool: &Path) -> bool {
    !all().iter().any(|mount| mount.source == pool)
}

fn parse(line: &[u8]) -> Option<FuseMount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let kind = fields.get(dash + 1)?;
    if *kind != b"fuse" && !kind.starts_with(b"fuse.") {
        return None;
    }
    let device = std::str::from_utf8(fields.get(2)?).ok()?;
    let connection = device.split_once(':')?.1.parse().ok()?;
    Some(FuseMount { connection, point: unescape(fields.get(4)?), source: unescape(fields.get(dash + 2)?) })
}

/// Spaces and the like are written as `\040`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let octal = field.get(at + 1..at + 4).filter(|_| field[at] == b'\\');
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(value.unwrap_or(field[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    OsString::from_vec(bytes).into()
}

/// A pool's path as the source of a mount. A backslash would be read as an escape by `fusermount3`.
pub fn source_of(pool: &Path) -> String {
    let canonical = pool.canonicalize().unwrap_or_else(|_| pool.to_owned());
    String::from_utf8_lossy(canonical.as_os_str().as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_tells_its_connection_its_place_and_its_pool() {
        let line = b"36 35 0:52 / /mnt/a\\040b rw,nosuid shared:1 - fuse /pools/x rw,user_id=0";
        let expected = FuseMount { connection: 52, point: "/mnt/a b".into(), source: "/pools/x".into() };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b"1 2 0:3 / /mnt rw - ext4 /dev/sda rw"), None);
        assert_eq!(parse(b""), None);
    }
}
