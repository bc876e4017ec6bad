//! A set of pages, kept as one bitmap for each region that has any.

use std::collections::BTreeMap;
use std::ops::Range;

use super::REGION;

const WORDS: usize = (REGION / 64) as usize;

/// Pages of a window.
#[derive(Debug, Default)]
pub(super) struct PageSet {
    regions: BTreeMap<u64, [u64; WORDS]>,
}

impl PageSet {
    pub(super) fn contains(&self, page: u64) -> bool {
        let (word, bit) = place(page);
        self.regions.get(&(page / REGION)).is_some_and(|words| words[word] & bit != 0)
    }

    pub(super) fn insert(&mut self, page: u64) {
        let (word, bit) = place(page);
        self.regions.entry(page / REGION).or_default()[word] |= bit;
    }

    pub(super) fn remove(&mut self, pages: &Range<u64>) {
        for page in self.within(pages) {
            let (word, bit) = place(page);
            if let Some(words) = self.regions.get_mut(&(page / REGION)) {
                words[word] &= !bit;
            }
        }
        let regions = pages.start / REGION..pages.end.div_ceil(REGION);
        let empty: Vec<u64> = self
            .regions
            .range(regions)
            .filter(|(_, words)| words.iter().all(|word| *word == 0))
            .map(|(region, _)| *region)
            .collect();
        for region in empty {
            self.regions.remove(&region);
        }
    }

    /// The members among `pages`, ascending.
    pub(super) fn within(&self, pages: &Range<u64>) -> Vec<u64> {
        let regions = pages.start / REGION..pages.end.div_ceil(REGION);
        let mut found = Vec::new();
        for (region, words) in self.regions.range(regions) {
            let all = (0..REGION).filter(|page| words[(page / 64) as usize] & (1 << (page % 64)) != 0);
            found.extend(all.map(|page| region * REGION + page).filter(|page| pages.contains(page)));
        }
        found
    }

    /// The members among `pages`, neighbours joined.
    pub(super) fn runs_within(&self, pages: &Range<u64>) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for page in self.within(pages) {
            match runs.last_mut() {
                Some(last) if last.end == page => last.end += 1,
                _ => runs.push(page..page + 1),
            }
        }
        runs
    }

    /// The pages among `pages` that are no members, neighbours joined.
    pub(super) fn gaps_within(&self, pages: &Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut start = pages.start;
        for run in self.runs_within(pages) {
            if start < run.start {
                gaps.push(start..run.start);
            }
            start = run.end;
        }
        if start < pages.end {
            gaps.push(start..pages.end);
        }
        gaps
    }
}

fn place(page: u64) -> (usize, u64) {
    ((page % REGION / 64) as usize, 1 << (page % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_gaps_make_up_the_range() {
        let mut set = PageSet::default();
        for page in [3, 4, 5, 511, 512, 513, 4000] {
            set.insert(page);
        }
        assert_eq!(set.runs_within(&(4..600)), [4..6, 511..514]);
        assert_eq!(set.gaps_within(&(4..600)), [6..511, 514..600]);
        set.remove(&(5..513));
        assert_eq!(set.within(&(0..u64::MAX)), [3, 4, 513, 4000]);
        assert!(!set.contains(512) && set.contains(513));
    }
}
