//! The superblock: what the pool is. Block 0, and an identical copy in the last block.
//!
//! Written when the pool is made and never after, so a crash cannot tear it. Magic, checksum and version keep their
//! places in every later version: an older program can always say that a pool is newer than itself.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::crc_of;
use crate::error::{FormatError, ensure};
use crate::features::{self, Openable};
use crate::geometry::Geometry;
use crate::ids::{Block, Ino};
use crate::limits::{BLOCK_BYTES, GROUP_BLOCKS, LABEL_BYTES_MAX};
use crate::media::media_type;

const MAGIC: [u8; 8] = *b"DAXLE\0FS";
const CRC_AT: usize = 8;
const WHAT: &str = "superblock";

/// What a pool is.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------------------------------+
///     0| magic                                         |
///      +-----------------------+-----------------------+
///     8| crc                   | version               |
///      +-----------------------+-----------------------+
///    16| compat                                        |
///      +-----------------------------------------------+
///    24| ro_compat                                     |
///      +-----------------------------------------------+
///    32| incompat                                      |
///      +-----------------------------------------------+
///    40| uuid (16 bytes)                               |
///      +-----------------------------------------------+
///    56| label (32 bytes)                              |
///      +-----------------------------------------------+
///    88| pool_len                                      |
///      +-----------------------+-----------------------+
///    96| unit_blocks           | group_blocks          |
///      +-----------------------+-----------------------+
///   104| ring_first                                    |
///      +-----------------------------------------------+
///   112| ring_blocks                                   |
///      +-----------------------------------------------+
///   120| groups_first                                  |
///      +-----------------------+-----------------------+
///   128| group_count           | block_bytes           |
///      +-----------------------+-----------------------+
///   136| root                                          |
///      +-----------------------------------------------+
///   144| made_seconds                                  |
///      +-----------------------+-----------------------+
///   152| made_nanos            | reserved_a            |
///      +-----------------------+-----------------------+
///   160| name_salt                                     |
///      +-----------------------------------------------+
///   168| reserved_b (3928 bytes)                       |
///      +-----------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Superblock {
    /// `DAXLE`, NUL, `FS`.
    pub magic: [u8; 8],
    /// CRC-32C of the block.
    pub crc: U32,
    /// Version of the format: 1.
    pub version: U32,
    /// Features that a program may ignore.
    pub compat: U64,
    /// Features without which a program may only read.
    pub ro_compat: U64,
    /// Features without which a program may not open the pool.
    pub incompat: U64,
    /// The pool's identity.
    pub uuid: [u8; 16],
    /// A name for people, UTF-8, padded with NUL.
    pub label: [u8; 32],
    /// Bytes in the pool.
    pub pool_len: U64,
    /// Blocks in which data is allocated: 1 or 512.
    pub unit_blocks: U32,
    /// Blocks in a whole group.
    pub group_blocks: U32,
    /// First block of the journal's ring.
    pub ring_first: U64,
    /// Blocks of the ring.
    pub ring_blocks: U64,
    /// Where groups begin.
    pub groups_first: U64,
    /// Number of groups.
    pub group_count: U32,
    /// Bytes in a block.
    pub block_bytes: U32,
    /// Inode of the root directory.
    pub root: U64,
    /// When the pool was made: seconds since 1970.
    pub made_seconds: I64,
    /// And nanoseconds.
    pub made_nanos: U32,
    /// Zero.
    pub reserved_a: U32,
    /// Seeds the hash of names.
    pub name_salt: U64,
    /// Zero.
    pub reserved_b: [u8; 3928],
}

media_type!(Superblock, 4096);

/// What is chosen when a pool is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuperblockFields {
    /// The pool's identity.
    pub uuid: [u8; 16],
    /// A name of at most 31 bytes without NUL.
    pub label: String,
    /// Seconds since 1970 and nanoseconds.
    pub made: (i64, u32),
}

impl Superblock {
    /// A sealed superblock for a new pool.
    ///
    /// # Errors
    /// A label that is too long or contains NUL.
    pub fn new(geometry: &Geometry, fields: &SuperblockFields) -> Result<Superblock, FormatError> {
        let label = fields.label.as_bytes();
        ensure!(label.len() <= LABEL_BYTES_MAX, WHAT, Block(0), "label is longer than {LABEL_BYTES_MAX} bytes");
        ensure!(!label.contains(&0), WHAT, Block(0), "label contains NUL");
        let mut sb = Superblock::zeroed();
        sb.magic = MAGIC;
        sb.version = features::VERSION.into();
        sb.uuid = fields.uuid;
        sb.label[..label.len()].copy_from_slice(label);
        sb.pool_len = geometry.pool_len().into();
        sb.unit_blocks = geometry.unit_blocks().into();
        sb.group_blocks = GROUP_BLOCKS.into();
        sb.ring_first = geometry.ring_first().0.into();
        sb.ring_blocks = geometry.ring_blocks().into();
        sb.groups_first = geometry.groups_first().0.into();
        sb.group_count = geometry.group_count().into();
        sb.block_bytes = (BLOCK_BYTES as u32).into();
        sb.root = geometry.root().0.into();
        sb.made_seconds = fields.made.0.into();
        sb.made_nanos = fields.made.1.into();
        sb.name_salt = salt_of(&fields.uuid).into();
        sb.seal();
        Ok(sb)
    }

    /// Computes the checksum.
    pub fn seal(&mut self) {
        self.crc = crc_of(self.as_bytes(), CRC_AT).into();
    }

    /// Checks everything; `at` is the block it was read from. Answers how the pool may be opened, and its geometry.
    /// That the pool really has `pool_len` bytes is the caller's check.
    pub fn verify(&self, at: Block) -> Result<(Openable, Geometry), FormatError> {
        ensure!(self.magic == MAGIC, WHAT, at, "magic is not DAXLE: this is no Daxle pool");
        ensure!(self.crc.get() == crc_of(self.as_bytes(), CRC_AT), WHAT, at, "crc is wrong");
        let openable = features::check(self.version.get(), self.ro_compat.get(), self.incompat.get())?;
        let geometry = Geometry::new(self.pool_len.get(), self.unit_blocks.get())?;
        let rows = [
            ("block_bytes", u64::from(self.block_bytes.get()), BLOCK_BYTES),
            ("group_blocks", u64::from(self.group_blocks.get()), u64::from(GROUP_BLOCKS)),
            ("ring_first", self.ring_first.get(), geometry.ring_first().0),
            ("ring_blocks", self.ring_blocks.get(), geometry.ring_blocks()),
            ("groups_first", self.groups_first.get(), geometry.groups_first().0),
            ("group_count", u64::from(self.group_count.get()), u64::from(geometry.group_count())),
            ("root", self.root.get(), geometry.root().0),
        ];
        for (field, found, expected) in rows {
            ensure!(found == expected, WHAT, at, "{field} is {found}, expected {expected}");
        }
        ensure!(self.made_nanos.get() < 1_000_000_000, WHAT, at, "made_nanos is a second or more");
        ensure!(self.label[LABEL_BYTES_MAX] == 0, WHAT, at, "label does not end with NUL");
        Ok((openable, geometry))
    }

    /// The label; bytes that are no UTF-8 are replaced.
    pub fn label_text(&self) -> String {
        let end = self.label.iter().position(|byte| *byte == 0).unwrap_or(self.label.len());
        String::from_utf8_lossy(&self.label[..end]).into_owned()
    }

    /// Inode of the root directory.
    pub fn root_ino(&self) -> Ino {
        Ino(self.root.get())
    }
}

fn salt_of(uuid: &[u8; 16]) -> u64 {
    let whole = u128::from_le_bytes(*uuid);
    (whole as u64) ^ ((whole >> 64) as u64).rotate_left(32)
}
