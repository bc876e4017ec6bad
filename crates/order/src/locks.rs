//! Locks with a level.
//!
//! Each takes the proof of what the thread holds and gives a guard and the next proof.  A leaf needs
//! no proof, since anything may be held before it; the run-time check sees to it that nothing is
//! taken after it.  The check comes before the wait, so that an order that would deadlock is reported
//! rather than waited for.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};

use crate::frame::Frame;
use crate::sync::raw;
use crate::token::Held;
use crate::{Before, Leaf, Level};

/// A mutual exclusion lock of level `L`.
pub struct Mutex<L: Level, T> {
    raw: raw::Mutex<T>,
    level: PhantomData<fn() -> L>,
}

/// A locked [`Mutex`]; unlocks when dropped.
#[must_use = "the lock is released at once if the guard is dropped"]
pub struct MutexGuard<'a, L: Level, T> {
    // Before the frame, so that the lock is free when it leaves the stack.
    raw: raw::MutexGuard<'a, T>,
    frame: Frame<'a>,
    level: PhantomData<fn() -> L>,
}

impl<L: Level, T> Mutex<L, T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { raw: raw::Mutex::new(value), level: PhantomData }
    }

    /// Waits for the lock.
    #[track_caller]
    pub fn lock<'a, P: Before<L>>(&'a self, held: &'a mut Held<'_, P>) -> (MutexGuard<'a, L, T>, Held<'a, L>) {
        (self.guard(), held.narrow())
    }

    /// The value, without locking: `&mut` shows that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.raw.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.raw.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn guard(&self) -> MutexGuard<'_, L, T> {
        let frame = Frame::push(L::RANK, address(self));
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { raw, frame, level: PhantomData }
    }
}

impl<L: Leaf, T> Mutex<L, T> {
    /// Waits for a leaf lock.
    ///
    /// # Panics
    /// Checked builds panic if the thread holds a leaf already.
    #[track_caller]
    pub fn leaf(&self) -> MutexGuard<'_, L, T> {
        self.guard()
    }
}

/// A lock of level `L` that many readers or one writer hold.
pub struct RwLock<L: Level, T> {
    raw: raw::RwLock<T>,
    level: PhantomData<fn() -> L>,
}

/// A [`RwLock`] held shared; released when dropped.
#[must_use = "the lock is released at once if the guard is dropped"]
pub struct RwLockReadGuard<'a, L: Level, T> {
    raw: raw::RwLockReadGuard<'a, T>,
    _frame: Frame<'a>,
    level: PhantomData<fn() -> L>,
}

/// A [`RwLock`] held exclusively; released when dropped.
#[must_use = "the lock is released at once if the guard is dropped"]
pub struct RwLockWriteGuard<'a, L: Level, T> {
    raw: raw::RwLockWriteGuard<'a, T>,
    _frame: Frame<'a>,
    level: PhantomData<fn() -> L>,
}

impl<L: Level, T> RwLock<L, T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { raw: raw::RwLock::new(value), level: PhantomData }
    }

    /// Waits until the lock can be held shared.
    ///
    /// A reader may wait behind a waiting writer, so a thread must never hold it twice.
    #[track_caller]
    pub fn read<'a, P: Before<L>>(&'a self, held: &'a mut Held<'_, P>) -> (RwLockReadGuard<'a, L, T>, Held<'a, L>) {
        (self.read_in(Frame::push(L::RANK, address(self))), held.narrow())
    }

    /// Waits until the lock can be held exclusively.
    #[track_caller]
    pub fn write<'a, P: Before<L>>(&'a self, held: &'a mut Held<'_, P>) -> (RwLockWriteGuard<'a, L, T>, Held<'a, L>) {
        (self.write_in(Frame::push(L::RANK, address(self))), held.narrow())
    }

    /// Takes the lock exclusively if nobody has it, and never waits.
    ///
    /// The order holds nevertheless: what cannot deadlock here would after a retry that waits.
    #[track_caller]
    pub fn try_write<'a, P: Before<L>>(
        &'a self,
        held: &'a mut Held<'_, P>,
    ) -> Option<(RwLockWriteGuard<'a, L, T>, Held<'a, L>)> {
        let frame = Frame::push(L::RANK, address(self));
        let raw = match self.raw.try_write() {
            Ok(raw) => raw,
            Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some((RwLockWriteGuard { raw, _frame: frame, level: PhantomData }, held.narrow()))
    }

    /// The value, without locking: `&mut` shows that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.raw.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.raw.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read_in<'a>(&'a self, frame: Frame<'a>) -> RwLockReadGuard<'a, L, T> {
        let raw = self.raw.read().unwrap_or_else(PoisonError::into_inner);
        RwLockReadGuard { raw, _frame: frame, level: PhantomData }
    }

    pub(crate) fn write_in<'a>(&'a self, frame: Frame<'a>) -> RwLockWriteGuard<'a, L, T> {
        let raw = self.raw.write().unwrap_or_else(PoisonError::into_inner);
        RwLockWriteGuard { raw, _frame: frame, level: PhantomData }
    }
}

impl<L: Leaf, T> RwLock<L, T> {
    /// Waits until a leaf lock can be held shared.
    ///
    /// # Panics
    /// Checked builds panic if the thread holds a leaf already.
    #[track_caller]
    pub fn read_leaf(&self) -> RwLockReadGuard<'_, L, T> {
        self.read_in(Frame::push(L::RANK, address(self)))
    }

    /// Waits until a leaf lock can be held exclusively.
    ///
    /// # Panics
    /// Checked builds panic if the thread holds a leaf already.
    #[track_caller]
    pub fn write_leaf(&self) -> RwLockWriteGuard<'_, L, T> {
        self.write_in(Frame::push(L::RANK, address(self)))
    }
}

/// Waits for a change of what a leaf [`Mutex`] guards.
#[derive(Debug)]
pub struct Condvar {
    raw: raw::Condvar,
}

impl Condvar {
    /// A condition that nobody waits for.
    pub const fn new() -> Self {
        Self { raw: raw::Condvar::new() }
    }

    /// Releases the guard, waits for a notification, and takes the lock again.
    ///
    /// It may return without a notification, so the condition is looked at again in a loop.
    pub fn wait<'a, L: Leaf, T>(&self, guard: MutexGuard<'a, L, T>) -> MutexGuard<'a, L, T> {
        // The frame stays: this thread takes nothing while it waits, and has the lock after.
        let MutexGuard { raw, frame, level } = guard;
        let raw = self.raw.wait(raw).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { raw, frame, level }
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

/// What tells one lock from another in a report.
fn address<T>(lock: &T) -> u64 {
    std::ptr::from_ref(lock).addr() as u64
}

macro_rules! lock_traits {
    ($($lock:ident)*) => {$(
        impl<L: Level, T: Default> Default for $lock<L, T> {
            fn default() -> Self {
                Self::new(T::default())
            }
        }

        impl<L: Level, T> fmt::Debug for $lock<L, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // The value is behind the lock, and a print must not wait for it.
                write!(f, concat!(stringify!($lock), "<{}>"), L::NAME)
            }
        }
    )*};
}

macro_rules! guard_traits {
    ($($guard:ident)*) => {$(
        impl<L: Level, T> Deref for $guard<'_, L, T> {
            type Target = T;
            fn deref(&self) -> &T {
                &self.raw
            }
        }

        impl<L: Level, T: fmt::Debug> fmt::Debug for $guard<'_, L, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}

lock_traits! { Mutex RwLock }
guard_traits! { MutexGuard RwLockReadGuard RwLockWriteGuard }

impl<L: Level, T> DerefMut for MutexGuard<'_, L, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.raw
    }
}

impl<L: Level, T> DerefMut for RwLockWriteGuard<'_, L, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.raw
    }
}
