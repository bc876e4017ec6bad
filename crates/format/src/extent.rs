//! The value of an extent: which blocks stand behind a run of a file's pages. Its key is the first page.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{FormatError, ensure};
use crate::ids::{Block, Ino};
use crate::limits::PAGES_MAX;
use crate::media::media_type;

/// Bytes of the value.
pub const EXTENT_BYTES: usize = 16;

/// Whether the blocks hold content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentState {
    /// They hold the content.
    Written,
    /// Their bytes mean nothing; reads give zeros.
    Unwritten,
}

/// The value of an extent.
///
/// ```text
///         0     1     2     3     4     5     6     7
///      +-----------------------------------------------+
///     0| block                                         |
///      +-----------------------+-----------------------+
///     8| len                   | state                 |
///      +-----------------------+-----------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExtentValue {
    /// First block.
    pub block: U64,
    /// Pages and blocks, at least 1.
    pub len: U32,
    /// 0 written, 1 unwritten.
    pub state: U32,
}

media_type!(ExtentValue, EXTENT_BYTES);

impl ExtentValue {
    /// A value.
    pub fn new(block: Block, len: u32, state: ExtentState) -> ExtentValue {
        let code = u32::from(state == ExtentState::Unwritten);
        ExtentValue { block: block.0.into(), len: len.into(), state: code.into() }
    }

    /// Reads the value of the extent at `page` of `owner`. Whether the blocks are in the pool is the caller's check.
    pub fn read(bytes: &[u8], owner: Ino, page: u64) -> Result<(Block, u32, ExtentState), FormatError> {
        let what = "extent";
        let place = || format!("{owner}, page {page}");
        let bytes: &[u8; EXTENT_BYTES] =
            bytes.try_into().map_err(|_| FormatError::new(what, place(), format!("value of {} bytes", bytes.len())))?;
        let value = ExtentValue::from_bytes(bytes);
        let len = value.len.get();
        ensure!(len > 0, what, place(), "len is 0");
        ensure!(page <= PAGES_MAX - u64::from(len), what, place(), "len {len} goes past the largest page");
        match value.state.get() {
            0 => Ok((Block(value.block.get()), len, ExtentState::Written)),
            1 => Ok((Block(value.block.get()), len, ExtentState::Unwritten)),
            other => Err(FormatError::new(what, place(), format!("state is {other}"))),
        }
    }
}
