//! Inode records: 512 bytes each, eight to a block.
//!
//! The last 320 bytes hold the root of the inode's tree (extents of a file, names of a directory) or the target of a
//! symbolic link, so small files and directories need no other block. A slot is free when its type bits are zero: all
//! zeros, or a sealed record that keeps the generation for the next inode in it.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::crc_of;
use crate::error::{FormatError, ensure};
use crate::ids::Ino;
use crate::limits::{FILE_BYTES_MAX, TARGET_BYTES_MAX};
use crate::media::media_type;
use crate::node::{KIND_DIRECTORY, KIND_EXTENTS, NodeMut, NodeRef};

/// Bytes of a record.
pub const INODE_BYTES: usize = 512;
/// Bytes of its inline area.
pub const INLINE_BYTES: usize = 320;
/// Records in a block.
pub const INODES_PER_BLOCK: u32 = 8;

const MAGIC: u32 = u32::from_le_bytes(*b"DXIN");
const CRC_AT: usize = 4;
const WHAT: &str = "inode";
const TYPE_BITS: u32 = 0o170_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// An inode.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------+-----------------------+
///     0| magic                 | crc                   |
///      +-----------------------+-----------------------+
///     8| ino                                           |
///      +-----------------------+-----------------------+
///    16| generation            | mode                  |
///      +-----------------------+-----------------------+
///    24| nlink                 | flags                 |
///      +-----------------------+-----------------------+
///    32| uid                   | gid                   |
///      +-----------------------+-----------------------+
///    40| rdev                  | reserved_a            |
///      +-----------------------+-----------------------+
///    48| size                                          |
///      +-----------------------------------------------+
///    56| blocks                                        |
///      +-----------------------------------------------+
///    64| atime_seconds                                 |
///      +-----------------------------------------------+
///    72| mtime_seconds                                 |
///      +-----------------------------------------------+
///    80| ctime_seconds                                 |
///      +-----------------------------------------------+
///    88| btime_seconds                                 |
///      +-----------------------+-----------------------+
///    96| atime_nanos           | mtime_nanos           |
///      +-----------------------+-----------------------+
///   104| ctime_nanos           | btime_nanos           |
///      +-----------------------+-----------------------+
///   112| parent                                        |
///      +-----------------------------------------------+
///   120| xattr_root                                    |
///      +-----------------------------------------------+
///   128| change                                        |
///      +-----------------------------------------------+
///   136| reserved_b (56 bytes)                         |
///      +-----------------------------------------------+
///   192| inline (320 bytes)                            |
///      +-----------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct InodeRecord {
    /// `DXIN`.
    pub magic: U32,
    /// CRC-32C of the record.
    pub crc: U32,
    /// Its own number.
    pub ino: U64,
    /// Tells two uses of one slot apart.
    pub generation: U32,
    /// Type and permission bits, as `st_mode`.
    pub mode: U32,
    /// Links.
    pub nlink: U32,
    /// No flags are defined: zero.
    pub flags: U32,
    /// Owner.
    pub uid: U32,
    /// Group.
    pub gid: U32,
    /// Device number of a device file.
    pub rdev: U32,
    /// Zero.
    pub reserved_a: U32,
    /// Size in bytes.
    pub size: U64,
    /// 4 KiB blocks that it owns, the nodes of its tree included.
    pub blocks: U64,
    /// Last read: seconds since 1970.
    pub atime_seconds: I64,
    /// Last change of the content.
    pub mtime_seconds: I64,
    /// Last change.
    pub ctime_seconds: I64,
    /// Creation.
    pub btime_seconds: I64,
    /// Nanoseconds of the last read.
    pub atime_nanos: U32,
    /// Nanoseconds of the last change of the content.
    pub mtime_nanos: U32,
    /// Nanoseconds of the last change.
    pub ctime_nanos: U32,
    /// Nanoseconds of the creation.
    pub btime_nanos: U32,
    /// The directory that a directory is in; 0 for other inodes.
    pub parent: U64,
    /// Root block of extended attributes; 0, none.
    pub xattr_root: U64,
    /// Grows with every change that was logged.
    pub change: U64,
    /// Zero.
    pub reserved_b: [u8; 56],
    /// Root of the tree, or target of a symbolic link of up to 320 bytes.
    pub inline: [u8; INLINE_BYTES],
}

media_type!(InodeRecord, INODE_BYTES);

macro_rules! accessors {
    ($($(#[$doc:meta])* $get:ident, $set:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $get(&self) -> $type {
                self.$get.get()
            }

            /// Sets the field of this name.
            pub fn $set(&mut self, value: $type) {
                self.$get.set(value);
            }
        )*
    };
}

macro_rules! times {
    ($($(#[$doc:meta])* $get:ident, $set:ident, $seconds:ident, $nanos:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $get(&self) -> (i64, u32) {
                (self.$seconds.get(), self.$nanos.get())
            }

            /// Sets the time of this name: seconds since 1970, nanoseconds.
            pub fn $set(&mut self, time: (i64, u32)) {
                self.$seconds.set(time.0);
                self.$nanos.set(time.1);
            }
        )*
    };
}

impl InodeRecord {
    /// A record with magic, number, generation and mode set, all else zero; not sealed.
    pub fn new(ino: Ino, generation: u32, mode: u32) -> InodeRecord {
        let mut rec = InodeRecord::zeroed();
        rec.magic = MAGIC.into();
        rec.ino = ino.0.into();
        rec.generation = generation.into();
        rec.mode = mode.into();
        rec
    }

    /// A free slot that remembers the generation of the inode that was in it; not sealed.
    pub fn free(ino: Ino, generation: u32) -> InodeRecord {
        InodeRecord::new(ino, generation, 0)
    }

    /// Whether the slot is free.
    pub fn is_free(&self) -> bool {
        self.mode() & TYPE_BITS == 0
    }

    /// Computes the checksum. A slot of zeros stays one.
    pub fn seal(&mut self) {
        if self.magic.get() != 0 {
            self.crc = crc_of(self.as_bytes(), CRC_AT).into();
        }
    }

    /// Whether the checksum is right, or the slot is all zeros.
    pub fn crc_is_right(&self) -> bool {
        self.crc.get() == crc_of(self.as_bytes(), CRC_AT) || self.is_zero()
    }

    /// Checks everything, the checksum included. A free slot is right as well; see `is_free`.
    pub fn verify(&self, ino: Ino) -> Result<(), FormatError> {
        ensure!(self.crc_is_right(), WHAT, ino, "crc is wrong");
        self.verify_form(ino)
    }

    /// Checks everything but the checksum.
    pub fn verify_form(&self, ino: Ino) -> Result<(), FormatError> {
        if self.is_zero() {
            return Ok(());
        }
        ensure!(self.magic.get() == MAGIC, WHAT, ino, "magic is {:#x}", self.magic.get());
        ensure!(self.ino.get() == ino.0, WHAT, ino, "ino is {}", self.ino.get());
        let mode = self.mode();
        let kind = mode & TYPE_BITS;
        ensure!(
            kind == 0 || matches!(kind >> 12, 1 | 2 | 4 | 6 | 8 | 10 | 12),
            WHAT,
            ino,
            "mode {mode:#o} has no type"
        );
        ensure!(mode >> 16 == 0, WHAT, ino, "mode {mode:#o} has unknown bits");
        ensure!(self.flags() == 0, WHAT, ino, "flags are {:#x}", self.flags());
        let size = self.size();
        ensure!(size <= FILE_BYTES_MAX, WHAT, ino, "size is {size}");
        for (field, (_, nanos)) in
            [("atime", self.atime()), ("mtime", self.mtime()), ("ctime", self.ctime()), ("btime", self.btime())]
        {
            ensure!(nanos < 1_000_000_000, WHAT, ino, "{field}_nanos is {nanos}");
        }
        match kind {
            TYPE_FILE => self.inline_node().validate(KIND_EXTENTS, ino),
            TYPE_DIRECTORY => self.inline_node().validate(KIND_DIRECTORY, ino),
            TYPE_SYMLINK => {
                ensure!((1..=TARGET_BYTES_MAX as u64).contains(&size), WHAT, ino, "size of a symbolic link is {size}");
                if size > INLINE_BYTES as u64 { self.inline_node().validate(KIND_EXTENTS, ino) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn is_zero(&self) -> bool {
        self.as_bytes().iter().all(|byte| *byte == 0)
    }

    /// Its own number.
    pub fn ino(&self) -> Ino {
        Ino(self.ino.get())
    }

    accessors! {
        /// Tells two uses of one slot apart.
        generation, set_generation: u32;
        /// Type and permission bits.
        mode, set_mode: u32;
        /// Links.
        nlink, set_nlink: u32;
        /// No flags are defined.
        flags, set_flags: u32;
        /// Owner.
        uid, set_uid: u32;
        /// Group.
        gid, set_gid: u32;
        /// Device number.
        rdev, set_rdev: u32;
        /// Size in bytes.
        size, set_size: u64;
        /// 4 KiB blocks that it owns.
        blocks, set_blocks: u64;
        /// Root block of extended attributes; 0, none.
        xattr_root, set_xattr_root: u64;
        /// Counter of changes.
        change, set_change: u64;
    }

    times! {
        /// Last read: seconds since 1970, nanoseconds.
        atime, set_atime, atime_seconds, atime_nanos;
        /// Last change of the content: seconds since 1970, nanoseconds.
        mtime, set_mtime, mtime_seconds, mtime_nanos;
        /// Last change: seconds since 1970, nanoseconds.
        ctime, set_ctime, ctime_seconds, ctime_nanos;
        /// Creation: seconds since 1970, nanoseconds.
        btime, set_btime, btime_seconds, btime_nanos;
    }

    /// The directory that a directory is in.
    pub fn parent(&self) -> Ino {
        Ino(self.parent.get())
    }

    /// Sets the directory that a directory is in.
    pub fn set_parent(&mut self, parent: Ino) {
        self.parent.set(parent.0);
    }

    /// The inline area.
    pub fn inline_area(&self) -> &[u8; INLINE_BYTES] {
        &self.inline
    }

    /// The inline area, to change.
    pub fn inline_area_mut(&mut self) -> &mut [u8; INLINE_BYTES] {
        &mut self.inline
    }

    /// The inline area as the root of a tree.
    pub fn inline_node(&self) -> NodeRef<'_> {
        NodeRef::inline(&self.inline)
    }

    /// The inline area as the root of a tree, to change.
    pub fn inline_node_mut(&mut self) -> NodeMut<'_> {
        NodeMut::inline(&mut self.inline)
    }
}
