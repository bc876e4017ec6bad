//! Real windows: address ranges whose pages are traps or translations into the pool.
//!
//! A [`Window`] is a reserved address range made of traps (userfaultfd), translations (`mmap` of the
//! pool's file at a fixed place), holes that read as zeros, and pages past the end that raise SIGBUS.
//! The engine says what each page is, through the trait `Mmu`; this module makes it so in one system
//! call each, so that no store falls between two states.
//!
//! # Who runs
//! A [`WindowMmu`] has one *reader*, which takes messages of the kernel and queues them, and an elastic
//! set of *workers*, which serve them by calling the window's handler, that is, the engine. Putting a
//! trap returns only after the reader has read the kernel's note of it. So the reader takes one leaf
//! lock, for the time of a push, and waits for nothing that a putting thread could hold. Workers put,
//! and may wait for the engine's locks; one more is started whenever the last idle one gets work.
//!
//! # What is promised
//! * Every fault is answered exactly once: `Request` is a linear value. A thread is woken to
//!   try again, or meets SIGBUS. None hangs.
//! * A revocation is one `mremap` of a prepared trap over the target: a store before it is in the block,
//!   a store after it faults.
//! * The kernel's limit on mappings is never met in ordinary work: translations are counted, and the
//!   regions that were translated longest ago become traps again when there are too many.
//! * A private page, once stored to, is left alone by everything but truncation and the end of the window.
//!
//! # Kinds of windows
//! Shared windows translate to the pool itself, with the protection that the window has. Private windows
//! are anonymous memory throughout: a read fills a page with a write-protected copy, the first store turns it
//! into the process's own. The pages that were only read are known, no store can land in one
//! unasked, and so they can be taken back without a race. A mapping of the file with `MAP_PRIVATE` could
//! not: the kernel copies a page whenever it likes.
//!
//! On pools of huge pages a shared translation is always a whole aligned 2 MiB; revoking a part of one
//! makes all of it a trap, which costs a fault and shows nothing wrong.

mod budget;
mod pages;
mod private;
mod request;
mod service;
mod shared;
mod state;

use std::ops::Range;

use engine::dax::{Access, FaultError, Served, WindowKind};
use order::sync::{Arc, OnceLock};
use order::{Mutex, level};
use pool::Pool;
use sys::memory::Protection;
use sys::uffd::UffdError;
use sys::window::{Reservation, TrapMode};
use thiserror::Error;

pub use service::CounterValues;

use budget::Budget;
use service::Service;
use state::{State, What};

/// Bytes in a page, as file offsets count.
const PAGE: u64 = sys::PAGE_BYTES as u64;
/// Pages in a region of 2 MiB.
const REGION: u64 = engine::dax::REGION_PAGES;

/// What serves the faults of a window: page of the file and kind of access in, translation done out.
///
/// Called without any lock held, by any number of threads at once.
pub type Handler = Box<dyn Fn(u64, Access) -> Result<Served, FaultError> + Send + Sync>;

/// Why there can be no window.
#[derive(Clone, Debug, Error)]
pub enum WindowError {
    /// Page faults cannot be trapped.
    #[error("files cannot be mapped: {0}")]
    Traps(#[from] UffdError),
    /// The pool is no file.
    #[error(
        "files of {0} cannot be mapped: the pool is heap memory without a file behind it; use a file or `Pool::memory`"
    )]
    NoFile(String),
    /// Stores to this class of pool cannot be tracked by the kernel.
    #[error("files of {0} cannot be mapped: stores to cpu-flush pools need write tracking, which windows do not offer")]
    Untracked(String),
    /// The range is empty or too large.
    #[error("cannot map {bytes} bytes: give at least one byte and at most 64 TiB")]
    Length {
        /// What was asked for.
        bytes: u64,
    },
    /// The kernel refused.
    #[error("mapping failed while {action}: {errno}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// The kernel's error.
        errno: sys::Errno,
    },
}

impl WindowError {
    /// The Linux error number.
    pub fn errno(&self) -> i32 {
        match self {
            WindowError::Traps(UffdError::NotPermitted) => 1,
            WindowError::Traps(UffdError::Kernel(errno)) | WindowError::Kernel { errno, .. } => errno.raw_os_error(),
            WindowError::Traps(_) | WindowError::NoFile(_) | WindowError::Untracked(_) => 95,
            WindowError::Length { .. } => 22,
        }
    }
}

/// A fault that was answered with SIGBUS for another reason than the end of the file.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Page of the file.
    pub page: u64,
    /// What was tried.
    pub access: Access,
    /// Why it could not be served.
    pub error: FaultError,
}

/// Limits of a [`WindowMmu`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Translations at most, over all its windows; what the kernel's `vm.max_map_count` leaves if `None`.
    pub translations_max: Option<u32>,
}

/// Makes windows and serves their faults. Its threads end when it and all its windows are gone.
#[derive(Debug)]
pub struct WindowMmu {
    service: Arc<Service>,
}

/// Where a window stands and what it may do.
#[derive(Clone, Debug)]
pub struct Place {
    /// Pages of the file.
    pub pages: Range<u64>,
    /// What it may do.
    pub kind: WindowKind,
    /// The pool offset behind the first page, if there is one: the address is made to agree with it
    /// modulo 2 MiB, so that the kernel can use huge pages. Ignored on pools of huge pages.
    pub near: Option<u64>,
}

/// One mapping of a range of a file in this process.
///
/// Dropping it gives the addresses back. Detach it from the engine first.
pub struct Window {
    pages: Range<u64>,
    kind: WindowKind,
    /// Bytes of the reservation before the first page.
    lead: usize,
    /// Pages that must be translated together.
    granule: u64,
    pool: Arc<dyn Pool>,
    handler: OnceLock<Handler>,
    state: Mutex<level::PageTable, State>,
    /// Shared by all windows of the service.
    budget: Arc<Budget>,
    reservation: Reservation,
    service: Arc<Service>,
}

impl WindowMmu {
    /// Starts the reader and the first workers.
    ///
    /// # Errors
    /// Trapping faults is not permitted or not supported, or a thread could not be started.
    pub fn new(limits: Limits) -> Result<WindowMmu, WindowError> {
        Ok(WindowMmu { service: Service::start(limits)? })
    }

    /// Makes a window onto `pool`, all of it a trap. Set its handler before anybody touches it.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn window(&self, pool: &Arc<dyn Pool>, place: &Place) -> Result<Arc<Window>, WindowError> {
        let window = Window::new(Arc::clone(&self.service), Arc::clone(pool), place)?;
        let window = Arc::new(window);
        self.service.enlist(&window);
        Ok(window)
    }

    /// What was done since the start.
    pub fn counters(&self) -> CounterValues {
        self.service.counters()
    }

    /// Translations in use by its windows.
    pub fn translations(&self) -> u64 {
        self.service.budget().used()
    }
}

impl Window {
    fn new(service: Arc<Service>, pool: Arc<dyn Pool>, place: &Place) -> Result<Window, WindowError> {
        const PAGES_MAX: u64 = (64 << 40) / PAGE;
        if pool.window_source().is_none() {
            return Err(WindowError::NoFile(pool.name()));
        }
        if pool.durability() == pool::Durability::CpuFlush {
            return Err(WindowError::Untracked(pool.name()));
        }
        let granule = match place.kind {
            WindowKind::Private => 1,
            _ => pool.page_size() / PAGE,
        };
        let pages = widened(&place.pages, granule);
        let count = pages.end.saturating_sub(pages.start);
        if count == 0 || count > PAGES_MAX {
            return Err(WindowError::Length { bytes: count.saturating_mul(PAGE) });
        }
        let lead = match place.near {
            Some(offset) if granule == 1 => offset % (REGION * PAGE),
            _ => 0,
        };
        let lead = (lead / PAGE * PAGE) as usize;
        let len = (count * PAGE) as usize;
        let kernel = |action| move |errno| WindowError::Kernel { action, errno };
        let reservation = Reservation::new(lead + len).map_err(kernel("reserving addresses"))?;
        let window = Window {
            state: Mutex::new(State::new(pages.clone())),
            budget: Arc::clone(service.budget()),
            pages,
            kind: place.kind,
            lead,
            granule,
            pool,
            handler: OnceLock::new(),
            reservation,
            service,
        };
        window.budget.changed(0, 1);
        window.put_trap(&window.pages).map_err(kernel("trapping addresses"))?;
        Ok(window)
    }

    /// Sets what serves its faults. Until then nobody may touch the window; later calls do nothing.
    pub fn serve_with(&self, handler: Handler) {
        let _ = self.handler.set(handler);
    }

    /// Ends its service: waits until nobody serves a fault of it any more. A thread that touches it after that gets
    /// SIGBUS or SIGSEGV. Call it after the window was detached from the engine, with no lock held, and drop the window.
    ///
    /// Without it the last worker might keep the window, and with it the pool's file, a moment longer than the mapping.
    pub fn retire(self: &Arc<Window>) {
        self.service.delist(self.reservation.start());
        // A fault is served in microseconds, and hardly ever is there one when a mapping goes.
        while Arc::strong_count(self) > 1 {
            std::thread::yield_now();
        }
    }

    /// The addresses behind it, for access by offset; [`Window::offset_bytes`] tells where a page stands.
    pub fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Where a page of the file stands in the reservation, in bytes.
    pub fn offset_bytes(&self, page: u64) -> usize {
        debug_assert!(page >= self.pages.start && page <= self.pages.end, "a page of the window");
        self.lead + ((page - self.pages.start) * PAGE) as usize
    }

    /// The last fault that was answered with SIGBUS for want of space, a media error or the like. Taking it
    /// lets the pages concerned fault afresh. Takes the leaf `PageTable`.
    pub fn take_failure(&self) -> Option<Failure> {
        let mut state = self.state.leaf();
        let failure = state.failure.take();
        self.retry_failed(&mut state);
        failure
    }

    /// Bytes of the reservation for pages.
    fn bytes(&self, pages: &Range<u64>) -> Range<usize> {
        self.offset_bytes(pages.start)..self.offset_bytes(pages.end)
    }

    /// Addresses of pages.
    fn addresses(&self, pages: &Range<u64>) -> Range<usize> {
        self.reservation.addresses(&self.bytes(pages))
    }

    /// The page at an address.
    fn page_at(&self, address: usize) -> Option<u64> {
        let offset = self.reservation.offset_of(address)?.checked_sub(self.lead)?;
        Some(self.pages.start + offset as u64 / PAGE)
    }

    fn protection(&self) -> Protection {
        match self.kind {
            WindowKind::SharedRead => Protection::Read,
            WindowKind::SharedWrite | WindowKind::Private => Protection::ReadWrite,
        }
    }

    /// Makes pages traps, in the kernel only.
    fn put_trap(&self, pages: &Range<u64>) -> sys::Result<()> {
        self.reservation.trap(self.service.uffd(), self.bytes(pages), TrapMode::Every, self.protection())
    }

    /// The number of revocations so far: what a fault learnt before the last one may be out of date.
    fn epoch(&self) -> u64 {
        self.state.leaf().epoch
    }

    /// Makes a page raise SIGBUS after a fault that could not be served, unless the page has been
    /// changed since `epoch` or has become accessible.
    fn refuse(&self, page: u64, access: Access, error: &FaultError, epoch: u64) {
        let mut state = self.state.leaf();
        let trapped = matches!(state.segments.at(page), What::Trap | What::Zero);
        if state.epoch != epoch || !trapped || state.own.contains(page) {
            return;
        }
        let what = match error {
            FaultError::PastEnd => What::PastEnd,
            _ => What::Failed,
        };
        let one = page..page + 1;
        if self.reservation.past_end(self.bytes(&one)).is_ok() {
            state.clean.remove(&one);
            self.note(&mut state, &one, what);
        }
        if what == What::Failed {
            state.failure = Some(Failure { page, access, error: error.clone() });
        }
    }

    /// Lets pages that were refused for a failure fault again.
    fn retry_failed(&self, state: &mut State) {
        for pages in state.segments.runs_of(&self.pages, |what| what == What::Failed) {
            if self.put_trap(&pages).is_ok() {
                self.note(state, &pages, What::Trap);
            }
        }
    }

    /// Records what pages are, and what that costs.
    fn note(&self, state: &mut State, pages: &Range<u64>, what: What) {
        let before = state.segments.len();
        state.segments.set(pages.clone(), what);
        self.budget.changed(before, state.segments.len());
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.service.delist(self.reservation.start());
        self.budget.changed(self.state.get_mut().segments.len(), 0);
    }
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window")
            .field("pages", &self.pages)
            .field("kind", &self.kind)
            .field("address", &format_args!("{:#x}", self.reservation.start() + self.lead))
            .finish_non_exhaustive()
    }
}

/// The range made of whole granules that covers `pages`.
fn widened(pages: &Range<u64>, granule: u64) -> Range<u64> {
    pages.start / granule * granule..pages.end.checked_next_multiple_of(granule).unwrap_or(pages.end)
}
