//! Exploration of schedules, and the fault protocols of history.
//!
//! Two things live here. The first is a scheduler ([`bounded`]) that runs a scenario under every
//! schedule with at most so many preemptions, one after the other, and says how many that were. It
//! knows nothing of Daxle: the engine's own tests use it as they are. The second ([`history`]) is a
//! set of small models of the way Linux served page faults on persistent memory, from 4.2 to 4.11,
//! next to Daxle's way in the same words. The explorer finds in each model the defects that the
//! kernel's history tells of, without being told where they are.
//!
//! # Locks in this crate
//! Everywhere else in the project locks come from the crate `order`, which knows Daxle's levels. The
//! models here are models of *other* kernels' locks, among them a read-write semaphore that may be
//! unlocked by somebody who does not hold it. No table of levels can, or should, express that. So
//! the models build their locks themselves, on `shuttle::sync` and as plain data.
//!
//! # What the pieces are
//! - [`bounded`]: search, random schedules beyond the bound, replay, the schedule as one string.
//! - [`trace`]: what the threads of one schedule did, as data.
//! - [`chart`]: a trace as a sequence chart, as text and as SVG.
//! - [`history`]: the world, the protocols, the scenarios, and the table protocol by defect.
//! - [`command`]: what `daxle explore` does.
#![forbid(unsafe_code)]

pub mod bounded;
pub mod chart;
pub mod command;
pub mod history;
pub mod trace;

pub use bounded::{Config, Failure, Outcome, explore, replay};
