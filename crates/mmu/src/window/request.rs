//! One fault that waits for its answer.
//!
//! A request is linear: it is answered by [`Request::wake`] or [`Request::refuse`], once, and both consume it. A
//! thread sleeps until then, so a request that is dropped unanswered would hang a program. That is a
//! bug in this module: it panics in builds with debug assertions, and answers with SIGBUS in all others.

use std::ops::Range;

use engine::FsError;
use engine::dax::{Access, FaultError, MmuError};
use order::sync::Arc;

use super::Window;

/// A fault of a window.
#[derive(Debug)]
#[must_use = "a thread sleeps until the request is answered"]
pub(super) struct Request {
    window: Arc<Window>,
    page: u64,
    access: Access,
    /// The window's epoch when the request was made.
    epoch: u64,
    answered: bool,
}

impl Request {
    pub(super) fn new(window: Arc<Window>, page: u64, access: Access) -> Request {
        let epoch = window.epoch();
        Request { window, page, access, epoch, answered: false }
    }

    pub(super) fn window(&self) -> &Arc<Window> {
        &self.window
    }

    pub(super) fn page(&self) -> u64 {
        self.page
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// Lets the threads that sleep at `pages`, and the one of this request, try again.
    pub(super) fn wake(mut self, pages: &Range<u64>) {
        self.answered = true;
        let window = &self.window;
        let covered = pages.start.max(window.pages.start)..pages.end.min(window.pages.end);
        if !covered.contains(&self.page) {
            wake(window, &(self.page..self.page + 1));
        }
        if !covered.is_empty() {
            wake(window, &covered);
        }
    }

    /// Lets the thread meet SIGBUS, unless the page has changed since the request was made; then it
    /// tries again and is told anew.
    pub(super) fn refuse(mut self, error: &FaultError) {
        self.answered = true;
        self.answer_error(error);
    }

    fn answer_error(&self, error: &FaultError) {
        self.window.refuse(self.page, self.access, error, self.epoch);
        wake(&self.window, &(self.page..self.page + 1));
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.answer_error(&FaultError::Fs(FsError::Io("a page fault was left unanswered".to_owned())));
        let release = !cfg!(debug_assertions);
        assert!(release || std::thread::panicking(), "the fault at page {} was dropped without an answer", self.page);
    }
}

/// Whether an error means that the kernel has no room for one more mapping.
pub(super) fn is_out_of_mappings(error: &FaultError) -> bool {
    matches!(error, FaultError::Mmu(MmuError::NoMemory))
}

fn wake(window: &Window, pages: &Range<u64>) {
    // It fails if nothing is registered in the range any more; then nobody sleeps there.
    let _ = window.service.uffd().wake(window.addresses(pages));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Limits, Place, WindowMmu};
    use engine::dax::WindowKind;
    use pool::{Huge, MemfdPool, Pool};

    #[test]
    fn a_request_dropped_without_an_answer_is_a_bug_and_still_no_hang() {
        let Ok(mmu) = WindowMmu::new(Limits::default()) else {
            println!("skipped: no permission for userfaultfd");
            return;
        };
        let pool: Arc<dyn Pool> = Arc::new(MemfdPool::create("request-test", 16 << 20, Huge::No).unwrap());
        let place = Place { pages: 0..4, kind: WindowKind::SharedWrite, near: None };
        let window = mmu.window(&pool, &place).unwrap();
        let request = Request::new(Arc::clone(&window), 2, Access::Read);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(request)));
        assert_eq!(outcome.is_err(), cfg!(debug_assertions));
        // The page was answered with SIGBUS before the panic.
        assert!(window.reservation().try_copy_out(window.offset_bytes(2), &mut [0; 8]).is_err());
        assert!(window.take_failure().is_some());
    }
}
