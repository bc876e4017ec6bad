//! Directory entries: the value behind a name, and the key that a name has.
//!
//! The key is a hash of 56 bits, shifted left by 7, plus a number that tells colliding names apart. The hash is `SipHash`
//! with a key of the pool, so nobody can make names that collide in a pool he does not know. The key doubles as cookie of
//! `readdir`; keys below 128 are free for the start, `.` and `..`, and the largest key plus one still fits an `i64`.

use crate::error::{FormatError, ensure};
use crate::ids::Ino;
use crate::limits::NAME_BYTES_MAX;

/// Bytes before the name.
pub const DIRENT_HEAD_BYTES: usize = 9;
/// How many names may have the same hash: their keys are the first one's and those after it.
pub const KEYS_PER_NAME: u64 = 128;
/// The smallest key of a name.
pub const NAME_KEY_MIN: u64 = 128;

/// The value of a directory entry, decoded: 9 bytes and the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirentValue<'v> {
    /// What the name means. On the medium 8 bytes.
    pub ino: Ino,
    /// That inode's type (`DT_*`): the type bits of its mode, shifted right by 12. On the medium 1 byte.
    pub kind: u8,
    /// 1 to 255 bytes without NUL and slash; not `.` nor `..`.
    pub name: &'v [u8],
}

impl<'v> DirentValue<'v> {
    /// Appends the value's bytes.
    ///
    /// # Errors
    /// A name that no entry may have.
    pub fn encode(&self, into: &mut Vec<u8>) -> Result<(), FormatError> {
        check_name(self.name).map_err(|why| FormatError::new("directory entry", self.ino, why))?;
        into.extend_from_slice(&self.ino.0.to_le_bytes());
        into.push(self.kind);
        into.extend_from_slice(self.name);
        Ok(())
    }

    /// Reads the value under `key` in the directory `owner`.
    pub fn read(bytes: &'v [u8], owner: Ino, key: u64) -> Result<DirentValue<'v>, FormatError> {
        let what = "directory entry";
        let place = || format!("{owner}, key {key}");
        let (ino, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| FormatError::new(what, place(), format!("value of {} bytes", bytes.len())))?;
        let (kind, name) = rest.split_first().ok_or_else(|| FormatError::new(what, place(), "value without a type"))?;
        check_name(name).map_err(|why| FormatError::new(what, place(), why))?;
        let ino = Ino(u64::from_le_bytes(*ino));
        ensure!(ino.0 != 0, what, place(), "ino is 0");
        ensure!(matches!(kind, 1 | 2 | 4 | 6 | 8 | 10 | 12), what, place(), "type is {kind}");
        Ok(DirentValue { ino, kind: *kind, name })
    }
}

fn check_name(name: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("name is empty")
    } else if name.len() > NAME_BYTES_MAX {
        Err("name is too long")
    } else if name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        Err("name contains NUL or a slash")
    } else if matches!(name, b"." | b"..") {
        Err("name is . or ..")
    } else {
        Ok(())
    }
}

/// The first key of a name in a pool with this salt: a multiple of 128, from 128 up to below 2^63 - 128.
pub fn name_key(name: &[u8], salt: u64) -> u64 {
    let hash = siphash(salt, !salt.rotate_left(17), name) >> 8;
    hash.clamp(1, (1 << 56) - 2) * KEYS_PER_NAME
}

/// SipHash-2-4.
fn siphash(low: u64, high: u64, bytes: &[u8]) -> u64 {
    let mut state = [
        low ^ 0x736f_6d65_7073_6575,
        high ^ 0x646f_7261_6e64_6f6d,
        low ^ 0x6c79_6765_6e65_7261,
        high ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    for word in words.iter().chain([&last]) {
        let word = u64::from_le_bytes(*word);
        state[3] ^= word;
        sip_round(&mut state);
        sip_round(&mut state);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    for _ in 0..4 {
        sip_round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn sip_round(state: &mut [u64; 4]) {
    let [a, b, c, d] = state;
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash_2_4() {
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, &bytes), 0xa129_ca61_49be_45e5);
    }
}
