//! What is mounted where, as `/proc/self/mountinfo` tells it: asked without touching the mount itself, which would wait
//! for a server that may not answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// Minor number of its device: for FUSE the number of the connection.
    pub(crate) minor: u32,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Type of file system.
    pub(crate) kind: String,
}

/// The topmost mount at exactly this (canonical) path.
pub(crate) fn at(path: &Path) -> Option<MountLine> {
    let text = std::fs::read("/proc/self/mountinfo").ok()?;
    text.split(|&byte| byte == b'\n').filter_map(parse).rfind(|line| line.point == path)
}

/// Whether it is a FUSE mount.
pub(crate) fn is_fuse(line: &MountLine) -> bool {
    line.kind == "fuse" || line.kind.starts_with("fuse.")
}

fn parse(line: &[u8]) -> Option<MountLine> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let (device, point) = (std::str::from_utf8(fields.get(2)?).ok()?, unescape(fields.get(4)?));
    let minor = device.split_once(':')?.1.parse().ok()?;
    let dash = fields.iter().position(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(fields.get(dash + 1)?).into_owned();
    Some(MountLine { minor, point: OsString::from_vec(point).into(), kind })
}

/// Spaces and the like are written as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\').then(|| tail.get(..3)).flatten();
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_space_in_the_path_is_understood() {
        let line = b"36 35 0:52 / /mnt/a\\040b rw,nosuid - fuse daxle rw,user_id=0";
        let expected = MountLine { minor: 52, point: "/mnt/a b".into(), kind: "fuse".into() };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 2 x / /mnt"), None);
    }

    #[test]
    fn the_root_is_mounted_and_its_kind_is_known() {
        assert!(at(Path::new("/proc")).is_some_and(|line| line.kind == "proc" && !is_fuse(&line)));
        assert_eq!(at(Path::new("/no/such/mount")), None);
    }
}
