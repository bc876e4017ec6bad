//! The three ways to choose the next task: search, chance, replay.
//!
//! *Search* is depth-first over decisions, as CHESS does it: to go on with the running task is free,
//! to choose when it blocks, ends or yields is free, to take the processor from a task that could go
//! on is a *preemption*. A round visits every schedule with at most `bound` preemptions; rounds have
//! bounds 0, 1, 2, ... so the first failure has the fewest. A round repeats what the rounds before
//! it ran: that costs a tenth or so, and in return the state of the search is one path.
//!
//! *Chance* is PCT (priorities, lowered at a few random decisions) on even runs and a uniform choice
//! on odd ones. *Replay* follows a path and goes on without preemptions when the path ends.
//!
//! Invariant of search: up to the last node, the path of a run equals the path of the run before.
//! Where a scenario breaks that (it reads a clock, or hashes addresses) the run is refused with
//! [`Surprise::NotDeterministic`], because exhaustive would be an empty word.

/// What a strategy is asked with at one decision.
pub(super) struct Choice<'a> {
    /// Tasks that can run, ascending.
    pub runnable: &'a [u16],
    /// The task that ran last, where it can go on and did not ask to yield.
    pub goes_on: Option<u16>,
    /// Number of the decision in this run.
    pub at: usize,
}

impl Choice<'_> {
    /// The choice that costs nothing: go on, else the lowest.
    fn default_task(&self) -> u16 {
        self.goes_on.unwrap_or(self.runnable[0])
    }
}

/// Why a run cannot go on as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surprise {
    /// The same decisions led to another set of tasks than before.
    NotDeterministic,
    /// The schedule to replay names a task that cannot run.
    DoesNotFit,
}

/// A decision with more than one way that the budget allows.
struct Node {
    at: usize,
    choices: Vec<u16>,
    chosen: usize,
}

/// Depth-first search over one bound after the other.
pub(super) struct Search {
    pub bound: u32,
    limit: u32,
    nodes: Vec<Node>,
    next_node: usize,
    used: u32,
    /// The budget kept some way closed in this round: a higher bound has more schedules.
    closed_some: bool,
    started: bool,
    /// Runs of this round, the current one included.
    pub schedules: u64,
    /// How far the search came, once it is through.
    pub reached: Option<Reached>,
}

/// How far a search came that was run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// The highest bound.
    Bound,
    /// All schedules that there are; no bound was in the way.
    All,
}

impl Search {
    pub fn new(first: u32, limit: u32) -> Self {
        Self {
            bound: first,
            limit,
            nodes: Vec::new(),
            next_node: 0,
            used: 0,
            closed_some: false,
            started: false,
            schedules: 0,
            reached: None,
        }
    }

    /// Prepares the next run. False when there is none.
    pub fn begin(&mut self) -> bool {
        if self.reached.is_some() {
            return false;
        }
        if self.started && !self.advance() {
            if !self.closed_some {
                self.reached = Some(Reached::All);
            } else if self.bound == self.limit {
                self.reached = Some(Reached::Bound);
            }
            if self.reached.is_some() {
                return false;
            }
            self.bound += 1;
            self.closed_some = false;
            self.schedules = 0;
        }
        self.started = true;
        self.schedules += 1;
        self.next_node = 0;
        self.used = 0;
        true
    }

    /// Moves to the next unvisited way. False when the round is through.
    fn advance(&mut self) -> bool {
        while let Some(node) = self.nodes.last_mut() {
            node.chosen += 1;
            if node.chosen < node.choices.len() {
                return true;
            }
            self.nodes.pop();
        }
        false
    }

    pub fn choose(&mut self, choice: &Choice<'_>) -> Result<u16, Surprise> {
        let default = choice.default_task();
        let others = choice.runnable.len() - 1;
        if others == 0 {
            return Ok(choice.runnable[0]);
        }
        let costs = u32::from(choice.goes_on.is_some());
        if self.used + costs > self.bound {
            self.closed_some = true;
            return Ok(default);
        }
        let task = if let Some(node) = self.nodes.get(self.next_node) {
            let task = node.choices[node.chosen];
            let same = node.at == choice.at
                && node.choices.len() == choice.runnable.len()
                && node.choices[0] == default
                && choice.runnable.contains(&task);
            if !same {
                return Err(Surprise::NotDeterministic);
            }
            task
        } else {
            let mut choices = vec![default];
            choices.extend(choice.runnable.iter().filter(|t| **t != default));
            self.nodes.push(Node { at: choice.at, choices, chosen: 0 });
            default
        };
        self.next_node += 1;
        if task != default {
            self.used += costs;
        }
        Ok(task)
    }
}

/// `SplitMix64`: small, good enough, and the same on every machine.
#[derive(Clone)]
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }
}

/// PCT on even runs, a uniform choice on odd ones.
pub(super) struct Chance {
    dice: Dice,
    changes: usize,
    runs: u64,
    priorities: Vec<u64>,
    lowest: u64,
    change_points: Vec<usize>,
    longest: usize,
}

impl Chance {
    /// `changes`: how many times a run may lower the priority of the running task.
    pub fn new(seed: u64, changes: usize) -> Self {
        Self {
            dice: Dice(seed),
            changes,
            runs: 0,
            priorities: Vec::new(),
            lowest: 0,
            change_points: Vec::new(),
            longest: 1,
        }
    }

    pub fn begin(&mut self) {
        self.runs += 1;
        self.priorities.clear();
        self.lowest = u64::from(u32::MAX);
        self.change_points = (0..self.changes).map(|_| self.dice.below(self.longest)).collect();
    }

    pub fn choose(&mut self, choice: &Choice<'_>) -> u16 {
        self.longest = self.longest.max(choice.at + 1);
        if self.runs % 2 == 1 {
            return choice.runnable[self.dice.below(choice.runnable.len())];
        }
        let highest_task = usize::from(choice.runnable[choice.runnable.len() - 1]);
        while self.priorities.len() <= highest_task {
            self.priorities.push(self.dice.roll() | 1 << 63);
        }
        if let Some(task) = choice.goes_on
            && self.change_points.contains(&choice.at)
        {
            self.lowest -= 1;
            self.priorities[usize::from(task)] = self.lowest;
        }
        // A task that yields goes behind the others for this decision only.
        let priority = |task: &u16| self.priorities[usize::from(*task)];
        *choice.runnable.iter().max_by_key(|t| priority(t)).unwrap_or(&choice.runnable[0])
    }
}

/// Follows a path.
pub(super) struct Follow {
    pub path: Vec<u16>,
    pub begun: bool,
}

impl Follow {
    pub fn choose(&mut self, choice: &Choice<'_>) -> Result<u16, Surprise> {
        match self.path.get(choice.at) {
            Some(task) if choice.runnable.contains(task) => Ok(*task),
            Some(_) => Err(Surprise::DoesNotFit),
            None => Ok(choice.default_task()),
        }
    }
}
