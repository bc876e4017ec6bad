//! The committed bitmaps of one group: which blocks are in use, which are inode blocks.
//!
//! They change only by whole operations of committed transactions, and reach the pool at checkpoints. A group that was
//! never used has no bitmaps on the medium: they are made up here, with the group's own blocks marked, and the group
//! becomes active at the next checkpoint (bitmaps first, header after them).
//!
//! Under the group's leaf lock wait also the blocks that cannot be handed out yet: freed by a record that is not durable,
//! or given back by an aborted transaction that held no token for the allocator. The allocator fetches them.

use std::collections::VecDeque;

use format::{BITS_PER_BITMAP_BLOCK, BitmapKind, Block, Group as GroupPlace};
use pool::Pool;

use super::space::each_word;
use crate::error::FsError;
use crate::meta::{NumberSet, media};

/// Bitmaps in memory.
pub(crate) struct Maps {
    used: Bitmap,
    inode: Bitmap,
    /// The group's header on the medium says `Fresh`.
    pub fresh: bool,
    changed: bool,
}

/// One bitmap.
pub(crate) struct Bitmap {
    words: Vec<u64>,
    /// Bitmap blocks that differ from the medium.
    dirty: u32,
    /// Bitmap blocks whose checksum was wrong when they were read; recovery proves or refuses them.
    suspect: u32,
}

/// How to treat a wrong checksum of a bitmap block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torn {
    /// It is damage.
    Refuse,
    /// Recovery is going on: the journal may repair it.
    Suspect,
}

impl Maps {
    /// Reads a group's bitmaps, or makes them up for a fresh group.
    pub fn load(pool: &dyn Pool, place: &GroupPlace, torn: Torn) -> Result<Maps, FsError> {
        let words = (place.blocks as usize).div_ceil(64);
        let mut maps = Maps { used: Bitmap::empty(words), inode: Bitmap::empty(words), fresh: false, changed: false };
        if media::group_is_fresh(pool, place)? {
            maps.fresh = true;
            maps.set(BitmapKind::Used, 0, place.own_blocks());
            maps.used.dirty = (1 << place.bitmap_blocks) - 1;
            maps.inode.dirty = maps.used.dirty;
            maps.changed = false;
            return Ok(maps);
        }
        for which in [BitmapKind::Used, BitmapKind::Inodes] {
            let bitmap = maps.of(which);
            for number in 0..place.bitmap_blocks {
                let sound = media::read_bitmap(pool, place, which, number, torn, &mut bitmap.words)?;
                if !sound {
                    bitmap.suspect |= 1 << number;
                }
            }
        }
        if torn == Torn::Refuse && !maps.all_set(BitmapKind::Used, 0, place.own_blocks()) {
            let block = place.first;
            return Err(media::damaged("group bitmap", block, "the group's own blocks are not marked"));
        }
        Ok(maps)
    }

    fn of(&mut self, which: BitmapKind) -> &mut Bitmap {
        match which {
            BitmapKind::Used => &mut self.used,
            BitmapKind::Inodes => &mut self.inode,
        }
    }

    /// The words of a bitmap.
    pub fn words(&self, which: BitmapKind) -> &[u64] {
        match which {
            BitmapKind::Used => &self.used.words,
            BitmapKind::Inodes => &self.inode.words,
        }
    }

    /// Whether all bits of a range are set.
    pub fn all_set(&self, which: BitmapKind, start: u32, len: u32) -> bool {
        let words = self.words(which);
        let mut all = start as usize + len as usize <= words.len() * 64;
        if all {
            each_word(start, len, |word, mask| all &= words[word] & mask == mask);
        }
        all
    }

    /// Whether all bits of a range are clear.
    pub fn all_clear(&self, which: BitmapKind, start: u32, len: u32) -> bool {
        let words = self.words(which);
        let mut all = start as usize + len as usize <= words.len() * 64;
        if all {
            each_word(start, len, |word, mask| all &= words[word] & mask == 0);
        }
        all
    }

    /// Sets bits.
    pub fn set(&mut self, which: BitmapKind, start: u32, len: u32) {
        self.changed = true;
        let bitmap = self.of(which);
        each_word(start, len, |word, mask| bitmap.words[word] |= mask);
        bitmap.touch(start, len);
    }

    /// Clears bits.
    pub fn clear(&mut self, which: BitmapKind, start: u32, len: u32) {
        self.changed = true;
        let bitmap = self.of(which);
        each_word(start, len, |word, mask| bitmap.words[word] &= !mask);
        bitmap.touch(start, len);
    }

    /// The first set bit at or above `from`.
    pub fn next_set(&self, which: BitmapKind, from: u32) -> Option<u32> {
        let words = self.words(which);
        let mut word = from as usize / 64;
        let mut bits = words.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *words.get(word)?;
        }
        Some(word as u32 * 64 + bits.trailing_zeros())
    }

    /// Whether anything changed since the last `write`.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Writes what differs from the medium.
    pub fn write(&mut self, pool: &dyn Pool, place: &GroupPlace) {
        for which in [BitmapKind::Used, BitmapKind::Inodes] {
            let bitmap = self.of(which);
            for number in (0..place.bitmap_blocks).filter(|number| bitmap.dirty >> number & 1 == 1) {
                media::write_bitmap(pool, place, which, number, &bitmap.words);
            }
            bitmap.dirty = 0;
        }
        self.changed = false;
    }

    /// A bitmap block whose checksum was wrong and that no record of the journal touched.
    pub fn first_unproven(&self, place: &GroupPlace) -> Option<Block> {
        [BitmapKind::Used, BitmapKind::Inodes].into_iter().zip([&self.used, &self.inode]).find_map(|(which, bitmap)| {
            let unproven = bitmap.suspect & !bitmap.dirty;
            (unproven != 0).then(|| media::bitmap_block(place, which, unproven.trailing_zeros()))
        })
    }
}

impl Bitmap {
    fn empty(words: usize) -> Bitmap {
        Bitmap { words: vec![0; words], dirty: 0, suspect: 0 }
    }

    fn touch(&mut self, start: u32, len: u32) {
        let (first, last) = (start / BITS_PER_BITMAP_BLOCK, (start + len.max(1) - 1) / BITS_PER_BITMAP_BLOCK);
        for number in first..=last {
            self.dirty |= 1 << number;
        }
    }
}

/// What is kept under a group's leaf lock.
#[derive(Default)]
pub(crate) struct Committed {
    /// Read when first needed.
    pub maps: Option<Box<Maps>>,
    /// Runs freed by the record of a sequence number; ascending.
    pub pending: VecDeque<(u64, u32, u32)>,
    /// Runs given back without having been logged.
    pub returned: Vec<(u32, u32)>,
    /// Blocks in `pending` and `returned`.
    pub waiting: u32,
    /// Slots that became free: by a commit, or by an abort.
    pub slots: Vec<u32>,
    /// Slots handed out to transactions that have not ended.
    pub taken: NumberSet,
}

impl Committed {
    /// The bitmaps, read if they were not.
    pub fn maps(&mut self, pool: &dyn Pool, place: &GroupPlace, torn: Torn) -> Result<&mut Maps, FsError> {
        if self.maps.is_none() {
            self.maps = Some(Box::new(Maps::load(pool, place, torn)?));
        }
        self.maps.as_deref_mut().ok_or(FsError::Invalid("unreachable: the bitmaps were just read"))
    }
}
