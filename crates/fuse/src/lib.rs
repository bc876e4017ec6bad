//! The mount: Daxle's files for programs that know nothing of Daxle.
//!
//! [`mount`] shows a file system in a directory through FUSE and gives back a [`Mounted`], which serves it with several
//! threads until it is unmounted or dropped. The crate is glue: it turns requests of the kernel into operations of the
//! engine and their results into replies. It keeps two tables of its own (what the kernel knows, what is open) and holds
//! no lock while it calls the engine or the kernel.
//!
//! **Caches.** The kernel may keep names, attributes and pages for as long as it likes ([`Caching::Kept`]), because it
//! is told of every change that does not come through this mount: whoever changes the file system otherwise calls the
//! mount's [`ChangeListener`] after each change, with no lock held. The kernel orders such a message against requests
//! under way itself, by its inode locks, page locks and attribute versions. One thing the kernel cannot be told is a larger
//! size: it asks for it at the next `stat`, read or write, and until then a mapping through the mount ends where the file
//! ended (SIGBUS). Who does not call it mounts with
//! [`Caching::Off`].
//!
//! **Mappings.** A file opened through the mount is mapped through the kernel's page cache; a file mapped directly is
//! the pool's memory. The two would not see each other's stores, so they exclude each other: while a direct mapping
//! exists, opens through the mount bypass the page cache (and a shared mapping of such an open is refused by the kernel);
//! while it is open with a cache, a direct mapping is refused with `Busy`. The kernel tells of the last close after
//! `close(2)` has returned, so a direct mapping right after a close may need a second try.
//!
//! **Death.** When the serving process dies, the kernel fails every request at once (`ENOTCONN`); nothing hangs. The
//! dead mount point stays until somebody unmounts it, unless [`OnDeath::Unmount`] was asked for. When the serving threads
//! end although the process lives on, they detach the mount themselves.
//!
//! Not offered, since neither the protocol nor its library have it: `O_TMPFILE`, and collapsing and inserting ranges.
//! Extended attributes are answered with "not supported".
#![forbid(unsafe_code)]

mod attach;
mod convert;
mod directory;
mod error;
mod handles;
mod listener;
mod mounted;
mod mountinfo;
mod nodes;
mod options;
mod place;
mod server;

pub use error::MountError;
pub use listener::ChangeListener;
pub use mounted::{Mounted, mount, unmount_path};
pub use options::{Caching, MountOptions, OnDeath, SpecialFiles, Users};
