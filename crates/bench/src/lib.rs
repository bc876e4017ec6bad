//! Benchmarks: the same work on the library, on mappings, on the mount, and on any directory, in one run.
//!
//! Absolute times say little on a shared machine; ratios within one run say more. So every kind of work ([`Work`]) is done
//! on every [`Subject`] in turn, round after round, and the report gives the median of the rounds and its ratio to
//! what the work is compared with: the same calls on tmpfs, a mapping of tmpfs, hugetlbfs itself, or a
//! FUSE file system that does nothing but serve one file from memory ([`memory_fs`]).
//!
//! * [`run`] does all of it and gives a [`Report`].
//! * [`served`]: a pool that is used by the library and through a mount at once.
//!
//! Measured loops on the library make no system calls of their own.
#![forbid(unsafe_code)]

pub mod memory_fs;
mod random;
mod report;
mod run;
pub mod served;
mod subject;
mod work;

pub use report::{GOALS, Goal, Report, Row};
pub use run::{Options, Step, run};
pub use subject::Subject;
pub use work::{Sizes, Work};
