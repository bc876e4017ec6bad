//! One slotted page: the inline root of an inode or a tree node, seen as sorted slots and a heap of values.
//!
//! Both have the same shape, after headers of different length: kind, level, count and heap position; then slots
//! `{key u64, offset u16, len u16}` in ascending order of keys; values grow down from the end. A removed value leaves
//! garbage, which `compact` collects when the gap in the middle is too small. Garbage is left in place on purpose: what is
//! not moved is not logged.
//!
//! Invariant of every page that is read or changed here: `is_sound`. It is checked when a page comes from the pool, and
//! kept by every change.

/// Bytes in a slot.
pub(super) const SLOT_BYTES: usize = 12;
/// No value is shorter: a block number, a directory entry, an extent.
const VALUE_BYTES_MIN: usize = 8;

/// Where the parts of a page begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
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
pub(super) struct Page<'p> {
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
        let inside = (0..count).all(|index| {
            let (offset, bytes) = self.place(index);
            offset >= self.heap() && offset + bytes <= len
        });
        let ascending = (1..count).all(|index| self.key(index - 1) < self.key(index));
        inside && ascending && self.used() <= self.capacity()
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

/// A page that is changed.
pub(super) struct PageMut<'p> {
    bytes: &'p mut [u8],
    shape: Shape,
}

impl<'p> PageMut<'p> {
    pub fn new(bytes: &'p mut [u8], shape: Shape) -> PageMut<'p> {
        PageMut { bytes, shape }
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
    }

    pub fn set_key(&mut self, index: usize, key: u64) {
        let at = self.as_page().slot(index);
        self.bytes[at..at + 8].copy_from_slice(&key.to_le_bytes());
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
    }

    /// Overwrites a value with one of the same length. False, and nothing done, if the length differs.
    #[must_use]
    pub fn replace(&mut self, index: usize, value: &[u8]) -> bool {
        let (offset, len) = self.as_page().place(index);
        if len != value.len() {
            return false;
        }
        self.bytes[offset..offset + len].copy_from_slice(value);
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_refuses_and_takes_again_after_a_removal() {
        let mut bytes = [0; 320];
        let mut page = PageMut::new(&mut bytes, ROOT);
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
    fn search_finds_keys_and_the_child_that_covers_a_key() {
        let mut bytes = [0; 4096];
        let mut page = PageMut::new(&mut bytes, NODE);
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
