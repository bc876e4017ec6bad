//! How a scenario is run: many rounds with real threads, or, built for the model checker, under every
//! schedule with few preemptions and under many random ones beyond.

use order::sync::{Arc, thread};

/// How large the space of schedules is, and so how far it is searched.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// Two threads, few steps: all schedules with at most three preemptions.
    Deep,
    /// Three threads, or long ones: all with at most two.
    Wide,
    /// A file of 2 MiB, whose set-up takes milliseconds: at most one preemption, fewer rounds.
    Huge,
    /// A whole file system, whose operations take many steps: as `Huge`.
    Whole,
}

impl Reach {
    /// The same over the engine's file system, which takes more steps.
    pub fn less(self) -> Self {
        match self {
            Self::Deep | Self::Wide | Self::Whole => Self::Whole,
            Self::Huge => Self::Huge,
        }
    }
}

/// What a thread of a scenario does.
pub type Body = Box<dyn FnOnce() + Send>;

/// Runs the bodies at once, the last one on this thread, and waits for all.
pub fn together(mut bodies: Vec<Body>) {
    let last = bodies.pop().expect("a scenario has a thread");
    let threads: Vec<_> = bodies.into_iter().map(thread::spawn).collect();
    last();
    for thread in threads {
        thread.join().expect("a thread of the scenario ends");
    }
    // A checked build panics here if this thread still held something.
    let _held = order::unlocked();
}

/// A body that owns a clone of each thing named.
#[macro_export]
macro_rules! body {
    ($($name:ident),* => $code:expr) => {{
        $(let $name = $name.clone();)*
        Box::new(move || { $code }) as $crate::runner::Body
    }};
}

/// Does the set-up of a scenario: the model checker does not switch threads in it.
pub fn set_up<T>(body: impl FnOnce() -> T) -> T {
    #[cfg(shuttle)]
    return explore::bounded::uninterrupted(body);
    #[cfg(not(shuttle))]
    body()
}

/// Real threads: as many rounds as fit in about a second. What they miss the model checker finds.
#[cfg(not(shuttle))]
pub fn run(_name: &str, reach: Reach, scenario: fn()) {
    let rounds = match reach {
        Reach::Deep => 300,
        Reach::Wide => 100,
        Reach::Huge | Reach::Whole => 20,
    };
    for _ in 0..rounds {
        scenario();
    }
}

/// About how many scenarios there are.
#[cfg(shuttle)]
const SCENARIOS: u64 = 70;

/// Every schedule up to the bound, then random ones.
#[cfg(shuttle)]
pub fn run(name: &str, reach: Reach, scenario: fn()) {
    use std::time::Duration;

    use explore::bounded::{Beyond, Config};

    let (bound, runs_max, random) = match reach {
        Reach::Deep => (3, 60_000, 1000),
        Reach::Wide => (2, 60_000, 1000),
        Reach::Huge => (1, 500, 100),
        Reach::Whole => (1, 2000, 200),
    };
    // For a search that goes further than that of every day.
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let search = Config {
        bound: number("DAXLE_EXPLORE_BOUND").map_or(bound, |bound| bound as u32),
        max_schedules: Some(number("DAXLE_EXPLORE_RUNS_MAX").unwrap_or(runs_max)),
        ..Config::default()
    };
    // `cargo xtask explore --minutes N` shares its time among all scenarios, two of which run at once.
    let (time, random) = match number("DAXLE_EXPLORE_MINUTES") {
        Some(minutes @ 1..) => (Duration::from_secs((minutes * 60 * 2 / SCENARIOS).max(1)), u64::MAX),
        _ => (Duration::from_secs(3600), random),
    };
    // Its own run, since it must also follow a search that was cut short.
    let chance = Config {
        bound: 0,
        beyond: Some(Beyond { time, max_schedules: random, seed: 1, changes: 3 }),
        ..Config::default()
    };
    let found = explore::explore(&search, scenario);
    let random = if found.failure.is_none() { explore::explore(&chance, scenario) } else { found.clone() };
    println!(
        "{name}: {} schedules with at most {} preemptions ({}), {} runs; {} random",
        found.schedules,
        found.bound,
        if found.complete { "all there are" } else { "cut short" },
        found.runs,
        random.random,
    );
    if let Some(failure) = found.failure.or(random.failure) {
        panic!(
            "{name}: {}: {}\nafter {} preemptions; replay with explore::replay(\"{}\")",
            failure.class, failure.message, failure.preemptions, failure.schedule
        );
    }
}

/// Shares something between the threads of a scenario.
pub fn share<T>(value: T) -> Arc<T> {
    Arc::new(value)
}
