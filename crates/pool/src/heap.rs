//! A pool on the heap, for tests and exploration.
//!
//! It claims any durability class and keeps nothing. Once made it calls the
//! kernel no more, so that it can be used by programs whose threads are
//! scheduled by a model checker. Each object has its own witness, as its bytes
//! are gone with it.

use std::sync::atomic::{AtomicU64, Ordering};

use sys::Errno;
use sys::memory::Mapping;

use crate::{Access, Durability, Pool, PoolError, Result, WindowSource};

/// Memory of this process only.
#[derive(Debug)]
pub struct HeapPool {
    memory: Mapping,
    durability: Durability,
    number: u64,
    huge: bool,
}

impl HeapPool {
    /// A zeroed pool of `len` bytes, a multiple of 4096, of the given class.
    /// Errors: no memory, or a length that is no whole number of pages.
    pub fn new(len: u64, durability: Durability) -> Result<HeapPool> {
        static MADE: AtomicU64 = AtomicU64::new(1);
        let memory = Mapping::anonymous(len).map_err(|errno| failed(len, errno))?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Ok(HeapPool { memory, durability, number, huge: false })
    }

    /// The same, which says that its granule is 2 MiB, as a huge-page pool's.
    pub fn new_huge(len: u64, durability: Durability) -> Result<HeapPool> {
        if !len.is_multiple_of(sys::HUGE_BYTES as u64) {
            return Err(failed(len, Errno::INVAL));
        }
        Ok(HeapPool { huge: true, ..HeapPool::new(len, durability)? })
    }

    /// A pool with the given content.
    pub fn from_image(image: &[u8], durability: Durability) -> Result<HeapPool> {
        let pool = HeapPool::new(image.len() as u64, durability)?;
        pool.memory.write(0, image);
        Ok(pool)
    }

    /// All its bytes.
    pub fn image(&self) -> Vec<u8> {
        let mut image = vec![0; self.memory.len() as usize];
        self.memory.read(0, &mut image);
        image
    }
}

fn failed(len: u64, source: Errno) -> PoolError {
    PoolError::Io { name: format!("a heap pool of {len} bytes"), action: "make", source }
}

impl Pool for HeapPool {
    fn len(&self) -> u64 {
        self.memory.len()
    }
    fn durability(&self) -> Durability {
        self.durability
    }
    fn access(&self) -> Access {
        Access::ReadWrite
    }
    fn page_size(&self) -> u64 {
        if self.huge { sys::HUGE_BYTES as u64 } else { sys::PAGE_BYTES as u64 }
    }
    fn name(&self) -> String {
        format!("heap pool {}", self.number)
    }
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.memory.read(offset, into);
    }
    fn write(&self, offset: u64, from: &[u8]) {
        self.memory.write(offset, from);
    }
    fn write_stream(&self, offset: u64, from: &[u8]) {
        self.memory.write_stream(offset, from);
    }
    fn zero(&self, offset: u64, len: u64) {
        self.memory.zero(offset, len);
    }
    fn copy(&self, from: u64, to: u64, len: u64) {
        self.memory.copy_within(from, to, len);
    }
    fn load_u64(&self, offset: u64) -> u64 {
        self.memory.load_u64(offset)
    }
    fn store_u64(&self, offset: u64, value: u64) {
        self.memory.store_u64(offset, value);
    }
    fn equal(&self, offset: u64, other: &[u8]) -> bool {
        self.memory.equal(offset, other)
    }
    fn flush(&self, offset: u64, len: u64) {
        self.memory.check(offset, len);
    }
    fn fence(&self) {}
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    fn back(&self, offset: u64, len: u64) -> Result<()> {
        self.memory.check(offset, len);
        Ok(())
    }
    fn give_back(&self, offset: u64, len: u64) -> Result<()> {
        let page = self.page_size();
        let (first, end) = (offset.next_multiple_of(page), (offset + len) / page * page);
        if first < end {
            self.memory.zero(first, end - first);
        }
        Ok(())
    }
    fn window_source(&self) -> Option<WindowSource<'_>> {
        None
    }
    fn witness(&self) -> [u8; 32] {
        let mut witness = [0x48; 32];
        witness[24..].copy_from_slice(&self.number.to_le_bytes());
        witness
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_pool_keeps_bytes_and_has_its_own_witness() {
        let a = HeapPool::new(1 << 20, Durability::Msync).expect("make");
        a.write(5, b"hello");
        a.copy(5, 100, 5);
        a.zero(5, 1);
        let b = HeapPool::from_image(&a.image(), Durability::Msync).expect("make");
        assert!(b.equal(5, b"\0ello") && b.equal(100, b"hello"));
        assert_ne!(a.witness(), b.witness());
        b.give_back(0, 4097).expect("give back");
        assert!(b.equal(100, &[0; 5]));
        assert!(HeapPool::new(5, Durability::Volatile).is_err());
    }
}
