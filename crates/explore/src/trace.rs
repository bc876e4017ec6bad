//! What the threads of one schedule did.
//!
//! A scenario may tell the explorer what it does: that a thread waits for a lock, takes it, lets it
//! go, or makes a step worth a line. Nothing is kept while schedules are searched, since there are
//! very many of them; the failing one is run again with recording on. So telling costs one look at
//! a thread-local flag, and the text of a step is built only when somebody will read it.
//!
//! Everything of one exploration runs on one operating system thread (that is how shuttle works),
//! therefore a thread-local is the right place for the recorder and needs no lock.

use std::cell::RefCell;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// One thing that a thread did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A step, in words.
    Step(String),
    /// Something worth a line that is no step: a fault begins, an error comes back.
    Note(String),
    /// Began to wait for a lock.
    Wait {
        /// The lock's name.
        lock: String,
        /// How it wants to hold it.
        mode: Mode,
    },
    /// Took a lock.
    Take {
        /// The lock's name.
        lock: String,
        /// How it holds it.
        mode: Mode,
    },
    /// Let a lock go.
    Release {
        /// The lock's name.
        lock: String,
    },
    /// Broke an invariant: the end of a failing schedule.
    Defect(String),
    /// The thread is through.
    End,
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Index of the thread; 0 is the thread that runs the scenario.
    pub thread: usize,
    /// What it did.
    pub what: What,
}

/// The lines of one schedule, in the order in which they happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// What each thread is for, by index. May be shorter than the number of threads.
    pub titles: Vec<String>,
    /// What happened.
    pub events: Vec<Event>,
}

thread_local! {
    static RECORDER: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Tells what thread `thread` did. `what` is called only while a schedule is being recorded.
pub fn record(thread: usize, what: impl FnOnce() -> What) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(trace) = recorder {
            let event = Event { thread, what: what() };
            trace.events.push(event);
        }
    });
}

/// Tells what thread `thread` is for.
pub fn title(thread: usize, text: impl FnOnce() -> String) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(trace) = recorder {
            if trace.titles.len() <= thread {
                trace.titles.resize(thread + 1, String::new());
            }
            trace.titles[thread] = text();
        }
    });
}

/// Starts recording on this operating system thread, forgetting what was recorded before.
pub(crate) fn start() {
    RECORDER.set(Some(Trace::default()));
}

/// Stops recording and hands out what there is.
pub(crate) fn stop() -> Trace {
    RECORDER.take().unwrap_or_default()
}

impl Trace {
    /// The number of threads that the trace speaks of.
    pub fn threads(&self) -> usize {
        let spoken = self.events.iter().map(|e| e.thread + 1).max().unwrap_or(0);
        spoken.max(self.titles.len())
    }

    /// The title of a thread, or a plain name where none was told.
    pub fn title_of(&self, thread: usize) -> String {
        match self.titles.get(thread) {
            Some(title) if !title.is_empty() => title.clone(),
            _ => format!("thread {thread}"),
        }
    }
}
