//! Checksums: CRC-32C (Castagnoli) with the checksum's own field taken as zero.
//!
//! Processors compute this one in hardware. It finds torn and decayed structures; it is no protection against somebody
//! who writes images on purpose, so everything behind a right checksum is checked as well.

/// Bytes of a checksum.
pub const CRC_BYTES: usize = 4;

/// Checksum of `bytes`, the four bytes at `crc_at` taken as zero.
///
/// # Panics
/// If `crc_at + 4` is past the end.
pub fn crc_of(bytes: &[u8], crc_at: usize) -> u32 {
    crc_from(0, bytes, crc_at)
}

/// As `crc_of`, with `seed` put before the bytes: another seed gives another checksum.
///
/// # Panics
/// If `crc_at + 4` is past the end.
pub fn crc_seeded(seed: &[u8], bytes: &[u8], crc_at: usize) -> u32 {
    crc_from(crc32c::crc32c(seed), bytes, crc_at)
}

fn crc_from(crc: u32, bytes: &[u8], crc_at: usize) -> u32 {
    let crc = crc32c::crc32c_append(crc, &bytes[..crc_at]);
    let crc = crc32c::crc32c_append(crc, &[0; CRC_BYTES]);
    crc32c::crc32c_append(crc, &bytes[crc_at + CRC_BYTES..])
}
