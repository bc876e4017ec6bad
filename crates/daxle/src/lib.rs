//! Files on byte-addressable memory.
//!
//! A *pool* is memory that outlives a process: a plain file, shared memory (tmpfs, memfd), huge pages (hugetlbfs).
//! A [`Pool`] holds a file system, and a [`File`] in it is read and written by a memory copy, without
//! a system call, or mapped: a [`Mapping`]'s loads and stores go to the pool's memory, with no page cache between. Holes,
//! truncation, punched holes and private copies behave under live mappings as they do in the kernel's
//! own DAX file systems.
//!
//! ```
//! use daxle::{Pool, RenameMode};
//!
//! # fn main() -> Result<(), daxle::Error> {
//! // A pool in memory. `Pool::create("/var/lib/demo.pool", "1GiB")` makes one in a file.
//! let pool = Pool::memory("64MiB")?;
//!
//! // Names and attributes as in std::fs.
//! pool.create_dir_all("models/v1")?;
//! let file = pool.create_file("models/v1/weights.tmp")?;
//!
//! // Space first, so that nothing can fail for want of it later; then the content, by copy.
//! file.allocate(0, 1 << 20)?;
//! file.write_all_at(b"header", 0)?;
//!
//! // Or through a mapping, where the platform lets page faults be trapped.
//! match file.map() {
//!     Ok(map) => {
//!         map.write_at(b"weights", 4096)?;
//!         map.store_u64(8192, 42);
//!         assert_eq!(map.load_u64(8192), 42);
//!         map.flush(..)?;
//!     }
//!     Err(error) => eprintln!("{error}"), // says what is missing and how to get it
//! }
//!
//! // Durable, then visible under its name in one step.
//! file.sync_all()?;
//! pool.rename_with("models/v1/weights.tmp", "models/v1/weights", RenameMode::NoReplace)?;
//!
//! let mut header = [0; 6];
//! pool.open_file("models/v1/weights")?.read_exact_at(&mut header, 0)?;
//! assert_eq!(&header, b"header");
//!
//! for entry in pool.read_dir("models")? {
//!     let entry = entry?;
//!     println!("{:?} {:?}", entry.file_name(), entry.file_type());
//! }
//! pool.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Durability
//! What a completed [`File::sync_all`], [`Mapping::flush`] or [`Pool::sync`] survives is the pool's class,
//! [`Pool::durability`]: `volatile` (processes, not power), `msync` (power; the sync is the kernel's `fdatasync`), `cpu-flush`
//! (power; cache lines are flushed). Every change of names, sizes and attributes is atomic: after a crash it is
//! there or not there.
//!
//! # Threads and processes
//! All handles are `Send` and `Sync`, cheap to clone where they are `Clone`, and may be used by any number of
//! threads. One process owns a pool; a second one that opens it gets an error that names the first.
//!
//! # Unsafe code
//! There is none in this crate. Memory that others may change at any time is never shown as a Rust
//! reference: a [`Mapping`] offers copying accessors, atomic accessors, and a raw pointer with a stated contract.
#![forbid(unsafe_code)]

mod dir;
mod error;
mod file;
mod listen;
mod map;
mod metadata;
mod open;
mod options;
mod pool_handle;
mod readdir;

pub use dir::Dir;
pub use engine::types::{Ino, RenameMode, Statfs};
pub use error::{Error, Result};
pub use file::{Cursor, File, FileTimes};
pub use listen::{ChangeListener, Listening};
pub use map::{MapMode, MapOptions, Mapping, Populate};
pub use metadata::{FileType, Metadata};
pub use mmu::window::CounterValues as FaultCounters;
pub use open::OpenOptions;
pub use options::{PoolOptions, Size};
pub use pool::Durability;
pub use pool::size::{format_size, parse_size};
pub use pool_handle::{Pool, PoolInfo};
pub use readdir::{DirEntry, ReadDir};

/// The engine below, for crates that serve the same pool in another way (the mount, the checker).
pub use engine;
