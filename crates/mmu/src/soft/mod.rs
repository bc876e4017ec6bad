//! Simulated windows, of simulated processes.
//!
//! A [`SoftWindow`] has a page table and does what the processor and the kernel do with a real one: a
//! load or store looks at the translation and, if it permits, goes to the pool's memory; if not, it
//! faults, the fault is served, and the access is tried again. Tests use it where real windows would
//! be slow or cannot be scheduled, and the model checker uses it for everything.
//!
//! What makes it a fair stand-in:
//!
//! * One access, the look at the translation and the byte, is one step under the page table's lock, as
//!   in hardware; a revocation is another. Between two accesses, and between a fault and the access
//!   tried again, anything may happen: taking the lock is a point where the model checker may switch.
//! * It caches nothing that the engine did not install, and it never repairs what the engine did: a
//!   stale translation goes on showing what it shows.
//! * Errors can be asked for ([`SoftWindow::fail`]), one by one, at each operation.
//!
//! The lock is a leaf. Its holder copies bytes and nothing else.

mod table;

use std::ops::Range;

use engine::dax::{Access, Becomes, FaultError, Mmu, MmuError, PrivateCopies, Served, Target, WindowKind, Writable};
use format::Block;
use order::sync::Arc;
use order::{Held, Mutex, MutexGuard, level};
use pool::Pool;
use thiserror::Error;

use table::Table;
pub use table::{PAGE_BYTES, Translation};

/// Attempts of one access before it is given up as livelocked.
const TRIES_MAX: u32 = 1000;

/// Why an access did not go through at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// It faults on this page.
    Fault(u64, Access),
    /// The file does not reach there.
    PastEnd,
    /// The window does not allow it, or does not cover it.
    Denied,
}

/// Why an access did not go through at all.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The signal SIGBUS: nothing is there, or what is there cannot be had.
    #[error("bus error: {0}")]
    Bus(FaultError),
    /// The signal SIGSEGV: the window does not allow the access.
    #[error("the window does not allow this access")]
    Denied,
    /// The mapping was taken down.
    #[error("the window is gone")]
    Gone,
    /// The translation was taken away again each time; a defect of the engine.
    #[error("the access was tried {TRIES_MAX} times in vain")]
    Restless,
}

/// An operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `Mmu::install`
    Install,
    /// `Mmu::copy_private`
    CopyPrivate,
    /// `Mmu::revoke`
    Revoke,
    /// `Mmu::write_protect`
    WriteProtect,
}

/// A simulated window.
#[derive(Debug)]
pub struct SoftWindow {
    pool: Arc<dyn Pool>,
    pages: Range<u64>,
    kind: WindowKind,
    state: Mutex<level::PageTable, State>,
}

#[derive(Debug, Default)]
struct State {
    table: Table,
    /// Operations that are still to fail, each once.
    failures: Vec<Operation>,
}

impl SoftWindow {
    /// A window onto `pages` of some file whose blocks lie in `pool`; every page traps.
    pub fn new(pool: Arc<dyn Pool>, pages: Range<u64>, kind: WindowKind) -> Arc<Self> {
        Arc::new(Self { pool, pages, kind, state: Mutex::default() })
    }

    /// Makes the next `operation` fail, after it did half of its pages.
    pub fn fail(&self, operation: Operation) {
        self.state().failures.push(operation);
    }

    /// Loads the byte `at` of the file, or tells why not. One step.
    ///
    /// # Errors
    /// The [`Trap`].
    pub fn try_load(&self, at: u64) -> Result<u8, Trap> {
        let page = self.page_of(at)?;
        let state = self.state();
        match state.table.get(page) {
            Translation::Trap => Err(Trap::Fault(page, Access::Read)),
            Translation::PastEnd => Err(Trap::PastEnd),
            Translation::Zero => Ok(0),
            Translation::Block { block, .. } => {
                let mut byte = [0];
                self.pool.read(place(*block, at), &mut byte);
                Ok(byte[0])
            }
            Translation::Private(copy) => Ok(copy[within_page(at)]),
        }
    }

    /// Stores the byte `at` of the file, or tells why not. One step.
    ///
    /// # Errors
    /// The [`Trap`].
    pub fn try_store(&self, at: u64, byte: u8) -> Result<(), Trap> {
        let page = self.page_of(at)?;
        let access = match self.kind {
            WindowKind::SharedRead => return Err(Trap::Denied),
            WindowKind::SharedWrite => Access::Write,
            WindowKind::Private => Access::PrivateWrite,
        };
        let mut state = self.state();
        match state.table.get_mut(page) {
            Some(Translation::PastEnd) => Err(Trap::PastEnd),
            Some(Translation::Block { block, writable: Writable::Yes }) => {
                self.pool.write(place(*block, at), &[byte]);
                Ok(())
            }
            Some(Translation::Private(copy)) => {
                copy[within_page(at)] = byte;
                Ok(())
            }
            _ => Err(Trap::Fault(page, access)),
        }
    }

    /// Loads the byte `at`, with `serve` for the faults.
    ///
    /// # Errors
    /// The signal that the program would get.
    pub fn load(&self, at: u64, serve: &dyn Serve) -> Result<u8, AccessError> {
        access(serve, || self.try_load(at))
    }

    /// Stores the byte `at`, with `serve` for the faults.
    ///
    /// # Errors
    /// The signal that the program would get.
    pub fn store(&self, at: u64, byte: u8, serve: &dyn Serve) -> Result<(), AccessError> {
        access(serve, || self.try_store(at, byte))
    }

    /// All translations other than traps, by page, ascending.
    pub fn translations(&self) -> Vec<(u64, Translation)> {
        self.state().table.all()
    }

    fn state(&self) -> MutexGuard<'_, level::PageTable, State> {
        self.state.leaf()
    }

    fn page_of(&self, at: u64) -> Result<u64, Trap> {
        let page = at / PAGE_BYTES;
        if self.pages.contains(&page) { Ok(page) } else { Err(Trap::Denied) }
    }

    /// Changes the table page by page; stops halfway with an error if one is due.
    fn change(
        &self,
        operation: Operation,
        pages: Range<u64>,
        mut each: impl FnMut(&mut Table, u64),
    ) -> Result<(), MmuError> {
        assert!(
            self.pages.start <= pages.start && pages.end <= self.pages.end,
            "the engine stays inside the window: {pages:?} of {:?}",
            self.pages
        );
        let mut state = self.state();
        let due = state.failures.iter().position(|due| *due == operation);
        let whole = pages.end - pages.start;
        let done = due.map_or(whole, |at| {
            state.failures.swap_remove(at);
            whole / 2
        });
        for page in pages.start..pages.start + done {
            each(&mut state.table, page);
        }
        due.map_or(Ok(()), |_| Err(MmuError::NoMemory))
    }
}

impl Mmu for SoftWindow {
    fn pages(&self) -> Range<u64> {
        self.pages.clone()
    }

    fn kind(&self) -> WindowKind {
        self.kind
    }

    fn install(&self, _held: &mut Held<'_, level::Window>, pages: Range<u64>, to: Target) -> Result<(), MmuError> {
        let start = pages.start;
        self.change(Operation::Install, pages, |table, page| {
            table.install(page, page - start, to);
        })
    }

    fn copy_private(
        &self,
        _held: &mut Held<'_, level::Window>,
        page: u64,
        from: Option<Block>,
    ) -> Result<(), MmuError> {
        let pages = page..page + 1;
        self.change(Operation::CopyPrivate, pages, |table, page| {
            let mut copy = Box::new([0; PAGE_BYTES as usize]);
            if let Some(block) = from {
                self.pool.read(place(block, 0), &mut *copy);
            }
            table.copy_private(page, copy);
        })
    }

    fn revoke(
        &self,
        _held: &mut Held<'_, level::Window>,
        pages: Range<u64>,
        private: PrivateCopies,
        becomes: Becomes,
    ) -> Result<(), MmuError> {
        self.change(Operation::Revoke, pages, |table, page| {
            table.revoke(page, private, becomes);
        })
    }

    fn write_protect(&self, _held: &mut Held<'_, level::Window>, pages: Range<u64>) -> Result<(), MmuError> {
        self.change(Operation::WriteProtect, pages, Table::write_protect)
    }
}

/// What serves the faults of a window: the file system, mostly.
pub trait Serve {
    /// Serves a fault.
    ///
    /// # Errors
    /// Those of `Dax::fault`.
    fn serve(&self, page: u64, access: Access) -> Result<Served, FaultError>;
}

impl<F: Fn(u64, Access) -> Result<Served, FaultError>> Serve for F {
    fn serve(&self, page: u64, access: Access) -> Result<Served, FaultError> {
        self(page, access)
    }
}

/// Tries an access until it goes through or cannot.
fn access<T>(serve: &dyn Serve, attempt: impl Fn() -> Result<T, Trap>) -> Result<T, AccessError> {
    for _ in 0..TRIES_MAX {
        let (page, access) = match attempt() {
            Ok(value) => return Ok(value),
            Err(Trap::Fault(page, access)) => (page, access),
            Err(Trap::PastEnd) => return Err(AccessError::Bus(FaultError::PastEnd)),
            Err(Trap::Denied) => return Err(AccessError::Denied),
        };
        match serve.serve(page, access) {
            Ok(_) => {}
            Err(FaultError::Denied) => return Err(AccessError::Denied),
            Err(FaultError::Gone) => return Err(AccessError::Gone),
            Err(error) => return Err(AccessError::Bus(error)),
        }
    }
    Err(AccessError::Restless)
}

/// Where in the pool the byte `at` of the file lies, if its page is in `block`.
fn place(block: Block, at: u64) -> u64 {
    block.0 * PAGE_BYTES + at % PAGE_BYTES
}

fn within_page(at: u64) -> usize {
    (at % PAGE_BYTES) as usize
}
