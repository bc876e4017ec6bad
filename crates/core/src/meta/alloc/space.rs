//! The free blocks of one allocation group, in memory.
//!
//! A bitmap says which blocks may not be handed out (allocated, reserved by somebody, or freed and not yet durable), and
//! a summary says per region of 512 blocks (2 MiB) how many are free. Both are built from the group's bitmap by counting
//! words, some microseconds for a group, when the group is first used. A bitmap with a summary beats a tree of free
//! extents here: a group is 32 KiB of bits, nothing is ever allocated on the heap, and giving back is one store.
//!
//! How a place is chosen, so that whole regions survive ageing:
//! * A goal that is free wins: files that are appended to stay contiguous.
//! * A huge request takes whole free regions, several in a row if it can.
//! * A small request looks through regions that are broken already, from a hint on; it breaks a new region only if none
//!   of them has a run long enough; it takes a shorter run (not below its minimum) only if no region is whole.
//! * Metadata and data have separate hints, so that tree nodes gather.
//!
//! Invariants: `free_in[r]` is the number of clear bits of region `r`; `whole` has a bit for each region of 512 free
//! blocks; `free` is the sum. Bits past the group's end are set and never cleared.

/// Blocks in a region, the unit of a 2 MiB translation.
pub(crate) const REGION: u32 = 512;
const WORDS_PER_REGION: usize = REGION as usize / 64;

/// What is sought, in blocks; positions are relative to the group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Longest run of use.
    pub max: u32,
    /// Shortest run of use.
    pub min: u32,
    /// Where it may start.
    pub place: Place,
    /// Take it here if this is free.
    pub goal: Option<u32>,
    /// Which hint to use.
    pub hint: Hint,
}

/// Where a run may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Anywhere.
    Any,
    /// At a region's start if any region is free; else anywhere.
    PreferRegion,
    /// At a region's start, and whole regions only.
    Region,
}

/// Who asks: each keeps to its own neighbourhood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Content of files.
    Data = 0,
    /// Tree nodes and inode blocks.
    Meta = 1,
}

/// Free space of a group.
pub(crate) struct Space {
    busy: Box<[u64]>,
    free_in: Box<[u16]>,
    whole: Box<[u64]>,
    free: u32,
    hints: [u32; 2],
}

impl Space {
    /// From a bitmap in which a set bit is a block in use. `blocks` is the group's length.
    pub fn new(used: &[u64], blocks: u32) -> Space {
        let regions = blocks.div_ceil(REGION) as usize;
        let mut busy = vec![0; regions * WORDS_PER_REGION].into_boxed_slice();
        for (word, bits) in busy.iter_mut().zip(used) {
            *word = *bits;
        }
        let tail = blocks as usize;
        for word in tail.div_ceil(64)..busy.len() {
            busy[word] = u64::MAX;
        }
        if !tail.is_multiple_of(64) {
            busy[tail / 64] |= u64::MAX << (tail % 64);
        }
        let mut space = Space {
            free_in: vec![0; regions].into_boxed_slice(),
            whole: vec![0; regions.div_ceil(64)].into_boxed_slice(),
            busy,
            free: 0,
            hints: [0; 2],
        };
        for region in 0..regions {
            let words = &space.busy[region * WORDS_PER_REGION..][..WORDS_PER_REGION];
            let free: u32 = words.iter().map(|word| word.count_zeros()).sum();
            space.set_free_in(region, free as u16);
            space.free += free;
        }
        space
    }

    /// Blocks that can be handed out.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Whole free regions.
    pub fn whole_regions(&self) -> u32 {
        self.whole.iter().map(|word| word.count_ones()).sum()
    }

    /// Keeps a run that the bitmap calls free from being handed out.
    pub fn hold(&mut self, start: u32, len: u32) {
        if self.run_at(start, len) == len {
            self.mark(start, len);
        }
    }

    /// Finds a run and marks it busy: its start and length.
    pub fn take(&mut self, shape: &Shape) -> Option<(u32, u32)> {
        let (start, len) = self.find(shape)?;
        self.mark(start, len);
        self.hints[shape.hint as usize] = start / REGION;
        Some((start, len))
    }

    /// Gives a run back. False, and nothing done, if a block of it was free already.
    #[must_use]
    pub fn give(&mut self, start: u32, len: u32) -> bool {
        if !self.all_busy(start, len) {
            return false;
        }
        let busy = &mut self.busy;
        let (free_in, whole) = (&mut self.free_in, &mut self.whole);
        each_word(start, len, |word, mask| {
            busy[word] &= !mask;
            let region = word / WORDS_PER_REGION;
            free_in[region] += mask.count_ones() as u16;
            if u32::from(free_in[region]) == REGION {
                whole[region / 64] |= 1 << (region % 64);
            }
        });
        self.free += len;
        true
    }

    fn mark(&mut self, start: u32, len: u32) {
        let (busy, free_in, whole) = (&mut self.busy, &mut self.free_in, &mut self.whole);
        each_word(start, len, |word, mask| {
            debug_assert_eq!(busy[word] & mask, 0, "a block is handed out once");
            busy[word] |= mask;
            let region = word / WORDS_PER_REGION;
            free_in[region] -= mask.count_ones() as u16;
            whole[region / 64] &= !(1 << (region % 64));
        });
        self.free -= len;
    }

    fn all_busy(&self, start: u32, len: u32) -> bool {
        let mut all = start as usize + len as usize <= self.busy.len() * 64;
        if all {
            each_word(start, len, |word, mask| all &= self.busy[word] & mask == mask);
        }
        all
    }

    fn set_free_in(&mut self, region: usize, free: u16) {
        self.free_in[region] = free;
        let bit = 1 << (region % 64);
        if u32::from(free) == REGION {
            self.whole[region / 64] |= bit;
        } else {
            self.whole[region / 64] &= !bit;
        }
    }

    fn find(&self, shape: &Shape) -> Option<(u32, u32)> {
        if self.free < shape.min {
            return None;
        }
        match shape.place {
            Place::Region => self.find_regions(shape, shape.min),
            Place::PreferRegion => self
                .at_goal(shape, REGION.min(shape.max))
                .or_else(|| self.find_regions(shape, REGION.min(shape.max)))
                .or_else(|| self.find_anywhere(shape)),
            Place::Any => self.at_goal(shape, shape.min).or_else(|| self.find_anywhere(shape)),
        }
    }

    /// The run at the goal, if it is at least `least` long.
    fn at_goal(&self, shape: &Shape, least: u32) -> Option<(u32, u32)> {
        let goal = shape.goal?;
        let misplaced = shape.place == Place::PreferRegion && !goal.is_multiple_of(REGION);
        let len = if misplaced { 0 } else { self.run_at(goal, shape.max) };
        (len >= least.max(1)).then_some((goal, len))
    }

    /// Free regions in a row: the first stretch of `max` blocks, else the longest of at least `least`.
    fn find_regions(&self, shape: &Shape, least: u32) -> Option<(u32, u32)> {
        let least = least.max(shape.min);
        if let Some(goal) = shape.goal.filter(|goal| goal.is_multiple_of(REGION)) {
            let len = self.whole_regions_at(goal / REGION, shape.max);
            if len >= least.max(1) {
                return Some((goal, len));
            }
        }
        let regions = self.free_in.len() as u32;
        let mut best: Option<(u32, u32)> = None;
        let mut region = 0;
        while let Some(next) = self.next_whole(region) {
            let len = self.whole_regions_at(next, shape.max);
            if len == shape.max {
                return Some((next * REGION, len));
            }
            if len >= least && best.is_none_or(|(_, longest)| len > longest) {
                best = Some((next * REGION, len));
            }
            region = next + len.div_ceil(REGION).max(1);
            if region >= regions {
                break;
            }
        }
        best
    }

    /// How many blocks from a region's start lie in whole free regions, at most `max`.
    fn whole_regions_at(&self, region: u32, max: u32) -> u32 {
        let mut len = 0;
        let mut at = region;
        while len < max && (at as usize) < self.free_in.len() && u32::from(self.free_in[at as usize]) == REGION {
            len += REGION;
            at += 1;
        }
        len.min(max)
    }

    fn next_whole(&self, from: u32) -> Option<u32> {
        let mut word = from as usize / 64;
        let mut bits = self.whole.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.whole.get(word)?;
        }
        Some(word as u32 * 64 + bits.trailing_zeros())
    }

    fn find_anywhere(&self, shape: &Shape) -> Option<(u32, u32)> {
        if shape.max > REGION
            && let Some(found) = self.find_regions(shape, REGION)
        {
            return Some(found);
        }
        let broken = self.find_broken(shape);
        if let Some((_, len)) = broken
            && len == shape.max.min(REGION)
        {
            return broken;
        }
        if let Some(region) = self.next_whole(0)
            && self.whole_regions_at(region, shape.max) >= shape.min
        {
            return Some((region * REGION, self.whole_regions_at(region, shape.max)));
        }
        broken.or_else(|| self.find_across(shape))
    }

    /// The first run of `max` in a broken region from the hint on, else the longest of at least `min`.
    fn find_broken(&self, shape: &Shape) -> Option<(u32, u32)> {
        let regions = self.free_in.len();
        let hint = self.hints[shape.hint as usize] as usize % regions;
        let max = shape.max.min(REGION);
        let mut best: Option<(u32, u32)> = None;
        for region in (hint..regions).chain(0..hint) {
            let free = u32::from(self.free_in[region]);
            let longest = best.map_or(shape.min.max(1) - 1, |(_, len)| len);
            if free == REGION || free <= longest {
                continue;
            }
            let (start, len) = self.longest_in(region, max);
            if len > longest {
                best = Some((start, len));
                if len == max {
                    break;
                }
            }
        }
        best
    }

    /// A run of at least `min` that crosses regions; only looked for when nothing simpler is left.
    fn find_across(&self, shape: &Shape) -> Option<(u32, u32)> {
        let end = self.busy.len() as u32 * 64;
        let mut at = 0;
        while let Some(start) = self.next_free(at) {
            let len = self.run_at(start, shape.max);
            if len >= shape.min {
                return Some((start, len));
            }
            at = start + len;
            if at >= end {
                break;
            }
        }
        None
    }

    fn next_free(&self, from: u32) -> Option<u32> {
        let mut word = from as usize / 64;
        let mut free = !*self.busy.get(word)? & (u64::MAX << (from % 64));
        while free == 0 {
            word += 1;
            free = !*self.busy.get(word)?;
        }
        Some(word as u32 * 64 + free.trailing_zeros())
    }

    /// Length of the free run that starts at `start`, at most `max`.
    fn run_at(&self, start: u32, max: u32) -> u32 {
        let mut len = 0;
        while len < max {
            let at = (start + len) as usize;
            let Some(word) = self.busy.get(at / 64) else { break };
            let shift = at % 64;
            let zeros = (word >> shift).trailing_zeros().min(64 - shift as u32);
            len += zeros;
            if zeros < 64 - shift as u32 {
                break;
            }
        }
        len.min(max)
    }

    /// The first run of `max` in a region, else its longest.
    fn longest_in(&self, region: usize, max: u32) -> (u32, u32) {
        let end = (region as u32 + 1) * REGION;
        let mut best = (0, 0);
        let mut at = region as u32 * REGION;
        while let Some(start) = self.next_free(at).filter(|start| *start < end) {
            let len = self.run_at(start, max.min(end - start));
            if len > best.1 {
                best = (start, len);
                if len == max {
                    break;
                }
            }
            at = start + len;
            if at >= end {
                break;
            }
        }
        best
    }
}

/// Calls `each` with every 64-bit word of the bit range and the mask of the range's bits in it.
pub(crate) fn each_word(start: u32, len: u32, mut each: impl FnMut(usize, u64)) {
    let (mut at, end) = (start as usize, start as usize + len as usize);
    while at < end {
        let shift = at % 64;
        let count = (64 - shift).min(end - at);
        let mask = if count == 64 { u64::MAX } else { ((1 << count) - 1) << shift };
        each(at / 64, mask);
        at += count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(max: u32, min: u32, place: Place, goal: Option<u32>) -> Shape {
        Shape { max, min, place, goal, hint: Hint::Data }
    }

    #[test]
    fn small_requests_break_one_region_and_leave_the_others_whole() {
        let mut space = Space::new(&[1], REGION * 8);
        for _ in 0..REGION - 1 {
            let (start, len) = space.take(&shape(1, 1, Place::Any, None)).unwrap();
            assert!(start < REGION && len == 1);
        }
        assert_eq!(space.whole_regions_at(1, REGION * 7), REGION * 7);
        let (start, len) = space.take(&shape(REGION * 3, REGION, Place::Region, None)).unwrap();
        assert_eq!((start, len), (REGION, REGION * 3));
    }

    #[test]
    fn a_free_goal_wins_and_the_run_crosses_regions() {
        let mut space = Space::new(&[], REGION * 4);
        let goal = REGION - 10;
        assert_eq!(space.take(&shape(100, 1, Place::Any, Some(goal))), Some((goal, 100)));
        assert_eq!(space.take(&shape(1, 1, Place::Any, Some(goal + 100))), Some((goal + 100, 1)));
    }

    #[test]
    fn a_strict_huge_request_fails_where_a_preferring_one_falls_back() {
        let used = vec![1_u64; WORDS_PER_REGION * 4];
        let mut space = Space::new(&used, REGION * 4);
        assert_eq!(space.take(&shape(REGION, REGION, Place::Region, None)), None);
        let (_, len) = space.take(&shape(REGION, 1, Place::PreferRegion, None)).unwrap();
        assert_eq!(len, 63);
    }

    #[test]
    fn a_short_last_region_is_never_given_past_the_end() {
        let mut space = Space::new(&[], REGION + 100);
        assert_eq!(space.free(), REGION + 100);
        let mut sum = 0;
        while let Some((start, len)) = space.take(&shape(REGION * 4, 1, Place::Any, None)) {
            assert!(start + len <= REGION + 100);
            sum += len;
        }
        assert_eq!(sum, REGION + 100);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_block_is_handed_out_twice_and_all_come_back(
            steps in prop::collection::vec((0_u8..6, 1_u32..1200, 0_u32..2400), 1..120),
        ) {
            let blocks = REGION * 4 + 200;
            let mut space = Space::new(&[0b1011], blocks);
            let mut model = vec![false; blocks as usize];
            for busy in [0, 1, 3] {
                model[busy] = true;
            }
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (what, size, goal) in steps {
                if what == 0 && !held.is_empty() {
                    let (start, len) = held.swap_remove(goal as usize % held.len());
                    prop_assert!(space.give(start, len));
                    prop_assert!(!space.give(start, len));
                    model[start as usize..(start + len) as usize].fill(false);
                } else {
                    let place = [Place::Any, Place::PreferRegion, Place::Region][what as usize % 3];
                    let min = if place == Place::Region { REGION } else { 1 + size / 3 };
                    let max = size.max(min);
                    let goal = (what > 2 && goal < blocks).then_some(goal);
                    let found = space.take(&Shape { max, min, place, goal, hint: Hint::Meta });
                    let longest = model.split(|busy| *busy).map(<[bool]>::len).max().unwrap_or(0);
                    match found {
                        Some((start, len)) => {
                            prop_assert!(len >= min && len <= max);
                            prop_assert!(place != Place::Region || start % REGION == 0);
                            let run = &mut model[start as usize..(start + len) as usize];
                            prop_assert!(run.iter().all(|busy| !busy));
                            run.fill(true);
                            held.push((start, len));
                        }
                        None => prop_assert!(place == Place::Region || longest < min as usize),
                    }
                }
                let free = model.iter().filter(|busy| !**busy).count();
                prop_assert_eq!(space.free() as usize, free);
            }
        }
    }
}
