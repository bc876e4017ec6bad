//! Which blocks are owned: one bit for each block, in pieces of a group that are made when first needed.
//!
//! A block that is claimed twice is shared, which no version of the format allows. The sum of all claims is limited: an
//! image whose extents claim the pool over and over would keep the checker busy for ever.

use format::{Block, Geometry};

/// Blocks with an owner.
#[derive(Debug)]
pub(crate) struct Owners {
    geometry: Geometry,
    groups: Vec<Option<Box<[u64]>>>,
    claimed: u64,
    limit: u64,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// All blocks had no owner before.
    Granted,
    /// This many had one; the first of them.
    Shared { first: Block, count: u64 },
    /// More was claimed than there can be: not looked at.
    TooMany,
}

impl Owners {
    pub fn new(geometry: Geometry) -> Owners {
        let groups = (0..geometry.group_count()).map(|_| None).collect();
        Owners { geometry, groups, claimed: 0, limit: geometry.usable_blocks().saturating_mul(2) }
    }

    /// Whether claims were turned away, so that the owners are not all known.
    pub fn overflowed(&self) -> bool {
        self.claimed > self.limit
    }

    /// Claims blocks of one group's area for data (`Geometry::owns`).
    pub fn claim(&mut self, first: Block, count: u64) -> Claim {
        let Some(group) = self.geometry.group_of(first) else { return Claim::TooMany };
        if self.overflowed() {
            return Claim::TooMany;
        }
        self.claimed += count;
        let Some(words) = self.groups.get_mut(group.index as usize) else { return Claim::TooMany };
        let words = words.get_or_insert_with(|| vec![0; (group.blocks as usize).div_ceil(64)].into_boxed_slice());
        let (mut shared, mut first_shared) = (0, None);
        let start = first.0 - group.first.0;
        let end = (start + count).min(u64::from(group.blocks));
        let mut bit = start;
        while bit < end {
            let (word, shift) = ((bit / 64) as usize, bit % 64);
            let take = (64 - shift).min(end - bit);
            let mask = (u64::MAX >> (64 - take)) << shift;
            let taken = words[word] & mask;
            if taken != 0 {
                shared += u64::from(taken.count_ones());
                first_shared
                    .get_or_insert(Block(group.first.0 + (word as u64) * 64 + u64::from(taken.trailing_zeros())));
            }
            words[word] |= mask;
            bit += take;
        }
        match first_shared {
            Some(first) => Claim::Shared { first, count: shared },
            None => Claim::Granted,
        }
    }

    /// A word of 64 blocks of a group.
    pub fn word(&self, group: u32, word: usize) -> u64 {
        let words = self.groups.get(group as usize).and_then(Option::as_ref);
        words.and_then(|words| words.get(word)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_claimed_twice_is_shared_and_named() {
        let geometry = Geometry::new(16 << 20, 1).unwrap();
        let start = geometry.group(0).unwrap().first_data();
        let mut owners = Owners::new(geometry);
        assert_eq!(owners.claim(start, 100), Claim::Granted);
        assert_eq!(owners.claim(start.plus(100), 1), Claim::Granted);
        assert_eq!(owners.claim(start.plus(90), 20), Claim::Shared { first: start.plus(90), count: 11 });
    }

    #[test]
    fn claims_end_when_more_is_claimed_than_there_is() {
        let geometry = Geometry::new(16 << 20, 1).unwrap();
        let start = geometry.group(0).unwrap().first_data();
        let mut owners = Owners::new(geometry);
        let mut turned_away = 0;
        for _ in 0..100 {
            turned_away += u32::from(owners.claim(start, 1000) == Claim::TooMany);
        }
        assert!(owners.overflowed() && turned_away > 80);
    }
}
