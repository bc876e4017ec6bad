//! Who owns which block, held against the bitmaps and the counts.

use format::Block;

use crate::image::Image;
use crate::report::{Findings, Place};
use crate::walk::Walked;

/// Compares.
pub(crate) fn check(image: &Image<'_>, findings: &mut Findings, state: &Walked) {
    if state.owners.overflowed() {
        findings.error("owners", Place::default(), "more is claimed than there is: bitmaps were not compared");
        return;
    }
    let mut marked = 0_u64;
    for group in image.geometry.groups() {
        let own = group.own_blocks();
        let maps = image.maps.get(group.index as usize).and_then(Option::as_ref);
        for word in 0..(group.blocks as usize).div_ceil(64) {
            let owned = state.owners.word(group.index, word) | own_bits(own, word);
            let used = maps.map_or(own_bits(own, word), |maps| maps.used.get(word).copied().unwrap_or(0));
            let in_group = bits_below(group.blocks, word);
            marked += u64::from((used & !own_bits(own, word) & in_group).count_ones());
            runs(owned & !used, |bit, len| {
                let first = group.first.plus((word * 64) as u64 + bit);
                let text = "blocks in use are marked as free";
                findings.error("used-but-free", Place::run(first.0, len), text);
            });
            runs(used & !owned & in_group, |bit, len| {
                let first: Block = group.first.plus((word * 64) as u64 + bit);
                findings.warning("leaked", Place::run(first.0, len), "blocks marked as used belong to nobody");
            });
        }
    }
    if marked != image.used_blocks {
        let text = format!("used_blocks is {}, and {marked} blocks are marked", image.used_blocks);
        findings.error("used-blocks", Place::default().field("used_blocks"), text);
    }
    if state.live != image.used_inodes {
        let text = format!("used_inodes is {}, and {} inodes are in use", image.used_inodes, state.live);
        findings.error("used-inodes", Place::default().field("used_inodes"), text);
    }
}

/// The bits of a word that stand for the group's own metadata.
fn own_bits(own: u32, word: usize) -> u64 {
    bits_below(own, word)
}

/// The bits of a word whose number in the group is below `end`.
fn bits_below(end: u32, word: usize) -> u64 {
    let left = (end as usize).saturating_sub(word * 64);
    if left >= 64 { u64::MAX } else { (1 << left) - 1 }
}

/// Calls `each` with the start and length of every run of set bits.
fn runs(mut word: u64, mut each: impl FnMut(u64, u64)) {
    while word != 0 {
        let start = word.trailing_zeros();
        let len = (!(word >> start)).trailing_zeros().min(64 - start);
        each(u64::from(start), u64::from(len));
        let mask = if len == 64 { u64::MAX } else { ((1 << len) - 1) << start };
        word &= !mask;
    }
}
