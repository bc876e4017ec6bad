//! One slotted page: the inline root of an inode or a tree node, seen as sorted slots and a heap of values.
//!
//! Both have the same shape, after headers of different length: kind, level, count and heap position; then slots
//! `{key u64, offset u16, len u16}` in ascending order of keys; values grow down from the end. A removed value leaves
//! garbage, which `compact` collects when the gap in the middle is too small. Garbage is left in place on purpose: what is
//! not moved is not logged.
//!
//! Invariant of every page that is read or changed here: `is_sound`. It is checked when a page comes from the pool, and
//! kept by every change.

use std::ops::Range;

/// Bytes in a slot.
pub(super) const SLOT_BYTES: usize = 12;
/// No value is shorter: a block number, a directory entry, an extent.
const VALUE_BYTES_MIN: usize = 8;

/// Where the parts of a page begin.
#[derive(Debug, Clone, Copy)]
pub(in crate::meta) struct Shape {
    /// Offset of the kind byte; level, count and heap follow it.
    head: usize,
    /// Offset of the first slot.
    slots: usize,
}

/// A tree node: 8 bytes of magic and crc, the fields, 16 bytes of owner and self block.
pub(super) const NODE: Shape = Shape { head: 8, slots: 32 };
/// The inline area of an inode.
pub(super) const ROOT: Shape = Shape { head: 0, slots: 8 };

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// A page that is read.
#[derive(Clone, Copy)]
pub(in crate::meta) struct Page<'p> {
    bytes: &'p [u8],
    shape: Shape,
}

impl<'p> Page<'p> {
    pub fn new(bytes: &'p [u8], shape: Shape) -> Page<'p> {
        Page { bytes, shape }
    }

    pub fn kind(&self) -> u8 {
        self.bytes[self.shape.head]
    }

    pub fn level(&self) -> u8 {
        self.bytes[self.shape.head + 1]
    }

    pub fn count(&self) -> usize {
        usize::from(read_u16(self.bytes, self.shape.head + 2))
    }

    fn heap(&self) -> usize {
        usize::from(read_u16(self.bytes, self.shape.head + 4))
    }

    fn slot(&self, index: usize) -> usize {
        self.shape.slots + index * SLOT_BYTES
    }

    pub fn key(&self, index: usize) -> u64 {
        let at = self.slot(index);
        let mut key = [0; 8];
        key.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(key)
    }

    fn place(&self, index: usize) -> (usize, usize) {
        let at = self.slot(index) + 8;
        (usize::from(read_u16(self.bytes, at)), usize::from(read_u16(self.bytes, at + 2)))
    }

    pub fn value(&self, index: usize) -> &'p [u8] {
        let (offset, len) = self.place(index);
        &self.bytes[offset..offset + len]
    }

    /// The child block in an interior page.
    pub fn child(&self, index: usize) -> Option<u64> {
        self.value(index).try_into().ok().map(u64::from_le_bytes)
    }

    /// The slot with this key, or the place where it would go.
    pub fn search(&self, key: u64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.key(middle).cmp(&key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// The child that a key belongs to: the last whose lower bound is not above it. The page must not be empty.
    pub fn child_index(&self, key: u64) -> usize {
        match self.search(key) {
            Ok(index) => index,
            Err(index) => index.saturating_sub(1),
        }
    }

    /// Whether slots and values lie inside the page, apart from each other in sum, with ascending keys.
    pub fn is_sound(&self) -> bool {
        let (count, len) = (self.count(), self.bytes.len());
        let slots_end = self.slot(count);
        if slots_end > len || (count > 0 && (self.heap() < slots_end || self.heap() > len)) {
            return false;
        }
        let (heap, mut used, mut below) = (self.heap(), 0, None);
        for index in 0..count {
            let (offset, bytes) = self.place(index);
            let key = self.key(index);
            if offset < heap || offset + bytes > len || below.is_some_and(|below| below >= key) {
                return false;
            }
            used += SLOT_BYTES + bytes;
            below = Some(key);
        }
        used <= self.capacity()
    }

    /// Bytes of slots and live values.
    pub fn used(&self) -> usize {
        (0..self.count()).map(|index| SLOT_BYTES + self.place(index).1).sum()
    }

    /// Whether slots and values fill less than a quarter. Many slots answer that without a sum.
    pub fn is_sparse(&self) -> bool {
        let quarter = self.capacity() / 4;
        self.count() * (SLOT_BYTES + VALUE_BYTES_MIN) < quarter && self.used() < quarter
    }

    /// Bytes for slots and values in an empty page.
    pub fn capacity(&self) -> usize {
        self.bytes.len() - self.shape.slots
    }

    fn gap(&self) -> usize {
        self.heap().saturating_sub(self.slot(self.count()))
    }
}

/// Which bytes of a node were changed: nothing, or the fields, a range of slots and a range of values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::meta) struct Touched {
    any: bool,
    slots: Range<usize>,
    values: Range<usize>,
}

fn widen(range: &mut Range<usize>, by: Range<usize>) {
    if range.start == range.end {
        *range = by;
    } else if by.start < by.end {
        *range = range.start.min(by.start)..range.end.max(by.end);
    }
}

impl Touched {
    /// Ranges of whole words, in ascending order, apart from each other, which hold every byte that was changed.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let words = |range: &Range<usize>| range.start & !7..range.end.next_multiple_of(8);
        let (slots, mut values) = (words(&self.slots), words(&self.values));
        values.start = values.start.max(slots.end);
        let fields = NODE.head..NODE.head + 8;
        [self.any.then_some(fields), Some(slots), Some(values)]
            .into_iter()
            .flatten()
            .filter(|range| range.start < range.end)
    }
}

/// A page that is changed.
pub(in crate::meta) struct PageMut<'p> {
    bytes: &'p mut [u8],
    shape: Shape,
    /// Where changes are noted, if they are.
    touched: Option<&'p mut Touched>,
}

impl<'p> PageMut<'p> {
    /// The inline area of an inode.
    pub fn of_root(bytes: &'p mut [u8]) -> PageMut<'p> {
        PageMut { bytes, shape: ROOT, touched: None }
    }

    /// A node.
    pub fn of_node(bytes: &'p mut [u8; 4096], touched: Option<&'p mut Touched>) -> PageMut<'p> {
        PageMut { bytes, shape: NODE, touched }
    }

    fn touch(&mut self, slots: Range<usize>, values: Range<usize>) {
        if let Some(touched) = &mut self.touched {
            touched.any = true;
            widen(&mut touched.slots, slots);
            widen(&mut touched.values, values);
        }
    }

    pub fn as_page(&self) -> Page<'_> {
        Page { bytes: self.bytes, shape: self.shape }
    }

    fn write_u16(&mut self, at: usize, value: usize) {
        self.bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
    }

    fn set_count(&mut self, count: usize) {
        self.write_u16(self.shape.head + 2, count);
    }

    fn set_heap(&mut self, heap: usize) {
        self.write_u16(self.shape.head + 4, heap);
    }

    /// Makes the page an empty one.
    pub fn clear(&mut self, kind: u8, level: u8) {
        self.bytes[self.shape.head] = kind;
        self.bytes[self.shape.head + 1] = level;
        self.set_count(0);
        self.set_heap(self.bytes.len());
        self.touch(0..0, 0..0);
    }

    pub fn set_key(&mut self, index: usize, key: u64) {
        let at = self.as_page().slot(index);
        self.bytes[at..at + 8].copy_from_slice(&key.to_le_bytes());
        self.touch(at..at + 8, 0..0);
    }

    /// Puts an entry before slot `index`. False, and nothing done, if there is no room even after a collection.
    #[must_use]
    pub fn insert(&mut self, index: usize, key: u64, value: &[u8]) -> bool {
        let need = SLOT_BYTES + value.len();
        if self.as_page().gap() < need {
            let page = self.as_page();
            if page.capacity().saturating_sub(page.used()) < need {
                return false;
            }
            self.compact();
        }
        let page = self.as_page();
        let (count, heap) = (page.count(), page.heap() - value.len());
        let (at, end) = (page.slot(index), page.slot(count));
        self.bytes.copy_within(at..end, at + SLOT_BYTES);
        self.bytes[heap..heap + value.len()].copy_from_slice(value);
        self.set_key(index, key);
        self.write_u16(at + 8, heap);
        self.write_u16(at + 10, value.len());
        self.set_count(count + 1);
        self.set_heap(heap);
        self.touch(at..end + SLOT_BYTES, heap..heap + value.len());
        true
    }

    /// Takes an entry out.
    pub fn remove(&mut self, index: usize) {
        let page = self.as_page();
        let (count, heap) = (page.count(), page.heap());
        let (offset, len) = page.place(index);
        let (at, end) = (page.slot(index), page.slot(count));
        self.bytes.copy_within(at + SLOT_BYTES..end, at);
        self.set_count(count - 1);
        if count == 1 {
            self.set_heap(self.bytes.len());
        } else if offset == heap {
            self.set_heap(heap + len);
        }
        self.touch(at..end - SLOT_BYTES, 0..0);
    }

    /// Overwrites a value with one of the same length. False, and nothing done, if the length differs.
    #[must_use]
    pub fn replace(&mut self, index: usize, value: &[u8]) -> bool {
        let (offset, len) = self.as_page().place(index);
        if len != value.len() {
            return false;
        }
        self.bytes[offset..offset + len].copy_from_slice(value);
        self.touch(0..0, offset..offset + len);
        true
    }

    /// Appends entries `from..to` of another page; they must be above all keys here and fit.
    pub fn append(&mut self, other: Page<'_>, from: usize, to: usize) {
        for index in from..to {
            let fits = self.insert(self.as_page().count(), other.key(index), other.value(index));
            debug_assert!(fits, "the caller has counted the bytes");
        }
    }

    /// Keeps the first `count` entries.
    pub fn truncate(&mut self, count: usize) {
        self.set_count(count);
        let page = self.as_page();
        let heap = (0..count).map(|index| page.place(index).0).min().unwrap_or(self.bytes.len());
        self.set_heap(heap);
        self.touch(0..0, 0..0);
    }

    /// Moves the values together at the end of the page.
    fn compact(&mut self) {
        let copy = self.bytes.to_vec();
        let old = Page { bytes: &copy, shape: self.shape };
        let mut heap = self.bytes.len();
        for index in 0..old.count() {
            let value = old.value(index);
            heap -= value.len();
            self.bytes[heap..heap + value.len()].copy_from_slice(value);
            let at = old.slot(index);
            self.write_u16(at + 8, heap);
        }
        self.set_heap(heap);
        self.touch(self.shape.slots..old.slot(old.count()), heap..copy.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_refuses_and_takes_again_after_a_removal() {
        let mut bytes = [0; 320];
        let mut page = PageMut::of_root(&mut bytes);
        page.clear(1, 0);
        let mut count = 0;
        while page.insert(count, count as u64, &[count as u8; 16]) {
            count += 1;
        }
        assert_eq!(count, (320 - 8) / 28);
        page.remove(3);
        assert!(page.insert(3, 3, &[9; 10]), "the garbage of the removed value is collected");
        let page = page.as_page();
        for index in 0..count {
            let expected = if index == 3 { vec![9; 10] } else { vec![index as u8; 16] };
            assert_eq!((page.key(index), page.value(index)), (index as u64, &expected[..]));
        }
    }

    #[test]
    fn the_touched_ranges_hold_every_byte_that_changed() {
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (seed >> 33) as usize % below
        };
        let mut bytes = [0; 4096];
        PageMut::of_node(&mut bytes, None).clear(1, 0);
        for _ in 0..3000 {
            let old = bytes;
            let mut touched = Touched::default();
            for _ in 0..=random(3) {
                let mut page = PageMut::of_node(&mut bytes, Some(&mut touched));
                let count = page.as_page().count();
                match random(8) {
                    0 if count > 0 => page.remove(random(count)),
                    1 if count > 0 => {
                        let at = random(count);
                        let value = vec![random(256) as u8; page.as_page().value(at).len()];
                        assert!(page.replace(at, &value));
                    }
                    2 if count > 40 => page.truncate(count - 1),
                    _ => {
                        let value = vec![random(256) as u8; 8 + random(60)];
                        if !page.insert(random(count + 1), random(1000) as u64, &value) {
                            page.remove(random(count));
                        }
                    }
                }
            }
            let (mut patched, mut end, mut sum) = (old, 0, 0);
            for range in touched.ranges() {
                assert!(range.start >= end && range.end <= 4096, "{touched:?}");
                end = range.end;
                sum += range.len();
                patched[range.clone()].copy_from_slice(&bytes[range]);
            }
            assert_eq!(patched, bytes, "{touched:?}");
            assert!(sum <= 4096);
        }
    }

    #[test]
    fn search_finds_keys_and_the_child_that_covers_a_key() {
        let mut bytes = [0; 4096];
        let mut page = PageMut::of_node(&mut bytes, None);
        page.clear(1, 1);
        for (index, key) in [0_u64, 10, 20].into_iter().enumerate() {
            assert!(page.insert(index, key, &key.to_le_bytes()));
        }
        let page = page.as_page();
        assert_eq!(page.search(10), Ok(1));
        assert_eq!(page.search(11), Err(2));
        assert_eq!(page.child_index(19), 1);
        assert_eq!(page.child_index(u64::MAX), 2);
        assert_eq!(page.child(2), Some(20));
    }
}
