//! What each page of a window is at the moment.
//!
//! Neighbouring pages of the same kind are one *segment*, which is about what the kernel counts as a
//! mapping. Segments cover the window without gaps or overlaps. The private pages of a private window
//! are kept beside them, page by page, since they are no mappings of their own.

use std::collections::BTreeMap;
use std::ops::Range;

use format::Block;

use super::Failure;
use super::pages::PageSet;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Every access faults.
    Trap,
    /// Loads give zeros, stores fault.
    Zero,
    /// A translation to this block and, page by page, those after it.
    Block(Block),
    /// SIGBUS: the file ends before.
    PastEnd,
    /// SIGBUS: a fault could not be served.
    Failed,
}

impl What {
    /// What the page `pages` further on is, if it goes on like this.
    fn after(self, pages: u64) -> What {
        match self {
            What::Block(first) => What::Block(Block(first.0 + pages)),
            other => other,
        }
    }
}

/// The pages of a window, in segments.
#[derive(Debug)]
pub(super) struct Segments {
    /// First page, and what it is; a segment ends where the next begins.
    starts: BTreeMap<u64, What>,
    end: u64,
}

/// All that a window knows about its pages.
#[derive(Debug)]
pub(super) struct State {
    pub segments: Segments,
    /// Private windows: copies that were only read; stores to them trap.
    pub clean: PageSet,
    /// Private windows: copies that belong to the process.
    pub own: PageSet,
    /// Grows with every revocation.
    pub epoch: u64,
    /// When each region was last translated, as the budget counts.
    pub turns: BTreeMap<u64, u64>,
    /// Regions with their turns that are not in the queue of evictions yet.
    pub unqueued: Vec<(u64, u64)>,
    pub failure: Option<Failure>,
}

impl State {
    /// A window of traps.
    pub(super) fn new(pages: Range<u64>) -> State {
        State {
            segments: Segments::new(pages, What::Trap),
            clean: PageSet::default(),
            own: PageSet::default(),
            epoch: 0,
            turns: BTreeMap::new(),
            unqueued: Vec::new(),
            failure: None,
        }
    }
}

impl Segments {
    pub(super) fn new(pages: Range<u64>, what: What) -> Segments {
        Segments { starts: BTreeMap::from([(pages.start, what)]), end: pages.end }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.starts.len() as u64
    }

    /// What a page is.
    pub(super) fn at(&self, page: u64) -> What {
        let (start, what) = self.starts.range(..=page).next_back().expect("segments cover the window");
        what.after(page - start)
    }

    /// Whether all of `pages` is `what`, from the first page on.
    pub(super) fn is(&self, pages: &Range<u64>, what: What) -> bool {
        self.pieces(pages).all(|(piece, found)| found == what.after(piece.start - pages.start))
    }

    /// The segments inside `pages`, cut to it.
    pub(super) fn pieces<'a>(&'a self, pages: &Range<u64>) -> impl Iterator<Item = (Range<u64>, What)> + 'a {
        let pages = pages.clone();
        let first = self.starts.range(..=pages.start).next_back().map_or(pages.start, |(start, _)| *start);
        let mut iter = self.starts.range(first..pages.end).peekable();
        std::iter::from_fn(move || {
            let (start, what) = iter.next()?;
            let end = iter.peek().map_or(self.end, |(next, _)| **next);
            let piece = (*start).max(pages.start)..end.min(pages.end);
            Some((piece.clone(), what.after(piece.start - start)))
        })
        .filter(|(piece, _)| !piece.is_empty())
    }

    /// The longest runs of pages inside `pages` that are one of the wanted kinds.
    pub(super) fn runs_of(&self, pages: &Range<u64>, wanted: impl Fn(What) -> bool) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (piece, what) in self.pieces(pages) {
            match runs.last_mut() {
                _ if !wanted(what) => {}
                Some(last) if last.end == piece.start => last.end = piece.end,
                _ => runs.push(piece),
            }
        }
        runs
    }

    /// Makes `pages` one thing.
    pub(super) fn set(&mut self, pages: Range<u64>, what: What) {
        if pages.is_empty() {
            return;
        }
        let follows = (pages.end < self.end).then(|| self.at(pages.end));
        let inside: Vec<u64> = self.starts.range(pages.clone()).map(|(start, _)| *start).collect();
        for start in inside {
            self.starts.remove(&start);
        }
        if let Some(follows) = follows {
            self.starts.insert(pages.end, follows);
        }
        self.starts.insert(pages.start, what);
        self.join(pages.end);
        self.join(pages.start);
    }

    /// Drops a boundary that separates nothing.
    fn join(&mut self, page: u64) {
        let Some(&what) = self.starts.get(&page) else { return };
        let Some((start, before)) = self.starts.range(..page).next_back() else { return };
        if before.after(page - start) == what {
            self.starts.remove(&page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(segments: &Segments) -> Vec<(Range<u64>, What)> {
        segments.pieces(&(0..segments.end)).collect()
    }

    #[test]
    fn neighbours_with_neighbouring_blocks_are_one_segment() {
        let mut segments = Segments::new(0..100, What::Trap);
        segments.set(10..20, What::Block(Block(500)));
        segments.set(20..30, What::Block(Block(510)));
        assert_eq!(all(&segments)[1], (10..30, What::Block(Block(500))));
        assert_eq!(segments.len(), 3);
        assert!(segments.is(&(15..25), What::Block(Block(505))));
        assert!(!segments.is(&(15..31), What::Block(Block(505))));
    }

    #[test]
    fn what_is_set_in_the_middle_splits_and_joins_again() {
        let mut segments = Segments::new(0..100, What::Block(Block(7)));
        segments.set(40..50, What::Trap);
        assert_eq!(segments.at(50), What::Block(Block(57)));
        assert_eq!(segments.len(), 3);
        segments.set(40..50, What::Block(Block(47)));
        assert_eq!(all(&segments), [(0..100, What::Block(Block(7)))]);
    }

    #[test]
    fn runs_join_pieces_of_several_wanted_kinds() {
        let mut segments = Segments::new(0..64, What::Trap);
        segments.set(4..8, What::Zero);
        segments.set(8..12, What::Block(Block(1)));
        segments.set(20..24, What::Zero);
        let runs = segments.runs_of(&(6..22), |what| matches!(what, What::Zero | What::Block(_)));
        assert_eq!(runs, [6..12, 20..22]);
    }
}
