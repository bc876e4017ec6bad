//! What a file system must do, said a second time, so that the two can be compared.
//!
//! * [`model`]: a file system in plain memory. It has no pool, no locks and no cleverness; whatever it answers is taken
//!   to be right, so every rule in it is written as the manual page states it.
//! * [`ops`]: operations as plain values, their random generation, and their application to the engine and the model.
//! * [`mod@compare`]: a walk over the engine's tree next to the model's.
//! * [`fsx`]: random work on one file through several views at once, against an array of bytes.
//! * [`random`]: the seeded numbers behind it.
//!
//! Nothing here knows how the engine works inside.
#![forbid(unsafe_code)]

pub mod compare;
pub mod content;
pub mod fsx;
pub mod model;
pub mod ops;
pub mod random;
