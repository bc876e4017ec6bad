//! Sets of the 512 pages of one region.
//!
//! Pages are counted from the start of the region here, 0 to 511.

use std::fmt;
use std::ops::Range;

/// The pages of a region: 2 MiB of 4 KiB pages.
pub const REGION_PAGES: u64 = 512;

const WORDS: usize = 8;

/// A set of pages of one region.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Bits512([u64; WORDS]);

impl Bits512 {
    /// No page.
    pub const NONE: Self = Self([0; WORDS]);
    /// Every page of the region.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// The pages of `range`, which lies within 0..512.
    pub fn of(range: Range<u64>) -> Self {
        assert!(range.end <= REGION_PAGES, "a page of the region");
        let mut words = [0; WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            let first = index as u64 * 64;
            let from = range.start.clamp(first, first + 64) - first;
            let to = range.end.clamp(first, first + 64) - first;
            *word = below(to) & !below(from);
        }
        Self(words)
    }

    /// The pages of the file's `pages` that lie in `region`.
    pub fn of_region(region: u64, pages: &Range<u64>) -> Self {
        let first = region * REGION_PAGES;
        let from = pages.start.clamp(first, first + REGION_PAGES) - first;
        let to = pages.end.clamp(first, first + REGION_PAGES) - first;
        Self::of(from..to)
    }

    /// Whether it is the empty set.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether `page` is in the set.
    pub fn contains(&self, page: u64) -> bool {
        self.0[(page / 64) as usize] & (1 << (page % 64)) != 0
    }

    /// The pages in either set.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// The pages of this set that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// The pages in both sets.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// The number of pages.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The runs of neighbouring pages, ascending.
    pub fn runs(self) -> impl Iterator<Item = Range<u64>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = (from..REGION_PAGES).find(|&page| self.contains(page))?;
            let end = (start..REGION_PAGES).find(|&page| !self.contains(page)).unwrap_or(REGION_PAGES);
            from = end;
            Some(start..end)
        })
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word = f(*word, other);
        }
        Self(words)
    }
}

impl fmt::Debug for Bits512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

/// The bits below `bit`, which is at most 64.
fn below(bit: u64) -> u64 {
    if bit == 64 { u64::MAX } else { (1 << bit) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_over_words_has_its_pages_and_no_others() {
        for (start, end) in [(0, 0), (0, 1), (63, 65), (64, 128), (1, 511), (0, 512)] {
            let set = Bits512::of(start..end);
            assert_eq!(u64::from(set.count()), end - start);
            for page in 0..REGION_PAGES {
                assert_eq!(set.contains(page), (start..end).contains(&page));
            }
        }
    }

    #[test]
    fn runs_are_the_set() {
        let set = Bits512::of(3..70).with(&Bits512::of(100..101)).with(&Bits512::of(510..512));
        assert_eq!(set.runs().collect::<Vec<_>>(), [3..70, 100..101, 510..512]);
        assert_eq!(Bits512::ALL.runs().collect::<Vec<_>>(), vec![0..512]);
        assert_eq!(Bits512::NONE.runs().count(), 0);
    }

    #[test]
    fn a_range_of_the_file_is_cut_to_the_region() {
        assert_eq!(Bits512::of_region(1, &(0..u64::MAX)), Bits512::ALL);
        assert_eq!(Bits512::of_region(1, &(500..520)), Bits512::of(0..8));
        assert!(Bits512::of_region(1, &(0..512)).is_empty());
        assert!(Bits512::of_region(1, &(2000..3000)).is_empty());
    }
}
