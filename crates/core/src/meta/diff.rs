//! Small tools of a commit: which bytes changed, and sets of block runs.

use std::ops::Range;

use format::Block;

use super::tx::BlockRun;

/// Equal bytes shorter than this between two changes are logged with them: an entry of its own costs more.
const GAP_BYTES: usize = 24;
/// Compared at once while nothing differs.
const STRIDE_BYTES: usize = 128;
/// Compared at once inside of a stride that differs.
const WORD_BYTES: usize = 8;

/// Calls `each` with the ranges in which `new` differs from `base`, in whole words, joined over small gaps. Both have the
/// same length, a multiple of 512.
pub(super) fn changed_ranges(base: &[u8], new: &[u8], mut each: impl FnMut(Range<usize>)) {
    let mut open: Option<Range<usize>> = None;
    for (stride, (old, now)) in base.chunks_exact(STRIDE_BYTES).zip(new.chunks_exact(STRIDE_BYTES)).enumerate() {
        if old == now {
            continue;
        }
        let words = old.as_chunks::<WORD_BYTES>().0.iter().zip(now.as_chunks::<WORD_BYTES>().0);
        for (word, (old, now)) in words.enumerate() {
            if u64::from_ne_bytes(*old) == u64::from_ne_bytes(*now) {
                continue;
            }
            let at = stride * STRIDE_BYTES + word * WORD_BYTES;
            match &mut open {
                Some(range) if at - range.end < GAP_BYTES => range.end = at + WORD_BYTES,
                _ => {
                    if let Some(range) = open.replace(at..at + WORD_BYTES) {
                        each(range);
                    }
                }
            }
        }
    }
    if let Some(range) = open {
        each(range);
    }
}

/// A set of blocks as a few runs, in ascending order, apart from each other.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<BlockRun>,
}

fn end(run: &BlockRun) -> u64 {
    run.first.0 + u64::from(run.len)
}

impl Runs {
    /// Adds blocks that are not in the set.
    pub fn add(&mut self, run: BlockRun) {
        let at = self.runs.partition_point(|other| other.first < run.first);
        if let Some(before) = at.checked_sub(1).map(|before| &mut self.runs[before])
            && end(before) == run.first.0
            && before.len.checked_add(run.len).is_some()
        {
            before.len += run.len;
            return;
        }
        self.runs.insert(at, run);
    }

    /// Whether a block of the run is in the set.
    pub fn overlaps(&self, run: BlockRun) -> bool {
        let at = self.runs.partition_point(|other| end(other) <= run.first.0);
        self.runs.get(at).is_some_and(|other| other.first.0 < end(&run))
    }

    /// Takes blocks out: those that were in the set, and those that were not.
    pub fn subtract(&mut self, run: BlockRun) -> (Vec<BlockRun>, Vec<BlockRun>) {
        if !self.overlaps(run) {
            return (Vec::new(), vec![run]);
        }
        let (mut inside, mut outside, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let piece = |from: u64, to: u64| BlockRun { first: Block(from), len: (to - from) as u32 };
        let mut at = run.first.0;
        for other in &self.runs {
            let (low, high) = (other.first.0.max(run.first.0), end(other).min(end(&run)));
            if low >= high {
                kept.push(*other);
                continue;
            }
            if at < low {
                outside.push(piece(at, low));
            }
            inside.push(piece(low, high));
            at = high;
            if other.first.0 < low {
                kept.push(piece(other.first.0, low));
            }
            if high < end(other) {
                kept.push(piece(high, end(other)));
            }
        }
        if at < end(&run) {
            outside.push(piece(at, end(&run)));
        }
        self.runs = kept;
        (inside, outside)
    }

    /// The runs.
    pub fn iter(&self) -> impl Iterator<Item = BlockRun> + '_ {
        self.runs.iter().copied()
    }

    /// Takes all runs out.
    pub fn drain(&mut self) -> impl Iterator<Item = BlockRun> + '_ {
        self.runs.drain(..)
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, len: u32) -> BlockRun {
        BlockRun { first: Block(first), len }
    }

    #[test]
    fn patching_the_changed_ranges_turns_the_old_bytes_into_the_new() {
        let base: Vec<u8> = (0..4096_u32).map(|at| (at * 7) as u8).collect();
        let mut new = base.clone();
        for at in [0, 1, 30, 31, 511, 512, 2000, 4095] {
            new[at] ^= 0x55;
        }
        let mut patched = base.clone();
        let mut ranges = 0;
        changed_ranges(&base, &new, |range| {
            ranges += 1;
            patched[range.clone()].copy_from_slice(&new[range]);
        });
        assert_eq!(patched, new);
        assert_eq!(ranges, 4);
    }

    #[test]
    fn subtracting_tells_what_was_in_the_set_and_what_was_not() {
        let mut runs = Runs::default();
        runs.add(run(10, 5));
        runs.add(run(15, 5));
        runs.add(run(30, 10));
        let (inside, outside) = runs.subtract(run(12, 20));
        assert_eq!(inside, [run(12, 8), run(30, 2)]);
        assert_eq!(outside, [run(20, 10)]);
        assert_eq!(runs.iter().collect::<Vec<_>>(), [run(10, 2), run(32, 8)]);
        assert!(runs.overlaps(run(0, 11)) && !runs.overlaps(run(12, 20)));
    }
}
