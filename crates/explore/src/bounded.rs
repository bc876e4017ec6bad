//! Running a scenario under every schedule with few preemptions.
//!
//! Most races need one or two preemptions at the right place; so all schedules with at most two or
//! three are both few enough to run and likely to hold the defect. [`explore`] runs them all, bound
//! after bound, and prints no more than it can vouch for: how many schedules, to which bound, whether
//! that was all there are. A failure comes back as one string that [`replay`] takes.
//!
//! A scenario is a closure that may spawn `shuttle::thread`s and must reach its locks through
//! `shuttle::sync` (in this workspace: through `order`, compiled with `--cfg shuttle`). It must be
//! deterministic apart from the schedule. It fails by panicking, by deadlocking, by running on for
//! ever, or by calling [`fail`].
//!
//! # What keeps this honest
//! - Decisions are made in one place, [`Driver::decide`], for search, chance and replay alike.
//! - While a failing schedule is looked for, panics are silent; a hook takes their text. A panic
//!   fails the schedule even where the scenario would catch it.
//! - The failing schedule is run again before it is handed out, with recording on. If it does not
//!   fail again, the failure says so, since a schedule that does not replay is of no use.

mod encoding;
mod strategy;

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use shuttle::scheduler::{Schedule as ShuttleSchedule, Scheduler, Task, TaskId};

use crate::trace::{self, Trace, What};
pub use encoding::DecodeError;
use encoding::Schedule;
use strategy::{Chance, Choice, Dice, Follow, Reached, Search, Surprise};

/// How far to explore.
#[derive(Debug, Clone)]
pub struct Config {
    /// The highest number of preemptions that is searched exhaustively.
    pub bound: u32,
    /// Stop the search after so many runs, all rounds together. `None`: no limit.
    pub max_schedules: Option<u64>,
    /// Stop the search after so much time. `None`: no limit.
    pub max_time: Option<Duration>,
    /// What to do when the search is through and has found nothing.
    pub beyond: Option<Beyond>,
    /// The stack of each task, in bytes. The engine needs more than shuttle's 60 KiB.
    pub stack_bytes: usize,
    /// A run with more scheduling steps than this counts as one that never ends.
    pub max_steps: usize,
}

/// Random schedules beyond the bound.
#[derive(Debug, Clone, Copy)]
pub struct Beyond {
    /// How long to go on.
    pub time: Duration,
    /// The most runs to make; with this as the limit, two runs with one seed are the same.
    pub max_schedules: u64,
    /// Where the dice start.
    pub seed: u64,
    /// How many priority changes a PCT run makes.
    pub changes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { bound: 2, max_schedules: None, max_time: None, beyond: None, stack_bytes: 256 << 10, max_steps: 200_000 }
    }
}

/// What an exploration has found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Different schedules of the last round: all those with at most `bound` preemptions, if
    /// `complete`.
    pub schedules: u64,
    /// Runs of all rounds and of the random part.
    pub runs: u64,
    /// The bound of the last round.
    pub bound: u32,
    /// The last round was run to its end (false after a failure, or when a limit cut it short).
    pub complete: bool,
    /// No higher bound has any schedule more: the space is exhausted.
    pub exhausted: bool,
    /// Random runs beyond the bound.
    pub random: u64,
    /// The failure with the fewest preemptions, if any.
    pub failure: Option<Failure>,
}

/// A schedule that fails, and how.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What was being run: a headline, and further lines. Empty unless the scenario's owner fills it.
    pub title: String,
    /// The kind: `panic`, `deadlock`, `endless`, `not deterministic`, or what [`fail`] was given.
    pub class: String,
    /// What happened, in words.
    pub message: String,
    /// The string that [`replay`] takes.
    pub schedule: String,
    /// Scheduling decisions up to the failure.
    pub steps: usize,
    /// How many of them took the processor from a task that could go on.
    pub preemptions: u32,
    /// What the threads did.
    pub trace: Trace,
}

/// Why a schedule could not be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The string is not a schedule.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The scenario does not get to the decisions of the schedule: it is another scenario, or its
    /// code has changed.
    #[error("the schedule does not fit this scenario (at decision {at})")]
    DoesNotFit {
        /// The first decision that does not fit.
        at: usize,
    },
}

thread_local! {
    /// An exploration is under way here: the panic hook stays silent.
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
    /// The running task must not be interrupted, and its steps are no decisions.
    static UNINTERRUPTED: Cell<bool> = const { Cell::new(false) };
    /// Class and message of the failure of the current run.
    static FAILED: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Runs `scenario` under every schedule with at most `config.bound` preemptions, then at random if
/// the configuration says so, and stops at the first failure.
pub fn explore(config: &Config, scenario: impl Fn() + Send + Sync + 'static) -> Outcome {
    let (mut outcome, failures) = run(config, &as_scenario(scenario), Stop::AtFirstFailure);
    outcome.failure = failures.into_iter().next();
    outcome
}

/// Like [`explore`], but goes on after a failure, to the end of the bound. The failures are the
/// shortest of each class, in the order in which the classes were met; `failure` stays empty.
pub fn survey(config: &Config, scenario: impl Fn() + Send + Sync + 'static) -> (Outcome, Vec<Failure>) {
    run(config, &as_scenario(scenario), Stop::Never)
}

/// Runs `scenario` once, under `schedule`. `None` when it does not fail.
pub fn replay(schedule: &str, scenario: impl Fn() + Send + Sync + 'static) -> Result<Option<Failure>, ReplayError> {
    follow(&Config::default(), encoding::decode(schedule)?, &as_scenario(scenario))
}

/// Fails the current run from inside a scenario, without a panic: the run simply ends here.
/// Failures of one `class` count as one finding.
pub fn fail(class: &str, message: &str) -> ! {
    note_failure(class, message);
    loop {
        // The scheduler ends the run at the next decision; the task is unwound from here.
        shuttle::thread::yield_now();
    }
}

/// Runs `body` as a single step: no other task runs in between, as long as `body` does not block.
/// For setting up a scenario, and for models whose steps are larger than a lock operation.
pub fn uninterrupted<R>(body: impl FnOnce() -> R) -> R {
    let before = UNINTERRUPTED.replace(true);
    let result = body();
    UNINTERRUPTED.set(before);
    result
}

/// Switches the running task between steps of a decision and plain ones; see [`uninterrupted`].
pub(crate) fn set_uninterrupted(on: bool) {
    UNINTERRUPTED.set(on);
}

fn note_failure(class: &str, message: &str) {
    FAILED.with_borrow_mut(|failed| {
        failed.get_or_insert_with(|| (class.to_owned(), message.to_owned()));
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    AtFirstFailure,
    Never,
}

enum Strategy {
    Search(Search),
    Chance(Chance),
    Follow(Follow),
}

/// The state of one exploration; shuttle's scheduler is a handle to it.
struct Driver {
    strategy: Strategy,
    stop: Stop,
    running: bool,
    path: Vec<u16>,
    preemptions: u32,
    seed: u64,
    data: Dice,
    runs: u64,
    runs_left: u64,
    deadline: Option<Instant>,
    failures: Vec<Failure>,
    surprise: Option<Surprise>,
}

impl Driver {
    fn new(strategy: Strategy, stop: Stop, seed: u64) -> Self {
        Self {
            strategy,
            stop,
            running: false,
            path: Vec::new(),
            preemptions: 0,
            seed,
            data: Dice(seed),
            runs: 0,
            runs_left: u64::MAX,
            deadline: None,
            failures: Vec::new(),
            surprise: None,
        }
    }

    /// Ends the run before, and prepares the next one. False when there is none.
    fn begin_run(&mut self) -> bool {
        self.end_run();
        let halted = self.surprise.is_some() || (self.stop == Stop::AtFirstFailure && !self.failures.is_empty());
        let late = self.deadline.is_some_and(|d| Instant::now() >= d);
        if halted || late || self.runs_left == 0 {
            return false;
        }
        let more = match &mut self.strategy {
            Strategy::Search(search) => search.begin(),
            Strategy::Chance(chance) => {
                chance.begin();
                true
            }
            Strategy::Follow(follow) => !std::mem::replace(&mut follow.begun, true),
        };
        if more {
            self.running = true;
            self.runs += 1;
            self.runs_left -= 1;
            self.path.clear();
            self.preemptions = 0;
            self.data = Dice(self.seed);
            UNINTERRUPTED.set(false);
        }
        more
    }

    /// Takes note of how the run ended.
    fn end_run(&mut self) {
        if !std::mem::replace(&mut self.running, false) {
            return;
        }
        let Some((class, message)) = FAILED.take() else {
            return;
        };
        let steps = self.path.len();
        let known = self.failures.iter().position(|f| f.class == class);
        let shorter = known.is_none_or(|i| {
            let old = &self.failures[i];
            (self.preemptions, steps) < (old.preemptions, old.steps)
        });
        if !shorter {
            return;
        }
        let failure = Failure {
            title: String::new(),
            class,
            message,
            schedule: encoding::encode(&Schedule { seed: self.seed, path: self.path.clone() }),
            steps,
            preemptions: self.preemptions,
            trace: Trace::default(),
        };
        match known {
            Some(i) => self.failures[i] = failure,
            None => self.failures.push(failure),
        }
    }

    /// The one place where a task is chosen. `None` ends the run.
    fn decide(&mut self, runnable: &[u16], current: Option<u16>, yields: bool) -> Option<u16> {
        if FAILED.with_borrow(Option::is_some) {
            return None;
        }
        let able = current.filter(|task| runnable.contains(task));
        if UNINTERRUPTED.get() {
            if able.is_some() {
                return able;
            }
            UNINTERRUPTED.set(false);
        }
        // A task that yields waits for another: to choose it again would only spin.
        let rest: Vec<u16>;
        let (runnable, goes_on) = if yields && runnable.len() > 1 {
            rest = runnable.iter().copied().filter(|t| Some(*t) != current).collect();
            (rest.as_slice(), None)
        } else {
            (runnable, able)
        };
        let choice = Choice { runnable, goes_on, at: self.path.len() };
        let chosen = match &mut self.strategy {
            Strategy::Search(search) => search.choose(&choice),
            Strategy::Chance(chance) => Ok(chance.choose(&choice)),
            Strategy::Follow(follow) => follow.choose(&choice),
        };
        match chosen {
            Ok(task) => {
                self.preemptions += u32::from(goes_on.is_some_and(|t| t != task));
                self.path.push(task);
                Some(task)
            }
            Err(surprise) => {
                if surprise == Surprise::NotDeterministic {
                    let at = self.path.len();
                    let why = format!("the same choices led to other tasks at decision {at}");
                    note_failure("not deterministic", &why);
                }
                self.surprise = Some(surprise);
                None
            }
        }
    }
}

/// Shuttle's view of the driver.
struct Handle(Rc<RefCell<Driver>>);

impl Scheduler for Handle {
    fn new_execution(&mut self) -> Option<ShuttleSchedule> {
        self.0.borrow_mut().begin_run().then(|| ShuttleSchedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let number = |id: TaskId| usize::from(id) as u16;
        let mut tasks = [0_u16; 64];
        assert!(runnable.len() <= tasks.len(), "more than 64 tasks can run at once");
        for (slot, task) in tasks.iter_mut().zip(runnable) {
            *slot = number(task.id());
        }
        let tasks = &tasks[..runnable.len()];
        let chosen = self.0.borrow_mut().decide(tasks, current.map(number), yields);
        chosen.map(|task| TaskId::from(usize::from(task)))
    }

    fn next_u64(&mut self) -> u64 {
        self.0.borrow_mut().data.roll()
    }
}

type Scenario = Arc<dyn Fn() + Send + Sync>;

fn as_scenario(scenario: impl Fn() + Send + Sync + 'static) -> Scenario {
    Arc::new(scenario)
}

/// Search, then chance, then the failing schedules again with recording on.
fn run(config: &Config, scenario: &Scenario, stop: Stop) -> (Outcome, Vec<Failure>) {
    let mut driver = Driver::new(Strategy::Search(Search::new(0, config.bound)), stop, 0);
    driver.runs_left = config.max_schedules.unwrap_or(u64::MAX);
    driver.deadline = config.max_time.map(|t| Instant::now() + t);
    let driver = drive(config, driver, scenario);
    let Strategy::Search(search) = &driver.strategy else {
        unreachable!("the strategy of a driver does not change");
    };
    let mut outcome = Outcome {
        schedules: search.schedules,
        runs: driver.runs,
        bound: search.bound,
        complete: search.reached.is_some(),
        exhausted: search.reached == Some(Reached::All),
        random: 0,
        failure: None,
    };
    let mut failures = driver.failures;
    if let Some(beyond) = config.beyond
        && search.reached == Some(Reached::Bound)
        && (stop == Stop::Never || failures.is_empty())
    {
        let chance = Chance::new(beyond.seed, beyond.changes);
        let mut driver = Driver::new(Strategy::Chance(chance), stop, beyond.seed);
        driver.runs_left = beyond.max_schedules;
        driver.deadline = Some(Instant::now() + beyond.time);
        driver.failures = failures;
        let driver = drive(config, driver, scenario);
        outcome.random = driver.runs;
        outcome.runs += driver.runs;
        failures = driver.failures;
    }
    for failure in &mut failures {
        add_trace(config, failure, scenario);
    }
    (outcome, failures)
}

/// Runs the failing schedule again and keeps what its threads tell.
fn add_trace(config: &Config, failure: &mut Failure, scenario: &Scenario) {
    let again = encoding::decode(&failure.schedule)
        .map_err(ReplayError::from)
        .and_then(|schedule| follow(config, schedule, scenario));
    match again {
        Ok(Some(same)) if same.class == failure.class => failure.trace = same.trace,
        _ => failure.message.push_str(" (and the schedule does not replay: look for a clock)"),
    }
}

fn follow(config: &Config, schedule: Schedule, scenario: &Scenario) -> Result<Option<Failure>, ReplayError> {
    let Schedule { seed, path } = schedule;
    let strategy = Strategy::Follow(Follow { path, begun: false });
    trace::start();
    let driver = drive(config, Driver::new(strategy, Stop::AtFirstFailure, seed), scenario);
    let trace = trace::stop();
    if driver.surprise.is_some() {
        let at = driver.path.len();
        return Err(ReplayError::DoesNotFit { at });
    }
    let mut failure = driver.failures.into_iter().next();
    if let Some(failure) = &mut failure {
        failure.trace = complete_trace(trace, &driver.path, failure);
    }
    Ok(failure)
}

/// A scenario that tells nothing still gets the runs of its tasks; every trace ends in the defect.
fn complete_trace(mut trace: Trace, path: &[u16], failure: &Failure) -> Trace {
    let told = trace.events.iter().any(|e| matches!(e.what, What::Defect(_)));
    if trace.events.is_empty() {
        for run in path.chunk_by(|a, b| a == b) {
            let what = What::Step(format!("runs {} steps", run.len()));
            trace.events.push(trace::Event { thread: usize::from(run[0]), what });
        }
    }
    if !told {
        let thread = usize::from(path.last().copied().unwrap_or(0));
        let what = What::Defect(format!("{}: {}", failure.class, failure.message));
        trace.events.push(trace::Event { thread, what });
    }
    trace
}

/// Runs until the driver has no more runs. A failing run unwinds out of shuttle's runner, which is
/// then made anew around the same driver.
fn drive(config: &Config, driver: Driver, scenario: &Scenario) -> Driver {
    install_hook();
    let shared = Rc::new(RefCell::new(driver));
    let outer = EXPLORING.replace(true);
    loop {
        let handle = Handle(Rc::clone(&shared));
        let scenario = Arc::clone(scenario);
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            shuttle::Runner::new(handle, shuttle_config(config)).run(move || scenario())
        }));
        match result {
            Ok(_) => break,
            Err(payload) => {
                note_failure(classify(&text_of(&*payload)), &text_of(&*payload));
                shared.borrow_mut().end_run();
            }
        }
    }
    EXPLORING.set(outer);
    let Some(driver) = Rc::into_inner(shared) else {
        unreachable!("the runner is gone, and its handle with it");
    };
    driver.into_inner()
}

fn shuttle_config(config: &Config) -> shuttle::Config {
    let mut shuttle = shuttle::Config::new();
    shuttle.stack_size = config.stack_bytes;
    shuttle.failure_persistence = shuttle::FailurePersistence::None;
    shuttle.max_steps = shuttle::MaxSteps::FailAfter(config.max_steps);
    shuttle.silence_warnings = true;
    shuttle.ungraceful_shutdown_config.immediately_return_on_panic = true;
    shuttle
}

/// Shuttle sets a hook of its own at its first run, which prints; ours must come after it.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let strategy = Strategy::Follow(Follow { path: Vec::new(), begun: false });
        let driver = Rc::new(RefCell::new(Driver::new(strategy, Stop::AtFirstFailure, 0)));
        shuttle::Runner::new(Handle(driver), shuttle_config(&Config::default())).run(|| {});
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !EXPLORING.get() {
                previous(info);
                return;
            }
            let text = text_of(info.payload());
            let class = classify(&text);
            match info.location() {
                Some(place) if class == "panic" => {
                    let (file, line) = (place.file(), place.line());
                    note_failure(class, &format!("{text} (at {file}:{line})"));
                }
                _ => note_failure(class, &text),
            }
        }));
    });
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without text").to_owned()
}

/// Shuttle reports all that goes wrong as a panic; its texts tell which.
fn classify(text: &str) -> &'static str {
    if text.starts_with("deadlock!") {
        "deadlock"
    } else if text.starts_with("exceeded max_steps") {
        "endless"
    } else {
        "panic"
    }
}
