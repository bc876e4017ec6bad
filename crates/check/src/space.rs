//! Who owns which block, held against the bitmaps and the counts.

use format::{BITS_PER_BITMAP_BLOCK, BitmapKind, Group, HeaderSlot};

use crate::Checker;
use crate::inode::totals_place;
use crate::report::Place;
use crate::view::bitmap_in;

/// How a block is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    UsedButFree,
    Leaked,
}

/// Consecutive blocks that are wrong in the same way.
#[derive(Debug, Clone, Copy)]
struct Run {
    wrong: Wrong,
    first: u64,
    len: u64,
}

impl Checker<'_, '_, '_> {
    /// Compares.
    pub(crate) fn space(&mut self) {
        if self.owners.overflowed() {
            let text = "more blocks are claimed than there are, so the bitmaps were not compared";
            self.out.fatal("owners", Place::default(), text);
            return;
        }
        let geometry = self.view.geometry;
        let mut marked = 0;
        for group in geometry.groups() {
            marked += self.group_space(&group);
        }
        let Some(header) = self.journal.header else { return };
        let at = geometry.journal_header(HeaderSlot::of_generation(header.generation));
        if !self.journal.whole || !self.view.unusable.is_empty() {
            return;
        }
        if marked != self.journal.used_blocks {
            let text = format!("used_blocks comes to {}, and {marked} blocks are marked", self.journal.used_blocks);
            self.out.error("used-blocks", totals_place(at, "used_blocks"), text);
        }
        if self.live != self.journal.used_inodes {
            let text = format!("used_inodes comes to {}, and {} are in use", self.journal.used_inodes, self.live);
            self.out.error("used-inodes", totals_place(at, "used_inodes"), text);
        }
    }

    /// One group: blocks marked in it beside its own.
    fn group_space(&mut self, group: &Group) -> u64 {
        let (mut marked, mut open) = (0, None);
        for number in 0..group.bitmap_blocks {
            let at = group.bitmap_block(BitmapKind::Used, number).unwrap_or(group.first);
            if self.view.unusable.contains(&at.0) {
                continue;
            }
            let (bytes, _) = self.view.bitmap(group, BitmapKind::Used, number);
            let base = number as usize * (BITS_PER_BITMAP_BLOCK as usize / 64);
            for (word, eight) in (base..).zip(bitmap_in(&bytes).bits.as_chunks::<8>().0) {
                let inside = bits_below(group.blocks, word) & !bits_below(group.own_blocks(), word);
                let used = u64::from_le_bytes(*eight) & inside;
                let owned = self.owners.word(group.index, word) & inside;
                marked += u64::from(used.count_ones());
                if used != owned {
                    self.compare(group, word, used, owned, &mut open);
                }
            }
        }
        self.close(open);
        marked
    }

    fn compare(&mut self, group: &Group, word: usize, used: u64, owned: u64, open: &mut Option<Run>) {
        let mut different = used ^ owned;
        while different != 0 {
            let bit = different.trailing_zeros();
            different &= different - 1;
            let block = group.first.0 + word as u64 * 64 + u64::from(bit);
            let wrong = if used >> bit & 1 == 1 { Wrong::Leaked } else { Wrong::UsedButFree };
            match open {
                Some(run) if run.wrong == wrong && run.first + run.len == block => run.len += 1,
                _ => self.close(open.replace(Run { wrong, first: block, len: 1 })),
            }
        }
    }

    fn close(&mut self, run: Option<Run>) {
        let Some(Run { wrong, first, len }) = run else { return };
        let place = Place::run(first, len);
        match wrong {
            Wrong::UsedButFree => self.out.error("used-but-free", place, "somebody owns what is marked as free"),
            Wrong::Leaked => self.out.warning("leaked", place, "nobody owns what is marked as used"),
        }
    }
}

/// The bits of a word whose number in the group is below `end`.
pub(crate) fn bits_below(end: u32, word: usize) -> u64 {
    let left = (end as usize).saturating_sub(word * 64);
    if left >= 64 { u64::MAX } else { (1 << left) - 1 }
}
