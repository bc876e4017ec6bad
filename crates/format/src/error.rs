//! The one error: a structure is not what it must be.

use std::fmt::Display;

/// Bytes that are not the structure they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at {place}: {why}")]
pub struct FormatError {
    /// The structure.
    pub what: &'static str,
    /// Where it is: a block, an inode, a journal offset.
    pub place: String,
    /// Which field is wrong, and how.
    pub why: String,
}

impl FormatError {
    /// An error about `what` at `place`.
    pub fn new(what: &'static str, place: impl Display, why: impl Into<String>) -> FormatError {
        FormatError { what, place: place.to_string(), why: why.into() }
    }
}

/// Fails with a `FormatError` unless the condition holds: `ensure!(holds, what, place, "format", args)`.
macro_rules! ensure {
    ($holds:expr, $what:expr, $place:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::FormatError::new($what, $place, format!($($why)+)));
        }
    };
}
pub(crate) use ensure;
