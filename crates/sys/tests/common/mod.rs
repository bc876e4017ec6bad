//! A reader thread that serves faults the way windows do: by translating the
//! page to the same offset of a file.

#![allow(dead_code)] // each test program uses a part

use daxle_sys as sys;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;

use sys::file;
use sys::memory::Protection;
use sys::uffd::{Bell, FaultKind, Message, Reach, Touch, Uffd, UffdError, Woken};
use sys::window::{Reservation, Sharing};
use sys::{AsFd, OwnedFd, PAGE_BYTES};

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    pub missing: AtomicU64,
    pub protected: AtomicU64,
    pub stores: AtomicU64,
    pub puts: AtomicU64,
}

/// A window over a file, with its reader.
pub struct Served {
    pub uffd: Arc<Uffd>,
    pub window: Arc<Reservation>,
    pub file: Arc<OwnedFd>,
    pub seen: Arc<Seen>,
    bell: Arc<Bell>,
    reader: Option<JoinHandle<()>>,
}

/// A source of traps, or `None` (and a line that says so) without permission.
pub fn traps() -> Option<Arc<Uffd>> {
    match Uffd::new(Reach::EveryFault) {
        Ok(uffd) => Some(Arc::new(uffd)),
        Err(UffdError::NotPermitted) => {
            println!("SKIPPED: {}", UffdError::NotPermitted);
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// A file of `len` bytes with its space, on tmpfs or on the disk.
pub fn pool(len: usize, place: Place) -> OwnedFd {
    let fd = match place {
        Place::Memory => file::memfd("pool", file::MemoryPages::Small).expect("memfd"),
        Place::Disk => OwnedFd::from(tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("file")),
    };
    file::set_len(fd.as_fd(), len as u64).expect("size");
    file::reserve(fd.as_fd(), 0, len as u64).expect("space");
    fd
}

#[derive(Clone, Copy, Debug)]
pub enum Place {
    Memory,
    Disk,
}

impl Served {
    pub fn new(len: usize, place: Place) -> Option<Served> {
        let uffd = traps()?;
        let window = Arc::new(Reservation::new(len).expect("reserve"));
        let file = Arc::new(pool(len, place));
        let seen = Arc::new(Seen::default());
        let bell = Arc::new(Bell::new().expect("bell"));
        let reader = std::thread::spawn({
            let (uffd, window, file) = (uffd.clone(), window.clone(), file.clone());
            let (seen, bell) = (seen.clone(), bell.clone());
            move || serve(&uffd, &window, &file, &seen, &bell)
        });
        Some(Served { uffd, window, file, seen, bell, reader: Some(reader) })
    }

    pub fn missing(&self) -> u64 {
        self.seen.missing.load(SeqCst)
    }

    pub fn protected(&self) -> u64 {
        self.seen.protected.load(SeqCst)
    }

    /// A word of the file.
    pub fn file_word(&self, offset: usize) -> u64 {
        let mapping = sys::memory::Mapping::of_file(self.file.as_fd(), self.window.len() as u64, Protection::Read);
        mapping.expect("map").load_u64(offset as u64)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.bell.ring();
        if let Some(reader) = self.reader.take() {
            let ended = reader.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the reader failed");
        }
    }
}

fn serve(uffd: &Uffd, window: &Reservation, file: &OwnedFd, seen: &Seen, bell: &Bell) {
    let mut messages = Vec::new();
    while uffd.wait(bell, None).expect("wait") != Woken::Bell {
        messages.clear();
        uffd.read(&mut messages).expect("read");
        for message in &messages {
            let fault = match message {
                Message::Fault(fault) => fault,
                Message::Put { .. } => {
                    seen.puts.fetch_add(1, SeqCst);
                    continue;
                }
                Message::Other(number) => panic!("message {number}"),
            };
            let counter = match fault.kind {
                FaultKind::Missing => &seen.missing,
                FaultKind::WriteProtect => &seen.protected,
            };
            counter.fetch_add(1, SeqCst);
            if fault.touch == Touch::Store {
                seen.stores.fetch_add(1, SeqCst);
            }
            let page = window.offset_of(fault.address).expect("inside") / PAGE_BYTES * PAGE_BYTES;
            let range = page..page + PAGE_BYTES;
            let addresses = window.addresses(&range);
            window
                .map_file(range, file.as_fd(), page as u64, Protection::ReadWrite, Sharing::Shared)
                .expect("translate");
            uffd.wake(addresses).expect("wake");
        }
    }
}
