//! The threads behind the windows: who reads, who serves, and which translations go first.
//!
//! Three leaf locks, none held while another is taken: `FaultQueue` for the queue of faults and the
//! workers, `WindowList` for the windows by address and the queue of evictions, `PageTable` in each
//! window. The reader takes the first only.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::dax::{
    Access, Becomes, FaultError, FaultKind as Met, Mmu, MmuError, PrivateCopies, Served, Target, WindowKind,
};
use format::Block;
use order::sync::{Arc, Weak};
use order::{Condvar, Held, Mutex, level};
use sys::uffd::{Bell, Fault, FaultKind, Message, Reach, Touch, Uffd, Woken};

use super::budget::Budget;
use super::request::{Request, is_out_of_mappings};
use super::{Limits, Window, WindowError};

/// Workers at the start.
const WORKERS_MIN: usize = 2;
/// Workers at most. More faults than that wait in the queue.
const WORKERS_MAX: usize = 32;
/// Regions to evict when the kernel says that there are too many mappings.
const EVICT_AT_LIMIT: usize = 16;
/// Pages served at once that are taken for a stream: more than a fault out of the blue is given.
const STREAM_PAGES_MIN: u64 = 32;
/// Between two tries of the reader, if the kernel refuses.
const PAUSE: Duration = Duration::from_millis(1);
/// How often a fault is tried again after an eviction.
const TRIES: usize = 4;

/// What a `WindowMmu` has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// Faults answered by a translation.
    pub served: u64,
    /// Faults past the end of the file, answered with SIGBUS.
    pub past_end: u64,
    /// Faults that failed otherwise, answered with SIGBUS.
    pub failed: u64,
    /// Regions whose translations were given up to make room for others.
    pub evicted: u64,
    /// Time from the message to the answer, over all faults, in nanoseconds.
    pub serving_nanos: u64,
    /// The longest of them, in nanoseconds.
    pub serving_nanos_max: u64,
    /// Threads that serve.
    pub workers: u64,
}

#[derive(Debug, Default)]
struct Counters {
    served: AtomicU64,
    past_end: AtomicU64,
    failed: AtomicU64,
    evicted: AtomicU64,
    serving_nanos: AtomicU64,
    serving_nanos_max: AtomicU64,
}

/// What the threads share. They hold this and not the [`Service`], whose end ends them.
#[derive(Debug)]
struct Shared {
    uffd: Uffd,
    bell: Bell,
    queue: Mutex<level::FaultQueue, Queue>,
    work: Condvar,
    windows: Mutex<level::WindowList, Windows>,
    budget: Arc<Budget>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Queue {
    faults: VecDeque<(Fault, Instant)>,
    /// Workers that wait for one.
    idle: usize,
    workers: usize,
    threads: Vec<JoinHandle<()>>,
    stopping: bool,
}

#[derive(Debug, Default)]
struct Windows {
    by_start: BTreeMap<usize, Weak<Window>>,
    /// Regions in the order in which they will be evicted.
    turns: VecDeque<(Weak<Window>, u64, u64)>,
}

/// The running threads; dropping it ends them.
#[derive(Debug)]
pub(super) struct Service {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Service {
    pub(super) fn start(limits: Limits) -> Result<Arc<Service>, WindowError> {
        let kernel = |action| move |errno| WindowError::Kernel { action, errno };
        let shared = Arc::new(Shared {
            uffd: Uffd::new(Reach::EveryFault)?,
            bell: Bell::new().map_err(kernel("making an eventfd"))?,
            queue: Mutex::default(),
            work: Condvar::new(),
            windows: Mutex::default(),
            budget: Arc::new(Budget::new(limits.translations_max)),
            counters: Counters::default(),
        });
        let mut service = Service { shared, reader: None };
        let shared = Arc::clone(&service.shared);
        let reader = thread::Builder::new().name("daxle-traps".into()).spawn(move || shared.read());
        let no_thread = |error: std::io::Error| WindowError::Kernel {
            action: "starting a thread",
            errno: sys::Errno::from_io_error(&error).unwrap_or(sys::Errno::AGAIN),
        };
        service.reader = Some(reader.map_err(no_thread)?);
        for _ in 0..WORKERS_MIN {
            service.shared.add_worker().map_err(no_thread)?;
        }
        Ok(Arc::new(service))
    }

    pub(super) fn uffd(&self) -> &Uffd {
        &self.shared.uffd
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.shared.budget
    }

    pub(super) fn enlist(&self, window: &Arc<Window>) {
        let start = window.reservation.start();
        self.shared.windows.leaf().by_start.insert(start, Arc::downgrade(window));
    }

    pub(super) fn delist(&self, start: usize) {
        let mut windows = self.shared.windows.leaf();
        windows.by_start.remove(&start);
        windows.turns.retain(|(window, ..)| window.strong_count() > 0);
    }

    pub(super) fn counters(&self) -> CounterValues {
        let counters = &self.shared.counters;
        CounterValues {
            served: counters.served.load(Relaxed),
            past_end: counters.past_end.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            evicted: counters.evicted.load(Relaxed),
            serving_nanos: counters.serving_nanos.load(Relaxed),
            serving_nanos_max: counters.serving_nanos_max.load(Relaxed),
            workers: self.shared.queue.leaf().workers as u64,
        }
    }

    /// Queues regions for eviction.
    fn queue_turns(&self, window: &Weak<Window>, turns: Vec<(u64, u64)>) {
        let mut windows = self.shared.windows.leaf();
        windows.turns.extend(turns.into_iter().map(|(region, turn)| (window.clone(), region, turn)));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.bell.ring();
        let mut threads: Vec<_> = self.reader.take().into_iter().collect();
        {
            let mut queue = self.shared.queue.leaf();
            queue.stopping = true;
            threads.append(&mut queue.threads);
        }
        self.shared.work.notify_all();
        // The last window may go on a worker, which cannot wait for itself.
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The reader: takes messages and queues faults until the bell rings.
    fn read(&self) {
        let mut messages = Vec::new();
        loop {
            match self.uffd.wait(&self.bell, None) {
                Ok(Woken::Messages) => {}
                Ok(Woken::Timeout) => continue,
                Ok(Woken::Bell) => return,
                Err(errno) => {
                    // Giving up would leave threads asleep for ever.
                    tracing::error!(%errno, "waiting for page faults failed; trying again");
                    thread::sleep(PAUSE);
                    continue;
                }
            }
            messages.clear();
            if let Err(errno) = self.uffd.read(&mut messages) {
                tracing::error!(%errno, "reading page faults failed; trying again");
                thread::sleep(PAUSE);
            }
            self.enqueue(&messages);
        }
    }

    fn enqueue(&self, messages: &[Message]) {
        let now = Instant::now();
        let faults = messages.iter().filter_map(|message| match message {
            Message::Fault(fault) => Some((*fault, now)),
            Message::Put { .. } | Message::Other(_) => None,
        });
        let mut queue = self.queue.leaf();
        let before = queue.faults.len();
        queue.faults.extend(faults);
        let new = queue.faults.len() - before;
        drop(queue);
        for _ in 0..new {
            self.work.notify_one();
        }
    }

    /// A worker: serves faults until the service stops.
    fn work(self: &Arc<Shared>) {
        while let Some((fault, since)) = self.next_fault() {
            // A panic in the engine must not take the worker along: the request was answered when it unwound.
            if catch_unwind(AssertUnwindSafe(|| self.serve(fault))).is_err() {
                tracing::error!(address = fault.address, "serving a page fault panicked");
            }
            let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.counters.serving_nanos.fetch_add(nanos, Relaxed);
            self.counters.serving_nanos_max.fetch_max(nanos, Relaxed);
        }
    }

    fn next_fault(self: &Arc<Shared>) -> Option<(Fault, Instant)> {
        let mut queue = self.queue.leaf();
        loop {
            if let Some(next) = queue.faults.pop_front() {
                let lonely = queue.idle == 0 && !queue.stopping;
                drop(queue);
                // Somebody must be left to take the next fault while this one may wait for a lock.
                if lonely && let Err(error) = self.add_worker() {
                    tracing::warn!(%error, "cannot start another thread to serve page faults");
                }
                return Some(next);
            }
            if queue.stopping {
                return None;
            }
            queue.idle += 1;
            queue = self.work.wait(queue);
            queue.idle -= 1;
        }
    }

    fn add_worker(self: &Arc<Shared>) -> std::io::Result<()> {
        {
            let mut queue = self.queue.leaf();
            if queue.workers == WORKERS_MAX {
                return Ok(());
            }
            queue.workers += 1;
        }
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name("daxle-fault".into()).spawn(move || shared.work());
        let mut queue = self.queue.leaf();
        match thread {
            Ok(thread) => queue.threads.push(thread),
            Err(error) => {
                queue.workers -= 1;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Serves one fault from message to answer.
    fn serve(&self, fault: Fault) {
        let Some(request) = self.request(fault) else {
            // The window is being taken down, or has just been: nobody may sleep there.
            let page = fault.address / sys::PAGE_BYTES * sys::PAGE_BYTES;
            let _ = self.uffd.wake(page..page + sys::PAGE_BYTES);
            return;
        };
        let mut outcome = ask(&request);
        for _ in 1..TRIES {
            if !outcome.as_ref().is_err_and(is_out_of_mappings) {
                break;
            }
            self.evict(EVICT_AT_LIMIT);
            outcome = ask(&request);
        }
        match outcome {
            Ok(served) => {
                self.counters.served.fetch_add(1, Relaxed);
                if is_stream_of_stores(&served) {
                    request.window().touch(&served.pages);
                }
                request.wake(&served.pages);
            }
            Err(error) => {
                let counter = match error {
                    FaultError::PastEnd => &self.counters.past_end,
                    _ => &self.counters.failed,
                };
                counter.fetch_add(1, Relaxed);
                request.refuse(&error);
            }
        }
    }

    /// Finds the window of a fault.
    fn request(&self, fault: Fault) -> Option<Request> {
        let window = {
            let windows = self.windows.leaf();
            windows.by_start.range(..=fault.address).next_back().and_then(|(_, window)| window.upgrade())
        }?;
        let page = window.page_at(fault.address)?;
        let stores = fault.touch == Touch::Store || fault.kind == FaultKind::WriteProtect;
        let access = match (stores, window.kind) {
            (false, _) => Access::Read,
            (true, WindowKind::Private) => Access::PrivateWrite,
            (true, _) => Access::Write,
        };
        Some(Request::new(window, page, access))
    }

    /// Makes the translations of the `regions` oldest regions traps again.
    fn evict(&self, regions: usize) {
        let mut gone = 0;
        let turns = self.windows.leaf().turns.len();
        for _ in 0..turns {
            let Some((window, region, turn)) = self.windows.leaf().turns.pop_front() else { return };
            let Some(alive) = window.upgrade() else { continue };
            match alive.evict(region, turn) {
                Some(later) => self.windows.leaf().turns.push_back((window, region, later)),
                None => gone += 1,
            }
            if gone == regions {
                break;
            }
        }
        self.counters.evicted.fetch_add(gone as u64, Relaxed);
    }
}

/// Asks the window's handler; gives the pages that can be touched now.
fn ask(request: &Request) -> Result<Served, FaultError> {
    let handler = request.window().handler.get().ok_or(FaultError::Gone)?;
    handler(request.page(), request.access())
}

/// Whether a program writes new pages one after the other: then it is about to store to all that were translated.
fn is_stream_of_stores(served: &Served) -> bool {
    let new = matches!(served.kind, Met::HoleWrite | Met::UnwrittenWrite);
    new && served.pages.end - served.pages.start >= STREAM_PAGES_MIN
}

impl Window {
    /// Runs an installation within the budget. Holds no leaf lock while it evicts.
    fn within_budget(&self, install: impl Fn() -> Result<(), MmuError>) -> Result<(), MmuError> {
        let shared = &self.service.shared;
        if self.budget.is_spent() {
            shared.evict(1);
        }
        let mut outcome = install();
        for _ in 1..TRIES {
            if outcome != Err(MmuError::NoMemory) {
                break;
            }
            shared.evict(EVICT_AT_LIMIT);
            outcome = install();
        }
        outcome
    }

    /// Hands regions that were translated for the first time to the queue of evictions.
    fn queue_regions(&self) {
        let turns = std::mem::take(&mut self.state.leaf().unqueued);
        if turns.is_empty() {
            return;
        }
        let this = {
            let windows = self.service.shared.windows.leaf();
            windows.by_start.get(&self.reservation.start()).cloned()
        };
        if let Some(this) = this {
            self.service.queue_turns(&this, turns);
        }
    }
}

impl Mmu for Window {
    fn pages(&self) -> Range<u64> {
        self.pages.clone()
    }

    fn kind(&self) -> WindowKind {
        self.kind
    }

    fn install(&self, _held: &mut Held<'_, level::Window>, pages: Range<u64>, to: Target) -> Result<(), MmuError> {
        if self.kind == WindowKind::Private {
            return self.install_private(&pages, to);
        }
        let outcome = self.within_budget(|| self.install_shared(&pages, to));
        self.queue_regions();
        outcome
    }

    fn copy_private(
        &self,
        _held: &mut Held<'_, level::Window>,
        page: u64,
        from: Option<Block>,
    ) -> Result<(), MmuError> {
        self.copy_page(page, from)
    }

    fn revoke(
        &self,
        _held: &mut Held<'_, level::Window>,
        pages: Range<u64>,
        private: PrivateCopies,
        becomes: Becomes,
    ) -> Result<(), MmuError> {
        match self.kind {
            WindowKind::Private => self.revoke_private(&pages, private, becomes),
            WindowKind::SharedRead | WindowKind::SharedWrite => self.revoke_shared(&pages, becomes),
        }
    }

    fn write_protect(&self, _held: &mut Held<'_, level::Window>, pages: Range<u64>) -> Result<(), MmuError> {
        match self.kind {
            WindowKind::Private => Ok(()),
            WindowKind::SharedRead | WindowKind::SharedWrite => self.write_protect_shared(&pages),
        }
    }
}

impl CounterValues {
    /// The time a fault took on average, from the kernel's message to the answer.
    pub fn serving_mean(&self) -> Duration {
        let faults = self.served + self.past_end + self.failed;
        Duration::from_nanos(self.serving_nanos.checked_div(faults).unwrap_or(0))
    }
}
