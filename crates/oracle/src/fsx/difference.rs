//! What a run says when a view and the array of bytes differ.

use super::op::Op;
use super::view::ViewError;
use std::fmt;

/// Bytes shown on each side of a difference.
pub(super) const SHOWN_BYTES: usize = 16;

/// How a view differs from the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The first differing byte and what follows it on both sides (at most 16 bytes), and how many of the bytes of
    /// the operation differ.
    Bytes {
        /// Offset in the file.
        offset: u64,
        /// From the model.
        expected: Vec<u8>,
        /// From the view.
        actual: Vec<u8>,
        /// Differing bytes in all.
        count: u64,
    },
    /// Fewer or more bytes were read or written than asked for and there.
    Length {
        /// In bytes.
        expected: u64,
        /// In bytes.
        actual: u64,
    },
    /// The file's size.
    Size {
        /// In bytes.
        expected: u64,
        /// In bytes.
        actual: u64,
    },
    /// An operation failed that must not.
    Failed(ViewError),
}

/// An operation that was done, for the list of the last ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its number in the run, from 1. Operations of several threads in one burst share their order only by thread.
    pub number: u64,
    /// The thread; 0 did the operations between the bursts.
    pub thread: usize,
    /// Name of the view.
    pub view: String,
    /// The operation.
    pub op: Op,
    /// The file's size before it.
    pub size: u64,
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Op { verb, offset, len, .. } = self.op;
        write!(
            f,
            "{:>8}  thread {}  {:<6} {:<18} {:#09x}..{:#09x} ({} bytes), size before {:#x}",
            self.number,
            self.thread,
            self.view,
            verb.name(),
            offset,
            offset + len,
            len,
            self.size
        )
    }
}

/// The first difference of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsxDifference {
    /// The seed of the run.
    pub seed: u64,
    /// The operation that showed it.
    pub at: Logged,
    /// What differs.
    pub difference: Difference,
    /// The operations before it, oldest first, at most 20.
    pub last: Vec<Logged>,
}

impl fmt::Display for FsxDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, operation {}, view {}:", self.seed, self.at.number, self.at.view)?;
        match &self.difference {
            Difference::Bytes { offset, expected, actual, count } => {
                writeln!(f, "  at offset {offset:#x}: {count} bytes differ; the first:")?;
                writeln!(f, "    expected {}", hex(expected))?;
                writeln!(f, "    actual   {}", hex(actual))?;
            }
            Difference::Length { expected, actual } => writeln!(f, "  {actual} bytes done instead of {expected}")?,
            Difference::Size { expected, actual } => writeln!(f, "  size is {actual:#x} instead of {expected:#x}")?,
            Difference::Failed(error) => writeln!(f, "  {error}")?,
        }
        writeln!(f, "the last operations:")?;
        for logged in &self.last {
            writeln!(f, "{logged}")?;
        }
        write!(f, "{}   <- here", self.at)
    }
}

impl std::error::Error for FsxDifference {}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x} ");
        text
    })
}

/// The first difference between what must be there and what is, if any. `offset` is where both start.
pub(super) fn first_difference(offset: u64, expected: &[u8], actual: &[u8]) -> Option<Difference> {
    if expected == actual {
        return None;
    }
    let first = expected.iter().zip(actual).position(|(a, b)| a != b)?;
    let count = expected.iter().zip(actual).filter(|(a, b)| a != b).count() as u64;
    let cut = |bytes: &[u8]| bytes[first..].iter().copied().take(SHOWN_BYTES).collect();
    Some(Difference::Bytes { offset: offset + first as u64, expected: cut(expected), actual: cut(actual), count })
}
