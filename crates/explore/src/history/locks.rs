//! The locks of the simulated kernels, as plain data.
//!
//! They behave as a kernel's read-write semaphore does: first come, first served (a reader waits
//! behind a writer that waits), and, unlike a Rust lock, an unlock is a call of its own that nothing
//! ties to a lock. Therefore every unlock is checked: who unlocks must hold the lock, and in the mode
//! that it unlocks. A thread that would wait for itself, directly or around a circle, is found when
//! it starts to wait.

use std::collections::BTreeMap;

use crate::trace::Mode;

/// A thread of the simulated world.
pub type Tid = usize;

/// A lock of the simulated world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lock {
    /// The inode lock: `i_mutex`, `i_rwsem`.
    Inode,
    /// Faults shared, changes of the block map exclusive: ext4's `i_mmap_sem`, `invalidate_lock`.
    Invalidate,
    /// The lock bit of the entry for one page of the file.
    Entry(usize),
    /// The lock of one hole page of the page cache, by the page's number (not its place in the file).
    Page(usize),
    /// Room in the log for one transaction: the smallest log in which one can wait for room.
    Transaction,
    /// The tree of mappings of the file: `i_mmap_rwsem`, the reverse map.
    ReverseMap,
}

/// Whose words a lock is named in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// The kernel's.
    Linux,
    /// Daxle's levels.
    Daxle,
}

impl Lock {
    /// The lock's name for people.
    pub fn name(self, words: Words) -> String {
        match (self, words) {
            (Lock::Inode, Words::Linux) => "i_mutex".to_owned(),
            (Lock::Inode, Words::Daxle) => "Inode".to_owned(),
            (Lock::Invalidate, Words::Linux) => "i_mmap_sem".to_owned(),
            (Lock::Invalidate, Words::Daxle) => "Invalidate".to_owned(),
            (Lock::Entry(index), Words::Linux) => format!("entry lock {index}"),
            (Lock::Entry(index), Words::Daxle) => format!("Entry {index}"),
            (Lock::Page(page), _) => format!("page lock (hole page {})", page + 1),
            (Lock::Transaction, Words::Linux) => "transaction".to_owned(),
            (Lock::Transaction, Words::Daxle) => "Transaction".to_owned(),
            (Lock::ReverseMap, Words::Linux) => "i_mmap_rwsem".to_owned(),
            (Lock::ReverseMap, Words::Daxle) => "ReverseMap".to_owned(),
        }
    }
}

/// What was wrong with an unlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUnlock {
    /// The thread does not hold the lock.
    NotHeld,
    /// It holds it in the other mode.
    WrongMode,
}

#[derive(Debug, Default)]
struct Place {
    holders: Vec<(Tid, Mode)>,
    queue: Vec<(Tid, Mode)>,
}

impl Place {
    /// Whether `tid` may have the lock now: nobody in the way holds it or came before.
    fn free_for(&self, tid: Tid, mode: Mode) -> bool {
        self.in_the_way(tid, mode).next().is_none()
    }

    /// Who keeps `tid` from taking the lock.
    fn in_the_way(&self, tid: Tid, mode: Mode) -> impl Iterator<Item = Tid> {
        let before = self.queue.iter().take_while(move |(waiter, _)| *waiter != tid);
        let clash = move |other: Mode| mode == Mode::Exclusive || other == Mode::Exclusive;
        let all = self.holders.iter().chain(before);
        all.filter(move |(_, other)| clash(*other)).map(|(other, _)| *other)
    }
}

/// All locks.
#[derive(Debug, Default)]
pub struct Locks {
    places: BTreeMap<Lock, Place>,
}

impl Locks {
    /// Takes the lock, or queues the thread for it. True when it was taken.
    pub fn take(&mut self, lock: Lock, mode: Mode, tid: Tid) -> bool {
        let place = self.places.entry(lock).or_default();
        let free = place.free_for(tid, mode);
        if free {
            place.queue.retain(|(waiter, _)| *waiter != tid);
            place.holders.push((tid, mode));
        } else if place.queue.iter().all(|(waiter, _)| *waiter != tid) {
            place.queue.push((tid, mode));
        }
        free
    }

    /// Lets the lock go.
    pub fn release(&mut self, lock: Lock, mode: Mode, tid: Tid) -> Result<(), BadUnlock> {
        let holders = &mut self.places.entry(lock).or_default().holders;
        match holders.iter().position(|held| *held == (tid, mode)) {
            Some(at) => {
                holders.swap_remove(at);
                Ok(())
            }
            None if holders.iter().any(|(holder, _)| *holder == tid) => Err(BadUnlock::WrongMode),
            None => Err(BadUnlock::NotHeld),
        }
    }

    /// The queued threads that could take the lock now.
    pub fn ready(&self, lock: Lock) -> Vec<Tid> {
        let Some(place) = self.places.get(&lock) else {
            return Vec::new();
        };
        let ready = place.queue.iter().filter(|(tid, mode)| place.free_for(*tid, *mode));
        ready.map(|(tid, _)| *tid).collect()
    }

    /// What a thread holds.
    pub fn held_by(&self, tid: Tid) -> Vec<Lock> {
        let held = self.places.iter().filter(|(_, p)| p.holders.iter().any(|(t, _)| *t == tid));
        held.map(|(lock, _)| *lock).collect()
    }

    /// Whether a thread holds this lock, in any mode.
    pub fn holds(&self, tid: Tid, lock: Lock) -> bool {
        self.places.get(&lock).is_some_and(|p| p.holders.iter().any(|(t, _)| *t == tid))
    }

    fn waits_for(&self, tid: Tid) -> Option<(Lock, Mode)> {
        self.places.iter().find_map(|(lock, place)| {
            let me = place.queue.iter().find(|(waiter, _)| *waiter == tid);
            me.map(|(_, mode)| (*lock, *mode))
        })
    }

    /// The circle of waiting that `tid` closes: each thread and the lock it waits for.
    pub fn circle(&self, tid: Tid) -> Option<Vec<(Tid, Lock)>> {
        let mut path = Vec::new();
        self.search_circle(tid, tid, &mut path).then_some(path)
    }

    fn search_circle(&self, now: Tid, goal: Tid, path: &mut Vec<(Tid, Lock)>) -> bool {
        let Some((lock, mode)) = self.waits_for(now) else {
            return false;
        };
        if path.iter().any(|(seen, _)| *seen == now) {
            return false;
        }
        path.push((now, lock));
        let blockers: Vec<Tid> = self.places[&lock].in_the_way(now, mode).collect();
        if blockers.contains(&goal) || blockers.iter().any(|b| self.search_circle(*b, goal, path)) {
            return true;
        }
        path.pop();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_waits_behind_a_waiting_writer() {
        let mut locks = Locks::default();
        assert!(locks.take(Lock::ReverseMap, Mode::Shared, 0));
        assert!(!locks.take(Lock::ReverseMap, Mode::Exclusive, 1));
        assert!(!locks.take(Lock::ReverseMap, Mode::Shared, 2));
        locks.release(Lock::ReverseMap, Mode::Shared, 0).unwrap();
        assert_eq!(locks.ready(Lock::ReverseMap), [1]);
    }

    #[test]
    fn an_unlock_without_a_lock_or_in_the_wrong_mode_is_told() {
        let mut locks = Locks::default();
        let w = Mode::Exclusive;
        assert_eq!(locks.release(Lock::ReverseMap, w, 0), Err(BadUnlock::NotHeld));
        assert!(locks.take(Lock::ReverseMap, Mode::Shared, 0));
        assert_eq!(locks.release(Lock::ReverseMap, w, 0), Err(BadUnlock::WrongMode));
        assert_eq!(locks.release(Lock::ReverseMap, w, 1), Err(BadUnlock::NotHeld));
    }

    #[test]
    fn a_circle_of_two_and_a_wait_for_oneself_are_found() {
        let mut locks = Locks::default();
        let w = Mode::Exclusive;
        assert!(locks.take(Lock::ReverseMap, w, 0));
        assert!(locks.take(Lock::Transaction, w, 1));
        assert!(!locks.take(Lock::Transaction, w, 0));
        assert_eq!(locks.circle(0), None);
        assert!(!locks.take(Lock::ReverseMap, w, 1));
        let circle = [(1, Lock::ReverseMap), (0, Lock::Transaction)];
        assert_eq!(locks.circle(1).as_deref(), Some(circle.as_slice()));
        assert!(locks.take(Lock::Page(0), w, 2));
        assert!(!locks.take(Lock::Page(0), w, 2));
        assert_eq!(locks.circle(2), Some(vec![(2, Lock::Page(0))]));
    }
}
