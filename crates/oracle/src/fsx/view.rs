//! A way to reach one file.
//!
//! Several views of one file exist at once. All methods take `&self`, since threads work through one view at the same
//! time. Offsets and lengths are in bytes; the engine of the run never reads or stores through a mapping past the page
//! that holds the end of the file.

use engine::types::Fallocate;

/// Why a view could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {} (errno {errno})", std::io::Error::from_raw_os_error(*errno))]
pub struct ViewError {
    /// The Linux error number.
    pub errno: i32,
    /// The call that failed.
    pub what: String,
}

impl ViewError {
    /// The call `what` failed with this number.
    pub fn new(errno: i32, what: impl Into<String>) -> ViewError {
        ViewError { errno, what: what.into() }
    }

    /// This view has no such operation.
    pub fn unsupported(what: impl Into<String>) -> ViewError {
        ViewError::new(rustix::io::Errno::OPNOTSUPP.raw_os_error(), what)
    }

    /// The operation is not offered, which is no fault: it is left out of the run.
    pub fn is_unsupported(&self) -> bool {
        use rustix::io::Errno;
        [Errno::OPNOTSUPP, Errno::NOSYS, Errno::NODEV].iter().any(|errno| errno.raw_os_error() == self.errno)
    }
}

/// One way to reach the file. See the module's text for what may be called when.
pub trait View: Send + Sync {
    /// A short name for reports: `api`, `map`, `mount`.
    fn name(&self) -> &str;
    /// Reads up to `into.len()` bytes; fewer only at the end of the file.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, ViewError>;
    /// Writes all of `from`; the file grows if need be.
    fn write(&self, offset: u64, from: &[u8]) -> Result<usize, ViewError>;
    /// Loads bytes through a mapping.
    fn mapped_read(&self, offset: u64, into: &mut [u8]) -> Result<(), ViewError>;
    /// Stores bytes through a shared mapping, inside the file. When this returns, every other view must see them, so a
    /// view with a cache of its own syncs the mapping here.
    fn mapped_write(&self, offset: u64, from: &[u8]) -> Result<(), ViewError>;
    /// Sets the size.
    fn truncate(&self, size: u64) -> Result<(), ViewError>;
    /// As `fallocate(2)`.
    fn fallocate(&self, mode: Fallocate, offset: u64, len: u64) -> Result<(), ViewError>;
    /// Makes stores through the mapping durable.
    fn msync(&self, offset: u64, len: u64) -> Result<(), ViewError>;
    /// Makes the file durable.
    fn fsync(&self) -> Result<(), ViewError>;
    /// Closes what the view has open, mappings too, and opens it again.
    fn reopen(&self) -> Result<(), ViewError>;
    /// The size in bytes.
    fn size(&self) -> Result<u64, ViewError>;
    /// Threads that work through this view and another at the same time must keep to different units of this size
    /// (a page, when the view caches whole pages). 1 if bytes suffice.
    fn granule_bytes(&self) -> u64 {
        1
    }
}
