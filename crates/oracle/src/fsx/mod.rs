//! Random work on one file through several views at once.
//!
//! After Apple's fsx: every operation is done to the file through one of its views (the library, a mapping, a mount)
//! and to an array of bytes; every read through any view must give the array's bytes, and the size must be the array's
//! length. The run ends at the first difference and tells the seed, the operation and what came before it.
//!
//! The run is a chain of rounds. A round first does operations of any kind one after the other. With more than one
//! thread it then cuts the file into stripes, one for each thread, and the threads work in their stripes at the same
//! time, through whichever views they like. A stripe's bytes are nobody else's, so each thread knows what it must read
//! although the threads share pages, extents, locks and caches. Nothing here needs a lock of its own. The same seed
//! gives the same operations; with several threads the schedule is the machine's.
//!
//! What a view does not offer (it answers `EOPNOTSUPP`, `ENOSYS`, or `ENODEV` to a mapping) is found out by trying it
//! on a small file first, told in the report and left out.

mod difference;
mod dir_view;
mod engine_view;
mod op;
mod runner;
mod view;

pub use difference::{Difference, FsxDifference, Logged};
pub use dir_view::{Caches, DirView};
pub use engine_view::EngineView;
pub use op::{Feature, Op, Verb};
pub use runner::{FsxOptions, FsxReport, Missing, run};
pub use view::{View, ViewError};
