//! What a file system must do, said a second time, so that the two can be compared.
//!
//! * [`fsx`]: random work on one file through several views at once, against an array of bytes.
//! * [`random`]: the seeded numbers behind it.
//!
//! Nothing here knows how the engine works inside.
#![forbid(unsafe_code)]

pub mod fsx;
pub mod random;
