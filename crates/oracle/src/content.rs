//! The bytes of a file, sparse: pages that nobody wrote take no memory and read as zeros.

use engine::types::{FILE_SIZE_MAX, PAGE_BYTES};
use std::collections::BTreeMap;

const PAGE: usize = PAGE_BYTES as usize;

/// A file's bytes and size.
#[derive(Debug, Clone, Default)]
pub struct Content {
    size: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Content {
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads up to `into.len()` bytes at `offset`; fewer only at the end.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let len = (into.len() as u64).min(self.size.saturating_sub(offset)) as usize;
        for_pages(offset, len, |page, inside, at| {
            let target = &mut into[at..at + inside.len()];
            match self.pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[inside]),
                None => target.fill(0),
            }
        });
        len
    }

    /// Writes all of `from`; grows as needed.
    pub fn write(&mut self, offset: u64, from: &[u8]) {
        for_pages(offset, from.len(), |page, inside, at| {
            let bytes = self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE]));
            bytes[inside.clone()].copy_from_slice(&from[at..at + inside.len()]);
        });
        if !from.is_empty() {
            self.size = self.size.max(offset + from.len() as u64);
        }
    }

    /// Sets the size. Bytes behind it are gone for good.
    pub fn truncate(&mut self, size: u64) {
        if size < self.size {
            self.zero(size, self.size - size);
            let first_gone = size.div_ceil(PAGE_BYTES);
            self.pages.retain(|&page, _| page < first_gone);
        }
        self.size = size;
    }

    /// Grows to at least this size.
    pub fn grow(&mut self, size: u64) {
        self.size = self.size.max(size);
    }

    /// Sets bytes inside the file to zero. `len` may reach past the end.
    pub fn zero(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.size);
        if offset >= end {
            return;
        }
        let touched: Vec<u64> =
            self.pages.range(offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES)).map(|(&p, _)| p).collect();
        for page in touched {
            let start = page * PAGE_BYTES;
            let inside = offset.max(start) - start..end.min(start + PAGE_BYTES) - start;
            if inside == (0..PAGE_BYTES) {
                self.pages.remove(&page);
            } else if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[inside.start as usize..inside.end as usize].fill(0);
            }
        }
    }

    /// Takes whole pages out; what follows moves down.
    pub fn collapse(&mut self, offset: u64, len: u64) {
        let (first, count) = (offset / PAGE_BYTES, len / PAGE_BYTES);
        let moved = self.pages.split_off(&(first + count));
        self.pages.retain(|&page, _| page < first);
        self.pages.extend(moved.into_iter().map(|(page, bytes)| (page - count, bytes)));
        self.size -= len;
    }

    /// Opens a hole of whole pages; what follows moves up.
    pub fn insert(&mut self, offset: u64, len: u64) {
        let moved = self.pages.split_off(&(offset / PAGE_BYTES));
        self.pages.extend(moved.into_iter().map(|(page, bytes)| (page + len / PAGE_BYTES, bytes)));
        self.size += len;
    }

    /// The pages that were written and not taken away since, lowest first. All others are zeros.
    pub fn written_pages(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages.keys().copied()
    }
}

/// Whether a write or an allocation of these bytes passes the largest file.
pub(crate) fn too_big(offset: u64, len: u64) -> bool {
    offset.checked_add(len).is_none_or(|end| end > FILE_SIZE_MAX)
}

/// Cuts a range at page borders: page, range inside it, position in the whole.
fn for_pages(offset: u64, len: usize, mut each: impl FnMut(u64, std::ops::Range<usize>, usize)) {
    let mut at = 0;
    while at < len {
        let position = offset + at as u64;
        let inside = (position % PAGE_BYTES) as usize;
        let piece = (PAGE - inside).min(len - at);
        each(position / PAGE_BYTES, inside..inside + piece, at);
        at += piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &Content) -> Vec<u8> {
        let mut all = vec![9; content.size() as usize];
        assert_eq!(content.read(0, &mut all), all.len());
        all
    }

    #[test]
    fn it_is_what_an_array_of_bytes_is() {
        let mut random = crate::random::Random::new(5);
        let (mut content, mut array): (Content, Vec<u8>) = (Content::default(), Vec::new());
        for _ in 0..2000 {
            let (offset, len) = (random.below(40_000), random.within(1, 9000));
            match random.below(6) {
                0 | 1 => {
                    let mut data = vec![0; len as usize];
                    random.fill(&mut data);
                    content.write(offset, &data);
                    let end = (offset + len) as usize;
                    array.resize(array.len().max(end), 0);
                    array[offset as usize..end].copy_from_slice(&data);
                }
                2 => {
                    content.truncate(offset);
                    array.resize(offset as usize, 0);
                }
                3 => {
                    content.zero(offset, len);
                    let size = array.len();
                    array[(offset as usize).min(size)..((offset + len) as usize).min(size)].fill(0);
                }
                4 if array.len() as u64 > 3 * PAGE_BYTES => {
                    content.collapse(PAGE_BYTES, PAGE_BYTES);
                    array.drain(PAGE..2 * PAGE);
                }
                5 if array.len() as u64 > PAGE_BYTES && array.len() < 60_000 => {
                    content.insert(PAGE_BYTES, 2 * PAGE_BYTES);
                    array.splice(PAGE..PAGE, vec![0; 2 * PAGE]);
                }
                _ => {}
            }
            assert_eq!(bytes(&content), array);
        }
    }
}
