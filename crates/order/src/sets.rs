//! Several locks of one level, taken together.
//!
//! Two threads that take the same two inodes in different order would deadlock.  So all are taken in
//! one call, in the order of a key that tells them apart (the inode's number), whatever order the
//! caller gives them in.  A lock that is given twice (a rename inside one directory) is taken once.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::frame::Frame;
use crate::locks::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::token::Held;
use crate::{Before, Level, Several};

/// The most locks in one set: a rename has four.
pub const SET_MAX: usize = 8;

/// Guards of several locks of one level, found by the place at which the caller gave the lock.
#[must_use = "the locks are released at once if the set is dropped"]
pub struct LockSet<G> {
    /// In the order of the keys.
    guards: Vec<G>,
    /// For each lock as given, where its guard is.
    place: Vec<usize>,
}

/// Locks held shared.
pub type ReadSet<'a, L, T> = LockSet<RwLockReadGuard<'a, L, T>>;
/// Locks held exclusively.
pub type WriteSet<'a, L, T> = LockSet<RwLockWriteGuard<'a, L, T>>;

impl<G: Deref> LockSet<G> {
    /// What the lock guards that was given at place `index`.
    ///
    /// # Panics
    /// Panics if fewer locks were given.
    pub fn get(&self, index: usize) -> &G::Target {
        &self.guards[self.place[index]]
    }

    /// As [`get`](Self::get), to change it.
    ///
    /// # Panics
    /// Panics if fewer locks were given.
    pub fn get_mut(&mut self, index: usize) -> &mut G::Target
    where
        G: DerefMut,
    {
        &mut self.guards[self.place[index]]
    }

    /// How many locks were given, duplicates included.
    pub fn len(&self) -> usize {
        self.place.len()
    }

    /// Whether no lock was given.
    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
    }
}

impl<G> fmt::Debug for LockSet<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockSet of {}", self.guards.len())
    }
}

/// Takes all `locks` shared, in the order of their keys; equal keys mean the same lock.
///
/// # Panics
/// Panics if there are more than [`SET_MAX`] locks, or if two different locks have the same key.
#[track_caller]
pub fn read_set<'a, L: Several, T, P: Before<L>>(
    locks: &[(u64, &'a RwLock<L, T>)],
    held: &'a mut Held<'_, P>,
) -> (ReadSet<'a, L, T>, Held<'a, L>) {
    (take::<L, T, _>(locks, RwLock::read_in), held.narrow())
}

/// Takes all `locks` exclusively, in the order of their keys; equal keys mean the same lock.
///
/// # Panics
/// As [`read_set`].
#[track_caller]
pub fn write_set<'a, L: Several, T, P: Before<L>>(
    locks: &[(u64, &'a RwLock<L, T>)],
    held: &'a mut Held<'_, P>,
) -> (WriteSet<'a, L, T>, Held<'a, L>) {
    (take::<L, T, _>(locks, RwLock::write_in), held.narrow())
}

#[track_caller]
fn take<'a, L: Level, T, G>(
    locks: &[(u64, &'a RwLock<L, T>)],
    lock: impl Fn(&'a RwLock<L, T>, Frame<'a>) -> G,
) -> LockSet<G> {
    assert!(locks.len() <= SET_MAX, "{} locks at once, at most {SET_MAX}", locks.len());
    let mut order: Vec<usize> = (0..locks.len()).collect();
    order.sort_by_key(|&given| locks[given].0);

    let mut set = LockSet { guards: Vec::with_capacity(locks.len()), place: vec![0; locks.len()] };
    let mut last: Option<(u64, &RwLock<L, T>)> = None;
    for given in order {
        let (key, this) = locks[given];
        match last {
            Some((same, other)) if same == key => {
                assert!(std::ptr::eq(this, other), "two {} locks have key {key}", L::NAME);
            }
            Some(_) => set.guards.push(lock(this, Frame::push_next(L::RANK, key))),
            None => set.guards.push(lock(this, Frame::push(L::RANK, key))),
        }
        last = Some((key, this));
        set.place[given] = set.guards.len() - 1;
    }
    set
}
